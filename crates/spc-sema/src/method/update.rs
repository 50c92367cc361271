//! `update` items: memory, hooks, observers.
use super::Given;
use super::expr::{Elab, Memory};
use super::params::kind;
use crate::cx::{Cx, Res};
use crate::scope::{Names, Origin};
use crate::time::Bound;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{
    Body, Input, Kind, Mask, Refresh, Schedule, Space, State, Target, TimeExpr, Timing, Unit, Update,
};
use spc_syntax::ast::{self, Every, Handler, Hook, Ident, LhsKind, Stmt, TypeKind, UpdateItem};
use std::collections::BTreeMap;

/// A hook: its inputs, and its results in the order in which they are written.
struct HookKind {
    name: &'static str,
    inputs: &'static [&'static str],
    results: &'static [&'static str],
    /// It may change masks and states.
    remembers: bool,
}

const HOOKS: [HookKind; 6] = [
    HookKind { name: "forward", inputs: &["w"], results: &["w"], remembers: false },
    HookKind { name: "backward", inputs: &["w", "g"], results: &["g"], remembers: false },
    HookKind { name: "grad", inputs: &["w", "g"], results: &["g"], remembers: false },
    HookKind { name: "step", inputs: &["w", "g", "lr"], results: &["w"], remembers: true },
    HookKind { name: "after", inputs: &["w"], results: &["w"], remembers: false },
    HookKind { name: "refresh", inputs: &["w", "g", "moments"], results: &["w", "moments"], remembers: true },
];

/// What all hooks of one update share.
struct Item<'a> {
    names: &'a Names<'a>,
    origin: &'a Origin,
    item: &'a UpdateItem,
    given: Option<&'a BTreeMap<String, Given>>,
    memory: BTreeMap<String, Memory>,
    shared: BTreeMap<String, &'a ast::Expr>,
}

/// An update with its arguments, or, without any, its definition with the parameters left open.
pub(crate) fn update<'a>(
    cx: &mut Cx,
    names: &'a Names<'a>,
    origin: &'a Origin,
    item: &'a UpdateItem,
    given: Option<&'a BTreeMap<String, Given>>,
) -> Res<Update> {
    let mut u = Item { names, origin, item, given, memory: BTreeMap::new(), shared: BTreeMap::new() };
    u.declare(cx)?;
    u.hooks(cx)
}

impl<'a> Item<'a> {
    /// Names of masks, states and shared values; every name once.
    fn declare(&mut self, cx: &mut Cx) -> Res<()> {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut constraints = 0;
        for p in &self.item.params {
            constraints += usize::from(kind(cx, p)? == "constraint");
            if constraints > 1 {
                return cx.err(codes::HOOK, p.span, "an update acts on one constraint", "a second constraint");
            }
            once(cx, &mut seen, &p.name)?;
        }
        for h in &self.item.hooks {
            match h {
                Hook::Mask(m) => {
                    once(cx, &mut seen, &m.name)?;
                    self.memory.insert(m.name.name.clone(), Memory::Mask);
                }
                Hook::State(s) => {
                    once(cx, &mut seen, &s.name)?;
                    self.memory.insert(s.name.name.clone(), Memory::State(state_kind(cx, s)?));
                }
                Hook::Assign(a) => match &a.lhs.kind {
                    LhsKind::Name { name, index: None } => {
                        once(cx, &mut seen, name)?;
                        self.shared.insert(name.name.clone(), &a.value);
                    }
                    _ => return cx.err(codes::HOOK, a.lhs.span, "a plain name is needed here", "not a name"),
                },
                Hook::Observe(o) => once(cx, &mut seen, &o.name)?,
                Hook::Handler(_) => {}
            }
        }
        Ok(())
    }

