//! The pass in the making of one tensor, and those that are done.
use super::number::{Number, Numbers};
use spc_base::Bug;
use spc_ir::method::{Body, Compute, Input, Kind as ValueKind, Space, ValueId};
use spc_ir::{DType, ScalarExpr};
use spc_kernel::update::{Chain, Fold, Grid, Kind, Node, NodeId, Pass};
use std::collections::BTreeMap;

/// An array of the run; the tensor stands last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ref {
    /// What the program reads.
    Param(usize),
    Grad(usize),
    /// The gradient that the caller's optimiser gets.
    Mapped(usize),
    /// The weights themselves, where they are not what the program reads.
    Dense(usize),
    Moment(usize, usize),
    Mask(usize, String, usize),
    Previous(usize, String, usize),
    Float(usize, String, usize),
    Truth(usize, String, usize),
    /// Memory within a step.
    Scratch(usize, usize),
    ScratchTruth(usize, usize),
    /// Sums of squares of groups, then their factors.
    Side(usize, usize),
}

impl Ref {
    pub fn kind(&self) -> Kind {
        match self {
            Ref::Mask(..) | Ref::Previous(..) | Ref::Truth(..) | Ref::ScratchTruth(..) => Kind::Bytes,
            _ => Kind::F32,
        }
    }
}

/// What a fold of a pass is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FoldUse {
    /// Part of an observer: its number, and which part.
    Observe(usize, usize),
    /// Bits of the greatest magnitude: the weights must be finite.
    Magnitude,
    /// The greatest norm: must be a number.
    Norm,
    Ignore,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub pass: usize,
    pub refs: Vec<Ref>,
    pub folds: Vec<FoldUse>,
}

/// Why there is no compiled form: words for the warning.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Missing {
    Form(String),
    Bug(Bug),
}

impl From<Bug> for Missing {
    fn from(b: Bug) -> Missing {
        Missing::Bug(b)
    }
}

pub(super) fn missing<T>(what: impl Into<String>) -> Result<T, Missing> {
    Err(Missing::Form(what.into()))
}

/// What a pass was made of, where other devices have a form of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    Chain(Chain),
    /// So many of every `m` neighbours as a number says: weights, mask.
    Kept {
        m: usize,
        number: usize,
    },
    /// Another norm for each tile: a value of a chain over the norm.
    Resize(Grid, Chain, NodeId),
    Other,
}

/// All passes of a program; equal ones are one.
#[derive(Default)]
pub(super) struct Passes {
    pub list: Vec<Pass>,
    pub sources: Vec<Source>,
    texts: Vec<String>,
}

impl Passes {
    pub fn add(&mut self, p: Pass) -> usize {
        self.add_of(p, Source::Other)
    }

    pub fn add_of(&mut self, p: Pass, source: Source) -> usize {
        let text = p.kernel.to_string();
        if let Some(i) = self.texts.iter().position(|t| *t == text) {
            return i;
        }
        self.list.push(p);
        self.sources.push(source);
        self.texts.push(text);
        self.list.len() - 1
    }
}

#[derive(Default)]
pub(super) struct Work {
    pub tensor: usize,
    chain: Chain,
    arrays: Vec<Ref>,
    bound: BTreeMap<Ref, NodeId>,
    folds: Vec<FoldUse>,
    pub steps: Vec<Step>,
}

/// What the inputs of a body are.
#[derive(Clone, Default)]
pub(super) struct Env {
    pub rule: usize,
    pub weight: Option<NodeId>,
    pub grad: Option<NodeId>,
    pub moments: Option<NodeId>,
    pub norms: Option<NodeId>,
    pub tau: Option<NodeId>,
    /// Size, cost and energy of the groups.
    pub group: [Option<NodeId>; 3],
    /// Numbers are those of the next step.
    pub next: bool,
}

impl Work {
    pub fn new(tensor: usize) -> Work {
        Work { tensor, ..Work::default() }
    }

