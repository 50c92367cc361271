//! What repeated, paired measurements allow to be said.
use serde::Serialize;

/// The value at share `q` of the sorted values (0 the least, 1 the greatest); of an empty list, NaN.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    let last = v.len().saturating_sub(1);
    let at = (last as f64 * q.clamp(0.0, 1.0)).round() as usize;
    v.get(at).copied().unwrap_or(f64::NAN)
}

/// The middle value; of an even number, the mean of the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    let half = v.len() / 2;
    match (v.get(half), v.len() % 2) {
        (Some(m), 1) => *m,
        (Some(m), _) => v.get(half.wrapping_sub(1)).map_or(f64::NAN, |l| 0.5 * (l + m)),
        (None, _) => f64::NAN,
    }
}

/// Half the distance of the quartiles, as a share of the median.
pub fn spread(values: &[f64]) -> f64 {
    (quantile(values, 0.75) - quantile(values, 0.25)) / 2.0 / median(values)
}

/// What may be said of two things that were measured in turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Faster,
    Slower,
    /// The measurements do not tell which is faster, or differ by less than [`LEAST`].
    NoDifference,
}

/// Paired ratios of two times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Median of `base / ours`: above 1, ours is faster.
    pub median: f64,
    /// Interval that holds the true median with [`CONFIDENCE`], whatever the distribution.
    pub low: f64,
    pub high: f64,
    pub pairs: usize,
    pub verdict: Verdict,
}

/// Confidence of [`Ratio::low`] to [`Ratio::high`].
pub const CONFIDENCE: f64 = 0.99;

/// A difference below this share is never called one: code placement and timers alone make as much.
pub const LEAST: f64 = 0.01;

/// Compares times that were measured in pairs, element `i` of one next to element `i` of the other. The verdict is the
/// sign test: the interval of order statistics around the median of the ratios lies on one side of 1.
pub fn compare(base: &[f64], ours: &[f64]) -> Ratio {
    let mut ratios: Vec<f64> = base.iter().zip(ours).map(|(b, o)| b / o).filter(|r| r.is_finite()).collect();
    ratios.sort_by(f64::total_cmp);
    let n = ratios.len();
    let middle = median(&ratios);
    // Ranks k and n + 1 - k, counted from 1; without any, the interval is everything.
    let (low, high) = match rank(n) {
        Some(k) => (ratios[k - 1], ratios[n - k]),
        None => (0.0, f64::INFINITY),
    };
    let verdict = if low > 1.0 && middle >= 1.0 + LEAST {
        Verdict::Faster
    } else if high < 1.0 && middle <= 1.0 - LEAST {
        Verdict::Slower
    } else {
        Verdict::NoDifference
    };
    Ratio { median: middle, low, high, pairs: n, verdict }
}

/// The greatest k for which fewer than k of n fair coins show heads with a probability of at most half of what
/// [`CONFIDENCE`] leaves.
fn rank(n: usize) -> Option<usize> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (mut k, mut below) = (0usize, 0.0f64);
    // Logarithms, because 2^-n is zero beyond n = 1074.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    while k < n {
        below += log.exp();
        if below > tail {
            break;
        }
        k += 1;
        log += (((n - k + 1) as f64) / k as f64).ln();
    }
    (k > 0).then_some(k)
}

/// Spearman's rank correlation; ties share the mean of their ranks. NaN for fewer than two values.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let n = a.len().min(b.len()) as f64;
    let mean = (n - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(p, q)| (p - mean) * (q - mean)).sum() };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn ranks(v: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..v.len()).collect();
    order.sort_by(|a, b| v[*a].total_cmp(&v[*b]));
    let mut out = vec![0.0; v.len()];
    let mut from = 0;
    while from < order.len() {
        let same = |i: &usize| v[*i].total_cmp(&v[order[from]]).is_eq();
        let to = from + order[from..].iter().take_while(|i| same(i)).count();
        let mean = (from + to - 1) as f64 / 2.0;
        order[from..to].iter().for_each(|i| out[*i] = mean);
        from = to;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around `level` with bursts, as on a shared machine; the burst hits both of a pair.
    fn noisy(level: f64, n: usize, seed: u64) -> Vec<f64> {
        let mut s = seed;
        (0..n)
            .map(|i| {
                s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let own = ((s >> 40) as f64 / (1u64 << 24) as f64 - 0.5) * 0.2;
                let burst = if i % 7 < 2 { 1.6 } else { 1.0 };
                level * burst * (1.0 + own)
            })
            .collect()
    }

    #[test]
    fn equal_things_show_no_difference() {
        let wins = (0..200u64).filter(|i| {
            compare(&noisy(1.0, 61, i * 2 + 1), &noisy(1.0, 61, i * 2 + 2)).verdict != Verdict::NoDifference
        });
        let wins = wins.count();
        assert!(wins <= 6, "{wins} of 200 were called a difference");
        let same = noisy(1.0, 61, 3);
        assert_eq!(compare(&same, &same).verdict, Verdict::NoDifference);
    }

    #[test]
    fn the_ratio_is_base_over_ours_and_the_side_decides() {
        let (slow, fast) = (noisy(2.0, 61, 1), noisy(1.0, 61, 2));
        let r = compare(&slow, &fast);
        assert!(r.median > 1.8 && r.low <= r.median && r.median <= r.high, "{r:?}");
        assert_eq!(r.verdict, Verdict::Faster);
        let r = compare(&fast, &slow);
        assert!(r.median < 0.6, "{r:?}");
        assert_eq!(r.verdict, Verdict::Slower);
        assert_eq!(r.pairs, 61);
    }

    #[test]
    fn few_pairs_and_small_differences_prove_nothing() {
        // Seven of seven happen by chance once in 64 times.
        assert_eq!(compare(&[2.0; 7], &[1.0; 7]).verdict, Verdict::NoDifference);
        assert_eq!(compare(&[2.0; 8], &[1.0; 8]).verdict, Verdict::Faster);
        // Steady, and too small to matter.
        assert_eq!(compare(&[1.005; 100], &[1.0; 100]).verdict, Verdict::NoDifference);
        assert_eq!(compare(&[], &[]).verdict, Verdict::NoDifference);
        assert_eq!(compare(&[1.0; 20], &[0.0; 20]).pairs, 0);
    }

    #[test]
    fn ranks_of_the_interval_are_those_of_the_tables() {
        // Order statistics of the sign test at 99 %: n = 8 to 61 from the binomial distribution.
        assert_eq!([7usize, 8, 15, 20, 61].map(rank), [None, Some(1), Some(3), Some(4), Some(21)]);
        let k = rank(5000).unwrap();
        assert!((2407..=2411).contains(&k), "{k}");
    }

    #[test]
    fn correlation_of_ranks() {
        assert!((rank_correlation(&[1.0, 2.0, 3.0], &[10.0, 200.0, 3e9]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 1.0, 2.0], &[1.0, 1.0, 5.0]) - 1.0).abs() < 1e-12);
        assert!(rank_correlation(&[], &[]).is_nan());
    }

    #[test]
    fn middles() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan() && quantile(&[], 0.5).is_nan());
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.75), 4.0);
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0]), 1.0 / 3.0);
    }
}
