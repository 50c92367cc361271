//! Head-specific block patterns for diffusion language models, computed once and reused by all later steps.
//! SparseD, Wang et al. 2025, arXiv 2509.24014.
use std.nn

/// Softmax probabilities over one region of keys only; 0 everywhere where the region is empty.
fn region_softmax(q: float[B, H, T, C], k: float[B, H, S, C], region: mask(S)) -> p: f32[B, H, T, S] {
  a[b, h, t, s] = if region(s) { q[b, h, t, c] * k[b, h, s, c] / sqrt(size(C)) } else { -inf }
  m[b, h, t]    = max(a[b, h, t, s] over s)
  e[b, h, t, s] = if m[b, h, t] == -inf { 0 } else { exp(a[b, h, t, s] - m[b, h, t]) }
  z[b, h, t]    = sum(e[b, h, t, s] over s)
  p[b, h, t, s] = if z[b, h, t] == 0 { 0 } else { e[b, h, t, s] / z[b, h, t] }
}

/// Sums over blocks of keys.
fn key_blocks(p: float[B, H, T, S], block: int) -> y: f32[B, H, T, Sb] where Sb = (S + block - 1) / block {
  y[b, h, t, sb] = sum(p[b, h, t, s] over s where int(s) / block == int(sb))
}

/// Sums over blocks of queries.
fn query_blocks(p: float[B, H, T, J], block: int) -> y: f32[B, H, Tb, J] where Tb = (T + block - 1) / block {
  y[b, h, tb, j] = sum(p[b, h, t, j] over t where int(t) / block == int(tb))
}

/// Which keys a block of queries reads: a share of the blocks of the prompt and a share of the blocks after it, chosen apart
/// by mean probability, so that neither starves the other.
fn block_pattern(
  q: float[B, H, T, C], k: float[B, H, S, C], prompt: i32, density: pct = 30%, block: int = 128,
) -> r: relation[B, H, T, S] {
  before = query_blocks(key_blocks(region_softmax(q, k, (s) => int(s) < prompt), block), block)
  after  = query_blocks(key_blocks(region_softmax(q, k, (s) => int(s) >= prompt), block), block)
  far    = select(keep density of tile(S: block) per (B, H, tile(T: block)) by before)
  near   = select(keep density of tile(S: block) per (B, H, tile(T: block)) by after)
  r      = near || far
}

/// Attention with a pattern that an earlier step computed.
fn attend_pattern(
  q: float[B, H, T, C], k: float[B, H, S, C], v: float[B, H, S, C], r: relation[B, H, T, S],
) -> o: float[B, H, T, C] {
  o = nn.attend(q, k, v, within: r).o
}

/// One denoising step, `now` counting from 1. Full attention for the first `skip` of the `steps` and in the one after them,
/// which computes the pattern; all later steps read it. The pattern is a state `r`: it belongs to the caller.
fn sparsed(
  q: float[B, H, T, C], k: float[B, H, S, C], v: float[B, H, S, C],
  now: i32, prompt: i32, steps: int, skip: pct = 20%, density: pct = 30%, block: int = 128,
) -> o: float[B, H, T, C] {
  first   = floor(steps * skip) + 1
  state r = block_pattern(q, k, prompt, density: density, block: block) when now == first
  o       = if now <= first { nn.attend(q, k, v).o } else { nn.attend(q, k, v, within: r).o }
}
