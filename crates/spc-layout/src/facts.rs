//! The e-class analysis: what each class stands for. A class never changes its meaning; a rule that would merge two
//! meanings is a bug and is reported as one.
use crate::lang::{In, Nn};
use crate::model::{Kind, Model, Moves};
use egg::{Analysis, DidMerge, Id};
use std::sync::Arc;

pub(crate) type EGraph = egg::EGraph<Nn, Facts>;

/// The meaning of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Nothing,
    Node(u32),
    Layout(u32),
    In(In),
    /// A list of logical values.
    List,
    /// A list of physical values.
    Stored,
    /// A logical value.
    Value(u32),
    /// A value as bytes.
    Bytes(u32, In),
    /// A term that no rule and no builder makes.
    Malformed,
}

/// What rules may ask of the model.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Known {
    /// For each value: whether it can be feature-major.
    pub matrix: Vec<bool>,
    /// For each value: the linears it may be fused into.
    pub fuses: Vec<Vec<u32>>,
    /// For each value: whether it is pointwise and reads more than one value.
    pub several: Vec<bool>,
    /// For each value: whether it is pointwise and runs row-major only.
    pub by_row: Vec<bool>,
    /// For each value: usable layouts, if it is a linear.
    pub layouts: Vec<Vec<u32>>,
    /// For each value: linears that several linears, it among them, may become.
    pub merged: Vec<Vec<u32>>,
    /// For each value: whether it is a matrix of windows, which can be written feature-major.
    pub unfolds: Vec<bool>,
    /// For each value: whether it puts the features of a matrix before its tokens, which can lie feature-major.
    pub turns: Vec<bool>,
    /// For each value: those that may be read in its place, each with the rule that says so.
    pub folds: Vec<Vec<(&'static str, u32)>>,
    /// For each value: values that it reads, each with the folded linear in whose place it may be fused.
    pub fuses_folded: Vec<Vec<(u32, u32)>>,
    /// For each value: whether others are named by it.
    pub named: Vec<bool>,
    /// Kind (`dense`, `vx1`, ..) of each layout.
    pub kinds: Vec<&'static str>,
    /// Whether each layout has a feature-major kernel, and a token-major one.
    pub acts: Vec<[bool; 2]>,
    /// Whether the plan is for a GPU, whose kernels all read and write token by token.
    pub gpu: bool,
}

impl Known {
    pub fn new(model: &Model<'_>) -> Known {
        let small = |n: usize| n as u32;
        let layouts = |v: usize| model.as_linear(v).map(|l| l.layouts.iter().map(|(i, _)| *i).collect());
        Known {
            matrix: model.values.iter().map(|v| v.matrix && !model.machine_is_gpu).collect(),
            fuses: model.values.iter().map(|v| v.fuses.iter().map(|l| small(*l)).collect()).collect(),
            several: model.values.iter().map(|v| v.operands() > 1).collect(),
            by_row: model.values.iter().map(|v| matches!(v.kind, Kind::Map { by_row: true, .. })).collect(),
            layouts: (0..model.values.len()).map(|v| layouts(v).unwrap_or_default()).collect(),
            unfolds: model.values.iter().map(|v| v.moves == Some(Moves::Unfold)).collect(),
            turns: model.values.iter().map(|v| v.moves == Some(Moves::Channels)).collect(),
            merged: model.values.iter().map(|v| v.merged.iter().map(|m| *m as u32).collect()).collect(),
            folds: model.values.iter().map(|v| v.folds.iter().map(|(r, s)| (*r, *s as u32)).collect()).collect(),
            fuses_folded: model
                .values
                .iter()
                .map(|v| v.fuses_folded.iter().map(|(n, s)| (small(*n), small(*s))).collect())
                .collect(),
            named: named(model),
            kinds: model.layouts.iter().map(|l| l.kind()).collect(),
            acts: model.layouts.iter().map(|l| [l.feature_major(), l.row_major()]).collect(),
            gpu: model.machine_is_gpu,
        }
    }
}

/// Values that may be read in another's place, and those whose place it is.
fn named(model: &Model<'_>) -> Vec<bool> {
    let mut out = vec![false; model.values.len()];
    for (v, value) in model.values.iter().enumerate() {
        for (_, s) in &value.folds {
            for i in [v, *s] {
                if let Some(o) = out.get_mut(i) {
                    *o = true;
                }
            }
        }
    }
    out
}

