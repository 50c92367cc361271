//! From a graph to a plan: explore, price, extract, audit, explain.
use crate::audit::audit;
use crate::cost::Prices;
use crate::lang::In;
use crate::machine::Machine;
use crate::model::{Kind, Model};
use crate::problem::Solution;
use crate::rules::{RULES, rule};
use crate::space::{Action, Shape, act, cost, explore, price, shape};
use crate::{Options, WeightFacts, why};
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::{Act, Convert, Graph, LinearPlan, NodeId, Plan};
use std::collections::{BTreeMap, BTreeSet};

/// Chooses the layout of every weight and activation of `graph`.
///
/// `facts` holds, by name, the facts about every weight that a linear reads; dense must be among its candidates. `tuned_for`
/// gives the sizes of free axes for which the plan shall be fast (32, or the nearest size the axis allows, for those not
/// named). The same arguments give the same plan, on any machine.
///
/// # Errors
/// Only our own mistakes: a linear without weight or facts, facts of another shape, a rule that is wrong. Bounds that were
/// hit are no error; they are listed in [`Plan::bounds`], and `exact` is then false.
pub fn choose<'m>(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    machine: impl Into<Machine<'m>>,
    tuned_for: &BTreeMap<String, u64>,
    options: &Options,
) -> Result<Plan, Bug> {
    let machine = machine.into();
    let model = Model::new(graph, facts, tuned_for)?.on(machine);
    let space = explore(&model, options, false)?;
    let shape = shape(&model, &space)?;
    let prices = Prices { model: &model, machine, syms: &model.syms, measured: &options.measured };
    let mut plan = empty(&model, machine, options)?;
    plan.bounds = space.bounds.clone();
    let priced = price(&shape, &prices, &|a| allowed(&prices, a))?;
    let solved = priced.as_ref().and_then(|p| Some((p, p.frontier(options.width)?)));
    let Some((priced, best)) = solved else {
        if plan.bounds.is_empty() {
            return Err(Bug::new("the rules give no plan"));
        }
        plan.bounds.push("no plan was found within the bounds, so every weight is dense".into());
        return all_dense(&model, &prices, plan);
    };
    if !best.exact {
        plan.bounds.push(format!("extraction: more than {} states, the plan may not be the best", options.width));
    }
    plan.exact = plan.bounds.is_empty();
    fill(&mut plan, &model, &prices, priced, &best)?;
    let total = audit(&prices, &plan).map_err(|e| Bug::new(format!("the plan does not hold: {e}")))?;
    if total != plan.total_ps {
        return Err(Bug::new(format!("the plan costs {total} ps and not {} ps", plan.total_ps)));
    }
    let dense = |a: &Action| !matches!(a, Action::Linear { layout, .. } if !model.is_dense(*layout));
    let only_dense = |a: &Action| dense(a) && allowed(&prices, a);
    let dense = price(&shape, &prices, &only_dense)?.and_then(|p| p.frontier(options.width));
    plan.dense_ps = dense.map_or(plan.total_ps, |s| s.cost);
    plan.why =
        why::explain(&why::Case { model: &model, facts, prices: &prices, shape: &shape, priced, options }, &plan)?;
    Ok(plan)
}

/// Whether a plan may do this: of a linear with measured kernels, it may use those only.
fn allowed(prices: &Prices<'_>, action: &Action) -> bool {
    let Action::Linear { linear, layout, act: l, .. } = *action else { return true };
    let found = prices.model.node(linear).ok().zip(prices.model.layouts.get(layout as usize));
    found.is_some_and(|(node, layout)| prices.may(node, *layout, act(l)))
}

/// A way to run a linear, and the predicted time of the best whole plan that runs it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub layout: Layout,
    pub act: Act,
    pub plan_ps: u64,
}

