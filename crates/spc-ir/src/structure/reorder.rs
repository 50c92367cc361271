//! Axes inside a graph whose positions are put in another order in every weight that carries them: nothing is moved when the
//! graph runs, and results change by the order of sums alone (class R).
use super::{Fold, Made, Recipe, Restructure};
use crate::couple::{Coupling, Place, Why};
use crate::{Graph, NodeId, Op, Patch, PatchRef};
use serde::{Deserialize, Serialize};
use spc_base::Bug;
use std::collections::{BTreeMap, BTreeSet};

/// The rule's name in plans, with its exactness class.
pub const REORDER: &str = "reorder-axis R";

/// No axis of a plan is longer.
const LONGEST: usize = 1 << 20;

/// Position p receives what stood at `0[p]`. As text, runs of neighbours: `16-31 0-15 40`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Order(Vec<u32>);

impl Order {
    /// `None` unless every position occurs once.
    pub fn new(order: Vec<u32>) -> Option<Order> {
        let mut seen = vec![false; order.len()];
        for i in &order {
            let s = seen.get_mut(*i as usize).filter(|s| !**s)?;
            *s = true;
        }
        (order.len() <= LONGEST).then_some(Order(order))
    }

    pub fn places(&self) -> &[u32] {
        &self.0
    }

    pub fn is_identity(&self) -> bool {
        self.0.iter().enumerate().all(|(p, i)| p == *i as usize)
    }

    #[must_use]
    pub fn inverse(&self) -> Order {
        let mut out = vec![0; self.0.len()];
        for (p, i) in (0u32..).zip(&self.0) {
            out[*i as usize] = p;
        }
        Order(out)
    }
}

impl From<Order> for String {
    fn from(o: Order) -> String {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for i in o.0 {
            match runs.last_mut() {
                Some((_, end)) if *end + 1 == i => *end = i,
                _ => runs.push((i, i)),
            }
        }
        let run = |(a, b): (u32, u32)| if a == b { a.to_string() } else { format!("{a}-{b}") };
        runs.into_iter().map(run).collect::<Vec<_>>().join(" ")
    }
}

impl TryFrom<String> for Order {
    type Error = String;

    fn try_from(text: String) -> Result<Order, String> {
        let odd = |word: &str| format!("`{word}` is no run of positions");
        let mut out: Vec<u32> = Vec::new();
        for word in text.split_whitespace() {
            let (a, b) = word.split_once('-').unwrap_or((word, word));
            let (Ok(a), Ok(b)) = (a.parse::<u32>(), b.parse::<u32>()) else { return Err(odd(word)) };
            if b < a || (b - a) as usize >= LONGEST || out.len() >= LONGEST {
                return Err(odd(word));
            }
            out.extend(a..=b);
        }
        Order::new(out).ok_or_else(|| "an order names every position once".to_string())
    }
}

/// Where an axis lies in a weight, and its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    pub places: Vec<Place>,
    pub order: Order,
}

/// The elements of a weight after these moves.
///
/// # Errors
/// In words, where a place lies outside of the weight.
pub fn moved(shape: &[usize], values: &[f32], moves: &[Move]) -> Result<Vec<f32>, String> {
    let odd = || "an order lies outside of its weight".to_string();
    let mut values = values.to_vec();
    if shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(values.len()) {
        return Err(odd());
    }
    for (m, p) in moves.iter().flat_map(|m| m.places.iter().map(move |p| (m, p))).filter(|_| !shape.contains(&0)) {
        let d = p.dim as usize;
        let (n, run) = (*shape.get(d).ok_or_else(odd)?, shape[d + 1..].iter().product::<usize>());
        if p.start > p.end || p.end > n as u64 {
            return Err(odd());
        }
        let mut new = vec![0.0; values.len()];
        for (to, from) in new.chunks_exact_mut(n * run).zip(values.chunks_exact(n * run)) {
            for (i, to) in to.chunks_exact_mut(run).enumerate() {
                let at = usize::try_from(p.source(i as u64, m.order.places())).ok().and_then(|s| s.checked_mul(run));
                let range = at.and_then(|at| from.get(at..at.checked_add(run)?));
                to.copy_from_slice(range.ok_or_else(odd)?);
            }
        }
        values = new;
    }
    Ok(values)
}

