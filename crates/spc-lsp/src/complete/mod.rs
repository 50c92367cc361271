//! Completion: what may stand at a place, from the words before it.
mod context;
mod words;

use crate::analysis::{Analysis, Shared};
use crate::server::Pages;
use context::{Before, Spot};
use lsp_types::{
    CompletionItem, CompletionItemKind, Documentation, InsertTextFormat, MarkupContent, MarkupKind, Position, Range,
    TextEdit, Uri,
};
use spc_sema::index::{BUILTINS, Class, Def, DefKind, Imported, Place};
use std::collections::BTreeSet;
use words::{CLAUSES, ITEMS, Snippet};

/// What completions are made from, and the list so far.
pub struct List<'a> {
    a: &'a Analysis,
    shared: &'a Shared,
    pages: &'a Pages<'a>,
    uri: &'a Uri,
    /// The editor understands snippets.
    snippets: bool,
    items: Vec<CompletionItem>,
    seen: BTreeSet<String>,
}

/// Most answers to one request.
const MOST: usize = 400;

pub fn complete(
    a: &Analysis,
    shared: &Shared,
    pages: &Pages<'_>,
    uri: &Uri,
    at: Position,
    snippets: bool,
) -> Vec<CompletionItem> {
    let offset = a.offset(at);
    let mut list = List { a, shared, pages, uri, snippets, items: Vec::new(), seen: BTreeSet::new() };
    if a.library {
        return list.items;
    }
    let Some(before) = Before::read(a, offset) else { return list.items };
    match before.spot() {
        Spot::ItemWord => list.item_words(),
        Spot::UsePath(path) => list.use_path(&path),
        Spot::Member(chain) => list.member(&before, &chain),
        Spot::Text => list.stored(&before),
        Spot::Axes { roles } => list.axes(roles, offset),
        Spot::Index { base } => {
            list.indices(&before, base.as_deref(), offset);
            list.names(offset, |d| !matches!(d.kind, DefKind::Axis | DefKind::AxisParam | DefKind::Item(_)));
        }
        Spot::Type => {
            list.builtins(&[Class::Type]);
        }
        Spot::Groups => {
            list.builtins(&[Class::Group]);
            list.named_items(&["group"]);
        }
        Spot::Scores => {
            list.builtins(&[Class::Score]);
            list.builtin_names(&["abs"]);
            list.named_items(&["score"]);
            list.library(&["score"]);
            list.names(offset, |d| d.kind == DefKind::Param);
        }
        Spot::Scopes => {
            list.builtins(&[Class::Scope]);
            list.builtin_names(&["tile"]);
            list.axes(false, offset);
        }
        Spot::Methods { soft } => {
            if soft {
                list.builtins(&[Class::Via]);
            }
            list.named_items(&["update"]);
            list.library(&["update"]);
        }
        Spot::Selector => list.models(),
        Spot::Sentence => {
            list.snippet(&words::KEEP);
            list.named_items(&["pattern"]);
            list.library(&["pattern"]);
        }
        Spot::Penalties => {
            list.named_items(&["penalty"]);
            list.library(&["penalty"]);
        }
        Spot::Clauses { used, item } => {
            for c in CLAUSES.iter().filter(|c| c.items.contains(&item.as_str()) && !used.contains(&c.word)) {
                list.word(c.word, c.form);
            }
        }
        Spot::Fields(fields) => {
            for (name, doc) in fields {
                list.word_as(name, &format!("{name}: "), doc);
            }
        }
        Spot::Call => {
            list.named_items(&["fn"]);
            list.named_items(&["data"]);
        }
        Spot::Reports => {
            list.builtins(&[Class::Report]);
            list.builtin_names(&["size"]);
        }
        Spot::Starts => list.builtins(&[Class::Start]),
        Spot::Targets => list.builtin_names(&["cpu", "cuda"]),
        Spot::Promises => {
            list.builtin_names(&["accuracy", "size", "flops"]);
            list.builtins(&[Class::Promise]);
            list.models();
        }
        Spot::Expression { callee } => {
            if let Some(callee) = callee {
                list.labels(&before, &callee);
            }
            list.names(offset, |d| !matches!(d.kind, DefKind::Item("require" | "run" | "target" | "plan" | "expect")));
            list.imports();
            list.builtins(&[Class::Function, Class::Value]);
        }
        Spot::Nothing => {}
    }
    list.items.truncate(MOST);
    list.items
}

