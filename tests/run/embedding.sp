//! Index tensors, a constant index and the number of an index.
axis B = 1..4, T = 1..16
model net { axes { V = 10, P = 16, K = 2, D = 3 } word: f32[V, D]  place: f32[P, D]  kind: f32[K, D] }
fn f(ids: i32[B, T]) -> y: f32[B, T, D] {
  y[b, t, d] = net.word[ids[b, t], d] + net.place[int(t), d] + net.kind[1, d]
}
