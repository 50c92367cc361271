//! Tokens that received much attention so far, and the latest ones. Heavy hitters (H2O), Zhang et al. 2023.
use std.nn

/// One decoding step. `received` is the attention that each token of the cache received in earlier steps; the caller adds up
/// what this step returns. Nothing is evicted: a token that is not chosen now may be chosen later.
fn attend_heavy(
  q: float[B, KV, G, C], past: cache[B, KV, S, C], received: float[B, KV, S], tokens: amount = 20%, recent: int = 16,
) -> (o: float[B, KV, G, C], seen: f32[B, KV, S]) {
  heavy = select(keep tokens of slices(S) per (B, KV) by received always last recent)
  a[b, kv, g, s] = if heavy[b, kv, s] { q[b, kv, g, c] * past.k[b, kv, s, c] / sqrt(size(C)) } else { -inf }
  m[b, kv, g, s] = exp(a[b, kv, g, s] - logsumexp(a[b, kv, g, s] over s))
  o[b, kv, g, c] = m[b, kv, g, s] * past.v[b, kv, s, c]
  seen[b, kv, s] = sum(m[b, kv, g, s] over g)
}