/// For each linear of `plan` the ways to run it, that of the plan first, then those with the fastest whole plans; nothing for a
/// graph whose plans are too many to compare. The arguments are those that made the plan.
pub fn ranked<'m>(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    machine: impl Into<Machine<'m>>,
    tuned_for: &BTreeMap<String, u64>,
    options: &Options,
    plan: &Plan,
) -> Result<BTreeMap<NodeId, Vec<Ranked>>, Bug> {
    let machine = machine.into();
    let model = Model::new(graph, facts, tuned_for)?.on(machine);
    let shape = shape(&model, &explore(&model, options, false)?)?;
    let prices = Prices { model: &model, machine, syms: &model.syms, measured: &options.measured };
    let mut out: BTreeMap<NodeId, Vec<Ranked>> = BTreeMap::new();
    let Some(priced) = price(&shape, &prices, &|_| true)? else { return Ok(out) };
    let Some(marginals) = priced.marginals(options.width) else { return Ok(out) };
    for (class, costs) in priced.classes.iter().zip(&marginals) {
        for (choice, plan_ps) in class.iter().zip(costs).filter(|(_, ps)| **ps != u64::MAX) {
            let Action::Linear { linear, layout, act: l, .. } = choice.action else { continue };
            let Some(layout) = model.layouts.get(layout as usize).copied() else { continue };
            let list = out.entry(model.node(linear)?).or_default();
            match list.iter_mut().find(|r| r.layout == layout && r.act == act(l)) {
                Some(r) => r.plan_ps = r.plan_ps.min(*plan_ps),
                None => list.push(Ranked { layout, act: act(l), plan_ps: *plan_ps }),
            }
        }
    }
    for (node, list) in &mut out {
        let chosen = plan.linears.iter().find(|l| l.node == *node);
        let mine = |r: &Ranked| chosen.is_some_and(|l| l.layout.parse() == Ok(r.layout) && l.x == r.act);
        list.sort_by_key(|r| (!mine(r), r.plan_ps));
    }
    Ok(out)
}

/// Whether a plan can be carried out for `graph`: every value is where its readers need it, every kernel is one that exists.
/// `facts` need only have the layouts that the plan uses, and dense. Where the plan was priced with `table`, its prices must
/// be those of the table, too.
///
/// # Errors
/// What does not hold, in words.
pub fn holds<'m>(
    graph: &Graph,
    facts: &BTreeMap<String, WeightFacts>,
    machine: impl Into<Machine<'m>>,
    tuned_for: &BTreeMap<String, u64>,
    plan: &Plan,
) -> Result<(), String> {
    let machine = machine.into();
    let model = Model::new(graph, facts, tuned_for).map_err(|b| b.0)?.on(machine);
    let prices = Prices { model: &model, machine, syms: &model.syms, measured: &plan.measured };
    let total = audit(&prices, plan)?;
    if plan.cost_table == machine.reference() && plan.total_ps != total {
        return Err(format!("its predicted time is {} ps, the layouts in it take {total} ps", plan.total_ps));
    }
    Ok(())
}

/// The size of every free axis that a plan is made for, by name.
pub fn tuned_sizes(graph: &Graph, tuned_for: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let sizes = crate::model::bind(graph, tuned_for);
    graph.syms.iter().map(|s| s.name.clone()).zip(sizes).collect()
}

fn empty(model: &Model<'_>, machine: Machine<'_>, options: &Options) -> Result<Plan, Bug> {
    let tuned = model.graph.syms.iter().zip(&model.syms).map(|(s, n)| (s.name.clone(), *n));
    Ok(Plan {
        cost_table: machine.reference(),
        measured: options.measured.clone(),
        tuned_for: tuned.collect(),
        linears: Vec::new(),
        ..Plan::all_dense(model.graph, &options.target, "dense(16)")?
    })
}

/// The plan that needs no search: dense, row-major.
fn all_dense(model: &Model<'_>, prices: &Prices<'_>, plan: Plan) -> Result<Plan, Bug> {
    let mut out = Plan { exact: false, ..plan };
    for (v, l) in model.linears() {
        let dense = l.layouts.iter().find(|(i, _)| model.is_dense(*i));
        let (layout, _) = dense.ok_or_else(|| Bug::new("a linear without a dense candidate"))?;
        let action = Action::Linear { linear: v, layout: *layout, act: In::Rm, epilogue: None };
        out.linears.push(linear(model, prices, &action)?);
    }
    out.total_ps = audit(prices, &out).map_err(|e| Bug::new(format!("the dense plan does not hold: {e}")))?;
    out.dense_ps = out.total_ps;
    Ok(out)
}

fn linear(model: &Model<'_>, prices: &Prices<'_>, action: &Action) -> Result<LinearPlan, Bug> {
    let Action::Linear { linear, layout, act: l, epilogue } = *action else {
        return Err(Bug::new("not a linear"));
    };
    let facts = model.as_linear(linear).ok_or_else(|| Bug::new("not a linear"))?;
    let words = model.layouts.get(layout as usize).ok_or_else(|| Bug::new("a layout outside the table"))?;
    Ok(LinearPlan {
        node: model.node(linear)?,
        weight: facts.weight.clone(),
        layout: words.to_string(),
        x: act(l),
        y: act(l),
        epilogue: epilogue.map(|e| model.node(e)).transpose()?,
        predicted_ps: cost(prices, action)?,
    })
}

