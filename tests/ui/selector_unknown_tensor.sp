axis B = 1..8
model net { axes { I = 32, O = 2 } weight: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.weight[o, i] * x[b, i] }
require half: keep 50% of elements per tensor on net.{wieght}
