//! Long programs as people write them, for measuring the front end: blocks of a model, its functions and its constraints.
use std::fmt::Write;

/// Lines of one block.
const BLOCK: usize = 46;

/// A program of about `lines` lines that checks without a diagnostic. Every function is an entry of its own.
pub fn program(lines: usize) -> String {
    let mut out = String::from(
        "//! A long program.\nedition 1\nuse std.nn\nuse std.patterns.{nm, blocks}\n\naxis B = 1..64, T = 1..128  // free\n\n",
    );
    for i in 0..(lines.saturating_sub(7)).div_ceil(BLOCK).max(1) {
        block(&mut out, i);
    }
    out
}

fn block(out: &mut String, i: usize) {
    let text = "\
/// Encoder @: two attention layers of four heads, and a feed-forward part between norms.
model net@ {
  axes { V@ = 1000, D@ = 64, F@ = 256, H@ = 4, C@ = 16, L@ = 2, O@ = 10 }
  word: f32[V@, D@]
  place: f32[128, D@]
  layer[l: L@] {
    wq: f32[(H@ C@), D@]   bq: f32[(H@ C@)]
    wk: f32[(H@ C@), D@]   bk: f32[(H@ C@)]
    wv: f32[(H@ C@), D@]   bv: f32[(H@ C@)]
    wo: f32[D@, (H@ C@)]   bo: f32[D@]
    up: f32[F@, D@]        bu: f32[F@]
    down: f32[D@, F@]      bd: f32[D@]
    scale1: f32[D@]        shift1: f32[D@]
    scale2: f32[D@]        shift2: f32[D@]
  }
  head: f32[O@, D@]  bias: f32[O@]
}

/// Scores of a batch of texts.
fn classify@(ids: i32[B, T], real: bool[B, T]) -> y: f32[B, O@] {
  x[b, t, d] = net@.word[ids[b, t], d] + net@.place[int(t), d]
  for l in L@ {
    p = net@.layer[l]
    q[b, t, h, c] = p.wq[(h c), d] * x[b, t, d] + p.bq[(h c)]
    k[b, s, h, c] = p.wk[(h c), d] * x[b, s, d] + p.bk[(h c)]
    v[b, s, h, c] = p.wv[(h c), d] * x[b, s, d] + p.bv[(h c)]
    a[b, h, t, s] = q[b, t, h, c] * k[b, s, h, c]
    a = nn.softmax(a / sqrt(16))
    m[b, t, h, c] = a[b, h, t, s] * v[b, s, h, c]
    o[b, t, d] = p.wo[d, (h c)] * m[b, t, h, c] + p.bo[d]
    x = nn.layernorm(x + o, p.scale1, p.shift1)  // post-norm
    f = nn.linear(nn.gelu(nn.linear(x, p.up, p.bu)), p.down, p.bd)
    x = nn.layernorm(x + f, p.scale2, p.shift2)
  }
  y = nn.linear(nn.mean_pool(x, real), net@.head, net@.bias)
}

require attention@: nm(2, 4) on net@.layer.*.{wq, wk, wv}
require wide@: blocks(50%, rows: 16, cols: 16) on net@.layer.*.{up, down}
require head@: keep 40% of elements per tensor by abs on net@.head

target laptop@ = cpu(threads: 1) { B = 8, T = 64 }
expect sparsity(net@.head) >= 60%
expect size(net@, on: disk) <= 4 MiB


";
    let _ = write!(out, "{}", text.replace('@', &i.to_string()));
}
