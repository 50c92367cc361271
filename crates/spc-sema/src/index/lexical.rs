//! Names in text that no tree covers: read word by word, with the scopes that the rest of the file gives.
use super::walk::{Meaning, Target, Walk};
use super::{Def, DefKind, Imported, To, Token, TokenKind, builtin, tokens};
use spc_base::Span;
use spc_syntax::ast::Ident;
use std::collections::BTreeSet;

/// Most words that are read without a tree.
const MOST_WORDS: usize = 4000;

impl<'a> Walk<'a> {
    /// The words of a region, comments left out. Only so many words of a file are read.
    pub fn unread_words(&mut self, region: Span) -> Vec<Token<'a>> {
        let all = tokens(self.text, region.file, region.start as usize, region.end as usize);
        let mut list: Vec<Token<'a>> = all.into_iter().filter(|t| t.kind != TokenKind::Comment).collect();
        list.truncate(MOST_WORDS.saturating_sub(self.words_read));
        self.words_read += list.len();
        list
    }

    /// Reads the uses in words, after [`Walk::broken_item`] has declared what they declare.
    pub fn read_words(&mut self, list: &[Token<'_>], declared: &BTreeSet<u32>) {
        let mut i = 0;
        while i < list.len() {
            i = self.chain(list, i, declared).max(i + 1);
        }
    }

    fn ident(t: &Token<'_>) -> Ident {
        Ident { name: t.text.to_string(), span: t.span }
    }

    /// Declares the item that the words start with, and what looks like a parameter, member or value of it.
    pub fn broken_item(&mut self, list: &[Token<'_>], region: Span) {
        let Some(first) = list.first() else { return };
        let Some(word) = spc_syntax::ITEM_WORDS.iter().find(|w| first.is(w)) else { return };
        self.scope = region;
        self.owner = None;
        let named = list.get(1).filter(|t| t.kind == TokenKind::Word && !spc_syntax::is_reserved(t.text));
        let labelled = !matches!(*word, "require" | "penalize" | "quantize") || list.get(2).is_some_and(|t| t.is(":"));
        let nameless = matches!(*word, "edition" | "use" | "axis" | "expect");
        if let Some(name) = named.filter(|_| labelled && !nameless) {
            let whole = self.whole();
            let def = Def { scope: whole, ..self.new_def(&Self::ident(name), DefKind::Item(word), region) };
            let id = self.ix.add(def);
            self.ix.items.entry(name.text.to_string()).or_insert(id);
            self.owner = Some(id);
        }
        let model = matches!(*word, "model" | "data");
        let (mut round, mut axes) = (0usize, *word == "axis");
        let defines = matches!(*word, "fn" | "pattern" | "score" | "penalty" | "update" | "schedule" | "mask");
        let mut signature = true;
        for (k, t) in list.iter().enumerate().skip(1) {
            let next = |s: &str| list.get(k + 1).is_some_and(|n| n.is(s));
            let after_dot = list.get(k - 1).is_some_and(|p| p.is("."));
            match t.text {
                "(" | "[" if t.kind == TokenKind::Mark => round += 1,
                ")" | "]" if t.kind == TokenKind::Mark => round = round.saturating_sub(1),
                "{" => signature = false,
                "}" => axes = false,
                "axes" if model => axes = true,
                _ if t.kind != TokenKind::Word || after_dot || spc_syntax::is_reserved(t.text) => {}
                _ if axes && round == 0 && (next("=") || next(",")) && !self.ix.axes.contains_key(t.text) => {
                    let whole = self.whole();
                    let def = Def { scope: whole, ..self.new_def(&Self::ident(t), DefKind::Axis, t.span) };
                    let id = self.ix.add(def);
                    self.ix.axes.insert(t.text.to_string(), id);
                }
                _ if model && round == 0 && next(":") => {
                    let def = self.new_def(&Self::ident(t), DefKind::Tensor, t.span);
                    self.ix.add(def);
                }
                _ if defines && self.owner.is_some() && signature && round == 1 && next(":") => {
                    let (detail, dims) = Self::type_words(list.get(k + 2..).unwrap_or_default());
                    let def = self.new_def(&Self::ident(t), DefKind::Param, t.span);
                    self.ix.add(Def { detail, dims, ..def });
                }
                _ if *word == "fn"
                    && !signature
                    && round == 0
                    && (next("=") || next("["))
                    && self.ix.plain(t.text, t.span.start).is_none() =>
                {
                    let def = self.new_def(&Self::ident(t), DefKind::Local, t.span);
                    self.ix.add(def);
                }
                _ => {}
            }
        }
        self.owner = None;
    }

    /// A type such as `f32[B, (H C)]` at the start of some words, and its axes.
    fn type_words(list: &[Token<'_>]) -> (String, Option<Vec<String>>) {
        let Some(name) = list.first().filter(|t| t.kind == TokenKind::Word) else { return (String::new(), None) };
        let close = list.iter().position(|t| t.is("]"));
        let inner = close.and_then(|c| list.get(2..c)).filter(|_| list.get(1).is_some_and(|t| t.is("[")));
        let Some(inner) = inner else { return (name.text.to_string(), None) };
        let mut dims: Vec<String> = vec![String::new()];
        for t in inner {
            if t.is(",") {
                dims.push(String::new());
            } else if let Some(d) = dims.last_mut() {
                let sticks = d.is_empty() || d.ends_with('(') || t.is(")");
                *d += if sticks { "" } else { " " };
                *d += t.text;
            }
        }
        (format!("{}[{}]", name.text, dims.join(", ")), Some(dims))
    }

    /// A name with the members after it; the position behind it.
    fn chain(&mut self, list: &[Token<'_>], start: usize, skip: &BTreeSet<u32>) -> usize {
        let Some(first) = list.get(start) else { return start };
        let declared = skip.contains(&first.span.start);
        let plain = first.kind == TokenKind::Word && !list.get(start.wrapping_sub(1)).is_some_and(|t| t.is("."));
        if !plain || declared {
            return start + 1;
        }
        let mut meaning = self.plain_word(first);
        let mut i = start + 1;
        while meaning.is_some() {
            match list.get(i) {
                Some(t) if t.is("[") => {
                    // Past the bracket; what is inside is read on its own.
                    let mut depth = 0usize;
                    let close = list.iter().skip(i).position(|t| {
                        depth = if t.is("[") { depth + 1 } else { depth - usize::from(t.is("]")) };
                        depth == 0
                    });
                    let Some(close) = close else { break };
                    let inner = list.get(i + 1..i + close).unwrap_or_default();
                    for t in inner.iter().filter(|t| t.kind == TokenKind::Word) {
                        self.plain_word(t);
                    }
                    i += close + 1;
                }
                Some(t) if t.is(".") => match list.get(i + 1) {
                    Some(n) if n.kind == TokenKind::Word => {
                        meaning = self.member(meaning, &Self::ident(n));
                        i += 2;
                    }
                    Some(n) if n.is("*") => i += 2,
                    Some(n) if n.is("{") => {
                        i += 2;
                        while let Some(n) = list.get(i).filter(|t| t.kind == TokenKind::Word || t.is(",")) {
                            if n.kind == TokenKind::Word {
                                self.member(meaning.clone(), &Self::ident(n));
                            }
                            i += 1;
                        }
                        return i;
                    }
                    _ => break,
                },
                _ => break,
            }
        }
        i
    }

    fn plain_word(&mut self, t: &Token<'_>) -> Meaning {
        if let Some(def) = self.ix.plain(t.text, t.span.start) {
            self.used_def(t.span, def);
            let stands = self.ix.def(def).and_then(|d| d.stands_for);
            return Some(Target::Def(stands.unwrap_or(self.place(def))));
        }
        match self.ix.imports.get(t.text).cloned() {
            Some(Imported::Module(m)) => {
                self.used(t.span, To::Module(m.clone()));
                Some(Target::Module(m))
            }
            Some(Imported::Item(place)) => {
                self.used(t.span, To::Def(place));
                Some(Target::Def(place))
            }
            None => {
                if let Some(b) = builtin::find(t.text) {
                    self.used(t.span, To::Builtin(b));
                }
                None
            }
        }
    }
}
