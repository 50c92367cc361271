//! Grouped queries: a KV head leaves with its G query heads.
use std.nn
axis B = 1..4, T = 1..8
model net {
  axes { D = 6, KV = 2, G = 3, C = 4, O = 2 }
  wq: f32[(KV G C), D]  wk: f32[(KV C), D]  wv: f32[(KV C), D]  wo: f32[D, (KV G C)]
  last: f32[O, D]
}
fn f(x: f32[B, T, D]) -> y: f32[B, T, O] {
  q[b, t, kv, g, c] = net.wq[(kv g c), d] * x[b, t, d]
  k[b, t, kv, c]    = net.wk[(kv c), d] * x[b, t, d]
  v[b, t, kv, c]    = net.wv[(kv c), d] * x[b, t, d]
  a[b, kv, g, t, s] = q[b, t, kv, g, c] * k[b, s, kv, c] / sqrt(size(C))
  m                 = nn.softmax(a)
  u[b, t, kv, g, c] = m[b, kv, g, t, s] * v[b, s, kv, c]
  h[b, t, d]        = net.wo[d, (kv g c)] * u[b, t, kv, g, c]
  y                 = nn.linear(h + x, net.last)
}
