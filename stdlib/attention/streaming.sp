//! The first tokens and a window of the latest ones. Attention sinks, Xiao et al. 2023.
use std.nn

/// Keys of the first `sinks` tokens and of the `window` latest ones.
mask sinks_and_window(q, k, sinks: int, window: int) = k <= q && (k < sinks || q - k < window)

fn streaming(
  q: float[B, H, T, C], k: float[B, H, S, C], v: float[B, H, S, C], sinks: int = 4, window: int = 1024,
) -> o: float[B, H, T, C] {
  o = nn.attend(q, k, v, allow: (t, s) => sinks_and_window(t, s, sinks: sinks, window: window)).o
}
