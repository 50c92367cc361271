//! Normalisation over the last axis.

/// Layer normalisation. Ba et al. 2016, arXiv 1607.06450.
fn layernorm(x: float[.., D], scale: float[D], shift: float[D] = 0, eps: f32 = 1e-5) -> y: float[.., D] {
  mu[..]   = mean(x[.., d] over d)
  var[..]  = mean((x[.., d] - mu[..])^2 over d)
  y[.., d] = (x[.., d] - mu[..]) / sqrt(var[..] + eps) * scale[d] + shift[d]
}

/// Root-mean-square normalisation. Zhang and Sennrich 2019, arXiv 1910.07467.
fn rmsnorm(x: float[.., D], scale: float[D], eps: f32 = 1e-5) -> y: float[.., D] {
  ms[..]   = mean(x[.., d]^2 over d)
  y[.., d] = x[.., d] / sqrt(ms[..] + eps) * scale[d]
}

/// Batch normalisation as it runs after training: with the stored mean and variance of each channel.
/// Ioffe and Szegedy 2015, arXiv 1502.03167.
fn batchnorm(
  x: float[B, C, H, W], mu: float[C], var: float[C], scale: float[C] = 1, shift: float[C] = 0, eps: f32 = 1e-5,
) -> y: float[B, C, H, W] {
  y[n, c, i, j] = (x[n, c, i, j] - mu[c]) / sqrt(var[c] + eps) * scale[c] + shift[c]
}
