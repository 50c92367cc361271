//! Two sentences in a row: the second counts only inside what the first kept, and the selector is for both.
use std.nn
axis B = 1..512
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) + nn.linear(x, net.v) }
require vnm: keep 4 of 8 of tile(out: 8, in: 1) per tile(out: 8, in: 8) by norm1
  then keep 2 of 4 of elements per tile(in: 8) by abs on net.w
