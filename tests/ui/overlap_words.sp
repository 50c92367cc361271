axis B = 1..8
model net { axes { F = 8, O = 4 } w: f32[F, F]  v: f32[O, F] }
fn f(x: f32[B, F]) -> y: f32[B, O] {
  h[b, g] = net.w[g, k] * x[b, k]
  y[b, o] = net.v[o, g] * h[b, g]
}
require crossing: keep 50% of slices(F) of net per model on_overlap latent
require nested: keep 50% of slices(F) of net per model on_overlap tree
require unknown: keep 50% of slices(F) of net per model on_overlap any
group ring = slices(F) of net on_overlap tree
require named: keep 50% of ring per model
