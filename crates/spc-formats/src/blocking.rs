//! The order in which kernels that work in blocks of columns want the entries of a layout.
//!
//! Entries are cut into segments: those of one row block whose column (for blocks, the first one) lies in one block of
//! columns. The segments are stored group of row blocks by group, within a group column block by column block, within
//! that row block by row block, so that a kernel which keeps the activations of a column block in cache reads its weights
//! in order. The arrays keep the form of the layout, with a segment in the place of a row block.
use crate::format::{span, to_u32};
use crate::{Array, Layout, Validated, tiles8};

/// Columns of a block, and row blocks of a group. Both are at least 1.
///
/// With a `unit`, which divides `rows` or all row blocks are one group, the segments of each so many neighbouring row blocks
/// come in the order of their lengths, the lower row block first among equals and a short last row block after all others:
/// loops over neighbouring segments run equally often. `idx` then has 16 bits for each number, and before the entries of each
/// segment the number of its row block in the unit; an entry is 64 times its column, counted from the block's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocking {
    pub cols: u32,
    pub rows: u32,
    /// 0 for the order of rows and indices of 32 bits.
    pub unit: u32,
}

/// One row block's entries in one block of columns.
struct Segment {
    /// The first column of the block.
    first: usize,
    row_block: usize,
    entries: std::ops::Range<usize>,
}

impl Blocking {
    /// The most columns of a block with a unit: 64 times the last of them fits 16 bits.
    pub const MOST_COLS: u32 = 1 << 10;

    /// What a number in `idx` is multiplied by, with a unit.
    pub const STEP: usize = 64;

    /// In the order of rows.
    pub const fn plain(cols: u32, rows: u32) -> Blocking {
        Blocking { cols, rows, unit: 0 }
    }

    /// Blocks of columns of a matrix of `cols` columns; at least 1.
    pub fn col_blocks(&self, cols: usize) -> usize {
        cols.div_ceil(self.cols as usize).max(1)
    }

    /// The segments in order. `short` says that the last row block has fewer rows than the others.
    fn segments(&self, ptr: &[u32], idx: &[u32], cols: usize, short: bool) -> Vec<Segment> {
        let row_blocks = ptr.len().saturating_sub(1);
        let unit = if self.unit == 0 { 1 } else { self.unit as usize };
        let mut out: Vec<Segment> = Vec::new();
        for first in (0..row_blocks).step_by(self.rows as usize) {
            let last = first.saturating_add(self.rows as usize).min(row_blocks);
            for col_block in 0..self.col_blocks(cols) {
                let from = col_block.saturating_mul(self.cols as usize);
                let to = from.saturating_add(self.cols as usize);
                for begin in (first..last).step_by(unit) {
                    let end = begin.saturating_add(unit).min(last);
                    let start = out.len();
                    out.extend((begin..end).map(|row_block| {
                        let list = span(ptr, row_block);
                        let below =
                            |bound: usize| list.start + idx[list.clone()].partition_point(|i| (*i as usize) < bound);
                        Segment { first: from, row_block, entries: below(from)..below(to) }
                    }));
                    out[start..].sort_by_key(|s| (short && s.row_block + 1 == row_blocks, s.entries.len()));
                }
            }
        }
        out
    }

    /// `idx` with 16 bits for each number. `None` where a number does not fit.
    fn short_indices(&self, idx: &[u32], segments: &[Segment]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(2 * (idx.len() + segments.len()));
        for s in segments {
            let head = s.row_block.checked_rem(self.unit as usize)?;
            let entries = idx[s.entries.clone()].iter().map(|i| (*i as usize - s.first) * Blocking::STEP);
            for n in std::iter::once(head).chain(entries) {
                out.extend_from_slice(&u16::try_from(n).ok()?.to_le_bytes());
            }
        }
        Some(out)
    }
}

impl Validated {
    /// The array `name` with its entries in the order of `blocking`. Arrays of layouts without lists of columns are as they
    /// are; those of `i8(R)` are in [tiles](crate::tiles8), whatever the blocking. `None` for a name that the layout lacks, and
    /// for indices that do not fit 16 bits.
    pub fn arranged(&self, name: &str, blocking: Blocking) -> Option<Array> {
        let p = self.packed();
        let array = p.array(name)?;
        if let Layout::I8 { r } = p.layout {
            return tiles8::arranged(p, r as usize, name);
        }
        if !matches!(p.layout, Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr) {
            return Some(array.clone());
        }
        let height = match p.layout {
            Layout::Vx1 { v } => v as usize,
            Layout::Bsr { r, .. } => r as usize,
            _ => 1,
        };
        let short = !p.rows.is_multiple_of(height);
        let segments = blocking.segments(p.words("ptr"), p.words("idx"), p.cols, short);
        Some(match (name, array) {
            ("ptr", _) => {
                let ends = segments.iter().scan(0usize, |n, s| {
                    *n += s.entries.len();
                    Some(to_u32(*n))
                });
                Array::U32(std::iter::once(0).chain(ends).collect())
            }
            ("idx", Array::U32(a)) if blocking.unit > 0 => Array::U8(blocking.short_indices(a, &segments)?),
            (_, Array::U32(a)) => Array::U32(gather(a, &segments, a.len(), p.words("idx").len())),
            (_, Array::F32(a)) => Array::F32(gather(a, &segments, a.len(), p.words("idx").len())),
            (_, Array::U8(a)) => Array::U8(gather(a, &segments, a.len(), p.words("idx").len())),
        })
    }
}

