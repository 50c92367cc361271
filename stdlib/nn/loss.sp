//! Losses.

/// Mean over the rows of minus the log of the probability that the label has.
fn cross_entropy(logits: float[B, K], label: i32[B]) -> loss: f32 {
  row[b] = logsumexp(logits[b, k] over k) - logits[b, label[b]]
  loss   = mean(row over B)
}

/// Mean of the squared differences over all elements.
fn mse(x: float[..], y: float[..]) -> loss: f32 {
  d[..] = (x[..] - y[..])^2
  loss  = mean(d)
}
