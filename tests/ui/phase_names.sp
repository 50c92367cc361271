axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
data d from npy "x.npy" { x: f32[I] }
train main {
  out = f(d.x)
  loss: mean(out^2)
  optimizer: sgd(lr: 0.1)
  steps: 10
  phase dense 50% { }
  phase ticket 30% {
    guide = f(d.x, weights: best(dense))
    loss: mse(out, guide)
  }
  phase after 20% { loss: mse(out, guide) }
}
train other {
  loss: mse(f(d.x), f(d.x, weights: best(dens)))
  optimizer: sgd(lr: 0.1)
  steps: 10
}
train third {
  loss: mse(f(d.x), f(d.x, weights: last))
  optimizer: sgd(lr: 0.1)
  steps: 10
}
train fourth {
  loss: mse(f(d.x), f(d.x, weights: initial))
  optimizer: sgd(lr: 0.1)
  steps: 10
  phase dense 50% { }
  phase sparse 50% { loss: mse(f(d.x), f(d.x, weights: best(dens))) }
}
