//! `top` and `count` over groups in a hook: norms of groups by passes, then an exact choice among them.
//!
//! The reference's score of a group is the norm of its elements' values, in f64 and in their order. Sums of squares in f32 tell most
//! groups apart from the last one that is chosen; those that lie within the error of the sums are scored again as the reference does.
use super::body::{Barriers, Hook};
use super::cuts::{self, Part, cuts};
use super::program::{Builder, Given, Phase};
use super::run::{Held, Run, tensor};
use super::work::{FoldUse, Missing, Ref, missing};
use spc_base::Bug;
use spc_interp::method::MethodError;
use spc_ir::Scope;
use spc_ir::method::{Kind, ValueId};
use spc_kernel::update::{Work as Tile, group_pass};

/// The best groups of each scope.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Best {
    /// Tiles of what groups are chosen by, with sums of squares.
    pub parts: Vec<Part>,
    pub groups: usize,
    pub among: Vec<Option<Ref>>,
    /// Of each tensor: the number of groups that are chosen, and the scope.
    pub count: Vec<usize>,
    pub scope: Vec<usize>,
    /// Masks of elements.
    pub into: Vec<Ref>,
}

/// How many groups have an element in a mask.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tally {
    pub parts: Vec<Part>,
    pub groups: usize,
    pub masks: Vec<Ref>,
    pub scope: Vec<usize>,
    pub slots: Vec<usize>,
}

impl Builder<'_> {
    /// The scope of each member of a constraint in a hook, by the number of its first member.
    pub(super) fn scopes(&self, i: usize) -> Result<Vec<usize>, Missing> {
        let none = || Bug::new("a choice without a constraint");
        let k = self.core.keep(i).and_then(|(r, _)| r.keeps.last()).ok_or_else(none)?;
        if k.members.len() != self.core.info[i].members.len() {
            return missing("a choice in a hook over groups that share weights");
        }
        // Members of one family have their groups in common; the first says where they count.
        let family = |m: &spc_ir::Member| match &m.cover {
            spc_ir::Cover::Slices(s) => Some(s.family),
            _ => None,
        };
        let first = |j: usize| {
            let own = family(&k.members[j]);
            (0..j).find(|o| own.is_some() && family(&k.members[*o]) == own).unwrap_or(j)
        };
        let layer = |j: usize| &k.members[first(j)].layer;
        match k.scope {
            Scope::Model => Ok(vec![0; k.members.len()]),
            Scope::Tensor => Ok((0..k.members.len()).collect()),
            Scope::Layer => {
                let home = |j: usize| (0..j).find(|o| layer(*o) == layer(j)).unwrap_or(j);
                Ok((0..k.members.len()).map(home).collect())
            }
            Scope::Tile => missing("a choice in a hook within tiles"),
        }
    }

    /// Tiles of arrays that have a value for each weight, one array for each tensor of a constraint.
    fn tiles_of(&mut self, i: usize, arrays: &[Ref]) -> Result<(Vec<Part>, usize), Missing> {
        let (require, _) = self.core.keep(i).ok_or_else(|| Bug::new("a choice without a constraint"))?;
        let cut = cuts(self.core, require).map_err(|m| match m {
            Missing::Form(_) => Missing::Form("a choice in a hook over groups that are no tiles".into()),
            bug => bug,
        })?;
        let mut sizes = vec![0usize; cut.groups];
        for c in &cut.list {
            sizes.iter_mut().skip(c.first).take(c.groups).for_each(|s| *s += c.grid.rows * c.grid.tile);
        }
        if sizes.iter().any(|s| *s < 2) {
            return missing("a choice in a hook over groups of one weight");
        }
        let mut parts = Vec::new();
        for (c, array) in cut.list.iter().zip(arrays) {
            parts.push(cuts::Part { weight: array.clone(), ..self.part(c) });
        }
        Ok((parts, cut.groups))
    }

    /// `top(count, by, among)` over groups: masks of elements.
    pub(super) fn best(
        &mut self,
        h: &Hook<'_>,
        given: &Barriers,
        (by, among): (ValueId, Option<ValueId>),
        count: Vec<usize>,
        end: usize,
    ) -> Result<Vec<Ref>, Missing> {
        let members = self.core.info[h.rule].members.clone();
        let (scope, by) = (self.scopes(h.rule)?, self.arrays(h, given, by, end)?);
        let among = match among {
            Some(a) => self.arrays(h, given, a, end)?.into_iter().map(Some).collect(),
            None => vec![None; members.len()],
        };
        let (parts, groups) = self.tiles_of(h.rule, &by)?;
        for (t, p) in members.iter().zip(&parts) {
            let w = &mut self.works[*t];
            w.flush(&mut self.passes, self.core.lanes)?;
            let pass = group_pass(p.grid, Tile::Squares, self.core.lanes)?;
            w.push(&mut self.passes, pass, vec![p.weight.clone(), p.side.clone()], vec![FoldUse::Ignore]);
        }
        self.flush(&members)?;
        let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Bool, *t)).collect();
        self.phases.push(Phase::Best(Best { parts, groups, among, count, scope, into: into.clone() }));
        Ok(into)
    }

    /// `count(mask)` over groups: a number for each tensor.
    pub(super) fn tally(&mut self, h: &Hook<'_>, masks: Vec<Ref>) -> Result<Vec<Given>, Missing> {
        let scope = self.scopes(h.rule)?;
        let (parts, groups) = self.tiles_of(h.rule, &masks)?;
        let own: Vec<usize> = scope.iter().map(|_| self.numbers.slot()).collect();
        let slots: Vec<usize> = scope.iter().map(|s| own[*s]).collect();
        self.phases.push(Phase::Tally(Tally { parts, groups, masks, scope, slots: slots.clone() }));
        Ok(slots.into_iter().map(Given::Number).collect())
    }
}

