//! The root of a sum of clipped lines, in time proportional to their number.

/// `factor * clip(slope * t + offset, low, high)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub factor: f64,
    pub slope: f64,
    pub offset: f64,
    pub low: f64,
    pub high: f64,
}

/// A rising part: between `begin` and `end` it is `a t + b`, before `low` and after `high`.
#[derive(Clone, Copy)]
struct Part {
    begin: f64,
    end: f64,
    a: f64,
    b: f64,
    low: f64,
    high: f64,
}

impl Part {
    fn at(&self, t: f64) -> f64 {
        if t <= self.begin {
            self.low
        } else if t >= self.end {
            self.high
        } else {
            (self.a * t + self.b).clamp(self.low, self.high)
        }
    }
}

/// The t in `from..to` where the sum is `less`; where it never gets there, the smallest t at which it is greatest; `from` where it
/// is above everywhere. None when a part falls.
///
/// Breakpoints are halved about their median; parts that the bracket has decided are kept as sums, and the bracket that is
/// left is classified by comparing breakpoints. So nothing is sorted, and nothing cancels on a plateau.
pub fn root_of_lines(lines: impl Iterator<Item = Line>, less: f64, from: f64, to: f64) -> Option<f64> {
    let (mut parts, mut still) = (Vec::with_capacity(lines.size_hint().0), 0.0);
    for mut c in lines {
        if c.slope < 0.0 {
            c = Line { factor: -c.factor, slope: -c.slope, offset: -c.offset, low: -c.high, high: -c.low };
        }
        if c.slope == 0.0 || c.factor == 0.0 {
            still += if c.factor == 0.0 { 0.0 } else { c.factor * c.offset.max(c.low).min(c.high) };
            continue;
        }
        if c.factor < 0.0 {
            return None;
        }
        let (begin, end) = ((c.low - c.offset) / c.slope, (c.high - c.offset) / c.slope);
        let (a, b) = (c.factor * c.slope, c.factor * c.offset);
        parts.push(Part { begin, end, a, b, low: c.factor * c.low, high: c.factor * c.high });
    }
    let sum = |parts: &[Part], t: f64| parts.iter().map(|p| p.at(t)).sum::<f64>();
    if still + sum(&parts, from) >= less {
        return Some(from);
    }
    let last = parts.iter().map(|p| p.end).fold(from, f64::max).min(to);
    if last.is_finite() && still + sum(&parts, last) < less {
        return Some(last);
    }
    // The sum is below `less` at `a` and not at `b` (or `b` is infinite).
    let (mut a, mut b) = (from, last);
    let mut points: Vec<f64> = parts.iter().flat_map(|p| [p.begin, p.end]).filter(|t| *t > a && *t < b).collect();
    let (mut slope, mut rest) = (0.0, still);
    while !points.is_empty() {
        let middle = points.len() / 2;
        let t = *points.select_nth_unstable_by(middle, f64::total_cmp).1;
        if slope * t + rest + sum(&parts, t) >= less {
            b = t;
        } else {
            a = t;
        }
        points.retain(|t| *t > a && *t < b);
        parts.retain(|p| {
            if p.end <= a {
                rest += p.high;
            } else if p.begin >= b {
                rest += p.low;
            } else if p.begin <= a && p.end >= b {
                rest += p.b;
                slope += p.a;
            } else {
                return true;
            }
            false
        });
    }
    for p in &parts {
        rest += p.b;
        slope += p.a;
    }
    let t = (less - rest) / slope;
    Some(if t.is_nan() { b } else { t.max(a).min(b) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(factor: f64, slope: f64, offset: f64, low: f64, high: f64) -> Line {
        Line { factor, slope, offset, low, high }
    }

    fn root(l: &[Line], less: f64, from: f64, to: f64) -> Option<f64> {
        root_of_lines(l.iter().copied(), less, from, to)
    }

    #[test]
    fn corners() {
        let two = [line(1.0, 1.0, 0.0, 0.0, 1.0), line(1.0, 0.5, 0.0, 0.0, 1.0)];
        let inf = f64::INFINITY;
        assert_eq!(root(&two, 0.75, 0.0, inf), Some(0.5));
        assert_eq!(root(&two, 1.75, 0.0, inf), Some(1.5));
        assert_eq!(root(&two, 5.0, 0.0, inf), Some(2.0));
        assert_eq!(root(&two, 0.0, 0.0, inf), Some(0.0));
        assert_eq!(root(&two, 5.0, 0.0, 1.5), Some(1.5));
        assert_eq!(root(&[], 1.0, 0.0, inf), Some(0.0));
        assert_eq!(root(&[line(1.0, 0.0, 0.5, 0.0, 1.0)], 1.0, 0.0, inf), Some(0.0));
        assert_eq!(root(&[line(3.0, 1.0, 0.0, -inf, 1.0)], 1.5, 0.0, inf), Some(0.5));
        assert_eq!(root(&[line(1.0, 2.0, 1.0, -inf, inf)], 5.0, 0.0, inf), Some(2.0));
        assert_eq!(root(&[line(-1.0, 1.0, 0.0, 0.0, 1.0)], 1.0, 0.0, 1.0), None);
        // A plateau at exactly 2 between 1 and 1e9.
        let flat = [line(2.0, 1.0, 0.0, 0.0, 1.0), line(1.0, 1e-9, -1.0, 0.0, 1.0)];
        assert_eq!(root(&flat, 2.0, 0.0, inf), Some(1.0));
    }

    /// The sum at the root is what was asked for, also with ties.
    #[test]
    fn the_sum_at_the_root_is_what_was_asked_for() {
        let mut s = 3u64;
        let mut unit = || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 33) as f64 / (1u64 << 31) as f64
        };
        for round in 0..300 {
            let n = 1 + round * 3;
            let step = |x: f64| if round % 2 == 0 { (x * 8.0).floor() / 8.0 } else { x };
            let l: Vec<Line> = (0..n).map(|_| line(1.0, step(unit()) * 4.0, -step(unit()), 0.0, 1.0)).collect();
            let sum = |t: f64| l.iter().map(|l| (l.slope * t + l.offset).clamp(0.0, 1.0)).sum::<f64>();
            let most = sum(1e12);
            let want = most * unit();
            let t = root(&l, want, 0.0, f64::INFINITY).unwrap();
            if want > sum(0.0) {
                assert!((sum(t) - want).abs() <= 1e-9 * (1.0 + want), "{n}: {} {want}", sum(t));
            } else {
                assert_eq!(t, 0.0);
            }
        }
    }
}
