//! Constraints taken apart: weights whose choices do not depend on each other, each with what is asked of it.
use crate::{Amount, Cover, Keep, Require, Scope, Score};
use std::collections::{BTreeMap, BTreeSet};

/// Whether what is chosen in one member depends on that member alone.
fn separable(k: &Keep) -> bool {
    let own = |s: Scope| matches!(s, Scope::Tile | Scope::Tensor);
    let amount = |a: &Amount| !matches!(a, Amount::Budget { .. });
    own(k.scope)
        && matches!(k.score, Score::Abs | Score::Norm1 | Score::Norm2)
        && amount(&k.amount)
        && k.floor.is_none_or(|f| own(f.scope))
        && k.members.iter().all(|m| !matches!(m.cover, Cover::Slices(_)) && m.amount.as_ref().is_none_or(amount))
}

fn names(k: &Keep) -> BTreeSet<&str> {
    k.members.iter().map(|m| m.weight.as_str()).collect()
}

/// The constraints in groups that share no weight, each in the order of the list and cut down to its members: what all of
/// them do one after the other is what the list does. A constraint whose sentences choose in each tensor alone is divided
/// among its tensors; sentences keep their numbers.
pub fn independent(list: &[Require]) -> Vec<Vec<Require>> {
    // A weight stands for its group by the least name that it is tied to.
    let mut ties: BTreeMap<&str, &str> = BTreeMap::new();
    fn root<'a>(ties: &BTreeMap<&'a str, &'a str>, mut w: &'a str) -> &'a str {
        while let Some(next) = ties.get(w).filter(|n| **n != w) {
            w = next;
        }
        w
    }
    for r in list {
        let apart = r.keeps.iter().all(separable) && r.keeps.windows(2).all(|k| names(&k[0]) == names(&k[1]));
        let all = r.weights();
        for w in &all {
            ties.entry(w).or_insert(w);
        }
        if !apart && let Some(first) = all.first() {
            for w in &all {
                let (a, b) = (root(&ties, first), root(&ties, w));
                ties.insert(a.max(b), a.min(b));
            }
        }
    }
    let roots: BTreeSet<&str> = ties.keys().map(|w| root(&ties, w)).collect();
    let one = |group: &str| -> Vec<Require> {
        let cut = |r: &Require| {
            let keeps = r.keeps.iter().map(|k| {
                let mine = k.members.iter().filter(|m| root(&ties, &m.weight) == group).cloned();
                Keep { members: mine.collect(), ..k.clone() }
            });
            Require { name: r.name.clone(), keeps: keeps.collect() }
        };
        list.iter().map(cut).filter(|r| r.keeps.iter().any(|k| !k.members.is_empty())).collect()
    };
    roots.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Member;

    fn keep(scope: Scope, weights: &[&str]) -> Keep {
        let member = |w: &&str| Member::tile(*w, &[4, 4], &[1, 1], &[1, 4], "");
        Keep::new(Amount::Count(2), scope, weights.iter().map(member).collect())
    }

    fn require(name: &str, keeps: Vec<Keep>) -> Require {
        Require { name: name.into(), keeps }
    }

    fn shape(list: &[Require]) -> Vec<Vec<(String, Vec<String>)>> {
        let one = |r: &Require| (r.name.clone(), r.weights().into_iter().map(Into::into).collect());
        independent(list).iter().map(|l| l.iter().map(one).collect()).collect()
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tensors_are_divided_where_each_chooses_alone() {
        let a = require("a", vec![keep(Scope::Tile, &["u", "v"])]);
        let b = require("b", vec![keep(Scope::Tensor, &["v"])]);
        assert_eq!(
            shape(&[a, b]),
            [vec![("a".into(), words(&["u"]))], vec![("a".into(), words(&["v"])), ("b".into(), words(&["v"]))]]
        );
    }

    #[test]
    fn what_chooses_among_tensors_keeps_them_together() {
        let whole = require("m", vec![keep(Scope::Model, &["u", "w"])]);
        let tile = require("t", vec![keep(Scope::Tile, &["u", "v", "w"])]);
        assert_eq!(
            shape(&[tile.clone(), whole.clone()]),
            [
                vec![("t".into(), words(&["u", "w"])), ("m".into(), words(&["u", "w"]))],
                vec![("t".into(), words(&["v"]))]
            ]
        );
        for change in [
            |k: &mut Keep| k.score = Score::Random(1),
            |k: &mut Keep| k.amount = Amount::Budget { num: 1, den: 2, of: crate::Cost::Params },
            |k: &mut Keep| k.floor = Some(crate::Floor { count: 1, share: None, scope: Scope::Model }),
        ] {
            let mut k = keep(Scope::Tensor, &["u", "v"]);
            change(&mut k);
            assert_eq!(shape(&[require("r", vec![k])]).len(), 1);
        }
        // Sentences over different tensors stay as they are.
        let r = require("r", vec![keep(Scope::Tile, &["u", "v"]), keep(Scope::Tile, &["v"])]);
        assert_eq!(shape(&[r]).len(), 1);
        assert!(independent(&[]).is_empty());
    }
}
