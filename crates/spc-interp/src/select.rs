//! One `keep` sentence: scores of groups, the number kept in each scope, and which ones.
use crate::Weights;
use crate::cover::{Cut, Space, spaces};
use crate::groups::Grid;
use crate::joint::Joint;
use crate::project::ProjectError;
use crate::score::Scorer;
use spc_base::Bug;
use spc_ir::{Amount, Keep, Require, Scope, Score, Tail};
use std::collections::BTreeMap;

/// A group: number of the space, number of the group in it. The order of groups is the order of these pairs.
pub(crate) type Place = (u32, u32);

/// Element masks by name of weight.
pub(crate) type Masks = BTreeMap<String, Vec<bool>>;

/// By what groups are ranked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ranking {
    /// Present groups before absent ones, then by score, then by order.
    Score,
    /// Present groups before absent ones, then by order.
    Present,
}

/// Rank of a group without any present element.
pub(crate) const ABSENT: f64 = f64::NEG_INFINITY;

/// What scores may read beside the weights: by name of weight, and of its shape.
#[derive(Clone, Copy, Default)]
pub struct Given<'a> {
    pub gradients: Option<&'a dyn Weights>,
    /// For each element, the norm of the input that it meets: see [`crate::InputNorms`].
    pub input_norms: Option<&'a dyn Weights>,
}

/// Weights, and what the caller has beside them.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub weights: &'a dyn Weights,
    pub given: Given<'a>,
}

/// What a sentence looks at.
pub(crate) struct Sentence<'a> {
    pub require: &'a str,
    pub keep: &'a Keep,
    pub cuts: Vec<Cut>,
    pub spaces: Vec<Space>,
    /// The space of each member.
    pub space_of: Vec<usize>,
    /// Tiles of a floor per tile, by member.
    floors: Vec<Option<Grid>>,
    /// With `by joint`, the sentence after it.
    next: Option<Box<Sentence<'a>>>,
    /// Elements kept by the sentence before it, by member; empty: all.
    pub inside: &'a Masks,
    /// It is not the first of its constraint.
    pub then: bool,
}

/// What was chosen in one scope.
pub(crate) struct Choice<'a> {
    /// The candidates, best first.
    pub ranked: &'a [Place],
    pub chosen: &'a [bool],
    /// Number of groups with a present element.
    pub present: usize,
    /// How many groups, or how much cost, the present ones are and may be.
    pub kept: u64,
    pub allowed: u64,
    /// The present groups are more than allowed.
    pub broken: bool,
    /// Floors alone cost more than the budget.
    pub over_budget: bool,
    /// Cost of each candidate, under a budget.
    pub costs: &'a [u64],
}

