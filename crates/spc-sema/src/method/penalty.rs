//! `penalty` items: value and prox of one number or of group norms, and compositions.
use super::expr::Elab;
use super::params::{argument, given, kind};
use super::{Ex, Given};
use crate::cx::{Cx, Res};
use crate::scope::{Names, Origin};
use crate::time::Bound;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::BinFn;
use spc_ir::method::{Body, Guard, Input, Kind, Lift, Penalty, Space, Target, Term};
use spc_syntax::ast::{
    self, Arg, BinaryOp, Expr, ExprKind, Handler, Hook, Ident, ItemKind, LhsKind, PenaltyBody, PenaltyItem,
    PenaltyKind, Stmt, UnaryOp,
};
use std::collections::BTreeMap;

/// A penalty as it is used: the item with what its parameters stand for.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    pub origin: Origin,
    pub item: &'a PenaltyItem,
    pub given: Option<BTreeMap<String, Given>>,
}

/// Finds a penalty by the words of a call.
pub(crate) fn find<'a>(cx: &mut Cx, names: &Names<'a>, from: &Origin, callee: &Expr) -> Res<(Origin, &'a PenaltyItem)> {
    let (found, name) = match &callee.kind {
        ExprKind::Name(n) => (names.find(from, n.as_str()), n),
        ExprKind::Member { base, name } => {
            let module = base.as_name().map(|n| n.name.clone()).unwrap_or_default();
            (names.find_member(&module, name.as_str()), name)
        }
        _ => return cx.err(codes::WRONG_KIND, callee.span, "this is no penalty", "the name of a penalty is needed"),
    };
    match found {
        Some((origin, ItemKind::Penalty(p))) => Ok((origin, p)),
        Some((_, other)) => {
            let text = format!("`{}` is a {}, not a penalty", name.name, other.word());
            cx.err(codes::WRONG_KIND, name.span, text, "a penalty is needed here")
        }
        None => {
            let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no penalty `{}`", name.name))
                .at(name.span, "no penalty of this name");
            let known: Vec<&str> = match from {
                None => names.known(),
                Some(m) => names.lib.names(m),
            };
            if names.lib.item("penalties", name.as_str()).is_some() {
                d = d.help(format!("add `use std.penalties.{}`", name.name));
            } else if let Some(near) =
                crate::cx::closest(name.as_str(), known.into_iter().chain(names.lib.names("penalties")))
            {
                d = d.help(format!("did you mean `{near}`?")).fix(name.span, near);
            }
            cx.report(d)
        }
    }
}

/// A call with its callee and arguments; a bare name is a call without arguments.
pub(crate) fn callee(e: &Expr) -> (&Expr, &[Arg]) {
    match &e.kind {
        ExprKind::Call { callee, args } => (callee, args),
        _ => (e, &[]),
    }
}

/// The whole of a penalty.
pub(crate) fn penalty(cx: &mut Cx, names: &Names<'_>, call: &Call<'_>, lift: Lift) -> Res<Penalty> {
    let mut out = Penalty { name: call.item.name.name.clone(), terms: Vec::new() };
    let weights = Vec::new();
    terms(cx, names, call, lift, &weights, None, &mut Vec::new(), &mut out.terms)?;
    Ok(out)
}

/// A factor in front of a term, in the words of its file, with that file's parameters.
#[derive(Clone)]
struct Factor<'a> {
    expr: Expr,
    around: Call<'a>,
}

fn elab<'a>(cx: &mut Cx, names: &'a Names<'a>, call: &Call<'_>) -> Res<Elab<'a>> {
    let mut e = Elab::new(names, call.origin.clone());
    times(&mut e, call);
    e.bind(cx, &call.item.params, call.given.as_ref())?;
    Ok(e)
}

fn times(e: &mut Elab<'_>, call: &Call<'_>) {
    for p in &call.item.params {
        let bound = match call.given.as_ref().and_then(|g| g.get(&p.name.name)) {
            Some(Given::Number(s)) => Bound::schedule(s),
            Some(_) => continue,
            None => Bound::open(&p.name.name),
        };
        e.times.insert(p.name.name.clone(), bound);
    }
}

