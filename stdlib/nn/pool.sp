//! From a sequence to one vector.

/// Mean over the positions that are real.
fn mean_pool(x: float[B, T, D], real: bool[B, T] = true) -> y: float[B, D] {
  y[b, d] = sum(x[b, t, d] * real[b, t] over t) / sum(real[b, t] over t)
}

/// Divides by the Euclidean length of the last axis.
fn normalize(x: float[.., D]) -> y: float[.., D] {
  y[.., d] = x[.., d] / sqrt(sum(x[.., e]^2 over e))
}
