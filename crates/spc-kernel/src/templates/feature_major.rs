//! The feature-major layout of activations.
//!
//! A value of `n` tokens and F features lies in tiles of [`TILE`] tokens, `[tile][F][TILE]`, so that what one pass of a
//! kernel reads is contiguous. The last tile is as narrow as its tokens allow in steps of [`TOKEN_PAD`]; its pad tokens
//! hold finite values or zeros and are no results.

/// Tokens of a whole tile: three vectors of 16 lanes.
pub const TILE: usize = 48;

/// Tokens are padded to a multiple of this.
pub const TOKEN_PAD: usize = 16;

/// Padded number of tokens of a value of `n` tokens. `None` when it does not fit.
pub fn padded_tokens(n: u64) -> Option<u64> {
    n.div_ceil(TOKEN_PAD as u64).checked_mul(TOKEN_PAD as u64)
}

/// Widths that the last tile may have, greatest first.
pub(super) fn remainders() -> impl Iterator<Item = usize> {
    (1..TILE / TOKEN_PAD).rev().map(|n| n * TOKEN_PAD)
}

/// Position of feature `f` of token `t` in a value of `features` features and `np` padded tokens, in elements.
pub fn position(t: usize, f: usize, features: usize, np: usize) -> usize {
    let first = t / TILE * TILE;
    let width = TILE.min(np - first);
    first * features + f * width + (t - first)
}
