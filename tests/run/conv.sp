//! Convolutions of odd sizes: with padding and stride, in groups, one for each channel, 1 x 1; pooling with overlap.
use std.nn
axis B = 1..3, H = 7..9, W = 6..8
model net {
  axes { I = 3, R = 3, S = 2, G = 2, E = 3, M = 4, N = 7, U = 1, V = 1, O = 5 }
  first: f32[(G E), I, R, S]  bias: f32[(G E)]
  group: f32[(G M), E, R, R]
  each:  f32[(G M), R, R]
  point: f32[N, (G M), U, V]  pb: f32[N]
  last:  f32[O, N]
}
fn full(x: f32[B, I, Y, X]) -> h: f32[B, G, E, P, Q] where P = (Y + 2 - 3) / 2 + 1, Q = (X + 2 - 2) / 2 + 1 {
  h[b, g, e, i, j] = net.first[(g e), c, r, s] * x[b, c, 2 * i + r - 1, 2 * j + s - 1] + net.bias[(g e)]
}
fn grouped(h: f32[B, G, E, P, Q]) -> k: f32[B, G, M, P, Q] {
  k[b, g, m, i, j] = net.group[(g m), e, r, s] * h[b, g, e, i + r - 1, j + s - 1]
}
fn deep(k: f32[B, G, M, P, Q]) -> z: f32[B, G, M, P, Q] {
  z[b, g, m, i, j] = net.each[(g m), r, s] * k[b, g, m, i + r - 1, j + s - 1]
}
fn point(d: f32[B, G, M, P, Q]) -> p: f32[B, N, P, Q] {
  p[b, n, i, j] = net.point[n, (g m), u, v] * d[b, g, m, i + u, j + v] + net.pb[n]
}
fn f(x: f32[B, I, H, W]) -> y: f32[B, O] {
  d = deep(nn.relu(grouped(nn.relu(full(x)))))
  q = nn.max_pool2d(point(d), window: 2, stride: 1)
  y = nn.linear(nn.global_avg_pool(q), net.last)
}
require few: keep 40% of elements per tensor on net.first
