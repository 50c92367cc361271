//! Few channels find the tokens, all channels attend to them. Nothing is evicted.
//! Double Sparsity, Yang et al. 2024, arXiv 2408.07092.
use std.nn

/// How much channel `c` of a KV head contributes to logits: query and key of the same token, averaged over all tokens.
score channel_weight(q: float[N, KV, G, C], k: float[N, KV, C]) -> s: f32[KV, C] {
  s[kv, c] = mean(abs(q[n, kv, g, c] * k[n, kv, c]) over n, g)
}

/// The label channels of each KV head, from queries and keys of calibration tokens.
fn labels(q: float[N, KV, G, C], k: float[N, KV, C], channels: amount = 6.25%) -> label: relation[KV, C] {
  label = select(keep channels of slices(C) per KV by channel_weight(q, k))
}

/// Approximate logits from the label channels. A table per KV head; a query uses its own KV head's table.
score label_dot(q: float[B, KV, G, C], k: float[B, KV, S, C], label: relation[KV, C]) -> s: f32[B, KV, S] {
  s[b, kv, s] = max(sum(q[b, kv, g, c] * k[b, kv, s, c] over c in label[kv]) over g)
}

/// One decoding step. Dense while the cache is shorter than `min_context`.
fn attend_labelled(
  q: float[B, KV, G, C], kv: cache[B, KV, S, C], label: relation[KV, C],
  tokens: amount = 6.25%, recent: int = 16, min_context: int = 4096,
) -> o: float[B, KV, G, C] {
  heavy = select(keep tokens of slices(S) per (B, KV) by label_dot(q, kv.k, label) always last recent)
  o     = if size(S) < min_context { nn.attend(q, kv.k, kv.v).o } else { nn.attend(q, kv.k, kv.v, within: heavy).o }
}
