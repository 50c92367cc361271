axis B = 1..8, S = 1..64
fn f(a: f32[B, S]) -> y: bool[B, S] { y = select(keep 4 of slices(S) per B by a ragged) }
