//! One weight for three projections, taken apart by ranges.
axis B = 1..8
model net { axes { I = 4, F = 5, J = 15, O = 2 } all: f32[J, I]  bias: f32[J]  out: f32[O, F] }
fn gate(h: f32[B, J]) -> g: f32[B, F] {
  g[b, f] = h[b, f + 0] * h[b, f + 5] + h[b, f + 10]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, j] = net.all[j, i] * x[b, i] + net.bias[j]
  g       = gate(h)
  y[b, o] = net.out[o, f] * g[b, f]
}
