//! Channels of convolutions: full, grouped and depthwise. Windows run over rows and columns, not over channels.
use std.nn
axis B = 1..2
model net {
  axes { I = 2, H = 5, W = 5, G = 2, E = 3, M = 4, R = 3, S = 3, O = 2 }
  first: f32[(G E), I, R, S]  bias: f32[(G E)]
  group: f32[(G M), E, R, S]
  each:  f32[(G M), R, S]
  last:  f32[O, (G M)]
}
fn full(x: f32[B, I, H, W]) -> h: f32[B, G, E, H, W] {
  h[b, g, e, i, j] = net.first[(g e), c, r, s] * x[b, c, i + r - 1, j + s - 1] + net.bias[(g e)]
}
fn grouped(h: f32[B, G, E, H, W]) -> k: f32[B, G, M, H, W] {
  k[b, g, m, i, j] = net.group[(g m), e, r, s] * h[b, g, e, i + r - 1, j + s - 1]
}
fn deep(k: f32[B, G, M, H, W]) -> z: f32[B, G, M, H, W] {
  z[b, g, m, i, j] = net.each[(g m), r, s] * k[b, g, m, i + r - 1, j + s - 1]
}
fn f(x: f32[B, I, H, W]) -> y: f32[B, O] {
  z          = deep(nn.relu(grouped(nn.relu(full(x)))))
  p[b, g, m] = mean(z[b, g, m, i, j] over i, j)
  y[b, o]    = net.last[o, (g m)] * p[b, g, m]
}
