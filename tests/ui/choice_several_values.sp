// The name stands for two values.
use std.nn
axis B = 1..8, N = 1..64
fn f(x: f32[B, N], w: f32[N]) -> y: f32[B] {
  h = nn.relu(x)
  h = h + 1
  y[b] = h[b, n] * w[n]
}
require few: keep 25% of slices(N) of f.h per B by abs
