//! Scores of pages of keys, for `require pages: keep .. of tile(S: 64) of decode.kv by ..`. `q` and `k` are the queries and
//! keys of the attention that reads the cache.

/// Logits of the channels in which the query is largest, the greatest over the queries of a KV head. A page counts by its
/// best key.
score label_dot(q: float[B, KV, G, T, C], k: float[B, KV, P, C], channels: amount = 16) -> s: f32[B, KV, T, P] {
  label = select(keep channels of slices(C) per (B, KV, T) by max(abs(q) over G))
  s[b, kv, t, p] = max(sum(q[b, kv, g, t, c] * k[b, kv, p, c] over c in label[b, kv, t]) over g)
}

/// An upper bound of the logits of a page from the least and greatest value of each channel in it.
/// Quest, Tang et al. 2024.
score page_bound(q: float[B, KV, G, T, C], k: float[B, KV, P, C], page: int = 16) -> s: f32[B, KV, T, Pb]
  where Pb = (P + page - 1) / page
{
  (low, high)     = bounds(k, page)
  s[b, kv, t, pb] = max(
    sum(max(q[b, kv, g, t, c] * low[b, kv, pb, c], q[b, kv, g, t, c] * high[b, kv, pb, c]) over c) over g
  )
}

/// Least and greatest value of each channel in each page.
fn bounds(k: float[B, KV, P, C], page: int) -> (low: f32[B, KV, Pb, C], high: f32[B, KV, Pb, C])
  where Pb = (P + page - 1) / page
{
  low[b, kv, pb, c]  = min(k[b, kv, p, c] over p where int(p) / page == int(pb))
  high[b, kv, pb, c] = max(k[b, kv, p, c] over p where int(p) / page == int(pb))
}
