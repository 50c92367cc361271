//! The e-graph of a model, and the same as an extraction problem.
use crate::Options;
use crate::cost::Prices;
use crate::facts::{EGraph, Fact, Facts, Known};
use crate::lang::{In, Nn, V};
use crate::model::{Kind, Model};
use crate::problem::{Choice, Problem};
use crate::rules::{Stage, compile, run};
use egg::Id;
use spc_base::Bug;
use spc_ir::Act;
use std::sync::Arc;

/// What a plan does to make a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// The value as it was made.
    Own,
    /// Run a linear, reading and writing `act`; with `epilogue` its value is that of the pointwise node.
    Linear {
        linear: usize,
        layout: u32,
        act: In,
        epilogue: Option<usize>,
    },
    Map {
        value: usize,
        act: In,
    },
    Opaque {
        value: usize,
    },
    /// A matrix of windows, feature-major.
    Unfold {
        value: usize,
    },
    /// A transpose that reads a feature-major matrix.
    Channels {
        value: usize,
    },
    /// A range of a linear's features, where they are.
    Part {
        value: usize,
        of: usize,
    },
    /// Another value that is read in the place of this one.
    Same {
        value: usize,
        of: usize,
    },
    Convert {
        value: usize,
        to: In,
    },
}

/// An explored e-graph. `demands[v]` are the classes of `(at rm v)` and `(at fm v)`.
pub(crate) struct Space {
    pub eg: EGraph,
    pub demands: Vec<[Option<Id>; 2]>,
    /// Bounds that were hit, in words.
    pub bounds: Vec<String>,
}

pub(crate) fn act(l: In) -> Act {
    if l == In::Rm { Act::Rm } else { Act::Fm }
}

/// Builds the logical terms, fuses, seeds every demand (so that lowering ends in two iterations), lowers.
pub(crate) fn explore(model: &Model<'_>, options: &Options, explain: bool) -> Result<Space, Bug> {
    let known = Arc::new(Known::new(model));
    let mut eg = EGraph::new(Facts { known, conflict: None });
    if explain {
        eg = eg.with_explanations_enabled();
    }
    let (none, nil) = (eg.add(Nn::Nothing), eg.add(Nn::Nil));
    let (rm, fm) = (eg.add(Nn::In(In::Rm)), eg.add(Nn::In(In::Fm)));
    let mut logical: Vec<Id> = Vec::new();
    // Lists with the layouts in which they may be demanded.
    let mut lists: Vec<(Id, bool)> = Vec::new();
    for (v, value) in model.values.iter().enumerate() {
        let node = eg.add(Nn::V(V(v as u32)));
        let mut list = |eg: &mut EGraph, items: &[usize], feature_major: bool| -> Result<Id, Bug> {
            let mut id = nil;
            lists.push((id, feature_major));
            for i in items.iter().rev() {
                let head = *logical.get(*i).ok_or_else(|| Bug::new("an operand comes after its reader"))?;
                id = eg.add(Nn::Cons([head, id]));
                lists.push((id, feature_major));
            }
            Ok(id)
        };
        let id = match &value.kind {
            Kind::Linear(l) => {
                let x = *logical.get(l.x).ok_or_else(|| Bug::new("an operand comes after its reader"))?;
                eg.add(Nn::Linear([none, node, x]))
            }
            Kind::Map { inputs, scalars, .. } => {
                let (xs, scalars) = (list(&mut eg, inputs, true)?, list(&mut eg, scalars, false)?);
                eg.add(Nn::Map([node, xs, scalars]))
            }
            Kind::Part { of } => {
                let of = *logical.get(*of).ok_or_else(|| Bug::new("an operand comes after its reader"))?;
                eg.add(Nn::Part([node, of]))
            }
            Kind::Opaque { inputs } | Kind::Root { inputs } => {
                let xs = list(&mut eg, inputs, false)?;
                eg.add(Nn::Op([node, xs]))
            }
        };
        logical.push(id);
    }
    eg.rebuild();
    let mut bounds = Vec::new();
    let budget = options.nodes_per_value.saturating_mul(model.values.len());
    let mut stage = |eg: EGraph, stage: Stage, name: &str| -> Result<EGraph, Bug> {
        let nodes = eg.total_number_of_nodes().saturating_add(budget);
        let (eg, stop) = run(eg, &compile(stage)?, nodes, options.iterations);
        if let Some(stop) = stop {
            bounds.push(format!("{name}: {stop}, the plan may not be the best"));
        }
        Ok(eg)
    };
    if model.values.iter().any(|v| !v.merged.is_empty() || !v.folds.is_empty()) {
        eg = stage(eg, Stage::Structure, "structure")?;
    }
    eg = stage(eg, Stage::Fuse, "fusion")?;
    for (list, feature_major) in lists {
        eg.add(Nn::At([rm, list]));
        if feature_major {
            eg.add(Nn::At([fm, list]));
        }
    }
    let mut demands = Vec::with_capacity(logical.len());
    for (id, value) in logical.iter().zip(&model.values) {
        let row = eg.add(Nn::At([rm, *id]));
        let feature = (value.matrix && !model.machine_is_gpu).then(|| eg.add(Nn::At([fm, *id])));
        demands.push([Some(row), feature]);
    }
    eg.rebuild();
    eg = stage(eg, Stage::Lower, "lowering")?;
    if let Some(conflict) = &eg.analysis.conflict {
        return Err(Bug::new(format!("a layout rule is wrong: {conflict}")));
    }
    for pair in &mut demands {
        for id in pair.iter_mut().flatten() {
            *id = eg.find(*id);
        }
    }
    Ok(Space { eg, demands, bounds })
}

