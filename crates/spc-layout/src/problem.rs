//! Extraction with DAG cost: pick one node in every class that is needed, so that the sum of the picked nodes' costs is
//! least. A class that two nodes read is paid once.
//!
//! Classes stand in topological order (a node reads later classes only), class 0 is the goal. Two classes may be
//! *partners*: a plan may not need both (a value is computed in one layout and converted to the other, never computed
//! twice). Every reader of either partner stands before both.
use std::collections::{BTreeMap, BTreeSet};

/// One way to make a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice<A> {
    pub cost: u64,
    /// Classes read, ascending, each once.
    pub kids: Vec<u32>,
    pub action: A,
}

#[derive(Debug, Clone)]
pub(crate) struct Problem<A> {
    pub classes: Vec<Vec<Choice<A>>>,
    pub partner: Vec<Option<u32>>,
}

/// The picked choice of every class that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Solution {
    pub cost: u64,
    pub picks: BTreeMap<u32, usize>,
    /// False when a bound cut the search.
    pub exact: bool,
    /// Most states at once.
    pub width: usize,
}

const INFINITE: u64 = u64::MAX;

impl<A> Problem<A> {
    /// Drops choices that cannot be completed. False when the goal cannot be reached.
    pub fn prune(&mut self) -> bool {
        for c in (0..self.classes.len()).rev() {
            let (head, tail) = self.classes.split_at_mut(c + 1);
            let made =
                |k: &u32| (*k as usize).checked_sub(c + 1).and_then(|i| tail.get(i)).is_some_and(|t| !t.is_empty());
            head[c].retain(|n| n.kids.iter().all(made));
        }
        self.classes.first().is_some_and(|c| !c.is_empty())
    }

    /// In each class, the cheapest choice (the first of equals) for each set of classes read.
    fn leaders(&self) -> Vec<Vec<usize>> {
        let one = |class: &Vec<Choice<A>>| {
            let mut best: BTreeMap<&[u32], usize> = BTreeMap::new();
            for (i, n) in class.iter().enumerate() {
                let at = best.entry(&n.kids).or_insert(i);
                if n.cost < class[*at].cost {
                    *at = i;
                }
            }
            let mut list: Vec<usize> = best.into_values().collect();
            list.sort_unstable();
            list
        };
        self.classes.iter().map(one).collect()
    }

    /// `rest` and `kids` as one set, or nothing when it holds two partners.
    fn join(&self, rest: &[u32], kids: &[u32]) -> Option<Vec<u32>> {
        let mut set = Vec::with_capacity(rest.len() + kids.len());
        let (mut a, mut b) = (rest, kids);
        loop {
            match (a, b) {
                ([x, ra @ ..], [y, rb @ ..]) if x == y => {
                    set.push(*x);
                    (a, b) = (ra, rb);
                }
                ([x, ra @ ..], [y, ..]) if x < y => {
                    set.push(*x);
                    a = ra;
                }
                (_, [y, rb @ ..]) => {
                    set.push(*y);
                    b = rb;
                }
                (_, []) => {
                    set.extend_from_slice(a);
                    break;
                }
            }
        }
        let clash = |k: &u32| self.partner[*k as usize].is_some_and(|p| set.binary_search(&p).is_ok());
        if kids.iter().any(clash) { None } else { Some(set) }
    }

    fn collect(&self, pick: impl Fn(u32) -> Option<usize>, exact: bool, width: usize) -> Option<Solution> {
        let (mut todo, mut s) = (vec![0u32], Solution { cost: 0, picks: BTreeMap::new(), exact, width });
        while let Some(c) = todo.pop() {
            if s.picks.contains_key(&c) {
                continue;
            }
            let i = pick(c)?;
            let n = self.classes.get(c as usize)?.get(i)?;
            s.cost = s.cost.saturating_add(n.cost);
            s.picks.insert(c, i);
            todo.extend(&n.kids);
        }
        Some(s)
    }

    /// Bottom-up with sets: the cost of a choice is that of the union of what its classes picked. Where two partners
    /// end up needed, the dearer is banned and everything is done again, so the result is a plan, if not the best one.
    pub fn greedy(&self) -> Option<Solution> {
        let mut banned: BTreeSet<u32> = BTreeSet::new();
        for _ in 0..=self.classes.len() {
            let s = self.greedy_without(&banned)?;
            let clashes: Vec<u32> = s
                .picks
                .keys()
                .filter(|c| self.partner[**c as usize].is_some_and(|p| **c < p && s.picks.contains_key(&p)))
                .copied()
                .collect();
            if clashes.is_empty() {
                return Some(s);
            }
            let cost = |c: u32| s.picks.get(&c).map(|i| self.classes[c as usize][*i].cost);
            for c in clashes {
                let p = self.partner[c as usize]?;
                banned.insert(if cost(p) >= cost(c) { p } else { c });
            }
        }
        None
    }

