//! Scalar penalties of one number x >= 0. `radial`: lifted to magnitudes of weights or to norms of groups.

/// The lasso. Tibshirani 1996.
penalty l1(weight: f32 = 1) radial {
  value(x)     = weight * x
  prox(x, tau) = max(x - tau * weight, 0)
}

/// A price for every weight that is there. The prox keeps what is worth it: hard thresholding.
penalty l0(weight: f32 = 1) radial {
  value(x)     = if x > 0 { weight } else { 0 }
  prox(x, tau) = if x > sqrt(2 * tau * weight) { x } else { 0 }
}

/// A power of the magnitude, 0 < q < 1. The prox is 0 up to a threshold, from there on the greater root of
/// y + tau weight q y^(q - 1) = x: six steps of Newton's method from the right, where the function is convex.
/// Marjanovic and Solo 2012.
penalty lq(weight: f32 = 1, q: f32 = 0.5) radial {
  value(x)     = weight * pow(x, q)
  prox(x, tau) -> y {
    mu  = tau * weight
    low = pow(2 * mu * (1 - q), 1 / (2 - q))
    cut = low + mu * q * pow(low, q - 1)
    z = max(x, cut)
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    z = z - (z - max(x, cut) + mu * q * pow(z, q - 1)) / (1 - mu * q * (1 - q) * pow(z, q - 2))
    y = if x <= cut { 0 } else { z }
  }
}

/// The root of the magnitude. Xu, Chang, Xu and Zhang 2012.
penalty lhalf(weight: f32 = 1) radial = lq(weight, 0.5)

/// ln(1 + x / eps). Candes, Wakin and Boyd 2008.
penalty log_sum(weight: f32 = 1, eps: f32 = 0.1) radial {
  value(x)     = weight * log(1 + x / eps)
  prox(x, tau) -> y {
    mu   = tau * weight
    d    = (x + eps)^2 - 4 * mu
    root = (x - eps + sqrt(max(d, 0))) / 2
    y = if d <= 0 || root <= 0 { 0 }
      else if (root - x)^2 / 2 + mu * log(1 + root / eps) < x^2 / 2 { root }
      else { 0 }
  }
}

/// l1 up to a bound, then flat. Zhang 2010.
penalty capped_l1(weight: f32 = 1, bound: f32 = 1) radial {
  value(x)     = weight * min(x, bound)
  prox(x, tau) -> y {
    small = clip(x - tau * weight, 0, bound)
    large = max(x, bound)
    y = if (small - x)^2 / 2 + tau * weight * small <= (large - x)^2 / 2 + tau * weight * bound { small } else { large }
  }
}
