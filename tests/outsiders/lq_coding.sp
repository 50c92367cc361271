//! Beyond l1 in V1 (training card 19): sparse coding x = code phi with the lq penalty, 0 < q < 1, on the coefficients.

axis P = 64

model coder {
  axes { N = 32, K = 128 }
  code: f32[N, K] = normal(std: 0.3)
  phi:  f32[K, P] = normal(std: 0.125)
}

fn reconstruct(gain: f32[P]) -> y: f32[N, P] {
  y[n, p] = gain[p] * coder.code[n, k] * coder.phi[k, p]
}

/// p(x) = lambda x^q. With mu = tau lambda the prox is 0 up to x0 + mu q x0^(q - 1), where x0 = (2 mu (1 - q))^(1 / (2 - q));
/// above that, Newton's method from t = x on t - x + mu q t^(q - 1) = 0.
penalty lq(lambda: f32 = 1, q: f32 = 0.5) radial {
  value(x) = lambda * x^q
  prox(x, tau) -> t {
    mu = tau * lambda
    x0 = (2 * mu * (1 - q))^(1 / (2 - q))
    t = x
    t = t - (t - x + mu * q * t^(q - 1)) / (1 - mu * q * (1 - q) * t^(q - 2))
    t = t - (t - x + mu * q * t^(q - 1)) / (1 - mu * q * (1 - q) * t^(q - 2))
    t = t - (t - x + mu * q * t^(q - 1)) / (1 - mu * q * (1 - q) * t^(q - 2))
    t = t - (t - x + mu * q * t^(q - 1)) / (1 - mu * q * (1 - q) * t^(q - 2))
    t = t - (t - x + mu * q * t^(q - 1)) / (1 - mu * q * (1 - q) * t^(q - 2))
    t = if x <= x0 + mu * q * x0^(q - 1) { 0 } else { t }
  }
}

group atom = elements of coder.code

// The dictionary is not penalised: only its step is taken, and its columns are normalised outside of the program.
penalize few: 5e-2 * lq(1, q: 0.5) of atom via prox
