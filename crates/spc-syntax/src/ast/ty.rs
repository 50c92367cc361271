//! Types and shapes: `f32[.., (H C), D]`, `mask(T, S)`, `{ gate: float[F, D] }`, `f32 like w`.
use super::{Expr, Ident, Span};

#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    pub kind: TypeKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `f32`, `i32[B, T]`, `cache[L, S]`, `mask(T, S)`, `data`, `int` ... `shape` is `None` without brackets.
    Named { name: Ident, mask_axes: Vec<Ident>, shape: Option<Vec<Dim>> },
    /// `{ w: f32[O, I], b: f32[O] = 0 }`
    Record(Vec<TensorDecl>),
    /// `f32 like w`: dtype `name`, axes of the parameter `of`.
    Like { name: Ident, of: Ident },
}

/// One entry of a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    pub kind: DimKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DimKind {
    /// `..`: any leading axes.
    Rest,
    /// `(KV G Dh)`: one stored axis made of at least two named ones, outer first.
    Composite(Vec<Ident>),
    Axis(Ident),
    /// A literal size.
    Size(u64),
}

/// `w1: f32[N, I] = kaiming()`: a tensor of a model, a member of data, or a member of a record type.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorDecl {
    pub name: Ident,
    pub ty: Type,
    /// In a model: the stored name as a text, an initialiser, or another tensor (tied). In a record: the default.
    pub value: Option<Expr>,
    pub span: Span,
}

/// `F = 1536`, `B = 1..512`, `B`; also a computed size after `where`.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisDecl {
    pub name: Ident,
    pub value: Option<Expr>,
    pub span: Span,
}
