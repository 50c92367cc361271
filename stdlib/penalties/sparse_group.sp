//! Norm penalties of groups and how they compose.

/// Group lasso, scaled by the square root of the group's size. Yuan and Lin 2006.
penalty group_l2(scale: weight = sqrt(size)) of groups {
  value(a[j])     = sum(scale[j] * a[j] over j)
  prox(a[j], tau) = max(a[j] - tau * scale[j], 0)
}

/// Sparse-group lasso. The order matters: elements first, then groups. Simon et al. 2013.
penalty sparse_group(mix: pct = 5%, scale: weight = sqrt(size)) =
  mix * l1() of elements then (1 - mix) * group_l2(scale) of groups

/// Nested groups, from the leaves to the root. Jenatton et al. 2011.
penalty tree_l2(scale: weight = sqrt(size)) = group_l2(scale) of tree
