//! Scores of single weights: an expression over `w`, the gradient `g`, and what calibration data says. `abs`, `norm1`, `norm2` and
//! `random(seed)` belong to the language.

/// How much the loss would change if the weight went, to first order. Molchanov et al. 2017, arXiv 1611.06440.
score taylor() = abs(w * g)

/// Magnitude times the norm of the input that it meets. Wanda, Sun et al. 2023, arXiv 2306.11695.
score wanda(x: data) = abs(w) * input_norm(x)

/// Optimal brain surgeon: the loss that removing the weight costs after the others made up for it. Hassibi and Stork 1993.
score obs(x: data) = w^2 / (2 * inverse_hessian(x))
