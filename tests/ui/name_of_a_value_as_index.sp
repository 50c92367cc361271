use std.nn
axis B = 1..8, T = 1..64, S = 1..64, KV = 2, G = 3, C = 4
fn named(x: f32[B, T, C], c: f32[C]) -> y: f32[B, T] {
  y[b, t] = x[b, t, c] * c[c]
}
fn order(q: f32[B, T, KV, G, C], k: f32[B, KV, G, S, C]) -> y: f32[B, T, KV, G, C] {
  y = nn.attend(q, k, k).o
}
fn inside(q: f32[B, T, KV, C], k: f32[B, KV, S, C]) -> y: f32[B, T, KV, C] {
  y = nn.attend(q, q, q, allow: (t, s) => t >= s).o + nn.attend(q, q, k).o
}
fn quiet(x: f32[B, T, C]) -> y: f32[B, T] {
  a[b, t] = x[b, t, q] * missing[q]
  y[b, t] = sum(if int(t) > int(z) { a[b, z] } else { 0 } over z)
}
