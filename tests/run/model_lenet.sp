//! LeNet-5 of the library on odd sizes, with sparse convolutions and dense layers.
use std.models
axis B = 1..3
model net {
  axes { Ci = 1, M = 6, N = 16, K = 5, P = 3, Q = 4, F = 24, E = 12, O = 10 }
  c1: f32[M, Ci, K, K]  s1: f32[M]  c2: f32[N, M, K, K]  s2: f32[N]
  w1: f32[F, (N P Q)]  b1: f32[F]  w2: f32[E, F]  b2: f32[E]  w3: f32[O, E]  b3: f32[O]
}
fn classify(x: f32[B, Ci, 20, 24]) -> y: f32[B, O] { y = models.lenet(x, net) }
require filters: keep 30% of elements per tensor on net.c2
