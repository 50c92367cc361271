//! Linears whose weight fills a structure well but for a few elements: whether two products, one over what fills it and one over
//! the rest, take less than the best single one.
use crate::plan::on_gpu;
use crate::structure::Case;
use spc_base::Bug;
use spc_formats::{CostFacts, Layout, Refusal};
use spc_ir::structure::{Fit, Fold, Restructure, SPLIT, Split, split_name, splittable};
use spc_ir::{Graph, NodeId, Op};
use spc_layout::{Alone, WeightFacts};
use spc_report::picoseconds;
use std::collections::BTreeMap;

/// The structures that are tried.
const FITS: [Fit; 9] = [
    Fit::Tiles { rows: 16, cols: 1, least: 8 },
    Fit::Tiles { rows: 16, cols: 1, least: 4 },
    Fit::Tiles { rows: 8, cols: 1, least: 4 },
    Fit::Tiles { rows: 4, cols: 1, least: 2 },
    Fit::Tiles { rows: 16, cols: 4, least: 32 },
    Fit::Tiles { rows: 8, cols: 8, least: 32 },
    Fit::OutOf { n: 1, m: 4 },
    Fit::OutOf { n: 2, m: 4 },
    Fit::OutOf { n: 4, m: 8 },
];

/// Of one weight, that many are weighed.
const MOST_FITS: usize = 2;

/// Rows of a sample block, and how many blocks are looked at to see which structures are worth a whole look.
const BLOCK: usize = 16;
const BLOCKS: usize = 8;

/// Quarters of a multiply-add that a stored element of a structure is counted as when structures are compared by counts alone:
/// the more rows share a column, the less each element takes. Elements of the rest take most.
fn weight_of(fit: Fit) -> u64 {
    match fit {
        Fit::Tiles { rows, .. } => 4 + 16 / u64::from(rows.clamp(1, 16)),
        Fit::OutOf { .. } => 8,
    }
}

const REST: u64 = 24;

/// Structures that most elements of a sample of the rows fill well, the rest being few; those that store least first.
fn fits(rows: usize, cols: usize, values: &[f32]) -> Vec<Fit> {
    let blocks = rows.div_ceil(BLOCK);
    let step = blocks.div_ceil(BLOCKS).max(1);
    let sample = |b: usize| values.get(b * BLOCK * cols..((b + 1) * BLOCK).min(rows) * cols).unwrap_or_default();
    let elements: usize = (0..blocks).step_by(step).map(|b| sample(b).len()).sum();
    let mut found: Vec<(u64, usize)> = Vec::new();
    for (place, fit) in FITS.into_iter().enumerate() {
        let (mut kept, mut rest, mut stored) = (0u64, 0u64, 0u64);
        for b in (0..blocks).step_by(step) {
            let s = fit.share(cols, sample(b));
            (kept, rest, stored) = (kept + s.kept, rest + s.rest, stored + s.stored);
        }
        let few = rest > 0 && rest.saturating_mul(3) <= kept;
        let well = kept.saturating_mul(5) >= stored.saturating_mul(3);
        let small = stored.saturating_mul(5) <= (elements as u64).saturating_mul(3);
        if few && well && small {
            found.push((weight_of(fit) * stored + REST * rest, place));
        }
    }
    found.sort();
    found.into_iter().take(MOST_FITS).filter_map(|(_, i)| FITS.get(i).copied()).collect()
}

/// Whether a layout stores nothing of one part where the other part has a value: a zero of its own would otherwise meet an input
/// that only the other part reads.
fn apart(layout: Layout, fit: Fit, structured: bool) -> bool {
    match (layout, fit) {
        (Layout::Csr | Layout::Csr16 | Layout::Dense { .. }, _) => true,
        (Layout::Vx1 { v }, Fit::Tiles { rows, .. }) => rows % v == 0,
        (Layout::Bsr { r, c }, Fit::Tiles { rows, cols, .. }) => rows % r == 0 && cols % c == 0,
        (Layout::Nm { n, m } | Layout::Nm16 { n, m }, Fit::OutOf { n: a, m: b }) => structured && (n, m) == (a, b),
        (Layout::Half { of, .. }, _) => apart(of.layout(), fit, structured),
        _ => false,
    }
}

