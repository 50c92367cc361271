//! A basic block of the library, its convolutions pruned in different ways.
use std.models
axis B = 1..2
model net {
  axes { C = 8, M = 12, K = 3 }
  a: f32[M, C, K, K]  sa: f32[M]  b: f32[C, M, K, K]  sb: f32[C]
}
fn block(x: f32[B, C, 6, 5]) -> y: f32[B, C, 6, 5] { y = models.basic_block(x, net) }
require few: keep 10% of elements per tensor on net.b
