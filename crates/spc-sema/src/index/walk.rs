//! The state of reading one file, and how names are looked up.
use super::{Def, DefId, DefKind, Imported, Index, Modules, Place, To, Use, builtin};
use spc_base::{FileId, Span};
use spc_syntax::ast::{Doc, Expr, Ident};
use std::collections::BTreeMap;

/// Reads the items of one file into an index.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    pub ix: Index,
    pub text: &'a str,
    /// The library; `None` only while its own names are collected.
    pub modules: Option<&'a Modules>,
    /// The module that the file belongs to; `None` for a root file.
    pub module: Option<&'a str>,
    /// Values in scope, innermost last.
    pub values: Vec<BTreeMap<String, DefId>>,
    /// Index names in scope, innermost last.
    pub indices: Vec<BTreeMap<String, DefId>>,
    /// Members that stand for themselves inside `.. of net.layer[l]`.
    pub opened: Vec<Place>,
    /// Words read without a tree so far.
    pub words_read: usize,
    /// Named items by the start of their name.
    pub heads: BTreeMap<u32, DefId>,
    /// The item being read.
    pub owner: Option<DefId>,
    /// Where names of the item being read mean something.
    pub scope: Span,
    /// Where a new index means something.
    pub index_scope: Span,
}

/// What an expression leads to, when it has members.
pub(super) type Meaning = Option<Target>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    Module(String),
    Def(Place),
}

