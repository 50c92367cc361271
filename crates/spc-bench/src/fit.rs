//! The rates of a kernel family that explain its measured times best.
use crate::stats::median;
use crate::suite::Sample;
use spc_layout::{CostTable, Rates};

/// Sets the rates of one family in a table.
pub type Family = fn(&mut CostTable) -> &mut Rates;

/// Factors by which a rate is tried larger and smaller, coarse to fine.
const STEPS: [f64; 7] = [2.0, 1.5, 1.25, 1.12, 1.06, 1.03, 1.015];

/// Rounds over all rates with one factor.
const ROUNDS: usize = 12;

/// What it costs to move a rate by a factor of e without explaining anything: rates that nothing was measured for stay.
const INERTIA: f64 = 0.0005;

const FIELDS: usize = 9;

fn values(r: &Rates) -> [f64; FIELDS] {
    let l = r.load_fs;
    [r.mul_fs, l[0], l[1], l[2], l[3], r.narrow_permille, r.unit_ps, r.block_ps, r.overlap_permille]
        .map(|v| v.max(1) as f64)
}

fn rates(v: &[f64; FIELDS]) -> Rates {
    let u = |x: f64| x.round().max(0.0) as u64;
    Rates {
        mul_fs: u(v[0]),
        load_fs: [u(v[1]), u(v[2]), u(v[3]), u(v[4])],
        narrow_permille: u(v[5]).clamp(10, 100_000),
        unit_ps: u(v[6]),
        block_ps: u(v[7]),
        overlap_permille: u(v[8]).min(1000),
    }
}

/// Errors of predictions: logarithms of predicted over measured, without sign.
pub fn errors(table: &CostTable, samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|s| (table.kernel_ps(s.layout, &s.facts, s.act, s.shape) as f64 / s.ps).ln().abs()).collect()
}

/// Fits the rates of one family to its samples, starting from those that the table has; the median error as a share. The
/// least sum of absolute logarithms, searched one rate at a time: a few dozen measurements that were disturbed do not move
/// it. The same samples give the same rates.
pub fn fit(table: &mut CostTable, family: Family, samples: &[Sample]) -> f64 {
    let start = values(family(table));
    let mut best = start;
    let mut loss = |v: &[f64; FIELDS]| -> f64 {
        // Farther is never cheaper.
        if v[1..5].windows(2).any(|w| w[0] > w[1] * 1.0001) {
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
            for i in 0..FIELDS {
                for factor in [step, 1.0 / step] {
                    let mut v = best;
                    v[i] *= factor;
                    // All loads from here on move together where one alone may not.
                    if (1..5).contains(&i) {
                        for j in 1..5 {
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
        let mut truth = CostTable::clif_x86_64_v1();
        truth.pass_fm = 48;
        truth.vx1 = Rates {
            load_fs: [9_000, 15_000, 40_000, 60_000],
            narrow_permille: 1500,
            unit_ps: 450,
            overlap_permille: 300,
            ..Rates::flat(21_000, 0, 0, 7_000)
        };
        let mut list = Vec::new();
        for (o, k) in [(64usize, 64usize), (128, 256), (64, 1024), (256, 512)] {
            for n in [1u64, 16, 48, 64, 144] {
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
        let mut table = CostTable { vx1: CostTable::clif_x86_64_v1().vx1, ..truth.clone() };
        let before = median(&errors(&table, &list));
        let error = fit(&mut table, |t| &mut t.vx1, &list);
        assert!(before > 0.2 && error < 0.02, "{before} {error} {:?}", table.vx1);
        let near = |a: u64, b: u64| (a as f64 / b as f64).ln().abs() < 0.15;
        assert!(near(table.vx1.mul_fs, truth.vx1.mul_fs), "{:?}", table.vx1);
        assert!(near(table.vx1.narrow_permille, truth.vx1.narrow_permille), "{:?}", table.vx1);
        // A tenth of the measurements disturbed changes little.
        list.iter_mut().step_by(10).for_each(|s| s.ps *= 3.0);
        let error = fit(&mut table, |t| &mut t.vx1, &list);
        assert!(error < 0.05 && near(table.vx1.mul_fs, truth.vx1.mul_fs), "{error} {:?}", table.vx1);
    }
}
