//! One tensor in two roles, and one that two functions read.
use std.nn
axis B = 1..8
model net { axes { V = 10, D = 4, F = 6 } word: f32[V, D]  up: f32[F, D]  down: f32[D, F] }
fn encode(ids: i32[B]) -> h: f32[B, F] { h = nn.linear(nn.embedding(ids, net.word), net.up) }
fn predict(ids: i32[B]) -> y: f32[B, V] {
  h = nn.linear(nn.sigmoid(nn.linear(nn.embedding(ids, net.word), net.up)), net.down)
  y = nn.linear(h, net.word)
}
