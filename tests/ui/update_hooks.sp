update thin(c: constraint, lambda: f32 = 1e-3) {
  mask m = select(c)
  forward(g) = g * m
  grad(w, g) = g + lamda * w
  step(w, g) { w = w - g }
  after(w) = w * select(c)
  refresh(w) -> moments every 0 steps { moments = w }
  observe gone = abs(w)
  value(x) = x
}
update twice(a: constraint, b: constraint) { forward(w) = w }
update kinds(c: constrain) { forward(w) = w }
