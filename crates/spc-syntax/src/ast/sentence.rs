//! The sentence: `keep AMOUNT of GROUP per SCOPE by SCORE ..`.
use super::{Expr, Ident, ShareOf, Span};

/// `keep AMOUNT of GROUP` with its clauses. What follows `then` is counted only inside what this one keeps; a clause
/// written after the inner sentence belongs to the inner one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    pub amount: Amount,
    pub group: GroupRef,
    pub clauses: Clauses,
    pub then: Option<Box<Sentence>>,
    /// From `keep` to the last clause, `then` included.
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Amount {
    pub kind: AmountKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AmountKind {
    /// `25%`, `20`, `cubic(..)`, a parameter.
    Plain(Expr),
    /// `2 of 4`, `50% of flops`.
    Of { part: Expr, of: ShareOf },
    /// `above 1e-3`
    Above(Expr),
}

/// `neuron`, `elements`, `tile(in: 4)`, `slices(F) of net.layer[l]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRef {
    pub group: Expr,
    /// What stands after `of`.
    pub of: Option<Expr>,
    pub span: Span,
}

/// Over which set an amount is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Scope {
    pub kind: ScopeKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ScopeKind {
    Model,
    Tensor,
    Layer,
    /// A tile, an axis, or a tuple of these.
    Expr(Expr),
}

/// The tail of a sentence. Every clause occurs at most once; the parser reports a second one and keeps the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clauses {
    pub per: Option<Per>,
    /// `min N per SCOPE`
    pub floor: Option<Floor>,
    pub by: Option<By>,
    pub on: Option<Clause<Expr>>,
    pub except: Option<Clause<Expr>>,
    pub at: Option<Clause<Expr>>,
    pub every: Option<Every>,
    pub via: Option<Clause<Expr>>,
    pub always: Option<Clause<Vec<Always>>>,
    pub multiple: Option<Clause<Expr>>,
    pub on_overlap: Option<Clause<Ident>>,
    /// What happens where a tile or an `n of m` does not divide its axis.
    pub tail: Option<Clause<Tail>>,
}

impl Clauses {
    pub fn is_empty(&self) -> bool {
        *self == Clauses::default()
    }
}

/// A clause with the span of the whole clause, its word included.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause<T> {
    pub value: T,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Per {
    pub scope: Scope,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    pub amount: Expr,
    pub scope: Scope,
    pub span: Span,
}

/// `by SCORE`, `by joint`, `by joint SCORE`. `score` is `None` only with `joint`.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    pub joint: bool,
    pub score: Option<Expr>,
    pub span: Span,
}

/// `every 100 steps until 80%`
#[derive(Clone, Debug, PartialEq)]
pub struct Every {
    pub count: Expr,
    pub unit: Option<Ident>,
    pub until: Option<Expr>,
    pub span: Span,
}

/// `first 1` or `last 4` after `always`.
#[derive(Clone, Debug, PartialEq)]
pub struct Always {
    pub end: End,
    pub count: Expr,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    Ragged,
    Pad,
}

/// `net.* except net.fc`
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    pub what: Expr,
    pub except: Option<Expr>,
    pub span: Span,
}