/// Writes a solution into the plan.
fn fill(plan: &mut Plan, model: &Model<'_>, prices: &Prices<'_>, p: &Shape, s: &Solution) -> Result<(), Bug> {
    plan.total_ps = s.cost;
    let mut rules: BTreeSet<&str> = BTreeSet::new();
    for (c, i) in &s.picks {
        let choice = &p.classes[*c as usize][*i];
        match choice.action {
            Action::Own | Action::Opaque { .. } => {}
            Action::Part { .. } => drop(rules.insert("k-part")),
            Action::Channels { .. } => drop(rules.insert("k-channels")),
            Action::Unfold { value } => {
                rules.insert("k-unfold");
                plan.values.insert(model.node(value)?, Act::Fm);
            }
            Action::Same { .. } => return Err(Bug::new("a plan without anything on offer reads what is")),
            Action::Linear { linear: v, layout, act: l, epilogue } => {
                let made = linear(model, prices, &choice.action)?;
                rules.insert(kernel_rule(model, layout, l)?);
                if let Some(e) = epilogue.and_then(|e| model.values.get(e)) {
                    rules.insert(match &e.kind {
                        _ if e.operands() < 2 => "fuse-fun",
                        Kind::Map { inputs, .. } if inputs.first() == Some(&v) => "join-first",
                        _ => "join-second",
                    });
                }
                if l == In::Fm {
                    plan.values.insert(model.node(epilogue.unwrap_or(v))?, Act::Fm);
                }
                plan.linears.push(made);
            }
            Action::Map { value, act: l } => {
                rules.insert("k-map");
                if l == In::Fm {
                    plan.values.insert(model.node(value)?, Act::Fm);
                }
            }
            Action::Convert { value, to } => {
                rules.insert(if to == In::Rm { "cvt-rm" } else { "cvt-fm" });
                let node = model.node(value)?;
                plan.converts.push(Convert { node, to: act(to), predicted_ps: choice.cost });
            }
        }
    }
    plan.linears.sort_by_key(|l| l.node);
    plan.converts.sort();
    let used = RULES.iter().filter(|r| rules.contains(r.name));
    plan.rules = used.map(|r| format!("{} {}", r.name, r.class.letter())).collect();
    Ok(())
}

/// Rules of the kernels of a linear on a CPU, by layout: token-major, and feature-major. A layout without one is never chosen;
/// `kinds.rs` tests that each has one, and no other.
pub(crate) fn cpu_rules(layout: Layout) -> [Option<&'static str>; 2] {
    match layout {
        Layout::Dense { .. } => [Some("k-dense-rm"), Some("k-dense-fm")],
        Layout::Vx1 { .. } => [Some("k-vx1-rm"), Some("k-vx1")],
        Layout::Bsr { .. } => [Some("k-bsr-rm"), Some("k-bsr")],
        Layout::Nm { .. } => [None, Some("k-nm")],
        Layout::Csr => [None, Some("k-csr")],
        Layout::Nm16 { .. } => [Some("k-nm16"), None],
        Layout::Csr16 => [Some("k-csr16"), None],
        Layout::Vnm16 { .. } => [Some("k-vnm16"), None],
        Layout::Bitmap => [Some("k-bitmap"), None],
        Layout::I8 { .. } | Layout::I8Nm { .. } | Layout::I8Csr { .. } | Layout::I4Nm { .. } => [Some("k-i8"), None],
        Layout::Groups { .. } => [Some("k-groups"), None],
        Layout::Half { of, .. } if of.on_tensor_cores() => [None, None],
        Layout::Half { .. } => [Some("k-half"), None],
        Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. } => [None, None],
    }
}

/// The rule that made a kernel.
fn kernel_rule(model: &Model<'_>, layout: u32, l: In) -> Result<&'static str, Bug> {
    let name = match model.layouts.get(layout as usize) {
        _ if model.machine_is_gpu => Some("k-gpu"),
        Some(layout) => cpu_rules(*layout)[usize::from(l == In::Fm)],
        None => None,
    };
    let found = name.and_then(rule).map(|r| r.name);
    found.ok_or_else(|| Bug::new("a kernel that no rule makes"))
}
