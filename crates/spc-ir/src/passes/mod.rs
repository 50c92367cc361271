//! Passes over a graph. A pass proposes a patch for one node; the driver here applies it, verifies the graph and counts
//! fuel, so that a wrong rewrite can be found by bisection (`--opt-limit N`).
mod fold;
mod fuse_maps;
mod linear_bias;
pub(crate) mod linear_form;

use crate::{Graph, NodeId, Patch};
use spc_base::Bug;

/// What a pass may look at beside the graph.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassCx {}

/// A named rewrite: proposes a patch for a node, or nothing.
#[derive(Clone, Copy)]
pub struct Rule {
    pub name: &'static str,
    pub apply: fn(&Graph, NodeId, &PassCx) -> Result<Option<Patch>, Bug>,
}

/// The pipeline, in order.
pub const PIPELINE: &[Rule] =
    &[linear_form::LINEAR_FORM, fuse_maps::FUSE_MAPS, linear_bias::LINEAR_BIAS, fold::FOLD_VIEWS];

/// What happened: how many patches each rule made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassLog {
    pub applied: Vec<(&'static str, usize)>,
}

/// Runs the whole pipeline. `limit` bounds the number of patches in all (`None`: no bound).
pub fn run(graph: &Graph, limit: Option<usize>) -> Result<(Graph, PassLog), Bug> {
    let mut g = graph.compact()?;
    g.verify()?;
    let mut log = PassLog::default();
    let mut fuel = limit.unwrap_or(usize::MAX);
    for rule in PIPELINE {
        let count = run_rule(&mut g, rule, &mut fuel)?;
        log.applied.push((rule.name, count));
    }
    Ok((g, log))
}

/// Applies one rule until it proposes nothing more. The graph is verified after every sweep that changed it.
fn run_rule(g: &mut Graph, rule: &Rule, fuel: &mut usize) -> Result<usize, Bug> {
    let mut count = 0;
    // A rule removes at least one node it matched on, so sweeps are bounded by the size of the graph.
    for _ in 0..=g.len() {
        let mut changed = false;
        for id in g.order()? {
            if *fuel == 0 || g.node(id).is_err() {
                break;
            }
            if let Some(patch) = (rule.apply)(g, id, &PassCx::default())? {
                patch.apply(g)?;
                *fuel -= 1;
                count += 1;
                changed = true;
            }
        }
        if !changed {
            return Ok(count);
        }
        *g = g.compact()?;
        g.verify().map_err(|b| Bug::new(format!("after {}: {}", rule.name, b.0)))?;
    }
    Err(Bug::new(format!("{} does not come to an end", rule.name)))
}