/// Facts of one part, without layouts that would read what the other part holds.
fn facts_of(whole: &WeightFacts, part: &[f32], fit: Fit, structured: bool, gpu: bool) -> Result<WeightFacts, Bug> {
    let (Ok(rows), Ok(cols)) = (usize::try_from(whole.rows), usize::try_from(whole.cols)) else {
        return Err(Bug::new("a weight larger than memory"));
    };
    let mut extra: Vec<Layout> = Vec::new();
    if let (Fit::OutOf { n, m }, true) = (fit, structured) {
        extra.extend([Layout::Nm { n, m }, Layout::Nm16 { n, m }].into_iter().filter(|l| l.check().is_ok()));
    }
    let mut f = WeightFacts::of(rows, cols, part, &extra).map_err(|r| Bug::new(r.0))?;
    for (layout, found) in &mut f.candidates {
        if found.is_ok() && !apart(*layout, fit, structured) {
            *found = Err(Refusal("it would store zeros where the other part has values".into()));
        }
    }
    if gpu {
        on_gpu(&mut f);
    }
    Ok(f)
}

/// A split that is predicted to pay by itself.
#[derive(Clone)]
pub struct Offer {
    pub split: Split,
    pub fold: Fold,
    rows: u64,
    facts: [WeightFacts; 2],
    because: String,
}

impl Offer {
    /// Names of the two parts, with what is known of them.
    pub fn parts(&self) -> impl Iterator<Item = (String, WeightFacts)> {
        let name = |structured| split_name(&self.split.weight, &self.split.fit, structured);
        [name(true), name(false)].into_iter().zip(self.facts.clone())
    }

    /// The steps that it is.
    pub fn steps(&self) -> Vec<Restructure> {
        let rest = format!("what is beyond {}", self.split.fit);
        self.split.steps(self.rows, [self.because.clone(), rest])
    }

    /// What is told where the whole plan is better without it.
    pub fn not_taken(&self, more: u64) -> Restructure {
        let more = picoseconds(more);
        whole(&self.split.weight, format!("in {} and the rest the whole would take {more} more", self.split.fit))
    }
}

/// What a row of `csr` takes for each tile of 48 tokens beside its elements. The rates of the cost model come from matrices whose
/// rows have many, the rest of a split has few.
const ROW_PS: u64 = 25_000;

/// Of the time of the whole, this share (of 100) must be saved: predictions are not better than that.
const MARGIN: u64 = 10;

fn row_ps(layout: Layout, rows: u64, tokens: u64, gpu: bool) -> u64 {
    if matches!(layout, Layout::Csr) && !gpu {
        rows.saturating_mul(tokens.div_ceil(48)).saturating_mul(ROW_PS)
    } else {
        0
    }
}

/// Whether a structured layout stores little beside the present elements: then there is nothing that a split or another order
/// would leave out.
pub fn fills(f: &WeightFacts) -> bool {
    f.candidates.iter().any(|(l, r)| {
        let structured = match l {
            Layout::Vx1 { v } => *v >= 8,
            Layout::Bsr { r, .. } => *r >= 8,
            l => matches!(l, Layout::Nm { .. } | Layout::Nm16 { .. }),
        };
        let little = |f: &CostFacts| f.multiplies.saturating_mul(10) <= f.present.saturating_mul(11);
        structured && r.as_ref().is_ok_and(little)
    })
}

/// What is known of one linear.
enum Verdict {
    /// There is nothing to split.
    Plain,
    /// Its weight has such a structure, and it stays whole.
    Refused(String),
    Wanted(Box<Offer>),
}

/// A graph, the facts about its weights, and the steps that made it.
struct Place<'a> {
    graph: &'a Graph,
    facts: &'a BTreeMap<String, WeightFacts>,
    steps: &'a [Restructure],
}