/// The elements of `a`, `len / entries` for each entry, segment by segment.
fn gather<T: Copy>(a: &[T], segments: &[Segment], len: usize, entries: usize) -> Vec<T> {
    let width = len.checked_div(entries).unwrap_or(0);
    let mut out = Vec::with_capacity(len);
    for s in segments {
        out.extend_from_slice(&a[s.entries.start * width..s.entries.end * width]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{pack, validate};

    /// A matrix with three of four weights, all different.
    fn weights(rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| if (i / 3 + i) % 4 == 0 { 0.0 } else { 1.0 + i as f32 }).collect()
    }

    #[test]
    fn segments_hold_each_entry_once_in_its_block() {
        let (rows, cols) = (11, 13);
        let w = weights(rows, cols);
        for layout in [Layout::Csr, Layout::Vx1 { v: 2 }, Layout::Vx1 { v: 3 }] {
            let height = if let Layout::Vx1 { v } = layout { v as usize } else { 1 };
            let packed = validate(pack(&layout, rows, cols, &w).unwrap()).unwrap();
            for (block, group) in [(1u32, 1u32), (4, 2), (5, 100), (13, 3), (100, u32::MAX)] {
                let k = Blocking::plain(block, group);
                let get = |name: &str| packed.arranged(name, k).unwrap();
                let (Array::U32(ptr), Array::U32(idx), Array::F32(values)) = (get("ptr"), get("idx"), get("values"))
                else {
                    panic!("the arrays have other types")
                };
                let blocks = rows.div_ceil(height);
                let mut segment = 0;
                let mut found = vec![0.0f32; rows * cols];
                for first in (0..blocks).step_by(group as usize) {
                    for slab in 0..k.col_blocks(cols) {
                        for b in first..blocks.min(first.saturating_add(group as usize)) {
                            let list = span(&ptr, segment);
                            assert!(idx[list.clone()].windows(2).all(|w| w[0] < w[1]));
                            for i in list {
                                let col = idx[i] as usize;
                                assert_eq!(col / block as usize, slab, "{layout} {k:?}");
                                for r in (b * height)..(b * height + height).min(rows) {
                                    found[r * cols + col] += values[i * height + r - b * height];
                                }
                            }
                            segment += 1;
                        }
                    }
                }
                assert_eq!((segment + 1, found), (ptr.len(), w.clone()), "{layout} {k:?}");
            }
        }
    }

    #[test]
    fn segments_of_a_unit_ascend_in_length_and_name_their_rows() {
        let (rows, cols) = (23, 13);
        let w = weights(rows, cols);
        for (layout, height) in [(Layout::Csr, 1), (Layout::Vx1 { v: 2 }, 2)] {
            let packed = validate(pack(&layout, rows, cols, &w).unwrap()).unwrap();
            for (block, group, unit) in [(1u32, 4u32, 4u32), (5, 8, 4), (13, u32::MAX, 8), (5, 3, 1)] {
                let k = Blocking { cols: block, rows: group, unit };
                let get = |name: &str| packed.arranged(name, k).unwrap();
                let (Array::U32(ptr), Array::U8(idx), Array::F32(values)) = (get("ptr"), get("idx"), get("values"))
                else {
                    panic!("the arrays have other types")
                };
                let word = |i: usize| usize::from(u16::from_le_bytes([idx[2 * i], idx[2 * i + 1]]));
                let blocks = rows.div_ceil(height);
                let (mut segment, mut found) = (0, vec![0.0f32; rows * cols]);
                for first in (0..blocks).step_by(group as usize) {
                    let last = blocks.min(first.saturating_add(group as usize));
                    for slab in 0..k.col_blocks(cols) {
                        for begin in (first..last).step_by(unit as usize) {
                            let here = (begin + unit as usize).min(last) - begin;
                            let (mut lengths, mut seen) = (Vec::new(), Vec::new());
                            for _ in 0..here {
                                let list = span(&ptr, segment);
                                let row_block = begin + word(list.start + segment);
                                for i in list.clone() {
                                    let col = slab * block as usize + word(i + segment + 1) / Blocking::STEP;
                                    for r in (row_block * height..row_block * height + height).filter(|r| *r < rows) {
                                        found[r * cols + col] += values[i * height + r - row_block * height];
                                    }
                                }
                                seen.push(row_block);
                                lengths.extend(((row_block + 1) * height <= rows).then_some(list.len()));
                                segment += 1;
                            }
                            assert!(lengths.is_sorted(), "{layout} {k:?} {lengths:?}");
                            let short = !rows.is_multiple_of(height) && begin + here == blocks;
                            assert!(!short || seen.last() == Some(&(blocks - 1)), "{layout} {k:?} {seen:?}");
                            seen.sort_unstable();
                            assert!(seen.into_iter().eq(begin..begin + here));
                        }
                    }
                }
                assert_eq!((segment + 1, found), (ptr.len(), w.clone()), "{layout} {k:?}");
            }
        }
        // Numbers of more than 16 bits are refused.
        let w = vec![1.0f32; Blocking::MOST_COLS as usize + 1];
        let packed = validate(pack(&Layout::Csr, 1, w.len(), &w).unwrap()).unwrap();
        for (cols, fits) in [(Blocking::MOST_COLS, true), (Blocking::MOST_COLS + 1, false)] {
            assert_eq!(packed.arranged("idx", Blocking { cols, rows: 1, unit: 1 }).is_some(), fits);
        }
    }

    #[test]
    fn layouts_without_lists_keep_their_order() {
        let w = weights(8, 8);
        let packed = validate(pack(&Layout::DENSE, 8, 8, &w).unwrap()).unwrap();
        let k = Blocking::plain(2, 1);
        assert_eq!(packed.arranged("values", k).as_ref(), packed.packed().array("values"));
        assert_eq!(packed.arranged("ptr", k), None);
    }
}
