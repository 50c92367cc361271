//! Where lines end and how far they are indented.
use super::MOST_LEVELS;
use super::lex::{Source, Token, blanks};
use super::roles;

/// A pair of brackets; the first group is the whole text.
#[derive(Clone, Debug)]
pub struct Group {
    pub open: usize,
    pub close: usize,
    pub parent: usize,
    pub depth: usize,
    /// Braces around entries.
    pub block: bool,
    pick: bool,
    /// Has a line end directly inside.
    broken: bool,
}

/// Why a line may end before a token; in the order in which a line that is too long is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Entry,
    Sizes,
    Sentence,
    Clause,
    Branch,
    Comma,
    /// Before an operator; those that bind less tightly come first.
    Operator(u8),
    Value,
    /// Kept where the author broke, never added.
    Author,
    /// After an opening or before a closing bracket.
    Bracket,
}

pub struct Layout<'a> {
    pub source: &'a Source<'a>,
    pub groups: Vec<Group>,
    /// The group directly around each token; for a bracket that opens, around it; for one that closes, the one it closes.
    pub group: Vec<usize>,
    /// The group that each opening bracket opens.
    pub opened: Vec<Option<usize>>,
    pub place: Vec<Option<Place>>,
    /// Blanks before each token that does not start a line.
    pub blanks: Vec<usize>,
    /// True where a token starts a line.
    pub starts: Vec<bool>,
    /// Indentation of each token's line, in blanks.
    pub indent: Vec<usize>,
    /// `where` and the `{` after it, which stands alone if the `where` starts a line.
    sizes: Vec<(usize, usize)>,
    /// Each `else` and the `if` that it belongs to.
    branches: Vec<(usize, usize)>,
}

