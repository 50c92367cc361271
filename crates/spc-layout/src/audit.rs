//! Checks a plan and adds up its price by walking the graph, without the e-graph: what `choose` says a plan costs is
//! compared with this.
use crate::cost::Prices;
use crate::model::{Kind, Moves};
use spc_formats::Layout;
use spc_ir::{Act, LinearPlan, NodeId, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// Price of `plan` in picoseconds, or the first value that a reader does not find in the layout it needs.
pub(crate) fn audit(prices: &Prices<'_>, plan: &Plan) -> Result<u64, String> {
    let model = prices.model;
    plan.verify(model.graph)?;
    let own = |n: NodeId| plan.values.get(&n).copied().unwrap_or(Act::Rm);
    let converted: BTreeSet<(NodeId, Act)> = plan.converts.iter().map(|c| (c.node, c.to)).collect();
    let linears: BTreeMap<NodeId, &LinearPlan> = plan.linears.iter().map(|l| (l.node, l)).collect();
    let fused: BTreeMap<NodeId, NodeId> = plan.linears.iter().filter_map(|l| Some((l.epilogue?, l.node))).collect();
    let swallowed: BTreeSet<NodeId> = fused.values().copied().collect();
    let has = |v: usize, act: Act| -> Result<(), String> {
        let node = model.node(v).map_err(|b| b.0)?;
        let there = !swallowed.contains(&node) && (own(node) == act || converted.contains(&(node, act)));
        if there { Ok(()) } else { Err(format!("{node} is needed in {act:?} and is not there")) }
    };
    let mut total = 0u64;
    let mut pay = |ps: Result<u64, spc_base::Bug>| -> Result<(), String> {
        total = total.saturating_add(ps.map_err(|b| b.0)?);
        Ok(())
    };
    for (v, value) in model.values.iter().enumerate() {
        let value_price = |act: Act| prices.moved(v, act);
        let Some(node) = value.node else {
            if let Kind::Root { inputs } = &value.kind {
                inputs.iter().try_for_each(|i| has(*i, Act::Rm))?;
            }
            continue;
        };
        match &value.kind {
            Kind::Linear(l) => {
                let p = linears.get(&node).ok_or_else(|| format!("{node} is not planned"))?;
                let layout: Layout = p.layout.parse().map_err(|e| format!("{node}: {e}"))?;
                let at = model.layouts.iter().position(|x| *x == layout);
                let facts = at.and_then(|i| l.facts(i as u32)).ok_or_else(|| format!("{node} cannot be {layout}"))?;
                let there = prices.machine.has(layout, p.x);
                if p.x != p.y || !there {
                    return Err(format!("{node}: no kernel of {layout} reads {:?} and writes {:?}", p.x, p.y));
                }
                has(l.x, p.x)?;
                pay(prices.planned(node, layout, facts, p.x, p.epilogue))?;
            }
            Kind::Map { inputs, scalars, by_row } => {
                if let Some(linear) = fused.get(&node) {
                    let others = inputs.iter().filter(|i| model.node(**i).is_ok_and(|n| n != *linear));
                    others.into_iter().try_for_each(|i| has(*i, own(node)))?;
                    scalars.iter().try_for_each(|i| has(*i, Act::Rm))?;
                    continue;
                }
                if *by_row {
                    if own(node) != Act::Rm {
                        return Err(format!("{node} can only be made row-major"));
                    }
                    inputs.iter().chain(scalars).try_for_each(|i| has(*i, Act::Rm))?;
                    pay(prices.opaque(node))?;
                    continue;
                }
                inputs.iter().try_for_each(|i| has(*i, own(node)))?;
                scalars.iter().try_for_each(|i| has(*i, Act::Rm))?;
                pay(prices.map(node, own(node)))?;
            }
            Kind::Part { of } => {
                if own(node) != Act::Rm {
                    return Err(format!("{node} lies where it is read, row-major"));
                }
                has(*of, Act::Rm)?;
                pay(prices.part(node))?;
            }
            Kind::Opaque { inputs } if value.moves == Some(Moves::Unfold) => {
                inputs.iter().try_for_each(|i| has(*i, Act::Rm))?;
                pay(value_price(own(node)))?;
            }
            // What is there feature-major is read so.
            Kind::Opaque { inputs } if value.moves == Some(Moves::Channels) && own(node) == Act::Rm => {
                let feature_major = inputs.iter().all(|i| has(*i, Act::Fm).is_ok());
                if !feature_major {
                    inputs.iter().try_for_each(|i| has(*i, Act::Rm))?;
                }
                pay(value_price(if feature_major { Act::Fm } else { Act::Rm }))?;
            }
            Kind::Opaque { inputs } | Kind::Root { inputs } => {
                if own(node) != Act::Rm {
                    return Err(format!("{node} can only be made row-major"));
                }
                inputs.iter().try_for_each(|i| has(*i, Act::Rm))?;
                pay(prices.opaque(node))?;
            }
        }
    }
    for (node, to) in &converted {
        let matrix = !model.machine_is_gpu && model.values.iter().any(|v| v.node == Some(*node) && v.matrix);
        if !matrix || own(*node) == *to || swallowed.contains(node) {
            return Err(format!("{node} cannot be converted"));
        }
        pay(prices.convert(*node))?;
    }
    Ok(total)
}