    fn greedy_without(&self, banned: &BTreeSet<u32>) -> Option<Solution> {
        let words = self.classes.len().div_ceil(64);
        let mut sets: Vec<Vec<u64>> = vec![Vec::new(); self.classes.len()];
        let mut pick: Vec<Option<usize>> = vec![None; self.classes.len()];
        let mut own = vec![0u64; self.classes.len()];
        for c in (0..self.classes.len()).rev() {
            if banned.contains(&(c as u32)) {
                continue;
            }
            let mut best: Option<(u64, usize, Vec<u64>)> = None;
            for (i, n) in self.classes[c].iter().enumerate() {
                if n.kids.iter().any(|k| pick[*k as usize].is_none()) {
                    continue;
                }
                let mut set = vec![0u64; words];
                for k in &n.kids {
                    set.iter_mut().zip(&sets[*k as usize]).for_each(|(a, b)| *a |= b);
                }
                let mut cost = n.cost;
                for (w, bits) in set.iter().enumerate() {
                    let mut rest = *bits;
                    while rest != 0 {
                        cost = cost.saturating_add(own[w * 64 + rest.trailing_zeros() as usize]);
                        rest &= rest - 1;
                    }
                }
                if best.as_ref().is_none_or(|x| cost < x.0) {
                    best = Some((cost, i, set));
                }
            }
            let Some((_, i, mut set)) = best else { continue };
            set[c / 64] |= 1 << (c % 64);
            (pick[c], own[c], sets[c]) = (Some(i), self.classes[c][i].cost, set);
        }
        self.collect(|c| pick.get(c as usize).copied().flatten(), false, 0)
    }

    /// Exact DAG cost by dynamic programming over frontiers. Classes are decided in order; a state is the set of classes
    /// that are needed and undecided. A decided class is never needed again, so the state is enough. Beyond `max_width`
    /// states the most promising are kept and the result is marked inexact; the greedy plan is the fallback.
    pub fn frontier(&self, max_width: usize) -> Option<Solution> {
        let least = |c: &Vec<Choice<A>>| c.iter().map(|n| n.cost).min().unwrap_or(0);
        let least: Vec<u64> = self.classes.iter().map(least).collect();
        let bound = |key: &[u32]| key.iter().map(|c| least[*c as usize]).fold(0, u64::saturating_add);
        let fallback = self.greedy();
        let upper = fallback.as_ref().map_or(INFINITE, |s| s.cost);
        let leaders = self.leaders();
        // Trail of decisions: where it came from, class, choice.
        let mut trail: Vec<(usize, u32, usize)> = Vec::new();
        let mut states: BTreeMap<Vec<u32>, (u64, usize)> = BTreeMap::from([(vec![0], (0, usize::MAX))]);
        let (mut best, mut width, mut exact) = ((INFINITE, usize::MAX), 1, true);
        while let Some((first, _)) = states.first_key_value() {
            let c = first[0];
            let rest = states.split_off(&vec![c + 1]);
            for (key, (cost, back)) in std::mem::replace(&mut states, rest) {
                for i in &leaders[c as usize] {
                    let n = &self.classes[c as usize][*i];
                    let cost = cost.saturating_add(n.cost);
                    let Some(set) = self.join(&key[1..], &n.kids) else { continue };
                    if cost.saturating_add(bound(&set)) > upper {
                        continue;
                    }
                    let old = if set.is_empty() { best.0 } else { states.get(&set).map_or(INFINITE, |s| s.0) };
                    if cost < old {
                        trail.push((back, c, *i));
                        let here = (cost, trail.len() - 1);
                        if set.is_empty() {
                            best = here;
                        } else {
                            states.insert(set, here);
                        }
                    }
                }
            }
            if states.len() > 16 {
                dominate(&mut states, max_width);
            }
            if states.len() > max_width {
                exact = false;
                let mut all: Vec<_> = std::mem::take(&mut states).into_iter().collect();
                all.sort_by_cached_key(|(k, (cost, _))| (cost.saturating_add(bound(k)), k.clone()));
                all.truncate(max_width.max(1));
                states = all.into_iter().collect();
            }
            width = width.max(states.len());
        }
        let fallback = fallback.map(|s| Solution { width, exact: false, ..s });
        if best.0 == INFINITE {
            return fallback;
        }
        let mut picks = BTreeMap::new();
        let mut at = best.1;
        while let Some((back, c, i)) = trail.get(at) {
            picks.insert(*c, *i);
            at = *back;
        }
        let s = self.collect(|c| picks.get(&c).copied(), exact, width)?;
        match fallback {
            Some(f) if f.cost < s.cost => Some(f),
            _ => Some(s),
        }
    }

