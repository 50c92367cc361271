axis B = 1..8
model net { axes { I = 8, F = 16, O = 4 } a: f32[F, I]  b: f32[F, F]  c: f32[O, F] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, f] = net.a[f, i] * x[b, i]
  k[b, g] = net.b[g, f] * max(h[b, f], 0)
  y[b, o] = net.c[o, g] * max(k[b, g], 0)
}
require half: keep 50% of slices(F) per model on net