/// Meaning of a node from the meanings of its children.
pub(crate) fn meaning(node: &Nn, of: &dyn Fn(Id) -> Fact) -> Fact {
    let value = |e: Fact, n: Fact| match (e, n) {
        (Fact::Nothing, Fact::Node(n)) | (Fact::Node(n), Fact::Node(_)) => Some(n),
        _ => None,
    };
    let fact = match node {
        Nn::Nothing => Some(Fact::Nothing),
        Nn::V(v) => Some(Fact::Node(v.0)),
        Nn::Lay(l) => Some(Fact::Layout(l.0)),
        Nn::In(l) => Some(Fact::In(*l)),
        Nn::Nil | Nn::Cons(_) => Some(Fact::List),
        Nn::KNil | Nn::KCons(_) => Some(Fact::Stored),
        Nn::With([m, rs, others]) => match (of(*m), of(*rs), of(*others)) {
            (Fact::Node(m), Fact::List, Fact::List) => Some(Fact::Node(m)),
            _ => None,
        },
        Nn::Linear([e, n, _]) => value(of(*e), of(*n)).map(Fact::Value),
        Nn::Map([n, ..]) | Nn::Op([n, _]) => value(Fact::Nothing, of(*n)).map(Fact::Value),
        Nn::Part([n, y]) => match (of(*n), of(*y)) {
            (Fact::Node(n), Fact::Value(_)) => Some(Fact::Value(n)),
            _ => None,
        },
        Nn::Ref([n]) => value(Fact::Nothing, of(*n)).map(Fact::Value),
        Nn::Same([n, y]) => match (of(*n), of(*y)) {
            (Fact::Node(n), Fact::Value(_)) => Some(Fact::Value(n)),
            _ => None,
        },
        Nn::At([l, x]) => match (of(*l), of(*x)) {
            (Fact::In(l), Fact::Value(v)) => Some(Fact::Bytes(v, l)),
            (Fact::In(_), Fact::List) => Some(Fact::Stored),
            _ => None,
        },
        Nn::KMm([l, _, e, n, _]) => match (of(*l), value(of(*e), of(*n))) {
            (Fact::In(l), Some(v)) => Some(Fact::Bytes(v, l)),
            _ => None,
        },
        Nn::KMap([l, n, ..]) => match (of(*l), of(*n)) {
            (Fact::In(l), Fact::Node(v)) => Some(Fact::Bytes(v, l)),
            _ => None,
        },
        Nn::KOp([n, _]) => value(Fact::Nothing, of(*n)).map(|v| Fact::Bytes(v, In::Rm)),
        Nn::KUnfold([n, xs]) => match (of(*n), of(*xs)) {
            (Fact::Node(n), Fact::Stored) => Some(Fact::Bytes(n, In::Fm)),
            _ => None,
        },
        Nn::KChannels([n, x]) => match (of(*n), of(*x)) {
            (Fact::Node(n), Fact::Bytes(_, In::Fm)) => Some(Fact::Bytes(n, In::Rm)),
            _ => None,
        },
        Nn::KPart([n, y]) => match (of(*n), of(*y)) {
            (Fact::Node(n), Fact::Bytes(_, In::Rm)) => Some(Fact::Bytes(n, In::Rm)),
            _ => None,
        },
        Nn::KSame([n, y]) => match (of(*n), of(*y)) {
            (Fact::Node(n), Fact::Bytes(_, l)) => Some(Fact::Bytes(n, l)),
            _ => None,
        },
        Nn::KCvt([l, x]) => match (of(*l), of(*x)) {
            (Fact::In(l), Fact::Bytes(v, from)) if from != l => Some(Fact::Bytes(v, l)),
            _ => None,
        },
    };
    fact.unwrap_or(Fact::Malformed)
}

#[derive(Default, Clone)]
pub(crate) struct Facts {
    pub known: Arc<Known>,
    /// Set when a rule merged two meanings.
    pub conflict: Option<String>,
}

impl Analysis<Nn> for Facts {
    type Data = Fact;

    fn make(eg: &mut EGraph, node: &Nn, _: Id) -> Fact {
        meaning(node, &|id| eg[id].data)
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        if *a != b {
            self.conflict.get_or_insert_with(|| format!("{a:?} and {b:?} became one class"));
        }
        DidMerge(false, *a != b)
    }
}
