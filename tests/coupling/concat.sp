//! Two axes joined end to end: the slices of the second lie behind those of the first.
use std.nn
axis B = 1..8
model net {
  axes { I = 4, M = 3, N = 5, J = 8, O = 2 }
  left: f32[M, I]  right: f32[N, I]  bias: f32[N]  out: f32[O, J]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  a = nn.relu(nn.linear(x, net.left))
  g = nn.sigmoid(nn.linear(x, net.right, net.bias))
  c = concat(a, g, along: M)
  y[b, o] = net.out[o, j] * c[b, j]
}
