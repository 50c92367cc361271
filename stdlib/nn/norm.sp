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
