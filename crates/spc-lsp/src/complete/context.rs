//! What the words before a place ask for. Works on tokens, since the text there is rarely whole.
use crate::analysis::{Analysis, Shared};
use lsp_types::Range;
use spc_base::Span;
use spc_sema::index::{Imported, Place, Token, TokenKind, tokens};

/// What may stand at the place.
#[derive(Debug, PartialEq)]
pub enum Spot {
    /// The word that starts an item.
    ItemWord,
    /// The next word of a `use` after these.
    UsePath(Vec<String>),
    /// After a dot.
    Member(Chain),
    /// Inside a quoted text.
    Text,
    Axes {
        roles: bool,
    },
    /// Between index brackets.
    Index {
        base: Option<String>,
    },
    Type,
    Groups,
    Scores,
    Scopes,
    Methods {
        soft: bool,
    },
    Selector,
    /// A sentence or a pattern.
    Sentence,
    Penalties,
    /// The next clause of a sentence that has these.
    Clauses {
        used: Vec<&'static str>,
        item: String,
    },
    Fields(&'static [(&'static str, &'static str)]),
    /// A call of a function on data.
    Call,
    Reports,
    /// How a tensor of a model starts.
    Starts,
    Targets,
    Promises,
    /// A value; inside a call's parentheses its labels too.
    Expression {
        callee: Option<Chain>,
    },
    Nothing,
}

/// Names joined by dots, indexes and stars left out: `net.layer[l].wq`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain {
    pub names: Vec<String>,
    /// Inside `.{ .. }`.
    pub picking: bool,
}

/// What a chain leads to.
pub enum Lead {
    Module(String),
    Def(Place),
}

/// The words of the item before a place.
pub struct Before<'a> {
    list: Vec<Token<'a>>,
    /// The place lies in this text.
    text: Option<Token<'a>>,
    /// Nothing stands before the word in its line.
    line_start: bool,
    offset: u32,
}

const RUN_FIELDS: &[(&str, &str)] = &[("call", "the function and its data"), ("report", "what is measured")];
const TRAIN_FIELDS: &[(&str, &str)] = &[
    ("loss", "what is minimised"),
    ("optimizer", "adamw(lr: ..), sgd(lr: ..)"),
    ("batch", "rows in one step"),
    ("epochs", "passes over the data"),
    ("steps", "length of the run"),
    ("seed", "of the random source"),
];

const CLAUSE_WORDS: [&str; 14] = [
    "per",
    "by",
    "on",
    "except",
    "then",
    "min",
    "multiple",
    "always",
    "pad",
    "ragged",
    "on_overlap",
    "via",
    "at",
    "every",
];

impl<'a> Before<'a> {
    /// `None` inside a comment.
    pub fn read(a: &'a Analysis, offset: u32) -> Option<Before<'a>> {
        let text: &str = &a.text;
        let at = offset as usize;
        let from = item_start(text, at);
        // The word that is being typed reaches up to the place, not beyond.
        let mut list = tokens(text.get(..at)?, a.index.file, from, at);
        let mut inside = None;
        if let Some(last) = list.last().copied() {
            let touches = last.span.end == offset;
            match last.kind {
                TokenKind::Comment if touches => return None,
                TokenKind::Text if touches && !closed(last.text) => {
                    inside = Some(last);
                    list.pop();
                }
                TokenKind::Word if touches => {
                    list.pop();
                }
                _ => {}
            }
        }
        list.retain(|t| t.kind != TokenKind::Comment);
        let line = a.lines.start(a.lines.line(at), text);
        let typed = text.get(line..at)?;
        let line_start = typed.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        Some(Before { list, text: inside, line_start, offset })
    }

    fn token(&self, i: usize) -> Option<&Token<'a>> {
        self.list.get(i)
    }

