//! Axes inside a function whose positions, put in another order, let a weight fill a layout better: rows that read the same
//! inputs become neighbours, and so do columns that the same rows read; or columns come together in groups of which no row reads
//! more than N. Every weight along the axis moves alike.
mod groups;

use crate::plan::on_gpu;
use crate::split::fills;
use crate::structure::Case;
use crate::weights::Weight;
use spc_base::Bug;
use spc_ir::couple::{CoupledSet, Coupling};
use spc_ir::structure::{
    Fold, Move, Order, REORDER, Recipe, Restructure, against, moved, moved_name, moves, order_choices, order_fold,
};
use spc_ir::{Graph, NodeId, Op};
use spc_layout::{Alone, WeightFacts};
use spc_report::picoseconds;
use std::collections::{BTreeMap, BTreeSet};

/// Lines that shall share blocks: rows are taken in sixteens, columns in fours.
const GROUPS: [usize; 2] = [16, 4];

/// Elements of each line that a first look compares, and lines that it looks for neighbours of.
const LOOK: usize = 256;
const SAMPLE: usize = 32;

/// Comparisons of words that the search for one order may take.
const MOST_WORK: usize = 1 << 30;

/// Another order must save this share (of 100) of the time of what it touches.
const WORTH: u64 = 2;

/// Orders of some axes, on offer.
pub struct Offer {
    pub moves: BTreeMap<String, Vec<Move>>,
    pub fold: Fold,
    /// Of the weights of linears that are made, by their names.
    pub facts: BTreeMap<String, WeightFacts>,
    pub steps: Vec<Restructure>,
    /// Whether it is of one axis.
    pub single: bool,
}

/// Which elements of each line (row or column) are present, 64 to a word.
struct Lines {
    words: usize,
    bits: Vec<u64>,
}

impl Lines {
    /// At most `most` elements of every row (`dim` 0) or column (1) of a matrix, evenly spread.
    fn of(w: &Weight, dim: usize, most: usize) -> Lines {
        let (&[rows, cols], values) = (w.shape(), w.values()) else { return Lines { words: 0, bits: Vec::new() } };
        let (n, across) = if dim == 0 { (rows, cols) } else { (cols, rows) };
        let step = across.div_ceil(most.max(1)).max(1);
        let words = across.div_ceil(step).div_ceil(64).max(1);
        let mut bits = vec![0u64; n * words];
        let (down, right) = if dim == 0 { (1, step) } else { (step, 1) };
        for (i, row) in values.chunks_exact(cols.max(1)).enumerate().step_by(down) {
            for (j, _) in row.iter().enumerate().step_by(right).filter(|(_, v)| **v != 0.0) {
                let (line, at) = if dim == 0 { (i, j / step) } else { (j, i / step) };
                bits[line * words + at / 64] |= 1 << (at % 64);
            }
        }
        Lines { words, bits }
    }

    fn len(&self) -> usize {
        self.bits.len().checked_div(self.words).unwrap_or(0)
    }

    fn line(&self, i: usize) -> &[u64] {
        &self.bits[i * self.words..(i + 1) * self.words]
    }

    fn count(&self, i: usize) -> u32 {
        self.line(i).iter().map(|w| w.count_ones()).sum()
    }

