//! `nm(N,M)`: at most N present weights in each group of M consecutive columns of a row. `idx u8[O][G][N]` = position
//! inside the group, `values f32[O][G][N]`, `G = ceil(K/M)`; the last group may be short.
//!
//! In a group the present weights come first, by ascending position. What is left of the N entries is padding: value zero
//! and the first absent position of the group, never that of a present weight. A short group that has fewer than N columns,
//! all present, has no such position and is refused.
use crate::format::{Format, Matrix, length, present, too_large};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Nm {
    pub n: usize,
    pub m: usize,
}

impl Nm {
    /// Columns of group `g`.
    fn width(&self, cols: usize, g: usize) -> usize {
        self.m.min(cols - g * self.m)
    }
}

/// Position in a group as stored; `Layout::check` bounds M by 256.
fn byte(position: usize) -> u8 {
    u8::try_from(position).unwrap_or(u8::MAX)
}

impl Format for Nm {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("idx", ArrayKind::U8), ("values", ArrayKind::F32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        let groups = p.cols().div_ceil(self.m);
        // Without columns there are no bits, however many rows.
        let rows = if groups == 0 { 0 } else { p.rows() };
        for row in 0..rows {
            let bits = p.row(row);
            for g in 0..groups {
                let width = self.width(p.cols(), g);
                let kept = count(bits, g * self.m, g * self.m + width) as usize;
                if kept > self.n {
                    return Err(Refusal(format!("row {row}, group {g} keeps {kept} of {}", self.m)));
                }
                if kept == width && width < self.n {
                    return Err(Refusal(format!(
                        "row {row}, group {g} is short and keeps {kept} of {width}, so that padding has no place"
                    )));
                }
            }
        }
        let units = (p.rows() as u64).checked_mul(groups as u64).ok_or_else(too_large)?;
        let multiplies = units.checked_mul(self.n as u64).ok_or_else(too_large)?;
        let stored_bytes = multiplies.checked_mul(5).ok_or_else(too_large)?;
        let row_blocks = p.rows() as u64;
        let present = p.present();
        Ok(CostFacts { present, stored_bytes, multiplies, activation_loads: multiplies, row_blocks, units })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let size = m.rows() * m.cols().div_ceil(self.m) * self.n;
        let (mut idx, mut values) = (Vec::with_capacity(size), Vec::with_capacity(size));
        if m.cols() > 0 {
            for row in m.weights.chunks_exact(m.cols()) {
                for group in row.chunks(self.m) {
                    let before = idx.len();
                    for (position, w) in group.iter().enumerate().filter(|(_, w)| present(**w)) {
                        idx.push(byte(position));
                        values.push(*w);
                    }
                    let absent = group.iter().position(|w| !present(*w)).unwrap_or(0);
                    idx.resize(before + self.n, byte(absent));
                    values.resize(before + self.n, 0.0);
                }
            }
        }
        vec![Array::U8(idx), Array::F32(values)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (idx, values, groups) = (p.small("idx"), p.floats("values"), p.cols.div_ceil(self.m));
        length("idx", idx.len(), &[p.rows, groups, self.n])?;
        length("values", values.len(), &[idx.len()])?;
        for (i, (positions, weights)) in idx.chunks_exact(self.n).zip(values.chunks_exact(self.n)).enumerate() {
            let (row, g) = (i / groups, i % groups);
            let width = self.width(p.cols, g);
            let fault = |text: &str| Err(format!("row {row}, group {g}: {text}"));
            if positions.iter().any(|x| usize::from(*x) >= width) {
                return fault("a position is out of range");
            }
            let kept = weights.iter().take_while(|w| present(**w)).count();
            if weights[kept..].iter().any(|w| present(*w)) {
                return fault("padding stands before a weight");
            }
            if positions[..kept].windows(2).any(|w| w[0] >= w[1]) {
                return fault("positions do not ascend");
            }
            if positions[kept..].iter().any(|x| positions[..kept].binary_search(x).is_ok()) {
                return fault("padding takes the place of a weight");
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let first = (row * p.cols.div_ceil(self.m) + col / self.m) * self.n;
        let entries = p.small("idx")[first..first + self.n].iter().zip(&p.floats("values")[first..first + self.n]);
        let mut found = entries.filter(|(x, w)| usize::from(**x) == col % self.m && present(**w));
        found.next().map_or(0.0, |(_, w)| *w)
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        let groups = p.cols.div_ceil(self.m);
        for (i, (x, w)) in p.small("idx").iter().zip(p.floats("values")).enumerate().filter(|(_, (_, w))| present(**w))
        {
            let group = i / self.n;
            f(group / groups, group % groups * self.m + usize::from(*x), *w);
        }
    }
}
