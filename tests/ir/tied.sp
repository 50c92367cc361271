//! One tensor, two names: an embedding that is also the head.
use std.nn
axis B = 1..4
model net { axes { V = 10, D = 3 } word: f32[V, D]  head = word }
fn f(ids: i32[B]) -> y: f32[B, V] { y = nn.linear(nn.embedding(ids, net.word), net.head) }
