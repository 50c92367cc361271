//! Values during elaboration, and pointwise operations on them.
use super::Elab;
use super::origin::From;
use crate::cx::Res;
use crate::scope::Origin;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{BinFn, DType, Dim, NodeId, Op, ScalarExpr, UnFn};
use spc_syntax::ast::Expr;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A tensor with a label for each dimension.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TVal {
    pub node: NodeId,
    pub labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Val {
    Num(f64),
    /// A percentage as an exact fraction. It computes as a number.
    Pct(u64, u64),
    Bool(bool),
    /// The index of a static repetition.
    Static(u64),
    Tensor(TVal),
    /// A place in a model: its number and the members passed through.
    Place(usize, Vec<Step>),
    /// Members matched to a record parameter.
    Record(BTreeMap<String, Val>),
    Tuple(Vec<Val>),
    /// The results of a function that has several, by name.
    Results(Vec<(String, Val)>),
    /// A constant list.
    List(Vec<Val>),
    /// An index that a mask or a lambda takes: its label.
    Index(String),
    /// A mask, a function or a lambda as a value.
    Func(Func),
    /// An error was reported where the value was made.
    Poison,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Name(String),
    Index(u64),
}

/// Something that can be called.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Func {
    /// The mask `all`: true everywhere.
    All,
    /// An item: a function or a mask.
    Item(Origin, String),
    Lambda(Rc<Lambda>),
    /// True and false along named axes, asked by indices: `within: r`.
    Relation(TVal),
}

/// `(t, s) => t >= s`, with the names that it sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lambda {
    pub params: Vec<String>,
    pub body: Expr,
    pub frame: Frame,
}

/// Axis names in scope and the dimension each stands for. What a function binds itself hides the root file's axes of fixed
/// size, which all functions share: a file may have thousands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scope {
    own: BTreeMap<String, Dim>,
    root: Option<Rc<BTreeMap<String, Dim>>>,
}

impl Scope {
    /// A scope in which the root file's axes are seen.
    pub fn of_root(root: Rc<BTreeMap<String, Dim>>) -> Scope {
        Scope { own: BTreeMap::new(), root: Some(root) }
    }

    pub fn get(&self, name: &str) -> Option<&Dim> {
        self.own.get(name).or_else(|| self.root.as_ref()?.get(name))
    }

    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn insert(&mut self, name: String, dim: Dim) {
        self.own.insert(name, dim);
    }
}

/// Local names of one function instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Frame {
    /// `None`: the root file.
    pub origin: Option<String>,
    pub env: BTreeMap<String, Val>,
    pub axes: Scope,
    /// Where those dimensions come from.
    pub from: BTreeMap<String, From>,
    /// What `..` stands for.
    pub rest: Option<Vec<Dim>>,
    /// Declared axes of results, where the call has given them sizes.
    pub results: BTreeMap<String, Vec<Option<Dim>>>,
    /// Axes of parameters and members that have a number as their default, where that number stands: `b`, `p.bias`.
    pub full: BTreeMap<String, Vec<Dim>>,
    /// Inside a lambda: an index that is no parameter is the surrounding computation's index over that axis.
    pub lambda: bool,
    /// Indices of the repetitions around the statement, outermost first.
    pub loops: Vec<u64>,
}

/// Index notation of one statement.
#[derive(Clone, Debug, Default)]
pub(super) struct IndexScope {
    /// True inside a statement whose left side has indices.
    pub on: bool,
    /// Labels of the left side.
    pub lhs: Vec<String>,
    /// Labels bound by an enclosing `sum(.. over i)`.
    pub bound: BTreeSet<String>,
    /// Dimension and first use of each label.
    pub dims: BTreeMap<String, (Dim, Span)>,
    /// Where those dimensions come from.
    pub from: BTreeMap<String, From>,
    /// False inside the body of a pointwise function, where no index is written and so none is summed.
    pub sums: bool,
    /// A value that the statement reads is broken, so that an index may lack its axis.
    pub broken: bool,
    /// Labels summed by a product so far, and where.
    pub summed: BTreeMap<String, Span>,
}

