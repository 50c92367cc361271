//! Feed-forward networks.
use std.nn

/// Two layers with a ReLU between them. `N` counts the hidden neurons.
fn mlp(
  x: float[.., I], p: { w1: float[N, I], b1: float[N] = 0, w2: float[O, N], b2: float[O] = 0 },
) -> y: float[.., O] {
  h = nn.relu(nn.linear(x, p.w1, p.b1))
  y = nn.linear(h, p.w2, p.b2)
}
