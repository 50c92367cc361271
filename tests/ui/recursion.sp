axis B = 1..8
fn f(x: f32[B]) -> y: f32[B] { y = g(x) }
fn g(x: f32[B]) -> y: f32[B] { y = f(x) }
