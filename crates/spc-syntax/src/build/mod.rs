//! From pest's pairs to the syntax tree.
//!
//! Each function takes the pair of the rule it is named after. The grammar guarantees which children there are; a missing
//! one is [`Stop::Bug`], never a panic.
mod expr;
mod item;
mod literal;
mod method;
mod sentence;
mod stmt;
mod ty;

use crate::ast::{Ident, Span};
use crate::scan::Scan;
use pest::iterators::{Pair as PestPair, Pairs};
use spc_base::{Diagnostic, FileId};
use spc_grammar::{Rule, is_noise};

pub(crate) type Pair<'i> = PestPair<'i, Rule>;

/// Why an item has no tree.
pub(crate) enum Stop {
    /// The pairs do not follow the grammar: our mistake.
    Bug(String),
    /// The tree would be deeper than allowed.
    TooDeep(Span),
}

pub(crate) type Built<T> = Result<T, Stop>;

/// Builds the tree of one item.
pub(crate) struct Builder<'a> {
    /// The whole file.
    pub text: &'a str,
    pub file: FileId,
    pub scan: &'a Scan,
    /// Offset in the file of the text that was given to pest.
    pub base: usize,
    /// Bound on the depth of expression trees.
    pub max_level: usize,
    /// Upper bound on the depth of the node being built.
    pub level: usize,
    pub diagnostics: Vec<Diagnostic>,
}

impl Builder<'_> {
    /// The words of a pair. Trailing blanks and comments, which pest includes where an optional part is absent, are cut.
    pub fn span(&self, pair: &Pair<'_>) -> Span {
        let span = pair.as_span();
        let (start, end) = (self.base + span.start(), self.base + span.end());
        let end = if end > start { self.scan.skip_back(self.text, end).max(start) } else { end };
        Span::new(self.file, start, end)
    }

    pub fn ident(&self, pair: &Pair<'_>) -> Ident {
        Ident { name: pair.as_str().to_owned(), span: self.span(pair) }
    }

    /// Makes room for `by` more levels at a place, runs `f`, and gives the room back.
    pub fn deeper<T>(&mut self, by: usize, at: Span, f: impl FnOnce(&mut Self) -> Built<T>) -> Built<T> {
        if self.level + by > self.max_level {
            return Err(Stop::TooDeep(at));
        }
        self.level += by;
        let result = f(self);
        self.level -= by;
        result
    }
}

/// The children of a pair without keywords and marks.
pub(crate) struct Kids<'i> {
    it: Pairs<'i, Rule>,
    next: Option<Pair<'i>>,
    parent: Rule,
}

impl<'i> Kids<'i> {
    pub fn of(pair: Pair<'i>) -> Kids<'i> {
        let parent = pair.as_rule();
        let mut kids = Kids { it: pair.into_inner(), next: None, parent };
        kids.advance();
        kids
    }

    fn advance(&mut self) -> Option<Pair<'i>> {
        let next = self.it.by_ref().find(|p| !is_noise(p.as_rule()));
        std::mem::replace(&mut self.next, next)
    }

    pub fn peek(&self) -> Option<Rule> {
        self.next.as_ref().map(PestPair::as_rule)
    }

    /// The next child if it is of this rule.
    pub fn opt(&mut self, rule: Rule) -> Option<Pair<'i>> {
        if self.peek() == Some(rule) { self.advance() } else { None }
    }

    /// The next child, which must be of this rule.
    pub fn need(&mut self, rule: Rule) -> Built<Pair<'i>> {
        let (parent, found) = (self.parent, self.peek());
        self.opt(rule).ok_or_else(|| Stop::Bug(format!("{parent:?}: wanted {rule:?}, found {found:?}")))
    }

    /// The next child, whatever it is.
    pub fn first(&mut self) -> Built<Pair<'i>> {
        let parent = self.parent;
        self.advance().ok_or_else(|| Stop::Bug(format!("{parent:?}: a child is missing")))
    }
}

impl<'i> Iterator for Kids<'i> {
    type Item = Pair<'i>;

    fn next(&mut self) -> Option<Pair<'i>> {
        self.advance()
    }
}

/// A pair of a rule that should not stand here.
pub(crate) fn odd<T>(parent: &str, pair: &Pair<'_>) -> Built<T> {
    Err(Stop::Bug(format!("{parent}: unexpected {:?}", pair.as_rule())))
}