fn verdict(at: &Place<'_>, case: &Case<'_>, alone: &Alone<'_>, node: NodeId, name: &str) -> Result<Verdict, Bug> {
    let Some(f) = at.facts.get(name) else { return Ok(Verdict::Plain) };
    let all = f.rows.saturating_mul(f.cols);
    if f.present() == 0 || f.present().saturating_mul(10) > all.saturating_mul(7) || fills(f) {
        return Ok(Verdict::Plain);
    }
    let Some(w) = case.value(name, at.steps) else { return Ok(Verdict::Plain) };
    let (Ok(rows), Ok(cols)) = (usize::try_from(f.rows), usize::try_from(f.cols)) else { return Ok(Verdict::Plain) };
    let list = fits(rows, cols, w.values());
    if list.is_empty() {
        return Ok(Verdict::Plain);
    }
    let codes = |l: &Layout| matches!(l, Layout::Groups { .. }) || l.needs_integers();
    if f.candidates.iter().any(|(l, r)| r.is_ok() && codes(l)) {
        return Ok(Verdict::Refused("its values are codes, which one matrix stores with their scales".into()));
    }
    if let Err(why) = splittable(at.graph, node)? {
        return Ok(Verdict::Refused(why));
    }
    let Some((own, layout)) = alone.least(node, f)? else { return Ok(Verdict::Plain) };
    let (sum, tokens) = (alone.sum(node)?, alone.tokens(node)?);
    let mut best: Option<(u64, Offer)> = None;
    for fit in list {
        let gpu = case.machine.is_gpu();
        let of = |structured| facts_of(f, &fit.part(cols, w.values(), structured), fit, structured, gpu);
        let parts = [of(true)?, of(false)?];
        let (Some((a, la)), Some((b, lb))) = (alone.least(node, &parts[0])?, alone.least(node, &parts[1])?) else {
            continue;
        };
        // One part that is dense does all the work of the whole.
        if [la, lb].iter().any(|l| matches!(l, Layout::Dense { .. })) || parts[1].present() == 0 {
            continue;
        }
        let rows_ps = row_ps(la, f.rows, tokens, gpu).saturating_add(row_ps(lb, f.rows, tokens, gpu));
        let ps = a.saturating_add(b).saturating_add(sum).saturating_add(rows_ps);
        if best.as_ref().is_none_or(|(p, _)| ps < *p) {
            let because = format!(
                "{} of {} elements lie in {fit}: {la} and {lb} for the rest take {}, whole in {layout} it would be {}",
                parts[0].present(),
                f.present(),
                picoseconds(ps),
                picoseconds(own)
            );
            let split = Split { linear: node, weight: name.into(), fit };
            let fold = split.fold(at.graph)?;
            best = Some((ps, Offer { split, fold, rows: f.rows, facts: parts, because }));
        }
    }
    Ok(match best {
        None => Verdict::Refused("no two sparse layouts hold what fills a structure and the rest".into()),
        Some((ps, w)) if ps >= own => Verdict::Refused(format!(
            "in {} and the rest it would take {} more than whole in {layout}",
            w.split.fit,
            picoseconds(ps - own)
        )),
        Some((ps, w)) if ps.saturating_mul(100) > own.saturating_mul(100 - MARGIN) => Verdict::Refused(format!(
            "in {} and the rest it would save {}, too little to be sure, against {layout}",
            w.split.fit,
            picoseconds(own - ps)
        )),
        Some((_, w)) => Verdict::Wanted(Box::new(w)),
    })
}

fn whole(weight: &str, because: String) -> Restructure {
    Restructure { rule: SPLIT.into(), from: vec![weight.into()], rows: vec![], made: None, how: None, because }
}

