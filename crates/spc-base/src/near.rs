//! Which known name a mistyped one was meant to be.

/// Longest name that is compared; longer ones count as far from everything, so that untrusted names cost no time.
const LONGEST: usize = 256;

/// Levenshtein distance in bytes.
pub fn edits(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) > LONGEST {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// True when one name becomes the other by changing, adding or dropping one letter, or by exchanging two neighbours. Names of
/// one letter are one edit from each other by case only.
pub fn one_edit(a: &str, b: &str) -> bool {
    if a == b || (a.len().max(b.len()) <= 1 && !a.eq_ignore_ascii_case(b)) {
        return false;
    }
    if edits(a, b) == 1 {
        // `D` is not a misspelt `Dh`, nor `H` a misspelt `W`.
        return a.len().min(b.len()) > 2 || a.eq_ignore_ascii_case(b);
    }
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let Some(at) = x.iter().zip(y).position(|(p, q)| p != q) else { return false };
    x.len() == y.len()
        && x.get(at) == y.get(at + 1)
        && x.get(at + 1) == y.get(at)
        && x.get(at + 2..) == y.get(at + 2..)
        && at + 1 < x.len()
}

/// Longest name in bytes, and most names, that are compared.
const MAX_COMPARED: usize = 1000;

/// The closest known name, when one is near enough to be meant. The first of equally close ones.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name of one or two letters is near everything; only its other case is meant.
    let limit = if name.chars().count() <= 2 { 0 } else { 1 + name.chars().count() / 3 };
    let mut best: Option<(usize, &str)> = None;
    let most = if name.len() <= MAX_COMPARED { MAX_COMPARED } else { 0 };
    // A name of another length is far. The time stays bounded for many names and for very long ones.
    for k in known.into_iter().filter(|k| k.len().abs_diff(name.len()) <= 4 * limit).take(most) {
        let d = if name.eq_ignore_ascii_case(k) { 0 } else { edits(name, k) };
        if d <= limit && best.is_none_or(|(b, _)| d < b) {
            best = Some((d, k));
        }
    }
    best.map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_offered_only_when_near() {
        assert_eq!(closest("lienar", ["linear", "relu"]), Some("linear"));
        assert_eq!(closest("x", ["linear", "relu"]), None);
        assert_eq!(closest("q", ["I", "O"]), None);
        assert_eq!(closest("b", ["I", "B"]), Some("B"));
    }

    #[test]
    fn one_edit_apart() {
        for (a, b) in [("KVV", "KVX"), ("Head", "Haed"), ("Head", "Heads"), ("b", "B"), ("ab", "AB")] {
            assert_eq!(one_edit(a, b), a != "ab", "{a} {b}");
        }
        for (a, b) in [("D", "Dh"), ("H", "W"), ("Head", "Head"), ("Head", "Hades"), ("I", "O")] {
            assert!(!one_edit(a, b), "{a} {b}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
        assert_eq!(edits(&"x".repeat(300), "x"), usize::MAX);
    }
}