/// A choice before it is priced. Classes of value v (of n) are `4 r ..` with `r = n - 1 - v`: in rm, in fm, made in rm,
/// made in fm; so readers stand before what they read, whatever the ids of the e-graph.
pub(crate) type Shape = Problem<Action>;

fn class_of(values: usize, v: usize, l: In, made: bool) -> u32 {
    let r = values.saturating_sub(v + 1);
    (4 * r) as u32 + 2 * u32::from(made) + u32::from(l == In::Fm)
}

/// Flattens the physical part of the e-graph. Costs are zero until [`price`] sets them.
pub(crate) fn shape(model: &Model<'_>, space: &Space) -> Result<Shape, Bug> {
    let n = model.values.len();
    let mut p = Problem { classes: vec![Vec::new(); 4 * n], partner: vec![None; 4 * n] };
    for v in 0..n {
        for (l, other) in [(In::Rm, In::Fm), (In::Fm, In::Rm)] {
            let (top, made) = (class_of(n, v, l, false) as usize, class_of(n, v, l, true) as usize);
            p.partner[made] = Some(class_of(n, v, other, true));
            p.classes[top].push(Choice { cost: 0, kids: vec![made as u32], action: Action::Own });
            let Some(id) = space.demands[v][usize::from(l == In::Fm)] else { continue };
            for node in &space.eg[id].nodes {
                let Some((action, kids)) = action(space, node)? else { continue };
                let mut kids: Vec<u32> = kids.into_iter().map(|(v, l)| class_of(n, v, l, false)).collect();
                kids.sort_unstable();
                kids.dedup();
                if let Action::Convert { .. } = action {
                    let kids = vec![class_of(n, v, other, true)];
                    p.classes[top].push(Choice { cost: 0, kids, action });
                } else {
                    p.classes[made].push(Choice { cost: 0, kids, action });
                }
            }
            p.classes[made].sort_by(|a, b| (&a.action, &a.kids).cmp(&(&b.action, &b.kids)));
        }
    }
    // The goal first: the root is the last value, so its class in rm is class 0.
    Ok(p)
}

/// An action and the values it reads, each with its layout.
type Kernel = (Action, Vec<(usize, In)>);

/// What a physical node does and which values it reads; nothing for logical nodes.
fn action(space: &Space, node: &Nn) -> Result<Option<Kernel>, Bug> {
    let odd = || Bug::new(format!("a kernel node is malformed: {node:?}"));
    let fact = |id: &Id| space.eg[*id].data;
    let number = |id: &Id| if let Fact::Node(v) = fact(id) { Ok(v as usize) } else { Err(odd()) };
    let layout = |id: &Id| if let Fact::In(l) = fact(id) { Ok(l) } else { Err(odd()) };
    let bytes = |id: &Id| if let Fact::Bytes(v, l) = fact(id) { Ok((v as usize, l)) } else { Err(odd()) };
    Ok(Some(match node {
        Nn::KMm([lo, w, e, n, x]) => {
            let Fact::Layout(weight) = fact(w) else { return Err(odd()) };
            let epilogue = if fact(e) == Fact::Nothing { None } else { Some(number(e)?) };
            let action = Action::Linear { linear: number(n)?, layout: weight, act: layout(lo)?, epilogue };
            let mut kids = beside(space, *e, layout(lo)?)?;
            kids.push(bytes(x)?);
            (action, kids)
        }
        Nn::KMap([l, n, xs, scalars]) => {
            let (Some(mut kids), Some(more)) = (items(space, *xs)?, items(space, *scalars)?) else { return Ok(None) };
            kids.extend(more);
            (Action::Map { value: number(n)?, act: layout(l)? }, kids)
        }
        Nn::KOp([n, xs]) => {
            let Some(kids) = items(space, *xs)? else { return Ok(None) };
            (Action::Opaque { value: number(n)? }, kids)
        }
        Nn::KUnfold([n, xs]) => {
            let Some(kids) = items(space, *xs)? else { return Ok(None) };
            (Action::Unfold { value: number(n)? }, kids)
        }
        Nn::KChannels([n, x]) => (Action::Channels { value: number(n)? }, vec![bytes(x)?]),
        Nn::KPart([n, y]) => (Action::Part { value: number(n)?, of: bytes(y)?.0 }, vec![bytes(y)?]),
        Nn::KSame([n, y]) => (Action::Same { value: number(n)?, of: bytes(y)?.0 }, vec![bytes(y)?]),
        Nn::KCvt([l, x]) => (Action::Convert { value: bytes(x)?.0, to: layout(l)? }, vec![bytes(x)?]),
        _ => return Ok(None),
    }))
}