/// Splits that pay by themselves, one of a weight, and what is told of weights that stay whole. Only weights that `only` names
/// are looked at; `steps` made the graph.
///
/// # Errors
/// Only our own mistakes.
pub fn offers(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    case: &Case<'_>,
    steps: &[Restructure],
    only: &dyn Fn(&str) -> bool,
) -> Result<(Vec<Offer>, Vec<Restructure>), Bug> {
    let (mut out, mut told) = (Vec::new(), Vec::new());
    let at = Place { graph, facts, steps };
    let alone = Alone::new(graph, facts, case.machine, case.tuned)?;
    let mut seen: Vec<&str> = Vec::new();
    for node in graph.order()? {
        let (Op::Linear { .. }, Some(w)) = (&graph.node(node)?.op, graph.inputs(node).get(1).copied()) else {
            continue;
        };
        let Op::Weight { name, .. } = &graph.node(w)?.op else { continue };
        if !only(name) || seen.contains(&name.as_str()) {
            continue;
        }
        seen.push(name);
        match verdict(&at, case, &alone, node, name)? {
            Verdict::Plain => {}
            Verdict::Refused(why) => told.push(whole(name, why)),
            Verdict::Wanted(w) => out.push(*w),
        }
    }
    Ok((out, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, n: usize) -> Vec<f32> {
        let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            s ^= s << 13;
            s ^= s >> 7;
            s ^= s << 17;
            (s >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Values in `v` x 1 blocks of which `share` of 16 stay, and outliers at `outliers` of 1024 places.
    fn blocks(rows: usize, cols: usize, v: usize, share: u64, outliers: u64) -> Vec<f32> {
        let mut w = numbers(1, rows * cols);
        let mut s = 77u64;
        let mut roll = |n: u64| {
            s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (s >> 33) % n
        };
        for top in (0..rows).step_by(v) {
            for j in 0..cols {
                let keep = roll(16) < share;
                for i in top..(top + v).min(rows) {
                    if !keep && roll(1024) >= outliers {
                        w[i * cols + j] = 0.0;
                    }
                }
            }
        }
        w
    }

    #[test]
    fn structures_with_a_few_outliers_are_found_and_others_are_not() {
        let found = fits(256, 128, &blocks(256, 128, 16, 3, 10));
        assert_eq!(found.first(), Some(&Fit::Tiles { rows: 16, cols: 1, least: 8 }), "{found:?}");
        // A whole structure, no structure, dense, and nothing.
        let facts = |w: &[f32]| WeightFacts::of(256, 128, w, &[]).unwrap();
        assert!(fills(&facts(&blocks(256, 128, 16, 3, 0))) && !fills(&facts(&blocks(256, 128, 16, 3, 10))));
        assert!(fits(256, 128, &blocks(256, 128, 1, 3, 0)).is_empty());
        assert!(fits(256, 128, &numbers(3, 256 * 128)).is_empty());
        assert!(fits(0, 8, &[]).is_empty() && fits(8, 0, &[]).is_empty());
        assert!(fits(1, 1, &[1.0]).is_empty());
        // 2:4 with an element too many here and there; the rows are no whole number of blocks.
        let mut w = numbers(5, 100 * 64);
        for (g, group) in w.chunks_mut(4).enumerate() {
            let a = (g * 7 + g / 5) % 4;
            group[a] = 0.0;
            if g % 37 != 0 {
                group[(a + 1 + g % 3) % 4] = 0.0;
            }
        }
        let found = fits(100, 64, &w);
        assert!(found.contains(&Fit::OutOf { n: 2, m: 4 }), "{found:?}");
    }

    #[test]
    fn no_part_stores_zeros_where_the_other_has_values() {
        let fit = Fit::Tiles { rows: 8, cols: 1, least: 4 };
        let w = blocks(64, 64, 8, 4, 20);
        for structured in [true, false] {
            let (own, other) = (fit.part(64, &w, structured), fit.part(64, &w, !structured));
            let whole = WeightFacts::of(64, 64, &w, &[]).unwrap();
            let f = facts_of(&whole, &own, fit, structured, false).unwrap();
            for (layout, found) in f.candidates {
                let Layout::Vx1 { v } = layout else { continue };
                let meets = |b: usize, j: usize| {
                    let rows = b * v as usize..(b + 1) * v as usize;
                    let has = |m: &[f32]| rows.clone().any(|i| m[i * 64 + j] != 0.0);
                    has(&own) && has(&other)
                };
                let any = (0..64 / v as usize).any(|b| (0..64).any(|j| meets(b, j)));
                assert!(found.is_err() || !any, "{layout}");
                assert_eq!(found.is_ok(), 8 % v == 0, "{layout}");
            }
        }
    }
}
