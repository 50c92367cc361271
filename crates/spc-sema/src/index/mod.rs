//! Where every name of a file is defined and used, for editors.
//!
//! The index is made from text and syntax tree alone, for any text: items that do not parse are mended where blanking a
//! line mends them, and what is left is read word by word. Nothing here reports a mistake; a name that resolves to nothing
//! has no [`Use`].
mod builtin;
mod expr;
mod item;
mod lexical;
mod mend;
mod method;
mod modules;
mod token;
mod walk;

pub use builtin::{BUILTINS, Builtin, Class, builtin};
pub use modules::Modules;
pub use token::{Token, TokenKind, tokens};

use spc_base::{FileId, Limits, Span};
use spc_syntax::Ast;
use std::collections::BTreeMap;

/// Number of a definition in the index of its file.
pub type DefId = usize;

/// A definition of some file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: FileId,
    pub def: DefId,
}

/// What a definition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefKind {
    /// An item with its word: `fn`, `model`, `require` ..
    Item(&'static str),
    /// An axis of the file.
    Axis,
    /// An axis of one signature.
    AxisParam,
    Family,
    Tensor,
    /// `head = embed` in a model.
    Alias,
    /// A member of data made from columns or by a tokenizer.
    Column,
    /// `train` in `split { train = .. }`.
    Part,
    /// A member of a record type.
    Member,
    Param,
    Result,
    Local,
    /// An index of index notation, of a repetition, or of a group's binder.
    Index,
    State,
    /// `forward(w) = ..` in a method.
    Hook,
    Phase,
}

impl DefKind {
    /// How messages to people call it.
    pub fn word(self) -> &'static str {
        match self {
            DefKind::Item(word) => word,
            DefKind::Axis => "axis",
            DefKind::AxisParam => "axis parameter",
            DefKind::Family => "repetition",
            DefKind::Tensor => "tensor",
            DefKind::Alias => "alias",
            DefKind::Column => "column",
            DefKind::Part => "split",
            DefKind::Member => "member",
            DefKind::Param => "parameter",
            DefKind::Result => "result",
            DefKind::Local => "value",
            DefKind::Index => "index",
            DefKind::State => "state",
            DefKind::Hook => "hook",
            DefKind::Phase => "phase",
        }
    }

    /// Found by its plain name in the definition's scope; the others stand after a dot, or are never named again.
    pub fn is_plain(self) -> bool {
        !matches!(
            self,
            DefKind::Family
                | DefKind::Tensor
                | DefKind::Alias
                | DefKind::Column
                | DefKind::Part
                | DefKind::Member
                | DefKind::Hook
                | DefKind::Phase
        )
    }
}

/// One definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Def {
    pub name: String,
    pub kind: DefKind,
    /// The name where it is first declared.
    pub span: Span,
    /// The whole declaration.
    pub whole: Span,
    /// Where the plain name means this.
    pub scope: Span,
    /// Doc comment, lines joined.
    pub docs: String,
    /// The item, model, repetition or record that holds it.
    pub parent: Option<DefId>,
    /// Type or value as written; for an index the axis that it runs over, where that can be seen.
    pub detail: String,
    /// Axes as written, for what has a shape.
    pub dims: Option<Vec<String>>,
    /// What a local name or alias stands for when that has members.
    pub stands_for: Option<Place>,
    /// No part of the file's text writes a default or value for it (a call must give it).
    pub required: bool,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    Def(Place),
    /// Number in [`BUILTINS`].
    Builtin(usize),
    /// A module of the standard library.
    Module(String),
}

/// A name in the text that leads somewhere. Names in declarations are uses too.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    pub span: Span,
    pub to: To,
    /// The name is declared or assigned here.
    pub writes: bool,
}

/// What a name brought in by `use` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    Module(String),
    Item(Place),
}

/// Definitions and uses of one file.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub file: FileId,
    pub defs: Vec<Def>,
    /// By start.
    pub uses: Vec<Use>,
    pub imports: BTreeMap<String, Imported>,
    /// Items by name, the first of each.
    pub items: BTreeMap<String, DefId>,
    pub axes: BTreeMap<String, DefId>,
    /// Text of items that do not parse, and of what is no item.
    pub broken: Vec<Span>,
    children: BTreeMap<(DefId, String), DefId>,
    /// Definitions that plain names can mean, by name.
    plain: BTreeMap<String, Vec<DefId>>,
}

