//! Rotary positions, and attention with grouped queries.

/// The angle of channel c of C = 2 * half at position t.
fn angle(t, c, half, base) = t * exp(-log(base) * (if c < half { c } else { c - half }) / half)

/// Turns each pair of channels by an angle that grows with the position. `start` is the position of the first query. Channel
/// c goes with channel c + C/2, the layout of rotated halves; C is even. Su et al. 2021, arXiv 2104.09864.
fn rotate(x: float[.., T, C], base: f32 = 10000, start: i32 = 0) -> y: float[.., T, C] {
  half = size(C) / 2
  y[.., t, c] = x[.., t, c] * cos(angle(float(int(t) + start), float(int(c)), half, base))
    + (if int(c) < half { -1 } else { 1 })
    * x[.., t, if int(c) < half { int(c) + half } else { int(c) - half }]
    * sin(angle(float(int(t) + start), float(int(c)), half, base))
}

/// Grouped-query attention with rotary positions, each query reading itself and what lies before it: `KV` heads, `G`
/// queries on each. With a cache the keys and values in it come first, at positions from 0.
/// Ainslie et al. 2023, arXiv 2305.13245.
fn gqa(
  x: float[B, T, D],
  p: { wq: float[(KV G C), D], wk: float[(KV C), D], wv: float[(KV C), D], wo: float[D, (KV G C)] },
  rope: f32 = 10000, allow: mask(T, S) = causal, cache: cache[B, KV, P, C] = empty(),
) -> y: float[B, T, D] {
  q[b, kv, g, t, c] = p.wq[(kv g c), d] * x[b, t, d]
  k[b, kv, t, c]    = p.wk[(kv c), d] * x[b, t, d]
  v[b, kv, t, c]    = p.wv[(kv c), d] * x[b, t, d]
  past              = append(cache, k: rotate(k, base: rope, start: cache.len), v: v)
  turned            = rotate(q, base: rope, start: cache.len)
  o                 = attend(turned, past.k, past.v, allow: (t, s) => allow(t + cache.len, s)).o
  y[b, t, d]        = p.wo[d, (kv g c)] * o[b, kv, g, t, c]
}
