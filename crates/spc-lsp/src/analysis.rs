//! What is known of one text: its tree, its names, and on demand what checking says.
use crate::lines::Lines;
use lsp_types::{Position, Range};
use spc_base::{Diagnostic, FileId, Limits, Span};
use spc_ir::Type;
use spc_sema::index::{Def, DefId, Index, Modules, Place, To};
use spc_sema::{AxisSize, Checked, Library, LibrarySource, Memory, ModelTensor, NamedSet};
use spc_syntax::Ast;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// The file id of an open file's own text.
const ROOT: FileId = FileId(0);

/// Texts longer than this get diagnostics and formatting only.
const LONGEST_INDEXED: usize = 1 << 20;

/// What all files share: the standard library, parsed once.
pub struct Shared {
    pub library: Library,
    pub modules: Modules,
    pub limits: Limits,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::of(Vec::new())
    }
}

impl Shared {
    /// With these modules instead of the embedded ones of their names.
    pub fn of(own: Vec<LibrarySource>) -> Shared {
        let library = Library::with(own);
        let modules = Modules::of(&library);
        Shared { library, modules, limits: Limits::default() }
    }

    /// A file of the library: its path below the library and its text.
    pub fn library_file(&self, file: FileId) -> Option<(&str, &str)> {
        self.library.sources().find(|(_, ast)| ast.file == file).map(|(f, _)| (f.path.as_str(), f.text.as_str()))
    }
}

/// One version of one text.
pub struct Analysis {
    pub text: Rc<str>,
    pub lines: Lines,
    pub ast: Ast,
    pub index: Index,
    /// Set for a file of the standard library, opened from where an editor was led.
    pub library: bool,
    parse: Vec<Diagnostic>,
    checked: OnceCell<Checked>,
    coupled: OnceCell<Vec<NamedSet>>,
    memory: Knowledge,
}

/// What is known of the functions of a file, handed from one version of its text to the next.
pub type Knowledge = Rc<RefCell<Memory>>;

impl Analysis {
    pub fn of(uri: &str, text: Rc<str>, shared: &Shared, memory: Knowledge) -> Analysis {
        let own = shared.library.sources().find(|(f, _)| uri.ends_with(&f.path) && *f.text == *text);
        // A module of the user's own may be broken: then it is shown as any other text.
        let own = own.filter(|(_, ast)| spc_syntax::parse(&text, ast.file, &shared.limits).1.is_empty());
        let lines = Lines::of(&text);
        if let Some((_, ast)) = own {
            let index = shared.modules.file(ast.file).cloned().unwrap_or_default();
            let (checked, coupled) = (OnceCell::new(), OnceCell::new());
            return Analysis {
                text,
                lines,
                ast: ast.clone(),
                index,
                library: true,
                parse: Vec::new(),
                checked,
                coupled,
                memory,
            };
        }
        let (ast, parse) = spc_syntax::parse(&text, ROOT, &shared.limits);
        let index = if text.len() <= LONGEST_INDEXED {
            Index::of_root(&ast, &text, &shared.modules, &shared.limits)
        } else {
            Index::default()
        };
        let (checked, coupled) = (OnceCell::new(), OnceCell::new());
        Analysis { text, lines, ast, index, library: false, parse, checked, coupled, memory }
    }

    /// What checking says of the items that could be read, with the diagnostics of reading.
    pub fn checked(&self, shared: &Shared) -> &Checked {
        self.checked.get_or_init(|| {
            let mut memory = self.memory.take();
            let (refused, lib, limits) = (self.parse.clone(), &shared.library, &shared.limits);
            let checked = spc_sema::check_read_knowing(&self.ast, refused, &self.text, lib, limits, &mut memory);
            self.memory.replace(memory);
            checked
        })
    }

    /// What carries each axis of each function. Found when somebody asks.
    pub fn coupled(&self, shared: &Shared) -> &[NamedSet] {
        self.coupled
            .get_or_init(|| if self.library { Vec::new() } else { spc_sema::coupled_sets(self.checked(shared)) })
    }

    pub fn diagnostics(&self, shared: &Shared) -> Vec<Diagnostic> {
        if self.library { Vec::new() } else { self.checked(shared).diagnostics.clone() }
    }

    pub fn offset(&self, at: Position) -> u32 {
        u32::try_from(self.lines.offset(&self.text, at)).unwrap_or(u32::MAX)
    }

    pub fn range(&self, span: Span) -> Range {
        self.lines.range(&self.text, span)
    }

    /// A definition of this file or of the library.
    pub fn def<'a>(&'a self, place: Place, shared: &'a Shared) -> Option<&'a Def> {
        if place.file == self.index.file { self.index.def(place.def) } else { shared.modules.def(place) }
    }

    pub fn index_of<'a>(&'a self, place: Place, shared: &'a Shared) -> Option<&'a Index> {
        if place.file == self.index.file { Some(&self.index) } else { shared.modules.file(place.file) }
    }

    /// Members of a definition; a part of a data source has those of the source.
    pub fn members<'a>(&'a self, of: Place, shared: &'a Shared) -> Vec<(DefId, &'a Def)> {
        let Some(ix) = self.index_of(of, shared) else { return Vec::new() };
        let mut owner = of.def;
        if let Some(d) = ix.def(owner) {
            if let Some(stands) = d.stands_for {
                return if stands == of { Vec::new() } else { self.members(stands, shared) };
            }
            if d.kind == spc_sema::index::DefKind::Part {
                owner = d.parent.unwrap_or(owner);
            }
        }
        ix.children(owner).into_iter().filter_map(|i| Some((i, ix.def(i)?))).collect()
    }

    /// The size or range of an axis of the file, as it is shown.
    pub fn axis_size(&self, name: &str, shared: &Shared) -> Option<String> {
        if self.library {
            return None;
        }
        Some(match self.checked(shared).module.axes.get(name)?.size {
            AxisSize::Fixed(n) => grouped(n),
            AxisSize::Range(lo, hi) => format!("{}..{}", grouped(lo), grouped(hi)),
        })
    }

    /// The stored tensors that a declaration stands for; a repetition has several.
    pub fn tensors(&self, whole: Span, shared: &Shared) -> Vec<&ModelTensor> {
        let models = &self.checked(shared).module.models;
        models.iter().flat_map(|m| &m.tensors).filter(|t| t.span == whole).collect()
    }

    /// Type of the value that a name has at a place: as assigned last before it.
    pub fn type_at(&self, def: Place, offset: u32, shared: &Shared) -> Option<&Type> {
        if self.library {
            return None;
        }
        let types = &self.checked(shared).types;
        let writes = self.index.uses.iter().filter(|u| u.writes && u.to == To::Def(def));
        let known: Vec<(u32, &Type)> = writes.filter_map(|u| Some((u.span.start, types.get(&u.span)?))).collect();
        // On the right of `x = f(x)` the name still has its old value, but the line says what is wanted: the new one.
        known.iter().rev().find(|(at, _)| *at <= offset).or(known.first()).map(|(_, t)| *t)
    }
}

/// 12,345
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
