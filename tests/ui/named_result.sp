use std.nn
axis T = 1..9, C = 2
fn f(q: f32[T, C]) -> o: f32[T, C] { o = nn.attend(q, q, q).out }
