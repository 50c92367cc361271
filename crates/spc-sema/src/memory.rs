//! What elaborating functions gave, kept from one check to the next of a text that is being edited.
//!
//! The graph of an entry function follows from its own words, from those of the items that it refers to, directly or through
//! others, and from what every function sees: the axes, the imports, the library. Where all of these read as before, the
//! graph is as before, and only the places that it points to have moved with their items. So nothing is guessed: a check with
//! a memory says what a fresh one says.
//!
//! Functions with a diagnostic are not kept.
use crate::elab::Program;
use crate::module::AxisSize;
use crate::scope::Names;
use spc_base::{FileId, Limits, Span};
use spc_ir::{Graph, Type};
use spc_syntax::ast::{Ast, FnItem, ItemKind};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Graphs of the entry functions of one text, for its next version. It serves one library: [`crate::Library`] must be the
/// same in every check.
#[derive(Debug, Default)]
pub struct Memory {
    seen: Option<Seen>,
    known: BTreeMap<String, Known>,
    /// Words of the items, shared by all functions that refer to them.
    words: BTreeSet<Rc<str>>,
    elaborated: usize,
}

/// What every function sees.
#[derive(Debug, PartialEq)]
struct Seen {
    imports: Vec<String>,
    axes: Vec<(String, AxisSize)>,
    limits: Limits,
}

#[derive(Debug)]
struct Known {
    /// The function and all items it refers to, by name.
    parts: BTreeMap<String, Part>,
    gave: Gave,
}

/// The words of one item, and where they stood.
#[derive(Debug)]
struct Part {
    words: Rc<str>,
    at: u32,
}

/// What elaborating one function gave.
#[derive(Clone, Debug)]
pub(crate) struct Gave {
    pub graph: Graph,
    pub types: BTreeMap<Span, Type>,
    pub reached: BTreeSet<String>,
    pub work: u64,
}

/// A memory at work on a text: its items by name, with the names of items that each mentions.
pub(crate) struct Open<'a, 'm> {
    memory: &'m mut Memory,
    file: FileId,
    items: BTreeMap<&'a str, Words<'a>>,
}

struct Words<'a> {
    text: &'a str,
    at: u32,
    mentions: BTreeSet<&'a str>,
}

impl Memory {
    /// How many functions without a diagnostic the last check elaborated, because they were not known.
    pub fn elaborated(&self) -> usize {
        self.elaborated
    }

    /// Forgets what a text that shows its functions other axes or imports cannot use.
    pub(crate) fn open<'a, 'm>(
        &'m mut self,
        p: &Program<'_>,
        names: &Names<'a>,
        ast: &Ast,
        text: &'a str,
    ) -> Open<'a, 'm> {
        let words = |s: Span| text.get(s.start as usize..s.end as usize).unwrap_or_default();
        let uses = ast.items.iter().filter(|i| matches!(i.kind, ItemKind::Use(_)));
        let seen = Seen {
            imports: uses.map(|i| words(i.span).to_string()).collect(),
            axes: p.axes.iter().map(|(n, a)| (n.clone(), a.size)).collect(),
            limits: p.limits,
        };
        if self.seen.as_ref() != Some(&seen) {
            self.known.clear();
            self.seen = Some(seen);
        }
        self.elaborated = 0;
        let mut items = BTreeMap::new();
        for (&name, item) in &names.items {
            let text = words(item.span);
            let all = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let mentions = all.filter_map(|w| names.items.get_key_value(w).map(|(n, _)| *n)).collect();
            items.insert(name, Words { text, at: item.span.start, mentions });
        }
        Open { memory: self, file: ast.file, items }
    }
}

impl<'a> Open<'a, '_> {
    /// An item and all that it refers to.
    fn closure(&self, name: &'a str) -> BTreeSet<&'a str> {
        let (mut all, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(n) = open.pop() {
            if all.insert(n) {
                open.extend(self.items.get(n).into_iter().flat_map(|i| i.mentions.iter().copied()));
            }
        }
        all
    }

    /// The name of a function, unless another item of that name comes first.
    fn name_of(&self, f: &FnItem) -> Option<&'a str> {
        let (name, words) = self.items.get_key_value(f.name.as_str())?;
        let own = f.name.span.start >= words.at && f.name.span.end as usize <= words.at as usize + words.text.len();
        own.then_some(*name)
    }

    /// What a function gave, if all that it follows from is as it was. Places are those of the text at hand.
    pub fn recall(&self, f: &FnItem) -> Option<Gave> {
        let name = self.name_of(f)?;
        let known = self.memory.known.get(name)?;
        let closure = self.closure(name);
        if closure.len() != known.parts.len() {
            return None;
        }
        let mut moves = Vec::new();
        for n in closure {
            let (now, was) = (self.items.get(n)?, known.parts.get(n)?);
            if *now.text != *was.words {
                return None;
            }
            moves.push((was.at, was.at + was.words.len() as u32, now.at));
        }
        moves.sort_unstable();
        moved(&known.gave, self.file, &moves)
    }

    pub fn keep(&mut self, f: &FnItem, gave: Gave) {
        self.memory.elaborated += 1;
        let Some(name) = self.name_of(f) else { return };
        let mut parts = BTreeMap::new();
        for n in self.closure(name) {
            let Some(item) = self.items.get(n) else { return };
            let words = self.memory.words.get(item.text).cloned().unwrap_or_else(|| Rc::from(item.text));
            self.memory.words.insert(Rc::clone(&words));
            parts.insert(n.to_string(), Part { words, at: item.at });
        }
        self.memory.known.insert(name.to_string(), Known { parts, gave });
    }

    /// Forgets the functions that the text does not have.
    pub fn close(self, entries: &[String]) {
        let entries: BTreeSet<&String> = entries.iter().collect();
        let known = &mut self.memory.known;
        known.retain(|n, _| entries.contains(n));
        self.memory.words = known.values().flat_map(|k| k.parts.values()).map(|p| Rc::clone(&p.words)).collect();
    }
}

/// The same with its places moved; `None` if one of them lies in no item. `moves` has the old range of each item and its new
/// start, ascending.
fn moved(gave: &Gave, file: FileId, moves: &[(u32, u32, u32)]) -> Option<Gave> {
    let mut out = gave.clone();
    if moves.iter().all(|(from, _, to)| from == to) {
        return Some(out);
    }
    let move_one = |s: Span| -> Option<Span> {
        if s.file != file {
            return Some(s);
        }
        let i = moves.partition_point(|m| m.0 <= s.start).checked_sub(1)?;
        let &(from, end, to) = moves.get(i)?;
        (s.end <= end).then(|| Span { file, start: s.start - from + to, end: s.end - from + to })
    };
    for s in out.graph.sources.values_mut() {
        (s.at, s.site) = (move_one(s.at)?, move_one(s.site)?);
    }
    let types = std::mem::take(&mut out.types);
    for (s, t) in types {
        out.types.insert(move_one(s)?, t);
    }
    Some(out)
}
