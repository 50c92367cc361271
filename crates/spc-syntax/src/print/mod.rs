//! Prints a tree as `.sp` text in one plain style: one item a paragraph, two blanks of indentation, one member or statement
//! a line. Reading the text gives the same tree, spans aside. Comments that are no docs are not in the tree and are lost.
mod expr;
mod item;
mod method;
mod sentence;

use crate::ast::*;

/// The whole tree as text, with a line end at the end unless the tree is empty.
pub fn print(ast: &Ast) -> String {
    let mut p = Printer::default();
    for doc in &ast.docs {
        p.doc("//!", doc);
    }
    for (i, item) in ast.items.iter().enumerate() {
        if i > 0 || !ast.docs.is_empty() {
            p.out.push('\n');
        }
        for doc in &item.docs {
            p.doc("///", doc);
        }
        p.item(&item.kind);
        p.out.push('\n');
    }
    p.out
}

/// One expression as text, as [`print()`] would write it.
pub fn print_expr(expr: &Expr) -> String {
    let mut p = Printer::default();
    p.value(expr);
    p.out
}

/// One sentence as text.
pub fn print_sentence(sentence: &Sentence) -> String {
    let mut p = Printer::default();
    p.sentence(sentence);
    p.out
}

#[derive(Default)]
struct Printer {
    out: String,
    depth: usize,
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// A new line with indentation.
    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    fn doc(&mut self, mark: &str, doc: &Doc) {
        self.push(mark);
        if !doc.text.is_empty() {
            self.push(" ");
            self.push(&doc.text);
        }
        self.push("\n");
    }

    /// Entries with `, ` between them.
    fn list<T>(&mut self, entries: &[T], mut each: impl FnMut(&mut Printer, &T)) {
        for (i, entry) in entries.iter().enumerate() {
            if i > 0 {
                self.push(", ");
            }
            each(self, entry);
        }
    }

    fn idents(&mut self, names: &[Ident], between: &str) {
        let words: Vec<&str> = names.iter().map(Ident::as_str).collect();
        self.push(&words.join(between));
    }

    /// `{`, one entry a line, `}`.
    fn braces<T>(&mut self, entries: &[T], mut each: impl FnMut(&mut Printer, &T)) {
        self.push("{");
        self.depth += 1;
        for entry in entries {
            self.line();
            each(self, entry);
        }
        self.depth -= 1;
        if !entries.is_empty() {
            self.line();
        }
        self.push("}");
    }

    fn text(&mut self, text: &Text) {
        self.push("\"");
        for c in text.value.chars() {
            match c {
                '\n' => self.push("\\n"),
                '\r' => self.push("\\r"),
                '\t' => self.push("\\t"),
                '\\' => self.push("\\\\"),
                '"' => self.push("\\\""),
                c => self.out.push(c),
            }
        }
        self.push("\"");
    }

    /// Prints into a text of its own and puts parentheses around it if it starts with a word (empty if it starts with a
    /// mark) that the grammar would read as something else there.
    fn guarded(&mut self, taken: impl Fn(&str) -> bool, each: impl FnOnce(&mut Printer)) {
        let mut inner = Printer { out: String::new(), depth: self.depth };
        each(&mut inner);
        let starts_number = inner.out.starts_with(|c: char| c.is_ascii_digit());
        let first = if starts_number { "" } else { crate::scan::word_at(&inner.out, 0) };
        let text = if taken(first) { format!("({})", inner.out) } else { inner.out };
        self.push(&text);
    }
}
