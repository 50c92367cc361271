//! `F` of each layer is its own axis; `D` is one through the residual additions and the normalisations.
use std.nn
axis B = 1..8
model net {
  axes { I = 4, D = 6, F = 8, O = 2, L = 2 }
  first: f32[D, I]
  layer[l: L] { scale: f32[D]  shift: f32[D]  up: f32[F, D]  bu: f32[F]  down: f32[D, F]  bd: f32[D] }
  last: f32[O, D]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h = nn.linear(x, net.first)
  for l in L {
    p = net.layer[l]
    h = h + nn.linear(nn.gelu(nn.linear(nn.layernorm(h, p.scale, p.shift), p.up, p.bu)), p.down, p.bd)
  }
  y = nn.linear(h, net.last)
}