impl<'a> Walk<'a> {
    pub fn new(file: FileId, text: &'a str, modules: Option<&'a Modules>, module: Option<&'a str>) -> Walk<'a> {
        let whole = Span::new(file, 0, text.len());
        Walk {
            ix: Index { file, ..Index::default() },
            text,
            modules,
            module,
            values: Vec::new(),
            indices: Vec::new(),
            opened: Vec::new(),
            words_read: 0,
            heads: BTreeMap::new(),
            owner: None,
            scope: whole,
            index_scope: whole,
        }
    }

    pub fn finish(mut self) -> Index {
        self.ix.uses.sort_by_key(|u| (u.span.start, u.span.end, !u.writes));
        self.ix.uses.dedup_by(|b, a| a.span == b.span);
        self.ix
    }

    pub fn whole(&self) -> Span {
        Span::new(self.ix.file, 0, self.text.len())
    }

    pub fn words(&self, span: Span) -> String {
        let text = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn place(&self, def: DefId) -> Place {
        Place { file: self.ix.file, def }
    }

    // ---- definitions

    /// A definition with the defaults of its kind; the caller sets the rest.
    pub fn new_def(&self, name: &Ident, kind: DefKind, whole: Span) -> Def {
        Def {
            name: name.name.clone(),
            kind,
            span: name.span,
            whole,
            scope: self.scope,
            docs: String::new(),
            parent: self.owner,
            detail: String::new(),
            dims: None,
            stands_for: None,
            required: false,
        }
    }

    pub fn docs(list: &[Doc]) -> String {
        list.iter().map(|d| d.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// A value of the innermost scope: parameters, results, locals.
    pub fn bind(&mut self, def: Def) -> DefId {
        let name = def.name.clone();
        let id = self.ix.add(def);
        if let Some(top) = self.values.last_mut() {
            top.insert(name, id);
        }
        id
    }

    pub fn index(&mut self, name: &Ident, axis: Option<String>) -> DefId {
        let scope = self.index_scope;
        let def = Def { scope, detail: axis.unwrap_or_default(), ..self.new_def(name, DefKind::Index, name.span) };
        let id = self.ix.add(def);
        if let Some(top) = self.indices.last_mut() {
            top.insert(name.name.clone(), id);
        }
        id
    }

    // ---- uses

    pub fn used(&mut self, span: Span, to: To) {
        self.ix.uses.push(Use { span, to, writes: false });
    }

    pub fn used_def(&mut self, span: Span, def: DefId) {
        let to = To::Def(self.place(def));
        self.used(span, to);
    }

    pub fn written(&mut self, span: Span, def: DefId) {
        let to = To::Def(self.place(def));
        self.ix.uses.push(Use { span, to, writes: true });
    }

    /// An axis: of the signature, of the file, or a role.
    pub fn axis(&mut self, name: &Ident) -> bool {
        let found = self.values.iter().rev().find_map(|s| s.get(name.as_str())).copied();
        let found = found.or_else(|| self.ix.axes.get(name.as_str()).copied());
        if let Some(def) = found {
            self.used_def(name.span, def);
            return true;
        }
        self.role(name)
    }

    fn role(&mut self, name: &Ident) -> bool {
        let found = builtin::find(&name.name).filter(|_| matches!(name.as_str(), "in" | "out" | "all"));
        if let Some(b) = found {
            self.used(name.span, To::Builtin(b));
        }
        found.is_some()
    }

    /// A plain name; what it leads to.
    pub fn name(&mut self, name: &Ident) -> Meaning {
        let local = self.values.iter().rev().find_map(|s| s.get(name.as_str())).copied();
        let local = local.or_else(|| self.indices.iter().rev().find_map(|s| s.get(name.as_str())).copied());
        if let Some(def) = local {
            self.used_def(name.span, def);
            return self.follow(self.place(def));
        }
        for open in self.opened.clone().into_iter().rev() {
            if let Some(child) = self.child_of(open, name.as_str()) {
                self.used(name.span, To::Def(child));
                return self.follow(child);
            }
        }
        self.global(name)
    }

    /// A name of the file, of a module, of the language.
    pub fn global(&mut self, name: &Ident) -> Meaning {
        let own = self.ix.items.get(name.as_str()).or_else(|| self.ix.axes.get(name.as_str())).copied();
        if let Some(def) = own {
            self.used_def(name.span, def);
            return Some(Target::Def(self.place(def)));
        }
        match self.ix.imports.get(name.as_str()) {
            Some(Imported::Module(m)) => {
                let m = m.clone();
                self.used(name.span, To::Module(m.clone()));
                return Some(Target::Module(m));
            }
            Some(Imported::Item(place)) => {
                let place = *place;
                self.used(name.span, To::Def(place));
                return Some(Target::Def(place));
            }
            None => {}
        }
        if let Some(place) = self.module.and_then(|m| self.modules?.get(m, name.as_str())) {
            self.used(name.span, To::Def(place));
            return Some(Target::Def(place));
        }
        if let Some(b) = builtin::find(name.as_str()) {
            self.used(name.span, To::Builtin(b));
        }
        None
    }

    /// What a definition stands for, when that has members.
    fn follow(&self, place: Place) -> Meaning {
        let stands = self.def(place).and_then(|d| d.stands_for);
        Some(Target::Def(stands.unwrap_or(place)))
    }

    pub fn def(&self, place: Place) -> Option<&Def> {
        if place.file == self.ix.file { self.ix.def(place.def) } else { self.modules?.def(place) }
    }

    pub fn index_of(&self, place: Place) -> Option<&Index> {
        if place.file == self.ix.file { Some(&self.ix) } else { self.modules?.file(place.file) }
    }

    /// A member by name. A part of a data source has the members of the source.
    pub fn child_of(&self, of: Place, name: &str) -> Option<Place> {
        let ix = self.index_of(of)?;
        let def = ix.def(of.def)?;
        let at = |id: DefId| Place { file: of.file, def: id };
        if def.kind == DefKind::Part {
            let source = def.parent?;
            return ix.child(source, name).map(at);
        }
        ix.child(of.def, name).map(at)
    }

    /// `base.name`.
    pub fn member(&mut self, base: Meaning, name: &Ident) -> Meaning {
        match base? {
            Target::Module(m) => {
                let place = self.modules?.get(&m, name.as_str())?;
                self.used(name.span, To::Def(place));
                Some(Target::Def(place))
            }
            Target::Def(of) => {
                let child = self.child_of(of, name.as_str())?;
                self.used(name.span, To::Def(child));
                self.follow(child)
            }
        }
    }

    /// The definition that a call's callee leads to, with its parameters as children.
    pub fn label(&mut self, callee: &Meaning, label: &Ident) -> bool {
        let Some(Target::Def(of)) = callee else { return false };
        let Some(child) = self.child_of(*of, label.as_str()) else { return false };
        if self.def(child).is_some_and(|d| d.kind == DefKind::Param) {
            self.used(label.span, To::Def(child));
            return true;
        }
        false
    }

    /// Axes of what an expression leads to, as written.
    pub fn dims_of(&self, base: &Meaning) -> Option<Vec<String>> {
        match base {
            Some(Target::Def(p)) => self.def(*p)?.dims.clone(),
            _ => None,
        }
    }

    /// Runs `f` with one more scope of values and indices.
    pub fn scoped<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.values.push(BTreeMap::new());
        self.indices.push(BTreeMap::new());
        let out = f(self);
        self.values.pop();
        self.indices.pop();
        out
    }

    /// Runs `f` with one more scope of indices, which mean something in `span`.
    pub fn indexed<T>(&mut self, span: Span, f: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.index_scope, span);
        self.indices.push(BTreeMap::new());
        let out = f(self);
        self.indices.pop();
        self.index_scope = outer;
        out
    }

    pub fn exprs<'e>(&mut self, list: impl IntoIterator<Item = &'e Expr>) {
        for e in list {
            self.expr(e);
        }
    }
}
