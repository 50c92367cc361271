//! The order of a row's entries for kernels that gather activations from shared memory.
//!
//! Thirty-two neighbouring entries are one gather, and entries whose columns lie in one bank queue up. A row whose fullest bank has L
//! entries needs at least `max(steps, L)` passes in whatever order; here it takes few more, because each step takes its entries from
//! the banks that have most left. The kernel gives the sum of a row in any order of its entries.
use spc_base::Bug;
use spc_formats::{Array, Packed};

/// Banks of shared memory, of four bytes each, and lanes of a warp.
const BANKS: usize = 32;

/// `idx` and `values` of a matrix in the layout `csr`, the entries of each row in another order.
///
/// # Errors
/// A bug for a matrix in another layout.
pub fn dealt(p: &Packed) -> Result<[Array; 2], Bug> {
    let (Some(Array::U32(ptr)), Some(Array::U32(idx)), Some(Array::F32(values))) =
        (p.array("ptr"), p.array("idx"), p.array("values"))
    else {
        return Err(Bug::new(format!("entries of {} are not dealt out", p.layout)));
    };
    let (mut columns, mut weights) = (Vec::with_capacity(idx.len()), Vec::with_capacity(idx.len()));
    for row in ptr.windows(2) {
        let (from, to) = (row[0] as usize, row[1] as usize);
        let own = idx.get(from..to).ok_or_else(|| Bug::new("a row of entries that are not there"))?;
        for i in order(own) {
            columns.push(own[i]);
            weights.push(values.get(from + i).copied().unwrap_or(0.0));
        }
    }
    Ok([Array::U32(columns), Array::F32(weights)])
}

/// The places of a row's entries, step by step.
fn order(columns: &[u32]) -> Vec<usize> {
    // Of each bank the places that are left, the first one last.
    let mut left: [Vec<usize>; BANKS] = Default::default();
    for (i, c) in columns.iter().enumerate().rev() {
        left[*c as usize % BANKS].push(i);
    }
    let mut out = Vec::with_capacity(columns.len());
    while out.len() < columns.len() {
        let rest = columns.len() - out.len();
        let (steps, size) = (rest.div_ceil(BANKS), rest.min(BANKS));
        // How many of one bank a step takes: as few as the fullest bank allows, but enough to fill the step.
        let fullest = left.iter().map(Vec::len).max().unwrap_or(0);
        let mut most = fullest.div_ceil(steps);
        while left.iter().map(|l| l.len().min(most)).sum::<usize>() < size {
            most += 1;
        }
        let mut taken = [0; BANKS];
        for _ in 0..size {
            let open = (0..BANKS).filter(|b| taken[*b] < most);
            // The first of the fullest.
            let Some(bank) = open.max_by_key(|b| (left[*b].len(), BANKS - b)) else { break };
            if let Some(i) = left[bank].pop() {
                taken[bank] += 1;
                out.push(i);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_formats::{Layout, pack};

    fn passes(columns: &[u32]) -> usize {
        let most = |step: &[u32]| (0..32).map(|b| step.iter().filter(|c| **c % 32 == b).count()).max().unwrap_or(0);
        columns.chunks(32).map(most).sum()
    }

    /// Passes as dealt, in ascending order, and the least that there can be; the entries are the same.
    fn of(columns: &[u32]) -> (usize, usize, usize) {
        let got: Vec<u32> = order(columns).into_iter().map(|i| columns[i]).collect();
        let mut sorted = got.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, columns);
        let fullest = (0..32).map(|b| columns.iter().filter(|c| **c % 32 == b).count()).max().unwrap_or(0);
        (passes(&got), passes(columns), fullest.max(columns.len().div_ceil(32)))
    }

    #[test]
    fn balanced_rows_have_no_conflicts() {
        let every = |n: u32, by: u32| (0..n).map(|i| i * by).collect::<Vec<u32>>();
        // By an odd number of columns all banks come in turn; whole rows of banks in any order of rows.
        for columns in [every(96, 1), every(100, 3), every(64, 5), (0..64).map(|i| i / 2 * 33 + i % 2 * 1024).collect()]
        {
            let mut columns = columns;
            columns.sort_unstable();
            let (dealt, _, least) = of(&columns);
            assert_eq!(dealt, columns.len().div_ceil(32), "{columns:?}");
            assert_eq!(dealt, least);
        }
        assert_eq!(of(&every(40, 32)), (40, 40, 40), "all in one bank");
        assert_eq!(of(&[]), (0, 0, 0));
        assert_eq!(of(&[7]), (1, 1, 1));
    }

    #[test]
    fn random_rows_come_close_to_the_least() {
        let mut seed = 7u64;
        let mut draw = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as u32 % 1000
        };
        for (k, permille) in [(4096, 50), (4096, 500), (256, 250), (14_336, 50)] {
            let (mut dealt, mut sorted, mut least) = (0, 0, 0);
            for _ in 0..50 {
                let columns: Vec<u32> = (0..k).filter(|_| draw() < permille).collect();
                let (d, s, l) = of(&columns);
                assert!(d >= l);
                (dealt, sorted, least) = (dealt + d, sorted + s, least + l);
            }
            assert!(dealt * 100 <= least * 105, "{k} {permille}: {dealt} passes, {least} are needed");
            assert!(dealt * 4 < sorted * 3 || k == 256, "{k} {permille}: {dealt} passes, {sorted} in ascending order");
        }
    }

    #[test]
    fn values_follow_their_columns() {
        let w: Vec<f32> = (0..3 * 200).map(|i| if i % 7 == 0 { i as f32 + 1.0 } else { 0.0 }).collect();
        let p = pack(&Layout::Csr, 3, 200, &w).unwrap();
        let Some(Array::U32(ptr)) = p.array("ptr") else { panic!("no rows") };
        let [Array::U32(idx), Array::F32(values)] = dealt(&p).unwrap() else { panic!("other arrays") };
        for row in 0..3 {
            for i in ptr[row] as usize..ptr[row + 1] as usize {
                assert_eq!(values[i], w[row * 200 + idx[i] as usize]);
            }
        }
        assert!(dealt(&pack(&Layout::Mma24, 2, 4, &[0.0; 8]).unwrap()).is_err());
    }
}
