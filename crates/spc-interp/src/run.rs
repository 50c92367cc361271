//! Runs a graph: nodes in order, each value dropped after its last reader.
use crate::bind::check_inputs;
use crate::map::{Elements, Operand, broadcast, map};
use crate::ops::{array, elements, gather, iota, reduce, reshape, transpose};
use crate::product::{Matrix, Side, activate, contract, linear};
use crate::quantize::round_activations;
use crate::top::{rank, top};
use crate::window::{concat, window};
use crate::{Real, RunError, Value, Weights};
use spc_base::Bug;
use spc_ir::{DType, Graph, NodeId, Op, ScalarExpr};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What an absent weight (a stored weight that is exactly zero) does next to NaN and infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Absent {
    /// Its term is left out of the sum.
    #[default]
    Skip,
    /// Its term is computed as 0 times the activation, which gives NaN there. The same as [`Absent::Skip`] wherever
    /// activations are finite.
    Nan,
}

/// Named results under both meanings of an absent weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Both<R> {
    pub skip: Vec<(String, Value<R>)>,
    pub nan: Vec<(String, Value<R>)>,
}

type Inputs<R> = BTreeMap<String, Value<R>>;

/// The named results of `graph`, in declared order, without absent terms.
///
/// `syms` holds the sizes of the free axes ([`crate::bind_syms`]). Only what the results need is computed.
pub fn run<R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &Inputs<R>,
    weights: &dyn Weights,
) -> Result<Vec<(String, Value<R>)>, RunError> {
    run_mode(graph, syms, inputs, weights, Absent::Skip)
}

/// The named results with absent terms left out everywhere, and with them computed everywhere.
///
/// A program may choose for each element of each linear. Where only one linear meets such values, or no function after
/// it turns NaN into a number, each element of its result is one of the two.
pub fn run_both<R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &Inputs<R>,
    weights: &dyn Weights,
) -> Result<Both<R>, RunError> {
    Ok(Both {
        skip: run_mode(graph, syms, inputs, weights, Absent::Skip)?,
        nan: run_mode(graph, syms, inputs, weights, Absent::Nan)?,
    })
}

/// The value of every node but weights, which are what `weights` gives.
pub fn run_all<R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &Inputs<R>,
    weights: &dyn Weights,
    absent: Absent,
) -> Result<BTreeMap<NodeId, Value<R>>, RunError> {
    let slots = execute(graph, syms, inputs, weights, absent, None)?;
    let mut all = BTreeMap::new();
    for (id, slot) in slots {
        if !matches!(graph.node(id)?.op, Op::Weight { .. }) {
            all.insert(id, if let Slot::Own(v) = slot { v } else { slot.value()? });
        }
    }
    Ok(all)
}

fn run_mode<R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &Inputs<R>,
    weights: &dyn Weights,
    absent: Absent,
) -> Result<Vec<(String, Value<R>)>, RunError> {
    let mut live = BTreeSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|(_, o)| *o).collect();
    while let Some(n) = stack.pop() {
        if live.insert(n) {
            stack.extend(graph.inputs(n));
        }
    }
    let slots = execute(graph, syms, inputs, weights, absent, Some(&live))?;
    let result = graph.outputs.iter().map(|(name, o)| {
        let slot = slots.get(o).ok_or_else(|| Bug::new(format!("the output {name} has no value")))?;
        Ok((name.clone(), slot.value()?))
    });
    result.collect()
}

/// The value of a node: computed, a named input, or a stored weight. All row-major.
enum Slot<'a, R> {
    Own(Value<R>),
    Given(&'a Value<R>),
    Stored { data: &'a [f32], shape: Vec<usize> },
}

impl<'a, R: Real> Slot<'a, R> {
    fn value(&self) -> Result<Value<R>, RunError> {
        Ok(match self {
            Slot::Own(v) => v.clone(),
            Slot::Given(v) => (*v).clone(),
            Slot::Stored { data, shape } => Value::F(array(shape, data.iter().map(|v| R::from_f32(*v)).collect())?),
        })
    }

    fn shape(&self) -> &[usize] {
        match self {
            Slot::Own(v) => v.shape(),
            Slot::Given(v) => v.shape(),
            Slot::Stored { shape, .. } => shape,
        }
    }

    /// Shape and elements; a stored weight is converted.
    fn operand(&self) -> Result<Operand<'_, R>, Bug> {
        let order = || Bug::new("a value that is not row-major");
        let value: &Value<R> = match self {
            Slot::Stored { data, shape } => {
                let elements = Elements::F(data.iter().map(|v| R::from_f32(*v)).collect());
                return Ok(Operand { shape, elements });
            }
            Slot::Own(v) => v,
            Slot::Given(v) => v,
        };
        let elements = match value {
            Value::F(a) => Elements::F(Cow::Borrowed(a.as_slice().ok_or_else(order)?)),
            Value::I(a) => Elements::I(a.as_slice().ok_or_else(order)?),
            Value::B(a) => Elements::B(a.as_slice().ok_or_else(order)?),
        };
        Ok(Operand { shape: self.shape(), elements })
    }

    fn floats(&self) -> Result<Cow<'_, [R]>, Bug> {
        match self.operand()?.elements {
            Elements::F(f) => Ok(f),
            _ => Err(Bug::new("a float is needed here")),
        }
    }
}

