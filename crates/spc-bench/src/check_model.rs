//! How good the cost model's choices are: predicted against measured, on shapes that it was not fitted to.
use crate::alone::Alone;
use crate::pairs::{Budget, Clock};
use crate::stats::{median, rank_correlation};
use crate::suite::{Case, Sample, Zeros, kernels, on_grid, paired};
use serde::Serialize;
use spc_base::Bug;
use spc_cpu::Isa;
use spc_formats::{DEFAULT_CANDIDATES, Layout, QUANTIZED_CANDIDATES};
use spc_ir::Act;
use spc_layout::CostTable;

/// Linears of two small language models: outputs, inputs.
const MODELS: [(&str, &[(usize, usize)]); 2] = [
    ("encoder, width 384", &[(384, 384), (1536, 384), (384, 1536)]),
    ("decoder, width 576", &[(576, 576), (192, 576), (1536, 576), (576, 1536)]),
];

const TOKENS: [usize; 4] = [1, 8, 16, 128];

/// What was pruned, and whether weights and activations have 8 bits.
const PATTERNS: [(&str, Zeros, bool); 11] = [
    ("16 x 1, 75 % zeros", Zeros::Tiles { r: 16, c: 1, permille: 250 }, false),
    ("8 x 1, 50 % zeros", Zeros::Tiles { r: 8, c: 1, permille: 500 }, false),
    ("4 x 4, 80 % zeros", Zeros::Tiles { r: 4, c: 4, permille: 200 }, false),
    ("2 of 4", Zeros::Groups { n: 2, m: 4 }, false),
    ("single, 90 % zeros", Zeros::Tiles { r: 1, c: 1, permille: 100 }, false),
    ("none", Zeros::Tiles { r: 1, c: 1, permille: 1000 }, false),
    ("single, 50 % zeros", Zeros::Tiles { r: 1, c: 1, permille: 500 }, false),
    ("single, 98.5 % zeros", Zeros::Tiles { r: 1, c: 1, permille: 15 }, false),
    ("2 of 4 that rows share of 16", Zeros::Shared { m: 16 }, false),
    ("2 of 4, 8 bits", Zeros::Groups { n: 2, m: 4 }, true),
    ("single, 80 % zeros, 8 bits", Zeros::Tiles { r: 1, c: 1, permille: 200 }, true),
];

/// One matrix at one number of tokens: every layout that holds it, predicted and measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    pub model: &'static str,
    pub rows: usize,
    pub cols: usize,
    pub tokens: usize,
    pub pattern: &'static str,
    /// What the table predicts to be fastest, and what was.
    pub picked: String,
    pub best: String,
    /// Measured time of the pick over that of the best, in pairs of runs after all were measured: 1 where they are the same.
    /// Of many candidates the fastest is also the luckiest, so times from the first round would wrong the pick.
    pub regret: f64,
    /// Rank correlation of predicted and measured times.
    pub ranks: f64,
    /// Errors of the predictions, as shares.
    pub errors: Vec<f64>,
    pub candidates: Vec<Candidate>,
}

/// One layout that holds a matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    pub layout: String,
    pub predicted_ps: u64,
    pub measured_ps: u64,
}

/// All of them in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub cells: usize,
    /// Share of cells whose pick takes at most 1.1 times what the best takes.
    pub good: f64,
    /// Mean of the rank correlations of the cells.
    pub ranks: f64,
    /// Median error of all predictions, as a share.
    pub error: f64,
}

pub fn summary(list: &[Checked]) -> Summary {
    let good = list.iter().filter(|c| c.regret <= 1.1).count() as f64 / list.len().max(1) as f64;
    let ranks: Vec<f64> = list.iter().map(|c| c.ranks).filter(|r| r.is_finite()).collect();
    let errors: Vec<f64> = list.iter().flat_map(|c| c.errors.iter().copied()).collect();
    let mean = ranks.iter().sum::<f64>() / ranks.len().max(1) as f64;
    Summary { cells: list.len(), good, ranks: mean, error: median(&errors) }
}

fn words(s: &Sample) -> String {
    match s.act {
        Act::Rm if s.layout.feature_major() => format!("{} token-major", s.layout),
        _ => s.layout.to_string(),
    }
}

/// What the table picks, what was fastest, and how well the table ranks and predicts.
struct Judged {
    pick: usize,
    best: usize,
    ranks: f64,
    errors: Vec<f64>,
    candidates: Vec<Candidate>,
}

fn judge(table: &CostTable, list: &[Sample]) -> Option<Judged> {
    let price = |s: &Sample| table.kernel_ps(s.layout, &s.facts, s.act, s.shape);
    let predicted: Vec<f64> = list.iter().map(|s| price(s) as f64).collect();
    let measured: Vec<f64> = list.iter().map(|s| s.ps).collect();
    let least = |v: &[f64]| (0..v.len()).min_by(|a, b| v[*a].total_cmp(&v[*b]));
    let one = |s: &Sample| Candidate { layout: words(s), predicted_ps: price(s), measured_ps: s.ps as u64 };
    Some(Judged {
        pick: least(&predicted)?,
        best: least(&measured)?,
        ranks: rank_correlation(&predicted, &measured),
        errors: predicted.iter().zip(&measured).map(|(p, m)| (p / m).ln().abs().exp_m1()).collect(),
        candidates: list.iter().map(one).collect(),
    })
}

