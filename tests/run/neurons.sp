//! Half of the neurons of both layers go, whole.
use std.nn
axis B = 1..64
model net {
  axes { I = 24, F = 48, D = 32, O = 5, L = 2 }
  first: f32[D, I]
  layer[l: L] { scale: f32[D]  up: f32[F, D]  bu: f32[F]  down: f32[D, F]  bd: f32[D] }
  last: f32[O, D]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  h = nn.linear(x, net.first)
  for l in L {
    p = net.layer[l]
    h = h + nn.linear(nn.sigmoid(nn.linear(nn.rmsnorm(h, p.scale), p.up, p.bu)), p.down, p.bd)
  }
  y = nn.linear(h, net.last)
}
group neuron[l, f: F] = slices(F) of net.layer[l]
group stream          = slices(D) of net
require half:  keep 50% of neuron per layer by norm2 multiple 8
require width: keep 75% of stream per model by norm1
target t = cpu(threads: 1) { B = 16 }
