axis B = 1..8, H = 8
fn f(x: f32[B, H]) -> y: f32[B] { y[b] = max(x[b, 2 * p + 1] over p) }
