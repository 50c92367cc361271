//! A two-layer network of the library.
use std.models
axis B = 1..8
model net { axes { I = 7, N = 12, O = 3 }  w1: f32[N, I] = kaiming()  b1: f32[N] = zeros()  w2: f32[O, N] = glorot() }
fn classify(x: f32[B, I]) -> y: f32[B, O] { y = models.mlp(x, net) }
