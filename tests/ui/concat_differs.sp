axis B = 1..8, I = 4, J = 2
fn f(x: f32[B, I], z: f32[J]) -> y: f32[B] { y = sum(concat(x, z, along: I) over I) }