/// True for an axis whose size was computed: it is compared by value.
pub(super) fn is_derived(d: &Dim) -> bool {
    d.axis.contains(':')
}

/// The same axis: nominally, or by value where one was computed.
pub(super) fn same_axis(a: &Dim, b: &Dim) -> bool {
    a.size == b.size && (a.axis == b.axis || is_derived(a) || is_derived(b))
}

/// How messages call an axis.
pub(super) fn axis_word(d: &Dim) -> String {
    match d.axis.split_once(':') {
        Some((base, n)) => format!("{n} computed from {base}"),
        None => d.axis.clone(),
    }
}

/// Labels of `have` after those without a partner in `want` took the label of an equal computed axis there, in order.
pub(super) fn by_value(have: &[String], have_dims: &[Dim], want: &[String], want_dims: &[Dim]) -> Vec<String> {
    let mut free: Vec<usize> = (0..want.len()).filter(|i| !have.contains(&want[*i])).collect();
    let mut out = Vec::new();
    for (l, d) in have.iter().zip(have_dims) {
        let found = if want.contains(l) { None } else { free.iter().position(|i| same_axis(d, &want_dims[*i])) };
        out.push(found.map_or_else(|| l.clone(), |at| want[free.remove(at)].clone()));
    }
    out
}

/// The label of an index name.
pub(super) fn index_label(name: &str) -> String {
    format!("'{name}")
}

/// Labels from axis names; a repeated axis gets a number, so that labels are unique.
pub(super) fn axis_labels(dims: &[Dim]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for d in dims {
        let n = out.iter().filter(|l| l.split('#').next() == Some(d.axis.as_str())).count();
        out.push(if n == 0 { d.axis.clone() } else { format!("{}#{n}", d.axis) });
    }
    out
}

impl Val {
    /// The same value, a percentage as a number.
    pub fn plain(&self) -> Val {
        match self {
            Val::Pct(num, den) => Val::Num(*num as f64 / *den as f64),
            other => other.clone(),
        }
    }
}

impl Elab<'_, '_> {
    /// A node as a value between statements.
    pub(super) fn whole(&mut self, node: NodeId) -> Res<Val> {
        let labels = axis_labels(&self.ty(node)?.dims);
        Ok(Val::Tensor(TVal { node, labels }))
    }

