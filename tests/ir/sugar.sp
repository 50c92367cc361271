//! What the patterns stand for.
use std.nn
use std.patterns.{nm, blocks, one_by_n}
axis B = 1..512
model net { axes { I = 32, N = 32, O = 16 } w1: f32[N, I]  w2: f32[O, N] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1)), net.w2) }
group strip = tile(out: 4, in: 1) of net.w2
require a: blocks(50%, rows: 8, cols: 8) on net.w1
require b: nm(2, 4) by norm1 on net.w1
require c: one_by_n(25%) on net.w2
require d: keep 75% of strip per model min 1 per tensor by norm2 multiple 4