#[allow(clippy::too_many_arguments)]
fn terms<'a>(
    cx: &mut Cx,
    names: &Names<'a>,
    call: &Call<'a>,
    lift: Lift,
    factors: &[Factor<'a>],
    guard: Option<&Guard>,
    stack: &mut Vec<(Origin, String)>,
    out: &mut Vec<Term>,
) -> Res<()> {
    enter(cx, stack, call, call.item.name.span)?;
    match &call.item.body {
        PenaltyBody::Terms(list) => {
            for t in list {
                let over = match t.group.group.as_name().map(|n| n.as_str()) {
                    _ if t.group.of.is_some() => None,
                    Some("elements") => Some(Lift::Elements),
                    Some("groups") => Some(Lift::Groups),
                    Some("tree") => Some(Lift::Tree),
                    _ => None,
                };
                let Some(over) = over else {
                    let d = Diagnostic::error(codes::WRONG_KIND, "a penalty does not know the groups it is used on")
                        .at(t.group.span, "a group of a program")
                        .help("write `of elements`, `of groups` or `of tree`");
                    return cx.report(d);
                };
                let own = match &t.guard {
                    Some(g) => Some(self::guard(cx, call, g)?),
                    None => guard.cloned(),
                };
                let (inner, weight) = factored(cx, names, call, &t.value)?;
                let all: Vec<Factor<'a>> = factors.iter().cloned().chain(weight).collect();
                terms(cx, names, &inner, over, &all, own.as_ref(), stack, out)?;
            }
        }
        PenaltyBody::Expr(_) | PenaltyBody::Hooks(_) => {
            let radial = call.item.kind == Some(PenaltyKind::Radial);
            let mut weight = Elab::new(names, None);
            let mut product = Ex::literal(1.0);
            for f in factors {
                let mut e = Elab::new(names, f.around.origin.clone());
                std::mem::swap(&mut e.b, &mut weight.b);
                times(&mut e, &f.around);
                e.bind(cx, &f.around.item.params, f.around.given.as_ref())?;
                let x = e.float(cx, &f.expr)?;
                std::mem::swap(&mut e.b, &mut weight.b);
                product = if product.as_literal() == Some(1.0) { x } else { Ex::bin(BinFn::Mul, &product, &x) };
            }
            let at = call.item.name.span;
            weight.b.result(cx, Target::Result, &product, at)?;
            let value = hook(cx, names, call, "value")?;
            let Some(value) = value else {
                let text = format!("the penalty `{}` has no `value`", call.item.name.name);
                return cx.err(codes::HOOK, at, text, "no value");
            };
            let prox = hook(cx, names, call, "prox")?;
            out.push(Term { weight: weight.b.finish(), value, prox, radial, lift, guard: guard.cloned(), over: 0 });
        }
    }
    stack.pop();
    Ok(())
}

fn enter(cx: &mut Cx, stack: &mut Vec<(Origin, String)>, call: &Call<'_>, span: Span) -> Res<()> {
    let key = (call.origin.clone(), call.item.name.name.clone());
    if stack.contains(&key) || stack.len() > 32 {
        let text = format!("the penalty `{}` is defined by itself", call.item.name.name);
        return cx.err(codes::RECURSION, span, text, "refers to itself, directly or through others");
    }
    stack.push(key);
    Ok(())
}

/// `where select(c)` or `where !select(c)`.
fn guard(cx: &mut Cx, call: &Call<'_>, e: &Expr) -> Res<Guard> {
    let (inner, kept) = match &e.kind {
        ExprKind::Unary { op: UnaryOp::Not, arg } => (&**arg, false),
        _ => (e, true),
    };
    let (f, args) = callee(inner);
    let name = match args {
        [a] if a.is_plain() && f.as_name().is_some_and(|n| n.as_str() == "select") => a.value.as_name(),
        _ => None,
    };
    let Some(name) = name else {
        let d = Diagnostic::error(codes::WRONG_KIND, "a term is limited by what a constraint keeps")
            .at(e.span, "something else")
            .help("write `where select(c)` or `where !select(c)`");
        return cx.report(d);
    };
    let mut known = Vec::new();
    for p in &call.item.params {
        if kind(cx, p)? == "constraint" {
            known.push(p.name.as_str());
        }
    }
    if !known.contains(&name.as_str()) {
        return cx.unknown(name.span, "constraint", name.as_str(), known);
    }
    let constraint = match call.given.as_ref().and_then(|g| g.get(name.as_str())) {
        Some(Given::Constraint(c)) => c.clone(),
        _ => name.name.clone(),
    };
    Ok(Guard { constraint, kept })
}

