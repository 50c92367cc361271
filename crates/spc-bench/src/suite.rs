//! Random matrices with a pattern, and the time of one kernel on one of them.
use crate::alone::{Alone, Layer, random, repeats};
use crate::pairs::{Budget, Clock, Contestant, rounds};
use crate::stats::{Ratio, compare, quantile};
use spc_base::Bug;
use spc_cpu::Isa;
use spc_formats::{CostFacts, Layout, pack, stats, validate};
use spc_ir::Act;
use spc_layout::Shape;

/// Which elements of a matrix are present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// Whole tiles of `r` x `c` are present, `permille` of them.
    Tiles { r: usize, c: usize, permille: u64 },
    /// `n` of each `m` neighbours in a row.
    Groups { n: usize, m: usize },
    /// Two of the first four of each `m` neighbours in a row.
    Shared { m: usize },
}

impl Zeros {
    /// A pattern that `layout` holds without fill, with about this share of present elements.
    pub fn fitting(layout: Layout, permille: u64) -> Zeros {
        match layout {
            Layout::Dense { .. } => Zeros::Tiles { r: 1, c: 1, permille: 1000 },
            Layout::Vx1 { v } => Zeros::Tiles { r: v as usize, c: 1, permille },
            Layout::Bsr { r, c } => Zeros::Tiles { r: r as usize, c: c as usize, permille },
            Layout::Nm { n, m } | Layout::Nm16 { n, m } => Zeros::Groups { n: n as usize, m: m as usize },
            Layout::Mma32 { r } => Zeros::Tiles { r: r as usize, c: 32, permille },
            Layout::Mma1 { r } => Zeros::Tiles { r: r as usize, c: 1, permille },
            Layout::Vnm { m, .. } | Layout::Vnm16 { m, .. } => Zeros::Shared { m: m as usize },
            Layout::Mma24 => Zeros::Groups { n: 2, m: 4 },
            Layout::Csr | Layout::Csr16 | Layout::Bitmap => Zeros::Tiles { r: 1, c: 1, permille },
            Layout::Half { of, .. } => Zeros::fitting(of.layout(), permille),
            Layout::Groups { group, .. } => Zeros::Tiles { r: 1, c: group as usize, permille },
            Layout::I8Nm { n, m } | Layout::I4Nm { n, m, .. } => Zeros::fitting(Layout::Nm { n, m }, permille),
            Layout::I8Csr { .. } => Zeros::fitting(Layout::Csr, permille),
            Layout::I8 { r } => Zeros::Tiles { r: r as usize, c: 4, permille },
        }
    }

    /// A matrix `[rows, cols]` with this pattern, the same for the same seed. Present elements are not zero.
    pub fn matrix(self, rows: usize, cols: usize, seed: u64) -> Vec<f32> {
        let mut w = random(rows * cols, seed);
        w.iter_mut().for_each(|v| *v += 1.5);
        match self {
            Zeros::Tiles { r, c, permille } => {
                let (r, c) = (r.max(1), c.max(1));
                let across = cols.div_ceil(c);
                let draws = random(rows.div_ceil(r) * across, seed ^ 0x5eed);
                let kept = |i: usize| f64::from(draws[i] + 1.0) / 2.0 * 1000.0 < permille as f64;
                for (i, v) in w.iter_mut().enumerate() {
                    if !kept(i / cols / r * across + i % cols / c) {
                        *v = 0.0;
                    }
                }
            }
            Zeros::Groups { n, m } => {
                let draws = random(rows * cols, seed ^ 0x5eed);
                for row in 0..rows {
                    for from in (0..cols).step_by(m.max(1)) {
                        let mut at: Vec<usize> = (row * cols + from..row * cols + cols.min(from + m)).collect();
                        at.sort_by(|a, b| draws[*a].total_cmp(&draws[*b]));
                        at.iter().skip(n).for_each(|i| w[*i] = 0.0);
                    }
                }
            }
            Zeros::Shared { m } => {
                for (i, v) in w.iter_mut().enumerate() {
                    let (row, place) = (i / cols, i % cols % m.max(1));
                    if place != row % 4 && place != (row + 1) % 4 {
                        *v = 0.0;
                    }
                }
            }
        }
        w
    }
}

/// Makes the present elements of a matrix of `cols` columns whole multiples of the scales that `layout` stores, if it stores
/// some: of each row or group the first has the greatest code.
pub fn on_grid(layout: Layout, cols: usize, w: &mut [f32]) {
    let (top, group) = match layout {
        Layout::I8 { .. } | Layout::I8Nm { .. } | Layout::I8Csr { .. } => (127.0, cols),
        Layout::I4Nm { group, .. } => (7.0, group as usize),
        Layout::Groups { bits, group, .. } => (if bits == 4 { 7.0 } else { 127.0 }, group as usize),
        _ => return,
    };
    for row in w.chunks_mut(cols.max(1)) {
        for part in row.chunks_mut(group.max(1)) {
            // Present elements lie between a half and two and a half.
            part.iter_mut().filter(|w| **w != 0.0).for_each(|w| *w = (*w / 2.5 * (top - 1.0)).round().max(1.0) / 64.0);
            if let Some(first) = part.iter_mut().find(|w| **w != 0.0) {
                *first = top / 64.0;
            }
        }
    }
}

