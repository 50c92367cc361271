//! Decoders with normalisation before each part, rotary positions and gated feed-forward.
use std.nn

/// One layer, each position reading itself and what lies before it. Touvron et al. 2023, arXiv 2302.13971.
fn llama_layer(
  x: float[B, T, D],
  p: {
    norm1: float[D], wq: float[(KV G C), D], wk: float[(KV C), D], wv: float[(KV C), D], wo: float[D, (KV G C)],
    norm2: float[D], gate: float[F, D], up: float[F, D], down: float[D, F],
  },
  rope: f32 = 10000, eps: f32 = 1e-5,
) -> y: float[B, T, D] {
  h = x + nn.gqa(nn.rmsnorm(x, p.norm1, eps: eps), p, rope: rope)
  y = h + nn.swiglu(nn.rmsnorm(h, p.norm2, eps: eps), p)
}
