//! The standard library, parsed at most once: items by module, and what each module imports from others.
use spc_base::{FileId, Limits};
use spc_syntax::ast::{Ast, FnItem, Ident, Item, ItemKind, MaskItem, PatternItem, UseItem};
use std::sync::OnceLock;

/// Source files of the library get ids from here on, in the order of [`Library::sources`].
pub const FIRST_LIBRARY_FILE: u32 = 1_000_000;

/// One file of a module, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibrarySource {
    /// Module name: `nn` for `use std.nn`.
    pub module: String,
    /// Path as messages show it.
    pub path: String,
    pub text: String,
}

#[derive(Clone, Debug)]
struct File {
    id: FileId,
    source: LibrarySource,
    ast: OnceLock<Ast>,
}

impl File {
    /// The tree, read when it is first asked for: a program uses few modules.
    fn ast(&self) -> &Ast {
        self.ast.get_or_init(|| spc_syntax::parse(&self.source.text, self.id, &Limits::default()).0)
    }
}

/// The standard library. Files are read when something of their module is asked for.
#[derive(Clone, Debug)]
pub struct Library {
    files: Vec<File>,
}

impl Library {
    /// The embedded files. One that does not parse is a bug of ours, found by a test; here its broken items are left out.
    pub fn load() -> Library {
        Library::with(Vec::new())
    }

    /// The embedded modules, but for those that `own` has: a module of `own` replaces the whole embedded one of its name.
    pub fn with(own: Vec<LibrarySource>) -> Library {
        let embedded = spc_stdlib::FILES.iter().filter(|f| own.iter().all(|o| o.module != f.module));
        let embedded = embedded.map(|f| LibrarySource {
            module: f.module.to_string(),
            path: f.path.to_string(),
            text: f.text.to_string(),
        });
        let sources: Vec<LibrarySource> = embedded.chain(own.iter().cloned()).collect();
        let files = (FIRST_LIBRARY_FILE..)
            .zip(sources)
            .map(|(id, source)| File { id: FileId(id), source, ast: OnceLock::new() })
            .collect();
        Library { files }
    }

    /// Every file with its tree, in order. The tree has the file's id.
    pub fn sources(&self) -> impl Iterator<Item = (&LibrarySource, &Ast)> {
        self.files.iter().map(|f| (&f.source, f.ast()))
    }

    /// Every file with its id, in order, without reading any.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &LibrarySource)> {
        self.files.iter().map(|f| (f.id, &f.source))
    }

    pub fn has_module(&self, module: &str) -> bool {
        self.files.iter().any(|f| f.source.module == module)
    }

    /// Module names, in order of first appearance.
    pub fn modules(&self) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        for f in &self.files {
            if !out.contains(&f.source.module.as_str()) {
                out.push(&f.source.module);
            }
        }
        out
    }

    /// All items of a module, in file order.
    pub fn items<'s, 'm>(&'s self, module: &'m str) -> impl Iterator<Item = &'s Item> + use<'s, 'm> {
        self.files.iter().filter(move |f| f.source.module == module).flat_map(|f| &f.ast().items)
    }

    /// An item that a module defines, of any kind, with its doc comment.
    pub fn full_item<'s>(&'s self, module: &str, name: &str) -> Option<&'s Item> {
        self.items(module).find(|i| i.kind.name().is_some_and(|n| n.name == name))
    }

    /// The `use` items of a module's files.
    pub fn uses<'s, 'm>(&'s self, module: &'m str) -> impl Iterator<Item = &'s UseItem> + use<'s, 'm> {
        self.items(module).filter_map(|i| if let ItemKind::Use(u) = &i.kind { Some(u) } else { None })
    }

    pub fn function<'s>(&'s self, module: &str, name: &str) -> Option<&'s FnItem> {
        match self.item(module, name)? {
            ItemKind::Fn(f) => Some(f),
            _ => None,
        }
    }

    pub fn mask<'s>(&'s self, module: &str, name: &str) -> Option<&'s MaskItem> {
        match self.item(module, name)? {
            ItemKind::Mask(m) => Some(m),
            _ => None,
        }
    }

    pub fn pattern<'s>(&'s self, module: &str, name: &str) -> Option<&'s PatternItem> {
        match self.item(module, name)? {
            ItemKind::Pattern(p) => Some(p),
            _ => None,
        }
    }

    /// Any item of a module, by name.
    pub fn item<'s>(&'s self, module: &str, name: &str) -> Option<&'s ItemKind> {
        self.full_item(module, name).map(|i| &i.kind)
    }

    /// Names that a module defines.
    pub fn names<'s>(&'s self, module: &str) -> Vec<&'s str> {
        self.items(module).filter_map(|i| i.kind.name().map(Ident::as_str)).collect()
    }
}
