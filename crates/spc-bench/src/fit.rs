//! The rates of a kernel family that explain its measured times best.
use crate::stats::{median, quantile};
use crate::suite::Sample;
use spc_ir::Act;
use spc_layout::{CostTable, HEIGHTS, MANY, Rates, TOKENS_FM, TOKENS_RM};

/// Sets the rates of one family in a table.
pub type Family = fn(&mut CostTable) -> &mut Rates;

/// Factors by which a rate is tried larger and smaller, coarse to fine.
const STEPS: [f64; 7] = [2.0, 1.5, 1.25, 1.12, 1.06, 1.03, 1.015];

/// Rounds over all rates with one factor.
const ROUNDS: usize = 12;

/// What it costs to move a rate by a factor of e without explaining anything: rates that nothing was measured for stay.
const INERTIA: f64 = 0.0005;

/// Rows and tokens of the table of multiply-adds.
const ROWS: usize = HEIGHTS.len();
const COLUMNS: usize = TOKENS_RM.len();
const TABLE: usize = ROWS * COLUMNS;

/// The table, then loads, units, blocks, overlap and reading.
const FIELDS: usize = TABLE + 8;
type Values = [f64; FIELDS];

fn values(r: &Rates) -> Values {
    let mut v = [1.0; FIELDS];
    for (at, v) in v.iter_mut().take(TABLE).enumerate() {
        *v = r.mul_at(HEIGHTS[at / COLUMNS], at % COLUMNS).max(1) as f64;
    }
    let l = r.load_fs;
    let rest = [l[0], l[1], l[2], l[3], r.unit_ps, r.block_ps, r.overlap_permille, r.read_permille];
    v[TABLE..].iter_mut().zip(rest).for_each(|(v, r)| *v = r.max(1) as f64);
    v
}

fn rates(v: &Values) -> Rates {
    let u = |x: f64| x.round().max(0.0) as u64;
    let (table, rest) = v.split_at(TABLE);
    let least = table.iter().copied().fold(f64::INFINITY, f64::min).max(1.0);
    let mut slower_permille = [[1000; COLUMNS]; ROWS];
    for (s, v) in slower_permille.iter_mut().flatten().zip(table) {
        *s = (v / least * 1000.0).round().clamp(10.0, 1e6) as u32;
    }
    Rates {
        mul_fs: u(least),
        slower_permille,
        load_fs: [u(rest[0]), u(rest[1]), u(rest[2]), u(rest[3])],
        unit_ps: u(rest[4]),
        block_ps: u(rest[5]),
        overlap_permille: u(rest[6]).min(1000),
        read_permille: u(rest[7]).clamp(10, 100_000),
    }
}

/// Errors of predictions: logarithms of predicted over measured, without sign.
pub fn errors(table: &CostTable, samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| (table.kernel_ps(s.layout, &s.facts, s.act, s.shape) as f64 / s.ps).ln().abs()).collect()
}

/// The knot that a sample lies on: its row and column of the table, if it lies on one.
fn knot(table: &CostTable, s: &Sample) -> Option<(usize, usize)> {
    let rows = spc_layout::height(s.layout);
    let row = HEIGHTS.iter().rposition(|h| *h <= rows)?;
    let tokens = table.padded(s.shape.tokens, s.act);
    let column = match s.act {
        Act::Rm => TOKENS_RM.iter().position(|n| *n == tokens).or((tokens > 32).then_some(COLUMNS - 1)),
        Act::Fm if tokens >= MANY => Some(3),
        Act::Fm => TOKENS_FM.iter().position(|n| *n == tokens),
    };
    Some((row, column?))
}

/// First guess of the table: what a multiply-add takes at each knot where all time is that; the least quarter, since reading
/// is in it as well. Knots without samples take the value of the next ones with some: as many rows first, then as many tokens.
fn guess(table: &CostTable, samples: &[Sample], start: &mut Values) -> [bool; TABLE] {
    let mut seen: Vec<Vec<f64>> = vec![Vec::new(); TABLE];
    for s in samples {
        if let Some((row, column)) = knot(table, s) {
            let work = s.facts.multiplies as f64 * table.padded(s.shape.tokens, s.act) as f64;
            seen[row * COLUMNS + column].push(s.ps * 1000.0 / work.max(1.0));
        }
    }
    let mut known = [false; TABLE];
    for (i, list) in seen.iter().enumerate().filter(|(_, l)| !l.is_empty()) {
        start[i] = quantile(list, 0.25).max(1.0);
        known[i] = true;
    }
    spread(start, &known);
    known
}

/// Gives unknown knots the value of the nearest known one.
fn spread(v: &mut Values, known: &[bool; TABLE]) {
    let from = *v;
    for i in (0..TABLE).filter(|i| !known[*i]) {
        let far = |j: &usize| {
            let (rows, columns) = ((i / COLUMNS).abs_diff(j / COLUMNS), (i % COLUMNS).abs_diff(j % COLUMNS));
            // Of two at one distance, the slower: fewer rows, fewer tokens.
            (rows * COLUMNS + columns, *j)
        };
        if let Some(j) = (0..TABLE).filter(|j| known[*j]).min_by_key(far) {
            v[i] = from[j];
        }
    }
}

