axis = 3
fn f(x f32[B]) -> y { y = x }
require half: keep of elements
axis B = 1..8
