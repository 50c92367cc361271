//! The root of a sum of very many clipped lines. A sample tells nearly where it is; one pass over all lines decides which are
//! straight or flat there; only those that bend in between are looked at again. So each line is read about once, and nothing
//! is sorted. The result is that of [`root_of_lines`] up to rounding, whatever the sample.
use super::{Line, root_of_lines};

/// One of the five numbers of each line: an array, or one number for all.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    Array(&'a [f32]),
    Number(f64),
}

/// `n` lines in the order factor, slope, offset, low, high.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    pub n: usize,
    pub of: [Column<'a>; 5],
}

/// Lines of a block, whose numbers stay in the first cache, and lanes that are summed apart.
const BLOCK: usize = 256;
const LANES: usize = 8;
/// From here on a sample is taken: a thousandth, within bounds. The more there are, the fewer bend where it says.
const MANY: usize = 4096;
const LEAST: usize = 1024;
const MOST: usize = 1 << 14;

/// A block of lines, number by number.
type Block = [[f64; BLOCK]; 5];

trait Source {
    fn len(&self) -> usize;
    fn line(&self, i: usize) -> Line;
    /// The lines from `from` on; behind the end they are 0.
    fn fill(&self, from: usize, out: &mut Block);
}

impl Source for Lines<'_> {
    fn len(&self) -> usize {
        self.n
    }

    fn line(&self, i: usize) -> Line {
        let [factor, slope, offset, low, high] = self.of.map(|c| match c {
            Column::Array(v) => v.get(i).map_or(0.0, |x| f64::from(*x)),
            Column::Number(x) => x,
        });
        Line { factor, slope, offset, low, high }
    }

    fn fill(&self, from: usize, out: &mut Block) {
        let rest = (self.n - from).min(BLOCK);
        for (c, out) in self.of.iter().zip(out.iter_mut()) {
            match c {
                Column::Number(x) => out[..rest].fill(*x),
                Column::Array(v) => {
                    let v = v.get(from..from + rest).unwrap_or_default();
                    out.iter_mut().zip(v).for_each(|(o, x)| *o = f64::from(*x));
                }
            }
            out[rest..].fill(0.0);
        }
    }
}

impl Source for Vec<Line> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn line(&self, i: usize) -> Line {
        self[i]
    }

    fn fill(&self, from: usize, out: &mut Block) {
        out.iter_mut().for_each(|o| o.fill(0.0));
        for (i, l) in self.iter().skip(from).take(BLOCK).enumerate() {
            for (o, x) in out.iter_mut().zip([l.factor, l.slope, l.offset, l.low, l.high]) {
                o[i] = x;
            }
        }
    }
}

/// What is decided already: `slope * t + rest`.
#[derive(Clone, Copy, Debug, Default)]
struct Straight {
    slope: f64,
    rest: f64,
}

impl Straight {
    fn at(&self, t: f64) -> f64 {
        // 0 times infinity is nothing here.
        if self.slope == 0.0 { self.rest } else { self.slope * t + self.rest }
    }

    fn line(&self) -> Line {
        Line { factor: 1.0, slope: self.slope, offset: 0.0, low: f64::NEG_INFINITY, high: f64::INFINITY }
    }
}

/// What a pass over lines found between two points.
#[derive(Default)]
struct Found {
    /// The sums there.
    low: f64,
    high: f64,
    /// Lines that do not bend in between.
    straight: Straight,
    /// The others.
    bent: Vec<u32>,
    /// A line falls, or is no number.
    odd: bool,
}

impl Lines<'_> {
    /// As [`root_of_lines`] of all of them.
    pub fn root(&self, less: f64, from: f64, to: f64) -> Option<f64> {
        solve(self, Straight::default(), less, from, to)
    }
}

