//! MiniLM-L6 sentence embeddings: 2:4 on attention, 16 x 1 blocks at 75 % zeros on the feed-forward, no retraining.
edition 1
use std.nn
use std.patterns.nm

axis B = 1..128, T = 1..128  // free: chosen at run time, within these ranges

model mini from safetensors "model.safetensors" {
  axes { V = 30522, P = 512, K = 2, D = 384, H = 12, C = 32, F = 1536, L = 6 }
  word:  f32[V, D] = "embeddings.word_embeddings.weight"
  place: f32[P, D] = "embeddings.position_embeddings.weight"
  kind:  f32[K, D] = "embeddings.token_type_embeddings.weight"
  norm0: f32[D] = "embeddings.LayerNorm.weight"   shift0: f32[D] = "embeddings.LayerNorm.bias"
  layer[l: L] = "encoder.layer.{l}" {
    wq: f32[(H C), D] = "attention.self.query.weight"     bq: f32[(H C)] = "attention.self.query.bias"
    wk: f32[(H C), D] = "attention.self.key.weight"       bk: f32[(H C)] = "attention.self.key.bias"
    wv: f32[(H C), D] = "attention.self.value.weight"     bv: f32[(H C)] = "attention.self.value.bias"
    wo: f32[D, (H C)] = "attention.output.dense.weight"   bo: f32[D]     = "attention.output.dense.bias"
    norm1: f32[D] = "attention.output.LayerNorm.weight"   shift1: f32[D] = "attention.output.LayerNorm.bias"
    up:   f32[F, D] = "intermediate.dense.weight"         bu: f32[F] = "intermediate.dense.bias"
    down: f32[D, F] = "output.dense.weight"               bd: f32[D] = "output.dense.bias"
    norm2: f32[D] = "output.LayerNorm.weight"             shift2: f32[D] = "output.LayerNorm.bias"
  }
}

/// One unit vector for each text: the mean of its tokens' last states.
fn embed(ids: i32[B, T], real: bool[B, T]) -> sentence: f32[B, D] {
  x[b, t, d] = mini.word[ids[b, t], d] + mini.place[int(t), d] + mini.kind[0, d]
  x = nn.layernorm(x, mini.norm0, mini.shift0, eps: 1e-12)
  for l in L {
    p = mini.layer[l]
    x = nn.layernorm(x + nn.attention(x, p, keys: real), p.norm1, p.shift1, eps: 1e-12)
    h = nn.gelu(nn.linear(x, p.up, p.bu))
    x = nn.layernorm(x + nn.linear(h, p.down, p.bd), p.norm2, p.shift2, eps: 1e-12)
  }
  pooled[b, d]   = sum(x[b, t, d] * real[b, t] over t) / sum(real[b, t] over t)
  sentence[b, d] = pooled[b, d] / sqrt(sum(pooled[b, e]^2 over e))
}

data eval from text "sentences.txt" { ids, real = wordpiece("tokenizer.json", length: 128) }

require attn: nm(2, 4) on mini.layer.*.{wq, wk, wv, wo}
require ffn:  keep 25% of tile(out: 16, in: 1) per tensor by norm2 on mini.layer.*.{up, down}

run compare { call: embed(eval.ids, eval.real)   report: [pairs, cosine, size, time] }

target laptop = cpu(threads: 1) { B = 8, T = 128 }
target h200   = cuda(arch: "sm_90a") { B = 128, T = 128 }

expect size(mini, on: disk) <= 72 MiB