/// What becomes of each weight when these axes (indices of sets) have these orders.
pub fn moves(c: &Coupling, chosen: &BTreeMap<usize, Order>) -> BTreeMap<String, Vec<Move>> {
    let mut out: BTreeMap<String, Vec<Move>> = BTreeMap::new();
    for (set, order) in chosen {
        for m in c.sets.get(*set).into_iter().flat_map(|s| &s.members) {
            let one = Move { places: m.places.clone(), order: order.clone() };
            out.entry(m.weight.clone()).or_default().push(one);
        }
    }
    out
}

/// Name of a weight in another order: the same for the same moves.
pub fn moved_name(weight: &str, moves: &[Move]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |n: u64| {
        for b in n.to_le_bytes() {
            hash = (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for m in moves {
        m.places.iter().for_each(|p| [u64::from(p.dim), p.start, p.end, p.inner].into_iter().for_each(&mut eat));
        m.order.0.iter().for_each(|i| eat(u64::from(*i)));
    }
    format!("{weight}{{order {:08x}}}", hash >> 32)
}

/// The graph over weights that are in another order. Constraints speak of the weights as they were, so the result has none.
pub fn reordered(g: &Graph, moves: &BTreeMap<String, Vec<Move>>) -> Result<Graph, Bug> {
    let mut out = g.clone();
    for (name, node) in g.weights() {
        let Some(list) = moves.get(&name) else { continue };
        let ty = g.ty(node)?.clone();
        let mut p = Patch::new("reorder-axis");
        let new = p.add(g, Op::Weight { name: moved_name(&name, list), ty }, &[])?;
        p.replace(g, node, new)?;
        p.apply(&mut out)?;
    }
    out.requires.clear();
    let out = out.compact()?;
    out.verify().map_err(|b| Bug::new(format!("after reorder-axis: {}", b.0)))?;
    Ok(out)
}

/// The values that carry these axes (indices of sets) once more, in these orders, up to those that carry none of them any
/// longer: what may be read in the place of the old ones. The old values stay. Nothing where no value would be replaced.
///
/// Nothing may stand against another order of the axes ([`Coupling::ordered`]).
pub fn order_fold(g: &Graph, c: &Coupling, chosen: &BTreeMap<usize, Order>) -> Result<Option<Fold>, Bug> {
    let moves = moves(c, chosen);
    let sets = || chosen.keys().filter_map(|s| c.sets.get(*s));
    let carry: BTreeSet<NodeId> = sets().flat_map(|s| &s.activations).map(|at| at.node).collect();
    let mut p = Patch::new("reorder-axis");
    let mut moved: BTreeMap<NodeId, PatchRef> = BTreeMap::new();
    for n in g.order()? {
        let (inputs, op) = (g.inputs(n), &g.node(n)?.op);
        if let Op::Weight { name, ty } = op {
            if let Some(list) = moves.get(name) {
                moved.insert(n, p.add(g, Op::Weight { name: moved_name(name, list), ty: ty.clone() }, &[])?);
            }
        } else if inputs.iter().any(|i| moved.contains_key(i)) {
            let refs: Vec<PatchRef> =
                inputs.iter().map(|i| moved.get(i).copied().unwrap_or(PatchRef::Old(*i))).collect();
            let new = p.add(g, op.clone(), &refs)?;
            if carry.contains(&n) {
                moved.insert(n, new);
            } else {
                p.replace(g, n, new)?;
            }
        }
    }
    let made = moves.iter().map(|(name, list)| Made {
        name: moved_name(name, list),
        from: vec![name.clone()],
        how: Recipe::Reorder { moves: list.clone() },
    });
    let fold = Fold::of(REORDER, moves.keys().cloned().collect(), made.collect(), p);
    Ok((!fold.replaced.is_empty()).then_some(fold))
}

/// Up to so many orders that touch one weight are looked at in every choice of them; of more, each alone and all.
const TOGETHER: usize = 3;

/// Which orders, each of the set that `sets` names at its place, have to be looked at together: those that touch no common
/// weight are decided each by itself. No axis has two orders in one choice.
pub fn order_choices(c: &Coupling, sets: &[usize]) -> Vec<Vec<usize>> {
    let members = |i: usize| -> BTreeSet<&str> {
        let set = sets.get(i).and_then(|s| c.sets.get(*s));
        set.into_iter().flat_map(|s| &s.members).map(|m| m.weight.as_str()).collect()
    };
    let apart = |list: &[usize]| list.iter().map(|i| sets.get(*i)).collect::<BTreeSet<_>>().len() == list.len();
    let (mut out, mut left): (Vec<Vec<usize>>, Vec<usize>) = (Vec::new(), (0..sets.len()).collect());
    while let Some(first) = left.first().copied() {
        let mut group = vec![first];
        let mut at = 0;
        while let Some(i) = group.get(at).copied() {
            let near = |j: &usize| !group.contains(j) && !members(i).is_disjoint(&members(*j));
            let more: Vec<usize> = left.iter().copied().filter(near).collect();
            group.extend(more);
            at += 1;
        }
        left.retain(|i| !group.contains(i));
        group.sort_unstable();
        if group.len() <= TOGETHER {
            let of = |mask: usize| group.iter().enumerate().filter(move |(k, _)| mask >> k & 1 == 1).map(|(_, i)| *i);
            out.extend((1..1usize << group.len()).map(|mask| of(mask).collect::<Vec<_>>()).filter(|l| apart(l)));
            continue;
        }
        out.extend(group.iter().map(|i| vec![*i]));
        let mut all: Vec<usize> = Vec::new();
        for i in group {
            if !all.iter().any(|j| sets.get(*j) == sets.get(i)) {
                all.push(i);
            }
        }
        out.push(all);
    }
    out
}

/// What stands against another order of an axis, in words.
pub fn against(why: &Why) -> &'static str {
    match why {
        Why::Input => "an input of the function carries the axis",
        Why::Output(_) => "a result of the function carries the axis",
        Why::Reshape => "a reshape cuts across the axis",
        Why::Window => "a window reads neighbours along the axis",
        Why::Number => "the positions of the axis are numbered",
        Why::Scattered => "the axis lies in too many pieces",
        _ => "an operator sees the order of the axis",
    }
}

/// The moves that steps of a plan ask for, where every weight of each of their axes moves alike and nothing stands against it;
/// else the number of a step that cannot be taken.
pub fn moves_of(g: &Graph, steps: &[&Restructure]) -> Result<Result<BTreeMap<String, Vec<Move>>, usize>, Bug> {
    if steps.is_empty() {
        return Ok(Ok(BTreeMap::new()));
    }
    let c = Coupling::of(&[g])?;
    let mut chosen: BTreeMap<usize, Order> = BTreeMap::new();
    let mut asked: BTreeMap<String, Vec<Move>> = BTreeMap::new();
    for (i, step) in steps.iter().enumerate() {
        let (Some(Recipe::Reorder { moves }), [weight]) = (&step.how, step.from.as_slice()) else { return Ok(Err(i)) };
        if asked.insert(weight.clone(), moves.clone()).is_some()
            || step.made.as_deref() != Some(&moved_name(weight, moves))
        {
            return Ok(Err(i));
        }
        for m in moves {
            let carries = |s: &crate::couple::CoupledSet| {
                s.size == m.order.0.len() as u64
                    && s.members.iter().any(|o| o.weight == *weight && o.places == m.places)
            };
            let Some(set) = c.sets.iter().position(carries) else { return Ok(Err(i)) };
            let other = chosen.insert(set, m.order.clone()).is_some_and(|o| o != m.order);
            if other || !c.ordered(&[g], set)?.is_empty() {
                return Ok(Err(i));
            }
        }
    }
    let want = moves(&c, &chosen);
    if want == asked {
        return Ok(Ok(want));
    }
    let odd = steps.iter().position(|s| s.from.first().is_none_or(|w| want.get(w) != asked.get(w)));
    Ok(Err(odd.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_written_as_runs_and_read_back() {
        let o = Order::new(vec![4, 5, 6, 0, 3, 1, 2]).unwrap();
        let text = String::from(o.clone());
        assert_eq!(text, "4-6 0 3 1-2");
        assert_eq!(Order::try_from(text).unwrap(), o);
        assert!(!o.is_identity() && Order::try_from("0-9".to_string()).unwrap().is_identity());
        assert!(Order::try_from(String::new()).unwrap().places().is_empty());
        let back: Vec<u32> = o.inverse().places().iter().map(|i| o.places()[*i as usize]).collect();
        assert_eq!(back, [0, 1, 2, 3, 4, 5, 6]);
        for bad in ["0 0", "1", "3-1", "x", "0-4294967295", "-1", "0-2 1", "0-1-2"] {
            assert!(Order::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}
