use std.nn
use std.patterns.blocks
axis B = 1..512
model net { axes { I = 128, O = 128 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w)) }
require tiles: blocks(20%, rows: 16, cols: 16) on net.w
target t = cpu(threads: 1) { B = 128 }
