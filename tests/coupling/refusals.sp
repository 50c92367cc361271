//! What operators do to an axis when a zero slice still counts.
use std.nn
axis B = 1..8, T = 1..8
model net {
  axes { V = 9, D = 4, E = 3, F = 5, P = 8, O = 2 }
  word: f32[V, D]  place: f32[P, D]  up: f32[F, D]  gate: f32[E, D]  expert: f32[E, D]  out: f32[O, D]
}
fn softmax_and_max(ids: i32[B, T]) -> y: f32[B, T, O] {
  x[b, t, d] = net.word[ids[b, t], d] + net.place[int(t), d]
  p          = nn.softmax(nn.linear(x, net.gate))
  h[b, t, d] = p[b, t, e] * net.expert[e, d]
  m[b, t]    = max(net.up[f, d] * x[b, t, d] over f)
  y[b, t, o] = net.out[o, d] * h[b, t, d] + m[b, t]
}
fn sums(x: f32[B, D]) -> y: f32[B] {
  h    = nn.sigmoid(nn.linear(x, net.up))
  y[b] = sum(h[b, f] over f)
}
