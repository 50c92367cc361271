//! Chains of three, an outer product, a transposed result and an explicit reduction.
axis A = 5, C = 4, E = 3
fn f(x: f32[A, C], y: f32[C, E], z: f32[E]) -> (p: f32[A], q: f32[E, A], r: f32[A], s: f32[A, C, E]) {
  p[a] = x[a, c] * y[c, e] * z[e]
  q[a, e] = 2 * x[a, c] * y[c, e]
  r[a] = max(x[a, c] over c) - mean(x[a, c]^2 over c)
  s[a, c, e] = x[a, c] * z[e]
}
