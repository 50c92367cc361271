//! Names: what `use` brings into a file, and the items of files by name.
use crate::cx::{Cx, Res};
use crate::library::Library;
use spc_base::{Diagnostic, Span, codes};
use spc_syntax::ast::{Ast, GroupItem, Item, ItemKind, PatternItem, UseItem};
use std::collections::BTreeMap;

/// What an imported name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    Module(String),
    Item { module: String, name: String },
}

/// Imported names of one file or library module.
pub type Imports = BTreeMap<String, Import>;

/// Root items and imports.
pub struct Names<'a> {
    pub lib: &'a Library,
    pub imports: Imports,
    pub items: BTreeMap<&'a str, &'a Item>,
    /// Imports of library modules, by module.
    within: BTreeMap<String, Imports>,
}

/// Where an item comes from: `None` is the root file, otherwise a library module.
pub type Origin = Option<String>;

impl<'a> Names<'a> {
    pub fn collect(cx: &mut Cx, ast: &'a Ast, lib: &'a Library) -> Names<'a> {
        let mut names = Names { lib, imports: Imports::new(), items: BTreeMap::new(), within: BTreeMap::new() };
        for item in &ast.items {
            if let ItemKind::Use(u) = &item.kind {
                let _ = import(cx, lib, u, &mut names.imports);
            }
        }
        for module in lib.modules() {
            let mut own = Imports::new();
            for u in lib.uses(module) {
                let _ = import(cx, lib, u, &mut own);
            }
            names.within.insert(module.to_string(), own);
        }
        for item in &ast.items {
            let Some(name) = item.kind.name() else { continue };
            let first = names.items.get(name.as_str()).and_then(|i| i.kind.name()).map(|n| n.span);
            if let Some(first) = first {
                cx.diags.push(
                    Diagnostic::error(codes::DUPLICATE, format!("`{}` is defined twice", name.name))
                        .at(name.span, "defined again here")
                        .also(first, "first defined here"),
                );
            } else {
                names.items.insert(name.as_str(), item);
            }
        }
        names
    }

    fn imports_of(&self, from: &Origin) -> Option<&Imports> {
        match from {
            None => Some(&self.imports),
            Some(module) => self.within.get(module),
        }
    }

    /// An item of any kind by name, seen from a file: its own items first, then what it imports. `MODULE.NAME`, which no file can
    /// write as one name, is an item of the library.
    pub fn item(&self, from: &Origin, name: &str) -> Option<(Origin, &'a Item)> {
        let own = match from {
            None => self.items.get(name).copied(),
            Some(module) => self.lib.full_item(module, name),
        };
        if let Some(i) = own {
            return Some((from.clone(), i));
        }
        if let Some((module, name)) = name.split_once('.') {
            return self.lib.full_item(module, name).map(|i| (Some(module.into()), i));
        }
        match self.imports_of(from)?.get(name)? {
            Import::Item { module, name } => self.lib.full_item(module, name).map(|i| (Some(module.clone()), i)),
            Import::Module(_) => None,
        }
    }

    /// `nn.linear`: an item of an imported module.
    pub fn module_item(&self, from: &Origin, module: &str, name: &str) -> Option<(Origin, &'a Item)> {
        match self.imports_of(from)?.get(module)? {
            Import::Module(m) => self.lib.full_item(m, name).map(|i| (Some(m.clone()), i)),
            Import::Item { .. } => None,
        }
    }

    /// The module that a name stands for in a file.
    pub fn module(&self, from: &Origin, name: &str) -> Option<&str> {
        match self.imports_of(from)?.get(name)? {
            Import::Module(m) => Some(m),
            Import::Item { .. } => None,
        }
    }

    pub fn pattern(&self, name: &str) -> Option<(Origin, &'a PatternItem)> {
        match self.find(&None, name)? {
            (from, ItemKind::Pattern(p)) => Some((from, p)),
            _ => None,
        }
    }

    /// What [`Names::item`] finds, without its doc comment.
    pub fn find(&self, from: &Origin, name: &str) -> Option<(Origin, &'a ItemKind)> {
        self.item(from, name).map(|(o, i)| (o, &i.kind))
    }

    /// `updates.sr_ste`: any item of a module that the root file imports.
    pub fn find_member(&self, module: &str, name: &str) -> Option<(Origin, &'a ItemKind)> {
        self.module_item(&None, module, name).map(|(o, i)| (o, &i.kind))
    }

    pub fn module_pattern(&self, module: &str, name: &str) -> Option<(Origin, &'a PatternItem)> {
        match self.find_member(module, name)? {
            (from, ItemKind::Pattern(p)) => Some((from, p)),
            _ => None,
        }
    }

    pub fn group(&self, name: &str) -> Option<&'a GroupItem> {
        match self.items.get(name).map(|i| &i.kind) {
            Some(ItemKind::Group(g)) => Some(g),
            _ => None,
        }
    }

    /// Every name in scope in the root file.
    pub fn known(&self) -> Vec<&str> {
        self.known_from(&None)
    }

    /// Every name in scope in a file.
    pub fn known_from(&self, from: &Origin) -> Vec<&str> {
        let own: Vec<&str> = match from {
            None => self.items.keys().copied().collect(),
            Some(module) => self.lib.names(module),
        };
        own.into_iter().chain(self.imports_of(from).into_iter().flatten().map(|(n, _)| n.as_str())).collect()
    }
}

/// Adds what one `use` brings. A file that names a module twice gets it once.
fn import(cx: &mut Cx, lib: &Library, u: &UseItem, out: &mut Imports) -> Res<()> {
    let path: Vec<&str> = u.path.iter().map(|p| p.as_str()).collect();
    let bad = |cx: &mut Cx, span: Span, what: &str| -> Res<()> {
        let known = lib.modules().into_iter().map(|m| format!("std.{m}")).collect::<Vec<_>>().join(", ");
        cx.report(
            Diagnostic::error(codes::UNKNOWN_MODULE, format!("there is no module `{what}`"))
                .at(span, "unknown module")
                .help(format!("modules: {known}")),
        )
    };
    let (module, rest) = match path.as_slice() {
        ["std", module, rest @ ..] => (*module, rest),
        _ => return bad(cx, u.path_span, &path.join(".")),
    };
    if !lib.has_module(module) {
        return bad(cx, u.path_span, &format!("std.{module}"));
    }
    let mut wanted: Vec<(&str, Span)> = u.names.iter().map(|n| (n.as_str(), n.span)).collect();
    match rest {
        [] if wanted.is_empty() => {
            out.insert(module.to_string(), Import::Module(module.to_string()));
            return Ok(());
        }
        [] => {}
        [one] if wanted.is_empty() => wanted.push((one, u.path_span)),
        _ => return bad(cx, u.path_span, &path.join(".")),
    }
    for (name, span) in wanted {
        if !lib.names(module).contains(&name) {
            let known = lib.names(module);
            return cx.unknown(span, &format!("item in `std.{module}`"), name, known);
        }
        let item = Import::Item { module: module.to_string(), name: name.to_string() };
        out.insert(name.to_string(), item);
    }
    Ok(())
}
