//! LeNet-5 with ReLU and max pooling in place of the original's tanh and trainable pooling.
use std.nn

/// Two convolutions with pooling, then three dense layers. The first convolution keeps the size of the image.
/// LeCun et al. 1998.
fn lenet(
  x: float[B, Ci, H, W],
  p: {
    c1: float[M, Ci, K, K], s1: float[M] = 0, c2: float[N, M, K, K], s2: float[N] = 0,
    w1: float[F, (N P Q)], b1: float[F] = 0, w2: float[E, F], b2: float[E] = 0, w3: float[O, E], b3: float[O] = 0,
  },
) -> y: float[B, O] {
  h = nn.max_pool2d(nn.relu(nn.conv2d(x, p.c1, p.s1, pad: floor((size(K) - 1) / 2))))
  h = nn.max_pool2d(nn.relu(nn.conv2d(h, p.c2, p.s2)))
  d[b, f] = p.w1[f, (n i j)] * h[b, n, i, j] + p.b1[f]
  y = nn.linear(nn.relu(nn.linear(nn.relu(d), p.w2, p.b2)), p.w3, p.b3)
}
