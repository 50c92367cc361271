//! Decoder layers of the library: causal, grouped queries, rotary positions.
use std.models
axis B = 1..3, T = 1..7
model net {
  axes { D = 8, KV = 2, G = 2, C = 4, F = 10, L = 2 }
  layer[l: L] {
    norm1: f32[D] = ones()
    wq: f32[(KV G C), D] = glorot()  wk: f32[(KV C), D] = glorot()  wv: f32[(KV C), D] = glorot()
    wo: f32[D, (KV G C)] = glorot()
    norm2: f32[D] = ones()
    gate: f32[F, D] = kaiming()  up: f32[F, D] = kaiming()  down: f32[D, F] = kaiming()
  }
}
fn decode(x: f32[B, T, D]) -> y: f32[B, T, D] {
  y = x
  for l in L { y = models.llama_layer(y, net.layer[l]) }
}
