axis B = 1..8
fn f(x: f32[B]) -> y: f32[B] { y = x * 2 }
fn f(x: f32[B]) -> y: f32[B] { y = x * 3 }
