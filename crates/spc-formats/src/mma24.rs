//! `mma24`: 2:4 with bf16 weights, in the order in which the lanes of a warp feed sparse tensor cores (`mma.sp.m16n8k32`).
//!
//! ```text
//! values u32[B][T][2][32][4], meta u32[B][T][32];  B = ceil(O/32), T = ceil(K/32)
//! ```
//!
//! A tile is 32 rows by 32 columns, two halves of 16 rows. Word r of lane `4g + t` of half h holds the two kept weights, the
//! first in the low 16 bits, of row `16h + g + 8(r & 1)` in the columns `16(r >> 1) + 4t ..+ 4` of the tile. A kept pair has a
//! code of 4 bits: position of the first, then of the second, which is greater. Lane `4g + 2h + c` of `meta` holds the codes of
//! half h in columns `16c ..+ 16`: row g in bits 0..16, row g + 8 in bits 16..32, four bits for each group of four columns.
//! This is the fragment and metadata order of the PTX ISA for `mma.sp` with selector h; `wgmma.sp` takes the same words.
//!
//! Where a group has fewer than two present weights, the rest are zeros at positions that hold no weight. Rows and columns
//! past the last have zeros.
use crate::format::{Format, Matrix, length, present, too_large};
use crate::pattern::count;
use crate::{Array, ArrayKind, CostFacts, Packed, Pattern, Refusal};

/// Rows and columns of a tile.
pub(crate) const TILE: usize = 32;
/// Columns of a group, and how many of them are kept.
pub(crate) const GROUP: usize = 4;

pub(crate) struct Mma24;

/// Where the pair of a group lies: the word in `values`, and the word and shift of its code in `meta`.
pub(crate) struct Place {
    pub value: usize,
    pub code: usize,
    pub shift: usize,
}

/// The place of row `row` and columns `4 * group ..+ 4` of a matrix of `tiles` tiles across.
pub(crate) fn place(tiles: usize, row: usize, group: usize) -> Place {
    let (half, low, g) = (row % 32 / 16, row % 16 / 8, row % 8);
    let (column, q) = (group % 8 / 4, group % 4);
    let tile = row / TILE * tiles + group / 8;
    Place {
        value: ((tile * 2 + half) * 32 + 4 * g + q) * 4 + low + 2 * column,
        code: tile * 32 + 4 * g + 2 * half + column,
        shift: 16 * low + 4 * q,
    }
}

/// The two positions and weights of a group: present ones, then absent positions with zeros, by ascending position.
pub(crate) fn pair(group: [f32; GROUP]) -> [(usize, f32); 2] {
    let mut chosen: Vec<usize> = (0..GROUP).filter(|i| present(group[*i])).take(2).collect();
    let absent = (0..GROUP).filter(|i| !present(group[*i])).take(2 - chosen.len());
    chosen.extend(absent);
    chosen.sort_unstable();
    let at = |i: usize| chosen.get(i).copied().unwrap_or(i);
    let value = |i: usize| if present(group[i]) { group[i] } else { 0.0 };
    [(at(0), value(at(0))), (at(1), value(at(1)))]
}

pub(crate) fn widen(half: u32) -> f32 {
    f32::from_bits(half << 16)
}

fn tiles(rows: usize, cols: usize) -> (usize, usize) {
    (rows.div_ceil(TILE), cols.div_ceil(TILE))
}

impl Mma24 {
    /// Kept positions and weights of a group, as stored.
    fn stored(p: &Packed, row: usize, group: usize) -> [(usize, f32); 2] {
        let at = place(p.cols.div_ceil(TILE), row, group);
        let (word, code) = (p.words("values")[at.value], p.words("meta")[at.code] >> at.shift);
        [((code & 3) as usize, widen(word & 0xffff)), ((code >> 2 & 3) as usize, widen(word >> 16))]
    }
}

impl Format for Mma24 {
    fn schema(&self) -> &'static [(&'static str, ArrayKind)] {
        &[("values", ArrayKind::U32), ("meta", ArrayKind::U32)]
    }

    fn stats(&self, p: &Pattern) -> Result<CostFacts, Refusal> {
        if !p.bf16() {
            return Err(Refusal("the weights are not all bf16 numbers".into()));
        }
        let groups = p.cols().div_ceil(GROUP);
        let rows = if groups == 0 { 0 } else { p.rows() };
        for row in 0..rows {
            let bits = p.row(row);
            for g in 0..groups {
                let kept = count(bits, g * GROUP, (g * GROUP + GROUP).min(p.cols()));
                if kept > 2 {
                    return Err(Refusal(format!("row {row}, group {g} keeps {kept} of {GROUP}")));
                }
            }
        }
        let (down, across) = tiles(p.rows(), p.cols());
        let units = (down as u64).checked_mul(across as u64).ok_or_else(too_large)?;
        // A tile is 1024 bytes of values and 128 of codes, and multiplies 512 kept weights.
        let stored_bytes = units.checked_mul(1152).ok_or_else(too_large)?;
        let multiplies = units.checked_mul(512).ok_or_else(too_large)?;
        Ok(CostFacts {
            present: p.present(),
            stored_bytes,
            multiplies,
            activation_loads: multiplies,
            row_blocks: down as u64,
            units,
        })
    }

    fn pack(&self, m: &Matrix<'_>) -> Vec<Array> {
        let (down, across) = tiles(m.rows(), m.cols());
        let (mut values, mut meta) = (vec![0u32; down * across * 256], vec![0u32; down * across * 32]);
        for row in 0..down * TILE {
            for group in 0..across * TILE / GROUP {
                let first = group * GROUP;
                let [(i, a), (j, b)] = pair(std::array::from_fn(|c| m.at(row, first + c)));
                let at = place(across, row, group);
                values[at.value] = a.to_bits() >> 16 | (b.to_bits() & 0xffff_0000);
                meta[at.code] |= ((i | j << 2) as u32) << at.shift;
            }
        }
        vec![Array::U32(values), Array::U32(meta)]
    }

    fn validate(&self, p: &Packed) -> Result<(), String> {
        let (down, across) = tiles(p.rows, p.cols);
        length("values", p.words("values").len(), &[down, across, 256])?;
        length("meta", p.words("meta").len(), &[down, across, 32])?;
        for row in 0..down * TILE {
            for group in 0..across * TILE / GROUP {
                let [(i, a), (j, b)] = Mma24::stored(p, row, group);
                if i >= j {
                    return Err(format!("row {row}, group {group}: positions do not ascend"));
                }
                let inside = |c: usize| row < p.rows && group * GROUP + c < p.cols;
                if (present(a) && !inside(i)) || (present(b) && !inside(j)) {
                    return Err("padding is not zero".into());
                }
            }
        }
        Ok(())
    }

    fn get(&self, p: &Packed, row: usize, col: usize) -> f32 {
        let pair = Mma24::stored(p, row, col / GROUP);
        pair.into_iter().find(|(c, w)| *c == col % GROUP && present(*w)).map_or(0.0, |(_, w)| w)
    }

    fn for_each(&self, p: &Packed, f: &mut dyn FnMut(usize, usize, f32)) {
        for row in 0..p.rows {
            for group in 0..p.cols.div_ceil(GROUP) {
                for (c, w) in Mma24::stored(p, row, group).into_iter().filter(|(_, w)| present(*w)) {
                    f(row, group * GROUP + c, w);
                }
            }
        }
    }
}
