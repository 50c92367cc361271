axis B = 1..8
model net { axes { I = 32, O = 16 } w: f32[O, I]  v: f32[O, I]  q: f32[I, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, o] = net.v[o, i] * x[b, i]
  p[b, j] = net.q[j, i] * x[b, i]
  u[b, o] = net.w[o, i] * p[b, i]
  y = y + z + u
}
require fine: keep 2 of 4 of elements per tile(in: 4) on net.w
require coarse: keep 50% of tile(out: 8, in: 8) per tensor on net.w
require rows: keep 50% of tile(out: 1, in: all) per tensor multiple 4 on net.v
require columns: keep 50% of tile(in: 1, out: all) per tensor min 1 per tensor on net.v
require square: keep 1 of 4 of elements per tile(in: 4) on net.q
require blocks: keep 50% of tile(out: 8, in: 8) per tile(out: 8, in: all) on net.q
