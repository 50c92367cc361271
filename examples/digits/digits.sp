//! Handwritten digits: one dense set of weights, projected to 2:4 and to 16 x 1 blocks, dense beside sparse.
edition 1
use std.nn
use std.patterns.nm

axis B = 1..512  // free: chosen at run time, within this range

data digits from csv "digits.csv.gz" {
  axes { I = 64, O = 10 }
  image: f32[I] = columns(0..64) / 16
  label: i32    = column(64)
  split { test = rows("test_rows.txt"), train = rest }
}

model mlp from safetensors "digits.safetensors" {
  axes { I = 64, N = 256, M = 128, O = 10 }
  w1: f32[N, I] = "w1"    b1: f32[N] = "b1"
  w2: f32[M, N] = "w2"    b2: f32[M] = "b2"
  w3: f32[O, M] = "w3"    b3: f32[O] = "b3"
}

fn classify(image: f32[B, I]) -> logits: f32[B, O] {
  x      = nn.relu(nn.linear(image, mlp.w1, mlp.b1))
  x      = nn.relu(nn.linear(x, mlp.w2, mlp.b2))
  logits = nn.linear(x, mlp.w3, mlp.b3)
}

require nm24: nm(2, 4) on mlp.w1
require cols: keep 25% of tile(out: 16, in: 1) per tensor by norm2 on mlp.w2

run test { call: classify(digits.test.image)   report: [accuracy(digits.test.label), size, time] }

target laptop = cpu(threads: 1) { B = 360 }

expect accuracy(classify, digits.test) >= 95%
expect size(mlp, on: disk) <= 128 KiB
expect sparsity(mlp.w1) >= 50%
expect sparsity(mlp.w2) >= 70%
