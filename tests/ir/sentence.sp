// The program of docs/language.md: several constraints, coarse before fine, and quantised at the end.
use std.nn
use std.patterns.{nm, vnm, erk}

axis B = 1..64
model net {
  axes { I = 64, F = 128, O = 32, L = 2 }
  layer[l: L] { up: f32[F, I]  b: f32[F]  down: f32[I, F] }
  head: f32[O, I]
  link: f32[I, I]
}
fn f(x: f32[B, I]) -> y: f32[B, O] {
  for l in L {
    p = net.layer[l]
    x = x + nn.linear(nn.relu(nn.linear(x, p.up, p.b)), p.down)
  }
  y = nn.linear(nn.linear(x, net.link), net.head)
}

group neuron[l, n: F] = slices(F) of net.layer[l]

require thin: keep 60% of flops of neuron per model min 16 per layer by norm2 multiple 8
require fine: nm(2, 4) on net.layer.*.up
require rows: keep 50% of tile(out: 4, in: all) per tensor on net.head
require few:  keep cubic(100% -> 25%, 10%..80% of steps) of elements per (out) by random(7) on net.head
require tied: keep 40% of pairs(net.link, undirected) per tensor by norm1
quantize net.layer.*.{up, down} to int8(per: tile(in: all)) at end
