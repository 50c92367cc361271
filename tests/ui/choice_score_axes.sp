axis B = 1..8, H = 2, S = 1..64
fn f(a: f32[B, H, S]) -> y: bool[B, S] { y = select(keep 4 of slices(S) per B by a) }
