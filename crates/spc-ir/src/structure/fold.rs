//! What may take the place of values of a graph: offered beside them, and decided by a search. What folds into the weights of
//! neighbouring linears is found here.
use super::recipe::Recipe;
use super::{Restructure, batch_norm, factors, norm};
use crate::{Graph, NodeId, Op, Patch, ScalarExpr, Type};
use spc_base::Bug;
use std::collections::BTreeSet;

/// Names of the rules in plans, with their exactness class: sums of other numbers, each rounded once.
pub const FOLD_NORM: &str = "fold-norm R";
pub const FOLD_BATCH_NORM: &str = "fold-batch-norm R";
pub const FOLD_CONSTANT: &str = "fold-constant R";

/// A weight that is made before the program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub name: String,
    pub from: Vec<String>,
    pub how: Recipe,
}

/// Values that others may take the place of, whose weights hold what is no longer computed.
#[derive(Clone, Debug)]
pub struct Fold {
    pub rule: &'static str,
    /// Weights that are then read no more, or what stands for them in words.
    pub what: Vec<String>,
    /// What is replaced, and the weights that are made for it.
    pub replaced: Vec<(NodeId, Vec<Made>)>,
    patch: Patch,
}

/// A fold as it stands in a graph that has both: each value with the one that may be read in its place.
pub type Pairs = Vec<(NodeId, NodeId)>;

/// A graph with folds beside what they may replace.
pub struct Folded {
    /// Everything that was there, and what is new. Nothing reads what may be read instead.
    pub union: Graph,
    /// For each fold, in order.
    pub pairs: Vec<Pairs>,
    /// For each fold the one, before it, in whose values it stands: it is nothing without that one.
    pub within: Vec<Option<usize>>,
}

impl Fold {
    pub(super) fn new(rule: &'static str, what: Vec<String>, replaced: Vec<(NodeId, Vec<Made>)>, patch: Patch) -> Fold {
        Fold { rule, what, replaced, patch }
    }

    /// One whose weights are all made for the first thing that `patch` replaces, because they are made together.
    pub(super) fn of(rule: &'static str, what: Vec<String>, made: Vec<Made>, patch: Patch) -> Fold {
        let mut replaced: Vec<(NodeId, Vec<Made>)> = patch.replaces().into_iter().map(|n| (n, Vec::new())).collect();
        if let Some((_, list)) = replaced.first_mut() {
            *list = made;
        }
        Fold { rule, what, replaced, patch }
    }

    /// The steps that this fold is in a plan, for the values that it replaces there.
    pub fn steps(&self, taken: &BTreeSet<NodeId>, because: &str) -> Vec<Restructure> {
        let mine = self.replaced.iter().filter(|(n, _)| taken.contains(n));
        let step = |m: &Made| Restructure {
            rule: self.rule.into(),
            from: m.from.clone(),
            rows: Vec::new(),
            made: Some(m.name.clone()),
            because: because.into(),
            how: Some(m.how.clone()),
        };
        mine.flat_map(|(_, made)| made).map(step).collect()
    }

    /// What a plan says of it where it is not taken.
    pub fn refused(&self, because: String) -> Restructure {
        refusal(self.rule, self.what.clone(), because)
    }
}

/// What a plan says of something that could be folded and is not.
pub(super) fn refusal(rule: &str, from: Vec<String>, because: String) -> Restructure {
    Restructure { rule: rule.into(), from, rows: Vec::new(), made: None, because, how: None }
}

/// What can be folded, and what cannot although it looks like it, with the reason.
///
/// # Errors
/// Only our own mistakes.
pub fn folds(g: &Graph) -> Result<(Vec<Fold>, Vec<Restructure>), Bug> {
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    let mut names: BTreeSet<String> = g.weights().into_iter().map(|(n, _)| n).collect();
    for n in g.order()? {
        let looks = match g.node(n)?.op {
            Op::Map { .. } => [norm::fold(g, n)?, batch_norm::fold(g, n)?],
            Op::Contract { .. } => [factors::fold(g, n)?, None],
            _ => continue,
        };
        for one in looks.into_iter().flatten() {
            match one {
                Err(why) => refused.push(why),
                Ok(fold) => {
                    let made: Vec<&String> = fold.replaced.iter().flat_map(|(_, made)| made).map(|m| &m.name).collect();
                    let unique: BTreeSet<&String> = made.iter().copied().collect();
                    if unique.len() != made.len() || made.iter().any(|m| names.contains(*m)) {
                        refused.push(fold.refused("another weight has the name of what would be made".into()));
                        continue;
                    }
                    names.extend(unique.into_iter().cloned().collect::<Vec<_>>());
                    found.push(fold);
                }
            }
        }
    }
    Ok((found, refused))
}

