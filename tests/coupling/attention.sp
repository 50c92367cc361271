//! Heads and their channels: a softmax over positions is no softmax over heads.
use std.nn
axis B = 1..4, T = 1..8
model net {
  axes { D = 6, H = 3, C = 2, O = 2 }
  wq: f32[(H C), D]  bq: f32[(H C)]  wk: f32[(H C), D]  bk: f32[(H C)]
  wv: f32[(H C), D]  bv: f32[(H C)]  wo: f32[D, (H C)]  bo: f32[D]
  last: f32[O, D]
}
fn f(x: f32[B, T, D]) -> y: f32[B, T, O] { y = nn.linear(nn.attention(x, net), net.last) }
