//! Schedules: pure functions of `step`, `steps` (the length of the run) and `progress` (`step / steps`, 0 to 1).
//! A window is written in shares of the whole run, `10%..80%`, or in steps. A plain number or percentage is a schedule that never changes.
//! Defined by the language itself, because they take lists: `steps([a, b, c], at: [20%, 60%])`, which is a before 20%,
//! then b, then c; `ladder(a, halving(b, c), window)`, each rung for an equal share of the window; `halving(a, b)`, the
//! rungs a, a/2, .. down to b, which is always the last.

/// How much of a window has passed: 0 before it, 1 from its end on.
schedule passed(window: range = 0%..100%) =
  if progress >= window.to { 1 }
  else if progress <= window.from { 0 }
  else { (progress - window.from) / (window.to - window.from) }

/// In a straight line from one value to another.
schedule linear(value: change, window: range = 0%..100%) =
  value.from + (value.to - value.from) * passed(window)

/// From nothing to `value` in a straight line.
schedule ramp(value: number, window: range = 0%..100%) = value * passed(window)

/// Half a wave: slow at both ends. Loshchilov and Hutter 2016, arXiv 1608.03983.
schedule cosine(value: change, window: range = 0%..100%) =
  if passed(window) >= 1 { value.to }
  else { value.to + (value.from - value.to) * (1 + cos(pi * passed(window))) / 2 }

/// Fast first, slow at the end. Zhu and Gupta 2017, arXiv 1710.01878.
schedule cubic(value: change, window: range = 0%..100%) =
  value.to + (value.from - value.to) * (1 - passed(window))^3

/// By the same factor in every equal part of the window.
schedule exp(value: change, window: range = 0%..100%) =
  if passed(window) >= 1 { value.to } else { value.from * (value.to / value.from)^passed(window) }

/// `rungs` values from one to the other, each a constant factor from the one before.
schedule geometric(value: change, rungs: int = 10, window: range = 0%..100%) =
  if rungs <= 1 || passed(window) * rungs >= rungs - 1 { value.to }
  else { value.from * (value.to / value.from)^(floor(passed(window) * rungs) / (rungs - 1)) }

/// `value` inside the window, 0 outside it.
schedule window(value: number, window: range) =
  if progress >= window.from && progress < window.to { value } else { 0 }

/// 1 at every `interval`-th step, the first included, else 0.
schedule every(interval: int) = if step - interval * floor(step / interval) == 0 { 1 } else { 0 }

/// 0 before a time, 1 from it on.
schedule event(from: time) = if progress >= from { 1 } else { 0 }

/// A value that can be set from outside without a rebuild; this is its default.
schedule dial(default: number) = default
