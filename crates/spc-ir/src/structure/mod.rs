//! Changes of structure that keep what a graph computes and change what it costs: proposals as patches, and what a plan says
//! of each. A search decides (`spc-layout`); nothing here knows of layouts or prices.
mod affine;
mod batch_norm;
mod factors;
mod fold;
mod norm;
mod recipe;
mod reorder;
mod residual;
mod rotate;
mod siblings;

pub use factors::scaled_weights;
pub use fold::{FOLD_BATCH_NORM, FOLD_CONSTANT, FOLD_NORM, Fold, Folded, Made, Pairs, folds, take, with_folds};
pub use recipe::{Recipe, Tensor};
pub use reorder::{
    Move, Order, REORDER, against, moved, moved_name, moves, moves_of, order_choices, order_fold, reordered,
};
pub use residual::{Fit, SPLIT, Share, Split, is_rest, split, split_name, splittable};
pub use rotate::{Rotation, Turned, rotation};
pub use siblings::{MERGE, Siblings, merge, part_of, range_in_place, read_in_place, siblings};

use serde::{Deserialize, Serialize};

/// One proposal and what became of it, as plans say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restructure {
    /// Name and exactness class of the rule (`merge-siblings B`).
    pub rule: String,
    /// Weights as the program has them, in the order in which they stand in what is made.
    pub from: Vec<String>,
    /// Rows (the size of the first dimension) of each of them; empty where nothing can be made of them.
    pub rows: Vec<u64>,
    /// The weight that takes their place; nothing where the program stays as it is.
    pub made: Option<String>,
    /// Why it was taken, or was not.
    pub because: String,
    /// How the weight is computed; nothing where the others stand in it one below the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<Recipe>,
}

/// One name for several: what they have in common up to a dot, and what differs in braces.
pub fn joined_name(names: &[String]) -> String {
    let head = |n: &str| n.rfind('.').map_or("", |i| &n[..=i]).to_string();
    let first = names.first().map(|n| head(n)).unwrap_or_default();
    if names.iter().any(|n| head(n) != first) {
        return format!("{{{}}}", names.join(","));
    }
    let tails: Vec<&str> = names.iter().map(|n| &n[first.len()..]).collect();
    format!("{first}{{{}}}", tails.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_their_head() {
        let name = |list: &[&str]| joined_name(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(name(&["m.0.wq", "m.0.wk"]), "m.0.{wq,wk}");
        assert_eq!(name(&["m.0.wq", "m.1.wk"]), "{m.0.wq,m.1.wk}");
        assert_eq!(name(&["a", "b"]), "{a,b}");
    }
}
