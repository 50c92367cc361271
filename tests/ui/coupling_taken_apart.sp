axis B = 1..8
model net { axes { I = 8, G = 4, C = 2, O = 4 } up: f32[(G C), I]  scale: f32[G]  down: f32[O, (G C)] }
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h[b, g, c] = net.up[(g c), i] * x[b, i]
  s[b, g, c] = h[b, g, c] * net.scale[g]
  y[b, o]    = net.down[o, (g c)] * s[b, g, c]
}
require half: keep 50% of slices(out) per model on net.up