fn solve(lines: &dyn Source, known: Straight, less: f64, from: f64, to: f64) -> Option<f64> {
    let n = lines.len();
    let every = |step: usize| (0..n).step_by(step).map(|i| lines.line(i));
    let all = || root_of_lines(every(1).chain([known.line()]), less - known.rest, from, to);
    if n < MANY {
        return all();
    }
    // A line that is not decided has about as many around it as the sample says.
    let step = (n / (n / 1000).clamp(LEAST, MOST)) | 1;
    let sample: Vec<Line> = every(step).collect();
    let part = sample.len() as f64 / n as f64;
    let whole = Straight { slope: known.slope * part, rest: 0.0 };
    let of_sample = |less: f64| root_of_lines(sample.iter().copied().chain([whole.line()]), less, from, to);
    let goal = (less - known.rest) * part;
    let middle = of_sample(goal)?;
    let values = || sample.iter().map(|l| l.factor * (l.slope * middle + l.offset).max(l.low).min(l.high));
    let mean = values().sum::<f64>() / sample.len() as f64;
    let spread = values().map(|v| (v - mean) * (v - mean)).sum::<f64>().sqrt();
    let (a, b) = (of_sample(goal - 5.0 * spread)?, of_sample(goal + 5.0 * spread)?);
    if !(a.is_finite() && b.is_finite() && a < b) {
        return all();
    }
    let found = between(lines, a, b);
    let inside = known.at(a) + found.low < less && known.at(b) + found.high >= less;
    if found.odd || !inside || found.bent.len() > n / 2 {
        return if found.odd { all() } else { end(lines, known, less, from, to).or_else(all) };
    }
    let straight = Straight { slope: known.slope + found.straight.slope, rest: known.rest + found.straight.rest };
    let bent: Vec<Line> = found.bent.iter().map(|i| lines.line(*i as usize)).collect();
    solve(&bent, straight, less, a, b)
}

/// The root where it is at an end: the sum is above everywhere, or gets nowhere near.
fn end(lines: &dyn Source, known: Straight, less: f64, from: f64, to: f64) -> Option<f64> {
    if known.slope != 0.0 {
        return None;
    }
    let found = between(lines, from, from);
    if known.rest + found.low >= less {
        return Some(from);
    }
    let stops = |l: Line| if l.slope > 0.0 && l.factor > 0.0 { (l.high - l.offset) / l.slope } else { from };
    let last = (0..lines.len()).map(|i| stops(lines.line(i))).fold(from, f64::max).min(to);
    let there = last.is_finite() && known.rest + between(lines, last, last).high < less;
    there.then_some(last)
}

/// Sums at `a` and `b`, and what lines do in between.
fn between(lines: &dyn Source, a: f64, b: f64) -> Found {
    let mut out = Found::default();
    let (mut low, mut high) = ([0.0; LANES], [0.0; LANES]);
    let (mut rest, mut slope) = ([0.0; LANES], [0.0; LANES]);
    let mut odd = [false; LANES];
    let mut block = [[0.0; BLOCK]; 5];
    let mut bends = [0u8; BLOCK];
    for from in (0..lines.len()).step_by(BLOCK) {
        lines.fill(from, &mut block);
        let [f, s, o, l, h] = &block;
        for at in (0..BLOCK).step_by(LANES) {
            for k in 0..LANES {
                let i = at + k;
                let (x, y) = (s[i] * a + o[i], s[i] * b + o[i]);
                let (u, v) = (clip(x, l[i], h[i]), clip(y, l[i], h[i]));
                // Flat, straight, or neither.
                let flat = (y <= l[i]) | (x >= h[i]);
                let line = (x >= l[i]) & (y <= h[i]);
                low[k] += f[i] * u;
                high[k] += f[i] * v;
                let (one, two) = (f[i] * u, f[i] * o[i]);
                rest[k] += if flat {
                    one
                } else if line {
                    two
                } else {
                    0.0
                };
                slope[k] += if flat | !line { 0.0 } else { f[i] * s[i] };
                bends[i] = u8::from(!(flat | line));
                odd[k] |= !((f[i] >= 0.0) & (s[i] >= 0.0) & (x <= y));
            }
        }
        for (c, run) in bends.as_chunks::<16>().0.iter().enumerate() {
            if u128::from_ne_bytes(*run) != 0 {
                for (i, bent) in run.iter().enumerate() {
                    if *bent != 0 {
                        out.bent.push((from + 16 * c + i) as u32);
                    }
                }
            }
        }
    }
    let sum = |v: [f64; LANES]| v.iter().sum::<f64>();
    out.low = sum(low);
    out.high = sum(high);
    out.straight = Straight { slope: sum(slope), rest: sum(rest) };
    out.odd = odd.iter().any(|o| *o);
    out
}

