// Amounts, floors, scopes and scores of weights, with what each comes to.
axis B = 1..8
model net {
  axes { I = 64, O = 32, L = 2 }
  w: f32[O, I]
  q: f32[I, I]
  layer[l: L] { u: f32[I, I] }
}
fn y(x: f32[B, I]) -> y: f32[B, O] {
  for l in L {
    x[n, j] = net.layer[l].u[j, i] * x[n, i]
  }
  z[n, j] = net.q[j, i] * x[n, i]
  y[n, o] = net.w[o, i] * z[n, i]
}
require thin: keep 25% of flops of tile(out: 1, in: all) per model min 1 per tensor by abs(w * g) on net.layer.*
require rows: keep cubic(100% -> 50%, 10%..80% of steps) of tile(out: 8, in: all) per tensor multiple 2 on net.w
require fine: keep 3 of elements per (out) min 1 per tile(in: 32) by random(7) on net.w pad
require pair: keep 40% of pairs(net.q, undirected) per tensor
