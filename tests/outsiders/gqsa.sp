//! GQSA (inference card 1): W4S50. Groups of 16 weights along the inputs are removed or stored as 4-bit codes.

use std.nn

axis B = 1..32

model block {
  axes { D = 64, F = 128 }
  gate: f32[F, D] = kaiming()
  up:   f32[F, D] = kaiming()
  down: f32[D, F] = kaiming()
}

fn ffn(x: f32[B, D]) -> y: f32[B, D] {
  h = nn.silu(nn.linear(x, block.gate)) * nn.linear(x, block.up)
  y = x + nn.linear(h, block.down)
}

/// Stage 1, BQPO: the mask is chosen once; only kept weights move.
update bqpo(c: constraint) {
  mask m = select(c) at init
  forward(w) = w * m
  grad(w, g) = g * m
}

/// OBS saliency of a weight, w^2 / [H^-1]_jj.
score saliency(x: data) = w^2 / inverse_hessian(x)

group g16 = tile(in: 16) of block.{gate, up, down}

require half: keep 50% of g16 per tensor by norm2 via bqpo()
quantize block.{gate, up, down} to int4(per: tile(in: 16)) at end

expect sparsity(block.down) >= 50%
