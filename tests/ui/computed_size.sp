use std.nn
axis B = 1..8, C = 2, H = 3, W = 8, K = 5
fn f(x: f32[B, C, H, W], w: f32[C, C, K, K]) -> y: f32[B, C, H, W] { y = nn.conv2d(x, w) }
