//! `top` and `count` over single weights within tiles in a hook: tile by tile, with the counts of tiles at each of their weights.
use super::body::{Barriers, Hook};
use super::choice;
use super::program::{Builder, Given, Phase};
use super::run::{Held, Run, tensor};
use super::work::{Missing, Ref};
use spc_base::Bug;
use spc_interp::method::MethodError;
use spc_ir::method::{Kind, ValueId};
use spc_ir::{Member, Scope};

/// Tiles of one tensor, which they divide without a rest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tiles {
    /// Of each dimension: how many tiles lie along it, and how far the next one is.
    dims: Vec<(usize, usize)>,
    /// Where the weights of a tile lie from its first one on, in order.
    offsets: Vec<usize>,
}

/// The best weights of each tile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BestWithin {
    pub tiles: Vec<Tiles>,
    /// At each weight, how many of its tile are chosen.
    pub count: Vec<Ref>,
    pub by: Vec<Ref>,
    pub among: Vec<Option<Ref>>,
    /// Masks.
    pub into: Vec<Ref>,
}

/// At each weight, how many of its tile are in a mask.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TallyWithin {
    pub tiles: Vec<Tiles>,
    pub masks: Vec<Ref>,
    pub into: Vec<Ref>,
}

impl Tiles {
    /// The scope tiles of a member; None where one is cut off by an edge.
    fn of(m: &Member) -> Option<Tiles> {
        if m.shape.len() != m.scope.len() {
            return None;
        }
        let (mut dims, mut stride) = (Vec::new(), 1usize);
        let mut steps = Vec::new();
        for (d, t) in m.shape.iter().zip(&m.scope).rev() {
            let (d, t) = (usize::try_from(*d).ok()?, usize::try_from(*t).ok()?);
            if t == 0 || d % t != 0 {
                return None;
            }
            dims.push((d / t, t.checked_mul(stride)?));
            steps.push((t, stride));
            stride = stride.checked_mul(d)?;
        }
        if stride == 0 {
            return Some(Tiles { dims: vec![(0, 0)], offsets: Vec::new() });
        }
        let mut offsets = vec![0];
        for (t, stride) in steps.into_iter().rev() {
            offsets = offsets.iter().flat_map(|o| (0..t).map(move |i| o + i * stride)).collect();
        }
        Some(Tiles { dims, offsets })
    }

    /// The first weight of each tile.
    fn bases(&self) -> impl Iterator<Item = usize> {
        let all = self.dims.iter().map(|d| d.0).product();
        (0..all).map(|tile| {
            let one = |(rest, at): (usize, usize), (n, step): &(usize, usize)| (rest / n, at + rest % n * step);
            self.dims.iter().fold((tile, 0), one).1
        })
    }

    fn tally(&self, mask: &[u8], into: &mut [f32]) {
        for base in self.bases() {
            let there = |o: &&usize| mask.get(base + **o).is_some_and(|m| *m != 0);
            let n = self.offsets.iter().filter(there).count() as f32;
            for o in &self.offsets {
                into.get_mut(base + o).into_iter().for_each(|x| *x = n);
            }
        }
    }

    /// Marks as many of the greatest values of each tile as its first weight says; ties go to the lower index.
    fn best(&self, by: &[f32], count: &[f32], among: Option<&[u8]>, into: &mut [u8]) {
        into.fill(0);
        let mut list: Vec<(f32, usize)> = Vec::with_capacity(self.offsets.len());
        for base in self.bases() {
            let n = count.get(base).copied().unwrap_or(0.0);
            let n = if n >= 1.0 { n as usize } else { 0 };
            let here = self.offsets.iter().map(|o| base + o);
            let here = here.filter(|e| among.is_none_or(|a| a.get(*e).is_some_and(|m| *m != 0)));
            list.clear();
            // -0 is 0.
            list.extend(here.filter_map(|e| Some((by.get(e)? + 0.0, e))));
            if n > 0 && n < list.len() {
                list.select_nth_unstable_by(n - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            }
            for (_, e) in list.iter().take(n) {
                into.get_mut(*e).into_iter().for_each(|m| *m = 1);
            }
        }
    }
}

impl Builder<'_> {
    /// The tiles in which a constraint in a hook counts single weights, tensor by tensor; None where it counts otherwise.
    fn tiles(&self, i: usize) -> Option<Vec<Tiles>> {
        let k = self.core.keep(i)?.0.keeps.last()?;
        let plain =
            k.scope == Scope::Tile && choice::of_elements(k) && k.members.len() == self.core.info[i].members.len();
        k.members.iter().filter(|_| plain).map(Tiles::of).collect::<Option<Vec<_>>>().filter(|_| plain)
    }

