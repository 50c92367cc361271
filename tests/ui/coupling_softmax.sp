axis B = 1..8
model net { axes { I = 8, F = 16, O = 4 } up: f32[F, I]  down: f32[O, F] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, f] = net.up[f, i] * x[b, i]
  p[b, f] = exp(h[b, f]) / sum(exp(h[b, g]) over g)
  y[b, o] = net.down[o, f] * p[b, f]
}
require half: keep 50% of slices(F) per model on net
