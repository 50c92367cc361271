//! Encoders with normalisation after each part.
use std.nn

/// One layer. `keys` says which positions are real. Devlin et al. 2018, arXiv 1810.04805.
fn bert_layer(
  x: float[B, T, D],
  p: {
    wq: float[(H C), D], bq: float[(H C)] = 0, wk: float[(H C), D], bk: float[(H C)] = 0,
    wv: float[(H C), D], bv: float[(H C)] = 0, wo: float[D, (H C)], bo: float[D] = 0,
    norm1: float[D], shift1: float[D] = 0, up: float[F, D], bu: float[F] = 0, down: float[D, F], bd: float[D] = 0,
    norm2: float[D], shift2: float[D] = 0,
  },
  keys: bool[B, T] = true, eps: f32 = 1e-12,
) -> y: float[B, T, D] {
  h = nn.layernorm(x + nn.attention(x, p, keys: keys), p.norm1, p.shift1, eps: eps)
  f = nn.linear(nn.gelu(nn.linear(h, p.up, p.bu)), p.down, p.bd)
  y = nn.layernorm(h + f, p.norm2, p.shift2, eps: eps)
}
