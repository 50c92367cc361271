axis B = 1..8, T = 1..8
fn f(x: f32[B]) -> y: f32 { y = last(x, along: T) }
