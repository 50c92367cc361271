//! Softmax attention.

/// Which keys a query may read. Masks are predicates: they are written out where they are used and never stored.
mask causal(q, k) = k <= q

/// The `window` latest keys, the query's own position among them.
mask local(q, k, window: int) = k <= q && q - k < window

fn softmax(x: float[.., J]) -> y: float[.., J] {
  e[.., j] = exp(x[.., j] - max(x[.., j] over j))
  y[.., j] = e[.., j] / sum(e[.., j] over j)
}

/// Scaled dot products with their log-sum-exp, so that results over parts of the keys merge exactly (`merge_lse`). A
/// query that may read no key gives NaN, and its log-sum-exp is -inf. `within` is a relation that `select` gave: only the
/// keys it holds are read, and the softmax is over these.
/// Vaswani et al. 2017, arXiv 1706.03762.
fn attend(
  q: float[.., T, C], k: float[.., S, C], v: float[.., S, Cv],
  allow: mask(T, S) = all, within: mask(T, S) = all, scale: f32 = 1 / sqrt(size(C)),
) -> (o: float[.., T, Cv], lse: f32[.., T]) {
  a[.., t, s] = if allow(t, s) && within(t, s) { scale * (q[.., t, c] * k[.., s, c]) } else { -inf }
  lse[.., t]  = logsumexp(a[.., t, s] over s)
  o[.., t, c] = exp(a[.., t, s] - lse[.., t]) * v[.., s, c]
}

/// Attention over two disjoint parts of the keys as attention over both. A part with no key has log-sum-exp -inf and
/// counts nothing.
fn merge_lse(
  o1: float[.., T, C], lse1: f32[.., T], o2: float[.., T, C], lse2: f32[.., T],
) -> (o: float[.., T, C], lse: f32[.., T]) {
  top[.., t]  = max(lse1[.., t], lse2[.., t])
  base[.., t] = if top[.., t] == -inf { 0 } else { top[.., t] }
  lse[.., t]  = base[.., t] + log(exp(lse1[.., t] - base[.., t]) + exp(lse2[.., t] - base[.., t]))
  p1[.., t, c] = if lse1[.., t] == -inf { 0 } else { exp(lse1[.., t] - lse[.., t]) * o1[.., t, c] }
  p2[.., t, c] = if lse2[.., t] == -inf { 0 } else { exp(lse2[.., t] - lse[.., t]) * o2[.., t, c] }
  o = p1 + p2
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