    /// `count(mask)` within tiles; None: the constraint counts otherwise.
    pub(super) fn tally_within(
        &mut self,
        h: &Hook<'_>,
        given: &Barriers,
        mask: ValueId,
        end: usize,
    ) -> Result<Option<Vec<Given>>, Missing> {
        let Some(tiles) = self.tiles(h.rule) else { return Ok(None) };
        let members = self.core.info[h.rule].members.clone();
        let masks = self.arrays(h, given, mask, end)?;
        self.flush(&members)?;
        let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Float, *t)).collect();
        self.phases.push(Phase::TallyWithin(TallyWithin { tiles, masks, into: into.clone() }));
        Ok(Some(into.into_iter().map(Given::Array).collect()))
    }

    /// `top(count, by, among)` within tiles; None: the constraint counts otherwise.
    pub(super) fn best_within(
        &mut self,
        h: &Hook<'_>,
        given: &Barriers,
        (count, by, among): (ValueId, ValueId, Option<ValueId>),
        end: usize,
    ) -> Result<Option<Vec<Given>>, Missing> {
        let Some(tiles) = self.tiles(h.rule) else { return Ok(None) };
        let members = self.core.info[h.rule].members.clone();
        let (count, by) = (self.arrays(h, given, count, end)?, self.arrays(h, given, by, end)?);
        let among = match among {
            Some(a) => self.arrays(h, given, a, end)?.into_iter().map(Some).collect(),
            None => vec![None; members.len()],
        };
        self.flush(&members)?;
        let into: Vec<Ref> = members.iter().map(|t| self.new_scratch(Kind::Bool, *t)).collect();
        self.phases.push(Phase::BestWithin(BestWithin { tiles, count, by, among, into: into.clone() }));
        Ok(Some(into.into_iter().map(Given::Array).collect()))
    }
}

impl Run<'_, '_, '_> {
    pub(super) fn tally_within(&mut self, t: &TallyWithin) -> Result<(), Bug> {
        for ((tiles, mask), r) in t.tiles.iter().zip(&t.masks).zip(&t.into) {
            let Held::F32(mut into) = self.take(r) else { return Err(Bug::new("a count that is no array")) };
            tiles.tally(self.truths(mask), &mut into);
            self.give(r, Held::F32(into));
        }
        Ok(())
    }

    pub(super) fn best_within(&mut self, b: &BestWithin) -> Result<(), MethodError> {
        for r in &b.by {
            if let Some(index) = self.floats(r).iter().position(|x| x.is_nan()) {
                let weight = self.core.tensors[tensor(r)].name.clone();
                return Err(MethodError::NotFinite { what: "the score".into(), weight, index });
            }
        }
        for (k, (tiles, r)) in b.tiles.iter().zip(&b.into).enumerate() {
            let Held::Bytes(mut into) = self.take(r) else { return Err(Bug::new("a choice that is no mask").into()) };
            let among = b.among[k].as_ref().map(|a| self.truths(a));
            tiles.best(self.floats(&b.by[k]), self.floats(&b.count[k]), among, &mut into);
            self.give(r, Held::Bytes(into));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_weight_lies_in_one_tile() {
        for (shape, tile) in
            [(vec![6, 4], vec![2, 4]), (vec![4, 6], vec![4, 2]), (vec![2, 3, 4], vec![1, 3, 2]), (vec![5], vec![1])]
        {
            let ones = vec![1; shape.len()];
            let t = Tiles::of(&Member::tile("w", &shape, &ones, &tile, "")).unwrap();
            let n = shape.iter().product::<u64>() as usize;
            let mut home = vec![None; n];
            for base in t.bases() {
                for e in t.offsets.iter().map(|o| base + o) {
                    assert_eq!(home[e].replace(base), None);
                }
            }
            let strides = |d: usize| shape[d + 1..].iter().product::<u64>() as usize;
            for (e, home) in home.iter().enumerate() {
                // Rounded down to a multiple of the tile along each dimension.
                let along =
                    |d: usize| e / strides(d) % shape[d] as usize / tile[d] as usize * tile[d] as usize * strides(d);
                assert_eq!(*home, Some((0..shape.len()).map(along).sum()), "{shape:?} {tile:?} {e}");
            }
        }
        assert_eq!(Tiles::of(&Member::tile("w", &[6, 5], &[1, 1], &[1, 4], "")), None);
        assert_eq!(Tiles::of(&Member::tile("w", &[0, 4], &[1, 1], &[1, 4], "")).unwrap().bases().count(), 0);
    }
}
