//! The registry of diagnostic codes: one line a code, in one place. `spc explain CODE` prints what stands here.
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

/// What `spc explain CODE` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    pub title: &'static str,
    pub text: &'static str,
}

/// Finds an entry by its printed name, for example `SP0203`.
pub fn lookup(name: &str) -> Option<&'static Entry> {
    REGISTRY.iter().find(|e| e.code.name().eq_ignore_ascii_case(name))
}

macro_rules! registry {
    ($($name:ident = $number:literal, $title:literal, $text:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($number);)*
        /// All codes, in ascending order.
        pub const REGISTRY: &[Entry] = &[$(Entry { code: Code($number), title: $title, text: $text }),*];
    };
}

registry! {
    SYNTAX = 1, "the text does not follow the grammar", "The words at the mark cannot stand there. The message says what was expected.";
    TOO_LARGE = 2, "the program is too large", "A .sp file may hold at most 16 MiB of text, and what it stands for stays within bounds too: tensors, repetitions, calls. The message names the bound.";
    TOO_DEEP = 3, "brackets are nested too deeply", "At most 256 brackets may be open at once, and calls may add a few hundred levels to that.";
    NOT_UTF8 = 4, "the source is not UTF-8 text", "A .sp file is UTF-8 text. The first byte that is not is named.";
    EDITION = 5, "unknown edition", "The only edition is 1, and `edition` must be the first item.";
    NOT_YET = 6, "this part of the language is not built yet", "The words are valid .sp, but this version of spc cannot check or run them yet. `docs/language.md` marks what can be used.";
    BARE_RATIO = 7, "a bare ratio is ambiguous", "`0.4` or `1/16` could mean kept or removed. Write what is kept: `40%` or `2 of 4`.";

    UNKNOWN_NAME = 101, "unknown name", "Nothing of that name is in scope. The closest names are offered.";
    DUPLICATE = 102, "the name is defined twice", "In one file each name has one definition.";
    UNKNOWN_MODULE = 103, "unknown module", "`use` names a module of the standard library, for example `std.nn`.";
    UNKNOWN_MEMBER = 104, "no such member", "The value before the dot has no member of that name.";
    WRONG_KIND = 105, "the name is of another kind", "A name was used where another kind of thing is needed, for example a group where a number is needed.";
    RECURSION = 106, "a function calls itself", "The language is total: no function may call itself, directly or through others.";
    ARGUMENT = 107, "arguments do not fit the parameters", "An argument is missing, surplus, given twice or unknown.";

    AXIS_MISMATCH = 201, "axes do not match", "Two axes that must be the same are not. Axes are nominal: equal size is not enough.";
    UNKNOWN_AXIS = 202, "unknown axis", "No axis of that name is in scope here.";
    AXIS_SIZE = 203, "an axis has two sizes", "In a file one name is one axis, with one size.";
    INDEX = 204, "an index is used wrongly", "An index must stand on the left, or be summed: by occurring twice in one product, or by `sum(e over i)`.";
    TYPE = 205, "types do not match", "There is no promotion between declared types, and each operator takes certain types only.";
    RANK = 206, "wrong number of axes", "A tensor is indexed with one index for each of its axes.";
    RESULT = 207, "a result is not assigned", "Every declared result of a function must be assigned in its body.";
    FREE_AXIS = 208, "a free axis has no range", "An axis without a size that inputs carry is declared with a range: `axis B = 1..512`.";
    REPEATED_AXIS = 209, "an axis occurs twice", "A tensor carries that axis twice, so it cannot be named by the axis alone. Use index notation.";

    SCORE_NAN = 240, "a score has no place in an order", "Values that are chosen at run time are put in order by their scores. NaN cannot be ordered, and there is no best of nothing.";

    TILE = 301, "a tile does not divide its axis", "Tiles must fit whole. Add `pad` or `ragged`, or choose another size.";
    NOTHING_MATCHED = 302, "a selector matches nothing", "The words after `on` name no tensor.";
    KEEPS_NOTHING = 303, "the constraint keeps nothing or everything", "An amount of 0 or of the whole is never meant.";
    AMOUNT = 304, "the amount does not fit", "`n of m` needs groups in scopes of exactly m, and n may not exceed m.";
    ROLE = 305, "`in` or `out` is ambiguous here", "The axes that a weight's operator sums over are its `in` axes. Where uses disagree, or nothing uses the weight, name the axis.";
    CONFLICT = 306, "two constraints cannot both hold", "A later constraint on the same tensor can break an earlier one. Coarse patterns come before fine ones.";
    REMOVED_NOTHING = 307, "the constraint removed nothing", "The weights already satisfied the constraint, or the amount keeps all there is.";
    NOT_EXPLOITED = 308, "no layout can exploit the constraint", "No storage layout of the target is faster than dense for this pattern.";

    NO_FILE = 401, "a file cannot be read", "The file named does not exist or cannot be opened.";
    BAD_FILE = 402, "a file is malformed", "The file does not follow its format. What is wrong and where is said in the message.";
    NO_TENSOR = 403, "the file has no such tensor", "A tensor the model declares is not in the weight file. The closest names are offered.";
    SHAPE = 404, "a tensor has another shape", "The declared axes and the stored shape differ.";
    DTYPE = 405, "a stored type does not convert", "Only types that widen exactly are converted without being asked.";
    NOT_FINITE = 406, "NaN or infinity in weights", "A weight that is not finite has no place in an order by score. The tensor and the first index are named.";
    NOT_CHECKED = 407, "names and shapes unchecked", "The weight file is not there, so `check` could not compare names and shapes with it.";
    DATA = 408, "data does not fit its declaration", "A column, field, row or dtype of the data is not as declared.";
    WRITE = 409, "a file cannot be written", "The output could not be written. Nothing was left half-written.";
    TOKENIZER = 410, "the tokenizer cannot be used", "The tokenizer file is missing, malformed or of a kind spc does not read.";

    EXPECT_FAILED = 501, "an expectation does not hold", "What the file promises with `expect` was computed or measured and is not so.";
    VERIFY_FAILED = 502, "verification failed", "The compiled program differs from the reference, or a weight breaks a `require`.";
    NO_RUN = 503, "nothing to run", "The file has no `run` of that name, or several and none was chosen.";
    INPUT = 504, "an input does not fit", "A named input is missing, unknown, of another type or of another shape.";
    INDEX_RANGE = 505, "an index tensor is out of range", "A value used as an index lies outside its axis.";
    REPORT = 506, "a report cannot be made", "The report is unknown or its arguments do not fit.";

    TARGET = 601, "unknown target", "`--target` takes the name of a declared target, or `cpu` or `cuda`.";
    ARTEFACT = 602, "a compiled folder cannot be used", "The folder is incomplete, of another version, or its files do not belong together.";
    STALE_PLAN = 603, "the plan is stale", "The plan was made for another program, other weights or another cost table.";
    NO_IMAGES = 604, "no CUDA images were built", "NVRTC was not found, so only text and packed weights were written.";
    UNSUPPORTED = 605, "the target cannot run this", "The target has no kernel for an operator that the program needs.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_can_be_looked_up() {
        assert!(REGISTRY.windows(2).all(|w| w[0].code < w[1].code));
        for entry in REGISTRY {
            assert_eq!(lookup(&entry.code.name()), Some(entry));
        }
        assert!(lookup("SP9999").is_none());
    }
}