/// Without the cases of NaN, which `odd` finds.
#[inline(always)]
fn clip(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(s: &mut u64) -> f64 {
        *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*s >> 33) as f64 / (1u64 << 31) as f64
    }

    fn sum(l: &Lines<'_>, t: f64) -> f64 {
        (0..l.n).map(|i| l.line(i)).map(|l| l.factor * (l.slope * t + l.offset).max(l.low).min(l.high)).sum()
    }

    /// The same as the search that looks at all breakpoints: random, tied, sorted, with zeros, few and many, at all targets.
    #[test]
    fn samples_change_nothing() {
        let mut s = 9;
        for round in 0..60 {
            let n = [100, 5000, 40_000][round % 3] + round;
            let mut h: Vec<f32> = (0..n)
                .map(|_| match round % 5 {
                    0 => unit(&mut s) as f32,
                    1 => (unit(&mut s) * 8.0).floor() as f32 / 8.0,
                    2 => 10f64.powf(unit(&mut s) * 12.0 - 6.0) as f32,
                    3 if unit(&mut s) < 0.3 => 0.0,
                    _ => 1.0 + 0.01 * unit(&mut s) as f32,
                })
                .collect();
            if round % 4 == 0 {
                h.sort_by(f32::total_cmp);
            }
            let cost: Vec<f32> = (0..n).map(|_| 1.0 + (unit(&mut s) * 3.0).floor() as f32).collect();
            let factor = if round % 2 == 0 { Column::Number(1.0) } else { Column::Array(&cost) };
            let low = Column::Number(0.0);
            let l = Lines { n, of: [factor, Column::Array(&h), Column::Number(-0.5), low, Column::Number(1.0)] };
            let most = sum(&l, 1e300);
            for share in [0.0, 1e-4, 0.1, 0.5, 0.9, 0.9999, 1.0, 1.3] {
                let less = (most * share).floor();
                let got = l.root(less, 0.0, f64::INFINITY).unwrap();
                let want = root_of_lines((0..n).map(|i| l.line(i)), less, 0.0, f64::INFINITY).unwrap();
                assert!((got - want).abs() <= 1e-9 * want.abs(), "round {round} {n} {share}: {got} {want}");
                if less > 0.0 && less < most {
                    assert!((sum(&l, got) - less).abs() <= 1e-9 * less, "round {round} {n} {share}");
                }
            }
        }
    }

    #[test]
    fn what_falls_is_refused_and_ends_hold() {
        let h: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
        let of =
            [Column::Number(1.0), Column::Array(&h), Column::Number(0.0), Column::Number(0.0), Column::Number(1.0)];
        let l = Lines { n: h.len(), of };
        assert_eq!(l.root(0.0, 0.0, f64::INFINITY), Some(0.0));
        assert_eq!(l.root(1e9, 0.0, f64::INFINITY), Some(1.0), "the last line ends at 1");
        assert_eq!(l.root(1e9, 0.0, 0.25), Some(0.25));
        let mut down = l;
        down.of[0] = Column::Number(-1.0);
        assert_eq!(down.root(1.0, 0.0, f64::INFINITY), None);
        let turned: Vec<f32> = h.iter().map(|x| -x).collect();
        down.of[1] = Column::Array(&turned);
        down.of[3] = Column::Number(-1.0);
        down.of[4] = Column::Number(0.0);
        assert_eq!(down.root(1e9, 0.0, f64::INFINITY), Some(1.0));
    }
}
