//! Open files.
use crate::analysis::{Analysis, Knowledge, Shared};
use crate::lines::Lines;
use lsp_types::TextDocumentContentChangeEvent;
use std::rc::Rc;

/// One open file: its newest text, and what is known of it.
pub struct Document {
    pub uri: lsp_types::Uri,
    pub version: i32,
    text: Rc<str>,
    analysis: Option<Rc<Analysis>>,
    memory: Knowledge,
    /// Its diagnostics are older than its text.
    pub stale: bool,
}

impl Document {
    pub fn open(uri: lsp_types::Uri, version: i32, text: String) -> Document {
        Document { uri, version, text: text.into(), analysis: None, memory: Knowledge::default(), stale: true }
    }

    /// Applies changes in order. A range that lies outside the text is cut to it.
    pub fn change(&mut self, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let mut text = self.text.to_string();
        for c in changes {
            match c.range {
                None => text = c.text,
                Some(r) => {
                    let lines = Lines::of(&text);
                    let (a, b) = (lines.offset(&text, r.start), lines.offset(&text, r.end));
                    text.replace_range(a.min(b)..a.max(b), &c.text);
                }
            }
        }
        self.version = version;
        self.replace(text);
    }

    pub fn replace(&mut self, text: String) {
        self.text = text.into();
        self.analysis = None;
        self.stale = true;
    }

    /// Makes everything known of the text be found again.
    pub fn forget(&mut self) {
        self.analysis = None;
        self.memory = Knowledge::default();
        self.stale = true;
    }

    pub fn analysis(&mut self, shared: &Shared) -> Rc<Analysis> {
        let made = self.analysis.take();
        let make = || Analysis::of(self.uri.as_str(), Rc::clone(&self.text), shared, Rc::clone(&self.memory));
        let a = made.unwrap_or_else(|| Rc::new(make()));
        self.analysis = Some(Rc::clone(&a));
        a
    }
}
