//! Parameters, results and statements of function bodies.
use super::{AxisDecl, Every, Expr, Ident, Idx, Span, Type};

/// `x: f32[.., I] = 0`. In a method's handler also `a[j]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub name: Ident,
    pub ty: Option<Type>,
    pub index: Option<Vec<Idx>>,
    pub default: Option<Expr>,
    pub span: Span,
}

/// What stands after `->`.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    pub list: Vec<ResultDecl>,
    /// Written in parentheses (then `list` may hold one entry too).
    pub tuple: bool,
    pub span: Span,
}

/// `y: f32[.., O]`, `v`, `x[j]`
#[derive(Clone, Debug, PartialEq)]
pub struct ResultDecl {
    pub name: Ident,
    pub index: Option<Vec<Idx>>,
    pub ty: Option<Type>,
    pub span: Span,
}

/// `[l: L, h]` after a group's or a schedule's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    pub index: Ident,
    pub axis: Option<Ident>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `{ .. }`
    Block(Block),
    /// `= expr`
    Expr(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub stmts: Vec<Stmt>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    For(ForStmt),
    State(StateStmt),
    Assign(Assign),
}

impl Stmt {
    pub fn span(&self) -> Span {
        match self {
            Stmt::For(s) => s.span,
            Stmt::State(s) => s.span,
            Stmt::Assign(s) => s.span,
        }
    }
}

/// `for l in L { .. }`: static repetition.
#[derive(Clone, Debug, PartialEq)]
pub struct ForStmt {
    pub index: Ident,
    pub over: Expr,
    pub body: Block,
    pub span: Span,
}

/// `state mu: f32 like w = 0`, `state p = select(..) when now == first`
#[derive(Clone, Debug, PartialEq)]
pub struct StateStmt {
    pub name: Ident,
    pub ty: Option<Type>,
    pub value: Expr,
    pub timing: Option<Timing>,
    pub span: Span,
}

/// When a state or a mask is computed again.
#[derive(Clone, Debug, PartialEq)]
pub enum Timing {
    When(Expr),
    At(Expr),
    Every(Every),
}

/// `y[.., o] = expr`, `(o, lse) = expr`
#[derive(Clone, Debug, PartialEq)]
pub struct Assign {
    pub lhs: Lhs,
    pub value: Expr,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lhs {
    pub kind: LhsKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LhsKind {
    /// `_` drops a value.
    Tuple(Vec<Ident>),
    Name {
        name: Ident,
        index: Option<Vec<Idx>>,
    },
}

/// The part that `fn` and `score` share: parameters, results, computed sizes, body.
#[derive(Clone, Debug, PartialEq)]
pub struct Callable {
    pub params: Vec<Param>,
    pub results: Option<Results>,
    /// `where P = ..`
    pub sizes: Vec<AxisDecl>,
    pub body: Body,
}