/// `mix * l1()`: the penalty, and the factors before and behind it.
fn factored<'a>(cx: &mut Cx, names: &Names<'a>, around: &Call<'a>, e: &Expr) -> Res<(Call<'a>, Vec<Factor<'a>>)> {
    let (call, factors) = split(cx, names, &around.origin, e)?;
    let (f, args) = callee(call);
    let (origin, item) = find(cx, names, &around.origin, f)?;
    let factors = factors.into_iter().map(|expr| Factor { expr: expr.clone(), around: around.clone() }).collect();
    let given = inner_args(cx, names, around, (&item.name, &origin, item), args, call.span)?;
    Ok((Call { origin, item, given: Some(given) }, factors))
}

/// The one factor of a product that is a penalty, and the others.
pub(crate) fn split<'e>(cx: &mut Cx, names: &Names<'_>, from: &Origin, e: &'e Expr) -> Res<(&'e Expr, Vec<&'e Expr>)> {
    let (mut todo, mut calls, mut factors) = (vec![e], Vec::new(), Vec::new());
    while let Some(e) = todo.pop() {
        let is_penalty = |e: &Expr| match &callee(e).0.kind {
            ExprKind::Name(n) => matches!(names.find(from, n.as_str()), Some((_, ItemKind::Penalty(_)))),
            ExprKind::Member { base, name } => {
                let module = base.as_name().map(|n| n.as_str()).unwrap_or_default();
                matches!(names.find_member(module, name.as_str()), Some((_, ItemKind::Penalty(_))))
            }
            _ => false,
        };
        match &e.kind {
            ExprKind::Binary { op: BinaryOp::Mul, lhs, rhs, .. } => todo.extend([&**rhs, &**lhs]),
            _ if is_penalty(e) => calls.push(e),
            _ => factors.push(e),
        }
    }
    match calls.as_slice() {
        [one] => Ok((one, factors)),
        // The last call is the one that was meant.
        [] => match factors.iter().rposition(|f| matches!(f.kind, ExprKind::Call { .. } | ExprKind::Name(_))) {
            Some(i) => find(cx, names, from, callee(factors[i]).0).map(|_| (factors[i], Vec::new())),
            None => cx.err(codes::WRONG_KIND, e.span, "a penalty is needed here", "expected for example `1e-3 * l1()`"),
        },
        _ => cx.err(codes::WRONG_KIND, e.span, "a product of penalties is none", "one penalty, and numbers before it"),
    }
}

/// Arguments in the words of a penalty around: its parameters may be passed on.
fn inner_args<'a>(
    cx: &mut Cx,
    names: &Names<'a>,
    around: &Call<'a>,
    (name, origin, item): (&Ident, &Origin, &PenaltyItem),
    args: &[Arg],
    span: Span,
) -> Res<BTreeMap<String, Given>> {
    let mut user = |cx: &mut Cx, e: &Expr, kind: &str| -> Res<Given> {
        if let Some(n) = e.as_name()
            && around.item.params.iter().any(|p| p.name.name == n.name)
        {
            return Ok(around.given.as_ref().and_then(|g| g.get(n.as_str())).cloned().unwrap_or(Given::Open));
        }
        if matches!(kind, "f32" | "int" | "pct" | "schedule") {
            let mut b = Elab::new(names, around.origin.clone());
            times(&mut b, around);
            return Ok(Given::Number(b.time(cx, e)?));
        }
        argument(cx, names, &around.origin, e, kind)
    };
    given(cx, names, (name, origin, &item.params), args, span, &mut user, false)
}

/// Value or prox of a penalty that is no composition.
fn hook<'a>(cx: &mut Cx, names: &'a Names<'a>, call: &Call<'a>, which: &str) -> Res<Option<Body>> {
    let mut e = elab(cx, names, call)?;
    let norms = e.b.input(Input::Norms, Space::Group, Kind::Float);
    let tau = e.b.input(Input::Tau, Space::Scalar, Kind::Float);
    let given = if which == "prox" { vec![norms, tau] } else { vec![norms] };
    let Some(x) = e.hook_of(cx, call.item, which, &given)? else { return Ok(None) };
    e.b.result(cx, Target::Result, &x, call.item.name.span)?;
    Ok(Some(e.b.finish()))
}

