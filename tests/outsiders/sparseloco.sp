//! SparseLoCo (training card 25): compressed outer steps. A chunk of 64 x 64 sends its 64 largest error-feedback entries,
//! what is not sent stays in the error state of the replica. One replica, no quantiser.

use std.nn

axis B = 1..64

model net {
  axes { I = 128, F = 192, O = 64 }
  up:   f32[F, I] = kaiming()   bu: f32[F] = zeros()
  down: f32[O, F] = kaiming()   bd: f32[O] = zeros()
}

fn predict(x: f32[B, I]) -> y: f32[B, O] {
  h = nn.silu(nn.linear(x, net.up, net.bu))
  y = nn.linear(h, net.down, net.bd)
}

/// One outer round: `g` is the pseudo-gradient. e <- beta e + alpha g; q = TopK_chunk(e); e <- e - q; w <- w - lr q.
update sparseloco(c: constraint, k: int = 64, beta: f32 = 0.95, alpha: f32 = 1) {
  state e: f32 like w = 0
  fed = beta * e + alpha * g
  sent = top(k, by: abs(fed), per: c)
  step(w, g, lr) -> w {
    e = fed * !sent
    w = w - lr * fed * sent
  }
  observe density = mean(sent)
}

// The constraint only names the chunks: all weights are kept.
require chunk: keep above 0 of elements per tile(out: 64, in: 64) by abs via sparseloco()
