// `D` is the residual stream: it does not end in one layer.
use std.nn
axis B = 1..8
model net {
  axes { I = 4, D = 8, F = 16, O = 2, L = 2 }
  first: f32[D, I]
  layer[l: L] { up: f32[F, D]  bu: f32[F]  down: f32[D, F]  scale: f32[D] }
  last: f32[O, D]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, d] = net.first[d, i] * x[b, i]
  for l in L {
    p = net.layer[l]
    h = h + nn.linear(nn.relu(nn.linear(nn.rmsnorm(h, p.scale), p.up, p.bu)), p.down)
  }
  y[b, o] = net.last[o, d] * h[b, d]
}
group fine[l, f: F] = slices(F) of net.layer[l]
group wide[l, d: D] = slices(D) of net.layer[l]
require a: keep 50% of fine per layer
require b: keep 50% of wide per layer
