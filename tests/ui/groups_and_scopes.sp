axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
require a: keep 25% of pairs(net.w) per tensor
require b: keep 25% of pairs(net.q, undirected) per tile(in: 4)
require c: keep 25% of tiles(in: 4) per tensor
require d: keep 25% of elements per modle
require e: keep 25% of elements per (in, K)
require g: keep 25% of elements per tensor min 1 per tile(in: 5)
require h: keep 1 of tensors per model min 1 per tile(in: 4)
