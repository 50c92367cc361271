//! Comparisons, choice, and the pointwise functions of the language.
axis B = 1..9
fn f(x: f32[B], n: i32[B], m: bool[B]) -> (a: f32[B], b: f32[B], c: bool[B], d: i32[B]) {
  a = if x > 0 && !m { exp(x) } else if x < -1 { tanh(x) / 3 } else { pow(abs(x), 0.5) }
  b = float(n) * m + min(sqrt(x), 2) - floor(x)
  c = n >= 2 || m
  d = if m { n + 1 } else { -n }
}
