//! Encoder layers of the library, with a mask of real positions.
use std.models
axis B = 1..3, T = 1..7
model net {
  axes { D = 6, H = 2, C = 3, F = 10, L = 2 }
  layer[l: L] {
    wq: f32[(H C), D] = glorot()  bq: f32[(H C)] = zeros()
    wk: f32[(H C), D] = glorot()  bk: f32[(H C)] = zeros()
    wv: f32[(H C), D] = glorot()  bv: f32[(H C)] = zeros()
    wo: f32[D, (H C)] = glorot()  bo: f32[D] = zeros()
    norm1: f32[D] = ones()        shift1: f32[D] = zeros()
    up: f32[F, D] = kaiming()     bu: f32[F] = zeros()
    down: f32[D, F] = kaiming()   bd: f32[D] = zeros()
    norm2: f32[D] = ones()        shift2: f32[D] = zeros()
  }
}
fn encode(x: f32[B, T, D], real: bool[B, T]) -> y: f32[B, T, D] {
  y = x
  for l in L { y = models.bert_layer(y, net.layer[l], keys: real, eps: 1e-5) }
}
