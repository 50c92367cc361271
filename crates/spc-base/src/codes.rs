//! The registry of diagnostic codes: one line a code, in one place. Each has a page in `docs/errors`, which is embedded and
//! which `spc explain CODE` prints; `docs/errors/README.md` says what a page holds.
//!
//! Groups: 00xx text and syntax, 01xx names, 02xx axes and types, 03xx constraints, 04xx files and data, 05xx running
//! and expectations, 06xx targets, plans and artefacts.
use serde::{Deserialize, Serialize};

/// A stable diagnostic code, printed as `SP` and four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Code(pub u16);

impl Code {
    pub fn name(self) -> String {
        format!("SP{:04}", self.0)
    }
}

/// A code, its title, and its page as Markdown text, which starts with the line `# CODE: title`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    pub title: &'static str,
    pub page: &'static str,
}

/// Finds an entry by its printed name, for example `SP0203`.
pub fn lookup(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().find(|e| e.code.name().eq_ignore_ascii_case(name))
}

/// The number of a code from its name. Evaluated at compile time only, where a wrong name is a compile error.
const fn number(name: &str) -> Code {
    let bytes = name.as_bytes();
    assert!(bytes.len() == 6 && bytes[0] == b'S' && bytes[1] == b'P');
    let (mut n, mut i) = (0, 2);
    while i < bytes.len() {
        assert!(bytes[i].is_ascii_digit());
        n = n * 10 + (bytes[i] - b'0') as u16;
        i += 1;
    }
    Code(n)
}

macro_rules! registry {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = number($code);)*
        /// All codes, in ascending order.
        pub const REGISTRY: &[Entry] = &[$(Entry {
            code: $name,
            title: $title,
            page: include_str!(concat!("../../../docs/errors/", $code, ".md")),
        }),*];
    };
}

