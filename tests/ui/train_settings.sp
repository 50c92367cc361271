axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
data d from npy "x.npy" { x: f32[I] }
require half: keep 50% of elements per tensor
train no_length { loss: mean(f(d.x))  optimizer: sgd(lr: 0.1)  phase a 100% { apply half } }
train no_loss { optimizer: sgd(lr: 0.1)  steps: 10 }
train misspelt { loss: mean(f(d.x))  optimiser: sgd(lr: 0.1)  steps: 10 }
train other { loss: mean(f(d.x))  optimizer: sdg(lr: 0.1)  steps: 10 }
train rates { loss: mean(f(d.x))  optimizer: sgd(rate: 0.1)  steps: 10 }
train words { loss: mean(f(eval.x))  optimizer: sgd(lr: 0.1)  steps: 10 }
train names { loss: mean(f(d.x))  optimizer: sgd(lr: 0.1)  steps: 10  phase a 100% { apply hulf } }
train frozen { loss: mean(f(d.x))  optimizer: sgd(lr: 0.1)  steps: 10  phase a 100% { apply half  freeze weights } }
