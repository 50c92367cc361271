//! From text to tree, item by item.
use crate::ast::{AmountKind, Ast, Doc, Item, ItemKind, PatternItem, Require, RequireItem, Sentence, ShareOf, Span};
use crate::build::{Builder, Stop};
use crate::message::Source;
use crate::scan::{BOM, in_column_1, item_in_column_1, line_end, scan};
use pest::Parser;
use pest::iterators::Pairs;
use spc_base::{Diagnostic, FileId, Limits, codes};
use spc_grammar::{Rule, SpParser};
use std::collections::BTreeSet;

/// Nesting up to this depth is parsed on the caller's stack.
const SHALLOW: usize = 12;
/// Stack for one level of brackets, on the thread that parses deeper files. Generous for builds without optimisation.
const STACK_PER_LEVEL: usize = 64 << 10;

/// Reads a source text. Total: any text gives the tree of the items that could be read, and a diagnostic for each that
/// could not. At most `limits.diagnostics` diagnostics are made; reading stops there.
///
/// Expression trees are at most `limits.nesting` deep (a sentence inside an expression counts for
/// several levels), so recursive walks over the result are safe.
///
/// Codes: `SP0001` for words that cannot stand where they stand, `SP0002` for a text larger than `limits.source_bytes`
/// and `SP0003` for one nested deeper than `limits.nesting` (both give an empty tree), `SP0005` for a wrong edition,
/// `SP0007` for a bare ratio as an amount.
pub fn parse(text: &str, file: FileId, limits: &Limits) -> (Ast, Vec<Diagnostic>) {
    parse_seen(text, file, limits, &mut |_, _| {})
}

/// Shown what the grammar found of each item, with the offset of the item.
pub(crate) type Seen<'s> = dyn FnMut(usize, &Pairs<'_, Rule>) + Send + 's;

/// As [`parse()`]. `seen` sees each item that could be read, in order.
pub(crate) fn parse_seen(text: &str, file: FileId, limits: &Limits, seen: &mut Seen<'_>) -> (Ast, Vec<Diagnostic>) {
    let empty = || Ast { file, docs: Vec::new(), items: Vec::new(), span: Span::new(file, 0, text.len()) };
    if text.len() > limits.source_bytes {
        return (empty(), vec![too_large(text.len(), limits)]);
    }
    let scan = scan(text, limits.nesting);
    if let Some(at) = scan.too_deep {
        let diagnostic =
            Diagnostic::error(codes::TOO_DEEP, format!("more than {} brackets are open at once", limits.nesting))
                .at(Span::new(file, at, at + 1), "one too many");
        return (empty(), vec![diagnostic]);
    }
    let source = Source { text, file, scan: &scan };
    let run = || File { source, limits, ast: empty(), diagnostics: Vec::new(), seen }.read();
    on_stack(scan.depth, run).unwrap_or_else(|| {
        let diagnostic = Diagnostic::error(codes::TOO_DEEP, "there is not enough memory to read brackets this deep");
        (empty(), vec![diagnostic])
    })
}

/// Runs what reads brackets `depth` deep on a stack that is large enough; `None` if there is no memory for one.
fn on_stack<T: Send>(depth: usize, run: impl FnOnce() -> T + Send) -> Option<T> {
    if depth <= SHALLOW {
        return Some(run());
    }
    let stack = depth.saturating_mul(STACK_PER_LEVEL).saturating_add(2 << 20);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, run);
        thread.ok().and_then(|handle| handle.join().ok())
    })
}

/// As [`parse()`], from bytes. Bytes that are not UTF-8 give `SP0004` and an empty tree.
pub fn parse_bytes(bytes: &[u8], file: FileId, limits: &Limits) -> (Ast, Vec<Diagnostic>) {
    let empty = || Ast { file, docs: Vec::new(), items: Vec::new(), span: Span::new(file, 0, bytes.len()) };
    if bytes.len() > limits.source_bytes {
        return (empty(), vec![too_large(bytes.len(), limits)]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, file, limits),
        Err(error) => {
            let at = error.valid_up_to();
            let line = 1 + bytes[..at].iter().filter(|b| **b == b'\n').count();
            let byte = bytes.get(at).copied().unwrap_or_default();
            // No span: the text it would point into cannot be shown.
            let diagnostic = Diagnostic::error(codes::NOT_UTF8, "the source is not UTF-8 text")
                .note(format!("byte {at} (0x{byte:02x}, in line {line}) starts no character"));
            (empty(), vec![diagnostic])
        }
    }
}