impl<'a> Sentence<'a> {
    pub fn new(r: &'a Require, i: usize, inside: &'a Masks) -> Result<Sentence<'a>, ProjectError> {
        let keep = r.keeps.get(i).ok_or_else(|| Bug::new("no such sentence"))?;
        if keep.multiple == 0 {
            return Err(Bug::new(format!("{}: a multiple of 0", r.name)).into());
        }
        let misfit = |weight: &str, message: String| ProjectError::Tile {
            require: r.name.clone(),
            weight: weight.into(),
            message,
        };
        let (mut cuts, mut floors) = (Vec::new(), Vec::new());
        for (j, m) in keep.members.iter().enumerate() {
            let twice = |o: &spc_ir::Member| o.weight == m.weight && (o.group().is_some() || m.group().is_some());
            if keep.members[..j].iter().any(twice) {
                return Err(Bug::new(format!("{}: {} is a member twice", r.name, m.weight)).into());
            }
            let cut = Cut::new(m, keep).map_err(|e| misfit(&m.weight, e))?;
            let tile = m.floor.as_ref().unwrap_or(&m.scope);
            floors.push(match (keep.floor, m.group()) {
                (Some(f), Some(group)) if f.scope == Scope::Tile => {
                    let grid = Grid::new(&m.shape, group, Some(tile), keep.tail);
                    Some(grid.map_err(|e| misfit(&m.weight, e))?)
                }
                (Some(f), None) if f.scope == Scope::Tile => {
                    return Err(misfit(&m.weight, "only tiles and elements have a floor per tile".into()));
                }
                _ => None,
            });
            cuts.push(cut);
        }
        let (spaces, space_of) = spaces(keep, &cuts).map_err(|e| Bug::new(format!("{}: {e}", r.name)))?;
        let next = match keep.joint {
            true if i + 1 < r.keeps.len() => Some(Box::new(Sentence::new(r, i + 1, inside)?)),
            true => return Err(Bug::new(format!("{}: `joint` without a next sentence", r.name)).into()),
            false => None,
        };
        let s = Sentence { require: &r.name, keep, cuts, spaces, space_of, floors, next, inside, then: i > 0 };
        s.overlap_is_declared().map_err(|weight| ProjectError::Overlap { require: r.name.clone(), weight })?;
        if let (Amount::OutOf { m, .. }, Scope::Tile, false) = (keep.amount, keep.scope, s.then)
            && let Some(j) = s.cuts.iter().position(|c| c.grid().is_some_and(|g| g.whole() as u64 != m))
        {
            let whole = s.cuts[j].grid().map_or(0, Grid::whole);
            return Err(s.misfit(j, whole, m));
        }
        Ok(s)
    }

    /// The weight where groups overlap without a policy that a projection can follow.
    fn overlap_is_declared(&self) -> Result<(), String> {
        if self.keep.overlap.is_some() {
            return Ok(());
        }
        let members = &self.keep.members;
        for (i, m) in members.iter().enumerate() {
            if self.cuts[i].overlaps() || members[..i].iter().any(|o| o.weight == m.weight) {
                return Err(m.weight.clone());
            }
        }
        Ok(())
    }

    pub fn misfit(&self, member: usize, groups: usize, m: u64) -> ProjectError {
        ProjectError::Scope { require: self.require.into(), weight: self.weight(member), groups, m }
    }

    pub fn weight(&self, member: usize) -> String {
        self.keep.members.get(member).map(|m| m.weight.clone()).unwrap_or_default()
    }

    /// Whether each group of a space has an element in the masks.
    fn any(&self, space: &Space, masks: &Masks) -> Vec<bool> {
        let mut v = vec![false; space.groups];
        for i in &space.members {
            if let Some(mask) = masks.get(&self.keep.members[*i].weight) {
                self.cuts[*i].each(|e, g| v[g] |= mask[e]);
            }
        }
        v
    }

    /// Rank values of all groups, space by space: see [`Ranking`].
    pub fn ranks(&self, values: Values<'_>, alive: &Masks, ranking: Ranking) -> Result<Vec<Vec<f64>>, ProjectError> {
        let (mut all, mut first) = (Vec::with_capacity(self.spaces.len()), 0u64);
        for space in &self.spaces {
            let mut v = vec![ABSENT; space.groups];
            for i in &space.members {
                let m = &self.keep.members[*i];
                let mask = alive.get(&m.weight).ok_or_else(|| Bug::new("mask lost"))?;
                if ranking == Ranking::Present {
                    self.cuts[*i].each(|e, g| v[g] = if mask[e] { 0.0 } else { v[g] });
                    continue;
                }
                let mut scorer = Scorer::new(self, *i, values, first)?;
                self.cuts[*i].each(|e, g| {
                    if mask[e] {
                        v[g] = scorer.add(v[g], e, g);
                    }
                });
                scorer.finish(self, *i)?;
            }
            first += space.groups as u64;
            all.push(v);
        }
        Ok(all)
    }

    /// Cost of every group, space by space.
    fn costs(&self) -> Vec<Vec<u64>> {
        let cost = |space: &Space| {
            let mut v = vec![0u64; space.groups];
            for i in &space.members {
                let one = self.keep.members[*i].cost;
                self.cuts[*i].each(|_, g| v[g] = v[g].saturating_add(one));
            }
            v
        };
        self.spaces.iter().map(cost).collect()
    }

    /// Calls `f` for every scope, in order. Scopes without candidates are passed over.
    pub fn choose(
        &self,
        values: Values<'_>,
        alive: &Masks,
        ranking: Ranking,
        f: &mut dyn FnMut(&Choice) -> Result<(), ProjectError>,
    ) -> Result<(), ProjectError> {
        let ranks = self.ranks(values, alive, ranking)?;
        let inside = self.spaces.iter().map(|s| (!self.inside.is_empty()).then(|| self.any(s, self.inside))).collect();
        let joint = match (&self.next, ranking) {
            (Some(next), Ranking::Score) => Some(Joint::new(self, next, values, alive)?),
            _ => None,
        };
        let budget = matches!(self.keep.amount, Amount::Budget { .. });
        let costs = if budget { self.costs() } else { Vec::new() };
        let mut cx =
            Scopes { s: self, ranking, ranks, costs, inside, joint, ranked: vec![], chosen: vec![], cost: vec![] };
        if budget && ranking == Ranking::Score {
            cx.rank_per_cost();
        }
        let all = |i: usize| (0..self.spaces[i].groups).map(move |g| (i as u32, g as u32));
        match self.keep.scope {
            Scope::Tile => {
                for (i, space) in self.spaces.iter().enumerate() {
                    let Some(grid) = space.members.first().and_then(|m| self.cuts[*m].grid()) else { continue };
                    for t in 0..grid.tiles() {
                        let groups = grid.tile(t);
                        cx.scope(grid.whole(), groups.into_iter().map(|g| (i as u32, g as u32)), f)?;
                    }
                }
            }
            Scope::Tensor => {
                for (i, space) in self.spaces.iter().enumerate() {
                    if let [_, other, ..] = space.members.as_slice() {
                        let message = "groups that several tensors share are not counted per tensor".into();
                        let (require, weight) = (self.require.into(), self.weight(*other));
                        return Err(ProjectError::Tile { require, weight, message });
                    }
                    cx.scope(space.groups, all(i), f)?;
                }
            }
            Scope::Layer | Scope::Model => {
                let home = |i: usize| if self.keep.scope == Scope::Model { 0 } else { self.same_layer(i) };
                for i in (0..self.spaces.len()).filter(|i| home(*i) == *i) {
                    let list: Vec<usize> = (0..self.spaces.len()).filter(|j| home(*j) == i).collect();
                    let whole = list.iter().map(|j| self.spaces[*j].groups).sum();
                    cx.scope(whole, list.into_iter().flat_map(all), f)?;
                }
            }
        }
        Ok(())
    }

    fn layer(&self, space: usize) -> &str {
        self.spaces[space].members.first().map_or("", |m| self.keep.members[*m].layer.as_str())
    }

    /// The first space in the same layer.
    fn same_layer(&self, space: usize) -> usize {
        (0..space).find(|j| self.layer(*j) == self.layer(space)).unwrap_or(space)
    }

    /// The scope in which a floor counts a group.
    fn floor_scope(&self, scope: Scope, (space, group): Place) -> (usize, usize) {
        let i = space as usize;
        match scope {
            Scope::Tile => {
                let grid = self.spaces[i].members.first().and_then(|m| self.floors[*m].as_ref());
                (i, grid.map_or(0, |g| g.tile_of(group as usize)))
            }
            Scope::Tensor => (i, 0),
            Scope::Layer => (self.same_layer(i), 0),
            Scope::Model => (0, 0),
        }
    }
}