impl<'a> Elab<'a> {
    /// Inlines value or prox of a penalty whose parameters are in scope; nothing when it has none.
    fn hook_of(&mut self, cx: &mut Cx, item: &'a PenaltyItem, which: &str, given: &[Ex]) -> Res<Option<Ex>> {
        let key = (self.origin.clone(), item.name.name.clone());
        let depth = self.stack.iter().filter(|k| **k == key).count();
        if depth > 0 || self.stack.len() > 32 {
            let text = format!("the penalty `{}` is defined by itself", item.name.name);
            return cx.err(codes::RECURSION, item.name.span, text, "refers to itself, directly or through others");
        }
        self.stack.push(key);
        let out = match &item.body {
            PenaltyBody::Hooks(hooks) => self.written(cx, item, hooks, which, given),
            PenaltyBody::Expr(e) => {
                let (f, args) = callee(e);
                let inner = find(cx, self.names, &self.origin, f)?;
                if inner.1.kind != item.kind {
                    let text = format!("`{}` is of another kind than `{}`", inner.1.name.name, item.name.name);
                    return cx.err(codes::WRONG_KIND, f.span, text, "not the same kind of penalty");
                }
                self.inlined(cx, inner, args, which, given, e.span)
            }
            PenaltyBody::Terms(_) => {
                let text = format!("`{}` is a composition and has no `{which}` of its own", item.name.name);
                cx.err(codes::WRONG_KIND, item.name.span, text, "a composition")
            }
        };
        self.stack.pop();
        out
    }

