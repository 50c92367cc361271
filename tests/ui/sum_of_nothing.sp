axis B = 1..4
model net {
  axes { I = 16, O = 12 }
  w: f32[O, I] = kaiming()
}
fn predict(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = sum(i) x[b, i] * net.w[o, i] }
fn scaled(x: f32[B, I]) -> y: f32[B] {
  y[b] = 2 * (sum(i) x[b, i])
}
group rows = slices(O)
require a: keep 50% of rows per model by norm2
