axis B = 1..8
fn f(x: f32[B]) -> y: f32[B] { y = x * 2 }
quantize net.* to int8(per: tile(in: all))