fn item_kind(kind: DefKind) -> CompletionItemKind {
    match kind {
        DefKind::Item("fn" | "score" | "schedule" | "mask") => CompletionItemKind::FUNCTION,
        DefKind::Item("pattern" | "penalty" | "update") => CompletionItemKind::INTERFACE,
        DefKind::Item("model" | "data") => CompletionItemKind::CLASS,
        DefKind::Item("group") => CompletionItemKind::STRUCT,
        DefKind::Item("const") => CompletionItemKind::CONSTANT,
        DefKind::Item(_) => CompletionItemKind::EVENT,
        DefKind::Axis | DefKind::AxisParam => CompletionItemKind::TYPE_PARAMETER,
        DefKind::Family | DefKind::Tensor | DefKind::Alias | DefKind::Column | DefKind::Part | DefKind::Member => {
            CompletionItemKind::FIELD
        }
        _ => CompletionItemKind::VARIABLE,
    }
}

impl List<'_> {
    fn push(&mut self, item: CompletionItem) {
        if self.items.len() < MOST && self.seen.insert(item.label.clone()) {
            // Editors sort by this; the order here is the order meant.
            let sort_text = Some(format!("{:03}", self.items.len()));
            self.items.push(CompletionItem { sort_text, ..item });
        }
    }

    fn word(&mut self, word: &str, form: &str) {
        self.word_as(word, word, form);
    }

    fn word_as(&mut self, label: &str, insert: &str, detail: &str) {
        self.push(CompletionItem {
            label: label.to_string(),
            kind: Some(CompletionItemKind::KEYWORD),
            detail: Some(detail.to_string()),
            insert_text: (insert != label).then(|| insert.to_string()),
            ..CompletionItem::default()
        });
    }

    fn snippet(&mut self, s: &Snippet) {
        let insert = if self.snippets { s.text.to_string() } else { s.word.to_string() };
        self.push(CompletionItem {
            label: s.word.to_string(),
            kind: Some(CompletionItemKind::KEYWORD),
            detail: Some(s.detail.to_string()),
            insert_text: Some(insert),
            insert_text_format: self.snippets.then_some(InsertTextFormat::SNIPPET),
            ..CompletionItem::default()
        });
    }

    fn item_words(&mut self) {
        for s in ITEMS {
            self.snippet(s);
        }
    }

    fn def(&mut self, d: &Def, edits: Option<Vec<TextEdit>>) {
        let detail = match d.kind {
            DefKind::Item(_) => d.detail.clone(),
            _ if d.detail.is_empty() => d.kind.word().to_string(),
            DefKind::Index => format!("index of {}", d.detail),
            DefKind::Axis => format!("axis {} = {}", d.name, d.detail),
            _ => d.detail.clone(),
        };
        let docs = MarkupContent { kind: MarkupKind::Markdown, value: d.docs.clone() };
        self.push(CompletionItem {
            label: d.name.clone(),
            kind: Some(item_kind(d.kind)),
            detail: Some(detail),
            documentation: (!d.docs.is_empty()).then_some(Documentation::MarkupContent(docs)),
            additional_text_edits: edits,
            ..CompletionItem::default()
        });
    }

    fn builtins(&mut self, classes: &[Class]) {
        for b in BUILTINS.iter().filter(|b| classes.contains(&b.class)) {
            self.builtin(b);
        }
    }

    fn builtin_names(&mut self, names: &[&str]) {
        for b in BUILTINS.iter().filter(|b| names.contains(&b.name)) {
            self.builtin(b);
        }
    }

    fn builtin(&mut self, b: &spc_sema::index::Builtin) {
        let kind = match b.class {
            Class::Type => CompletionItemKind::TYPE_PARAMETER,
            Class::Function => CompletionItemKind::FUNCTION,
            _ => CompletionItemKind::KEYWORD,
        };
        self.push(CompletionItem {
            label: b.name.to_string(),
            kind: Some(kind),
            detail: Some(b.form.to_string()),
            documentation: Some(Documentation::String(b.doc.to_string())),
            ..CompletionItem::default()
        });
    }

    /// Items of the file, and of the library where a `use` names them.
    fn named_items(&mut self, words: &[&str]) {
        let a = self.a;
        let fits = |d: &&Def| matches!(d.kind, DefKind::Item(w) if words.contains(&w));
        for d in a.index.defs.iter().filter(fits) {
            self.def(d, None);
        }
        for import in a.index.imports.values() {
            if let Imported::Item(p) = import
                && let Some(d) = self.shared.modules.def(*p).filter(fits)
            {
                self.def(d, None);
            }
        }
    }

    /// Items of the library that no `use` names yet, with the `use`.
    fn library(&mut self, words: &[&str]) {
        let shared = self.shared;
        for m in shared.modules.modules() {
            for (name, place) in shared.modules.names(m) {
                let Some(d) = shared.modules.def(place) else { continue };
                if matches!(d.kind, DefKind::Item(w) if words.contains(&w)) {
                    let edit = self.import(&format!("use std.{m}.{name}\n"));
                    self.def(d, Some(vec![edit]));
                }
            }
        }
    }

    /// Inserts a `use` below the others, or at the top below the edition.
    fn import(&self, line: &str) -> TextEdit {
        use spc_syntax::ast::ItemKind;
        let last = self.a.ast.items.iter().rfind(|i| matches!(i.kind, ItemKind::Use(_) | ItemKind::Edition(_)));
        let docs = self.a.ast.docs.last().map(|d| d.span.end);
        let after = last.map(|i| i.span.end).or(docs);
        let line_number = after.map_or(0, |end| self.a.lines.line(end as usize) + 1);
        let offset = self.a.lines.start(line_number, &self.a.text);
        let start = self.a.lines.position(&self.a.text, offset);
        // The last line of a file may lack its end.
        let open = offset > 0 && !self.a.text.get(..offset).is_some_and(|t| t.ends_with(['\n', '\r']));
        let new_text = if open { format!("\n{line}") } else { line.to_string() };
        TextEdit { range: Range { start, end: start }, new_text }
    }

    fn use_path(&mut self, path: &[String]) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [] => self.word_as("std", "std.", "the standard library"),
            ["std"] => {
                for m in self.shared.modules.modules() {
                    let names: Vec<&str> = self.shared.modules.names(m).map(|(n, _)| n).collect();
                    self.push(CompletionItem {
                        label: m.to_string(),
                        kind: Some(CompletionItemKind::MODULE),
                        detail: Some(names.join(", ")),
                        ..CompletionItem::default()
                    });
                }
            }
            ["std", module] => {
                let places: Vec<Place> = self.shared.modules.names(module).map(|(_, p)| p).collect();
                let shared = self.shared;
                for d in places.into_iter().filter_map(|p| shared.modules.def(p)) {
                    self.def(d, None);
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, before: &Before<'_>, chain: &context::Chain) {
        match before.lead(self.a, self.shared, chain) {
            None => {}
            Some(context::Lead::Module(m)) => {
                let shared = self.shared;
                let places: Vec<Place> = shared.modules.names(&m).map(|(_, p)| p).collect();
                for d in places.into_iter().filter_map(|p| shared.modules.def(p)) {
                    self.def(d, None);
                }
            }
            Some(context::Lead::Def(p)) => self.members_of(p, chain.picking),
        }
    }

    fn members_of(&mut self, p: Place, picking: bool) {
        let (a, shared) = (self.a, self.shared);
        let members: Vec<&Def> = a.members(p, shared).into_iter().map(|(_, d)| d).collect();
        let own = a.def(p, shared).map(|d| d.kind);
        let part = own == Some(DefKind::Part);
        for d in &members {
            let after_dot = match d.kind {
                DefKind::Part => !part,
                DefKind::Family | DefKind::Tensor | DefKind::Alias | DefKind::Column | DefKind::Member => true,
                // Values inside a function can be selected: `ffn.mix`.
                DefKind::Local | DefKind::Result => own == Some(DefKind::Item("fn")),
                _ => false,
            };
            if after_dot {
                self.def(d, None);
            }
        }
        let model = matches!(own, Some(DefKind::Item("model") | DefKind::Family));
        if model && !picking {
            self.word("*", "all members");
        }
    }

    /// Names of the tensors that the weight file has, inside a text of a model.
    fn stored(&mut self, before: &Before<'_>) {
        if before.item_word() != Some("model") {
            return;
        }
        let module = &self.a.checked(self.shared).module;
        let sources = before.source_path(self.a).into_iter();
        let paths: Vec<String> =
            sources.chain(module.models.iter().filter_map(|m| Some(m.source.as_ref()?.path.clone()))).collect();
        let Some(Some(Ok(list))) = paths.first().map(|p| self.pages.stored(self.uri, p)) else { return };
        let prefix = before.text_prefix(self.a);
        let declared: BTreeSet<&str> =
            module.models.iter().flat_map(|m| &m.tensors).map(|t| t.stored.as_str()).collect();
        for s in list.iter().filter(|s| !declared.contains(s.name.as_str())) {
            let Some(rest) = s.name.strip_prefix(before.repetition(self.a).as_str()) else { continue };
            if rest.starts_with(prefix.as_str()) {
                let shape: Vec<String> = s.shape.iter().map(ToString::to_string).collect();
                self.push(CompletionItem {
                    label: rest.to_string(),
                    kind: Some(CompletionItemKind::VALUE),
                    detail: Some(format!("{} [{}]", s.dtype, shape.join(", "))),
                    text_edit: Some(lsp_types::CompletionTextEdit::Edit(TextEdit {
                        range: before.text_range(self.a),
                        new_text: rest.to_string(),
                    })),
                    ..CompletionItem::default()
                });
            }
        }
    }

    fn axes(&mut self, roles: bool, offset: u32) {
        if roles {
            self.builtins(&[Class::Role]);
        }
        let a = self.a;
        let local = |d: &&Def| d.kind == DefKind::AxisParam && d.scope.start <= offset && offset <= d.scope.end;
        for d in a.index.defs.iter().filter(local) {
            self.def(d, None);
        }
        for d in a.index.defs.iter().filter(|d| d.kind == DefKind::Axis) {
            self.def(d, None);
        }
    }

    /// Small letters for the axes of what is indexed.
    fn indices(&mut self, before: &Before<'_>, base: Option<&str>, offset: u32) {
        let dims = base.and_then(|n| {
            let id = self.a.index.plain(n, offset)?;
            let place = Place { file: self.a.index.file, def: id };
            let found = self.a.type_at(place, offset, self.shared);
            found
                .map(|t| t.dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>())
                .or_else(|| self.a.index.def(id)?.dims.clone())
        });
        let done = before.entries_in_bracket();
        for d in dims.unwrap_or_default().into_iter().skip(done) {
            let name = d.to_lowercase();
            self.word(&name, &format!("index of {d}"));
        }
    }

    fn names(&mut self, offset: u32, fits: impl Fn(&Def) -> bool) {
        let a = self.a;
        for id in a.index.visible(offset) {
            if let Some(d) = a.index.def(id).filter(|d| fits(d)) {
                self.def(d, None);
            }
        }
    }

    fn imports(&mut self) {
        for (name, import) in &self.a.index.imports {
            match import {
                Imported::Module(m) => self.push(CompletionItem {
                    label: name.clone(),
                    kind: Some(CompletionItemKind::MODULE),
                    detail: Some(format!("use std.{m}")),
                    ..CompletionItem::default()
                }),
                Imported::Item(p) => {
                    if let Some(d) = self.shared.modules.def(*p) {
                        let d = d.clone();
                        self.def(&d, None);
                    }
                }
            }
        }
    }

    fn models(&mut self) {
        let a = self.a;
        for d in a.index.defs.iter().filter(|d| d.kind == DefKind::Item("model")) {
            self.def(d, None);
        }
    }

    /// Labels of a call that are not written yet.
    fn labels(&mut self, before: &Before<'_>, callee: &context::Chain) {
        let Some(context::Lead::Def(p)) = before.lead(self.a, self.shared, callee) else { return };
        let written = before.labels();
        let (a, shared) = (self.a, self.shared);
        for (_, d) in a.members(p, shared) {
            if d.kind == DefKind::Param && !written.contains(&d.name.as_str()) {
                self.push(CompletionItem {
                    label: format!("{}:", d.name),
                    kind: Some(CompletionItemKind::FIELD),
                    detail: Some(if d.detail.is_empty() { "parameter".to_string() } else { d.detail.clone() }),
                    insert_text: Some(format!("{}: ", d.name)),
                    ..CompletionItem::default()
                });
            }
        }
    }
}
