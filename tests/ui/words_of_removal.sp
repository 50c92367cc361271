axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
require a: drop 50% of elements per tensor
require b: prune 50% of elements per tensor
require c: zero 2 of 4 of elements per tile(in: 4)
