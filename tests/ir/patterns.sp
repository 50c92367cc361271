// Every pattern of the standard library, and what its call stands for.
use std.nn
use std.patterns.{nm, nm_shared, nm_ladder, blocks, balanced_blocks, one_by_n, vnm, erk, global_floor, global_gradual}

axis B = 1..8
model net {
  axes { I = 64, O = 32 }
  a: f32[O, I]  b: f32[O, I]  c: f32[O, I]  d: f32[O, I]  e: f32[O, I]  f: f32[O, I]  g: f32[O, I]
  h: f32[O, I]  i: f32[O, I]  j: f32[O, I]  k: f32[O, I]
}
fn y(x: f32[B, I]) -> y: f32[B, O] {
  y = nn.linear(x, net.a) + nn.linear(x, net.b) + nn.linear(x, net.c) + nn.linear(x, net.d) + nn.linear(x, net.e)
  y = y + nn.linear(x, net.f) + nn.linear(x, net.g) + nn.linear(x, net.h) + nn.linear(x, net.i) + nn.linear(x, net.j)
  y = y + nn.linear(x, net.k)
}
require p1: nm(2, 4) on net.a
require p2: nm_shared(1, 4, rows: 8) on net.b
require p3: nm_ladder(1, 8) on net.c
require p4: blocks(25%, 8, 8) on net.d
require p5: balanced_blocks(25%, rows: 8, cols: 8) on net.e
require p6: one_by_n(50%, n: 8) on net.f
require p7: vnm(8, 2, 8) on net.g
require p8: erk(10%, seed: 7) on net.{h, i}
require p9: global_floor(20%) on net.j
require p10: global_gradual(20%) on net.k
