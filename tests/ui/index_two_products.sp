use std.nn
axis B = 1..8
model net { axes { D = 32, F = 16 } a: f32[F, D]  c: f32[F, D] }
fn f(x: f32[B, D]) -> y: f32[B, F] {
  y[b, f] = nn.silu(net.a[f, d] * x[b, d]) * (net.c[f, d] * x[b, d])
}
