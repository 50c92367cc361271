use std.nn
axis T = 1..9, S = 1..9, C = 2
fn f(q: f32[T, C], k: f32[S, C], v: f32[S, C]) -> o: f32[T, C] {
  o = nn.attend(q, k, v, allow: nn.local).o
}
