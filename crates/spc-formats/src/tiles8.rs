//! The order in which kernels with tile registers want the entries of `i8(R)`.
//!
//! The stored blocks of a row block are cut into runs of [`RUN`], the last one filled up with blocks of zeros. The arrays become
//!
//! ```text
//! ptr u32[nb+1] (runs), idx u32[(runs+1)*16] (64 times the block column), codes i8[runs][R/16][16 rows][16 blocks][4]
//! ```
//!
//! so that [`RUN`] blocks of 16 rows are one tile, and what a block column stands for begins `idx` bytes after the first one's
//! where there are 16 tokens of four bytes. One run of zeros more in `idx` may be read ahead. `start` and `scale` stay.
use crate::format::{span, to_u32};
use crate::{Array, Packed};

/// Blocks of a run.
pub const RUN: usize = 16;

/// Rows of a tile.
const ROWS: usize = 16;

/// Bytes of the 16 tokens of a block column.
const COLUMN: u32 = 64;

pub(crate) fn arranged(p: &Packed, r: usize, name: &str) -> Option<Array> {
    let (ptr, idx, codes) = (p.words("ptr"), p.words("idx"), p.small("codes"));
    let row_blocks = ptr.len().saturating_sub(1);
    let runs = |b: usize| span(ptr, b).len().div_ceil(RUN);
    let all: usize = (0..row_blocks).map(runs).sum();
    match name {
        "ptr" => {
            let mut out = Vec::with_capacity(ptr.len());
            out.push(0);
            let mut at = 0;
            for b in 0..row_blocks {
                at += runs(b);
                out.push(to_u32(at));
            }
            Some(Array::U32(out))
        }
        "idx" => {
            let mut out = Vec::with_capacity((all + 1) * RUN);
            for b in 0..row_blocks {
                out.extend(span(ptr, b).map(|i| idx[i] * COLUMN));
                out.resize(out.len().next_multiple_of(RUN), 0);
            }
            out.resize(out.len() + RUN, 0);
            Some(Array::U32(out))
        }
        "codes" => {
            let mut out = vec![0u8; all * RUN * r * 4];
            let mut tiles = out.chunks_exact_mut(RUN * r * 4);
            for b in 0..row_blocks {
                let list: Vec<usize> = span(ptr, b).collect();
                for (run, to) in list.chunks(RUN).zip(&mut tiles) {
                    for (k, i) in run.iter().enumerate() {
                        for (row, four) in codes[i * r * 4..(i + 1) * r * 4].chunks_exact(4).enumerate() {
                            let at = (row / ROWS * ROWS * RUN + row % ROWS * RUN + k) * 4;
                            to[at..at + 4].copy_from_slice(four);
                        }
                    }
                }
            }
            Some(Array::U8(out))
        }
        _ => p.array(name).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocking, Layout, pack, validate};

    #[test]
    fn tiles_hold_each_code_once_in_its_place() {
        for (rows, cols, r) in [(16, 64, 16), (40, 300, 16), (70, 130, 32), (3, 5, 48), (33, 68, 32)] {
            // The last row block of the second and the middle of the third have nothing stored.
            let there = |o: usize, k: usize| !(k / 4 * 7 + o / r * 3).is_multiple_of(4) && o / r != 2;
            let code = |o: usize, k: usize| (o * 31 + k * 17) % 255;
            let w: Vec<f32> = (0..rows * cols)
                .map(|i| (i / cols, i % cols))
                .map(|(o, k)| if there(o, k) { if k < 4 { 127.0 } else { code(o, k) as f32 - 127.0 } } else { 0.0 })
                .collect();
            let p = validate(pack(&Layout::I8 { r: r as u32 }, rows, cols, &w).unwrap()).unwrap();
            let get = |name: &str| p.arranged(name, Blocking::plain(64, 1)).unwrap();
            let (Array::U32(ptr), Array::U32(idx), Array::U8(codes)) = (get("ptr"), get("idx"), get("codes")) else {
                panic!("the arrays have other types")
            };
            let runs = ptr[ptr.len() - 1] as usize;
            assert_eq!((idx.len(), codes.len()), ((runs + 1) * RUN, runs * RUN * r * 4));
            let mut found = vec![0.0f32; rows * cols];
            let scale = p.packed().floats("scale");
            for b in 0..ptr.len() - 1 {
                for run in span(&ptr, b) {
                    for (e, c) in codes[run * RUN * r * 4..][..RUN * r * 4].iter().enumerate().filter(|(_, c)| **c != 0)
                    {
                        let row = b * r + e / 1024 * ROWS + e % 1024 / 64;
                        let col = idx[run * RUN + e % 64 / 4] as usize / 64 * 4 + e % 4;
                        found[row * cols + col] += f32::from(*c as i8) * scale[row];
                    }
                }
            }
            let want: Vec<f32> = (0..rows * cols).map(|i| p.get(i / cols, i % cols).unwrap()).collect();
            assert_eq!(found, want);
        }
    }
}
