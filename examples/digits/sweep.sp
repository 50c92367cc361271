//! Handwritten digits: how many of the weights are needed? One threshold for the whole model, no training.
edition 1
use std.nn

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

const left = dial(50%)  // `spc sweep examples/digits/sweep.sp --over left=2%..50%:4%`
require all: keep left of elements per model min 1% per tensor by abs

run test { call: classify(digits.test.image)   report: [accuracy(digits.test.label)] }

target laptop = cpu(threads: 1) { B = 360 }