    /// A body to fill, with parameters, memory and shared values in scope.
    fn elab(&self, cx: &mut Cx) -> Res<Elab<'a>> {
        let mut e = Elab::new(self.names, self.origin.clone());
        e.memory = self.memory.clone();
        e.shared = self.shared.clone();
        for p in &self.item.params {
            let bound = match self.given.and_then(|g| g.get(&p.name.name)) {
                Some(Given::Number(s)) => Bound::schedule(s),
                Some(_) => continue,
                None => Bound::open(&p.name.name),
            };
            e.times.insert(p.name.name.clone(), bound);
        }
        e.bind(cx, &self.item.params, self.given)?;
        Ok(e)
    }

    fn hooks(&self, cx: &mut Cx) -> Res<Update> {
        let mut out = Update { name: self.item.name.name.clone(), ..Update::default() };
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        // Each broken hook is reported.
        let mut broken = false;
        for h in &self.item.hooks {
            let done = match h {
                Hook::Mask(m) => self.mask(cx, m).map(|m| out.masks.push(m)),
                Hook::State(s) => self.state(cx, s).map(|s| out.states.push(s)),
                Hook::Observe(o) => self.observer(cx, o).map(|b| out.observers.push((o.name.name.clone(), b))),
                Hook::Handler(h) => {
                    if let Some(first) = seen.insert(h.name.as_str(), h.name.span) {
                        let text = format!("the hook `{}` is written twice", h.name.name);
                        let d = Diagnostic::error(codes::HOOK, text).at(h.name.span, "again here");
                        cx.report(d.also(first, "first here"))
                    } else {
                        self.handler(cx, h, &mut out)
                    }
                }
                Hook::Assign(a) => self.shared_value(cx, a),
            };
            broken |= done.is_err();
        }
        if broken { Err(crate::cx::Stop) } else { Ok(out) }
    }

    /// A value that hooks share is read where it is used; here only to find its mistakes.
    fn shared_value(&self, cx: &mut Cx, a: &ast::Assign) -> Res<()> {
        let mut e = self.elab(cx)?;
        if let LhsKind::Name { name, .. } = &a.lhs.kind {
            e.shared.remove(name.as_str());
        }
        for (word, input) in [("w", Input::Weight), ("g", Input::Grad)] {
            let x = e.b.input(input, Space::Element, Kind::Float);
            e.vars.entry(word.into()).or_insert(x);
        }
        e.expr(cx, &a.value).map(|_| ())
    }

    fn mask(&self, cx: &mut Cx, m: &ast::MaskHook) -> Res<Mask> {
        let mut e = self.elab(cx)?;
        e.may_choose = true;
        let w = e.b.input(Input::Weight, Space::Element, Kind::Float);
        e.vars.entry("w".into()).or_insert(w);
        let x = e.truth(cx, &m.value)?;
        let x = if x.space == Space::Element { x } else { e.widen(&x, Space::Element) };
        e.b.result(cx, Target::Result, &x, m.value.span)?;
        let timing = match &m.timing {
            None => Timing::Always,
            Some(t) => self.timing(cx, t)?,
        };
        Ok(Mask { name: m.name.name.clone(), rule: e.b.finish(), timing })
    }

    fn timing(&self, cx: &mut Cx, t: &ast::Timing) -> Res<Timing> {
        match t {
            ast::Timing::When(e) => {
                cx.err(codes::HOOK, e.span, "`when` has no meaning in an update", "write `every` or `at`")
            }
            ast::Timing::At(e) if e.as_name().is_some_and(|n| n.as_str() == "init") => Ok(Timing::Init),
            ast::Timing::At(e) => {
                let mut b = self.elab(cx)?;
                Ok(Timing::At(share(cx, &mut b, e)?))
            }
            ast::Timing::Every(e) => self.every(cx, e),
        }
    }

    fn every(&self, cx: &mut Cx, e: &Every) -> Res<Timing> {
        if let Some(u) = &e.unit
            && !matches!(u.as_str(), "step" | "steps")
        {
            return cx.err(codes::HOOK, u.span, format!("an update counts steps, not {}", u.name), "expected `steps`");
        }
        let mut b = self.elab(cx)?;
        let count = b.time(cx, &e.count)?;
        let constant = count.at(&spc_ir::method::Moment::END).map(|q| q.value);
        if count.expr.is_constant() && !constant.is_ok_and(|n| n >= 1.0 && n.fract() == 0.0) {
            return cx.err(codes::HOOK, e.count.span, "a positive number of steps is needed here", "not one");
        }
        let until = match &e.until {
            Some(u) => Some(share(cx, &mut b, u)?),
            None => None,
        };
        Ok(Timing::Every { count, until })
    }

    fn state(&self, cx: &mut Cx, s: &ast::StateStmt) -> Res<State> {
        if let Some(t) = &s.timing {
            let span = match t {
                ast::Timing::When(e) | ast::Timing::At(e) => e.span,
                ast::Timing::Every(e) => e.span,
            };
            return cx.err(
                codes::HOOK,
                span,
                "a state of an update changes in `step` and `refresh` only",
                "no timing here",
            );
        }
        let kind = state_kind(cx, s)?;
        let mut e = self.elab(cx)?;
        let w = e.b.input(Input::Weight, Space::Element, Kind::Float);
        e.vars.entry("w".into()).or_insert(w);
        let x = if kind == Kind::Bool { e.truth(cx, &s.value)? } else { e.float(cx, &s.value)? };
        e.b.result(cx, Target::Result, &x, s.value.span)?;
        Ok(State { name: s.name.name.clone(), kind, init: e.b.finish() })
    }

    fn observer(&self, cx: &mut Cx, o: &ast::Observe) -> Res<Body> {
        let mut e = self.elab(cx)?;
        for (word, input) in [("w", Input::Weight), ("g", Input::Grad)] {
            let x = e.b.input(input, Space::Element, Kind::Float);
            e.vars.entry(word.into()).or_insert(x);
        }
        let x = e.float(cx, &o.value)?;
        if x.space != Space::Scalar {
            let d = Diagnostic::error(codes::HOOK, "an observer is one number")
                .at(o.value.span, format!("one for each {}", x.space))
                .help("write `mean(..)`, `sum(..)` or `count(..)`");
            return cx.report(d);
        }
        e.b.result(cx, Target::Result, &x, o.value.span)?;
        Ok(e.b.finish())
    }

    fn handler(&self, cx: &mut Cx, h: &Handler, out: &mut Update) -> Res<()> {
        let Some(k) = HOOKS.iter().find(|k| k.name == h.name.as_str()) else {
            let d = Diagnostic::error(codes::HOOK, format!("an update has no hook `{}`", h.name.name))
                .at(h.name.span, "a hook of a penalty")
                .help("its hooks are forward, backward, grad, step, after and refresh");
            return cx.report(d);
        };
        let mut e = self.elab(cx)?;
        for p in &h.params {
            let input = match p.name.as_str() {
                "w" => Input::Weight,
                "g" => Input::Grad,
                "moments" => Input::Moments,
                _ => Input::Rate,
            };
            if !k.inputs.contains(&p.name.as_str()) || p.index.is_some() || p.ty.is_some() || p.default.is_some() {
                let d = Diagnostic::error(codes::HOOK, format!("`{}` has no input `{}`", k.name, p.name.name))
                    .at(p.span, "not an input of this hook")
                    .help(format!("its inputs are: {}", k.inputs.join(", ")));
                return cx.report(d);
            }
            let space = if input == Input::Rate { Space::Scalar } else { Space::Element };
            let x = e.b.input(input, space, Kind::Float);
            e.vars.insert(p.name.name.clone(), x);
        }
        if let Some(every) = h.every.as_ref().filter(|_| k.name != "refresh") {
            let text = format!("`{}` runs at every step", k.name);
            return cx.err(codes::HOOK, every.span, text, "only `refresh` has a timing");
        }
        let mut results: Vec<&Ident> = Vec::new();
        for r in h.results.iter().flat_map(|r| &r.list) {
            if !k.results.contains(&r.name.as_str())
                || r.index.is_some()
                || results.iter().any(|x| x.name == r.name.name)
            {
                let d = Diagnostic::error(codes::HOOK, format!("`{}` does not give `{}`", k.name, r.name.name))
                    .at(r.span, "not a result of this hook")
                    .help(format!("it gives: {}", k.results.join(", ")));
                return cx.report(d);
            }
            results.push(&r.name);
        }
        match &h.body {
            ast::Body::Expr(value) => {
                let x = e.float(cx, value)?;
                let x = if x.space == Space::Element { x } else { e.widen(&x, Space::Element) };
                e.b.result(cx, target(k, k.results[0]), &x, value.span)?;
            }
            ast::Body::Block(b) => {
                if results.is_empty() && !k.remembers {
                    let d = Diagnostic::error(codes::HOOK, format!("`{}` does not say what it gives", k.name))
                        .at(h.name.span, "no `->`")
                        .help(format!("write `{}(..) -> {} {{ .. }}`", k.name, k.results[0]));
                    return cx.report(d);
                }
                self.block(cx, &mut e, k, &results, &b.stmts)?;
                for r in &results {
                    let Some(x) = e.vars.get(r.as_str()).cloned() else {
                        let text = format!("`{}` is never assigned", r.name);
                        return cx.err(codes::HOOK, r.span, text, "declared here");
                    };
                    let x = if x.space == Space::Element { x } else { e.widen(&x.float(), Space::Element) };
                    e.b.result(cx, target(k, r.as_str()), &x.float(), r.span)?;
                }
            }
        }
        let body = e.b.finish();
        match k.name {
            "forward" => out.forward = Some(body),
            "backward" => out.backward = Some(body),
            "grad" => out.grad = Some(body),
            "step" => out.step = Some(body),
            "after" => out.after = Some(body),
            _ => {
                let timing = match &h.every {
                    Some(e) => self.every(cx, e)?,
                    None => Timing::Always,
                };
                out.refresh = Some(Refresh { body, timing });
            }
        }
        Ok(())
    }

    fn block(&self, cx: &mut Cx, e: &mut Elab<'a>, k: &HookKind, results: &[&Ident], stmts: &[Stmt]) -> Res<()> {
        for s in stmts {
            let Stmt::Assign(a) = s else {
                return cx.err(codes::HOOK, s.span(), "only assignments stand in a hook", "not an assignment");
            };
            let LhsKind::Name { name, index: None } = &a.lhs.kind else {
                return cx.err(codes::HOOK, a.lhs.span, "a plain name is needed here", "not a name");
            };
            let x = e.expr(cx, &a.value)?;
            let memory = self.memory.get(name.as_str());
            let input = k.inputs.contains(&name.as_str()) && !results.iter().any(|r| r.name == name.name);
            if input || (memory.is_some() && !k.remembers) {
                let text = format!("`{}` does not change `{}`", k.name, name.name);
                let d = Diagnostic::error(codes::HOOK, text).at(name.span, "assigned here");
                return cx.report(if input {
                    d.help(format!("declare it as a result: `-> {}`", name.name))
                } else {
                    d.help("masks and states change in `step` and `refresh`")
                });
            }
            let x = match memory {
                Some(m) => {
                    let want = if let Memory::State(kind) = m { *kind } else { Kind::Bool };
                    if want == Kind::Bool && x.kind != Kind::Bool {
                        let text = format!("`{}` is a mask", name.name);
                        return cx.err(codes::TYPE, a.value.span, text, "this is a number");
                    }
                    let x = if want == Kind::Float { x.float() } else { x };
                    let x = if x.space == Space::Element { x } else { e.widen(&x, Space::Element) };
                    let t = match m {
                        Memory::Mask => Target::Mask(name.name.clone()),
                        Memory::State(_) => Target::State(name.name.clone()),
                    };
                    let x = e.b.named(cx, &x, name.as_str(), a.value.span)?;
                    e.b.result(cx, t, &x, a.value.span)?;
                    x
                }
                None => e.b.named(cx, &x, name.as_str(), a.value.span)?,
            };
            e.vars.insert(name.name.clone(), x);
        }
        Ok(())
    }
}

