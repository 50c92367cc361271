//! NSA (inference card 4a): three attentions, separately normalised, gated and summed. Window 8, stride 4, blocks of 16.

use std.nn

axis B = 1..4, T = 1..256, S = 16..256

model attn {
  axes { D = 32, KV = 2, G = 2, C = 16, X = 16, R = 8, E = 3, M = 4, O = 2 }
  gate: f32[E, D]        = glorot()
  ck:   f32[KV, R, X, C] = glorot()
  cv:   f32[KV, R, X, C] = glorot()
  pe:   f32[R, X]        = normal(std: 0.02)
}

/// Windows of 8 raw keys, one every 4, mapped by a matrix for each KV head.
fn compress(k: f32[B, KV, S, C], w: f32[KV, R, X, C], pe: f32[R, X]) -> y: f32[B, KV, I, C] where I = (S - 8) / 4 + 1 {
  bias[kv, c] = w[kv, r, x, c] * pe[r, x]
  y[b, kv, i, c] = w[kv, r, x, c] * k[b, kv, 4 * i + r, x + 0] + bias[kv, c]
}

/// A block is scored by the windows that touch it (weights 1, 2, 2, 2, 1), summed over the query heads of its KV head.
fn pool(p: f32[B, KV, G, T, I]) -> y: f32[B, T, KV, J] where J = (I + 1) / 4 {
  y[b, t, kv, j] = sum(p[b, kv, g, t, 4 * j + m + o - 1] over g in G, m in M, o in O)
}

fn read(u: f32[B, T, D], q: f32[B, KV, G, T, C], k: f32[B, KV, S, C], v: f32[B, KV, S, C]) -> o: f32[B, KV, G, T, C] where J = S / 16 {
  kc = compress(k, attn.ck, attn.pe)
  vc = compress(v, attn.cv, 0 * attn.pe)
  logit[b, kv, g, t, i] = q[b, kv, g, t, c] * kc[b, kv, i, c] / 4
  e[b, kv, g, t, i] = exp(logit[b, kv, g, t, i]) * (4 * int(i) + 7 <= int(t))
  z[b, kv, g, t] = sum(e[b, kv, g, t, i] over i)
  p[b, kv, g, t, i] = if z[b, kv, g, t] > 0 { e[b, kv, g, t, i] / z[b, kv, g, t] } else { 0 }
  ocmp[b, kv, g, t, c] = p[b, kv, g, t, i] * vc[b, kv, i, c]
  found = pool(p)
  worth[b, t, kv, j] = if int(j) == 0 || 16 * int(j) <= int(t) && int(t) < 16 * int(j) + 32 { inf }
    else { found[b, t, kv, j] }
  near = select(keep 4 of slices(J) per (B, T, KV) by worth)
  oslc = nn.attend(q, k, v, allow: (t, s) => s <= t && near[b, t, kv, s / 16]).o
  owin = nn.attend(q, k, v, allow: (t, s) => nn.local(t, s, 33)).o
  s = nn.sigmoid(nn.linear(u, attn.gate))
  o[b, kv, g, t, c] = s[b, t, 0] * ocmp[b, kv, g, t, c] + s[b, t, 1] * oslc[b, kv, g, t, c]
    + s[b, t, 2] * owin[b, kv, g, t, c]
}
