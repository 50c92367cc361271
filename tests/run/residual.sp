//! What kernels end with: a layer's gain and a residual, a gated product, and a scale that the call gives.
use std.nn
axis B = 1..70
model net {
  axes { D = 24, E = 38, F = 40 }
  a: f32[E, D]  b: f32[D, E]  bias: f32[D]  gain: f32[D]
  gate: f32[F, D]  up: f32[F, D]  down: f32[D, F]
}
fn f(x: f32[B, D], s: f32) -> y: f32[B, D] {
  e = nn.relu(nn.linear(x, net.a))
  o = nn.linear(e, net.b, net.bias)
  z[b, d] = x[b, d] + net.gain[d] * o[b, d]
  h = nn.silu(nn.linear(z, net.gate)) * nn.linear(z, net.up)
  t = nn.linear(h, net.down)
  y = z + s * t
}
require half: keep 1 of 2 of elements per tile(in: 2) on net.*
target t = cpu(threads: 1) { B = 20 }
