//! Items that define or apply methods in time: `penalty`, `update`, `penalize`, `quantize`, `train`.
use super::{
    Assign, Body, Clauses, Every, Expr, GroupRef, Ident, Param, Pct, Results, Selector, Span, StateStmt, Timing,
};

/// `WEIGHT * PENALTY of GROUP where guard`
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub value: Expr,
    pub group: GroupRef,
    pub guard: Option<Expr>,
    pub span: Span,
}

/// `penalize NAME: term then term via prox`
#[derive(Clone, Debug, PartialEq)]
pub struct PenalizeItem {
    pub name: Option<Ident>,
    /// At least one.
    pub terms: Vec<Term>,
    pub clauses: Clauses,
}

/// `quantize NAME: net.* except net.fc to int8(per: ..)`
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizeItem {
    pub name: Option<Ident>,
    pub what: Selector,
    pub to: Expr,
    pub clauses: Clauses,
}

/// `penalty mcp(lambda: f32) radial { value(x) = ..  prox(x, tau) = .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct PenaltyItem {
    pub name: Ident,
    pub params: Vec<Param>,
    pub kind: Option<PenaltyKind>,
    pub body: PenaltyBody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PenaltyKind {
    /// A function of one number, lifted to elements or norms.
    Radial,
    /// `of groups`
    OfGroups,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PenaltyBody {
    Hooks(Vec<Hook>),
    /// `= l1() of elements then ..`; at least one.
    Terms(Vec<Term>),
    Expr(Expr),
}

/// `update sr_ste(c: constraint) { .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateItem {
    pub name: Ident,
    pub params: Vec<Param>,
    pub hooks: Vec<Hook>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Hook {
    Mask(MaskHook),
    State(StateStmt),
    Observe(Observe),
    Handler(Handler),
    Assign(Assign),
}

impl Hook {
    pub fn span(&self) -> Span {
        match self {
            Hook::Mask(h) => h.span,
            Hook::State(h) => h.span,
            Hook::Observe(h) => h.span,
            Hook::Handler(h) => h.span,
            Hook::Assign(h) => h.span,
        }
    }
}

/// `mask m = select(c) every 10 steps`; `timing` is never `When`.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskHook {
    pub name: Ident,
    pub value: Expr,
    pub timing: Option<Timing>,
    pub span: Span,
}

/// `observe sad = count(..)`: a metric without effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Observe {
    pub name: Ident,
    pub value: Expr,
    pub span: Span,
}

/// `refresh(w, g) -> w every 100 steps { .. }`. The name is one of forward, backward, grad, step, after, refresh (updates)
/// and value, prox (penalties).
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    pub name: Ident,
    pub params: Vec<Param>,
    pub results: Option<Results>,
    pub every: Option<Every>,
    pub body: Body,
    pub span: Span,
}

/// `train main { .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct TrainItem {
    pub name: Ident,
    pub body: Vec<TrainStmt>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TrainStmt {
    Phase(Phase),
    Apply(Apply),
    Freeze(Freeze),
    Restart(Span),
    Sweep(Sweep),
    /// `loss: ..`
    Setting(Setting),
    /// `out = classify(..)`
    Assign(Assign),
}

impl TrainStmt {
    pub fn span(&self) -> Span {
        match self {
            TrainStmt::Phase(s) => s.span,
            TrainStmt::Apply(s) => s.span,
            TrainStmt::Freeze(s) => s.span,
            TrainStmt::Restart(s) => *s,
            TrainStmt::Sweep(s) => s.span,
            TrainStmt::Setting(s) => s.span,
            TrainStmt::Assign(s) => s.span,
        }
    }
}

/// `phase heal 20% { freeze masks }`
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub name: Ident,
    pub share: Pct,
    pub body: Vec<TrainStmt>,
    pub span: Span,
}

/// `apply half, nm24 via sr_ste()`
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// At least one.
    pub list: Vec<Applied>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub what: Expr,
    pub via: Option<Expr>,
    pub span: Span,
}

/// `freeze masks`
#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    pub what: Ident,
    pub span: Span,
}

/// `sweep strength = geometric(0.5 -> 0.005, 40)`
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub name: Ident,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub name: Ident,
    pub value: Expr,
    pub span: Span,
}