/// Runs the nodes in `live` (or all, keeping every value) in order.
fn execute<'a, R: Real>(
    graph: &Graph,
    syms: &[u64],
    inputs: &'a Inputs<R>,
    weights: &'a dyn Weights,
    absent: Absent,
    live: Option<&BTreeSet<NodeId>>,
) -> Result<BTreeMap<NodeId, Slot<'a, R>>, RunError> {
    check_inputs(graph, syms, inputs)?;
    let wanted = |n: &NodeId| live.is_none_or(|l| l.contains(n));
    let mut readers: BTreeMap<NodeId, usize> = BTreeMap::new();
    let order: Vec<NodeId> = graph.order()?.into_iter().filter(wanted).collect();
    for n in order.iter().flat_map(|n| graph.inputs(*n)) {
        *readers.entry(n).or_default() += 1;
    }
    let mut slots: BTreeMap<NodeId, Slot<'a, R>> = BTreeMap::new();
    for id in order {
        let slot = node(graph, id, syms, inputs, weights, absent, &slots)?;
        let want = graph.ty(id)?.shape(syms).ok_or_else(|| Bug::new(format!("{id} has a size that is not bound")))?;
        if slot.shape() != want {
            return Err(Bug::new(format!("{id} has the shape {:?}, its type says {want:?}", slot.shape())).into());
        }
        slots.insert(id, slot);
        if live.is_some() {
            for i in graph.inputs(id) {
                let left = readers.get_mut(&i).ok_or_else(|| Bug::new("reader lost"))?;
                *left -= 1;
                if *left == 0 && !graph.is_output(i) {
                    slots.remove(&i);
                }
            }
        }
    }
    Ok(slots)
}

fn stored<'a, R: Real>(name: &str, ty: &spc_ir::Type, weights: &'a dyn Weights) -> Result<Slot<'a, R>, RunError> {
    if ty.dtype != DType::F32 {
        return Err(Bug::new(format!("the weight {name} is not f32")).into());
    }
    let data = weights.values(name).ok_or_else(|| RunError::WeightMissing { name: name.into() })?;
    let shape = ty.shape(&[]).ok_or_else(|| Bug::new(format!("the weight {name} has a free axis")))?;
    let want: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
    let got = weights.shape(name).unwrap_or_else(|| want.clone());
    if got != want {
        return Err(RunError::WeightShape { name: name.into(), want, got });
    }
    if data.len() != elements(&shape)? {
        return Err(RunError::WeightShape { name: name.into(), want, got: vec![data.len() as u64] });
    }
    Ok(Slot::Stored { data, shape })
}

/// True for a weight, seen through any operators that only move its elements.
fn is_weight(graph: &Graph, mut id: NodeId) -> Result<bool, Bug> {
    loop {
        let operand = match &graph.node(id)?.op {
            Op::Weight { .. } => return Ok(true),
            Op::Transpose { .. } | Op::Split { .. } | Op::Merge { .. } => 0,
            Op::Map { expr: ScalarExpr::Arg(n), .. } => usize::from(*n),
            _ => return Ok(false),
        };
        let below = *graph.inputs(id).get(operand).ok_or_else(|| Bug::new("a view without an operand"))?;
        // A map that repeats its operand is no view.
        if matches!(graph.node(id)?.op, Op::Map { .. }) && graph.ty(below)?.rank() != graph.ty(id)?.rank() {
            return Ok(false);
        }
        id = below;
    }
}

