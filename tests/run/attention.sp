//! Split axes and a mask of keys, compiled.
use std.nn
axis B = 1..4, T = 1..16
model net {
  axes { D = 6, H = 2, C = 3, L = 2 }
  layer[l: L] {
    wq: f32[(H C), D]  bq: f32[(H C)]
    wk: f32[(H C), D]  bk: f32[(H C)]
    wv: f32[(H C), D]  bv: f32[(H C)]
    wo: f32[D, (H C)]  bo: f32[D]
  }
}
fn f(x: f32[B, T, D], real: bool[B, T]) -> y: f32[B, T, D] {
  y = x
  for l in L { y = y + nn.attention(y, net.layer[l], keys: real) }
}
