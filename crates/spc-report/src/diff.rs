//! The difference of two texts, for people and for `patch`.
use similar::{Algorithm, TextDiff};

/// A unified diff with three lines of context; empty when the texts are equal.
pub fn unified_diff(path: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).diff_lines(old, new);
    diff.unified_diff().context_radius(3).header(path, path).to_string()
}

#[cfg(test)]
mod tests {
    use super::unified_diff;

    #[test]
    fn lines_that_differ_are_shown_between_their_neighbours() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let expected = "--- x.sp\n+++ x.sp\n@@ -3,6 +3,7 @@\n c\n d\n e\n-f\n+F\n+F2\n g\n h\n";
        assert_eq!(unified_diff("x.sp", old, &old.replace("f\n", "F\nF2\n")), expected);
        assert_eq!(unified_diff("x.sp", old, old), "");
    }
}
