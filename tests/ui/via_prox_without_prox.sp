use std.penalties.l1
axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
penalty ridge(weight: f32 = 1) radial { value(x) = weight * x^2 / 2 }
penalize a: 1e-3 * ridge() of elements via prox
penalize b: 1e-3 * l1() of elements via proks
penalize c: 1e-3 * l2() of elements