    fn distance(&self, i: usize, j: usize) -> u32 {
        self.line(i).iter().zip(self.line(j)).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// Whether lines stand apart from those like them: groups of neighbours share too few elements, and of a sample half have a
    /// line in another group that is alike in most elements and no farther than all of their own group.
    fn scattered(&self, group: usize) -> bool {
        let n = self.len();
        if n < 2 * group {
            return false;
        }
        let (mut own, mut stored) = (0u64, 0u64);
        for first in (0..n).step_by(group) {
            let end = (first + group).min(n);
            let union = |k: usize| (first..end).fold(0u64, |u, i| u | self.bits[i * self.words + k]).count_ones();
            own += (first..end).map(|i| u64::from(self.count(i))).sum::<u64>();
            stored += (0..self.words).map(|k| u64::from(union(k))).sum::<u64>() * (end - first) as u64;
        }
        if own == 0 || own.saturating_mul(5) >= stored.saturating_mul(4) {
            return false;
        }
        let (mut looked, mut alike) = (0, 0);
        for i in (0..n).step_by(n.div_ceil(SAMPLE)) {
            let count = self.count(i);
            if count == 0 {
                continue;
            }
            looked += 1;
            let (mut here, mut there) = (u32::MAX, u32::MAX);
            for j in (0..n).filter(|j| *j != i) {
                let least = if j / group == i / group { &mut here } else { &mut there };
                *least = (*least).min(self.distance(i, j));
            }
            alike += usize::from(there <= here && there.saturating_mul(2) <= count);
        }
        looked > 0 && alike * 2 >= looked
    }

    /// An order in which each group holds a line and those nearest to it. Lines that are equal keep their order.
    fn grouped(&self, group: usize) -> Option<Order> {
        let n = self.len();
        if (n.div_ceil(group)).checked_mul(n)?.checked_mul(self.words)? > MOST_WORK {
            return None;
        }
        let mut left: Vec<usize> = (0..n).collect();
        let mut out: Vec<u32> = Vec::with_capacity(n);
        while let Some(seed) = left.first().copied() {
            let mut near: Vec<(u32, usize)> = left.iter().map(|i| (self.distance(seed, *i), *i)).collect();
            near.sort_unstable();
            near.truncate(group);
            let mut taken: Vec<usize> = near.into_iter().map(|(_, i)| i).collect();
            taken.sort_unstable();
            left.retain(|i| taken.binary_search(i).is_err());
            out.extend(taken.iter().map(|i| *i as u32));
        }
        Order::new(out)
    }
}

/// What an order brings together.
#[derive(Clone, Copy)]
enum Brings {
    /// Lines that are alike.
    Alike,
    /// Columns of which each row reads at most `n` of each `m`.
    OutOf { n: u32, m: u32 },
}

/// A line of a weight that would gain.
struct Want {
    weight: String,
    dim: usize,
    set: usize,
    order: Order,
    brings: Brings,
}

impl Brings {
    fn now(self, lines: &str) -> String {
        match self {
            Brings::Alike => format!("alike {lines} are neighbours now"),
            Brings::OutOf { n, m } => format!("each row reads {n} of {m} neighbouring {lines} now"),
        }
    }

    /// What was found, for where it cannot be used.
    fn apart(self, lines: &str) -> String {
        match self {
            Brings::Alike => format!("alike {lines} lie apart"),
            Brings::OutOf { n, m } => format!("each row would read {n} of {m} neighbouring {lines} in another order"),
        }
    }
}

/// The set that lies along the whole of a dimension of a weight.
fn along<'a>(c: &'a Coupling, weight: &str, dim: usize, size: u64) -> Option<(usize, &'a CoupledSet)> {
    let whole = |s: &CoupledSet| {
        let mut mine = s.members.iter().filter(|m| m.weight == weight).flat_map(|m| &m.places);
        s.size == size && mine.any(|p| p.dim as usize == dim && (p.start, p.end, p.inner) == (0, size, 1))
    };
    c.sets.iter().enumerate().find(|(_, s)| whole(s))
}

fn stays(weight: &str, because: String) -> Restructure {
    Restructure { rule: REORDER.into(), from: vec![weight.into()], rows: vec![], made: None, how: None, because }
}

const LINES: [&str; 2] = ["rows", "columns"];

/// Lines of weights that would gain from another order and may have one; the others that would are told of.
type Wants = (Option<Coupling>, Vec<Want>, Vec<Restructure>);

fn wants(
    g: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    value: &dyn Fn(&str) -> Option<Weight>,
) -> Result<Wants, Bug> {
    let (mut coupling, mut out, mut told) = (None, Vec::new(), Vec::new());
    let read: BTreeSet<String> = g.weights().into_iter().map(|(n, _)| n).collect();
    for (name, f) in facts.iter().filter(|(n, _)| read.contains(*n)) {
        let all = f.rows.saturating_mul(f.cols);
        if f.present() == 0 || f.present().saturating_mul(10) > all.saturating_mul(7) || fills(f) {
            continue;
        }
        let Some(w) = value(name).filter(|w| w.shape().len() == 2) else { continue };
        for (dim, group) in GROUPS.into_iter().enumerate() {
            if !Lines::of(&w, dim, LOOK).scattered(group) {
                continue;
            }
            let c = match &coupling {
                Some(c) => c,
                None => &*coupling.insert(Coupling::of(&[g])?),
            };
            let lines = LINES[dim];
            let size = if dim == 0 { f.rows } else { f.cols };
            if let Some(why) = held(g, c, name, dim, size)? {
                told.push(stays(name, format!("alike {lines} lie apart and have to stay there: {why}")));
                continue;
            }
            let Some((set, _)) = along(c, name, dim, size) else { continue };
            match Lines::of(&w, dim, usize::MAX).grouped(group) {
                Some(order) if !order.is_identity() => {
                    out.push(Want { weight: name.clone(), dim, set, order, brings: Brings::Alike });
                }
                Some(_) => {}
                None => told.push(stays(name, format!("it has too many {lines} to be put in order"))),
            }
        }
        let of_w = out.iter().any(|o| o.weight == *name);
        let Some((n, m, order)) = (!of_w).then(|| groups::n_of_m(&w)).flatten() else { continue };
        let c = match &coupling {
            Some(c) => c,
            None => &*coupling.insert(Coupling::of(&[g])?),
        };
        let brings = Brings::OutOf { n, m };
        match (held(g, c, name, 1, f.cols)?, along(c, name, 1, f.cols)) {
            (None, Some((set, _))) => out.push(Want { weight: name.clone(), dim: 1, set, order, brings }),
            (why, _) => {
                let why = why.unwrap_or_default();
                told.push(stays(
                    name,
                    format!("{}, and they have to stay where they are: {why}", brings.apart(LINES[1])),
                ));
            }
        }
    }
    Ok((coupling, out, told))
}

