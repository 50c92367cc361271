//! The tree-sitter grammar of `.sp`: the generated parser and its queries, for editors and other tools.
//!
//! `grammar.js` is the source; what `tree-sitter generate` makes of it is committed, so that building needs a C compiler
//! and no generator.

use tree_sitter_language::LanguageFn;

#[allow(unsafe_code)]
mod raw {
    unsafe extern "C" {
        pub fn tree_sitter_spc() -> *const ();
    }
    // SAFETY: the symbol is the generated parser, which returns a pointer to its static tables.
    pub const LANGUAGE: super::LanguageFn = unsafe { super::LanguageFn::from_raw(tree_sitter_spc) };
}

/// The parser, for `tree_sitter::Parser::set_language`.
pub const LANGUAGE: LanguageFn = raw::LANGUAGE;

/// The source of the grammar.
pub const GRAMMAR: &str = include_str!("../../grammar.js");

/// What each node of a tree can be.
pub const NODE_TYPES: &str = include_str!("../../src/node-types.json");

/// Captures for colours.
pub const HIGHLIGHTS: &str = include_str!("../../queries/highlights.scm");

/// What can be folded.
pub const FOLDS: &str = include_str!("../../queries/folds.scm");

/// Scopes, definitions and references.
pub const LOCALS: &str = include_str!("../../queries/locals.scm");

/// Where lines are indented.
pub const INDENTS: &str = include_str!("../../queries/indents.scm");
