//! The grammar of `.sp` that the compiler parses with: `spc.pest`, its derived parser, and words for its rules.

mod phrase;

pub use phrase::{Phrase, phrase};

#[allow(missing_docs)]
mod derived {
    use pest_derive::Parser;

    /// Parser derived from `spc.pest`.
    #[derive(Parser)]
    #[grammar = "../spc.pest"]
    pub struct SpParser;
}

pub use derived::{Rule, SpParser};

/// The words that start an item. All are reserved.
pub const ITEM_WORDS: [&str; 22] = [
    "edition", "use", "const", "axis", "model", "data", "fn", "group", "mask", "score", "schedule", "pattern",
    "penalty", "update", "require", "penalize", "quantize", "train", "run", "target", "plan", "expect",
];

/// The other reserved words.
pub const INNER_WORDS: [&str; 13] =
    ["of", "per", "by", "on", "at", "via", "to", "over", "in", "if", "else", "for", "where"];

/// Words that mean something only in their place. Elsewhere they are names.
pub const PLACE_WORDS: [&str; 30] = [
    "axes",
    "from",
    "phase",
    "keep",
    "then",
    "min",
    "every",
    "until",
    "when",
    "always",
    "except",
    "multiple",
    "on_overlap",
    "state",
    "apply",
    "freeze",
    "restart",
    "sweep",
    "observe",
    "radial",
    "groups",
    "like",
    "above",
    "ragged",
    "pad",
    "first",
    "last",
    "cost",
    "energy",
    "joint",
];

/// Units of quantities.
pub const UNITS: [&str; 10] = ["steps", "step", "epochs", "tokens", "bytes", "KiB", "MiB", "GiB", "ms", "us"];

/// Hooks of updates and penalties.
pub const HOOKS: [&str; 8] = ["forward", "backward", "grad", "step", "after", "refresh", "value", "prox"];

/// True for a word that cannot name anything that is declared (a label or a member may be any word).
pub fn is_reserved(word: &str) -> bool {
    ITEM_WORDS.contains(&word) || INNER_WORDS.contains(&word)
}

/// True if a whole file is a list of items, as far as the grammar says. A byte order mark is passed over.
///
/// The parser recurses once per open bracket: texts from outside go through `spc_syntax::parse`, which bounds them first.
pub fn accepts(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    <SpParser as pest::Parser<Rule>>::parse(Rule::file, text).is_ok()
}

/// True for the rules of keywords and marks: a tree builder passes over them.
pub fn is_noise(rule: Rule) -> bool {
    // The grammar lists keywords and marks without a gap, which a test checks.
    (Rule::K_edition..=Rule::P_range).contains(&rule) || rule == Rule::EOI
}

#[cfg(test)]
mod tests {
    use super::*;
    use pest::Parser;

    #[test]
    fn every_reserved_word_is_refused_as_a_name() {
        for word in ITEM_WORDS.iter().chain(&INNER_WORDS) {
            assert!(SpParser::parse(Rule::id, word).is_err(), "{word}");
            assert!(SpParser::parse(Rule::name, word).is_ok(), "{word}");
            assert!(SpParser::parse(Rule::kw, word).is_ok(), "{word}");
            assert!(SpParser::parse(Rule::id, &format!("{word}s")).is_ok(), "{word}s");
        }
        assert!(!is_reserved("keep"));
    }

    #[test]
    fn noise_is_keywords_and_marks() {
        for rule in Rule::all_rules() {
            let name = format!("{rule:?}");
            let noise = name.starts_with("K_") || name.starts_with("P_") || name == "EOI";
            assert_eq!(is_noise(*rule), noise, "{name}");
        }
    }

    #[test]
    fn a_quantity_has_one_blank_and_is_no_label() {
        assert!(SpParser::parse(Rule::qty, "64 epochs").is_ok());
        assert!(SpParser::parse(Rule::qty, "64  epochs").is_err());
        assert!(SpParser::parse(Rule::qty, "64 epochs: 3").is_err());
        assert!(SpParser::parse(Rule::qty, "64 epochs = 3").is_err());
    }
}
