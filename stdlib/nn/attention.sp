//! Softmax attention.

fn softmax(x: float[.., J]) -> y: float[.., J] {
  e[.., j] = exp(x[.., j] - max(x[.., j] over j))
  y[.., j] = e[.., j] / sum(e[.., j] over j)
}

/// Multi-head self-attention with biases. `keys` says which positions may be attended to; a row without any gives NaN.
/// Vaswani et al. 2017, arXiv 1706.03762.
fn attention(
  x: float[B, T, D],
  p: {
    wq: float[(H C), D], wk: float[(H C), D], wv: float[(H C), D], wo: float[D, (H C)],
    bq: float[(H C)] = 0, bk: float[(H C)] = 0, bv: float[(H C)] = 0, bo: float[D] = 0,
  },
  keys: bool[B, T] = true,
) -> y: float[B, T, D] {
  q[b, h, t, c] = p.wq[(h c), d] * x[b, t, d] + p.bq[(h c)]
  k[b, h, s, c] = p.wk[(h c), d] * x[b, s, d] + p.bk[(h c)]
  v[b, h, s, c] = p.wv[(h c), d] * x[b, s, d] + p.bv[(h c)]
  a[b, h, t, s] = if keys[b, s] { q[b, h, t, c] * k[b, h, s, c] / sqrt(size(C)) } else { -inf }
  m             = softmax(a)
  o[b, h, t, c] = m[b, h, t, s] * v[b, h, s, c]
  y[b, t, d]    = p.wo[d, (h c)] * o[b, h, t, c] + p.bo[d]
}
