//! The order in which kernels that work in blocks of columns want the entries of a layout.
//!
//! Entries are cut into segments: those of one row block whose column (for blocks, the first one) lies in one block of
//! columns. The segments are stored group of row blocks by group, within a group column block by column block, within
//! that row block by row block, so that a kernel which keeps the activations of a column block in cache reads its weights
//! in order. The arrays keep the form of the layout, with a segment in the place of a row block.
use crate::format::{span, to_u32};
use crate::{Array, Layout, Validated, tiles8};

/// Columns of a block, and row blocks of a group. Both are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocking {
    pub cols: u32,
    pub rows: u32,
}

impl Blocking {
    /// Blocks of columns of a matrix of `cols` columns; at least 1.
    pub fn col_blocks(&self, cols: usize) -> usize {
        cols.div_ceil(self.cols as usize).max(1)
    }

    /// The segments in order, as ranges of entries.
    fn segments(&self, ptr: &[u32], idx: &[u32], cols: usize) -> Vec<std::ops::Range<usize>> {
        let row_blocks = ptr.len().saturating_sub(1);
        let mut out = Vec::new();
        for first in (0..row_blocks).step_by(self.rows as usize) {
            let last = first.saturating_add(self.rows as usize).min(row_blocks);
            for col_block in 0..self.col_blocks(cols) {
                let from = col_block.saturating_mul(self.cols as usize);
                let to = from.saturating_add(self.cols as usize);
                for b in first..last {
                    let list = span(ptr, b);
                    let below =
                        |bound: usize| list.start + idx[list.clone()].partition_point(|i| (*i as usize) < bound);
                    out.push(below(from)..below(to));
                }
            }
        }
        out
    }
}

impl Validated {
    /// The array `name` with its entries in the order of `blocking`. Arrays of layouts without lists of columns are as they
    /// are; those of `i8(R)` are in [tiles](crate::tiles8), whatever the blocking. `None` for a name that the layout lacks.
    pub fn arranged(&self, name: &str, blocking: Blocking) -> Option<Array> {
        let p = self.packed();
        let array = p.array(name)?;
        if let Layout::I8 { r } = p.layout {
            return tiles8::arranged(p, r as usize, name);
        }
        if !matches!(p.layout, Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Csr) {
            return Some(array.clone());
        }
        let segments = blocking.segments(p.words("ptr"), p.words("idx"), p.cols);
        Some(match (name, array) {
            ("ptr", _) => {
                let ends = segments.iter().scan(0usize, |n, s| {
                    *n += s.len();
                    Some(to_u32(*n))
                });
                Array::U32(std::iter::once(0).chain(ends).collect())
            }
            (_, Array::U32(a)) => Array::U32(gather(a, &segments, a.len(), p.words("idx").len())),
            (_, Array::F32(a)) => Array::F32(gather(a, &segments, a.len(), p.words("idx").len())),
            (_, Array::U8(a)) => Array::U8(gather(a, &segments, a.len(), p.words("idx").len())),
        })
    }
}

/// The elements of `a`, `len / entries` for each entry, segment by segment.
fn gather<T: Copy>(a: &[T], segments: &[std::ops::Range<usize>], len: usize, entries: usize) -> Vec<T> {
    let width = len.checked_div(entries).unwrap_or(0);
    let mut out = Vec::with_capacity(len);
    for s in segments {
        out.extend_from_slice(&a[s.start * width..s.end * width]);
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
                let k = Blocking { cols: block, rows: group };
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
    fn layouts_without_lists_keep_their_order() {
        let w = weights(8, 8);
        let packed = validate(pack(&Layout::DENSE, 8, 8, &w).unwrap()).unwrap();
        let k = Blocking { cols: 2, rows: 1 };
        assert_eq!(packed.arranged("values", k).as_ref(), packed.packed().array("values"));
        assert_eq!(packed.arranged("ptr", k), None);
    }
}
