axis B = 1..4
model net {
  axes { I = 16, O = 12 }
  w: f32[O, I] = kaiming()
}
fn predict(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = x[b, i] * net.w[o, i] }
require a: keep 2 of 4 per tile(in: 4) by abs on net.w