    /// Another penalty's hook, with arguments in the words of this file.
    fn inlined(
        &mut self,
        cx: &mut Cx,
        (origin, item): (Origin, &'a PenaltyItem),
        args: &[Arg],
        which: &str,
        given: &[Ex],
        span: Span,
    ) -> Res<Option<Ex>> {
        let names = self.names;
        let mut user = |cx: &mut Cx, e: &Expr, _: &str| -> Res<Given> { Ok(Given::Ready(self.expr(cx, e)?)) };
        let values =
            super::params::given(cx, names, (&item.name, &origin, &item.params), args, span, &mut user, false)?;
        let vars = std::mem::take(&mut self.vars);
        let times = std::mem::take(&mut self.times);
        let index = self.index.take();
        let shared = std::mem::take(&mut self.shared);
        let from = std::mem::replace(&mut self.origin, origin);
        let out = self.bind(cx, &item.params, Some(&values)).and_then(|()| self.hook_of(cx, item, which, given));
        self.vars = vars;
        self.times = times;
        self.index = index;
        self.shared = shared;
        self.origin = from;
        out
    }

    /// `wgsef(keep).value(a)`
    pub fn part(&mut self, cx: &mut Cx, base: &Expr, name: &Ident, args: &[Arg], span: Span) -> Res<Ex> {
        if !matches!(name.as_str(), "value" | "prox") {
            return cx.unknown(name.span, "part of a penalty", name.as_str(), ["value", "prox"]);
        }
        let (f, own) = callee(base);
        let inner = find(cx, self.names, &self.origin, f)?;
        let mut given = Vec::new();
        for a in args {
            given.push(self.float(cx, &a.value)?);
        }
        let want = if name.as_str() == "prox" { 2 } else { 1 };
        if given.len() != want {
            let text = format!("`{}` takes {want} argument{}", name.name, if want == 1 { "" } else { "s" });
            return cx.err(codes::ARGUMENT, span, text, format!("{} given", given.len()));
        }
        match self.inlined(cx, inner, own, name.as_str(), &given, span)? {
            Some(x) => Ok(x),
            None => {
                let text = format!("this penalty has no `{}`", name.name);
                cx.err(codes::NO_PROX, name.span, text, "not defined")
            }
        }
    }

    fn written(
        &mut self,
        cx: &mut Cx,
        item: &PenaltyItem,
        hooks: &'a [Hook],
        which: &str,
        given: &[Ex],
    ) -> Res<Option<Ex>> {
        let mut found: Option<&Handler> = None;
        for h in hooks {
            match h {
                Hook::Handler(h) if matches!(h.name.as_str(), "value" | "prox") => {
                    if h.name.as_str() == which && found.replace(h).is_some() {
                        return cx.err(codes::HOOK, h.name.span, format!("`{which}` is written twice"), "again here");
                    }
                }
                Hook::Handler(h) => {
                    let d = Diagnostic::error(codes::HOOK, format!("a penalty has no hook `{}`", h.name.name))
                        .at(h.name.span, "a hook of an update")
                        .help("its hooks are value and prox");
                    return cx.report(d);
                }
                // A name that both hooks may use; read where it is used.
                Hook::Assign(a) => match &a.lhs.kind {
                    LhsKind::Name { name, index: None } => _ = self.shared.insert(name.name.clone(), &a.value),
                    _ => return cx.err(codes::HOOK, a.lhs.span, "a plain name is needed here", "not a name"),
                },
                other => {
                    let d = Diagnostic::error(codes::HOOK, "a penalty has only the hooks value and prox")
                        .at(other.span(), "not a hook")
                        .help("a penalty remembers nothing: masks, states and observers belong to an `update`");
                    return cx.report(d);
                }
            }
        }
        let Some(h) = found else { return Ok(None) };
        let Some(penalty_kind) = item.kind else {
            let d = Diagnostic::error(
                codes::HOOK,
                format!("the penalty `{}` does not say of what it is a function", item.name.name),
            )
            .at(item.name.span, "neither `radial` nor `of groups`")
            .help("write `penalty NAME(..) radial { .. }` or `penalty NAME(..) of groups { .. }`");
            return cx.report(d);
        };
        let radial = penalty_kind == PenaltyKind::Radial;
        let shape = match (radial, which) {
            (true, "value") => "value(x)",
            (true, _) => "prox(x, tau)",
            (false, "value") => "value(a[j])",
            (false, _) => "prox(a[j], tau)",
        };
        let fits = h.params.len() == given.len()
            && h.params.iter().enumerate().all(|(i, p)| {
                let index = p.index.as_ref().map(|i| i.len());
                p.ty.is_none() && p.default.is_none() && index == if !radial && i == 0 { Some(1) } else { None }
            });
        if !fits || h.every.is_some() {
            let d = Diagnostic::error(codes::HOOK, format!("`{which}` has other inputs here"))
                .at(h.span, "these do not fit")
                .help(format!("write `{shape}`"));
            return cx.report(d);
        }
        for (p, x) in h.params.iter().zip(given) {
            self.vars.insert(p.name.name.clone(), x.clone());
        }
        self.index = h.params[0].index.as_ref().and_then(|i| match i.as_slice() {
            [ast::Idx { kind: ast::IdxKind::Expr(e), .. }] => e.as_name().map(|n| n.name.clone()),
            _ => None,
        });
        let x = match &h.body {
            ast::Body::Expr(e) => self.float(cx, e)?,
            ast::Body::Block(b) => {
                for s in &b.stmts {
                    let Stmt::Assign(a) = s else {
                        return cx.err(codes::HOOK, s.span(), "only assignments stand in a hook", "not an assignment");
                    };
                    let LhsKind::Name { name, index } = &a.lhs.kind else {
                        return cx.err(codes::HOOK, a.lhs.span, "a plain name is needed here", "not a name");
                    };
                    if let Some(idx) = index {
                        self.check_index(cx, idx, a.lhs.span)?;
                    }
                    let x = self.expr(cx, &a.value)?;
                    if index.is_none() && x.space == Space::Group && !radial {
                        let d =
                            Diagnostic::error(codes::INDEX, format!("`{}` has one value for each group", name.name))
                                .at(a.lhs.span, "no index")
                                .help(format!("write `{}[{}] = ..`", name.name, self.index.as_deref().unwrap_or("j")));
                        return cx.report(d);
                    }
                    let x = self.b.named(cx, &x, name.as_str(), a.value.span)?;
                    self.vars.insert(name.name.clone(), x);
                }
                let Some([r]) = h.results.as_ref().map(|r| r.list.as_slice()) else {
                    return cx.err(
                        codes::HOOK,
                        h.name.span,
                        format!("`{which}` does not say what it gives"),
                        "no `->`",
                    );
                };
                match self.vars.get(r.name.as_str()).cloned() {
                    Some(x) => x.float(),
                    None => {
                        let text = format!("`{}` is never assigned", r.name.name);
                        return cx.err(codes::HOOK, r.span, text, "declared here");
                    }
                }
            }
        };
        let wanted = if radial || which == "prox" { Space::Group } else { Space::Scalar };
        match (wanted, x.space) {
            (Space::Group, Space::Scalar) => Ok(Some(self.widen(&x, Space::Group))),
            (a, b) if a == b => Ok(Some(x)),
            _ => {
                let d = Diagnostic::error(codes::HOOK, format!("`{which}` gives one number for all groups"))
                    .at(h.name.span, "gives one for each group")
                    .help("write `sum(.. over j)`");
                cx.report(d)
            }
        }
    }
}
