//! Convolution and pooling of images. An index that leaves its axis reads 0.

/// 2-D convolution (cross-correlation, as every framework has it).
fn conv2d(
  x: float[B, Ci, H, W], w: float[Co, Ci, Kh, Kw], b: float[Co] = 0, stride: int = 1, pad: int = 0,
) -> y: float[B, Co, P, Q]
  where P = (H + 2 * pad - Kh) / stride + 1, Q = (W + 2 * pad - Kw) / stride + 1
{
  y[n, o, p, q] = w[o, i, r, s] * x[n, i, stride * p + r - pad, stride * q + s - pad] + b[o]
}

/// Depthwise convolution: the channel axis `C` passes through and therefore stays coupled.
fn conv2d_depthwise(
  x: float[B, C, H, W], w: float[C, Kh, Kw], b: float[C] = 0, stride: int = 1, pad: int = 0,
) -> y: float[B, C, P, Q]
  where P = (H + 2 * pad - Kh) / stride + 1, Q = (W + 2 * pad - Kw) / stride + 1
{
  y[n, c, p, q] = w[c, r, s] * x[n, c, stride * p + r - pad, stride * q + s - pad] + b[c]
}

/// The greatest of each window that lies inside the image.
fn max_pool2d(x: float[B, C, H, W], window: int = 2, stride: int = 2) -> y: float[B, C, P, Q]
  where P = (H - window) / stride + 1, Q = (W - window) / stride + 1, R = window
{
  y[n, c, p, q] = max(x[n, c, stride * p + r, stride * q + s] over r in R, s in R)
}

/// The mean of each window that lies inside the image.
fn avg_pool2d(x: float[B, C, H, W], window: int = 2, stride: int = 2) -> y: float[B, C, P, Q]
  where P = (H - window) / stride + 1, Q = (W - window) / stride + 1, R = window
{
  y[n, c, p, q] = mean(x[n, c, stride * p + r, stride * q + s] over r in R, s in R)
}

/// The mean of each channel.
fn global_avg_pool(x: float[B, C, H, W]) -> y: float[B, C] {
  y[n, c] = mean(x[n, c, i, j] over i, j)
}
