//! Activations. A function without types takes any tensor and works on each element.

fn relu(x)    = max(x, 0)
fn sigmoid(x) = 1 / (1 + exp(-x))
fn silu(x)    = x * sigmoid(x)

/// The exact form, with the error function. Hendrycks and Gimpel 2016, arXiv 1606.08415.
fn gelu(x) = 0.5 * x * (1 + erf(x / sqrt(2)))

/// Gated feed-forward. The axis `F` couples rows of gate and up with columns of down. Shazeer 2020, arXiv 2002.05202.
fn swiglu(x: float[.., D], p: { gate: float[F, D], up: float[F, D], down: float[D, F] }) -> y: float[.., D] {
  h = silu(linear(x, p.gate)) * linear(x, p.up)
  y = linear(h, p.down)
}
