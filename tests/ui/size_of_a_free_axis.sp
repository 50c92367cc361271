axis B = 1..8, T = 1..512, C = 4, Q = 1..9
fn windows(x: f32[B, T, C], width: int = 32, step: int = 16) -> y: f32[B, P, C]
  where P = (T - width) / step + 1, R = width
{
  y[b, p, c] = mean(x[b, step * p + r, c] over r in R)
}
fn twice(x: f32[B, T, C]) -> y: f32[B, N, C] where N = (T - 32) / 16 + 1 {
  y = windows(x) + 2 * windows(x)
}
fn other(x: f32[B, T, C]) -> y: f32[B, N, C] where N = T / 16 {
  y = windows(x)
}
fn square(x: f32[B, T, C]) -> y: f32[B, N, C] where N = T * T {
  y[b, n, c] = x[b, n, c]
}
fn none(x: f32[B, T, C]) -> y: f32[B, N, C] where N = (T - 512) / 2 {
  y[b, n, c] = x[b, n, c]
}
fn declared(x: f32[B, T, C]) -> y: f32[B, Q, C] where Q = T / 2 {
  y[b, q, c] = x[b, 2 * q, c]
}