    pub(super) fn kind(&self, v: &Val) -> &'static str {
        match v {
            Val::Num(_) | Val::Static(_) => "a number",
            Val::Pct(..) => "a percentage",
            Val::Bool(_) => "true or false",
            Val::Tensor(_) => "a tensor",
            Val::Place(..) | Val::Record(_) => "a group of tensors",
            Val::Tuple(_) | Val::Results(_) => "several values",
            Val::List(_) => "a list",
            Val::Index(_) => "an index",
            Val::Func(_) => "a function",
            Val::Poison => "a value",
        }
    }

    /// Union of the operands' labels: those of the left side first, in its order, then by first appearance.
    pub(super) fn union(&self, a: &TVal, b: &TVal) -> Vec<String> {
        self.merge_labels(&[a, b])
    }

    fn merge_labels(&self, args: &[&TVal]) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        for l in args.iter().flat_map(|a| &a.labels) {
            if !seen.contains(l) {
                seen.push(l.clone());
            }
        }
        if !self.ix.on {
            return seen;
        }
        let rank = |l: &String| self.ix.lhs.iter().position(|m| m == l).unwrap_or(usize::MAX);
        seen.sort_by_key(rank);
        seen
    }

    /// Checks that equal labels have equal sizes and that no operand names an axis twice.
    fn check_labels(&mut self, span: Span, args: &[&TVal]) -> Res<()> {
        let mut sizes: BTreeMap<String, Dim> = BTreeMap::new();
        for a in args {
            let dims = self.ty(a.node)?.dims;
            for (l, d) in a.labels.iter().zip(dims) {
                if args.len() > 1
                    && l.contains('#')
                    && args.iter().any(|b| b.labels != a.labels && !b.labels.is_empty())
                {
                    let axis = &d.axis;
                    let text = format!("axis `{axis}` occurs twice in an operand");
                    return self.cx.err(codes::REPEATED_AXIS, span, text, "use index notation here");
                }
                match sizes.get(l) {
                    Some(e) if e.size != d.size => {
                        let text = format!("axis `{}` has two sizes here", axis_word(&d));
                        return self.cx.err(codes::AXIS_MISMATCH, span, text, "the operands differ");
                    }
                    _ => {
                        sizes.insert(l.clone(), d);
                    }
                }
            }
        }
        if self.ix.on { Ok(()) } else { self.check_shared(span, args) }
    }

    /// Whole tensors that share no axis would give every pair of elements, which is rarely meant.
    fn check_shared(&mut self, span: Span, args: &[&TVal]) -> Res<()> {
        for (i, a) in args.iter().enumerate().filter(|(_, a)| !a.labels.is_empty()) {
            let mut others = args.iter().enumerate().filter(|(j, b)| *j != i && !b.labels.is_empty()).peekable();
            if others.peek().is_none() || others.any(|(_, b)| b.labels.iter().any(|l| a.labels.contains(l))) {
                continue;
            }
            let Some(b) = args.iter().enumerate().find(|(j, b)| *j != i && !b.labels.is_empty()).map(|(_, b)| *b)
            else {
                continue;
            };
            let (da, db) = (self.ty(a.node)?.dims, self.ty(b.node)?.dims);
            let show = |dims: &[Dim]| dims.iter().map(axis_word).collect::<Vec<_>>().join(", ");
            let d = Diagnostic::error(codes::AXIS_MISMATCH, "the operands share no axis")
                .at(span, format!("[{}] meets [{}] here", show(&da), show(&db)))
                .help("whole tensors match axes by name; use index notation for every pair: `y[i, j] = a[i] + b[j]`");
            let axes = [(&da[0], self.origins.get(a.node, 0)), (&db[0], self.origins.get(b.node, 0))];
            let d = self.with_origins(d, &axes);
            return self.cx.report(d);
        }
        Ok(())
    }

    /// Gives the derived axes of `b` that have no partner the labels of those of `a` that they equal by value.
    fn meet(&mut self, a: &TVal, b: &TVal) -> Res<TVal> {
        if self.ix.on {
            return Ok(b.clone());
        }
        let (da, db) = (self.ty(a.node)?.dims, self.ty(b.node)?.dims);
        Ok(TVal { node: b.node, labels: by_value(&b.labels, &db, &a.labels, &da) })
    }

    /// A pointwise node over tensors.
    pub(super) fn map(&mut self, span: Span, expr: ScalarExpr, args: &[&TVal]) -> Res<Val> {
        let mut types = Vec::new();
        for a in args {
            types.push(self.ty(a.node)?.dtype);
        }
        match expr.dtype(&types) {
            Err(why) => return self.cx.err(codes::TYPE, span, format!("types do not fit: {why}"), "here"),
            Ok(_) if types.contains(&DType::I32) && !types.contains(&DType::F32) => self.whole_literals(span, &expr)?,
            Ok(_) => {}
        }
        self.check_labels(span, args)?;
        let labels = self.merge_labels(args);
        self.check_rank(span, labels.len())?;
        let place = |l: &String| labels.iter().position(|m| m == l).map(|i| i as u32).unwrap_or(0);
        let at = args.iter().map(|a| a.labels.iter().map(place).collect()).collect();
        let nodes: Vec<NodeId> = args.iter().map(|a| a.node).collect();
        // One operand that occurs twice is one operand.
        let node = self.add(span, Op::Map { expr, at }, &nodes)?;
        Ok(Val::Tensor(TVal { node, labels }))
    }

    /// Refuses tensors of more axes than the graph holds.
    pub(super) fn check_rank(&mut self, span: Span, rank: usize) -> Res<()> {
        if rank <= spc_ir::MAX_RANK {
            return Ok(());
        }
        let text = format!("a tensor of {rank} axes is too large: {} are the most", spc_ir::MAX_RANK);
        self.cx.err(codes::TOO_LARGE, span, text, "here")
    }

    /// A literal as an expression, or the next argument.
    fn operand(v: &Val, args: &mut Vec<TVal>) -> Option<ScalarExpr> {
        match v {
            Val::Num(n) => Some(ScalarExpr::Const(*n)),
            Val::Static(n) => Some(ScalarExpr::Const(*n as f64)),
            Val::Bool(b) => Some(ScalarExpr::Const(f64::from(u8::from(*b)))),
            Val::Tensor(t) => {
                let at = args.iter().position(|a| a == t).unwrap_or_else(|| {
                    args.push(t.clone());
                    args.len() - 1
                });
                Some(ScalarExpr::Arg(at as u8))
            }
            _ => None,
        }
    }

    fn not_a_number<T>(&mut self, span: Span, v: &Val) -> Res<T> {
        if *v == Val::Poison {
            return Err(crate::cx::Stop);
        }
        let kind = self.kind(v);
        self.cx.err(
            codes::WRONG_KIND,
            span,
            format!("a number or a tensor is needed, not {kind}"),
            format!("this is {kind}"),
        )
    }

    pub(super) fn unary(&mut self, span: Span, f: UnFn, v: &Val) -> Res<Val> {
        let v = &v.plain();
        match (f, v) {
            (UnFn::Not, Val::Bool(b)) => return Ok(Val::Bool(!b)),
            (UnFn::Not, Val::Num(_) | Val::Static(_)) | (_, Val::Bool(_)) => {
                let kind = self.kind(v);
                return self.cx.err(codes::TYPE, span, format!("`{}` does not take {kind}", f.name()), "here");
            }
            (UnFn::Erf, Val::Num(n)) => {
                let node = self.add(span, Op::Const { value: *n, dtype: DType::F32 }, &[])?;
                return self.unary(span, f, &Val::Tensor(TVal { node, labels: Vec::new() }));
            }
            (_, Val::Num(n)) => return Ok(Val::Num(fold_un(f, *n))),
            (_, Val::Static(n)) => return self.unary(span, f, &Val::Num(*n as f64)),
            _ => {}
        }
        let mut args = Vec::new();
        match Self::operand(v, &mut args) {
            Some(a) if !args.is_empty() => {
                let refs: Vec<&TVal> = args.iter().collect();
                self.map(span, ScalarExpr::un(f, a), &refs)
            }
            _ => self.not_a_number(span, v),
        }
    }

    pub(super) fn binary(&mut self, span: Span, f: BinFn, a: &Val, b: &Val) -> Res<Val> {
        let (a, b) = (&a.plain(), &b.plain());
        for v in [a, b] {
            if !matches!(v, Val::Num(_) | Val::Static(_) | Val::Bool(_) | Val::Tensor(_)) {
                return self.not_a_number(span, v);
            }
        }
        if let (Val::Tensor(x), Val::Tensor(y)) = (a, b) {
            let met = self.meet(x, y)?;
            if met != *y {
                return self.binary(span, f, a, &Val::Tensor(met));
            }
        }
        let num = |v: &Val| match v {
            Val::Num(n) => Some(*n),
            Val::Static(n) => Some(*n as f64),
            _ => None,
        };
        if let (Some(x), Some(y)) = (num(a), num(b))
            && !f.is_logic()
        {
            return Ok(fold_bin(f, x, y));
        }
        if let (Val::Bool(x), Val::Bool(y)) = (a, b) {
            match f {
                BinFn::And => return Ok(Val::Bool(*x && *y)),
                BinFn::Or => return Ok(Val::Bool(*x || *y)),
                BinFn::Eq => return Ok(Val::Bool(x == y)),
                BinFn::Ne => return Ok(Val::Bool(x != y)),
                _ => {}
            }
        }
        let literal = |v: &Val| !matches!(v, Val::Tensor(_));
        if literal(a) && literal(b) {
            let (x, y) = (self.kind(a), self.kind(b));
            return self.cx.err(codes::TYPE, span, format!("`{}` does not take {x} and {y}", f.name()), "here");
        }
        let is_bool = |e: &Self, v: &Val| match v {
            Val::Tensor(t) => e.ty(t.node).is_ok_and(|t| t.dtype == DType::Bool),
            _ => false,
        };
        for (x, y) in [(a, b), (b, a)] {
            if literal(x) && is_bool(self, y) != matches!(x, Val::Bool(_)) {
                let (x, y) =
                    (self.kind(x), if literal(x) && is_bool(self, y) { "bool" } else { "a tensor of numbers" });
                return self.cx.err(codes::TYPE, span, format!("types do not fit: {x} and {y} do not mix"), "here");
            }
        }
        if let (BinFn::And | BinFn::Or, Val::Bool(x), y) | (BinFn::And | BinFn::Or, y, Val::Bool(x)) = (f, a, b) {
            return Ok(if *x == (f == BinFn::And) { y.clone() } else { Val::Bool(*x) });
        }
        if let (Val::Tensor(x), Some(y)) = (a, num(b)) {
            // Neutral literals: an absent bias, a unit scale. Exact but for the sign of zero.
            let neutral = match f {
                BinFn::Add | BinFn::Sub => y == 0.0,
                BinFn::Mul | BinFn::Div | BinFn::Pow => y == 1.0,
                _ => false,
            };
            if neutral && self.ty(x.node)?.dtype != DType::Bool {
                return Ok(a.clone());
            }
        }
        if let (Some(x), Val::Tensor(y)) = (num(a), b)
            && ((f == BinFn::Add && x == 0.0) || (f == BinFn::Mul && x == 1.0))
            && self.ty(y.node)?.dtype != DType::Bool
        {
            return Ok(b.clone());
        }
        let mut args = Vec::new();
        let (Some(x), Some(y)) = (Self::operand(a, &mut args), Self::operand(b, &mut args)) else {
            return self.not_a_number(span, a);
        };
        let expr = match (f, &y) {
            (BinFn::Pow, ScalarExpr::Const(c)) if *c == 2.0 => ScalarExpr::bin(BinFn::Mul, x.clone(), x),
            (BinFn::Mul, _) => self.multiply(x, y, &args)?,
            _ => ScalarExpr::bin(f, x, y),
        };
        let refs: Vec<&TVal> = args.iter().collect();
        self.map(span, expr, &refs)
    }

    /// A product; bool times number selects the number or 0.
    fn multiply(&mut self, x: ScalarExpr, y: ScalarExpr, args: &[TVal]) -> Res<ScalarExpr> {
        let mut is_bool = [false; 2];
        for (b, e) in is_bool.iter_mut().zip([&x, &y]) {
            if let ScalarExpr::Arg(i) = e {
                *b = self.ty(args[*i as usize].node)?.dtype == DType::Bool;
            }
        }
        Ok(match is_bool {
            [true, true] => ScalarExpr::bin(BinFn::And, x, y),
            [true, false] => ScalarExpr::select(x, y, ScalarExpr::Const(0.0)),
            [false, true] => ScalarExpr::select(y, x, ScalarExpr::Const(0.0)),
            [false, false] => ScalarExpr::bin(BinFn::Mul, x, y),
        })
    }

    pub(super) fn select(&mut self, span: Span, c: &Val, a: &Val, b: &Val) -> Res<Val> {
        let (a, b) = (&a.plain(), &b.plain());
        if let Val::Bool(c) = c {
            return Ok(if *c { a.clone() } else { b.clone() });
        }
        let mut kinds = Vec::new();
        for v in [a, b] {
            kinds.push(match v {
                Val::Bool(_) => true,
                Val::Tensor(t) => self.ty(t.node)?.dtype == DType::Bool,
                _ => false,
            });
        }
        let mut args = Vec::new();
        let mut parts = Vec::new();
        for v in [c, a, b] {
            match Self::operand(v, &mut args) {
                Some(e) => parts.push(e),
                None => return self.not_a_number(span, v),
            }
        }
        if kinds[0] != kinds[1] {
            let text = "types do not fit: one choice is true or false, the other a number";
            return self.cx.err(codes::TYPE, span, text, "here");
        }
        let Ok([c, a, b]) = <[ScalarExpr; 3]>::try_from(parts) else { return Err(crate::cx::Stop) };
        let refs: Vec<&TVal> = args.iter().collect();
        // Two literals have no operand that decides their type.
        let both_literal = matches!((&a, &b), (ScalarExpr::Const(_), ScalarExpr::Const(_)));
        let of = if kinds[0] { DType::Bool } else { DType::F32 };
        let a = if both_literal { ScalarExpr::cast(of, a) } else { a };
        self.map(span, ScalarExpr::select(c, a, b), &refs)
    }

    /// A literal next to i32 is an i32: it must be one.
    fn whole_literals(&mut self, span: Span, expr: &ScalarExpr) -> Res<()> {
        let parts = match expr {
            ScalarExpr::Bin(_, a, b) | ScalarExpr::Select(_, a, b) => [a, b],
            _ => return Ok(()),
        };
        for p in parts {
            if let ScalarExpr::Const(c) = **p
                && (c.fract() != 0.0 || c < f64::from(i32::MIN) || c > f64::from(i32::MAX) || c.is_nan())
            {
                let help = "`float(..)` makes the other operand f32";
                let text = format!("types do not fit: `{c}` is no i32");
                return self.cx.report(Diagnostic::error(codes::TYPE, text).at(span, "here").help(help));
            }
        }
        Ok(())
    }

    pub(super) fn cast(&mut self, span: Span, to: DType, v: &Val) -> Res<Val> {
        match v {
            Val::Tensor(t) if self.ty(t.node)?.dtype == to => Ok(v.clone()),
            Val::Tensor(t) => {
                let t = t.clone();
                self.map(span, ScalarExpr::cast(to, ScalarExpr::Arg(0)), &[&t])
            }
            Val::Num(_) | Val::Static(_) => Ok(v.clone()),
            _ => self.not_a_number(span, v),
        }
    }

    /// Reorders (and repeats along missing labels) so that the value has exactly these labels.
    pub(super) fn arrange(&mut self, span: Span, t: &TVal, labels: &[String], dims: &[Dim]) -> Res<TVal> {
        if t.labels == labels {
            return Ok(t.clone());
        }
        let place = |l: &String| labels.iter().position(|m| m == l).map(|i| i as u32);
        let at: Option<Vec<u32>> = t.labels.iter().map(place).collect();
        let Some(at) = at else {
            return self.cx.report(
                Diagnostic::error(codes::AXIS_MISMATCH, "the value has an axis that has no place here").at(span, ""),
            );
        };
        let op = if at.len() == labels.len() {
            let mut perm = vec![0u32; at.len()];
            for (j, p) in (0u32..).zip(&at) {
                perm[*p as usize] = j;
            }
            Op::Transpose { perm }
        } else {
            self.check_rank(span, dims.len())?;
            Op::Broadcast { dims: dims.to_vec(), at }
        };
        let node = self.add(span, op, &[t.node])?;
        Ok(TVal { node, labels: labels.to_vec() })
    }
}

