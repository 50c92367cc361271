//! Unlearning with sparsity: fine-tune on what may be remembered, under an l1 penalty that fades to nothing; what is left then
//! is pruned. Jia et al. 2023.
edition 1
use std.nn
use std.penalties.l1
use std.patterns.global_floor

axis B = 1..8
data retain from npz "retain.npz" { x: f32[I] }

model net {
  axes { I = 32, N = 48, O = 8 }
  w1: f32[N, I] = kaiming()   b1: f32[N] = zeros()
  w2: f32[O, N] = kaiming()   b2: f32[O] = zeros()
}

fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2, net.b2) }

penalize forget: linear(5e-3 -> 0, 0%..80%) * l1() of elements  // weights only; biases stay free
require few: global_floor(30%, floor: 1%) on net.{w1, w2}

train main {
  loss: mean(f(retain.x)^2)
  optimizer: sgd(lr: 0.1)
  steps: 50
  phase fade 80% { apply forget }
  phase prune 20% { apply few }
}
