//! Attention whose queries and keys fall into semantic blocks: a block that the task does not need vanishes.
//! The strength of the penalty is the locality dial: 0 is plain training. After localist language models (2025).
edition 1
use std.nn
use std.penalties.group_l2

axis B = 1..8, T = 1..64

model net {
  axes { D = 32, H = 4, C = 8 }
  wq: f32[(H C), D] = kaiming()   wk: f32[(H C), D] = kaiming()
  wv: f32[(H C), D] = kaiming()   wo: f32[D, (H C)] = kaiming()
}

fn attend(x: f32[B, T, D]) -> y: f32[B, T, D] { y = x + nn.attention(x, net) }

const locality = dial(0.05)  // `--set locality=0`

/// All queries of one head over eight neighbouring inputs.
group block = tile(out: 8, in: 8)

penalize local: locality * group_l2() of block on net.{wq, wk}
