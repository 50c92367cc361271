//! The reasons that a user reads: for each linear every layout with its cost, alone and as part of the best plan that uses
//! it, the refusals, the margin, and what would change the choice.
use crate::cost::Prices;
use crate::lang::In;
use crate::model::{Linear, Model};
use crate::space::{Action, Shape, price};
use crate::{Options, WeightFacts};
use spc_base::Bug;
use spc_formats::{CostFacts, Layout, Wide};
use spc_ir::{Act, Candidate, NodeId, Plan, Why};
use std::collections::BTreeMap;

/// Everything that a plan was made from.
pub(crate) struct Case<'a> {
    pub model: &'a Model<'a>,
    pub facts: &'a BTreeMap<String, WeightFacts>,
    pub prices: &'a Prices<'a>,
    pub shape: &'a Shape,
    pub priced: &'a Shape,
    pub options: &'a Options,
}

/// One way to run a linear: what the rest of the best plan around it costs, and its own kernel.
struct Variant {
    layout: u32,
    act: In,
    epilogue: Option<usize>,
    plan_ps: u64,
    kernel_ps: u64,
}

pub(crate) fn explain(case: &Case<'_>, plan: &Plan) -> Result<Vec<Why>, Bug> {
    // Of linears with measured kernels, predictions of the others as well.
    let all = match case.prices.measured {
        [] => None,
        _ => price(case.shape, case.prices, &|_| true)?,
    };
    let variants = variants(case, all.as_ref().unwrap_or(case.priced));
    let sizes = if case.options.why { other_sizes(case)? } else { Vec::new() };
    let mut out = Vec::new();
    for (v, linear) in case.model.linears() {
        let node = case.model.node(v)?;
        let chosen = plan.linears.iter().find(|l| l.node == node);
        let chosen = chosen.ok_or_else(|| Bug::new(format!("{node} is not planned")))?;
        let f = case.facts.get(&linear.weight).ok_or_else(|| Bug::new("facts vanished"))?;
        let mine = variants.get(&v).map_or(&[][..], Vec::as_slice);
        let candidates =
            f.candidates.iter().map(|(layout, r)| candidate(case, mine, layout, r, chosen, plan)).collect();
        let mut why = Why {
            node,
            weight: linear.weight.clone(),
            rows: f.rows,
            cols: f.cols,
            nonzeros: f.present(),
            winner: chosen.layout.clone(),
            candidates,
            margin_permille: None,
            flips: Vec::new(),
        };
        // Where some were measured, the others could not win, whatever was predicted of them.
        let measured = why.candidates.iter().any(|c| c.measured_ps.is_some());
        let rivals = why.candidates.iter().filter(|c| c.layout != why.winner);
        let others = rivals.filter(|c| !measured || c.measured_ps.is_some()).filter_map(|c| c.plan_ps);
        if let (Some(next), true) = (others.min(), plan.total_ps > 0) {
            why.margin_permille = Some(next.saturating_sub(plan.total_ps).saturating_mul(1000) / plan.total_ps);
        }
        for (what, layouts) in &sizes {
            if let Some(other) = layouts.get(&node).filter(|l| **l != why.winner) {
                why.flips.push(format!("{what}: {other}"));
            }
        }
        if case.options.why {
            why.flips.extend(density_flips(case, v, linear, mine, &chosen.layout)?);
            why.flips.extend(size_flips(f));
        }
        out.push(why);
    }
    Ok(out)
}

