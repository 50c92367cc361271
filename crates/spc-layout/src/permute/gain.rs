//! What an order keeps, and what a group would keep with another position in one of its places.

/// What a pattern keeps of each group of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// The n largest of each row of a group (N:M).
    OutOf(usize),
    /// A group of a row is kept or dropped as a whole, by the sum of its scores; this many are kept in all rows together.
    Groups(usize),
}

/// Scores of one tensor along an axis, and the pattern it must come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Elements for each position of the axis.
    pub rows: usize,
    /// `[size, rows]`; finite and not negative.
    pub scores: Vec<f32>,
    pub keeps: Keeps,
}

/// Partial sums that are kept apart, so that a long sum is accurate and its loop has no chain.
const LANES: usize = 8;

fn sum(pairs: impl Fn(&mut [f32; LANES], &[f32], &[f32]), a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (x, y) in (&mut a).zip(&mut b) {
        pairs(&mut acc, x, y);
    }
    pairs(&mut acc, a.remainder(), b.remainder());
    acc.iter().sum()
}

impl Term {
    pub(super) fn fits(&self, size: usize, group: usize) -> bool {
        let keeps = match self.keeps {
            Keeps::OutOf(n) => n > 0 && n <= group,
            Keeps::Groups(_) => true,
        };
        keeps && self.rows > 0 && self.rows.checked_mul(size) == Some(self.scores.len())
    }

    fn at(&self, position: u32) -> &[f32] {
        let from = position as usize * self.rows;
        self.scores.get(from..from + self.rows).unwrap_or_default()
    }

    /// Sum of all scores.
    pub fn all(&self) -> f64 {
        self.scores.iter().map(|v| f64::from(*v)).sum()
    }

    /// Sums of the groups of all rows in an order.
    fn sums(&self, order: &[u32], group: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(order.len() / group.max(1) * self.rows);
        for members in order.chunks(group) {
            let from = out.len();
            out.resize(from + self.rows, 0f32);
            for p in members {
                for (s, v) in out[from..].iter_mut().zip(self.at(*p)) {
                    *s += v;
                }
            }
        }
        out
    }

    /// What the pattern keeps in an order.
    pub fn kept(&self, order: &[u32], group: usize) -> f64 {
        match self.keeps {
            Keeps::OutOf(n) => {
                let mut row = Vec::with_capacity(group);
                let mut total = 0.0;
                for members in order.chunks(group) {
                    for r in 0..self.rows {
                        row.clear();
                        row.extend(members.iter().map(|p| self.at(*p)[r]));
                        row.sort_unstable_by(|a, b| b.total_cmp(a));
                        total += row.iter().take(n).map(|v| f64::from(*v)).sum::<f64>();
                    }
                }
                total
            }
            Keeps::Groups(n) => {
                let mut sums = self.sums(order, group);
                let n = n.min(sums.len());
                if n > 0 && n < sums.len() {
                    sums.select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a));
                }
                sums.iter().take(n).map(|v| f64::from(*v)).sum()
            }
        }
    }

    /// For whole groups: the smallest sum that is kept. The sum of what exceeds it, plus itself for each that is kept, is what
    /// is kept, and for any other order that is a bound from above.
    pub(super) fn threshold(&self, order: &[u32], group: usize) -> f32 {
        match self.keeps {
            Keeps::OutOf(_) => 0.0,
            Keeps::Groups(n) => {
                let mut sums = self.sums(order, group);
                match n.min(sums.len()).checked_sub(1) {
                    Some(last) => *sums.select_nth_unstable_by(last, |a, b| b.total_cmp(a)).1,
                    None => 0.0,
                }
            }
        }
    }

    /// Adds to `gains[s][c]` what the group of slot s is worth with the position of slot c in that slot.
    pub(super) fn add_gains(&self, order: &[u32], group: usize, slots: &[usize], threshold: f32, gains: &mut [f32]) {
        let mut against = vec![0f32; self.rows];
        let mut largest: Vec<f32> = Vec::with_capacity(group);
        for (slot, gains) in slots.iter().zip(gains.chunks_exact_mut(slots.len().max(1))) {
            let first = slot / group * group;
            let others = || (first..first + group).filter(|i| i != slot).map(|i| self.at(order[i]));
            match self.keeps {
                Keeps::OutOf(n) => {
                    let mut sure = 0f64;
                    for (r, a) in against.iter_mut().enumerate() {
                        largest.clear();
                        largest.extend(others().map(|x| x[r]));
                        largest.sort_unstable_by(|a, b| b.total_cmp(a));
                        sure += largest.iter().take(n - 1).map(|v| f64::from(*v)).sum::<f64>();
                        // The new one stays if it is among the n largest; with n = m it always does.
                        *a = largest.get(n - 1).copied().unwrap_or(0.0);
                    }
                    for (g, c) in gains.iter_mut().zip(slots) {
                        let larger = |acc: &mut [f32; LANES], x: &[f32], y: &[f32]| {
                            for ((s, x), y) in acc.iter_mut().zip(x).zip(y) {
                                *s += if x > y { *x } else { *y };
                            }
                        };
                        *g += sure as f32 + sum(larger, &against, self.at(order[*c]));
                    }
                }
                Keeps::Groups(_) => {
                    against.fill(-threshold);
                    for x in others() {
                        for (a, v) in against.iter_mut().zip(x) {
                            *a += v;
                        }
                    }
                    for (g, c) in gains.iter_mut().zip(slots) {
                        let above = |acc: &mut [f32; LANES], x: &[f32], y: &[f32]| {
                            for ((s, x), y) in acc.iter_mut().zip(x).zip(y) {
                                let z = x + y;
                                *s += if z > 0.0 { z } else { 0.0 };
                            }
                        };
                        *g += sum(above, &against, self.at(order[*c]));
                    }
                }
            }
        }
    }
}
