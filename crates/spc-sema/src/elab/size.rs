//! Sizes: of axes as numbers, and computed ones (`where P = (H + 2 * pad - K) / stride + 1`).
use super::Elab;
use super::value::{Frame, TVal, Val};
use crate::cx::Res;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Dim, Op};
use spc_syntax::ast::{Arg, AxisDecl, BinaryOp, Expr, ExprKind, FnItem, UnaryOp};

/// Sizes stay below this; whole numbers up to here are exact.
const MAX_SIZE: f64 = (1u64 << 40) as f64;

impl Elab<'_, '_> {
    /// Gives every computed axis of the signature its size.
    pub(super) fn computed_sizes(&mut self, frame: &mut Frame, f: &FnItem) -> Res<()> {
        self.sized |= !f.sig.sizes.is_empty();
        for decl in &f.sig.sizes {
            let d = self.computed_size(frame, decl)?;
            match frame.axes.get(&decl.name.name) {
                Some(e) if e.size == d.size => {}
                Some(e) => {
                    let text = format!("axis `{}` has two sizes", decl.name.name);
                    let d = Diagnostic::error(codes::AXIS_SIZE, text)
                        .at(decl.span, format!("computed{} here", self.size_text(&d)))
                        .note(format!("it is declared{}", self.size_text(e)));
                    return self.cx.report(d);
                }
                None => {
                    frame.axes.insert(decl.name.name.clone(), d);
                }
            }
        }
        Ok(())
    }

    fn computed_size(&mut self, frame: &mut Frame, decl: &AxisDecl) -> Res<Dim> {
        let name = &decl.name.name;
        let Some(value) = &decl.value else {
            return self.cx.err(
                codes::AXIS_SIZE,
                decl.span,
                format!("the size of `{name}` is missing"),
                "write `= ..`",
            );
        };
        let mut base = None;
        let n = self.size_number(frame, value, &mut base)?;
        let n = n.floor();
        if !(1.0..MAX_SIZE).contains(&n) {
            let text = format!("the computed size of axis `{name}` is {n}");
            let d = Diagnostic::error(codes::AXIS_SIZE, text)
                .at(decl.span, "sizes are from 1 to 2^40")
                .note("a computed size is rounded down to a whole number");
            return self.cx.report(d);
        }
        Ok(self.derived(base.as_ref(), name, n as u64))
    }

    /// An axis of a computed size. It is known by the axis that it was computed from and by its size; where that is the
    /// size of that axis, it is that axis.
    pub(super) fn derived(&self, base: Option<&Dim>, name: &str, n: u64) -> Dim {
        let root = base.map_or(name, |b| b.axis.split(':').next().unwrap_or(name));
        let own = match base {
            Some(b) if b.axis == root => b.size.fixed(),
            _ => None,
        };
        let declared = self.p.axes.get(root).and_then(|a| match a.size {
            crate::module::AxisSize::Fixed(n) => Some(n),
            crate::module::AxisSize::Range(..) => None,
        });
        match own.or(declared) {
            Some(m) if m == n => Dim::fixed(root, n),
            _ => Dim::fixed(format!("{root}:{n}"), n),
        }
    }

    /// A number made of sizes of axes, numbers and integer parameters. The first axis met goes to `base`.
    fn size_number(&mut self, frame: &mut Frame, e: &Expr, base: &mut Option<Dim>) -> Res<f64> {
        self.cx.spend(1, e.span)?;
        match &e.kind {
            ExprKind::Name(n) if !frame.env.contains_key(&n.name) && frame.axes.contains_key(&n.name) => {
                let Some(d) = frame.axes.get(&n.name).cloned() else { return Err(crate::cx::Stop) };
                let Some(size) = d.size.fixed() else {
                    return self.cx.not_yet(n.span, "a size computed from a free axis");
                };
                base.get_or_insert(d);
                Ok(size as f64)
            }
            ExprKind::Unary { op: UnaryOp::Neg, arg } => self.size_number(frame, arg, base).map(|x| -x),
            ExprKind::Binary { op, lhs, rhs, .. } => {
                let (x, y) = (self.size_number(frame, lhs, base)?, self.size_number(frame, rhs, base)?);
                match op {
                    BinaryOp::Add => Ok(x + y),
                    BinaryOp::Sub => Ok(x - y),
                    BinaryOp::Mul => Ok(x * y),
                    BinaryOp::Div => Ok(x / y),
                    _ => self.cx.err(codes::WRONG_KIND, e.span, "a size is made with + - * /", "here"),
                }
            }
            _ => match self.expr(frame, e)? {
                Val::Num(n) => Ok(n),
                Val::Static(n) => Ok(n as f64),
                other => {
                    let kind = self.kind(&other);
                    let text = format!("a size is a number that is known now, not {kind}");
                    self.cx.err(codes::WRONG_KIND, e.span, text, "here")
                }
            },
        }
    }

    /// `size(C)`: the number of indices of an axis.
    pub(super) fn size_of(&mut self, frame: &Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`size` takes one axis", "here") };
        let Some(n) = a.value.as_name() else {
            return self.cx.err(codes::WRONG_KIND, a.span, "`size` takes the name of an axis", "not an axis");
        };
        let Some(d) = frame.axes.get(&n.name).cloned() else {
            return crate::model::unknown_axis(self.cx, self.p.axes, n);
        };
        match d.size.fixed() {
            Some(n) => Ok(Val::Num(n as f64)),
            None => self.free_size(span, &d),
        }
    }

    /// The size of a free axis, known when the function is called.
    pub(super) fn free_size(&mut self, span: Span, d: &Dim) -> Res<Val> {
        let node = self.add(span, Op::Size { dim: d.clone() }, &[])?;
        self.cast(span, DType::F32, &Val::Tensor(TVal { node, labels: Vec::new() }))
    }

    /// ` (size 4)`, where the size is known and means something.
    pub(super) fn size_text(&self, d: &Dim) -> String {
        match d.size.fixed() {
            Some(n) if !self.alone => format!(" (size {n})"),
            _ => String::new(),
        }
    }
}