fn candidate(
    case: &Case<'_>,
    variants: &[Variant],
    layout: &Layout,
    result: &Result<CostFacts, spc_formats::Refusal>,
    chosen: &spc_ir::LinearPlan,
    plan: &Plan,
) -> Candidate {
    let words = layout.to_string();
    let mine = |v: &&Variant| case.model.layouts.get(v.layout as usize) == Some(layout);
    let best = variants.iter().filter(mine).min_by_key(|v| v.plan_ps);
    let won = words == chosen.layout;
    let facts = result.as_ref().ok();
    Candidate {
        layout: words,
        stored_bytes: facts.map(|f| f.stored_bytes),
        multiplies: facts.map(|f| f.multiplies),
        kernel_ps: if won { Some(chosen.predicted_ps) } else { best.map(|v| v.kernel_ps) },
        plan_ps: if won { Some(plan.total_ps) } else { best.map(|v| v.plan_ps) },
        refused: result.as_ref().err().map(|r| r.0.clone()),
        measured_ps: [Act::Rm, Act::Fm].iter().filter_map(|a| case.prices.time_of(chosen.node, *layout, *a)).min(),
    }
}

/// Every way to run each linear, with the cost of the best plan that runs it so. Empty when the frontier was too wide.
fn variants(case: &Case<'_>, priced: &Shape) -> BTreeMap<usize, Vec<Variant>> {
    let mut out: BTreeMap<usize, Vec<Variant>> = BTreeMap::new();
    let Some(marginals) = priced.marginals(case.options.width) else { return out };
    for (class, costs) in priced.classes.iter().zip(&marginals) {
        for (choice, plan_ps) in class.iter().zip(costs).filter(|(_, ps)| **ps != u64::MAX) {
            if let Action::Linear { linear, layout, act, epilogue } = choice.action {
                let v = Variant { layout, act, epilogue, plan_ps: *plan_ps, kernel_ps: choice.cost };
                out.entry(linear).or_default().push(v);
            }
        }
    }
    out
}

/// A size of an axis in words, and the layout of each linear there.
type Chosen = (String, BTreeMap<NodeId, String>);

/// Layouts chosen at other sizes of the free axes, one axis at a time.
fn other_sizes(case: &Case<'_>) -> Result<Vec<Chosen>, Bug> {
    let mut out = Vec::new();
    for (i, sym) in case.model.graph.syms.iter().enumerate() {
        for size in &case.options.sizes {
            let mut syms = case.model.syms.clone();
            if *size < sym.lo || *size > sym.hi || syms.get(i) == Some(size) {
                continue;
            }
            syms[i] = *size;
            let prices = Prices { syms: &syms, ..*case.prices };
            let Some(p) = price(case.shape, &prices, &|_| true)? else { continue };
            let Some(s) = p.frontier(case.options.width) else { continue };
            let mut layouts = BTreeMap::new();
            for (c, i) in &s.picks {
                if let Action::Linear { linear, layout, .. } = p.classes[*c as usize][*i].action
                    && let Some(words) = case.model.layouts.get(layout as usize)
                {
                    layouts.insert(case.model.node(linear)?, words.to_string());
                }
            }
            out.push((format!("{} = {size}", sym.name), layouts));
        }
    }
    Ok(out)
}

