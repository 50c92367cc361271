axis B = 1..8
model net { axes { I = 8, F = 16, O = 4 } up: f32[F, I]  down: f32[O, F] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, f] = net.up[f, i] * x[b, i]
  y[b, o] = net.down[o, f] * h[b, f]
}
group unit[f: F] = net.up@(F: f) & net.down@(F: g)
require half: keep 50% of unit per model
