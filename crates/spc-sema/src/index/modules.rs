//! The standard library's files as indices, with the names that each module gives.
use super::walk::Walk;
use super::{Def, Index, Place};
use crate::library::Library;
use spc_base::FileId;
use std::collections::BTreeMap;

/// Made once; root files are resolved against it.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    files: BTreeMap<FileId, Index>,
    names: BTreeMap<String, BTreeMap<String, Place>>,
}

impl Modules {
    pub fn of(library: &Library) -> Modules {
        let mut out = Modules::default();
        let mut walks: Vec<Walk<'_>> = Vec::new();
        // The files of one module are one namespace, so all names come before any body.
        for (file, ast) in library.sources() {
            let mut w = Walk::new(ast.file, &file.text, None, Some(&file.module));
            let items: Vec<_> = ast.items.iter().collect();
            w.declare_all(&items);
            let names = out.names.entry(file.module.to_string()).or_default();
            for (name, def) in &w.ix.items {
                names.entry(name.clone()).or_insert(Place { file: ast.file, def: *def });
            }
            out.files.insert(ast.file, w.ix.clone());
            walks.push(w);
        }
        let declared = out.clone();
        for (mut w, (_, ast)) in walks.into_iter().zip(library.sources()) {
            w.modules = Some(&declared);
            w.imports(&ast.items.iter().collect::<Vec<_>>());
            for item in &ast.items {
                w.item(item);
            }
            out.files.insert(ast.file, w.finish());
        }
        out
    }

    pub fn file(&self, file: FileId) -> Option<&Index> {
        self.files.get(&file)
    }

    pub fn files(&self) -> impl Iterator<Item = &Index> {
        self.files.values()
    }

    pub fn def(&self, place: Place) -> Option<&Def> {
        self.files.get(&place.file)?.def(place.def)
    }

    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Names that a module gives, in alphabetical order.
    pub fn names(&self, module: &str) -> impl Iterator<Item = (&str, Place)> {
        self.names.get(module).into_iter().flatten().map(|(n, p)| (n.as_str(), *p))
    }

    pub fn get(&self, module: &str, name: &str) -> Option<Place> {
        self.names.get(module)?.get(name).copied()
    }
}
