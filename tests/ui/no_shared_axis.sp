axis B = 1..8, I = 4
fn f(x: f32[B], z: f32[I]) -> y: f32[B, I] { y = x + z }