/// Rows of a tile as ranges of its tensor.
fn rows(p: &Part, tile: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (g, across) = (p.grid, (p.grid.cols / p.grid.tile.max(1)).max(1));
    let at = tile / across * g.unit() + tile % across * g.tile;
    (0..g.rows).map(move |r| at + r * g.cols..at + r * g.cols + g.tile)
}

impl Run<'_, '_, '_> {
    /// Which groups have an element in a mask.
    fn any(&self, parts: &[Part], masks: &[&Ref], groups: usize) -> Vec<bool> {
        let mut out = vec![false; groups];
        for (p, m) in parts.iter().zip(masks) {
            let mask = self.truths(m);
            for tile in 0..p.tiles() {
                let Some(o) = out.get_mut(p.first + tile) else { continue };
                *o = *o || rows(p, tile).any(|r| mask.get(r).is_some_and(|m| m.iter().any(|b| *b != 0)));
            }
        }
        out
    }

    pub(super) fn tally(&self, t: &Tally, numbers: &mut [f32]) {
        let there = self.any(&t.parts, &t.masks.iter().collect::<Vec<_>>(), t.groups);
        for (k, slot) in t.slots.iter().enumerate() {
            numbers[*slot] = of_scope(&t.parts, &t.scope, t.scope[k]).filter(|g| there[*g]).count() as f32;
        }
    }

    pub(super) fn best(&mut self, b: &Best, numbers: &[f32]) -> Result<(), MethodError> {
        let mut sums = vec![0f64; b.groups];
        let mut error = vec![0f64; b.groups];
        for p in &b.parts {
            let (w, side) = (self.floats(&p.weight), self.floats(&p.side));
            // Twice what as many additions one after the other may be off.
            let chain = p.grid.rows * p.grid.tile / self.core.lanes.max(1) + p.grid.rows + 32;
            let off = chain as f64 * f64::from(f32::EPSILON);
            p.each(self.core.lanes, &mut |group, entry, tile| {
                let x = side.get(entry).copied().unwrap_or(0.0);
                let usual = x > 1e-30 && x < 1e30;
                sums[group] += if usual { f64::from(x) } else { p.squares(w, tile) };
                error[group] = error[group].max(off);
            });
        }
        if sums.iter().any(|s| s.is_nan()) {
            let nan = |p: &Part| Some((tensor(&p.weight), self.floats(&p.weight).iter().position(|x| x.is_nan())?));
            let (t, index) = b.parts.iter().find_map(nan).ok_or_else(|| Bug::new("a norm of no number"))?;
            let weight = self.core.tensors[t].name.clone();
            return Err(MethodError::NotFinite { what: "the score".into(), weight, index });
        }
        let masked: Vec<&Ref> = b.among.iter().flatten().collect();
        let allowed = if masked.is_empty() { vec![true; b.groups] } else { self.any(&b.parts, &masked, b.groups) };
        let mut best = vec![false; b.groups];
        for (k, s) in b.scope.iter().enumerate().filter(|(k, s)| k == *s) {
            let n = numbers.get(b.count[k]).copied().unwrap_or(0.0);
            let n = if n >= 1.0 { n as usize } else { 0 };
            let list: Vec<usize> = of_scope(&b.parts, &b.scope, *s).filter(|g| allowed[*g]).collect();
            self.greatest(b, list, (&sums, &error), n, &mut best);
        }
        for (p, r) in b.parts.iter().zip(&b.into) {
            let Held::Bytes(mut mask) = self.take(r) else { return Err(Bug::new("a choice that is no mask").into()) };
            for tile in 0..p.tiles() {
                let yes = u8::from(best.get(p.first + tile).copied().unwrap_or(false));
                rows(p, tile).for_each(|r| mask.get_mut(r).into_iter().for_each(|m| m.fill(yes)));
            }
            self.give(r, Held::Bytes(mask));
        }
        Ok(())
    }

    /// Marks the `n` groups of greatest norm; ties go to the lower index.
    fn greatest(&self, b: &Best, list: Vec<usize>, (sums, error): (&[f64], &[f64]), n: usize, best: &mut [bool]) {
        if n == 0 {
            return;
        }
        if n >= list.len() {
            list.into_iter().for_each(|g| best[g] = true);
            return;
        }
        let mut order: Vec<f64> = list.iter().map(|g| sums[*g]).collect();
        let last = *order.select_nth_unstable_by(n - 1, |a, b| b.total_cmp(a)).1;
        let off = list.iter().map(|g| error[*g]).fold(0.0, f64::max);
        let (high, low) = (last * (1.0 + 3.0 * off), last * (1.0 - 3.0 * off).max(0.0));
        let mut rest = n;
        let mut near: Vec<(f64, usize)> = Vec::new();
        for g in list {
            if sums[g] > high {
                best[g] = true;
                rest -= 1;
            } else if sums[g] >= low {
                near.push((if sums[g] == 0.0 { 0.0 } else { self.score(b, g) }, g));
            }
        }
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        near.into_iter().take(rest).for_each(|(_, g)| best[g] = true);
    }

    /// The norm of a group as the reference has it.
    fn score(&self, b: &Best, group: usize) -> f64 {
        let mut score: Option<f64> = None;
        for p in b.parts.iter().filter(|p| (p.first..p.first + p.tiles()).contains(&group)) {
            let w = self.floats(&p.weight);
            for x in rows(p, group - p.first).filter_map(|r| w.get(r)).flatten() {
                let x = f64::from(*x);
                score = Some(score.map_or(x, |s| s.hypot(x)));
            }
        }
        score.unwrap_or(0.0)
    }
}

/// The groups of a scope, in order.
fn of_scope(parts: &[Part], scope: &[usize], s: usize) -> impl Iterator<Item = usize> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (p, _) in parts.iter().zip(scope).filter(|(_, own)| **own == s) {
        let range = (p.first, p.first + p.tiles());
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges.into_iter().flat_map(|(a, b)| a..b)
}