/// Fits the rates of one family to its samples; the median error as a share. The
/// least sum of absolute logarithms, searched one rate at a time: a few dozen measurements that were disturbed do not move
/// it. The same samples give the same rates.
pub fn fit(table: &mut CostTable, family: Family, samples: &[Sample]) -> f64 {
    let mut start = values(family(table));
    let known = guess(table, samples, &mut start);
    // Only what a load takes more where activations lie far is told from the multiply-adds.
    start[TABLE] = 1.0;
    for (i, fs) in [(1, 200.0), (2, 400.0), (3, 800.0)] {
        start[TABLE + i] = fs;
    }
    (start[TABLE + 4], start[TABLE + 5]) = (start[TABLE + 4].max(20.0), start[TABLE + 5].clamp(500.0, 10_000.0));
    (start[TABLE + 6], start[TABLE + 7]) = (400.0, 1000.0);
    let mut best = start;
    let mut loss = |v: &Values| -> f64 {
        // Farther is never cheaper.
        if v[TABLE..TABLE + 4].windows(2).any(|w| w[0] > w[1] * 1.0001) {
            return f64::INFINITY;
        }
        *family(table) = rates(v);
        let moved: f64 = v.iter().zip(&start).map(|(a, b)| (a / b).ln().abs()).sum();
        let sum: f64 = errors(table, samples).iter().sum();
        sum / samples.len().max(1) as f64 + INERTIA * moved
    };
    let mut least = loss(&best);
    for step in STEPS {
        for _ in 0..ROUNDS {
            let before = least;
            for i in (0..FIELDS).filter(|i| *i > TABLE || known.get(*i) == Some(&true)) {
                for factor in [step, 1.0 / step] {
                    let mut v = best;
                    v[i] *= factor;
                    // All loads from here on move together where one alone may not.
                    if (TABLE + 1..TABLE + 4).contains(&i) {
                        for j in TABLE + 1..TABLE + 4 {
                            v[j] = if j > i { v[j].max(v[i]) } else { v[j].min(v[i]) };
                        }
                    }
                    let l = loss(&v);
                    if l < least {
                        (best, least) = (v, l);
                    }
                }
            }
            if before - least < 1e-6 {
                break;
            }
        }
    }
    spread(&mut best, &known);
    // More rows never take longer: they can be computed as fewer twice.
    for i in COLUMNS..TABLE {
        best[i] = best[i].min(best[i - COLUMNS]);
    }
    *family(table) = rates(&best);
    median(&errors(table, samples)).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Zeros;
    use spc_formats::{Layout, stats};
    use spc_ir::Act;
    use spc_layout::Shape;

    #[test]
    fn rates_that_made_the_times_are_found_again() {
        // Which rates can be told apart rests on these, so they are the test's own.
        let mut truth = CostTable {
            pass_fm: 48,
            again_bytes_per_us: 93_723,
            activation_bytes_per_us: 46_862,
            ..CostTable::clif_x86_64_v1()
        };
        truth.vx1 = Rates {
            load_fs: [0, 5_000, 20_000, 30_000],
            overlap_permille: 300,
            slower_permille: [
                [2000; 6],
                [2000; 6],
                [2000, 1500, 1200, 1100, 1000, 1000],
                [2000; 6],
                [1300, 1100, 1000, 1000, 1000, 1000],
            ],
            ..Rates::flat(21_000, 0, 450, 7_000)
        };
        let mut list = Vec::new();
        for (o, k) in [(64usize, 64usize), (128, 256), (64, 1024), (256, 512)] {
            for n in [1u64, 16, 32, 48, 64, 144] {
                for name in ["vx1(4)", "vx1(16)"] {
                    let layout: Layout = name.parse().unwrap();
                    let w = Zeros::fitting(layout, 250).matrix(o, k, 3);
                    let facts = stats(&layout, o, k, &w).unwrap();
                    let shape = Shape { tokens: n, inputs: k as u64, outputs: o as u64, resident: facts.stored_bytes };
                    let ps = truth.kernel_ps(layout, &facts, Act::Fm, shape) as f64;
                    list.push(Sample { layout, act: Act::Fm, facts, shape, ps, converting_ps: 0.0 });
                }
            }
        }
        let mut table = CostTable { vx1: CostTable::clif_x86_64_v1().csr, ..truth.clone() };
        let before = median(&errors(&table, &list));
        let error = fit(&mut table, |t| &mut t.vx1, &list);
        assert!(before > 0.2 && error < 0.03, "{before} {error} {:?}", table.vx1);
        let near = |a: u64, b: u64| (a as f64 / b as f64).ln().abs() < 0.15;
        for (rows, at) in [(4, 0), (4, 1), (4, 2), (4, 3), (16, 0), (16, 3)] {
            let (found, true_) = (table.vx1.mul_at(rows, at), truth.vx1.mul_at(rows, at));
            assert!(near(found, true_), "{rows} rows, knot {at}: {found} and {true_}");
        }
        // What was not measured is as the nearest that was.
        assert_eq!(table.vx1.mul_at(2, 0), table.vx1.mul_at(4, 0));
        assert_eq!(table.vx1.mul_at(8, 0), table.vx1.mul_at(4, 0));
        // A tenth of the measurements disturbed changes little.
        list.iter_mut().step_by(10).for_each(|s| s.ps *= 3.0);
        let error = fit(&mut table, |t| &mut t.vx1, &list);
        let same = near(table.vx1.mul_at(16, 3), truth.vx1.mul_at(16, 3));
        assert!(error < 0.06 && same, "{error} {:?}", table.vx1);
    }
}
