//! Types and declarations of tensors and axes.
use super::{Builder, Built, Kids, Pair};
use crate::ast::*;
use spc_grammar::Rule;

impl Builder<'_> {
    pub fn ty(&mut self, pair: Pair<'_>) -> Built<Type> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let what = kids.first()?;
        let kind = match what.as_rule() {
            Rule::record => TypeKind::Record(Kids::of(what).map(|t| self.tensor(t)).collect::<Built<_>>()?),
            Rule::like => {
                let mut parts = Kids::of(what);
                let name = self.ident(&parts.need(Rule::name)?);
                TypeKind::Like { name, of: self.ident(&parts.need(Rule::id)?) }
            }
            _ => {
                let mut parts = Kids::of(what);
                let name = self.ident(&parts.need(Rule::name)?);
                let mask_axes = match parts.opt(Rule::mask_axes) {
                    Some(axes) => Kids::of(axes).map(|a| self.ident(&a)).collect(),
                    None => Vec::new(),
                };
                let shape = match kids.opt(Rule::shape) {
                    Some(shape) => Some(Kids::of(shape).map(|d| self.dim(d)).collect::<Built<_>>()?),
                    None => None,
                };
                TypeKind::Named { name, mask_axes, shape }
            }
        };
        Ok(Type { kind, span })
    }

    fn dim(&mut self, pair: Pair<'_>) -> Built<Dim> {
        let span = self.span(&pair);
        let what = Kids::of(pair).first()?;
        let kind = match what.as_rule() {
            Rule::rest => DimKind::Rest,
            Rule::composite => DimKind::Composite(Kids::of(what).map(|n| self.ident(&n)).collect()),
            Rule::int => DimKind::Size(self.size(&what)),
            _ => DimKind::Axis(self.ident(&what)),
        };
        Ok(Dim { kind, span })
    }

    pub fn tensor(&mut self, pair: Pair<'_>) -> Built<TensorDecl> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::name)?);
        let ty = self.ty(kids.need(Rule::r#type)?)?;
        let value = self.maybe_expr(&mut kids)?;
        Ok(TensorDecl { name, ty, value, span })
    }

    pub fn axis_decl(&mut self, pair: Pair<'_>) -> Built<AxisDecl> {
        let span = self.span(&pair);
        let mut kids = Kids::of(pair);
        let name = self.ident(&kids.need(Rule::id)?);
        let value = self.maybe_expr(&mut kids)?;
        Ok(AxisDecl { name, value, span })
    }

    /// The children of a rule that lists axis declarations.
    pub fn axis_decls(&mut self, pair: Pair<'_>) -> Built<Vec<AxisDecl>> {
        Kids::of(pair).map(|d| self.axis_decl(d)).collect()
    }
}