fn too_large(bytes: usize, limits: &Limits) -> Diagnostic {
    Diagnostic::error(codes::TOO_LARGE, "the source is too large")
        .note(format!("it has {bytes} bytes; at most {} are read", limits.source_bytes))
}

struct File<'a> {
    source: Source<'a>,
    limits: &'a Limits,
    ast: Ast,
    diagnostics: Vec<Diagnostic>,
    seen: &'a mut Seen<'a>,
}

/// What became of the text at a place.
enum Step {
    /// An item was read up to this offset.
    Item(Box<Item>, usize),
    /// The text up to this offset was reported.
    Refused(usize),
}

impl File<'_> {
    fn read(mut self) -> (Ast, Vec<Diagnostic>) {
        let Source { text, scan, .. } = self.source;
        let most = self.limits.diagnostics.max(1);
        let mut seen = 0usize;
        let mut at = scan.skip_forward(text, if text.starts_with(BOM) { BOM.len() } else { 0 });
        let mut docs_from = 0;
        while at < text.len() && self.diagnostics.len() < most {
            let (mut docs, file_docs) = self.docs(docs_from, at);
            self.ast.docs.extend(file_docs);
            match self.step(at) {
                Step::Item(mut item, end) => {
                    self.edition(&item, seen);
                    item.docs.append(&mut docs);
                    self.ast.items.push(*item);
                    at = end;
                }
                Step::Refused(end) => at = end,
            }
            seen += 1;
            docs_from = at;
            at = scan.skip_forward(text, at);
        }
        if at >= text.len() {
            let (_, file_docs) = self.docs(docs_from, text.len());
            self.ast.docs.extend(file_docs);
        }
        self.groups_as_costs();
        self.diagnostics.truncate(most);
        (self.ast, self.diagnostics)
    }

    /// Reads one item, or reports the text up to the next place where an item may start. Always makes progress.
    fn step(&mut self, at: usize) -> Step {
        let Source { text, scan, .. } = self.source;
        if item_word(text, at)
            && let Ok(pairs) = SpParser::parse(Rule::item, &text[at..])
            && let Some(end) = self.whole_item(at, &pairs)
        {
            return self.build(at, end, pairs);
        }
        let next = next_item(text, at);
        let end = scan.skip_back(text, next).max(at);
        if !item_word(text, at) {
            self.diagnostics.push(self.source.no_item(at, end));
            return Step::Refused(next);
        }
        // Read the broken item again alone, for a message about it and not about what follows.
        match SpParser::parse(Rule::lone_item, &text[at..end]) {
            Ok(mut lone) => match lone.next() {
                Some(pair) => self.build(at, end, pair.into_inner()),
                None => Step::Refused(next),
            },
            Err(error) => {
                self.diagnostics.push(self.source.refused(at, end, &error));
                Step::Refused(next)
            }
        }
    }

    /// The end of an item that was read at `at`, or `None` if the rest of its line belongs to it and was not read.
    fn whole_item(&self, at: usize, pairs: &Pairs<'_, Rule>) -> Option<usize> {
        let Source { text, scan, .. } = self.source;
        let end = at + pairs.clone().next()?.as_span().end();
        let end = scan.skip_back(text, end);
        let next = scan.skip_forward(text, end);
        let fine = next >= text.len() || in_column_1(text, next) || item_word(text, next);
        (end > at && fine).then_some(end)
    }

    fn build(&mut self, at: usize, end: usize, mut pairs: Pairs<'_, Rule>) -> Step {
        (self.seen)(at, &pairs);
        let Source { text, file, scan } = self.source;
        let mut builder =
            Builder { text, file, scan, base: at, max_level: self.limits.nesting, level: 0, diagnostics: Vec::new() };
        let built = match pairs.next() {
            Some(pair) => builder.item(pair),
            None => Err(Stop::Bug("the item has no tree".into())),
        };
        self.diagnostics.append(&mut builder.diagnostics);
        match built {
            Ok(item) => Step::Item(Box::new(item), end),
            Err(Stop::TooDeep(span)) => {
                let message = "the expression is too deep";
                let help = format!("give parts of it names; at most {} levels are read", self.limits.nesting);
                self.diagnostics.push(
                    Diagnostic::error(codes::TOO_DEEP, message)
                        .at(span, "too many operators, calls or members in each other")
                        .help(help),
                );
                Step::Refused(end)
            }
            Err(Stop::Bug(what)) => {
                let message = "internal error: this item could not be turned into a tree";
                let span = Span::new(file, at, end);
                self.diagnostics.push(Diagnostic::error(codes::SYNTAX, message).at(span, "this item").note(what));
                Step::Refused(end)
            }
        }
    }

    /// Doc comments between two offsets: `///` and `//!`.
    fn docs(&self, from: usize, to: usize) -> (Vec<Doc>, Vec<Doc>) {
        let Source { text, file, scan } = self.source;
        let first = scan.comments.partition_point(|c| c.0 < from);
        let (mut outer, mut inner) = (Vec::new(), Vec::new());
        for &(start, end) in scan.comments[first..].iter().take_while(|c| c.0 < to) {
            let comment = &text[start..end];
            let (list, rest) = match (comment.strip_prefix("///"), comment.strip_prefix("//!")) {
                (Some(rest), _) if !rest.starts_with('/') => (&mut outer, rest),
                (_, Some(rest)) => (&mut inner, rest),
                _ => continue,
            };
            let rest = rest.trim_end();
            let text = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
            list.push(Doc { text, span: Span::new(file, start, end) });
        }
        (outer, inner)
    }

    fn edition(&mut self, item: &Item, seen: usize) {
        let ItemKind::Edition(edition) = &item.kind else { return };
        if edition.number.int != Some(1) {
            let message = format!("there is no edition {}", edition.number.text);
            self.diagnostics.push(
                Diagnostic::error(codes::EDITION, message)
                    .at(edition.number.span, "the only edition is 1")
                    .fix(edition.number.span, "1"),
            );
        }
        if seen > 0 {
            let out = Diagnostic::error(codes::EDITION, "`edition` must be the first item");
            self.diagnostics.push(out.at(item.span, "not the first item").help("move it to the top of the file"));
        }
    }

    /// `keep 50% of neuron of net` reads `neuron` as a cost, which is never meant where `neuron` is a group.
    fn groups_as_costs(&mut self) {
        let mut groups: BTreeSet<&str> = ["elements", "tensors"].into();
        for item in &self.ast.items {
            if let ItemKind::Group(group) = &item.kind {
                groups.insert(group.name.as_str());
            }
        }
        for item in &self.ast.items {
            let (ItemKind::Require(RequireItem { what: Require::Sentence(sentence), .. })
            | ItemKind::Pattern(PatternItem { sentence, .. })) = &item.kind
            else {
                continue;
            };
            let mut next: Option<&Sentence> = Some(sentence);
            while let Some(sentence) = next {
                if let AmountKind::Of { of: ShareOf::Name(name), .. } = &sentence.amount.kind
                    && groups.contains(name.as_str())
                {
                    let span = sentence.group.span;
                    let what = self.source.text.get(span.start as usize..span.end as usize).unwrap_or_default();
                    self.diagnostics.push(
                        Diagnostic::error(
                            codes::SYNTAX,
                            format!("`{}` is a group, and stands where a cost would", name.name),
                        )
                        .at(name.span, "read as what the amount is counted in")
                        .help(format!("write `keep .. of {} .. on {what}`", name.name)),
                    );
                }
                next = sentence.then.as_deref();
            }
        }
    }
}

fn item_word(text: &str, at: usize) -> bool {
    spc_grammar::ITEM_WORDS.contains(&crate::scan::word_at(text, at))
}

/// The offset of the next line that starts with an item word, or the end of the text.
fn next_item(text: &str, after: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = line_end(bytes, after);
    while at < bytes.len() {
        at += 1;
        if item_in_column_1(text, at) {
            return at;
        }
        at = line_end(bytes, at);
    }
    text.len()
}
