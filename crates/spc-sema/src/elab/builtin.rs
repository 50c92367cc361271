//! Functions that the language itself has.
use super::Elab;
use super::value::{Frame, TVal, Val, index_label};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Op, ReduceFn, UnFn};
use spc_syntax::ast::{Arg, Ident};

const LATER: &[&str] = &[
    "softmax",
    "logsumexp",
    "count",
    "product",
    "rank",
    "top",
    "clip",
    "root",
    "select",
    "sort",
    "argmax",
    "last",
    "concat",
    "append",
    "rotate",
    "sign",
    "cross_entropy",
    "mse",
];

/// Names of all functions of the language, for suggestions.
pub(super) const NAMES: &[&str] = &[
    "sum", "mean", "max", "min", "exp", "log", "sqrt", "erf", "tanh", "sin", "cos", "floor", "abs", "size", "int",
    "float",
];

impl Elab<'_, '_> {
    pub(super) fn builtin(&mut self, frame: &mut Frame, span: Span, name: &Ident, args: &[Arg]) -> Res<Val> {
        let reduce = ReduceFn::from_name(name.as_str());
        if let (Some(f), [a]) = (reduce, args)
            && !a.over.is_empty()
        {
            return self.reduction(frame, span, f, a);
        }
        match name.as_str() {
            "size" => return self.size_of(frame, span, args),
            "int" => return self.int_of(frame, span, args),
            n if LATER.contains(&n) => return self.cx.not_yet(name.span, &format!("`{n}`")),
            _ => {}
        }
        let one = UnFn::from_name(name.as_str()).filter(|f| *f != UnFn::Not && *f != UnFn::Neg);
        let two = BinFn::from_name(name.as_str()).filter(|f| matches!(f, BinFn::Max | BinFn::Min | BinFn::Pow));
        if one.is_none() && two.is_none() && name.as_str() != "float" {
            if matches!(reduce, Some(ReduceFn::Sum | ReduceFn::Mean)) {
                let text = format!("`{}` says over what", name.name);
                let help = format!("write `{}(e over i)`", name.name);
                return self.cx.report(Diagnostic::error(codes::ARGUMENT, text).at(span, "no `over`").help(help));
            }
            let mut known: Vec<&str> = NAMES.to_vec();
            known.extend(self.p.names.known());
            return self.cx.unknown(name.span, "function", &name.name, known);
        }
        let mut values = Vec::new();
        for a in args {
            if !a.is_plain() || a.label.is_some() {
                return self.cx.err(codes::ARGUMENT, a.span, format!("`{}` takes plain values", name.name), "here");
            }
            values.push(self.expr(frame, &a.value)?);
        }
        match (one, two, values.as_slice()) {
            (Some(f), _, [a]) => self.unary(span, f, a),
            (_, Some(f), [a, b]) => self.binary(span, f, a, b),
            (None, None, [a]) => self.cast(span, DType::F32, a),
            _ => {
                let want = if one.is_some() || two.is_none() { 1 } else { 2 };
                let text = format!("`{}` takes {want} value{}", name.name, if want == 1 { "" } else { "s" });
                self.cx.err(codes::ARGUMENT, span, text, format!("{} given", args.len()))
            }
        }
    }

    /// `sum(e over i, j)`.
    fn reduction(&mut self, frame: &mut Frame, span: Span, f: ReduceFn, a: &Arg) -> Res<Val> {
        if a.guard.is_some() || a.within.is_some() || a.by.is_some() || a.per.is_some() {
            return self.cx.not_yet(a.span, "this form of reduction");
        }
        let mut labels = Vec::new();
        for b in &a.over {
            if b.within.is_some() {
                return self.cx.not_yet(b.span, "a reduction over a set");
            }
            labels.push(match frame.axes.get(&b.name.name) {
                Some(d) if !self.ix.on => d.axis.clone(),
                _ if self.ix.on => index_label(&b.name.name),
                _ => return crate::model::unknown_axis(self.cx, self.p.axes, &b.name),
            });
        }
        // A bound index hides an outer one of the same name.
        let hidden: Vec<_> = labels.iter().map(|l| (l.clone(), self.ix.dims.remove(l))).collect();
        let added: Vec<String> = labels.iter().filter(|l| self.ix.bound.insert((*l).clone())).cloned().collect();
        let v = self.expr(frame, &a.value);
        for l in &added {
            self.ix.bound.remove(l);
        }
        for (l, d) in hidden {
            match d {
                Some(d) => self.ix.dims.insert(l, d),
                None => self.ix.dims.remove(&l),
            };
        }
        match v? {
            Val::Tensor(t) => self.reduce(span, f, &t, &labels),
            _ => self.cx.err(codes::TYPE, a.span, "what is reduced has no axes", "a tensor is needed here"),
        }
    }

    /// `size(C)`: the number of indices of an axis.
    fn size_of(&mut self, frame: &Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`size` takes one axis", "here") };
        let Some(n) = a.value.as_name() else {
            return self.cx.err(codes::WRONG_KIND, a.span, "`size` takes the name of an axis", "not an axis");
        };
        match frame.axes.get(&n.name) {
            Some(d) => match d.size.fixed() {
                Some(n) => Ok(Val::Num(n as f64)),
                None => self.cx.not_yet(a.span, "the size of a free axis as a number"),
            },
            None => crate::model::unknown_axis(self.cx, self.p.axes, n),
        }
    }

    /// `int(t)`: the number of an index, as an i32 tensor along its axis; or a tensor as i32.
    fn int_of(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`int` takes one index", "here") };
        if let Some(n) = a.value.as_name()
            && !frame.env.contains_key(&n.name)
        {
            let l = index_label(&n.name);
            let Some((d, _)) = self.ix.dims.get(&l).cloned() else {
                let text = format!("index `{}` has no axis here", n.name);
                return self.cx.err(codes::INDEX, a.span, text, "no tensor is indexed by it in this statement");
            };
            let node = self.add(span, Op::Iota { dim: d }, &[])?;
            return Ok(Val::Tensor(TVal { node, labels: vec![l] }));
        }
        match self.expr(frame, &a.value)? {
            Val::Poison => Err(Stop),
            v => self.cast(span, DType::I32, &v),
        }
    }
}
