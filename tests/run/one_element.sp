//! Layers of one element beside everything that changes the structure of a program: norms and constants that fold, linears
//! that read one value, an axis that only weights carry.
use std.nn
axis B = 1..3
model net {
  axes { D = 1, F = 1, M = 8 }
  norm: f32[D]  shift: f32[D]
  gate: f32[F, D]  up: f32[F, D]  down: f32[D, F]
  mu: f32[D]  var: f32[D] = ones()
  wide: f32[M, D]  side: f32[M, D]  back: f32[D, M]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  h = nn.layernorm(x, net.norm, net.shift)
  z = nn.linear(nn.silu(nn.linear(h, net.gate)) * nn.linear(h, net.up), net.down)
  n[b, d] = (z[b, d] - net.mu[d]) / sqrt(net.var[d] + 0.01) * 0.5
  y = nn.linear(nn.linear(n + x, net.wide) * nn.linear(n + x, net.side), net.back)
}
