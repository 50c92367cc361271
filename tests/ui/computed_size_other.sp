axis B = 1..8, H = 8, P = 5
fn f(x: f32[B, H]) -> y: f32[B, P] where P = H / 2 { y[b, p] = x[b, 2 * p] }
