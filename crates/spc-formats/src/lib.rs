//! Storage layouts of weight matrices: one file a layout, each with the same functions: stats, pack, validate, get and
//! iterate (`unpack` is the iteration written into zeros).
//!
//! A weight matrix is row-major `[rows, cols]` = `[O, K]` (outputs, inputs) of `f32`. A weight that equals zero (of
//! either sign) is *absent*; every other one, NaN and infinities included, is *present* and survives packing bit for
//! bit. Sparse layouts may store zeros of their own (fill inside a block, padding), but never so that such a zero meets
//! the activation of a present weight: `0 * inf` would then spoil a sum that no absent weight touches. Matrices for which
//! a layout cannot promise this are refused.
//!
//! ```text
//! dense(P)  values[ceil(O/P)][K][P]; rows padded with zeros
//! vx1(V)    ptr u32[nb+1], idx u32[n] (column), values f32[n][V]; nb = ceil(O/V), last block padded with zeros
//! bsr(R,C)  ptr u32[nb+1], idx u32[n] (first column), values f32[n][C][R]; a partial last block column starts at K-C
//! nm(N,M)   idx u8[O][G][N] (position inside the group), values f32[O][G][N]; G = ceil(K/M)
//! i8(R)     ptr u32[nb+1], idx u32[n] (4 inputs each), codes i8[n][R][4], start i32[nb*R], scale f32[nb*R]
//! i8nm(N,M) idx u32[nb][W][16] (positions), codes i8[nb][S][16][4], start i32[nb*16], scale f32[nb*16]; nb = ceil(O/16)
//! i8csr(C)  ptr u32[nb+1], idx u32[n] (first of 64 inputs), places u8[n][C/4][16][4], codes i8[n][C/4][16][4], start, scale
//! i4nm(N,M,G,S) idx u32[nb][W][16], codes u8[nb][C][16][4] (two each), scale [nb][ceil(K/G)][16]; nb = ceil(O/16)
//! mma24     values u32[B][T][2][32][4], meta u32[B][T][32]: 2:4 in bf16 for tensor cores; B = ceil(O/32), T = ceil(K/32)
//! mma32(R)  ptr u32[B+1], idx u32[n], values u32[n][R/16][2][32][4]: blocks of R x 32 in bf16; B = ceil(O/R)
//! mma1(R)   ptr u32[B+1], idx u32[n][32], values as mma32: columns of R rows, 32 gathered to a block; B = ceil(O/R)
//! vnm(V,M)  idx u32[B][T][32], values and meta as mma24 over the columns that V rows share, 4 of each M; T = ceil(ceil(K/M)/8)
//! csr       ptr u32[O+1], idx u32[nnz], values f32[nnz]
//! nm16(N,M) idx u32[nb][W][16] (positions in 2 or 4 bits), values f32[nb][G][N][16]; nb = ceil(O/16)
//! csr16     ptr u32[O+1], idx u8[n][2] (column), values f32[n]; rows padded to multiples of 16
//! vnm16(V,M) idx u8[P][T][16][2] (columns), pick u8[nb][T][16][2], values f32[nb][G][2][16]: as vnm, in f32; nb = P V/16, T = ceil(G/4)
//! bitmap    ptr u32[nb+1], mask u8[nb][K][2] (a bit a row), values f32[n+16]; nb = ceil(O/16)
//! dense_bf16(P), dense_f16(P), vx1_.., bsr_.., nm16_..: as above with values u8[..][2], a 16-bit number each
//! q4(G,S)   codes u8[O][U][B], scale [O][U*P], levels f32[16]: groups of G codes, P of them in a unit of B bytes
//! kept4(G,S) ptr u32[O+1], skip u8[n*P], codes u8[n][B], scale [n*P], levels f32[16]; q8, kept8 without levels
//! ```
//!
//! [`Packed`] is raw data and may come from an untrusted file; [`validate`] turns it into [`Validated`], the only form
//! with which a kernel may be fed. Nothing here panics or overflows on any input.

mod bitmap;
mod blocking;
mod blocks8;
mod bsr;
mod candidates;
mod codes8;
mod csr;
mod csr16;
mod dense;
mod facts;
mod format;
mod grid;
mod groups;
mod half;
mod layout;
mod mma1;
mod mma24;
mod mma32;
mod nm;
mod nm16;
mod nm4;
mod nm8;
mod packed;
mod pattern;
mod pick8;
mod stack;
pub mod tiles8;
mod vnm;
mod vnm16;
mod vx1;

pub use blocking::Blocking;
pub use candidates::{DEFAULT_CANDIDATES, QUANTIZED_CANDIDATES, candidates};
pub use facts::CostFacts;
pub use grid::Grid;
pub use groups::Units;
pub use half::{Form, Wide};
pub use layout::{ArrayKind, Layout};
pub use nm8::Steps;
pub use nm16::Fields;
pub use packed::{Array, Packed, Validated, pack, validate};
pub use pattern::Pattern;

/// Why a layout cannot hold a matrix, in words for a person: "row 3, group 2 keeps 3 of 4".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Refusal(pub String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Cost facts of `weights` (`[rows, cols]`, row-major) in `layout`, without packing.
///
/// # Errors
/// The refusal that [`pack`] would give.
pub fn stats(layout: &Layout, rows: usize, cols: usize, weights: &[f32]) -> Result<CostFacts, Refusal> {
    Pattern::new(rows, cols, weights)?.stats(layout)
}
