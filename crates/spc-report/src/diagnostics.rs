//! Diagnostics as text, in the form that was asked for.
use crate::{SourceMap, human, json};
use annotate_snippets::normalize_untrusted_str;
use spc_base::{Diagnostic, Level};

/// The three forms of `--message-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As rustc shows them: source lines with marks below.
    #[default]
    Human,
    /// One line each: `path:line:column: error[SP0101]: message`.
    Short,
    /// One JSON object a line, in rustc's shape.
    Json,
}

/// Turns diagnostics into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renderer {
    pub format: Format,
    /// Terminal colours; only in [`Format::Human`] and in the `rendered` field never.
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Renderer {
    fn default() -> Renderer {
        Renderer { format: Format::Human, colour: false, width: 120 }
    }
}

impl Renderer {
    /// One diagnostic, ending with a line feed. Control characters in names and texts are shown, not sent.
    pub fn render(&self, diagnostic: &Diagnostic, sources: &SourceMap) -> String {
        match self.format {
            Format::Human => human::render(diagnostic, sources, self.colour, self.width),
            Format::Short => short(diagnostic, sources),
            Format::Json => json::render(diagnostic, sources),
        }
    }
}

pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

fn short(d: &Diagnostic, sources: &SourceMap) -> String {
    let place = d.primary.as_ref().and_then(|l| sources.place(l.span));
    let place = place.map(|p| format!("{}:{}:{}: ", p.path, p.line, p.column)).unwrap_or_default();
    let text = format!("{place}{}[{}]: {}", level_name(d.level), d.code.name(), d.message);
    // One line, whatever the message holds.
    let text: Vec<&str> = text.lines().collect();
    normalize_untrusted_str(&text.join(" ")) + "\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use spc_base::{FileId, Span, codes};

    pub fn sources() -> SourceMap {
        let mut map = SourceMap::default();
        map.insert(FileId(0), "net.sp", "axis B = 1..4\nmodel m {\n  w: f32[O, I]\n}\n");
        map
    }

    pub fn diagnostic() -> Diagnostic {
        Diagnostic::error(codes::UNKNOWN_AXIS, "there is no axis `O`")
            .at(Span::new(FileId(0), 33, 34), "no axis of this name")
            .also(Span::new(FileId(0), 5, 6), "the only axis")
            .note("axes are declared in the model")
            .help("did you mean `B`?")
            .fix(Span::new(FileId(0), 33, 34), "B")
    }

    #[test]
    fn human() {
        let text = Renderer::default().render(&diagnostic(), &sources());
        let expected = "\
error[SP0202]: there is no axis `O`
 --> net.sp:3:10
  |
1 | axis B = 1..4
  |      - the only axis
2 | model m {
3 |   w: f32[O, I]
  |          ^ no axis of this name
  |
  = note: axes are declared in the model
help: did you mean `B`?
  |
3 -   w: f32[O, I]
3 +   w: f32[B, I]
  |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn short_is_one_line() {
        let renderer = Renderer { format: Format::Short, ..Renderer::default() };
        assert_eq!(renderer.render(&diagnostic(), &sources()), "net.sp:3:10: error[SP0202]: there is no axis `O`\n");
        let d = Diagnostic::warning(codes::NO_FILE, "two\nlines \u{1b}[31m");
        assert_eq!(renderer.render(&d, &sources()), "warning[SP0401]: two lines ␛[31m\n");
    }

    #[test]
    fn no_terminal_codes_come_through() {
        let mut map = SourceMap::default();
        map.insert(FileId(0), "\u{1b}[2J.sp", "bad \u{1b}[2J text");
        let d = Diagnostic::error(codes::SYNTAX, "\u{1b}[2J")
            .at(Span::new(FileId(0), 4, 8), "\u{1b}[2J")
            .note("\u{1b}[2J")
            .help("\u{1b}[2J");
        for format in [Format::Human, Format::Short, Format::Json] {
            let text = Renderer { format, ..Renderer::default() }.render(&d, &map);
            assert!(!text.contains('\u{1b}'), "{format:?}: {text:?}");
        }
    }

    #[test]
    fn colour_only_when_asked() {
        let plain = Renderer::default().render(&diagnostic(), &sources());
        let styled = Renderer { colour: true, ..Renderer::default() }.render(&diagnostic(), &sources());
        assert!(!plain.contains('\u{1b}') && styled.contains('\u{1b}'));
    }

    #[test]
    fn very_long_lines_and_unknown_files_are_shown_by_place() {
        let mut map = SourceMap::default();
        map.insert(FileId(0), "long.sp", "x".repeat(100_000));
        let d = Diagnostic::error(codes::SYNTAX, "no").at(Span::new(FileId(0), 70_000, 70_010), "here");
        let text = Renderer::default().render(&d, &map);
        assert!(text.contains("long.sp:1:70001") && text.contains("here") && text.len() < 400, "{text}");
        let d = Diagnostic::error(codes::SYNTAX, "no").at(Span::new(FileId(9), 0, 3), "somewhere");
        let text = Renderer::default().render(&d, &map);
        assert!(text.contains("error[SP0001]: no") && text.contains("somewhere"), "{text}");
    }
}
