//! One layer against the best dense way to compute it.
use crate::alone::{Alone, Layer, repeats};
use crate::pairs::{Budget, Clock, Contestant, rounds};
use crate::peer::Peer;
use crate::roofline::{Bound, Machine};
use crate::stats::{Ratio, compare, median, quantile, spread};
use serde::Serialize;
use spc_base::Bug;

/// Times of one contestant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Median seconds of one call.
    pub seconds: f64,
    /// Half the distance of the quartiles, as a share of the median.
    pub spread: f64,
}

impl Side {
    pub fn of(times: &[f64]) -> Side {
        Side { seconds: median(times), spread: spread(times) }
    }
}

/// What was measured of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Our dense kernel.
    pub dense: Side,
    /// The peer, with our own code for bias and activation after it.
    pub peer: Side,
    /// The layer as planned.
    pub ours: Side,
    /// The faster of the two dense ones, by name.
    pub best: &'static str,
    /// `best / ours` of pairs that were measured next to each other.
    pub ratio: Ratio,
    /// Conversions of activations around the kernel, median seconds. Not part of `ours`: what stands in a program depends
    /// on the neighbours.
    pub conversions: f64,
    /// What limits `ours`.
    pub bound: Bound,
    /// Share of the limit, the limit measured beside each call: median and best tenth.
    pub share: f64,
    pub best_share: f64,
}

/// Work of one call of `ours`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Operations on present weights, 2 for a multiply-add.
    pub flops: f64,
    /// Stored bytes of the weight, and of activations read and written.
    pub bytes: u64,
}

/// The four contestants of a layer.
pub struct Entrants<'a> {
    pub layer: &'a Layer,
    pub dense: &'a Alone,
    pub ours: &'a Alone,
    pub peer: Peer,
    pub epilogue: Option<Alone>,
}

/// Measures a layer in turns: the limit, our dense kernel, the peer, and ours.
pub fn measure(e: Entrants<'_>, work: Work, m: &Machine, budget: Budget, now: Clock<'_>) -> Result<Cell, Bug> {
    let Entrants { dense, ours, mut peer, epilogue, .. } = e;
    let (seconds, bound) = m.roofline.bound(work.flops, work.bytes);
    let once = ours.run(now)?.0.min(ours.run(now)?.0);
    let n = repeats(once);
    let many = |a: &Alone| -> Result<(f64, f64), Bug> {
        let mut sum = (0.0, 0.0);
        for _ in 0..n {
            let (own, around) = a.run(now)?;
            sum = (sum.0 + own, sum.1 + around);
        }
        Ok((sum.0 / n as f64, sum.1 / n as f64))
    };
    let mut conversions = Vec::new();
    let times = {
        let around = &mut conversions;
        let mut list: Vec<Contestant<'_>> = vec![
            Box::new(|| m.now(bound, once.clamp(2e-5, 2e-3), now)),
            Box::new(|| Ok(many(dense)?.0)),
            Box::new(|| {
                let mut sum = 0.0;
                for _ in 0..n {
                    let begin = now();
                    peer.run();
                    sum += now().saturating_sub(begin).as_secs_f64();
                    if let Some(e) = &epilogue {
                        sum += e.run(now)?.0;
                    }
                }
                Ok(sum / n as f64)
            }),
            Box::new(|| {
                let (own, converting) = many(ours)?;
                around.push(converting);
                Ok(own)
            }),
        ];
        rounds(&mut list, budget, now)?
    };
    let [limit, dense, peer, ours] = &times[..] else { return Err(Bug::new("four contestants are four")) };
    let (best, base) = if median(dense) <= median(peer) { ("dense", dense) } else { ("peer", peer) };
    // A limit that was disturbed is compared with a kernel that was disturbed as well.
    let shares: Vec<f64> = limit.iter().zip(ours).map(|(l, t)| seconds / (l * t)).collect();
    Ok(Cell {
        dense: Side::of(dense),
        peer: Side::of(peer),
        ours: Side::of(ours),
        best,
        ratio: compare(base, ours),
        conversions: median(&conversions),
        bound,
        share: median(&shares),
        best_share: quantile(&shares, 0.9),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alone::random;
    use crate::stats::Verdict;
    use spc_cpu::Isa;
    use spc_formats::{Layout, pack, validate};
    use std::time::Instant;

    #[test]
    fn a_layer_that_does_a_tenth_of_the_work_wins_and_dense_is_no_faster_than_itself() {
        let start = Instant::now();
        let now = || start.elapsed();
        let m = Machine::measure(Isa::native(), 1, &now, &|_, _| {}).unwrap();
        let (o, k, n) = (256usize, 256usize, 64usize);
        let layer = Layer { rows: o, cols: k, bias: true, act: None };
        let w: Vec<f32> =
            random(o * k, 3).iter().enumerate().map(|(i, w)| if (i % k) % 16 == 0 { w + 1.5 } else { 0.0 }).collect();
        let x = random(n * k, 4);
        let entrant = |name: &str| {
            let layout: Layout = name.parse().unwrap();
            let packed = validate(pack(&layout, o, k, &w).unwrap()).unwrap();
            Alone::new(&layer, &packed, None, &x, 1, Isa::native()).unwrap()
        };
        let (dense, sparse) = (entrant("dense(16)"), entrant("vx1(16)"));
        let run = |ours: &Alone| {
            let peer = Peer::new(o, k, &w, &x, 1).unwrap();
            let epilogue = Alone::epilogue(&layer, &vec![0.0; n * o], 1, Isa::native()).unwrap();
            let e = Entrants { layer: &layer, dense: &dense, ours, peer, epilogue };
            let work = Work { flops: 2.0 * (o * k / 16 * n) as f64, bytes: (4 * (o + k) * n) as u64 };
            measure(e, work, &m, Budget { pairs: 31, seconds: 5.0 }, &now).unwrap()
        };
        let cell = run(&sparse);
        assert!(cell.ratio.median > 1.5, "{cell:?}");
        assert_eq!(cell.ratio.verdict, Verdict::Faster);
        assert!(cell.share > 0.0 && cell.share <= cell.best_share && cell.conversions > 0.0, "{cell:?}");
        let cell = run(&dense);
        assert!(cell.ratio.median < 1.2, "{cell:?}");
    }
}
