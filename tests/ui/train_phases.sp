axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
data d from npy "x.npy" { x: f32[I] }
require half: keep 50% of elements per tensor
train main {
  loss: mean(f(d.x))
  optimizer: sgd(lr: 0.1)
  steps: 100
  phase warm 60% { }
  phase thin 50% { apply half }
}
