axis B = 1..8
model net { axes { I = 32, O = 2 } w: i32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, I] { y = x * 2 }
require half: keep 50% of elements per tensor on net.w