impl Index {
    /// The index of a root file. Total; time grows with the length of the text, and mending is bounded.
    pub fn of_root(ast: &Ast, text: &str, modules: &Modules, limits: &Limits) -> Index {
        let mended = mend::mend(ast, text, limits);
        let mut w = walk::Walk::new(ast.file, text, Some(modules), None);
        let items = mended.items(ast);
        w.declare_all(&items);
        let unread: Vec<_> = mended.unread.iter().map(|r| (*r, w.unread_words(*r))).collect();
        let whole = w.ix.uses.len();
        for (region, words) in &unread {
            w.broken_item(words, *region);
        }
        let declared = w.ix.uses.iter().skip(whole).map(|u| u.span.start).collect();
        for item in &items {
            w.item(item);
        }
        for (_, words) in &unread {
            w.read_words(words, &declared);
        }
        w.ix.broken = mended.broken;
        w.ix.broken.extend(&mended.unread);
        w.finish()
    }

    /// The name at an offset: at its first byte, inside it, or right behind it.
    pub fn at(&self, offset: u32) -> Option<&Use> {
        let end = self.uses.partition_point(|u| u.span.start <= offset);
        let near = self.uses.get(end.saturating_sub(8)..end)?.iter();
        let hits = near.filter(|u| u.span.start <= offset && offset <= u.span.end);
        hits.min_by_key(|u| (u.span.end == offset, u.span.end - u.span.start))
    }

    /// Every use of a definition in this file, in order.
    pub fn uses_of(&self, to: &To) -> Vec<&Use> {
        self.uses.iter().filter(|u| u.to == *to).collect()
    }

    pub fn def(&self, id: DefId) -> Option<&Def> {
        self.defs.get(id)
    }

    /// A member of a definition by name.
    pub fn child(&self, of: DefId, name: &str) -> Option<DefId> {
        self.children.get(&(of, name.to_string())).copied()
    }

    /// Members of a definition, in order of declaration.
    pub fn children(&self, of: DefId) -> Vec<DefId> {
        let range = self.children.range((of, String::new())..(of + 1, String::new()));
        let mut v: Vec<DefId> = range.map(|(_, d)| *d).collect();
        v.sort_unstable();
        v
    }

    /// What a plain name means at a place: the definition of the smallest scope around it.
    pub fn plain(&self, name: &str, offset: u32) -> Option<DefId> {
        let named = self.plain.get(name)?.iter().filter_map(|i| Some((*i, self.def(*i)?)));
        named
            .filter(|(_, d)| d.scope.start <= offset && offset <= d.scope.end)
            .min_by_key(|(_, d)| d.scope.end - d.scope.start)
            .map(|(i, _)| i)
    }

    /// Plain names that mean something at a place, inner ones first, each once.
    pub fn visible(&self, offset: u32) -> Vec<DefId> {
        let inside = |d: &Def| d.kind.is_plain() && d.scope.start <= offset && offset <= d.scope.end;
        let mut v: Vec<DefId> = (0..self.defs.len()).filter(|i| self.defs.get(*i).is_some_and(inside)).collect();
        v.sort_by_key(|i| self.defs.get(*i).map(|d| d.scope.end - d.scope.start));
        let mut seen = std::collections::BTreeSet::new();
        v.retain(|i| self.defs.get(*i).is_some_and(|d| seen.insert(d.name.clone())));
        v
    }

    fn add(&mut self, def: Def) -> DefId {
        let id = self.defs.len();
        if let Some(parent) = def.parent {
            self.children.entry((parent, def.name.clone())).or_insert(id);
        }
        if def.kind.is_plain() {
            self.plain.entry(def.name.clone()).or_default().push(id);
        }
        self.uses.push(Use { span: def.span, to: To::Def(Place { file: self.file, def: id }), writes: true });
        self.defs.push(def);
        id
    }
}