/// What an epilogue reads beside the sum: values of its shape in the order of the result, others row-major.
fn beside(space: &Space, epilogue: Id, act: In) -> Result<Vec<(usize, In)>, Bug> {
    let mut out = Vec::new();
    let with = space.eg[epilogue].nodes.iter().find_map(|n| if let Nn::With(w) = n { Some(w) } else { None });
    let Some([_, rs, others]) = with else { return Ok(out) };
    for (list, act) in [(*rs, act), (*others, In::Rm)] {
        let mut at = list;
        while let Some([head, tail]) =
            space.eg[at].nodes.iter().find_map(|n| if let Nn::Cons(c) = n { Some(c) } else { None })
        {
            let Fact::Value(v) = space.eg[*head].data else {
                return Err(Bug::new("an epilogue reads something that is no value"));
            };
            out.push((v as usize, act));
            at = *tail;
        }
    }
    Ok(out)
}

/// Elements of a physical list. An element is named by its class, so a list never hides a choice. `None` when a bound
/// stopped lowering before it reached the list.
fn items(space: &Space, list: Id) -> Result<Option<Vec<(usize, In)>>, Bug> {
    let (mut out, mut at) = (Vec::new(), list);
    'next: loop {
        for node in &space.eg[at].nodes {
            match node {
                Nn::KNil => return Ok(Some(out)),
                Nn::KCons([head, tail]) => {
                    let Fact::Bytes(v, l) = space.eg[*head].data else {
                        return Err(Bug::new("a list holds something that is no value"));
                    };
                    out.push((v as usize, l));
                    at = *tail;
                    continue 'next;
                }
                _ => {}
            }
        }
        return Ok(None);
    }
}

/// Sets the costs and drops what cannot be completed. Choices for which `allow` is false are left out. `None` when no plan
/// is left.
pub(crate) fn price(shape: &Shape, prices: &Prices<'_>, allow: &dyn Fn(&Action) -> bool) -> Result<Option<Shape>, Bug> {
    let mut p = shape.clone();
    for class in &mut p.classes {
        class.retain(|n| allow(&n.action));
        for n in class {
            n.cost = cost(prices, &n.action)?;
        }
    }
    Ok(p.prune().then_some(p))
}

/// Price of one action.
pub(crate) fn cost(prices: &Prices<'_>, action: &Action) -> Result<u64, Bug> {
    let model = prices.model;
    match *action {
        Action::Own | Action::Same { .. } => Ok(0),
        Action::Part { value, .. } => prices.part(model.node(value)?),
        Action::Linear { linear, layout, act: l, epilogue } => {
            let facts = model.as_linear(linear).and_then(|x| x.facts(layout));
            let facts = facts.ok_or_else(|| Bug::new(format!("value {linear} has no layout {layout}")))?;
            let words = model.layouts.get(layout as usize).copied();
            let words = words.ok_or_else(|| Bug::new("a layout outside the table"))?;
            let epilogue = epilogue.map(|e| model.node(e)).transpose()?;
            prices.planned(model.node(linear)?, words, facts, act(l), epilogue)
        }
        Action::Map { value, .. }
            if matches!(model.values.get(value).map(|v| &v.kind), Some(Kind::Map { by_row: true, .. })) =>
        {
            prices.opaque(model.node(value)?)
        }
        Action::Map { value, act: l } => prices.map(model.node(value)?, act(l)),
        Action::Opaque { value } if value == model.root() => Ok(0),
        Action::Opaque { value } => prices.moved(value, Act::Rm),
        Action::Unfold { value } | Action::Channels { value } => prices.moved(value, Act::Fm),
        Action::Convert { value, .. } => prices.convert(model.node(value)?),
    }
}
