//! The syntax tree of `.sp`, as plain data.
//!
//! Every node carries the [`Span`] of its words in the source. Two trees that differ only in spans are compared by
//! [`Ast::same`]. Parentheses leave no node: they live on in the shape of the tree and in the span of what they enclose.
//! Depth is bounded by the parser (see [`crate::parse()`]), so recursive walks are safe.

// Trees are small and short-lived; plain variants read better than boxed ones.
#![allow(clippy::large_enum_variant)]

mod expr;
mod item;
mod method;
mod sentence;
mod stmt;
mod strip;
pub(crate) mod table;
mod ty;

pub use expr::*;
pub use item::*;
pub use method::*;
pub use sentence::*;
pub use spc_base::{FileId, Span};
pub use stmt::*;
pub use ty::*;

/// One source file. Items that could not be parsed are absent; each has a diagnostic.
#[derive(Clone, Debug, PartialEq)]
pub struct Ast {
    pub file: FileId,
    /// `//!` lines.
    pub docs: Vec<Doc>,
    pub items: Vec<Item>,
    /// The whole text.
    pub span: Span,
}

impl Ast {
    /// Equality that ignores spans and the file number.
    pub fn same(&self, other: &Ast) -> bool {
        self.without_spans() == other.without_spans()
    }

    /// A copy with every span set to the default.
    #[must_use]
    pub fn without_spans(&self) -> Ast {
        let mut copy = self.clone();
        copy.file = FileId::default();
        strip::Strip::strip(&mut copy);
        copy
    }
}

/// One doc comment line: `text` lacks the `///` or `//!` and one following blank.
#[derive(Clone, Debug, PartialEq)]
pub struct Doc {
    pub text: String,
    pub span: Span,
}

/// A name as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    pub name: String,
    pub span: Span,
}

impl Ident {
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// A quoted text with its escapes resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub value: String,
    pub span: Span,
}
