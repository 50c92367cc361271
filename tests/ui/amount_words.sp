axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
group neuron = tile(out: 1, in: all)
require a: keep 1/16 of elements per tensor
require b: keep 50% of neuron of net per model
require c: keep 50% of flop of elements per model
require d: keep 512 of elements per tensor on net.w
require e: keep 3 of elements per tile(in: 8) min 4 per tile(in: 8)
require l: keep 8 of flops of elements per model
require g: keep 120% of elements per model
require h: keep erk_density(5%) of elements per model
require i: keep nothing of elements per model
require j: keep cubic(100% -> 0%) of elements per model

