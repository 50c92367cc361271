//! Facts of stacked matrices against those of the matrix that is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{CostFacts, DEFAULT_CANDIDATES, Layout, Pattern, Refusal};

fn facts(layout: &Layout, rows: usize, cols: usize, w: &[f32]) -> Result<CostFacts, Refusal> {
    Pattern::new(rows, cols, w).unwrap().stats(layout)
}

fn weights(rows: usize, cols: usize, kind: u8, seed: u64) -> Vec<f32> {
    let noise = |i: usize| (i as u64 + seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let keep = |i: usize| match kind {
        0 => true,
        1 => (i % cols.max(1) + i / cols.max(1)) % 4 < 2,
        2 => noise(i).is_multiple_of(5),
        3 => (i / cols.max(1) / 16 + i % cols.max(1)).is_multiple_of(3),
        _ => false,
    };
    (0..rows * cols).map(|i| if keep(i) { 1.0 } else { 0.0 }).collect()
}

proptest! {
    #[test]
    fn facts_of_stacked_matrices_are_those_of_the_whole(
        parts in prop::collection::vec((0usize..5, 0u8..5, any::<u32>(), 0usize..3), 1..4),
        cols in 0usize..40,
    ) {
        for layout in DEFAULT_CANDIDATES {
            let (mut all, mut rows, mut list) = (Vec::new(), 0, Vec::new());
            for (blocks, kind, seed, odd) in &parts {
                let n = 16 * blocks + odd;
                let w = weights(n, cols, *kind, u64::from(*seed));
                list.push((n as u64, facts(layout, n, cols, &w)));
                rows += n;
                all.extend(w);
            }
            let named: Vec<_> = list.iter().map(|(n, f)| ("w", *n, f)).collect();
            // A refusal may be stricter than it must be (two half blocks may fit one); facts may not differ.
            if let Ok(sum) = CostFacts::stacked(layout, &named) {
                prop_assert_eq!(Ok(sum), facts(layout, rows, cols, &all), "{}", layout);
            }
        }
    }
}

#[test]
fn what_cannot_be_one_says_which_part_is_in_the_way() {
    let (two, half) = (weights(16, 16, 1, 0), weights(24, 16, 0, 0));
    let nm = Layout::Nm { n: 2, m: 4 };
    let (a, b) = (facts(&nm, 16, 16, &two), facts(&nm, 24, 16, &half));
    let e = CostFacts::stacked(&nm, &[("wq", 16, &a), ("wk", 24, &b)]).unwrap_err();
    assert_eq!(e.0, "`wk`: row 0, group 0 keeps 4 of 4");
    let dense = Layout::DENSE;
    let (a, b) = (facts(&dense, 24, 16, &half), facts(&dense, 16, 16, &two));
    let e = CostFacts::stacked(&dense, &[("wk", 24, &a), ("wq", 16, &b)]).unwrap_err();
    assert_eq!(e.0, "the 24 rows of `wk` are no whole blocks of 16");
    assert!(CostFacts::stacked(&dense, &[("wq", 16, &b), ("wk", 24, &a)]).is_ok(), "the last may be short");
    let whole = CostFacts::stacked(&Layout::Vx1 { v: 4 }, &[]);
    assert_eq!(whole.unwrap().units, 0);
    assert!(CostFacts::stacked(&Layout::Mma24, &[]).is_err());
}
