//! Columns in groups of `m` of which no row has more than `n`: an order in which a matrix is N:M, found again where its columns
//! were put in another one.
//!
//! A group is built from a column by adding those that no row refuses, fewest rows that become full first, and taking back. Rows
//! that are full after a few columns leave few others, so that a matrix of many rows has hardly more than the groups it was made
//! of. One of few rows has others, which fit by chance; they leave more places empty, and all groups together have as many empty
//! places as the matrix, so a group with more than its share is taken only where the search without such groups fails.
use super::Lines;
use crate::weights::Weight;
use spc_ir::structure::Order;

/// Patterns that are looked for, those that keep least first.
const PATTERNS: [(u32, u32); 2] = [(1, 4), (2, 4)];

/// A group is given up after so many columns were tried for one place of it.
const BRANCHES: usize = 64;

/// Comparisons of words that the search for one order may take.
const MOST_WORK: usize = 1 << 28;

/// Of what a pattern keeps, a matrix has at least this share (of 100): others are better held by something else.
const FULL: u64 = 80;

/// Rows below which groups are not told from others that fit by chance.
const LEAST_ROWS: usize = 32;

/// An order of the columns in which each row has at most `n` of each `m` neighbours; none where there is none, it is not found, or
/// the matrix is so already.
pub(super) fn n_of_m(w: &Weight) -> Option<(u32, u32, Order)> {
    let &[rows, cols] = w.shape() else { return None };
    if rows < LEAST_ROWS || cols == 0 {
        return None;
    }
    let counts: Vec<usize> = w.values().chunks_exact(cols).map(|r| r.iter().filter(|v| **v != 0.0).count()).collect();
    let (most, present) = (counts.iter().copied().max()?, counts.iter().sum::<usize>() as u64);
    let mut lines = None;
    for (n, m) in PATTERNS {
        let (each, groups) = (n as usize, cols / m as usize);
        let kept = (rows as u64).saturating_mul((each * groups) as u64);
        if !cols.is_multiple_of(m as usize) || most > each * groups || present.saturating_mul(100) < kept * FULL {
            continue;
        }
        let lines = lines.get_or_insert_with(|| Lines::of(w, 1, usize::MAX));
        let empty = (kept - present) as usize;
        let share = 2 * empty.div_ceil(groups.max(1));
        let mut search = Search { lines, n: each, m: m as usize, work: MOST_WORK, places: rows * each, most_empty: 0 };
        let found = [share, empty].into_iter().find_map(|most| search.all(most));
        if let Some(order) = found.and_then(Order::new).filter(|o| !o.is_identity()) {
            return Some((n, m, order));
        }
    }
    None
}

struct Search<'a> {
    lines: &'a Lines,
    n: usize,
    m: usize,
    /// Comparisons of words that are left.
    work: usize,
    /// Weights that a group may have.
    places: usize,
    /// Fewer weights than that a group may have by at most so many.
    most_empty: usize,
}

impl Search<'_> {
    /// All columns in groups, each in order, the one with the first column first.
    fn all(&mut self, most_empty: usize) -> Option<Vec<u32>> {
        self.most_empty = most_empty;
        let mut left: Vec<usize> = (0..self.lines.len()).collect();
        let mut out = Vec::with_capacity(left.len());
        while let Some(first) = left.first().copied() {
            let mut group = vec![first];
            let mut counts = vec![vec![0u64; self.lines.words]; self.n];
            add(&mut counts, self.lines.line(first));
            if !self.fill(&left, &mut group, &counts) {
                return None;
            }
            group.sort_unstable();
            left.retain(|c| group.binary_search(c).is_err());
            out.extend(group.into_iter().map(|c| c as u32));
        }
        Some(out)
    }

    /// Completes a group. `counts[k]` are the rows that have more than `k` of its columns.
    fn fill(&mut self, left: &[usize], group: &mut Vec<usize>, counts: &[Vec<u64>]) -> bool {
        if group.len() == self.m {
            let count = |l: &Vec<u64>| l.iter().map(|w| w.count_ones() as usize).sum::<usize>();
            return counts.iter().map(count).sum::<usize>() + self.most_empty >= self.places;
        }
        let Some(full) = counts.last() else { return false };
        // Rows that another column of theirs would make full.
        let nearly = counts.len().checked_sub(2).and_then(|k| counts.get(k));
        let Some(rest) = self.work.checked_sub(left.len().saturating_mul(2 * self.lines.words)) else { return false };
        self.work = rest;
        let overlap = |a: &[u64], b: &[u64]| -> u32 { a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum() };
        let mut fits: Vec<(u32, usize)> = Vec::new();
        for c in left.iter().copied().filter(|c| !group.contains(c)) {
            let line = self.lines.line(c);
            if line.iter().zip(full).all(|(a, b)| a & b == 0) {
                fits.push((nearly.map_or(0, |n| overlap(line, n)), c));
            }
        }
        fits.sort_unstable();
        for (_, c) in fits.into_iter().take(BRANCHES) {
            let mut next = counts.to_vec();
            add(&mut next, self.lines.line(c));
            group.push(c);
            if self.fill(left, group, &next) {
                return true;
            }
            group.pop();
        }
        false
    }
}

