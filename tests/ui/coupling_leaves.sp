axis B = 1..8
model net { axes { I = 8, D = 16, O = 4 } first: f32[D, I]  last: f32[O, D] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, d] = net.first[d, i] * x[b, i]
  y[b, o] = net.last[o, d] * h[b, d]
}
require half: keep 50% of slices(D) per model on net.first
