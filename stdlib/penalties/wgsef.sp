//! Weighted group sparse envelope (WGSEF): the tightest convex function below "energy, and at most k groups".

/// `a[j]` is the norm of group j. Value and prox are both roots of one monotone piecewise-linear function.
/// One prox does not leave exactly k groups: pair it with a `require` of the same amount.
penalty wgsef(keep: amount, energy: weight = 1, cost: weight = 1) of groups {
  value(a[j]) -> v {
    b[j] = a[j] * sqrt(energy[j] / cost[j])
    s    = root((s) => sum(cost[j] * clip(b[j] * s, 0, 1) over j) - keep, 0..inf)
    u[j] = clip(b[j] * s, 0, 1)
    v    = 0.5 * sum(if a[j] > 0 { energy[j] * a[j]^2 / u[j] } else { 0 } over j)
  }
  prox(a[j], tau) -> x[j] {
    h[j] = a[j] * sqrt(tau * energy[j] / cost[j])
    t    = root((t) => sum(cost[j] * clip(h[j] * t - tau * energy[j], 0, 1) over j) - keep, 0..inf)
    u[j] = clip(h[j] * t - tau * energy[j], 0, 1)
    x[j] = a[j] * u[j] / (u[j] + tau * energy[j])
  }
}

/// All groups alike: half the square of the group k-support norm. Argyriou, Foygel and Srebro 2012.
penalty sef(keep: amount) of groups = wgsef(keep)

/// Difference form: zero exactly on k-sparse points, so it needs no debiasing. Needs tau < 1.
penalty wgsef_exact(keep: amount) of groups {
  value(a[j])     = wgsef(keep).value(a) - 0.5 * sum(a[j]^2 over j)
  prox(a[j], tau) = wgsef(keep).prox(a / (1 - tau), tau / (1 - tau))
}
