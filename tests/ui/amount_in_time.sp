axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  y = y + z
}
require loosened: keep linear(20% -> 50%) of elements per tensor on net.w
require unknown: keep linear(100% -> 50%, 0..100 steps) of elements per tensor on net.v