/// The graph with these folds beside what they may replace.
pub fn with_folds(g: &Graph, folds: &[Fold]) -> Result<Folded, Bug> {
    let mut out = Folded { union: g.clone(), pairs: Vec::new(), within: Vec::new() };
    out.add(None, folds)?;
    Ok(out)
}

impl Folded {
    /// More folds, of the graph that is left where the fold `within` is taken, if one is named.
    pub fn add(&mut self, within: Option<usize>, folds: &[Fold]) -> Result<(), Bug> {
        for f in folds {
            self.pairs.push(f.patch.offer(&mut self.union)?);
            self.within.push(within);
        }
        Ok(())
    }

    /// The same nodes with these folds taken, by their place in the list, and those that they stand in, without what is then
    /// read by nothing.
    pub fn with(&self, taken: &dyn Fn(usize) -> bool) -> Graph {
        let mut all: Vec<bool> = (0..self.pairs.len()).map(taken).collect();
        for (i, within) in self.within.iter().enumerate().rev() {
            if let (Some(true), Some(k)) = (all.get(i), within)
                && let Some(outer) = all.get_mut(*k)
            {
                *outer = true;
            }
        }
        let mut out = self.union.clone();
        for (old, new) in self.pairs.iter().zip(all).filter(|(_, t)| *t).flat_map(|(p, _)| p) {
            out.redirect(*old, *new);
        }
        out.drop_unread();
        out
    }

    /// Names of the weights that are read where these values are replaced. A name may stand for several nodes then.
    pub fn reads(&self, taken: &BTreeSet<NodeId>) -> BTreeSet<String> {
        let mut out = self.union.clone();
        for (old, new) in self.pairs.iter().flatten().filter(|(old, _)| taken.contains(old)) {
            out.redirect(*old, *new);
        }
        out.drop_unread();
        out.weights().into_iter().map(|(n, _)| n).collect()
    }
}

/// The graph with the folds of these values taken. Constraints on a weight are then about the one that takes its place: it has
/// the same zeros.
pub fn take(folded: &Folded, folds: &[Fold], taken: &BTreeSet<NodeId>) -> Result<Graph, Bug> {
    let mut out = folded.union.clone();
    for (old, new) in folded.pairs.iter().flatten().filter(|(old, _)| taken.contains(old)) {
        out.redirect(*old, *new);
    }
    for m in out.requires.iter_mut().flat_map(|r| &mut r.keeps).flat_map(|k| &mut k.members) {
        let mut made = folds.iter().flat_map(|f| &f.replaced).filter(|(n, _)| taken.contains(n)).flat_map(|r| &r.1);
        let scaled = |d: &&Made| matches!(d.how, Recipe::Scaled { .. }) && d.from.first() == Some(&m.weight);
        if let Some(d) = made.find(scaled) {
            m.weight.clone_from(&d.name);
        }
    }
    let out = out.compact()?;
    out.verify().map_err(|b| Bug::new(format!("after folding: {}", b.0)))?;
    Ok(out)
}

/// The last part of a name.
pub(super) fn tail(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, t)| t)
}

/// The f32 weight that a node is.
pub(super) fn weight(g: &Graph, n: NodeId) -> Result<Option<(&str, &Type)>, Bug> {
    Ok(match &g.node(n)?.op {
        Op::Weight { name, ty } if ty.dtype == crate::DType::F32 => Some((name, ty)),
        _ => None,
    })
}

/// Whether a constraint is about one of these weights.
pub(super) fn constrained<'a>(g: &Graph, names: &'a [String]) -> Option<&'a String> {
    let about: BTreeSet<&str> = g.requires.iter().flat_map(|r| r.weights()).collect();
    names.iter().find(|n| about.contains(n.as_str()))
}

/// An expression over operands of a map as text over the weights of a recipe; `place` gives the number of an operand there.
pub(super) fn text(e: &ScalarExpr, place: &dyn Fn(u8) -> ScalarExpr) -> String {
    e.substitute(place).to_string()
}
