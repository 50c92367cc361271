//! The kernels of training steps: 2 of 4 with SR-STE, an l1 penalty, norms of blocks, and a rule that has none.
use std.updates.sr_ste
use std.penalties.{l1, group_l2}
axis B = 1..8
model net {
  axes { I = 32, O = 16, N = 8 }
  w: f32[O, I]  v: f32[N, O]  u: f32[N, N]
}
fn f(x: f32[B, I]) -> z: f32[B, N] {
  y[b, o] = net.w[o, i] * x[b, i]
  h[b, n] = net.v[n, o] * y[b, o]
  z[b, m] = net.u[m, n] * h[b, n]
}
group block = tile(out: 4, in: 8)
require half: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste()
penalize few: 0.1 * l1() of elements on net.v
penalize blocks: 0.2 * group_l2() of block on net.v
require most: keep 10% of elements per tensor on net.u via sr_ste()