/// The scopes of a sentence one after the other, with buffers that are used again.
struct Scopes<'a> {
    s: &'a Sentence<'a>,
    ranking: Ranking,
    ranks: Vec<Vec<f64>>,
    /// Under a budget.
    costs: Vec<Vec<u64>>,
    /// For each space, which groups the sentence before left; none: all.
    inside: Vec<Option<Vec<bool>>>,
    joint: Option<Joint>,
    ranked: Vec<Place>,
    chosen: Vec<bool>,
    cost: Vec<u64>,
}

/// What an amount comes to in one scope.
struct Allowed {
    kept: u64,
    allowed: u64,
    broken: bool,
    over_budget: bool,
}

impl Scopes<'_> {
    fn rank(&self, p: Place) -> f64 {
        self.ranks[p.0 as usize][p.1 as usize]
    }

    /// Turns scores into scores per unit of cost. What costs nothing comes first.
    fn rank_per_cost(&mut self) {
        let root = self.s.keep.score == Score::Norm2;
        for (ranks, costs) in self.ranks.iter_mut().zip(&self.costs) {
            for (r, c) in ranks.iter_mut().zip(costs).filter(|(r, _)| **r != ABSENT) {
                let score = if root { r.sqrt() } else { *r };
                *r = if *c == 0 { f64::INFINITY } else { score / *c as f64 };
            }
        }
    }

    /// One scope: `whole` is the number of groups that it has where no edge cuts it.
    fn scope(
        &mut self,
        whole: usize,
        groups: impl Iterator<Item = Place>,
        f: &mut dyn FnMut(&Choice) -> Result<(), ProjectError>,
    ) -> Result<(), ProjectError> {
        let mut ranked = std::mem::take(&mut self.ranked);
        ranked.clear();
        let mut total = 0;
        for p in groups {
            total += 1;
            if self.inside[p.0 as usize].as_ref().is_none_or(|m| m[p.1 as usize]) {
                ranked.push(p);
            }
        }
        ranked.sort_unstable_by(|a, b| self.rank(*b).total_cmp(&self.rank(*a)).then(a.cmp(b)));
        let present = ranked.partition_point(|p| self.rank(*p) != ABSENT);
        let mut result = Ok(());
        if !ranked.is_empty() {
            let (mut chosen, mut cost) = (std::mem::take(&mut self.chosen), std::mem::take(&mut self.cost));
            chosen.clear();
            chosen.resize(ranked.len(), false);
            cost.clear();
            if !self.costs.is_empty() {
                cost.extend(ranked.iter().map(|p| self.costs[p.0 as usize][p.1 as usize]));
            }
            result = self.pick((whole, total), &ranked, present, &mut chosen, &cost).and_then(|a| {
                let Allowed { kept, allowed, broken, over_budget } = a;
                f(&Choice {
                    ranked: &ranked,
                    chosen: &chosen,
                    present,
                    kept,
                    allowed,
                    broken,
                    over_budget,
                    costs: &cost,
                })
            });
            (self.chosen, self.cost) = (chosen, cost);
        }
        self.ranked = ranked;
        result
    }

    /// Marks what is kept in one scope.
    fn pick(
        &self,
        sizes: (usize, usize),
        ranked: &[Place],
        present: usize,
        chosen: &mut [bool],
        cost: &[u64],
    ) -> Result<Allowed, ProjectError> {
        let counted = if self.s.then { ranked.len() } else { sizes.1 } as u64;
        let must = self.floors(ranked, chosen, counted);
        if let Amount::Budget { num, den, .. } = self.s.keep.amount {
            return self.within_budget((num, den), present, chosen, cost);
        }
        let wanted = self.amount(sizes, ranked, chosen, present)?;
        let wanted = wanted.max(must).div_ceil(self.s.keep.multiple).saturating_mul(self.s.keep.multiple);
        let allowed = wanted.min(ranked.len() as u64);
        match &self.joint {
            Some(joint) => joint.choose(self.s, ranked, allowed, chosen)?,
            None => {
                let mut free = allowed.saturating_sub(must);
                for c in chosen.iter_mut().filter(|c| !**c) {
                    *c = free > 0;
                    free = free.saturating_sub(1);
                }
            }
        }
        let kept = present as u64;
        Ok(Allowed { kept, allowed, broken: kept > allowed, over_budget: false })
    }

    /// Takes groups in order while they fit into the budget; the first that does not fit ends it. Floors are kept in any
    /// case.
    fn within_budget(
        &self,
        (num, den): (u64, u64),
        present: usize,
        chosen: &mut [bool],
        cost: &[u64],
    ) -> Result<Allowed, ProjectError> {
        if den == 0 {
            return Err(Bug::new("a share with denominator 0").into());
        }
        let sum = |it: &mut dyn Iterator<Item = &u64>| it.fold(0u64, |n, c| n.saturating_add(*c));
        let all = sum(&mut cost.iter());
        let budget = u128::from(num) * u128::from(all) / u128::from(den);
        let budget = u64::try_from(budget).unwrap_or(u64::MAX);
        let kept = sum(&mut cost[..present].iter());
        let floors_hold_all = chosen[..present].iter().all(|c| *c);
        let mut spent = sum(&mut cost.iter().zip(chosen.iter()).filter(|(_, c)| **c).map(|(n, _)| n));
        let over_budget = spent > budget;
        let mut last = Vec::new();
        for i in 0..present {
            if chosen[i] {
                continue;
            }
            let with = spent.saturating_add(cost[i]);
            if with > budget {
                break;
            }
            (spent, chosen[i]) = (with, true);
            last.push(i);
        }
        // Rounding up to a multiple could exceed the budget, so it is rounded down, as far as floors allow.
        let mut count = chosen.iter().filter(|c| **c).count() as u64;
        while !count.is_multiple_of(self.s.keep.multiple) {
            let Some(i) = last.pop() else { break };
            (chosen[i], count) = (false, count - 1);
        }
        Ok(Allowed { kept, allowed: budget, broken: kept > budget && !floors_hold_all, over_budget })
    }

    /// Marks the best groups of each floor's scope; their number. `counted` is the number of groups that a share counts.
    fn floors(&self, ranked: &[Place], chosen: &mut [bool], counted: u64) -> u64 {
        let Some(floor) = self.s.keep.floor else { return 0 };
        let least = floor.count.max(floor.share.map_or(0, |(num, den)| part(num, counted, den)));
        let mut taken: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut must = 0;
        for (p, c) in ranked.iter().zip(chosen) {
            let n = taken.entry(self.s.floor_scope(floor.scope, *p)).or_default();
            if *n < least {
                (*n, *c, must) = (*n + 1, true, must + 1);
            }
        }
        must
    }

    /// The amount of the sentence in a scope of `total` groups, of which `ranked` are left; floors have `chosen` theirs. Those
    /// count beside what lies above a threshold, so that they push nothing out that does.
    fn amount(
        &self,
        (whole, total): (usize, usize),
        ranked: &[Place],
        chosen: &[bool],
        present: usize,
    ) -> Result<u64, ProjectError> {
        let (whole, total, left) = (whole as u64, total as u64, ranked.len() as u64);
        let tail = self.s.keep.tail;
        let member = ranked.first().and_then(|p| self.s.spaces[p.0 as usize].members.first()).copied().unwrap_or(0);
        let own = matches!(self.s.keep.scope, Scope::Tile | Scope::Tensor);
        let amount = self.s.keep.members[member].amount.filter(|_| own).unwrap_or(self.s.keep.amount);
        Ok(match amount {
            Amount::Count(n) if tail == Tail::Ragged && total < whole => part(n, total, whole),
            Amount::Count(n) => n,
            Amount::OutOf { n, m } => {
                let groups = if self.s.then { left } else { total };
                match tail {
                    _ if groups == m => n,
                    Tail::Pad if groups < m => n,
                    Tail::Ragged if groups < m => part(n, groups, m),
                    // The checker does not know exactly what the sentence before left.
                    _ if self.s.then && self.ranking == Ranking::Present => n,
                    _ => return Err(self.s.misfit(member, groups as usize, m)),
                }
            }
            Amount::Share { den: 0, .. } => return Err(Bug::new("a share with denominator 0").into()),
            Amount::Share { num, den } => {
                let groups = match (self.s.then, tail) {
                    (true, _) => left,
                    (false, Tail::Pad) => whole,
                    (false, _) => total,
                };
                part(num, groups, den).max(1)
            }
            Amount::Above(_) if self.ranking == Ranking::Present => present as u64,
            Amount::Above(t) => {
                let stays = |(p, c): &(&Place, &bool)| **c || self.above(self.rank(**p), t);
                ranked.iter().zip(chosen).filter(stays).count() as u64
            }
            Amount::Budget { .. } => return Err(Bug::new("a budget for one tensor only").into()),
        })
    }

    /// True when a rank value lies above the threshold.
    fn above(&self, rank: f64, t: f64) -> bool {
        rank != ABSENT && if self.s.keep.score == Score::Norm2 { rank.sqrt() > t } else { rank > t }
    }
}

/// `ceil(n * groups / of)`, exactly; an `of` of 0 counts as 1.
pub(crate) fn part(n: u64, groups: u64, of: u64) -> u64 {
    let exact = (u128::from(n) * u128::from(groups)).div_ceil(u128::from(of.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX)
}
