//! Functions that the language itself has.
use super::Elab;
use super::reduce::Along;
use super::value::{Frame, TVal, Val, index_label};
use crate::cx::{Res, Stop};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Dim, Op, Size, UnFn};
use spc_syntax::ast::{Arg, Ident};

/// Functions of hooks, and what a function has instead.
const OF_HOOKS: [(&str, &str); 4] = [
    ("top", "choose with `select(keep 4 of slices(S) per B by x)`"),
    ("root", "write the steps of an iteration as statements"),
    ("previous", "what one call leaves for the next is a `state`"),
    ("unbias", "divide by `1 - pow(beta, n)`"),
];

/// Names of all functions of the language, for suggestions.
pub(crate) const NAMES: &[&str] = &[
    "sum",
    "mean",
    "max",
    "min",
    "product",
    "count",
    "softmax",
    "logsumexp",
    "argmax",
    "any",
    "all",
    "exp",
    "log",
    "sqrt",
    "erf",
    "tanh",
    "sin",
    "cos",
    "floor",
    "abs",
    "sign",
    "clip",
    "size",
    "int",
    "float",
    "pow",
    "last",
    "concat",
    "select",
    "gather",
    "append",
    "empty",
    "rank",
];

impl Elab<'_, '_> {
    pub(super) fn builtin(&mut self, frame: &mut Frame, span: Span, name: &Ident, args: &[Arg]) -> Res<Val> {
        let two = BinFn::from_name(name.as_str()).filter(|f| matches!(f, BinFn::Max | BinFn::Min | BinFn::Pow));
        if let Some(f) = Along::from_name(name.as_str()) {
            match args {
                [a] => return self.along(frame, span, f, name, a),
                _ if two.is_none() => {
                    let text = format!("`{}` takes one value and what it is taken over", name.name);
                    let help = format!("write `{}(e over i)`", name.name);
                    return self.cx.report(
                        Diagnostic::error(codes::ARGUMENT, text).at(span, format!("{} given", args.len())).help(help),
                    );
                }
                _ => {}
            }
        }
        match name.as_str() {
            "size" => return self.size_of(frame, span, args),
            "int" => return self.int_of(frame, span, args),
            "last" => return self.last(frame, span, args),
            "concat" => return self.concat(frame, span, args),
            "select" => return self.select_keep(frame, span, args),
            "gather" => return self.gather_of(frame, span, args),
            "append" => return self.append(frame, span, args),
            "empty" => return self.empty_cache(span, args),
            "rank" => return self.rank_of(frame, span, args),
            n => {
                if let Some((_, instead)) = OF_HOOKS.iter().find(|h| h.0 == n) {
                    let d = Diagnostic::error(
                        codes::WRONG_KIND,
                        format!("`{n}` belongs to the hooks of updates and penalties"),
                    )
                    .at(name.span, "not in a function")
                    .help(*instead);
                    return self.cx.report(d);
                }
            }
        }
        let one = UnFn::from_name(name.as_str()).filter(|f| *f != UnFn::Not && *f != UnFn::Neg);
        if one.is_none() && two.is_none() && !matches!(name.as_str(), "float" | "clip" | "sign") {
            let mut known: Vec<&str> = NAMES.to_vec();
            known.extend(self.p.names.known_from(&frame.origin));
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
            (None, None, [x, low, high]) if name.as_str() == "clip" => {
                let x = self.binary(span, BinFn::Max, x, low)?;
                self.binary(span, BinFn::Min, &x, high)
            }
            (None, None, [x]) if name.as_str() == "sign" => self.sign(span, x),
            (None, None, [a]) if name.as_str() == "float" => self.cast(span, DType::F32, a),
            _ => {
                let want = match name.as_str() {
                    "clip" => 3,
                    _ if two.is_some() => 2,
                    _ => 1,
                };
                let text = format!("`{}` takes {want} value{}", name.name, if want == 1 { "" } else { "s" });
                self.cx.err(codes::ARGUMENT, span, text, format!("{} given", args.len()))
            }
        }
    }

    /// 1, -1, or the value itself where it is neither above nor below 0: a zero or NaN.
    fn sign(&mut self, span: Span, x: &Val) -> Res<Val> {
        let above = self.binary(span, BinFn::Gt, x, &Val::Num(0.0))?;
        let below = self.binary(span, BinFn::Lt, x, &Val::Num(0.0))?;
        let rest = self.select(span, &below, &Val::Num(-1.0), x)?;
        self.select(span, &above, &Val::Num(1.0), &rest)
    }

    /// `int(t)`: the number of an index, as an i32 tensor along its axis; or a tensor as i32.
    fn int_of(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let [a] = args else { return self.cx.err(codes::ARGUMENT, span, "`int` takes one index", "here") };
        if let Some(n) = a.value.as_name()
            && !frame.env.contains_key(&n.name)
        {
            return self.number_of_index(index_label(&n.name), a.span);
        }
        match self.expr(frame, &a.value)? {
            Val::Poison => Err(Stop),
            Val::Num(n) => Ok(Val::Num(n.trunc())),
            v => self.cast(span, DType::I32, &v),
        }
    }

