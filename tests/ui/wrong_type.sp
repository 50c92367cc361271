axis B = 1..8
fn f(x: f32[B], n: i32[B]) -> y: f32[B] { y = x + n }
