//! The assignment problem, solved exactly by shortest augmenting paths (Jonker and Volgenant 1987), in O(n^3).
use spc_base::Bug;

/// For each row of a square table the column it gets, all different, so that the sum of the values is greatest.
pub(super) fn best_assignment(n: usize, values: &[f32]) -> Result<Vec<usize>, Bug> {
    if n.checked_mul(n) != Some(values.len()) || values.iter().any(|v| !v.is_finite()) {
        return Err(Bug::new("an assignment needs a square table of numbers"));
    }
    // Columns are numbered from 1; column 0 stands for the row that looks for one.
    let (mut row_price, mut col_price) = (vec![0f64; n], vec![0f64; n + 1]);
    let mut row_of = vec![usize::MAX; n + 1];
    let mut before = vec![0usize; n + 1];
    for start in 0..n {
        row_of[0] = start;
        let mut at = 0;
        let mut least = vec![f64::INFINITY; n + 1];
        let mut done = vec![false; n + 1];
        loop {
            done[at] = true;
            let row = row_of[at];
            let (mut step, mut next) = (f64::INFINITY, 0);
            let costs = values.get(row * n..row * n + n).unwrap_or_default();
            for (c, value) in (1..).zip(costs) {
                if done[c] {
                    continue;
                }
                let cost = -f64::from(*value) - row_price[row] - col_price[c];
                if cost < least[c] {
                    (least[c], before[c]) = (cost, at);
                }
                if least[c] < step {
                    (step, next) = (least[c], c);
                }
            }
            if next == 0 {
                return Err(Bug::new("an assignment without an end"));
            }
            for c in 0..=n {
                if done[c] {
                    row_price[row_of[c]] += step;
                    col_price[c] -= step;
                } else {
                    least[c] -= step;
                }
            }
            at = next;
            if row_of[at] == usize::MAX {
                break;
            }
        }
        while at != 0 {
            row_of[at] = row_of[before[at]];
            at = before[at];
        }
    }
    let mut out = vec![0; n];
    for (c, row) in row_of.iter().enumerate().skip(1) {
        out[*row] = c - 1;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhaustive(n: usize, values: &[f32], row: usize, used: &mut Vec<usize>) -> f32 {
        if row == n {
            return 0.0;
        }
        let mut best = f32::NEG_INFINITY;
        for c in 0..n {
            if !used.contains(&c) {
                used.push(c);
                best = best.max(values[row * n + c] + exhaustive(n, values, row + 1, used));
                used.pop();
            }
        }
        best
    }

    #[test]
    fn it_is_the_best_of_all() {
        let mut x = 7u64;
        for case in 0..300 {
            let n = case % 7;
            let mut value = || {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((x >> 33) % 17) as f32 - if case % 2 == 0 { 8.0 } else { 0.0 }
            };
            let values: Vec<f32> = (0..n * n).map(|_| value()).collect();
            let got = best_assignment(n, &values).unwrap();
            let mut columns = got.clone();
            columns.sort_unstable();
            assert!(columns.into_iter().eq(0..n), "{got:?}");
            let sum: f32 = got.iter().enumerate().map(|(r, c)| values[r * n + c]).sum();
            assert_eq!(sum, exhaustive(n, &values, 0, &mut Vec::new()), "{n} {values:?} {got:?}");
        }
    }

    #[test]
    fn tables_must_be_square_and_finite() {
        assert!(best_assignment(2, &[1.0; 3]).is_err());
        assert!(best_assignment(1, &[f32::NAN]).is_err());
        assert_eq!(best_assignment(0, &[]), Ok(vec![]));
    }
}