impl<'a> Layout<'a> {
    pub fn new(source: &'a Source<'a>) -> Layout<'a> {
        let n = source.tokens.len();
        let root = Group { open: 0, close: n - 1, parent: 0, depth: 0, block: true, pick: false, broken: true };
        let mut layout = Layout {
            source,
            groups: vec![root],
            group: vec![0; n],
            opened: vec![None; n],
            place: vec![None; n],
            blanks: vec![0; n],
            starts: vec![false; n],
            indent: vec![0; n],
            sizes: Vec::new(),
            branches: Vec::new(),
        };
        layout.find_groups();
        for i in 1..n {
            layout.place[i] = layout.place(i);
            let (before, token) = (&source.tokens[i - 1], &source.tokens[i]);
            layout.blanks[i] = blanks(before, token, layout.entry(i), layout.groups[layout.group[i]].pick);
        }
        for i in 0..n {
            let token = &source.tokens[i];
            let has_comments = token.comments.0 < token.comments.1;
            let last = i + 1 == n;
            if i == 0 || last || has_comments || token.is(roles::ITEM) {
                layout.start_line(i);
            } else if token.place.line_ends > 0 {
                if layout.place[i].is_some() {
                    layout.start_line(i);
                } else if matches!(layout.place[i - 1], Some(Place::Operator(_))) {
                    layout.start_line(i - 1);
                }
            }
        }
        layout
    }

    fn find_groups(&mut self) {
        let mut here = 0;
        let mut sizes = None;
        let mut ifs = vec![0];
        for (i, token) in self.source.tokens.iter().enumerate() {
            if token.is(roles::ITEM) {
                sizes = None;
            }
            if token.is(roles::SIZES) {
                sizes = Some(i);
            }
            self.group[i] = here;
            if token.is(roles::IF) {
                ifs[here] = i;
            }
            if token.is(roles::BRANCH) && token.text == "else" {
                self.branches.push((i, ifs[here]));
            }
            if token.opens() {
                let (block, pick) = (token.is(roles::BLOCK), token.is(roles::PICK));
                if let Some(at) = sizes.take_if(|_| block) {
                    self.sizes.push((at, i));
                }
                let depth = self.groups[here].depth + 1;
                self.groups.push(Group { open: i, close: i, parent: here, depth, block, pick, broken: false });
                here = self.groups.len() - 1;
                ifs.push(i);
                self.opened[i] = Some(here);
            } else if token.closes() {
                self.groups[here].close = i;
                here = self.groups[here].parent;
            }
        }
    }

    fn token(&self, i: usize) -> &'a Token<'a> {
        &self.source.tokens[i]
    }

    /// True for the first token of an entry or an item.
    pub fn entry(&self, i: usize) -> bool {
        let token = self.token(i);
        token.is(roles::ITEM) || (token.is(roles::ENTRY) && self.groups[self.group[i]].block)
    }

    fn place(&self, i: usize) -> Option<Place> {
        let (before, token) = (self.token(i - 1), self.token(i));
        if before.opens() && token.closes() {
            return None;
        }
        if before.opens() || token.closes() {
            return Some(Place::Bracket);
        }
        if self.entry(i) {
            return Some(Place::Entry);
        }
        if before.text == "," {
            return Some(Place::Comma);
        }
        if before.text == "=" {
            return Some(if token.is(roles::KEEP) { Place::Sentence } else { Place::Value });
        }
        if token.is(roles::SIZES) {
            return Some(Place::Sizes);
        }
        if token.is(roles::CLAUSE) {
            return Some(Place::Clause);
        }
        if token.is(roles::BRANCH) {
            return Some(Place::Branch);
        }
        if token.is(roles::OP) {
            return power(token.text).map(Place::Operator);
        }
        (token.is(roles::RARE) || before.text == "=>").then_some(Place::Author)
    }

    /// Ends the line before a token, and those at the brackets around it as the style asks.
    pub fn start_line(&mut self, i: usize) {
        self.starts[i] = true;
        let mut g = self.group[i];
        let mut direct = true;
        while g != 0 {
            if (direct || self.groups[g].block) && !self.groups[g].broken {
                self.groups[g].broken = true;
                let (open, close) = (self.groups[g].open, self.groups[g].close);
                self.starts[open + 1] = true;
                self.starts[close] = true;
            }
            direct = false;
            g = self.groups[g].parent;
        }
    }

    /// Recomputes the indentation.
    pub fn indent_lines(&mut self) {
        for n in 0..self.sizes.len() {
            let (at, brace) = self.sizes[n];
            if self.starts[at] && !self.starts[brace] {
                self.starts[brace] = true;
                if self.place[brace + 1].is_some() {
                    self.start_line(brace + 1);
                }
            }
        }
        let mut line = 0;
        for i in 0..self.source.tokens.len() {
            if self.starts[i] {
                line = self.indent_of(i);
            }
            self.indent[i] = line;
        }
    }

    fn indent_of(&self, i: usize) -> usize {
        let group = &self.groups[self.group[i]];
        let is_root = self.group[i] == 0;
        if !is_root && group.close == i {
            return self.indent[group.open];
        }
        if let Ok(n) = self.branches.binary_search_by_key(&i, |b| b.0)
            && self.starts[self.branches[n].1]
        {
            return self.indent[self.branches[n].1];
        }
        let base = if is_root { 0 } else { self.indent[group.open] + 2 };
        let last = i + 1 == self.source.tokens.len();
        let fresh = last
            || self.entry(i)
            || (!is_root && group.open + 1 == i)
            || (!group.block && self.token(i - 1).text == ",")
            || self.sizes.binary_search_by_key(&i, |s| s.1).is_ok();
        (if fresh { base } else { base + 2 }).min(2 * MOST_LEVELS)
    }

    /// Lines as ranges of tokens, without the end of the text.
    pub fn lines(&self) -> Vec<(usize, usize)> {
        let last = self.source.tokens.len() - 1;
        let starts: Vec<usize> = (0..=last).filter(|&i| self.starts[i]).collect();
        starts.windows(2).map(|w| (w[0], w[1])).collect()
    }

    /// Characters of a line of tokens, indentation included.
    pub fn width(&self, from: usize, to: usize) -> usize {
        let words: usize = (from..to).map(|i| self.token(i).width).sum();
        let blanks: usize = (from + 1..to).map(|i| self.blanks[i]).sum();
        self.indent[from] + words + blanks
    }
}

/// How tightly an operator binds; `None` for one before which no line ends.
fn power(op: &str) -> Option<u8> {
    Some(match op {
        "->" => 0,
        "||" => 1,
        "&&" => 2,
        "<" | "<=" | ">" | ">=" | "==" | "!=" => 3,
        "&" => 4,
        "+" | "-" => 5,
        "*" | "/" => 6,
        _ => return None,
    })
}
