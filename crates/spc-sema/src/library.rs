//! The standard library, parsed once: functions and patterns by module.
use spc_base::{FileId, Limits};
use spc_syntax::ast::{Ast, FnItem, ItemKind, PatternItem};

/// Source files of the library get ids from here on, in the order of `spc_stdlib::FILES`.
pub const FIRST_LIBRARY_FILE: u32 = 1_000_000;

/// The parsed standard library.
#[derive(Clone, Debug)]
pub struct Library {
    files: Vec<(&'static str, Ast)>,
}

impl Library {
    /// Parses the embedded files. A library file that does not parse is a bug of ours, found by a test; here its broken
    /// items are left out.
    pub fn load() -> Library {
        let limits = Limits::default();
        let files = (FIRST_LIBRARY_FILE..)
            .zip(spc_stdlib::FILES)
            .map(|(id, f)| (f.module, spc_syntax::parse(f.text, FileId(id), &limits).0))
            .collect();
        Library { files }
    }

    /// Every file with its tree, in order.
    pub fn sources(&self) -> impl Iterator<Item = (&'static spc_stdlib::LibFile, &Ast)> {
        self.files.iter().zip(spc_stdlib::FILES).map(|((_, ast), f)| (f, ast))
    }

    pub fn has_module(&self, module: &str) -> bool {
        self.files.iter().any(|(m, _)| *m == module)
    }

    fn items<'s, 'm>(&'s self, module: &'m str) -> impl Iterator<Item = &'s ItemKind> + use<'s, 'm> {
        self.files.iter().filter(move |(m, _)| *m == module).flat_map(|(_, a)| a.items.iter().map(|i| &i.kind))
    }

    pub fn function<'s>(&'s self, module: &str, name: &str) -> Option<&'s FnItem> {
        self.items(module).find_map(|i| match i {
            ItemKind::Fn(f) if f.name.name == name => Some(f),
            _ => None,
        })
    }

    pub fn pattern<'s>(&'s self, module: &str, name: &str) -> Option<&'s PatternItem> {
        self.items(module).find_map(|i| match i {
            ItemKind::Pattern(p) if p.name.name == name => Some(p),
            _ => None,
        })
    }

    /// Any item of a module, by name.
    pub fn item<'s>(&'s self, module: &str, name: &str) -> Option<&'s ItemKind> {
        self.items(module).find(|i| i.name().is_some_and(|n| n.name == name))
    }

    /// Names that a module defines.
    pub fn names<'s>(&'s self, module: &str) -> Vec<&'s str> {
        self.items(module).filter_map(|i| i.name().map(|n| n.name.as_str())).collect()
    }
}
