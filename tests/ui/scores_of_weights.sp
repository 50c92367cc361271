axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
require a: keep 25% of elements per tensor by abss
require b: keep 25% of elements per tensor by wanda()
require c: keep 25% of elements per tensor by wanda(calib)
require d: keep 25% of elements per tensor by abs(w * h)
require e: keep 25% of elements per tensor by w > 0
require g: keep 25% of elements per tensor by f(w)
require h: keep 25% of elements per tensor by random()
