//! One linear whose weight is stored as vnm: 2:4 of the columns that rows share, of bf16 numbers; few rows and many columns, so
//! that blocks share the columns.
use std.nn
axis B = 1..16
model net { axes { I = 4096, O = 8 } w: f32[O, I]  b: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w, net.b)) }
require pattern: keep 4 of 8 of tile(out: 8) per tile(out: 8, in: 8) by joint then keep 2 of 4 of elements per tile(in: 8)
quantize half: net.w to bf16
