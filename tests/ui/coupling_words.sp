// What else can be wrong about slices: each line is one mistake.
axis B = 1..8
model net {
  axes { I = 8, F = 12, O = 4, L = 2 }
  layer[l: L] { up: f32[F, I]  down: f32[O, F] }
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  p       = net.layer[0]
  q       = net.layer[1]
  h[b, f] = p.up[f, i] * x[b, i]
  k[b, f] = h[b, f] + q.up[f, i] * x[b, i]
  z[b, o] = p.down[o, f] * k[b, f]
  y[b, o] = z[b, o] + q.down[o, f] * k[b, f]
}
group unknown    = slices(G) of net
group counted    = slices(L) of net
group blocks     = slices(F by 5) of net
group nothing    = slices(F) of net.layer.*.{left}
group twice[f, f] = slices(F) of net
group free[m]    = slices(F) of net.layer[l]
group other[i: I] = slices(F) of net
group loop       = pool
group pool       = loop
group names      = slices(F, I) of net
group each       = slices(F) of net  on_overlap both
group dear       = slices(F) of net  cost: flop
group uneven[f: F] = net.layer[l].up@(F: f) & net.layer[0].down@(F: f)
require tiles: keep 50% of slices(F) per tensor on net
require five:  keep 50% of blocks per model