/// What stands against another order along a dimension of a weight.
fn held(g: &Graph, c: &Coupling, weight: &str, dim: usize, size: u64) -> Result<Option<&'static str>, Bug> {
    Ok(match along(c, weight, dim, size) {
        None => Some("no one axis lies along them"),
        Some((set, _)) => c.ordered(&[g], set)?.first().map(|r| against(&r.why)),
    })
}

/// The linear that reads a weight.
pub fn reader(g: &Graph, weight: &str) -> Result<Option<NodeId>, Bug> {
    for (_, w) in g.weights().into_iter().filter(|(n, _)| n == weight) {
        for r in g.readers(w) {
            if matches!(g.node(r)?.op, Op::Linear { .. }) && g.inputs(r).get(1) == Some(&w) {
                return Ok(Some(r));
            }
        }
    }
    Ok(None)
}

/// Facts of the weights of linears that these moves make, by their new names, and for each old name the linear that reads it and
/// both facts; nothing where a weight is not at hand.
type Moved<'a> = (BTreeMap<String, WeightFacts>, Vec<(&'a str, NodeId, &'a WeightFacts, WeightFacts)>);

fn facts_of<'a>(
    g: &Graph,
    facts: &'a BTreeMap<String, WeightFacts>,
    moves: &'a BTreeMap<String, Vec<Move>>,
    case: &Case<'_>,
    before: &[Restructure],
) -> Result<Option<Moved<'a>>, Bug> {
    let (mut made, mut pairs) = (BTreeMap::new(), Vec::new());
    for (name, list) in moves {
        let Some(old) = facts.get(name) else { continue };
        let Some(node) = reader(g, name)? else { continue };
        let Some(w) = case.value(name, before) else { return Ok(None) };
        let values = moved(w.shape(), w.values(), list).map_err(Bug::new)?;
        let (Ok(rows), Ok(cols)) = (usize::try_from(old.rows), usize::try_from(old.cols)) else { return Ok(None) };
        let layouts: Vec<_> = old.candidates.iter().map(|(l, _)| *l).collect();
        let mut new = WeightFacts::of(rows, cols, &values, &layouts).map_err(|r| Bug::new(r.0))?;
        if case.machine.is_gpu() {
            on_gpu(&mut new);
        }
        made.insert(moved_name(name, list), new.clone());
        pairs.push((name.as_str(), node, old, new));
    }
    Ok(Some((made, pairs)))
}

/// The weights that carry a set.
fn members(c: &Coupling, set: usize) -> BTreeSet<&str> {
    c.sets.get(set).into_iter().flat_map(|s| &s.members).map(|m| m.weight.as_str()).collect()
}