    /// For every choice the cost of the best plan that makes it, or `INFINITE`. `None` when more than `max_width` states
    /// stand side by side. Nothing is pruned here, because plans far from the best one count.
    pub fn marginals(&self, max_width: usize) -> Option<Vec<Vec<u64>>> {
        struct Step {
            from: usize,
            class: u32,
            choice: usize,
            to: usize,
        }
        let leaders = self.leaders();
        // State 0 is the end: nothing is needed.
        let (mut forward, mut steps) = (vec![INFINITE, 0], Vec::new());
        let mut states: BTreeMap<Vec<u32>, usize> = BTreeMap::from([(vec![0], 1)]);
        while let Some((first, _)) = states.first_key_value() {
            let c = first[0];
            let rest = states.split_off(&vec![c + 1]);
            for (key, from) in std::mem::replace(&mut states, rest) {
                for i in &leaders[c as usize] {
                    let n = &self.classes[c as usize][*i];
                    let Some(set) = self.join(&key[1..], &n.kids) else { continue };
                    let to = if set.is_empty() {
                        0
                    } else {
                        *states.entry(set).or_insert_with(|| {
                            forward.push(INFINITE);
                            forward.len() - 1
                        })
                    };
                    forward[to] = forward[to].min(forward[from].saturating_add(n.cost));
                    steps.push(Step { from, class: c, choice: *i, to });
                }
            }
            if states.len() > max_width {
                return None;
            }
        }
        let mut backward = vec![INFINITE; forward.len()];
        backward[0] = 0;
        let mut out: Vec<Vec<u64>> = self.classes.iter().map(|c| vec![INFINITE; c.len()]).collect();
        for s in steps.iter().rev() {
            let cost = self.classes[s.class as usize][s.choice].cost;
            let onward = cost.saturating_add(backward[s.to]);
            backward[s.from] = backward[s.from].min(onward);
            let total = forward[s.from].saturating_add(onward);
            let slot = &mut out[s.class as usize][s.choice];
            *slot = (*slot).min(total);
        }
        // A choice that reads the same classes as its leader costs the difference more.
        for (c, class) in self.classes.iter().enumerate() {
            for i in 0..class.len() {
                let leader = leaders[c].iter().find(|l| class[**l].kids == class[i].kids).copied().unwrap_or(i);
                let base = out[c][leader];
                if leader != i && base != INFINITE {
                    out[c][i] = base.saturating_add(class[i].cost - class[leader].cost);
                }
            }
        }
        Some(out)
    }
}

/// Drops states that another one beats: it needs a subset and costs no more.
fn dominate(states: &mut BTreeMap<Vec<u32>, (u64, usize)>, limit: usize) {
    let mut all: Vec<_> = std::mem::take(states).into_iter().collect();
    all.sort_by(|a, b| (a.1.0, a.0.len(), &a.0).cmp(&(b.1.0, b.0.len(), &b.0)));
    let mut kept: Vec<(Vec<u32>, (u64, usize))> = Vec::new();
    for (key, value) in all {
        let beaten = kept.len() <= limit && kept.iter().any(|(k, _)| k.len() <= key.len() && subset(k, &key));
        if !beaten {
            kept.push((key, value));
        }
    }
    *states = kept.into_iter().collect();
}

