//! Splits by share: `split { train = 80%, test = 20%, seed = 7, by = label }`.
use spc_interp::testing::splitmix64;

/// The rows of each share, ascending. Within each class (or among all rows) the rows are put in an order that only the seed
/// and their numbers decide, and the shares take them one after the other: share i gets those from floor(n c) to
/// floor(n (c + s)), where c is the sum of the shares before it.
pub fn shares(parts: &[(u64, u64)], seed: u64, count: usize, classes: Option<&[i32]>) -> Vec<Vec<usize>> {
    let class = |row: &usize| classes.and_then(|c| c.get(*row)).copied().unwrap_or(0);
    let mut rows: Vec<usize> = (0..count).collect();
    rows.sort_by_key(|r| (class(r), splitmix64(splitmix64(seed) ^ *r as u64), *r));
    let mut out = vec![Vec::new(); parts.len()];
    for of_class in rows.chunk_by(|a, b| class(a) == class(b)) {
        let mut done = (0u128, 1u128);
        let mut from = 0;
        for (list, (num, den)) in out.iter_mut().zip(parts) {
            let (num, den) = (u128::from(*num), u128::from((*den).max(1)));
            let sum = (done.0.saturating_mul(den)).saturating_add(num.saturating_mul(done.1));
            let whole = done.1.saturating_mul(den);
            let g = gcd(sum, whole);
            done = (sum / g, whole / g);
            let to = (of_class.len() as u128).saturating_mul(done.0) / done.1;
            let to = usize::try_from(to).unwrap_or(usize::MAX).clamp(from, of_class.len());
            list.extend_from_slice(&of_class[from..to]);
            from = to;
        }
    }
    out.iter_mut().for_each(|l| l.sort_unstable());
    out
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_in_proportion_and_the_same_each_time() {
        let labels: Vec<i32> = (0..103).map(|i| i % 4).collect();
        let parts = [(4, 5), (1, 5)];
        let a = shares(&parts, 7, labels.len(), Some(&labels));
        assert_eq!(a, shares(&parts, 7, labels.len(), Some(&labels)));
        assert_ne!(a, shares(&parts, 8, labels.len(), Some(&labels)));
        let mut all: Vec<usize> = a.concat();
        all.sort_unstable();
        assert_eq!(all, (0..103).collect::<Vec<_>>());
        for class in 0..4 {
            let n = |l: &[usize]| l.iter().filter(|r| labels[**r] == class).count();
            let whole = n(&a[0]) + n(&a[1]);
            assert_eq!(n(&a[0]), whole * 4 / 5, "class {class}");
        }
    }

    #[test]
    fn thirds_lose_no_row_and_empty_data_has_none() {
        let parts = [(1, 3), (1, 3), (1, 3)];
        assert_eq!(shares(&parts, 0, 10, None).iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 4]);
        assert!(shares(&parts, 0, 0, None).iter().all(Vec::is_empty));
        assert_eq!(shares(&[(1, 2)], 0, 5, None)[0].len(), 2);
    }
}
