//! Names that `use` brings into the root file, and the root file's own items by name.
use crate::cx::{Cx, Res};
use crate::library::Library;
use spc_base::{Diagnostic, Span, codes};
use spc_syntax::ast::{Ast, FnItem, GroupItem, Item, ItemKind, PatternItem};
use std::collections::BTreeMap;

/// What an imported name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    Module(String),
    Item { module: String, name: String },
}

/// Root items and imports.
pub struct Names<'a> {
    pub lib: &'a Library,
    pub imports: BTreeMap<String, Import>,
    pub items: BTreeMap<&'a str, &'a Item>,
}

/// Where a function comes from: `None` is the root file.
pub type Origin = Option<String>;

impl<'a> Names<'a> {
    pub fn collect(cx: &mut Cx, ast: &'a Ast, lib: &'a Library) -> Names<'a> {
        let mut names = Names { lib, imports: BTreeMap::new(), items: BTreeMap::new() };
        for item in &ast.items {
            if let ItemKind::Use(u) = &item.kind {
                let _ = names.import(cx, u);
            }
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

    fn import(&mut self, cx: &mut Cx, u: &spc_syntax::ast::UseItem) -> Res<()> {
        let path: Vec<&str> = u.path.iter().map(|p| p.as_str()).collect();
        let bad = |cx: &mut Cx, span: Span, what: &str| -> Res<()> {
            let known = spc_stdlib::modules().into_iter().map(|m| format!("std.{m}")).collect::<Vec<_>>().join(", ");
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
        if !self.lib.has_module(module) {
            return bad(cx, u.path_span, &format!("std.{module}"));
        }
        let mut wanted: Vec<(&str, Span)> = u.names.iter().map(|n| (n.as_str(), n.span)).collect();
        match rest {
            [] if wanted.is_empty() => {
                self.imports.insert(module.to_string(), Import::Module(module.to_string()));
                return Ok(());
            }
            [] => {}
            [one] if wanted.is_empty() => wanted.push((one, u.path_span)),
            _ => return bad(cx, u.path_span, &path.join(".")),
        }
        for (name, span) in wanted {
            if !self.lib.names(module).contains(&name) {
                let known = self.lib.names(module);
                return cx.unknown(span, &format!("item in `std.{module}`"), name, known);
            }
            let item = Import::Item { module: module.to_string(), name: name.to_string() };
            self.imports.insert(name.to_string(), item);
        }
        Ok(())
    }

    /// A function by name, seen from a file: the root, or a module of the library (which sees itself).
    pub fn function(&self, from: &Origin, name: &str) -> Option<(Origin, &'a FnItem)> {
        match from {
            Some(module) => self.lib.function(module, name).map(|f| (Some(module.clone()), f)),
            None => match self.items.get(name).map(|i| &i.kind) {
                Some(ItemKind::Fn(f)) => Some((None, f)),
                Some(_) => None,
                None => match self.imports.get(name) {
                    Some(Import::Item { module, name }) => {
                        self.lib.function(module, name).map(|f| (Some(module.clone()), f))
                    }
                    _ => None,
                },
            },
        }
    }

    /// `nn.linear`: a function of an imported module.
    pub fn module_function(&self, module: &str, name: &str) -> Option<(Origin, &'a FnItem)> {
        match self.imports.get(module) {
            Some(Import::Module(m)) => self.lib.function(m, name).map(|f| (Some(m.clone()), f)),
            _ => None,
        }
    }

    /// Any item by name, seen from a file: its own items, then what it imports (the root only). `None` as origin is the
    /// root file.
    pub fn find(&self, from: &Origin, name: &str) -> Option<(Origin, &'a ItemKind)> {
        match from {
            Some(module) => self.lib.item(module, name).map(|i| (Some(module.clone()), i)),
            None => match self.items.get(name) {
                Some(item) => Some((None, &item.kind)),
                None => match self.imports.get(name) {
                    Some(Import::Item { module, name }) => {
                        self.lib.item(module, name).map(|i| (Some(module.clone()), i))
                    }
                    _ => None,
                },
            },
        }
    }

    /// `updates.sr_ste`: any item of an imported module.
    pub fn find_member(&self, module: &str, name: &str) -> Option<(Origin, &'a ItemKind)> {
        match self.imports.get(module) {
            Some(Import::Module(m)) => self.lib.item(m, name).map(|i| (Some(m.clone()), i)),
            _ => None,
        }
    }

    pub fn is_module(&self, name: &str) -> bool {
        matches!(self.imports.get(name), Some(Import::Module(_)))
    }

    pub fn pattern(&self, name: &str) -> Option<&'a PatternItem> {
        match self.items.get(name).map(|i| &i.kind) {
            Some(ItemKind::Pattern(p)) => Some(p),
            Some(_) => None,
            None => match self.imports.get(name) {
                Some(Import::Item { module, name }) => self.lib.pattern(module, name),
                _ => None,
            },
        }
    }

    pub fn module_pattern(&self, module: &str, name: &str) -> Option<&'a PatternItem> {
        match self.imports.get(module) {
            Some(Import::Module(m)) => self.lib.pattern(m, name),
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
        self.items.keys().copied().chain(self.imports.keys().map(String::as_str)).collect()
    }
}