/// The nearest multiples of the stored weights at which another layout wins, one below and one above. All sparse layouts
/// but `nm` (whose size its pattern fixes) are scaled; dense is not.
fn density_flips(
    case: &Case<'_>,
    v: usize,
    linear: &Linear,
    variants: &[Variant],
    winner: &str,
) -> Result<Vec<String>, Bug> {
    let present = linear.layouts.first().map_or(0, |(_, f)| f.present);
    if variants.is_empty() || present == 0 {
        return Ok(Vec::new());
    }
    let node = case.model.node(v)?;
    let f = case.facts.get(&linear.weight).ok_or_else(|| Bug::new("facts vanished"))?;
    let full = f.rows.saturating_mul(f.cols);
    // Winner when stored weights are multiplied by `permille / 1000`; the plan around this kernel stays what it was.
    let winner_at = |permille: u64| -> Result<String, Bug> {
        let mut best: Option<(u64, u32)> = None;
        for x in variants {
            let layout = case.model.layouts.get(x.layout as usize).copied();
            let layout = layout.ok_or_else(|| Bug::new("a layout outside the table"))?;
            let facts = linear.facts(x.layout).ok_or_else(|| Bug::new("a layout that the linear lacks"))?;
            let epilogue = x.epilogue.map(|e| case.model.node(e)).transpose()?;
            let scaled = match layout {
                Layout::Dense { .. }
                | Layout::Nm { .. }
                | Layout::Nm16 { .. }
                | Layout::Vnm16 { .. }
                | Layout::Mma24
                | Layout::Vnm { .. }
                | Layout::Groups { kept: false, .. }
                | Layout::Half {
                    of: Wide::Dense { .. } | Wide::Nm16 { .. } | Wide::Mma24 | Wide::Vnm { .. }, ..
                } => *facts,
                // A bit stays a bit, whatever it says.
                Layout::Bitmap => CostFacts {
                    row_blocks: facts.row_blocks,
                    multiplies: facts.multiplies,
                    activation_loads: facts.activation_loads,
                    units: facts.units,
                    ..scale(facts, permille)
                },
                _ => scale(facts, permille),
            };
            let kernel = case.prices.linear(node, layout, &scaled, crate::space::act(x.act), epilogue)?;
            let total = x.plan_ps.saturating_sub(x.kernel_ps).saturating_add(kernel);
            if best.is_none_or(|b| (total, x.layout) < b) {
                best = Some((total, x.layout));
            }
        }
        let layout = best.and_then(|(_, l)| case.model.layouts.get(l as usize));
        Ok(layout.map(ToString::to_string).unwrap_or_default())
    };
    if winner_at(1000)? != winner {
        return Ok(Vec::new());
    }
    let highest = (full.saturating_mul(1000) / present).min(16_000);
    let mut out = Vec::new();
    for ladder in [[800, 640, 500, 400, 320, 250, 125, 63], [1250, 1600, 2000, 2500, 3200, 4000, 8000, 16_000]] {
        let mut same = 1000u64;
        for step in ladder.into_iter().map(|s: u64| s.min(highest.max(1000))) {
            if winner_at(step)? == winner {
                same = step;
                continue;
            }
            let mut other = step;
            while same.abs_diff(other) > 5 {
                let middle = same.midpoint(other);
                if winner_at(middle)? == winner { same = middle } else { other = middle }
            }
            out.push(format!("stored x{}.{:02}: {}", other / 1000, other % 1000 / 10, winner_at(other)?));
            break;
        }
    }
    Ok(out)
}

/// Layouts that only the number of inputs refuses, and the multiple that would let them hold the weight. Whether one of them
/// would win is not known: its zeros would lie elsewhere.
fn size_flips(f: &WeightFacts) -> Vec<String> {
    let mut by_size: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (layout, _) in f.candidates.iter().filter(|(_, r)| r.is_err()) {
        let multiple = match *layout {
            Layout::Bsr { c, .. } => u64::from(c),
            Layout::Nm { m, .. } => u64::from(m),
            _ => continue,
        };
        // Of `nm`, only a short last group that padding cannot fill is a matter of size.
        let short = |r: &spc_formats::Refusal| r.0.contains(" is short ");
        let by_pattern = matches!(layout, Layout::Nm { .. })
            && !f.candidates.iter().any(|(l, r)| l == layout && r.as_ref().err().is_some_and(short));
        if !f.cols.is_multiple_of(multiple.max(1)) && !by_pattern {
            by_size.entry(multiple).or_default().push(layout.to_string());
        }
    }
    by_size.into_iter().map(|(m, list)| format!("a multiple of {m} inputs allows {}", list.join(", "))).collect()
}

fn scale(f: &CostFacts, permille: u64) -> CostFacts {
    let by = |n: u64| u64::try_from(u128::from(n) * u128::from(permille) / 1000).unwrap_or(u64::MAX);
    CostFacts {
        present: by(f.present),
        stored_bytes: by(f.stored_bytes),
        multiplies: by(f.multiplies),
        activation_loads: by(f.activation_loads),
        units: by(f.units),
        row_blocks: f.row_blocks,
    }
}
