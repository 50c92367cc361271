//! Plans: the one that the chooser makes, and plans that force a layout.
use super::Weights;
use spc_formats::Layout;
use spc_ir::{Act, Beside, Convert, Epilogue, Graph, NodeId, Op, Plan};
use spc_layout::{CostTable, Options, WeightFacts, choose};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Name and shape of the weight that a linear reads.
pub fn weight_of(g: &Graph, linear: NodeId) -> (String, usize, usize) {
    let node = g.node(g.inputs(linear)[1]).unwrap();
    let Op::Weight { name, .. } = &node.op else { panic!("a linear reads a weight") };
    let (rows, cols) = node.ty.matrix().unwrap();
    (name.clone(), rows, cols)
}

pub fn linears(g: &Graph) -> Vec<NodeId> {
    g.ids().into_iter().filter(|n| matches!(g.node(*n).unwrap().op, Op::Linear { .. })).collect()
}

/// The chooser's plan for these weights.
pub fn chosen(g: &Graph, weights: &Weights, extra: &[Layout], tuned_for: &BTreeMap<String, u64>) -> Plan {
    let mut facts = BTreeMap::new();
    for l in linears(g) {
        let (name, rows, cols) = weight_of(g, l);
        facts.insert(name.clone(), WeightFacts::of(rows, cols, &weights[&name], extra).unwrap());
    }
    let plan = choose(g, &facts, &CostTable::clif_x86_64_v1(), tuned_for, &Options::default()).unwrap();
    plan.verify(g).unwrap();
    plan
}

/// A plan in which every linear whose weight fits has this layout, and every other one is dense. With `fuse` a pointwise
/// node that only reads a linear becomes its epilogue.
pub fn forced(g: &Graph, weights: &Weights, layout: Layout, fuse: bool) -> Plan {
    let mut plan = Plan::all_dense(g, "cpu", &Layout::DENSE.to_string()).unwrap();
    let mut wanted: BTreeMap<(NodeId, Act), ()> = BTreeMap::new();
    for i in 0..plan.linears.len() {
        let node = plan.linears[i].node;
        let (name, rows, cols) = weight_of(g, node);
        let sparse = !matches!(layout, Layout::Dense { .. });
        if sparse && spc_formats::pack(&layout, rows, cols, &weights[&name]).is_ok() {
            let l = &mut plan.linears[i];
            l.layout = layout.to_string();
            // Where there are kernels for both orders of activations, some layers take the one and some the other.
            let by_token = !layout.feature_major() || (layout.row_major() && rows.is_multiple_of(3));
            let act = if by_token { Act::Rm } else { Act::Fm };
            (l.x, l.y) = (act, act);
        }
        if fuse {
            let taken = |m: &NodeId| plan.linears.iter().any(|l| l.epilogue == Some(*m));
            let found = epilogue(g, node).filter(|m| !taken(m));
            plan.linears[i].epilogue = found;
        }
        let written = plan.linears[i].epilogue.unwrap_or(node);
        if plan.linears[i].y == Act::Fm {
            plan.values.insert(written, Act::Fm);
        }
    }
    for l in &plan.linears {
        wanted.insert((g.inputs(l.node)[0], l.x), ());
        for (r, kind) in l.epilogue.map_or(Vec::new(), |m| Epilogue::fused(g, l.node, m).unwrap().unwrap().beside) {
            wanted.insert((r, if kind == Beside::Residual { l.y } else { Act::Rm }), ());
        }
    }
    let skipped: Vec<NodeId> = plan.linears.iter().filter_map(|l| l.epilogue).collect();
    for n in g.ids() {
        let planned = plan.linears.iter().any(|l| l.node == n) || skipped.contains(&n);
        if !planned {
            for i in g.inputs(n) {
                wanted.insert((i, Act::Rm), ());
            }
        }
        if g.is_output(n) {
            wanted.insert((n, Act::Rm), ());
        }
    }
    for (node, act) in wanted.into_keys() {
        if plan.values.get(&node).copied().unwrap_or(Act::Rm) != act {
            plan.converts.push(Convert { node, to: act, predicted_ps: 0 });
        }
    }
    plan.verify(g).unwrap();
    plan
}

fn epilogue(g: &Graph, linear: NodeId) -> Option<NodeId> {
    let [m] = g.readers(linear)[..] else { return None };
    Epilogue::fused(g, linear, m).unwrap().map(|_| m)
}

/// A plan as lines: what was chosen, and for each weight the candidates from best to worst.
pub fn text(plan: &Plan) -> String {
    let mut out = String::new();
    writeln!(out, "total {} ps, dense {} ps, exact {}", plan.total_ps, plan.dense_ps, plan.exact).unwrap();
    writeln!(out, "rules: {}", plan.rules.join(", ")).unwrap();
    for l in &plan.linears {
        let fused = l.epilogue.map(|e| format!(", fused {e}")).unwrap_or_default();
        let act = |a: Act| if a == Act::Rm { "rm" } else { "fm" };
        let time = l.predicted_ps;
        writeln!(out, "{} {}: {} {} -> {}{fused}, {time} ps", l.node, l.weight, l.layout, act(l.x), act(l.y)).unwrap();
    }
    for c in &plan.converts {
        writeln!(out, "convert {} to {:?}, {} ps", c.node, c.to, c.predicted_ps).unwrap();
    }
    for w in &plan.why {
        let margin = w.margin_permille.map_or("-".into(), |m| format!("{m} per mille"));
        writeln!(out, "why {}: {} of {} weights present, margin {margin}", w.weight, w.nonzeros, w.rows * w.cols)
            .unwrap();
        for c in &w.candidates {
            let n = |x: Option<u64>| x.map_or("-".to_string(), |x| x.to_string());
            match &c.refused {
                Some(r) => writeln!(out, "  {}: refused, {r}", c.layout).unwrap(),
                None => writeln!(
                    out,
                    "  {}: {} bytes, {} multiplies, kernel {} ps, plan {} ps",
                    c.layout,
                    n(c.stored_bytes),
                    n(c.multiplies),
                    n(c.kernel_ps),
                    n(c.plan_ps)
                )
                .unwrap(),
            }
        }
        for f in &w.flips {
            writeln!(out, "  flips: {f}").unwrap();
        }
    }
    out
}