    /// A pass over arrays that are not the run's.
    pub fn of(chain: Chain, tensor: usize) -> Work {
        Work { chain, tensor, ..Work::default() }
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The value of an array as it is now.
    pub fn get(&mut self, r: &Ref) -> NodeId {
        if let Some(n) = self.bound.get(r) {
            return *n;
        }
        let i = self.array(r);
        let n = self.chain.node(Node::Array(i));
        self.bound.insert(r.clone(), n);
        n
    }

    fn array(&mut self, r: &Ref) -> usize {
        if let Some(i) = self.arrays.iter().position(|a| a == r) {
            return i;
        }
        self.arrays.push(r.clone());
        self.chain.array(r.kind())
    }

    pub fn set(&mut self, r: &Ref, n: NodeId) {
        let i = self.array(r);
        self.chain.store(i, n);
        self.bound.insert(r.clone(), n);
    }

    /// The array that holds a value already, if one does.
    pub fn held(&self, n: NodeId) -> Option<Ref> {
        match self.chain.nodes.get(n)? {
            Node::Array(i) => self.arrays.get(*i).cloned(),
            _ => None,
        }
    }

    pub fn map(&mut self, text: ScalarExpr, args: Vec<NodeId>, dtype: DType) -> NodeId {
        self.chain.map(text, args, dtype)
    }

    pub fn constant(&mut self, v: f64) -> NodeId {
        self.chain.map(ScalarExpr::Const(v), vec![], DType::F32)
    }

    pub fn truth(&mut self, v: bool) -> NodeId {
        self.chain.map(ScalarExpr::Const(f64::from(u8::from(v))), vec![], DType::Bool)
    }

    pub fn number(&mut self, i: usize) -> NodeId {
        self.chain.node(Node::Number(i))
    }

    /// Whether the place of a weight is below a number.
    pub fn before(&mut self, i: usize) -> NodeId {
        self.chain.node(Node::Before(i))
    }

    pub fn select(&mut self, c: NodeId, a: NodeId, b: NodeId) -> NodeId {
        let e = ScalarExpr::select(ScalarExpr::Arg(0), ScalarExpr::Arg(1), ScalarExpr::Arg(2));
        let dtype = self.chain.dtype(a);
        self.chain.map(e, vec![c, a, b], dtype)
    }

    pub fn fold(&mut self, f: Fold, what: FoldUse) {
        self.chain.folds.push(f);
        self.folds.push(what);
    }

    /// Ends the pass in the making.
    pub fn flush(&mut self, passes: &mut Passes, lanes: usize) -> Result<(), Missing> {
        let mut chain = std::mem::take(&mut self.chain);
        let mut arrays = std::mem::take(&mut self.arrays);
        let folds = std::mem::take(&mut self.folds);
        self.bound.clear();
        if chain.is_idle() {
            return Ok(());
        }
        let kept = chain.drop_idle_arrays();
        arrays = kept.into_iter().filter_map(|i| arrays.get(i)).cloned().collect();
        let pass = passes.add_of(chain.pass("entries", lanes)?, Source::Chain(chain));
        self.steps.push(Step { pass, refs: arrays, folds });
        Ok(())
    }

    /// Adds a pass made elsewhere.
    pub fn push(&mut self, passes: &mut Passes, p: Pass, refs: Vec<Ref>, folds: Vec<FoldUse>) {
        self.push_of(passes, p, Source::Other, refs, folds);
    }

    /// As [`Work::push`], with what the pass was made of.
    pub fn push_of(&mut self, passes: &mut Passes, p: Pass, of: Source, refs: Vec<Ref>, folds: Vec<FoldUse>) {
        let pass = passes.add_of(p, of);
        self.steps.push(Step { pass, refs, folds });
    }

    /// The values of a body. `given` has those that were computed apart. Values from `end` on are left out.
    pub fn inline(
        &mut self,
        body: &Body,
        env: &Env,
        given: &BTreeMap<ValueId, NodeId>,
        end: usize,
        numbers: &mut Numbers,
    ) -> Result<Vec<NodeId>, Missing> {
        let mut out: Vec<NodeId> = Vec::new();
        for (i, v) in body.values.iter().enumerate().take(end) {
            if let Some(n) = given.get(&(i as ValueId)) {
                out.push(*n);
                continue;
            }
            let lost = || Missing::Bug(Bug::new("a body reads what its hook does not have"));
            let n = match &v.compute {
                Compute::Input(input) => match input {
                    Input::Weight => env.weight.ok_or_else(lost)?,
                    Input::Grad => env.grad.ok_or_else(lost)?,
                    Input::Moments => env.moments.ok_or_else(lost)?,
                    Input::Norms => env.norms.ok_or_else(lost)?,
                    Input::Tau => env.tau.ok_or_else(lost)?,
                    Input::Size => env.group[0].ok_or_else(lost)?,
                    Input::Cost => env.group[1].ok_or_else(lost)?,
                    Input::Energy => env.group[2].ok_or_else(lost)?,
                    Input::State(s) if v.kind == ValueKind::Bool => {
                        self.get(&Ref::Truth(env.rule, s.clone(), self.tensor))
                    }
                    Input::State(s) => self.get(&Ref::Float(env.rule, s.clone(), self.tensor)),
                    Input::Mask(m) => self.get(&Ref::Mask(env.rule, m.clone(), self.tensor)),
                    Input::Previous(m) => self.get(&Ref::Previous(env.rule, m.clone(), self.tensor)),
                    Input::Number(x) => self.constant(*x),
                    Input::Param(_) | Input::Unknown => return Err(lost()),
                    Input::Rate => {
                        let n = numbers.add(Number::Rate(self.tensor));
                        self.number(n)
                    }
                    Input::Schedule(_) | Input::Step | Input::Steps | Input::Progress => {
                        let n = numbers.input(input, env.next);
                        self.number(n)
                    }
                },
                Compute::Map { expr, args } => {
                    let args: Vec<NodeId> = args
                        .iter()
                        .map(|a| out.get(*a as usize).copied().ok_or_else(lost))
                        .collect::<Result<_, _>>()?;
                    let scalar = matches!(v.space, Space::Scalar | Space::Scope) && v.kind == ValueKind::Float;
                    match self.numbers_of(&args, numbers).filter(|_| scalar && !args.is_empty()) {
                        Some(list) => {
                            let n = numbers.expr(expr.clone(), list);
                            self.number(n)
                        }
                        None => self.chain.map(expr.clone(), args, v.kind.dtype()),
                    }
                }
                Compute::Fold { .. } => return missing("a sum over all weights inside a step"),
                Compute::Noise { .. } => return missing("noise"),
                Compute::Root { .. } | Compute::RootOfClips { .. } | Compute::Outer(_) => return missing("a root"),
                Compute::CountPer { .. } | Compute::Select | Compute::RandomChoice { .. } | Compute::Top { .. } => {
                    return missing("a choice in this place");
                }
            };
            out.push(n);
        }
        Ok(out)
    }

    /// A value as a number of the step, where it is one.
    pub fn numbers(&self, n: NodeId, numbers: &mut Numbers) -> Option<usize> {
        self.numbers_of(&[n], numbers).and_then(|l| l.first().copied())
    }

    /// The values as numbers of the step, where all are.
    fn numbers_of(&self, args: &[NodeId], numbers: &mut Numbers) -> Option<Vec<usize>> {
        args.iter()
            .map(|a| match self.chain.nodes.get(*a)? {
                Node::Number(i) => Some(*i),
                Node::Map { expr: ScalarExpr::Const(c), dtype: DType::F32, .. } => Some(numbers.constant(*c)),
                _ => None,
            })
            .collect()
    }
}
