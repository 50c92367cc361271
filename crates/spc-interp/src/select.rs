//! One `keep` sentence: scores of groups, the number kept in each scope, and which ones.
use crate::Weights;
use crate::groups::{Grid, tiled};
use crate::project::ProjectError;
use crate::testing::splitmix64;
use spc_base::Bug;
use spc_ir::{Amount, Keep, Require, Scope, Score, Tail};
use std::collections::BTreeMap;

/// A group: number of the member, number of the group in its tensor. The order of groups is the order of these pairs.
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
const ABSENT: f64 = f64::NEG_INFINITY;

/// What a sentence looks at.
pub(crate) struct Sentence<'a> {
    pub require: &'a str,
    pub keep: &'a Keep,
    pub grids: Vec<Grid>,
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
    pub allowed: usize,
    /// Number of groups with a present element.
    pub present: usize,
}

impl<'a> Sentence<'a> {
    pub fn new(r: &'a Require, i: usize, inside: &'a Masks) -> Result<Sentence<'a>, ProjectError> {
        let keep = r.keeps.get(i).ok_or_else(|| Bug::new("no such sentence"))?;
        if keep.multiple == 0 {
            return Err(Bug::new(format!("{}: a multiple of 0", r.name)).into());
        }
        let mut grids = Vec::with_capacity(keep.members.len());
        for (j, m) in keep.members.iter().enumerate() {
            if keep.members[..j].iter().any(|o| o.weight == m.weight) {
                return Err(Bug::new(format!("{}: {} is a member twice", r.name, m.weight)).into());
            }
            let misfit = |message| ProjectError::Tile { require: r.name.clone(), weight: m.weight.clone(), message };
            grids.push(Grid::new(m, keep.tail, tiled(keep)).map_err(misfit)?);
        }
        let sentence = Sentence { require: &r.name, keep, grids, inside, then: i > 0 };
        if let (Amount::OutOf { m, .. }, Scope::Tile, false) = (keep.amount, keep.scope, sentence.then)
            && let Some(j) = sentence.grids.iter().position(|g| g.whole() as u64 != m)
        {
            return Err(sentence.misfit(j, sentence.grids[j].whole(), m));
        }
        Ok(sentence)
    }

    fn misfit(&self, member: usize, groups: usize, m: u64) -> ProjectError {
        let weight = self.keep.members.get(member).map(|m| m.weight.clone()).unwrap_or_default();
        ProjectError::Scope { require: self.require.into(), weight, groups, m }
    }

    /// Whether each group of a member has an element in `mask`.
    fn any(&self, member: usize, mask: &[bool]) -> Vec<bool> {
        let grid = &self.grids[member];
        let mut v = vec![false; grid.groups()];
        grid.each(|e, g| v[g] |= mask[e]);
        v
    }

    /// Rank values of all groups. `first` is the number of the member's first group among all members' groups.
    fn ranks(&self, member: usize, first: u64, values: &[f32], alive: &[bool], ranking: Ranking) -> Vec<f64> {
        let grid = &self.grids[member];
        let mut v = vec![ABSENT; grid.groups()];
        let score = if ranking == Ranking::Score { Some(self.keep.score) } else { None };
        grid.each(|e, g| {
            if alive[e] {
                let (a, old) = (f64::from(values[e]).abs(), v[g].max(0.0));
                v[g] = match score {
                    Some(Score::Abs) => old.max(a),
                    Some(Score::Norm1) => old + a,
                    Some(Score::Norm2) => old + a * a,
                    Some(Score::Random(seed)) => unit(seed, first + g as u64),
                    None => 0.0,
                };
            }
        });
        v
    }

    /// True when a rank value lies above the threshold.
    fn above(&self, rank: f64, t: f64) -> bool {
        rank != ABSENT && if self.keep.score == Score::Norm2 { rank.sqrt() > t } else { rank > t }
    }

    /// Calls `f` for every scope, in order. Scopes without candidates are passed over.
    pub fn choose(
        &self,
        weights: &dyn Weights,
        alive: &Masks,
        ranking: Ranking,
        f: &mut dyn FnMut(&Choice) -> Result<(), ProjectError>,
    ) -> Result<(), ProjectError> {
        let mut cx = Scopes { s: self, ranking, ranks: vec![], inside: vec![], ranked: vec![], chosen: vec![] };
        let mut first = 0;
        for (i, m) in self.keep.members.iter().enumerate() {
            let values = weights.values(&m.weight).ok_or_else(|| Bug::new("weight lost"))?;
            let mask = alive.get(&m.weight).ok_or_else(|| Bug::new("mask lost"))?;
            cx.ranks.push(self.ranks(i, first, values, mask, ranking));
            cx.inside.push(self.inside.get(&m.weight).map(|mask| self.any(i, mask)));
            first += self.grids[i].groups() as u64;
        }
        let members = 0..self.keep.members.len();
        let all = |i: usize| (0..self.grids[i].groups()).map(move |g| (i as u32, g as u32));
        match self.keep.scope {
            Scope::Tile => {
                for i in members {
                    let grid = &self.grids[i];
                    for t in 0..grid.tiles() {
                        let groups = grid.tile(t);
                        cx.scope(grid.whole(), groups.into_iter().map(|g| (i as u32, g as u32)), f)?;
                    }
                }
            }
            Scope::Tensor => {
                for i in members {
                    cx.scope(self.grids[i].groups(), all(i), f)?;
                }
            }
            Scope::Layer | Scope::Model => {
                for i in members.clone().filter(|i| self.layer(*i) == *i) {
                    let list: Vec<usize> = members.clone().filter(|j| self.layer(*j) == i).collect();
                    let whole = list.iter().map(|j| self.grids[*j].groups()).sum();
                    cx.scope(whole, list.into_iter().flat_map(all), f)?;
                }
            }
        }
        Ok(())
    }

    /// The first member in the same layer, or of the model when that is the scope.
    fn layer(&self, member: usize) -> usize {
        if self.keep.scope == Scope::Model { 0 } else { self.same_layer(member) }
    }

    fn same_layer(&self, member: usize) -> usize {
        let members = &self.keep.members;
        members.iter().position(|m| m.layer == members[member].layer).unwrap_or(member)
    }

    /// The scope in which a floor counts a group.
    fn floor_scope(&self, scope: Scope, (member, group): Place) -> (usize, usize) {
        let i = member as usize;
        match scope {
            Scope::Tile => (i, self.grids[i].tile_of(group as usize)),
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
    /// For each member, which groups the sentence before left; none: all.
    inside: Vec<Option<Vec<bool>>>,
    ranked: Vec<Place>,
    chosen: Vec<bool>,
}

impl Scopes<'_> {
    fn rank(&self, p: Place) -> f64 {
        self.ranks[p.0 as usize][p.1 as usize]
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
        if let Some(first) = ranked.first() {
            let mut chosen = std::mem::take(&mut self.chosen);
            chosen.clear();
            chosen.resize(ranked.len(), false);
            let must = self.floors(&ranked, &mut chosen);
            let wanted = self.amount(whole, total, &ranked, present, first.0 as usize);
            result = wanted.and_then(|wanted| {
                let wanted = wanted.max(must).div_ceil(self.s.keep.multiple).saturating_mul(self.s.keep.multiple);
                let allowed = usize::try_from(wanted).unwrap_or(usize::MAX).min(ranked.len());
                let mut free = allowed.saturating_sub(must as usize);
                for c in chosen.iter_mut().filter(|c| !**c) {
                    *c = free > 0;
                    free = free.saturating_sub(1);
                }
                f(&Choice { ranked: &ranked, chosen: &chosen, allowed, present })
            });
            self.chosen = chosen;
        }
        self.ranked = ranked;
        result
    }

    /// Marks the best groups of each floor's scope; their number.
    fn floors(&self, ranked: &[Place], chosen: &mut [bool]) -> u64 {
        let Some(floor) = self.s.keep.floor else { return 0 };
        let mut taken: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut must = 0;
        for (p, c) in ranked.iter().zip(chosen) {
            let n = taken.entry(self.s.floor_scope(floor.scope, *p)).or_default();
            if *n < floor.count {
                (*n, *c, must) = (*n + 1, true, must + 1);
            }
        }
        must
    }

    /// The amount of the sentence in a scope of `total` groups, of which `ranked` are left.
    fn amount(
        &self,
        whole: usize,
        total: usize,
        ranked: &[Place],
        present: usize,
        member: usize,
    ) -> Result<u64, ProjectError> {
        let (whole, total, left) = (whole as u64, total as u64, ranked.len() as u64);
        let tail = self.s.keep.tail;
        Ok(match self.s.keep.amount {
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
            Amount::Above(t) => ranked.iter().filter(|p| self.s.above(self.rank(**p), t)).count() as u64,
        })
    }
}

/// `ceil(n * groups / of)`, exactly; `of` is not 0.
fn part(n: u64, groups: u64, of: u64) -> u64 {
    let exact = (u128::from(n) * u128::from(groups)).div_ceil(u128::from(of.max(1)));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// A fixed pseudo-random number in [0, 1) for each seed and index (SplitMix64: Steele, Lea and Flood 2014).
fn unit(seed: u64, index: u64) -> f64 {
    (splitmix64(seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 11) as f64 / (1u64 << 53) as f64
}
