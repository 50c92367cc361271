//! A convolution of 784 places with columns of zeros: its windows are written feature-major, its result goes from tiles to planes.
use std.nn
axis B = 1..4, H = 1..56, W = 1..56
model net { axes { I = 32, O = 32, R = 3, S = 3 } w: f32[O, I, R, S]  b: f32[O] }
fn f(x: f32[B, I, H, W]) -> y: f32[B, O, P, Q] where P = H + 2 - 3 + 1, Q = W + 2 - 3 + 1 {
  y = nn.relu(nn.conv2d(x, net.w, net.b, pad: 1))
}
require blocks: keep 25% of tile(out: 16, I: 1) per tensor on net.w
target t = cpu(threads: 1) { B = 1, H = 28, W = 28 }
