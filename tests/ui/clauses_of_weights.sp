axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
require a: keep 25% of elements per tensor always first 1
require b: keep 25% of elements per tensor via sr_ste()
require c: keep 25% of elements per tensor at finish
require d: keep 25% of elements per tensor every 10 epochs until done
require e: keep 25% of elements per tensor every 0 steps
require g: keep 4 of 8 of tile(out: 8) per tile(out: 8, in: 8) by joint
require h: keep 4 of 8 of tile(out: 8) per tile(out: 8, in: 8) by joint then keep 50% of elements per tile(in: 8)
require i: keep 4 of 8 of tile(out: 8) per tile(out: 8, in: 8) by joint norm1 then keep 2 of 4 of elements per tile(in: 8) by abs
require j: keep 4 of 8 of tile(out: 8) per tile(out: 8, in: 8) by joint then keep 2 of 4 of elements per tile(out: 4)
