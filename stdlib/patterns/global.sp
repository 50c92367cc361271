//! One threshold for the whole model.

/// Every tensor keeps at least `floor` of all the model's weights, so no layer empties.
/// Global MP with minimum threshold, Gupta et al. 2022, arXiv 2209.14624.
pattern global_floor(density: amount, floor: amount = 0.05%) =
  keep density of elements per model min floor per tensor by abs

/// Reached gradually, as in Zhu and Gupta 2017, arXiv 1710.01878.
pattern global_gradual(density: pct, window: range = 0%..60% of steps) =
  keep cubic(100% -> density, window) of elements per model min 1 per tensor by abs