    fn last(&self) -> Option<&Token<'a>> {
        self.list.last()
    }

    pub fn item_word(&self) -> Option<&'a str> {
        let first = self.token(0)?;
        spc_syntax::ITEM_WORDS.contains(&first.text).then_some(first.text)
    }

    /// Brackets that are open at the place, outermost first.
    fn open(&self) -> Vec<usize> {
        let mut v = Vec::new();
        for (i, t) in self.list.iter().enumerate().filter(|(_, t)| t.kind == TokenKind::Mark) {
            match t.text {
                "(" | "[" | "{" => v.push(i),
                ")" | "]" | "}" => {
                    v.pop();
                }
                _ => {}
            }
        }
        v
    }

    fn is(&self, i: Option<usize>, text: &str) -> bool {
        i.and_then(|i| self.token(i)).is_some_and(|t| t.is(text))
    }

    /// The chain whose last token is `end`.
    fn chain(&self, end: usize) -> Option<Chain> {
        let mut names = Vec::new();
        let mut i = end;
        loop {
            let t = self.token(i)?;
            if t.is("]") {
                let mut depth = 0usize;
                loop {
                    let t = self.token(i)?;
                    depth = if t.is("]") { depth + 1 } else { depth - usize::from(t.is("[")) };
                    i = i.checked_sub(1)?;
                    if depth == 0 {
                        break;
                    }
                }
                continue;
            }
            if t.kind == TokenKind::Word {
                names.push(t.text.to_string());
            } else if !t.is("*") {
                return None;
            }
            match i.checked_sub(1) {
                Some(dot) if self.is(Some(dot), ".") => i = dot.checked_sub(1)?,
                _ => break,
            }
        }
        names.reverse();
        (!names.is_empty()).then_some(Chain { names, picking: false })
    }

    pub fn lead(&self, a: &Analysis, shared: &Shared, chain: &Chain) -> Option<Lead> {
        let (first, rest) = chain.names.split_first()?;
        let file = a.index.file;
        let mut lead = match a.index.plain(first, self.offset) {
            Some(def) => Lead::Def(Place { file, def }),
            None => match a.index.imports.get(first)? {
                Imported::Module(m) => Lead::Module(m.clone()),
                Imported::Item(p) => Lead::Def(*p),
            },
        };
        for name in rest {
            lead = match lead {
                Lead::Module(m) => Lead::Def(shared.modules.get(&m, name)?),
                Lead::Def(p) => {
                    let (def, _) = a.members(p, shared).into_iter().find(|(_, d)| d.name == *name)?;
                    // A part of data has the members of the data; a local those of what it stands for.
                    let file = a.def(p, shared).and_then(|d| d.stands_for).map_or(p.file, |s| s.file);
                    Lead::Def(Place { file, def })
                }
            };
        }
        Some(lead)
    }

    /// Commas of the innermost open bracket.
    pub fn entries_in_bracket(&self) -> usize {
        let Some(open) = self.open().last().copied() else { return 0 };
        let mut depth = 0usize;
        let mut n = 0;
        for t in self.list.iter().skip(open + 1) {
            match t.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                "," if depth == 0 => n += 1,
                _ => {}
            }
        }
        n
    }

    /// Words with a colon in the innermost open bracket.
    pub fn labels(&self) -> Vec<&str> {
        let Some(open) = self.open().last().copied() else { return Vec::new() };
        let pairs = self.list.iter().zip(self.list.iter().skip(1)).skip(open);
        pairs.filter(|(w, c)| w.kind == TokenKind::Word && c.is(":")).map(|(w, _)| w.text).collect()
    }

    pub fn spot(&self) -> Spot {
        if self.text.is_some() {
            return Spot::Text;
        }
        if self.line_start {
            return Spot::ItemWord;
        }
        let (Some(item), Some(last)) = (self.item_word(), self.last()) else { return Spot::Nothing };
        let end = self.list.len() - 1;
        let open = self.open();
        if item == "use" {
            let words = self.list.iter().skip(1).filter(|t| t.kind == TokenKind::Word);
            let brace = open.last().copied();
            let path = words.filter(|t| brace.and_then(|b| self.token(b)).is_none_or(|b| t.span.start < b.span.start));
            let next = last.is(".") || last.is("use") || brace.is_some();
            return if next { Spot::UsePath(path.map(|t| t.text.to_string()).collect()) } else { Spot::Nothing };
        }
        if last.is(".") {
            let chain = end.checked_sub(1).and_then(|e| self.chain(e));
            return chain.map_or(Spot::Nothing, Spot::Member);
        }
        let Some(bracket) = open.last().copied() else { return self.at_top(item, last) };
        let opener = self.token(bracket).map(|t| t.text).unwrap_or_default();
        match opener {
            "{" if self.is(bracket.checked_sub(1), ".") => {
                let chain = bracket.checked_sub(2).and_then(|e| self.chain(e));
                chain.map_or(Spot::Nothing, |c| Spot::Member(Chain { picking: true, ..c }))
            }
            "{" => self.in_braces(item, last, bracket),
            "[" => self.in_square(item, bracket),
            _ => self.in_round(item, last, bracket, &open),
        }
    }

    fn in_square(&self, item: &str, bracket: usize) -> Spot {
        let before = bracket.checked_sub(1);
        if self.is(before, ":") && self.is(before.and_then(|b| b.checked_sub(1)), "report") {
            return Spot::Reports;
        }
        let base = before.and_then(|b| self.token(b)).filter(|t| t.kind == TokenKind::Word);
        let typed = before.and_then(|b| b.checked_sub(1)).is_some_and(|c| self.is(Some(c), ":"));
        let binds = matches!(item, "model" | "data" | "group" | "schedule");
        if typed || binds {
            return Spot::Axes { roles: false };
        }
        Spot::Index { base: base.map(|t| t.text.to_string()) }
    }

    fn in_round(&self, item: &str, last: &Token<'_>, bracket: usize, open: &[usize]) -> Spot {
        let before = bracket.checked_sub(1);
        let callee = before.and_then(|b| self.token(b)).map(|t| t.text).unwrap_or_default();
        let defines = matches!(item, "fn" | "pattern" | "score" | "penalty" | "update" | "schedule" | "mask");
        let outer = open.iter().rev().nth(1).and_then(|o| self.token(*o)).map(|t| t.text);
        match callee {
            "tile" if last.is(":") => Spot::Axes { roles: true },
            "tile" => Spot::Axes { roles: true },
            "slices" | "@" | "per" | "by" => Spot::Axes { roles: false },
            "[" | "," if outer == Some("[") => Spot::Axes { roles: false },
            _ if defines && bracket == 2 => {
                if last.is(":") {
                    Spot::Type
                } else if last.is("=") {
                    Spot::Expression { callee: None }
                } else {
                    Spot::Nothing
                }
            }
            _ => {
                let starts = last.is("(") || last.is(",");
                let callee = before.filter(|_| starts).and_then(|b| self.chain(b));
                Spot::Expression { callee }
            }
        }
    }

    fn in_braces(&self, item: &str, last: &Token<'_>, bracket: usize) -> Spot {
        let new = last.is("{") || last.is("}") || last.is(")") || last.is("]") || last.is(",");
        match item {
            "run" if last.is(":") => Spot::Call,
            "run" if new => Spot::Fields(RUN_FIELDS),
            "train" if new || last.kind == TokenKind::Number => Spot::Fields(TRAIN_FIELDS),
            "target" => Spot::Axes { roles: false },
            // A record type in a signature.
            "model" | "data" if last.is(":") => Spot::Type,
            "fn" if last.is(":") && self.open().iter().any(|o| self.is(Some(*o), "(")) => Spot::Type,
            "model" | "data" => {
                let axes = self.is(bracket.checked_sub(1), "axes");
                match item {
                    "model" if last.is("=") && !axes => Spot::Starts,
                    "data" if last.is("=") && !axes => Spot::Expression { callee: None },
                    _ => Spot::Nothing,
                }
            }
            _ => match last.text {
                "by" if item != "fn" => Spot::Scores,
                "via" => Spot::Methods { soft: false },
                _ => Spot::Expression { callee: None },
            },
        }
    }

    /// Outside of all brackets.
    fn at_top(&self, item: &str, last: &Token<'_>) -> Spot {
        let end = self.list.len() - 1;
        let before_last = end.checked_sub(1).and_then(|i| self.token(i));
        let sentence = matches!(item, "require" | "pattern" | "penalize" | "quantize");
        match last.text {
            "of" if matches!(item, "require" | "pattern" | "penalize") => {
                // `slices(F) of net`: what is sliced.
                if before_last.is_some_and(|t| t.is(")")) && item != "penalize" { Spot::Selector } else { Spot::Groups }
            }
            "of" => Spot::Selector,
            "by" if sentence => Spot::Scores,
            "per" if sentence => Spot::Scopes,
            "via" if sentence => Spot::Methods { soft: item == "penalize" },
            "on" | "except" if sentence => Spot::Selector,
            "quantize" => Spot::Selector,
            "require" => Spot::Sentence,
            ":" if item == "require" && end == 2 => Spot::Sentence,
            ":" if item == "quantize" && end == 2 => Spot::Selector,
            "=" if item == "pattern" => Spot::Sentence,
            "=" if item == "group" => Spot::Groups,
            "=" if item == "target" => Spot::Targets,
            "*" if item == "penalize" => Spot::Penalties,
            "expect" => Spot::Promises,
            "->" | "model" | "data" | "group" | "run" | "train" | "axis" | "from" => Spot::Nothing,
            "then" | "keep" => Spot::Nothing,
            _ if sentence && ends_operand(last) && end > 0 => {
                let used = self.list.iter().filter_map(|t| CLAUSE_WORDS.iter().find(|w| t.is(w)).copied());
                // A second sentence has clauses of its own.
                let mut used: Vec<&'static str> = used.collect();
                if let Some(then) = used.iter().rposition(|w| *w == "then") {
                    used.drain(..=then);
                }
                Spot::Clauses { used, item: item.to_string() }
            }
            _ if item == "plan" && last.is("for") => Spot::Nothing,
            _ => Spot::Expression { callee: None },
        }
    }

    // ---- inside a text

    /// What is written of the text so far.
    pub fn text_prefix(&self, a: &Analysis) -> String {
        let Some(t) = &self.text else { return String::new() };
        a.text.get(t.span.start as usize + 1..self.offset as usize).unwrap_or_default().to_string()
    }

    /// The text without its quotes, also behind the place.
    pub fn text_range(&self, a: &Analysis) -> Range {
        let start = self.text.as_ref().map_or(self.offset, |t| t.span.start + 1);
        let at = self.offset as usize;
        let rest = a.text.get(at..).unwrap_or_default();
        let len = rest.find(['"', '\n', '\r']).unwrap_or(rest.len());
        // Without a closing quote what follows is not part of the text.
        let len = if rest.get(len..).is_some_and(|r| r.starts_with('"')) { len } else { 0 };
        a.range(Span::new(a.index.file, start as usize, at + len))
    }

    /// The file that the item names.
    pub fn source_path(&self, a: &Analysis) -> Option<String> {
        let from = self.list.iter().position(|t| t.is("from"))?;
        let t = self.list.get(from + 2).filter(|t| t.kind == TokenKind::Text)?;
        a.text.get(t.span.start as usize + 1..t.span.end as usize - 1).map(str::to_string)
    }

    /// What stored names begin with inside the repetitions around the place, for index 0.
    pub fn repetition(&self, a: &Analysis) -> String {
        let mut out = String::new();
        for open in self.open().into_iter().skip(1) {
            let Some(t) = open.checked_sub(1).and_then(|i| self.token(i)) else { continue };
            if t.kind == TokenKind::Text {
                let body = a.text.get(t.span.start as usize + 1..t.span.end as usize - 1).unwrap_or_default();
                let mut parts = body.split('{');
                out += parts.next().unwrap_or_default();
                for p in parts {
                    out += "0";
                    out += p.split_once('}').map_or("", |(_, rest)| rest);
                }
                out += ".";
            } else if t.is("]") {
                let name = self.list.get(..open).and_then(|l| l.iter().rposition(|t| t.is("[")));
                if let Some(n) = name.and_then(|n| n.checked_sub(1)).and_then(|n| self.token(n)) {
                    out += n.text;
                    out += ".0.";
                }
            }
        }
        out
    }
}

fn closed(text: &str) -> bool {
    text.len() > 1 && text.ends_with('"') && !text.ends_with("\\\"")
}

fn ends_operand(t: &Token<'_>) -> bool {
    match t.kind {
        TokenKind::Word => !spc_syntax::is_reserved(t.text),
        TokenKind::Number | TokenKind::Text => true,
        _ => matches!(t.text, ")" | "]" | "}" | "*"),
    }
}

/// Start of the last line before a place that begins with an item word.
fn item_start(text: &str, at: usize) -> usize {
    let mut end = at;
    loop {
        let start = text.get(..end).and_then(|t| t.rfind(['\n', '\r'])).map_or(0, |n| n + 1);
        let line = text.get(start..at).unwrap_or_default();
        let len = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
        // The word under way is not yet an item's.
        if start + len < at && spc_syntax::ITEM_WORDS.contains(&&line[..len]) {
            return start;
        }
        if start == 0 {
            return 0;
        }
        end = start - 1;
    }
}
