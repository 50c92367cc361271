use std.nn
axis B = 1..8
model none { axes { I = 0, O = 4 } w: f32[O, I] }
model nowhere { axes { I = 4, O = 0 } w: f32[O, I] }
model one { axes { I = 1, O = 1 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, one.w) }
