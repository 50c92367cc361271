//! Residual networks.
use std.nn

/// A basic block. The channels `C` of the trunk are those of every block (the addition ties them); the inner channels `M`
/// are the block's own. Batch normalisation is folded into the weights. He et al. 2015, arXiv 1512.03385.
fn basic_block(
  x: float[B, C, H, W],
  p: { a: float[M, C, K, K], sa: float[M] = 0, b: float[C, M, K, K], sb: float[C] = 0 },
) -> y: float[B, C, H, W] {
  h = nn.relu(nn.conv2d(x, p.a, p.sa, pad: floor((size(K) - 1) / 2)))
  y = nn.relu(x + nn.conv2d(h, p.b, p.sb, pad: floor((size(K) - 1) / 2)))
}
