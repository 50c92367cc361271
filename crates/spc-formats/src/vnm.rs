//! `vnm(V,M)`: V rows share the choice of 4 of every M neighbouring columns, and each row keeps 2 of those 4 (V:2:M), in bf16
//! and the order of `mma24` over the chosen columns.
//!
//! ```text
//! idx u32[B][T][32] (columns), values u32[B][V/32][T][2][32][4], meta u32[B][V/32][T][32]
//! B = ceil(O/V), T = ceil(ceil(K/M)/8), V one of 32, 64, 128
//! ```
//!
//! Four neighbours of `idx` are the columns chosen of a group of M, ascending. A group with fewer than four columns, and what
//! follows the last group, is filled with K: no column, and zeros. Of a group whose rows need fewer than four, the rest are
//! columns in which none of the V rows has a weight.
use crate::format::{Format, Matrix, length, present, to_u32, too_large};
use crate::mma1::ascending_to;
use crate::mma24::{GROUP, TILE, pair, place, widen};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

pub(crate) struct Vnm {
    pub v: usize,
    pub m: usize,
}

impl Vnm {
    /// Tiles of 32 chosen columns in a row block.
    fn across(&self, cols: usize) -> usize {
        cols.div_ceil(self.m).div_ceil(TILE / GROUP)
    }

    /// The columns of a row block, four a group and `cols` where there is none. `union` are those with weights.
    fn columns(&self, cols: usize, union: &[u64]) -> Vec<usize> {
        let mut out = columns_of_groups(cols, self.m, union, |_| cols);
        out.resize(self.across(cols) * TILE, cols);
        out
    }

    /// Kept columns and weights of a group of a row, as stored.
    fn stored(&self, p: &Packed, row: usize, group: usize) -> [(usize, f32); 2] {
        let across = self.across(p.cols);
        let at = place(across, row, group);
        let (word, code) = (p.words("values")[at.value], p.words("meta")[at.code] >> at.shift);
        let first = row / self.v * across * TILE + group * GROUP;
        let column = |i: u32| p.words("idx")[first + (i & 3) as usize] as usize;
        [(column(code), widen(word & 0xffff)), (column(code >> 2), widen(word >> 16))]
    }
}

/// Four columns of each group of `m`, ascending: those with weights (the bits of `union`), then the first without. Where a
/// group has fewer, `filler` of its first column stands for the rest.
pub(crate) fn columns_of_groups(cols: usize, m: usize, union: &[u64], filler: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(cols.div_ceil(m) * GROUP);
    for first in (0..cols).step_by(m) {
        let group = first..(first + m).min(cols);
        let mut chosen: Vec<usize> = group.clone().filter(|c| count(union, *c, c + 1) > 0).take(GROUP).collect();
        let absent = group.filter(|c| count(union, *c, c + 1) == 0).take(GROUP - chosen.len());
        chosen.extend(absent);
        chosen.sort_unstable();
        chosen.resize(GROUP, filler(first));
        out.extend(chosen);
    }
    out
}

impl Format for Vnm {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("idx", ArrayKind::U32), ("values", ArrayKind::U32), ("meta", ArrayKind::U32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if !p.bf16() {
            return Err(Refusal("the weights are not all bf16 numbers".into()));
        }
        let (blocks, mut union) = (p.rows().div_ceil(self.v), Vec::new());
        for b in 0..if p.cols() == 0 { 0 } else { blocks } {
            let rows = b * self.v..((b + 1) * self.v).min(p.rows());
            p.union(rows.start, self.v, &mut union);
            for (g, first) in (0..p.cols()).step_by(self.m).enumerate() {
                let last = (first + self.m).min(p.cols());
                let chosen = count(&union, first, last);
                if chosen as usize > GROUP {
                    return Err(Refusal(format!("rows {rows:?}, group {g} use {chosen} of {} columns", self.m)));
                }
                for row in rows.clone() {
                    let kept = count(p.row(row), first, last);
                    if kept > 2 {
                        return Err(Refusal(format!("row {row}, group {g} keeps {kept} of {}", self.m)));
                    }
                }
            }
        }
        let across = self.across(p.cols()) as u64;
        let units = (blocks as u64 * (self.v / TILE) as u64).checked_mul(across).ok_or_else(too_large)?;
        let multiplies = units.checked_mul(512).ok_or_else(too_large)?;
        let columns = blocks as u64 * across * TILE as u64;
        let stored_bytes = units.checked_mul(1152).and_then(|n| n.checked_add(columns * 4)).ok_or_else(too_large)?;
        Ok(CostFacts {
            present: p.present(),
            stored_bytes,
            multiplies,
            activation_loads: multiplies,
            row_blocks: blocks as u64,
            units,
        })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (blocks, across) = (m.rows().div_ceil(self.v), self.across(m.cols()));
        let tiles = blocks * self.v / TILE * across;
        let (mut idx, mut values, mut meta) = (Vec::new(), vec![0u32; tiles * 256], vec![0u32; tiles * 32]);
        let mut union = Vec::new();
        for b in 0..blocks {
            m.pattern.union(b * self.v, self.v, &mut union);
            let columns = self.columns(m.cols(), &union);
            for row in b * self.v..(b + 1) * self.v {
                for (group, four) in columns.chunks(GROUP).enumerate() {
                    let [(i, x), (j, y)] = pair(std::array::from_fn(|c| m.at(row, four[c])));
                    let at = place(across, row, group);
                    values[at.value] = x.to_bits() >> 16 | (y.to_bits() & 0xffff_0000);
                    meta[at.code] |= ((i | j << 2) as u32) << at.shift;
                }
            }
            idx.extend(columns.into_iter().map(to_u32));
        }
        vec![Array::U32(idx), Array::U32(values), Array::U32(meta)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (blocks, across) = (p.rows.div_ceil(self.v), self.across(p.cols));
        let parts = self.v / TILE;
        length("idx", p.words("idx").len(), &[blocks, across, TILE])?;
        length("values", p.words("values").len(), &[blocks, parts, across, 256])?;
        length("meta", p.words("meta").len(), &[blocks, parts, across, 32])?;
        for (b, list) in p.words("idx").chunks(across.max(1) * TILE).enumerate() {
            ascending_to(list, p.cols).map_err(|e| format!("row block {b}: {e}"))?;
            for (g, four) in list.chunks(GROUP).enumerate() {
                let inside = |c: usize| c == p.cols || c / self.m == g;
                if let Some(c) = four.iter().find(|c| !inside(**c as usize)) {
                    return Err(format!("row block {b}: column {c} does not belong to group {g}"));
                }
            }
        }
        for row in 0..if across == 0 { 0 } else { blocks * self.v } {
            for group in 0..across * TILE / GROUP {
                let at = place(across, row, group);
                let code = p.words("meta")[at.code] >> at.shift;
                if code & 3 >= code >> 2 & 3 {
                    return Err(format!("row {row}, group {group}: positions do not ascend"));
                }
                let outside = |c: usize| row >= p.rows || c >= p.cols;
                if self.stored(p, row, group).into_iter().any(|(c, w)| present(w) && outside(c)) {
                    return Err("padding is not zero".into());
                }
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let pair = self.stored(p, row, col / self.m);
        pair.into_iter().find(|(c, w)| *c == col && present(*w)).map_or(0.0, |(_, w)| w)
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        for row in 0..p.rows {
            for group in 0..p.cols.div_ceil(self.m) {
                for (c, w) in self.stored(p, row, group).into_iter().filter(|(_, w)| present(*w)) {
                    f(row, c, w);
                }
            }
        }
    }
}
