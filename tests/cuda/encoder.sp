//! Operators without a kernel are listed as host.
use std.nn
axis B = 1..4, T = 1..16
model net {
  axes { V = 10, D = 8, H = 2, C = 4, F = 16 }
  word: f32[V, D]  s: f32[D]  t: f32[D]
  wq: f32[(H C), D]  wk: f32[(H C), D]  wv: f32[(H C), D]  wo: f32[D, (H C)]
  up: f32[F, D]  bu: f32[F]  down: f32[D, F]
}
fn f(ids: i32[B, T], real: bool[B, T]) -> y: f32[B, T, D] {
  x = nn.embedding(ids, net.word)
  x = nn.layernorm(x + nn.attention(x, net, keys: real), net.s, net.t)
  y = x + nn.linear(nn.gelu(nn.linear(x, net.up, net.bu)), net.down)
}
require half: keep 2 of 4 of elements per tile(in: 4) on net.{up, down}
