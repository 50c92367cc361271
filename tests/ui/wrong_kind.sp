axis B = 1..8
model net { axes { I = 8 } w: f32[I] }
fn f(x: f32[B, I]) -> y: f32[B, I] { y = x * net }
