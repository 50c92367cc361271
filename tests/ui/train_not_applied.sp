use std.penalties.l1
axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
data d from npy "x.npy" { x: f32[I] }
require half: keep 50% of elements per tensor
penalize thin: l1() of elements
train main {
  loss: mean(f(d.x))
  optimizer: sgd(lr: 0.1)
  steps: 100
  phase all 100% { }
}
