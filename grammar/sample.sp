//! Every item and clause once. The grammars for editors are tested on it; it is read, not checked.
edition 1
use std.nn
use std.patterns.{nm, blocks}

// Axes are upper-case.
axis B = 1..32, T = 1..2048

/// Names that clauses use too.
const rates = [25%, 6.25%, 1e-3, 50_000]
const most = dial(2 of 4)

model net from safetensors "net.safetensors" {
  axes { V = 100, D = 576, KV = 3, G = 3, C = 64, F = 1536, L = 2 }
  embed: f32[V, D] = "token\"embd"
  head = embed
  layer[l: L] = "blk.{l}" {
    wq: f32[(KV G C), D] = "q.weight"
    gate: f32[F, D]   down: f32[D, F] = zeros()
  }
}

data eval from text "eval.txt" { ids, real = wordpiece("tokenizer.json", length: 128) split { test = 20%, by = real } }

/// Gated feed-forward.
fn ffn(x: float[.., D], p: { gate: float[F, D] }, allow: mask(T, S) = all) -> (y: float[.., D], lse: f32)
  where P = (F + 2 * 3) / 2 + 1
{
  state side: f32 like x = 0 when now == first
  for l in L {
    h[.., f] = p.gate[f, d] * x[.., d] + (if allow(1, 2) && !real { -inf } else { x^2 })
    (y, _) = nn.attend(h, allow: (t, s) => s <= t, keep: 40%)
  }
  y = sum(h[b, m] over b, m in link[b] by abs(h) where h > 0) + mean(x per T) + float(in)
}

mask causal(q, k) = k <= q || q == 0
score degree(link: relation[T, S]) -> s: f32[T] = count(m in link[n])
schedule active[l: L] = cubic(100% -> 20%, 10%..80% of steps)
group neuron[l, f: F] = slices(F by 64) of net.layer[l] cost: flops energy: e on_overlap latent
pattern vnm(v: int, m: int, along: axis = in) =
  keep 4 of m of tile(out: v) per tile(out: v, along: m) by joint
  then keep 2 of 4 of elements per tile(along: m) by abs

require thin: keep 75% of neuron per layer min 1 per tensor by joint norm2 on net.* except net.head multiple 64 at 90% of steps
require pages: keep above 1e-3 of wq@(KV: h) & wo@(KV: h) per model always first 1, last 4 every 100 steps until 80%
require nm24: nm(2, 4) on net.layer.*.{gate, down} via sr_ste(2e-4) ragged
penalize l1s: 1e-3 * l1() of elements where !select(keep most of elements) then group_l2() of neuron via prox pad
quantize q: net.layer.*.down except net.head to int4(per: tile(in: 16))

penalty l1(weight: f32 = 1) radial { value(x) = weight * x  prox(x, tau) = max(x - tau, 0) }
penalty mixed(mix: pct = 5%) of groups = mix * l1() of elements then (1 - mix) * l2() of groups

update sr_ste(c: constraint, lambda: f32 = 2e-4) {
  mask m = select(c) every 10 steps
  forward(w) = w * m
  grad(w, g[j]) -> g every 2 steps { g = g + lambda * (1 - m) * w }
  observe kept = mean(m)
}

train main {
  out = ffn(eval.ids)
  loss: mse(out, 0)   batch: 64   epochs: 30
  phase warm 10% { freeze masks }
  phase rest 90% { restart apply thin, l1s via prox sweep most = geometric(0.5 -> 0.005, 40) }
}
run test { call: ffn(eval.ids)   report: [size, time] }
target laptop = cpu(threads: 2) { B = 1, T = 1 }
plan fast for laptop { search: egraph(nodes: 50_000) }
expect size(net, on: disk) <= 60 MiB
