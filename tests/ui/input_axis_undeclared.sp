fn f(x: f32[B, 4]) -> y: f32[B, 4] { y = x * 2 }