    /// The dimension of a whole tensor that an axis names; it must occur once.
    fn dim_of(&mut self, frame: &Frame, t: &TVal, axis: &Arg) -> Res<usize> {
        let Some(n) = axis.value.as_name() else {
            return self.cx.err(codes::WRONG_KIND, axis.span, "the name of an axis is needed", "not an axis");
        };
        let Some(d) = frame.axes.get(&n.name).cloned() else {
            return crate::model::unknown_axis(self.cx, self.p.axes, n);
        };
        if t.labels.contains(&format!("{}#1", d.axis)) {
            let text = format!("axis `{}` occurs twice in the value", d.axis);
            return self.cx.err(codes::REPEATED_AXIS, n.span, text, "use index notation here");
        }
        match t.labels.iter().position(|l| *l == d.axis) {
            Some(at) => Ok(at),
            None => {
                let have = self.ty(t.node)?.dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ");
                let text = format!("the value has no axis `{}`", n.name);
                self.cx.err(codes::UNKNOWN_AXIS, n.span, text, format!("it has [{have}]"))
            }
        }
    }

    /// `last(x, along: T)`: the slice at the greatest index.
    fn last(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let (value, axis) = match args {
            [v, a] if v.label.is_none() && a.label.as_ref().is_some_and(|l| l.as_str() == "along") => (v, a),
            _ => {
                let text = "`last` takes a value and an axis";
                return self.cx.err(codes::ARGUMENT, span, text, "expected `last(x, along: T)`");
            }
        };
        let t = match self.expr(frame, &value.value)? {
            Val::Tensor(t) => t,
            Val::Poison => return Err(Stop),
            other => {
                let kind = self.kind(&other);
                return self.cx.err(codes::WRONG_KIND, value.span, format!("a tensor is needed, not {kind}"), "here");
            }
        };
        let dim = self.dim_of(frame, &t, axis)?;
        let d = self.ty(t.node)?.dims[dim].clone();
        let at = match d.size.fixed() {
            Some(n) => self.add(span, Op::Const { value: n as f64 - 1.0, dtype: DType::I32 }, &[])?,
            None => {
                let n = self.add(span, Op::Size { dim: d }, &[])?;
                let n = Val::Tensor(TVal { node: n, labels: Vec::new() });
                let at = self.binary(span, BinFn::Sub, &n, &Val::Num(1.0))?;
                self.tensor(&at, span)?.node
            }
        };
        let node = self.add(span, Op::Gather { dim: dim as u32 }, &[t.node, at])?;
        self.whole(node)
    }

    /// `concat(a, b, along: D)`: joined along `D`, in order. A value that lacks `D` is joined along its one axis that the
    /// first lacks.
    fn concat(&mut self, frame: &mut Frame, span: Span, args: &[Arg]) -> Res<Val> {
        let Some((axis, values)) = args.split_last().filter(|(a, v)| {
            a.label.as_ref().is_some_and(|l| l.as_str() == "along")
                && v.len() > 1
                && v.iter().all(|x| x.label.is_none())
        }) else {
            let text = "`concat` takes two values or more, and an axis";
            return self.cx.err(codes::ARGUMENT, span, text, "expected `concat(a, b, along: D)`");
        };
        if self.ix.on {
            return self.cx.err(codes::INDEX, span, "`concat` takes whole tensors", "called inside index notation");
        }
        let mut parts: Vec<(TVal, Vec<Dim>, Span)> = Vec::new();
        for a in values {
            if !a.is_plain() {
                return self.cx.err(codes::ARGUMENT, a.span, "`concat` takes plain values", "here");
            }
            match self.expr(frame, &a.value)? {
                Val::Tensor(t) => {
                    let dims = self.ty(t.node)?.dims;
                    parts.push((t, dims, a.span));
                }
                Val::Poison => return Err(Stop),
                other => {
                    let kind = self.kind(&other);
                    return self.cx.err(codes::WRONG_KIND, a.span, format!("a tensor is needed, not {kind}"), "here");
                }
            }
        }
        let Some((first, rest)) = parts.split_first() else { return Err(Stop) };
        let dim = self.dim_of(frame, &first.0, axis)?;
        let along = first.1[dim].clone();
        let mut nodes = vec![first.0.node];
        let mut sizes = vec![along.size];
        for (t, dims, at) in rest {
            let own = t.labels.iter().position(|l| *l == along.axis).or_else(|| {
                let mut other = (0..dims.len()).filter(|i| !first.0.labels.contains(&t.labels[*i]));
                other.next().filter(|_| other.next().is_none())
            });
            let mut want = first.0.labels.clone();
            let mut fits = t.labels.len() == want.len();
            if let Some(own) = own {
                want[dim].clone_from(&t.labels[own]);
                sizes.push(dims[own].size);
            }
            fits &= own.is_some() && want.iter().all(|l| t.labels.contains(l));
            if !fits {
                let show = |d: &[Dim]| d.iter().map(super::value::axis_word).collect::<Vec<_>>().join(", ");
                let text = format!("what is joined along `{}` differs in another axis", along.axis);
                let d = Diagnostic::error(codes::AXIS_MISMATCH, text)
                    .at(*at, format!("has [{}]", show(dims)))
                    .also(first.2, format!("has [{}]", show(&first.1)));
                return self.cx.report(d);
            }
            nodes.push(self.arrange(*at, t, &want, &first.1)?.node);
        }
        let total = match spc_ir::Formula::sum(&sizes).and_then(|f| self.g.derive(&along.axis, f)) {
            Some(Size::Fixed(n)) => self.derived(Some(&along), &along.axis, n),
            Some(Size::Free(s)) => {
                let name = self.g.sym(s).map(|y| y.name.clone()).unwrap_or_default();
                Dim::free(format!("{}:{name}", along.axis), s)
            }
            None => return self.cx.err(codes::TOO_LARGE, span, "the joined axis is too large", "here"),
        };
        let node = self.add(span, Op::Concat { dim: dim as u32, axis: total }, &nodes)?;
        self.whole(node)
    }
}