fn subset(a: &[u32], b: &[u32]) -> bool {
    let mut it = b.iter();
    a.iter().all(|x| it.by_ref().any(|y| y == x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every assignment of choices to needed classes, no bounds. Calls `f` with each plan's cost and picks.
    fn every_plan(p: &Problem<()>, f: &mut dyn FnMut(u64, &BTreeMap<u32, usize>)) {
        fn go(
            p: &Problem<()>,
            todo: &BTreeSet<u32>,
            cost: u64,
            picks: &mut BTreeMap<u32, usize>,
            f: &mut dyn FnMut(u64, &BTreeMap<u32, usize>),
        ) {
            let Some(c) = todo.first().copied() else {
                let clash = picks.keys().any(|c| p.partner[*c as usize].is_some_and(|q| picks.contains_key(&q)));
                if !clash {
                    f(cost, picks);
                }
                return;
            };
            for (i, n) in p.classes[c as usize].iter().enumerate() {
                let mut next = todo.clone();
                next.remove(&c);
                next.extend(n.kids.iter().filter(|k| !picks.contains_key(k)));
                picks.insert(c, i);
                go(p, &next, cost + n.cost, picks, f);
                picks.remove(&c);
            }
        }
        go(p, &BTreeSet::from([0]), 0, &mut BTreeMap::new(), f);
    }

    /// Random values in the shape the search makes: top rm, top fm, own rm, own fm.
    fn problem() -> impl Strategy<Value = Problem<()>> {
        let choice = (0u64..30, prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..3));
        let value = (prop::collection::vec(choice.clone(), 0..3), prop::collection::vec(choice, 0..3), 0u64..12);
        prop::collection::vec(value, 1..6).prop_map(|values| {
            let n = values.len();
            let mut p = Problem { classes: vec![vec![]; 4 * n], partner: vec![None; 4 * n] };
            for (r, (rm, fm, convert)) in values.into_iter().enumerate() {
                let at = 4 * r as u32;
                let go = |cost, kid| Choice { cost, kids: vec![kid], action: () };
                p.classes[4 * r] = vec![go(0, at + 2), go(convert, at + 3)];
                p.classes[4 * r + 1] = vec![go(0, at + 3), go(convert, at + 2)];
                (p.partner[4 * r + 2], p.partner[4 * r + 3]) = (Some(at + 3), Some(at + 2));
                for (slot, list) in [(2, rm), (3, fm)] {
                    for (cost, kids) in list {
                        let later = |(i, fm): (prop::sample::Index, bool)| {
                            (r + 1 < n).then(|| 4 * (r + 1 + i.index(n - r - 1)) as u32 + u32::from(fm))
                        };
                        let mut kids: Vec<u32> = kids.into_iter().filter_map(later).collect();
                        kids.sort_unstable();
                        kids.dedup();
                        p.classes[4 * r + slot].push(Choice { cost, kids, action: () });
                    }
                }
            }
            p
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]
        #[test]
        fn the_frontier_finds_what_exhaustive_search_finds(mut p in problem()) {
            let feasible = p.prune();
            let mut best = INFINITE;
            let mut marginals: Vec<Vec<u64>> = p.classes.iter().map(|c| vec![INFINITE; c.len()]).collect();
            every_plan(&p, &mut |cost, picks| {
                best = best.min(cost);
                for (c, i) in picks {
                    let slot = &mut marginals[*c as usize][*i];
                    *slot = (*slot).min(cost);
                }
            });
            let found = p.frontier(4096);
            prop_assert_eq!(feasible && best != INFINITE, found.is_some());
            let Some(found) = found else { return Ok(()) };
            prop_assert!(found.exact);
            prop_assert_eq!(found.cost, best);
            let greedy = p.greedy();
            prop_assert!(greedy.is_some_and(|g| g.cost >= best));
            prop_assert_eq!(p.marginals(4096).unwrap(), marginals);
        }

        #[test]
        fn a_narrow_search_still_gives_a_plan(mut p in problem()) {
            prop_assume!(p.prune());
            let (narrow, wide) = (p.frontier(1).unwrap(), p.frontier(4096).unwrap());
            prop_assert!(narrow.cost >= wide.cost);
            prop_assert!(!narrow.exact || narrow.cost == wide.cost);
            let clash = |c: &u32| p.partner[*c as usize].is_some_and(|q| narrow.picks.contains_key(&q));
            prop_assert!(!narrow.picks.keys().any(clash));
        }
    }

    #[test]
    fn a_shared_class_is_paid_once_and_never_computed_twice() {
        let c = |cost, kids: &[u32]| Choice { cost, kids: kids.to_vec(), action: () };
        // 0 needs the value in both layouts; computing twice (5 + 5) would beat converting (5 + 8).
        let classes = vec![
            vec![c(1, &[1, 2])],
            vec![c(0, &[3]), c(8, &[4])],
            vec![c(0, &[4]), c(8, &[3])],
            vec![c(5, &[])],
            vec![c(5, &[])],
        ];
        let p = Problem { classes, partner: vec![None, None, None, Some(4), Some(3)] };
        assert_eq!(p.frontier(64).unwrap().cost, 14);
        assert_eq!(p.greedy().unwrap().cost, 14);
        let free = Problem { partner: vec![None; 5], ..p };
        assert_eq!(free.frontier(64).unwrap().cost, 11);
    }
}
