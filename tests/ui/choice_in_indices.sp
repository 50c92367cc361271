// A choice is made among whole tensors.
axis B = 1..8, S = 1..64
fn f(a: f32[B, S]) -> y: f32[B, S] { y[b, s] = gather(a, select(keep 4 of slices(S) per B by a))[b, s] }
