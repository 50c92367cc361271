// The constraint names a value that the function does not have.
use std.nn
axis B = 1..8, N = 1..64
fn f(x: f32[B, N], w: f32[N]) -> y: f32[B] {
  hidden = nn.relu(x)
  y[b] = hidden[b, n] * w[n]
}
require few: keep 25% of slices(N) of f.hiden per B by abs