fn fold_un(f: UnFn, x: f64) -> f64 {
    match f {
        UnFn::Neg => -x,
        UnFn::Abs => x.abs(),
        UnFn::Sqrt => x.sqrt(),
        UnFn::Exp => x.exp(),
        UnFn::Log => x.ln(),
        UnFn::Tanh => x.tanh(),
        UnFn::Sin => x.sin(),
        UnFn::Cos => x.cos(),
        UnFn::Floor => x.floor(),
        UnFn::Erf | UnFn::Not => f64::NAN,
    }
}

fn fold_bin(f: BinFn, x: f64, y: f64) -> Val {
    Val::Num(match f {
        BinFn::Add => x + y,
        BinFn::Sub => x - y,
        BinFn::Mul => x * y,
        BinFn::Div => x / y,
        BinFn::Max => x.max(y),
        BinFn::Min => x.min(y),
        BinFn::Pow => x.powf(y),
        BinFn::Lt => return Val::Bool(x < y),
        BinFn::Le => return Val::Bool(x <= y),
        BinFn::Gt => return Val::Bool(x > y),
        BinFn::Ge => return Val::Bool(x >= y),
        BinFn::Eq => return Val::Bool(x == y),
        BinFn::Ne => return Val::Bool(x != y),
        BinFn::And | BinFn::Or => f64::NAN,
    })
}
