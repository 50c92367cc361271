//! Group lasso over LoRA pairs: the update that forgets a class lives in few blocks. A pair is A and B of one matrix, coupled
//! through their rank. GS-LoRA, Zhao et al. 2024.
edition 1
use std.nn
use std.penalties.group_l2

axis B = 1..8

model net {
  axes { D = 24, F = 48, R = 8, L = 3 }
  layer[l: L] {
    up: f32[F, D] = kaiming()     up_a: f32[R, D] = kaiming()     up_b: f32[F, R] = zeros()
    down: f32[D, F] = kaiming()   down_a: f32[R, F] = kaiming()   down_b: f32[D, R] = zeros()
  }
}

fn f(x: f32[B, D]) -> y: f32[B, D] {
  for l in L {
    p = net.layer[l]
    h = nn.relu(nn.linear(x, p.up) + nn.linear(nn.linear(x, p.up_a), p.up_b))
    x = x + nn.linear(h, p.down) + nn.linear(nn.linear(h, p.down_a), p.down_b)
  }
  y = x
}

/// The whole rank of one pair: all of A and all of B.
group pair[l, r: R] = slices(R by 8) of net.layer[l]

penalize forget: event(20%) * group_l2(scale: 0.02) of pair