/// Counts a column in its rows.
fn add(counts: &mut [Vec<u64>], line: &[u64]) {
    for (w, bits) in line.iter().enumerate() {
        let mut carry = *bits;
        for level in counts.iter_mut() {
            let Some(have) = level.get_mut(w) else { continue };
            (carry, *have) = (carry & *have, *have | carry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n
        }
    }

    /// `n` of each `m` columns of each row, and where columns went.
    fn shuffled(rows: usize, cols: usize, n: usize, m: usize, seed: u64) -> (Weight, Vec<usize>) {
        let mut r = Random(seed);
        let mut order: Vec<usize> = (0..cols).collect();
        (1..cols).rev().for_each(|i| order.swap(i, r.below(i + 1)));
        let mut v = vec![0.0f32; rows * cols];
        for row in v.chunks_mut(cols) {
            for g in 0..cols / m {
                let mut places: Vec<usize> = (0..m).collect();
                for k in 0..n {
                    let at = k + r.below(m - k);
                    places.swap(k, at);
                    row[order[g * m + places[k]]] = 1.0;
                }
            }
        }
        (Weight::new(vec![rows, cols], v.into()).unwrap(), order)
    }

    fn holds(w: &Weight, order: &Order, n: usize, m: usize) -> bool {
        let cols = w.shape()[1];
        w.values().chunks(cols).all(|row| {
            let groups = order.places().chunks(m);
            groups.into_iter().all(|g| g.iter().filter(|c| row[**c as usize] != 0.0).count() <= n)
        })
    }

    #[test]
    fn columns_that_were_shuffled_come_back_together() {
        for (n, m, rows, cols) in [(1, 4, 64, 32), (1, 4, 40, 128), (2, 4, 64, 16), (2, 4, 256, 256), (2, 4, 384, 512)]
        {
            for seed in 1..4 {
                let (w, _) = shuffled(rows, cols, n, m, seed);
                let (a, b, order) = n_of_m(&w).unwrap_or_else(|| panic!("{n}:{m}, {rows} x {cols}"));
                assert_eq!((a as usize, b as usize), (n, m));
                assert!(holds(&w, &order, n, m), "{n}:{m}, {rows} x {cols}");
            }
        }
    }

    #[test]
    fn what_is_no_such_matrix_is_left_alone() {
        let (w, order) = shuffled(64, 64, 2, 4, 9);
        // One element too many in one row.
        let mut more = w.values().to_vec();
        let free = (0..64).find(|c| more[*c] == 0.0).unwrap();
        more[free] = 1.0;
        assert!(n_of_m(&Weight::new(vec![64, 64], more.into()).unwrap()).is_none());
        // As many in each row, and no groups.
        let mut r = Random(5);
        let mut any = vec![0.0f32; 64 * 64];
        for row in any.chunks_mut(64) {
            while row.iter().filter(|v| **v != 0.0).count() < 32 {
                row[r.below(64)] = 1.0;
            }
        }
        assert!(n_of_m(&Weight::new(vec![64, 64], any.into()).unwrap()).is_none());
        // In order already, too few rows, no whole groups, nothing, one element.
        let mut back = vec![0.0f32; 64 * 64];
        for (row, old) in back.chunks_mut(64).zip(w.values().chunks(64)) {
            (0..64).for_each(|p| row[p] = old[order[p]]);
        }
        assert!(n_of_m(&Weight::new(vec![64, 64], back.into()).unwrap()).is_none());
        assert!(n_of_m(&shuffled(8, 64, 2, 4, 1).0).is_none());
        for (rows, cols) in [(64, 63), (64, 0), (0, 64), (1, 1), (64, 64)] {
            assert!(n_of_m(&Weight::new(vec![rows, cols], vec![0.0; rows * cols].into()).unwrap()).is_none());
        }
    }
}