registry! {
    SYNTAX = "SP0001", "the text does not follow the grammar";
    TOO_LARGE = "SP0002", "the program is too large";
    TOO_DEEP = "SP0003", "brackets are nested too deeply";
    NOT_UTF8 = "SP0004", "the source is not UTF-8 text";
    EDITION = "SP0005", "unknown edition";
    NOT_YET = "SP0006", "this part of the language is not built yet";
    BARE_RATIO = "SP0007", "a bare ratio is ambiguous";

    UNKNOWN_NAME = "SP0101", "unknown name";
    DUPLICATE = "SP0102", "the name is defined twice";
    UNKNOWN_MODULE = "SP0103", "unknown module";
    UNKNOWN_MEMBER = "SP0104", "no such member";
    WRONG_KIND = "SP0105", "the name is of another kind";
    RECURSION = "SP0106", "a function calls itself";
    ARGUMENT = "SP0107", "arguments do not fit the parameters";

    AXIS_MISMATCH = "SP0201", "axes do not match";
    UNKNOWN_AXIS = "SP0202", "unknown axis";
    AXIS_SIZE = "SP0203", "an axis has two sizes";
    INDEX = "SP0204", "an index is used wrongly";
    TYPE = "SP0205", "types do not match";
    RANK = "SP0206", "wrong number of axes";
    RESULT = "SP0207", "a result is not assigned";
    FREE_AXIS = "SP0208", "a free axis has no range";
    REPEATED_AXIS = "SP0209", "an axis occurs twice";
    NOT_REMOVABLE = "SP0210", "removing a slice is not setting it to zero";
    OUTPUT_AXIS = "SP0211", "the axis reaches an output";
    LEAVES = "SP0212", "the axis leaves the selection";
    NO_CARRIER = "SP0213", "no weight carries the axis";
    TAKEN_APART = "SP0214", "the axis is taken apart";
    UNREAD = "SP0215", "no function reads the weight";
    GROUP_INDEX = "SP0216", "an index of a group does not fit";
    OVERLAP = "SP0217", "an element lies in several groups";
    AXIS_PARAMETER = "SP0220", "an axis parameter may be a misspelt axis";

    SCORE_NAN = "SP0240", "a score has no place in an order";
    SCORE_AXES = "SP0241", "a score does not fit the choice";
    CHOICE_CLAUSE = "SP0242", "a choice at run time cannot be said so";
    NOTHING_SPARED = "SP0243", "no reader can leave out what is not chosen";
    ALWAYS = "SP0244", "more is always kept than the amount";
    CACHE = "SP0245", "a cache is used wrongly";

    TILE = "SP0301", "a tile does not divide its axis";
    NOTHING_MATCHED = "SP0302", "a selector matches nothing";
    KEEPS_NOTHING = "SP0303", "the constraint keeps nothing or everything";
    AMOUNT = "SP0304", "the amount does not fit";
    ROLE = "SP0305", "`in` or `out` is ambiguous here";
    CONFLICT = "SP0306", "two constraints cannot both hold";
    REMOVED_NOTHING = "SP0307", "the constraint removed nothing";
    NOT_EXPLOITED = "SP0308", "no layout can exploit the constraint";
    SCORE_INPUT = "SP0310", "a score lacks what it is computed from";
    OVER_BUDGET = "SP0311", "a floor costs more than the budget";

    NO_LENGTH = "SP0330", "a schedule needs the length of the run";
    LOOSENED = "SP0331", "the end value is not the tightest";
    HOOK = "SP0332", "a hook does not fit";
    NO_PROX = "SP0333", "`via prox` without a prox";
    PHASES = "SP0334", "phases take more than the whole run";
    NOT_APPLIED = "SP0335", "no phase applies the constraint";
    TRAIN = "SP0336", "a training setting does not fit";
    STATE = "SP0337", "a training state does not fit";
    STEP = "SP0338", "a step is outside the run";
    SCHEDULE = "SP0339", "the schedule does not fit";

    NO_FILE = "SP0401", "a file cannot be read";
    BAD_FILE = "SP0402", "a file is malformed";
    NO_TENSOR = "SP0403", "the file has no such tensor";
    SHAPE = "SP0404", "a tensor has another shape";
    DTYPE = "SP0405", "a stored type does not convert";
    NOT_FINITE = "SP0406", "NaN or infinity in weights";
    NOT_CHECKED = "SP0407", "names and shapes unchecked";
    DATA = "SP0408", "data does not fit its declaration";
    WRITE = "SP0409", "a file cannot be written";
    TOKENIZER = "SP0410", "the tokenizer cannot be used";
    MASKS = "SP0411", "masks differ";

    EXPECT_FAILED = "SP0501", "an expectation does not hold";
    VERIFY_FAILED = "SP0502", "verification failed";
    NO_RUN = "SP0503", "nothing to run";
    INPUT = "SP0504", "an input does not fit";
    INDEX_RANGE = "SP0505", "an index tensor is out of range";
    REPORT = "SP0506", "a report cannot be made";

    TARGET = "SP0601", "unknown target";
    ARTEFACT = "SP0602", "a compiled folder cannot be used";
    STALE_PLAN = "SP0603", "the plan is stale";
    NO_IMAGES = "SP0604", "no CUDA images were built";
    UNSUPPORTED = "SP0605", "the target cannot run this";
    NO_LINKER = "SP0630", "a shared library cannot be linked";
    NO_OBJECT = "SP0631", "an object file cannot be made";
    CONSTANTS = "SP0640", "a file of constants cannot be used";
    PLAN_FILE = "SP0660", "a plan file cannot be used";
    PLAN_DIFFERS = "SP0661", "the plan was made for something else";
    NOT_ROTATED = "SP0662", "no stream can be rotated";
    MEASURED = "SP0670", "a file of measured times cannot be used";

    DEVICE = "SP0720", "the CUDA device cannot be used";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_can_be_looked_up() {
        assert!(REGISTRY.windows(2).all(|w| w[0].code < w[1].code));
        for entry in REGISTRY {
            assert_eq!(lookup(&entry.code.name()), Some(entry));
            assert!(entry.page.starts_with(&format!("# {}: {}\n", entry.code.name(), entry.title)), "{entry:?}");
        }
        assert!(lookup("SP9999").is_none());
    }
}