/// Facts and time of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub layout: Layout,
    pub act: Act,
    pub facts: CostFacts,
    pub shape: Shape,
    /// Measured, in picoseconds.
    pub ps: f64,
    /// Conversions around it, in picoseconds.
    pub converting_ps: f64,
}

/// One kernel to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub layout: Layout,
    pub act: Act,
}

/// Rounds of one sample: times are only ever made longer by others, so a low quantile of few is enough.
const ROUNDS: usize = 7;
const QUANTILE: f64 = 0.25;

/// Measures kernels of one matrix in turns. Weights stay hot between calls. Layouts that cannot hold it are left out.
pub fn samples(
    size: (usize, usize, usize),
    weights: &[f32],
    cases: &[Case],
    isa: Isa,
    now: Clock<'_>,
) -> Result<Vec<Sample>, Bug> {
    Ok(kernels(size, weights, cases, isa, now)?.into_iter().map(|(s, _)| s).collect())
}

/// As [`samples`], with the kernels, so that some may be measured again.
pub fn kernels(
    (rows, cols, tokens): (usize, usize, usize),
    weights: &[f32],
    cases: &[Case],
    isa: Isa,
    now: Clock<'_>,
) -> Result<Vec<(Sample, Alone)>, Bug> {
    let layer = Layer { rows, cols, bias: false, act: None };
    let x = random(tokens * cols, 5);
    let mut found = Vec::new();
    for case in cases {
        let Ok(facts) = stats(&case.layout, rows, cols, weights) else { continue };
        let packed = pack(&case.layout, rows, cols, weights).map_err(|r| Bug::new(r.0))?;
        let packed = validate(packed).map_err(Bug::new)?;
        let alone = Alone::new(&layer, &packed, Some(case.act), &x, 1, isa)?;
        let shape =
            Shape { tokens: tokens as u64, inputs: cols as u64, outputs: rows as u64, resident: facts.stored_bytes };
        found.push((Sample { layout: case.layout, act: case.act, facts, shape, ps: 0.0, converting_ps: 0.0 }, alone));
    }
    let mut around = vec![Vec::new(); found.len()];
    let times = {
        let mut list: Vec<Contestant<'_>> = Vec::new();
        for ((_, alone), around) in found.iter().zip(&mut around) {
            let n = repeats(alone.run(now)?.0.min(alone.run(now)?.0));
            list.push(Box::new(move || {
                // The others have been in the caches since.
                alone.run(now)?;
                let mut sum = 0.0;
                for _ in 0..n {
                    let (own, converting) = alone.run(now)?;
                    sum += own;
                    around.push(converting);
                }
                Ok(sum / n as f64)
            }));
        }
        rounds(&mut list, Budget { pairs: ROUNDS, seconds: 2.0 }, now)?
    };
    let done = found.into_iter().zip(times).zip(around).map(|(((mut s, alone), times), around)| {
        s.ps = quantile(&times, QUANTILE) * 1e12;
        s.converting_ps = quantile(&around, QUANTILE) * 1e12;
        (s, alone)
    });
    Ok(done.collect())
}

/// Time of `a` over that of `b`, in pairs of runs next to each other.
pub fn paired(a: &Alone, b: &Alone, budget: Budget, now: Clock<'_>) -> Result<Ratio, Bug> {
    let n = repeats(a.run(now)?.0.min(b.run(now)?.0));
    let many = |alone: &Alone| -> Result<f64, Bug> {
        alone.run(now)?;
        let mut sum = 0.0;
        for _ in 0..n {
            sum += alone.run(now)?.0;
        }
        Ok(sum / n as f64)
    };
    let mut list: Vec<Contestant<'_>> = vec![Box::new(|| many(a)), Box::new(|| many(b))];
    let times = rounds(&mut list, budget, now)?;
    Ok(compare(&times[0], &times[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_fit_the_layout_that_they_are_for() {
        for name in ["dense(16)", "vx1(8)", "bsr(4,4)", "bsr(16,4)", "nm(2,4)", "nm(1,4)", "csr"] {
            let layout: Layout = name.parse().unwrap();
            let w = Zeros::fitting(layout, 250).matrix(48, 64, 9);
            let facts = stats(&layout, 48, 64, &w).unwrap();
            let present = w.iter().filter(|v| **v != 0.0).count() as u64;
            let wanted = match name {
                "dense(16)" => 3072,
                "nm(2,4)" => 1536,
                _ => 768,
            };
            assert!(present.abs_diff(wanted) <= wanted / 4, "{name}: {present}");
            // Without fill: what is multiplied is what is present.
            assert_eq!(facts.multiplies, present, "{name}");
        }
    }

    #[test]
    fn a_kernel_that_does_more_takes_longer() {
        let start = std::time::Instant::now();
        let w = Zeros::Tiles { r: 16, c: 1, permille: 50 }.matrix(256, 512, 1);
        let cases = ["dense(16)", "vx1(16)", "nm(1,4)"].map(|l| Case { layout: l.parse().unwrap(), act: Act::Fm });
        let s = samples((256, 512, 48), &w, &cases, Isa::native(), &|| start.elapsed()).unwrap();
        // 1 of 4 does not hold it.
        assert_eq!(s.len(), 2);
        assert!(s[0].ps > 2.0 * s[1].ps && s[1].converting_ps > 0.0, "{s:?}");
        assert_eq!(s[0].shape.resident, s[0].facts.stored_bytes);
    }
}
