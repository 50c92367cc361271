//! Two of three heads stay, and half of what is left of the value channels.
use std.nn
axis B = 1..4, T = 1..8
model net {
  axes { D = 12, H = 3, C = 4, O = 3 }
  wq: f32[(H C), D]  bq: f32[(H C)]  wk: f32[(H C), D]  bk: f32[(H C)]
  wv: f32[(H C), D]  bv: f32[(H C)]  wo: f32[D, (H C)]  bo: f32[D]
  last: f32[O, D]
}
fn f(x: f32[B, T, D]) -> y: f32[B, T, O] { y = nn.linear(nn.attention(x, net), net.last) }
group head[h: H]  = slices(H) of net
group value[c: C] = net.wv@(C: c) & net.bv@(C: c) & net.wo@(C: c)
require heads:  keep 2 of head per model by norm2
require values: keep 50% of value per model by norm2
target t = cpu(threads: 1) { B = 2, T = 4 }
