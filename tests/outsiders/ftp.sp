//! FTP (inference card 7): every block skips some tokens, chosen by a router that reads position, attention received,
//! its rank, and the sparsity target of the block. Keys and values of skipped tokens are computed (kv: all).

use std.nn

axis B = 1..4, T = 2..128

model net {
  axes { L = 4, D = 32, H = 2, C = 16, F = 64, J = 4, U = 16 }
  layer[l: L] {
    wq: f32[(H C), D] = glorot()   wk: f32[(H C), D] = glorot()
    wv: f32[(H C), D] = glorot()   wo: f32[D, (H C)] = glorot()
    up: f32[F, D] = kaiming()      down: f32[D, F] = glorot()
    n1: f32[D] = ones()            n2: f32[D] = ones()
  }
  r1: f32[U, J] = kaiming()   r2: f32[U] = normal(std: 0.3)
}

const TARGET = [0, 0.25, 0.25, 0.5]  // the share of tokens that each block skips
const KEEP = [100%, 75%, 75%, 50%]

fn forward(x: f32[B, T, D]) -> y: f32[B, T, D] {
  got = mean(x over D) * 0
  for l in L {
    p = net.layer[l]
    n[b, t] = float(int(t)) / 128 + 0 * got[b, t]
    place = float(rank(got over T)) / 128
    hid[b, t, u] = max(
      net.r1[u, 0] * n[b, t] + net.r1[u, 1] * got[b, t] + net.r1[u, 2] * place[b, t] + net.r1[u, 3] * TARGET[l], 0
    )
    pi[b, t] = nn.sigmoid(hid[b, t, u] * net.r2[u])
    go = select(keep KEEP[l] of slices(T) per B by pi always first 1, last 1)
    z = nn.rmsnorm(x, p.n1)
    q[b, h, t, c] = nn.linear(z, p.wq)[b, t, (h c)]
    k[b, h, t, c] = nn.linear(z, p.wk)[b, t, (h c)]
    v[b, h, t, c] = nn.linear(z, p.wv)[b, t, (h c)]
    a[b, h, t, s] = q[b, h, t, c] * k[b, h, s, c]
    seen[b, h, t, s] = if int(s) <= int(t) { a[b, h, t, s] / 4 } else { -inf }
    share[b, h, t, s] = softmax(seen[b, h, t, s] over s)
    got[b, s] = mean(share[b, h, t, s] over h, t)
    r = nn.attend(q, k, v, allow: nn.causal).o
    m[b, t, d] = x[b, t, d] + r[b, h, t, c] * p.wo[d, (h c)]
    m = m + nn.linear(nn.relu(nn.linear(nn.rmsnorm(m, p.n2), p.up)), p.down)
    x = if go { m } else { x }
  }
  y = x
}