fn node<'a, R: Real>(
    graph: &Graph,
    id: NodeId,
    syms: &[u64],
    inputs: &'a Inputs<R>,
    weights: &'a dyn Weights,
    absent: Absent,
    slots: &BTreeMap<NodeId, Slot<'a, R>>,
) -> Result<Slot<'a, R>, RunError> {
    let n = graph.node(id)?;
    let args = graph.inputs(id);
    let slot = |i: usize| -> Result<&Slot<'a, R>, Bug> {
        args.get(i).and_then(|a| slots.get(a)).ok_or_else(|| Bug::new(format!("{id} has no operand {i}")))
    };
    let shape = n.ty.shape(syms).ok_or_else(|| Bug::new(format!("{id} has a size that is not bound")))?;
    let value = match &n.op {
        Op::Input { name, .. } => {
            let v = inputs.get(name).ok_or_else(|| RunError::InputMissing { name: name.clone() })?;
            return Ok(if v.is_row_major() { Slot::Given(v) } else { Slot::Own(v.clone().row_major()) });
        }
        Op::Weight { name, ty } => return stored(name, ty, weights),
        Op::Const { value, dtype } => match dtype {
            DType::F32 => Value::F(array(&[], vec![R::from_f32(*value as f32)])?),
            DType::I32 => Value::I(array(&[], vec![*value as i32])?),
            DType::Bool => Value::B(array(&[], vec![*value != 0.0])?),
        },
        Op::Iota { .. } => iota(&shape)?,
        Op::Map { expr, at } => {
            let operands = (0..args.len()).map(|i| slot(i)?.operand()).collect::<Result<Vec<_>, _>>()?;
            map(expr, at, &operands, n.ty.dtype, &shape)?
        }
        Op::Broadcast { at, .. } => broadcast(&slot(0)?.operand()?, at, &shape)?,
        Op::Contract { lhs, rhs, out } => {
            let (a, b) = (slot(0)?, slot(1)?);
            let (x, y) = (a.floats()?, b.floats()?);
            let l = Side { x: &x, shape: a.shape(), labels: lhs, weight: is_weight(graph, args[0])? };
            let r = Side { x: &y, shape: b.shape(), labels: rhs, weight: is_weight(graph, args[1])? };
            contract(&l, &r, out, absent)?
        }
        Op::Reduce { f, dims } => reduce(*f, dims, &slot(0)?.operand()?, &shape)?,
        Op::Concat { dim, .. } => {
            let operands = (0..args.len()).map(|i| slot(i)?.operand()).collect::<Result<Vec<_>, _>>()?;
            concat(&operands, *dim as usize, &shape)?
        }
        Op::Window { dim, coeff, offset, .. } => window(&slot(0)?.operand()?, *dim as usize, coeff, *offset, &shape)?,
        Op::Size { dim } => {
            let n = dim.size.bind(syms).ok_or_else(|| Bug::new(format!("{id} has a size that is not bound")))?;
            let n = i32::try_from(n).map_err(|_| RunError::TooLarge { what: format!("the size {n} in i32") })?;
            Value::I(array(&[], vec![n])?)
        }
        Op::Top(t) => {
            let among = if t.among { Some(slot(1)?.operand()?) } else { None };
            let among = match &among {
                Some(Operand { elements: Elements::B(b), .. }) => Some(*b),
                None => None,
                Some(_) => return Err(Bug::new("what is chosen from is bool").into()),
            };
            top(t, &slot(0)?.operand()?, among)?
        }
        Op::Rank { dims, name } => rank(dims, name, &slot(0)?.operand()?)?,
        Op::Round { last } => Value::F(array(&shape, round_activations(&slot(0)?.floats()?, &shape, *last as usize)?)?),
        Op::Gather { dim } => {
            let ids = match slot(1)?.operand()?.elements {
                Elements::I(ids) => ids,
                _ => return Err(Bug::new("ids are not i32").into()),
            };
            let axis = graph.ty(args[0])?.dims.get(*dim as usize).map(|d| d.axis.as_str()).unwrap_or_default();
            gather_slot(slot(0)?, *dim as usize, ids, axis, &shape)?
        }
        Op::Transpose { perm } => transpose(&slot(0)?.operand()?, perm)?,
        Op::Split { .. } | Op::Merge { .. } => match slot(0)? {
            // The same values under another shape, still as stored.
            Slot::Stored { data, .. } => return Ok(Slot::Stored { data, shape }),
            other => reshape(&other.operand()?, &shape)?,
        },
        Op::Linear { bias, act } => {
            let (x, w) = (slot(0)?, slot(1)?);
            let (xv, wv);
            let matrix = match w {
                Slot::Stored { data, .. } => Matrix::Stored(data),
                other => {
                    wv = other.floats()?;
                    Matrix::Computed(&wv)
                }
            };
            let (o, inner) = w.shape().split_first().ok_or_else(|| Bug::new("the weight of a linear has no rows"))?;
            let k = &elements(inner)?;
            let b = if *bias { Some(slot(2)?.floats()?) } else { None };
            let rows = elements(&x.shape()[..x.shape().len().saturating_sub(1)])?;
            xv = x.floats()?;
            // Zeros of a computed matrix are values like any other.
            let absent = if is_weight(graph, args[1])? { absent } else { Absent::Nan };
            let mut y = linear(&xv, matrix, (rows, *o, *k), b.as_deref(), absent)?;
            activate(&mut y, act.as_ref())?;
            Value::F(array(&shape, y)?)
        }
    };
    Ok(Slot::Own(value))
}

/// Gathers rows of a stored weight without converting the whole of it.
fn gather_slot<R: Real>(
    table: &Slot<R>,
    dim: usize,
    ids: &[i32],
    axis: &str,
    out: &[usize],
) -> Result<Value<R>, RunError> {
    let Slot::Stored { data, shape } = table else { return gather(&table.operand()?, dim, ids, axis, out) };
    let raw = Operand { shape, elements: Elements::<f32>::F(Cow::Borrowed(data)) };
    Ok(gather(&raw, dim, ids, axis, out)?.convert())
}
