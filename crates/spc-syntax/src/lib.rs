//! Parser and syntax tree of `.sp`.
//!
//! [`parse()`] is total: any text gives a tree of the items that could be read and a list of diagnostics.

pub mod ast;
mod build;
mod dump;
mod format;
mod hint;
mod message;
mod parse;
mod print;
mod scan;

pub use ast::Ast;
pub use dump::dump;
pub use format::format;
pub use parse::{parse, parse_bytes};
pub use print::{print, print_expr, print_sentence};
pub use spc_grammar::{INNER_WORDS, ITEM_WORDS, is_reserved};
