axis B = 1..4, T = 1..9, S = 0..99, L = 2
fn f(x: f32[B, T], now: i32) -> y: f32[B, T] {
  state a = x when now
  state b = x every 10 steps
  state c = 0
  state d: f32[B] = 1
  state e: f32[B] = 0
  e = x
  state x = x when now == 1
  state k: f32[T] = x when now == 1
  y = x
}
fn calibrated(x: f32[B, T]) -> y: f32[B, T] {
  state a = select(keep 1 of slices(T) per B by x) at calibration(calib)
  y = gather(x, a)
}