/// Pairs of runs of the pick and the best.
const AGAIN: Budget = Budget { pairs: 21, seconds: 1.0 };

/// Measures all layouts of every shape, pattern and number of tokens, and compares with what the table says.
pub fn check_model(table: &CostTable, isa: Isa, now: Clock<'_>, heard: &dyn Fn(u64, u64)) -> Result<Vec<Checked>, Bug> {
    let shapes = MODELS.iter().flat_map(|(model, shapes)| shapes.iter().map(move |s| (*model, *s)));
    let total = (MODELS.iter().map(|(_, s)| s.len()).sum::<usize>() * TOKENS.len() * PATTERNS.len()) as u64;
    let of = |act: Act, there: fn(&Layout) -> bool| {
        DEFAULT_CANDIDATES.iter().filter(move |l| there(l)).map(move |l| Case { layout: *l, act })
    };
    let cases: Vec<Case> = of(Act::Fm, Layout::feature_major).chain(of(Act::Rm, Layout::row_major)).collect();
    let mut out = Vec::new();
    for (model, (rows, cols)) in shapes {
        for (i, (pattern, zeros, rounded)) in PATTERNS.iter().enumerate() {
            let mut w = zeros.matrix(rows, cols, (rows + cols + i) as u64);
            let mut cases = cases.clone();
            if *rounded {
                on_grid(Layout::I8 { r: 16 }, cols, &mut w);
                cases.extend(QUANTIZED_CANDIDATES.iter().map(|l| Case { layout: *l, act: Act::Rm }));
            }
            if let Zeros::Shared { m } = *zeros {
                cases.extend([16, 64].map(|v| Case { layout: Layout::Vnm16 { v, m: m as u32 }, act: Act::Rm }));
            }
            for tokens in TOKENS {
                heard(out.len() as u64, total);
                let (list, alone): (Vec<Sample>, Vec<Alone>) =
                    kernels((rows, cols, tokens), &w, &cases, isa, now)?.into_iter().unzip();
                let j = judge(table, &list).ok_or_else(|| Bug::new("no layout holds a matrix"))?;
                let regret =
                    if j.pick == j.best { 1.0 } else { paired(&alone[j.pick], &alone[j.best], AGAIN, now)?.median };
                let (picked, best) = (words(&list[j.pick]), words(&list[j.best]));
                let Judged { ranks, errors, candidates, .. } = j;
                out.push(Checked {
                    model,
                    rows,
                    cols,
                    tokens,
                    pattern,
                    picked,
                    best,
                    regret,
                    ranks,
                    errors,
                    candidates,
                });
            }
        }
    }
    heard(total, total);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_formats::stats;
    use spc_layout::Shape;

    #[test]
    fn the_pick_is_judged_by_what_was_measured() {
        let table = CostTable::clif_x86_64_v1();
        let w = Zeros::Tiles { r: 16, c: 1, permille: 100 }.matrix(64, 64, 1);
        let sample = |name: &str, ps: f64| {
            let layout: Layout = name.parse().unwrap();
            let facts = stats(&layout, 64, 64, &w).unwrap();
            let shape = Shape { tokens: 48, inputs: 64, outputs: 64, resident: 0 };
            Sample { layout, act: Act::Fm, facts, shape, ps, converting_ps: 0.0 }
        };
        // The table picks vx1(16); measured, csr is faster.
        let list = [sample("dense(16)", 9e6), sample("vx1(16)", 3e6), sample("csr", 2e6)];
        let j = judge(&table, &list).unwrap();
        assert_eq!((words(&list[j.pick]).as_str(), words(&list[j.best]).as_str()), ("vx1(16)", "csr"));
        assert!(j.ranks < 1.0 && j.errors.len() == 3 && j.errors.iter().all(|e| *e >= 0.0));
        assert_eq!((j.candidates[2].layout.as_str(), j.candidates[2].measured_ps), ("csr", 2_000_000));
        assert!(judge(&table, &[]).is_none());
    }

    #[test]
    fn the_summary_counts_picks_within_a_tenth() {
        let cell = |regret: f64, ranks: f64, error: f64| Checked {
            model: "m",
            rows: 1,
            cols: 1,
            tokens: 1,
            pattern: "p",
            picked: String::new(),
            best: String::new(),
            regret,
            ranks,
            errors: vec![error],
            candidates: vec![],
        };
        let s = summary(&[cell(1.0, 1.0, 0.1), cell(1.1, 0.5, 0.3), cell(1.2, f64::NAN, 0.2), cell(3.0, 0.6, 0.4)]);
        assert_eq!((s.cells, s.good, s.error), (4, 0.5, 0.25));
        assert!((s.ranks - 0.7).abs() < 1e-12);
    }
}