/// Orders of axes that are predicted to save time by themselves, alone and where they touch one weight together; what would gain
/// and cannot, or saves too little, is told of. `before` are the steps that made the graph.
///
/// # Errors
/// Only our own mistakes.
pub fn offers(
    g: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    before: &[Restructure],
) -> Result<(Vec<Offer>, Vec<Restructure>), Bug> {
    let value = |name: &str| case.value(name, before);
    let (coupling, wants, mut told) = wants(g, facts, &value)?;
    let Some(c) = coupling.filter(|_| !wants.is_empty()) else { return Ok((Vec::new(), told)) };
    let alone = Alone::new(g, facts, case.machine, case.tuned)?;
    let mut paying: Vec<(Want, String)> = Vec::new();
    for want in wants {
        let all = moves(&c, &BTreeMap::from([(want.set, want.order.clone())]));
        let (mut old, mut new, mut own) = (0u64, 0u64, None);
        let found = facts_of(g, facts, &all, case, before)?;
        for (name, node, a, b) in found.iter().flat_map(|f| &f.1) {
            if let (Some((a, la)), Some((b, lb))) = (alone.least(*node, a)?, alone.least(*node, b)?) {
                (old, new) = (old.saturating_add(a), new.saturating_add(b));
                if *name == want.weight {
                    own = Some((a, la, b, lb));
                }
            }
        }
        let lines = LINES[want.dim];
        let saves = new.saturating_mul(100) <= old.saturating_mul(100 - WORTH);
        let Some((a, la, b, lb)) = own.filter(|_| saves) else {
            let why = format!("{}, but that would save too little", want.brings.apart(lines));
            told.push(stays(&want.weight, why));
            continue;
        };
        let times = (picoseconds(b), picoseconds(a));
        let text = format!("{}: {lb} takes {}, before {la} took {}", want.brings.now(lines), times.0, times.1);
        paying.push((want, text));
    }
    let mut out = Vec::new();
    let sets: Vec<usize> = paying.iter().map(|(w, _)| w.set).collect();
    for list in order_choices(&c, &sets) {
        let list: Vec<&(Want, String)> = list.iter().filter_map(|i| paying.get(*i)).collect();
        let chosen = list.iter().map(|(w, _)| (w.set, w.order.clone())).collect();
        let (Some(fold), moves) = (order_fold(g, &c, &chosen)?, moves(&c, &chosen)) else { continue };
        let Some((made, _)) = facts_of(g, facts, &moves, case, before)? else { continue };
        let because = |name: &str| {
            let own = list.iter().find(|(w, _)| w.weight == name).map(|(_, text)| text.clone());
            let of = |w: &Want| members(&c, w.set).contains(name);
            let other = || list.iter().find(|(w, _)| of(w));
            own.or_else(|| other().map(|(w, _)| format!("carries the axis of the {} of `{}`", LINES[w.dim], w.weight)))
        };
        let rows = |name: &str| value(name).and_then(|w| w.shape().first().copied()).unwrap_or(1) as u64;
        let step = |(name, list): (&String, &Vec<Move>)| Restructure {
            rule: REORDER.into(),
            from: vec![name.clone()],
            rows: vec![rows(name)],
            made: Some(moved_name(name, list)),
            how: Some(Recipe::Reorder { moves: list.clone() }),
            because: because(name).unwrap_or_default(),
        };
        let steps = moves.iter().map(step).collect();
        out.push(Offer { fold, facts: made, steps, single: list.len() == 1, moves });
    }
    Ok((out, told))
}

impl Offer {
    /// What is told where the whole plan is better without it.
    pub fn not_taken(&self, more: u64) -> Vec<Restructure> {
        let first = self.steps.iter().filter(|s| !s.because.starts_with("carries"));
        let why = format!("in another order of its rows or columns the whole would take {} more", picoseconds(more));
        first.filter_map(|s| Some(stays(s.from.first()?, why.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(rows: usize, cols: usize, f: impl Fn(usize, usize) -> bool) -> Weight {
        let v: Vec<f32> = (0..rows * cols).map(|i| f32::from(u8::from(f(i / cols, i % cols)))).collect();
        Weight::new(vec![rows, cols], v.into()).unwrap()
    }

    /// Something without a pattern.
    fn hash(a: usize, b: usize) -> usize {
        let x = (a as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as usize
    }

    #[test]
    fn shuffled_blocks_are_found_and_come_together() {
        // 64 rows in blocks of 16 alike, of which every fourth stands beside rows of other blocks.
        let shuffled = weight(64, 100, |i, j| hash(i % 4, j).is_multiple_of(5));
        for (dim, group, w) in [(0, 16, &shuffled), (1, 4, &weight(100, 64, |i, j| hash(j % 16, i).is_multiple_of(5)))]
        {
            let lines = Lines::of(w, dim, LOOK);
            assert!(lines.scattered(group), "{dim}");
            let order = lines.grouped(group).unwrap();
            for block in order.places().chunks(group) {
                assert!(block.iter().all(|i| lines.distance(*i as usize, block[0] as usize) == 0), "{order:?}");
            }
        }
    }

    #[test]
    fn what_is_in_order_or_has_none_is_left_alone() {
        let looks = |w: &Weight| [(0, 16), (1, 4)].map(|(d, g)| Lines::of(w, d, LOOK).scattered(g));
        // Blocks in place, no structure at all, everything, nothing, and too small.
        assert!(!looks(&weight(64, 100, |i, j| hash(i / 16, j).is_multiple_of(5)))[0]);
        assert_eq!(looks(&weight(64, 100, |i, j| hash(i + 7, j).is_multiple_of(5))), [false, false]);
        assert_eq!(looks(&weight(64, 64, |_, _| true)), [false, false]);
        assert_eq!(looks(&weight(64, 64, |_, _| false)), [false, false]);
        assert_eq!(looks(&weight(1, 1, |_, _| true)), [false, false]);
        assert_eq!(looks(&weight(0, 5, |_, _| true)), [false, false]);
    }
}
