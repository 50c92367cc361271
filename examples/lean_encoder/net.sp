//! Two encoder layers, a quarter of whose feed-forward neurons go: `spc export net.sp --emit=shrunk -o small.safetensors`.
edition 1
use std.nn

axis B = 1..4, T = 1..8

model net from safetensors "net.safetensors" {
  axes { D = 8, H = 2, C = 4, F = 16, L = 2 }
  layer[l: L] = "layer.{l}" {
    wq: f32[(H C), D]   wk: f32[(H C), D]   wv: f32[(H C), D]   wo: f32[D, (H C)]
    up: f32[F, D]       bu: f32[F]          down: f32[D, F]     bd: f32[D]
    norm1: f32[D]       shift1: f32[D]      norm2: f32[D]       shift2: f32[D]
  }
}

fn encode(x: f32[B, T, D]) -> y: f32[B, T, D] {
  for l in L {
    p = net.layer[l]
    x = nn.layernorm(x + nn.attention(x, p), p.norm1, p.shift1)
    h = nn.gelu(nn.linear(x, p.up, p.bu))
    x = nn.layernorm(x + nn.linear(h, p.down, p.bd), p.norm2, p.shift2)
  }
  y = x
}

group neuron[l, n: F] = slices(F) of net.layer[l]
require lean: keep 75% of neuron per layer by norm2
