//! Slices that cross in one tensor: an element stays when both of its slices do.
use std.nn
axis B = 1..16
model net { axes { I = 8, F = 16, O = 4 } a: f32[F, I]  b: f32[F, F]  c: f32[O, F] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h       = nn.relu(nn.linear(x, net.a))
  k[b, g] = net.b[g, f] * h[b, f]
  y       = nn.linear(nn.relu(k), net.c)
}
require half: keep 50% of slices(F by 2) per model on net on_overlap sum
target t = cpu(threads: 1) { B = 8 }