fn target(k: &HookKind, result: &str) -> Target {
    match (k.name, result) {
        ("step" | "refresh" | "after", "w") => Target::Weight,
        ("refresh", _) => Target::Moments,
        _ => Target::Result,
    }
}

fn once<'n>(cx: &mut Cx, seen: &mut BTreeMap<&'n str, Span>, n: &'n Ident) -> Res<()> {
    match seen.insert(n.as_str(), n.span) {
        Some(first) => {
            let text = format!("`{}` is declared twice", n.name);
            let d = Diagnostic::error(codes::DUPLICATE, text).at(n.span, "declared again here");
            cx.report(d.also(first, "first declared here"))
        }
        None => Ok(()),
    }
}

/// `f32 like w` or `bool like w`.
fn state_kind(cx: &mut Cx, s: &ast::StateStmt) -> Res<Kind> {
    match s.ty.as_ref().map(|t| &t.kind) {
        Some(TypeKind::Like { name, of }) if of.as_str() == "w" && name.as_str() == "f32" => Ok(Kind::Float),
        Some(TypeKind::Like { name, of }) if of.as_str() == "w" && name.as_str() == "bool" => Ok(Kind::Bool),
        _ => {
            let span = s.ty.as_ref().map_or(s.name.span, |t| t.span);
            let d = Diagnostic::error(codes::TYPE, "a state of an update has the shape of the weights")
                .at(span, "another type")
                .help("write `f32 like w` or `bool like w`");
            cx.report(d)
        }
    }
}

/// A share of the run.
fn share(cx: &mut Cx, e: &mut Elab<'_>, x: &ast::Expr) -> Res<Schedule> {
    let s = e.time(cx, x)?;
    match s.unit {
        Unit::Share => Ok(s),
        Unit::Steps => {
            let length = TimeExpr::Steps;
            let expr = TimeExpr::Bin(spc_ir::BinFn::Div, Box::new(s.expr), Box::new(length));
            Ok(Schedule { expr, unit: Unit::Share })
        }
        _ => cx.err(codes::SCHEDULE, x.span, "a time is needed here", "expected `80%` or `1000 steps`"),
    }
}
