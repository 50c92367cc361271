use std.nn
axis D = 4, F = 2
fn f(x: f32[D], a: f32[F, D], b: f32[F, D]) -> y: f32[F] {
  y[f] = nn.silu(a[f, d] * x[d]) * (b[f, d] * x[d])
}
