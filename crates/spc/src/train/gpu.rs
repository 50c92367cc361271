//! The steps of a run as CUDA kernels, made of the same passes as those for CPUs.
//!
//! Only rules whose passes all have a form there are taken: values entry by entry, N of M, and norms of groups. A weight on which
//! another rule acts too is left out with all its rules, since the order inside a step matters; so a step is whole for each
//! weight that it is for.
use super::core::{Core, Tensor};
use super::number::{Now, Number};
use super::program::{Phase, Program};
use super::run::{kept, tensor};
use super::situation::{Part, Situation};
use super::state::{Flags, State, rule_names};
use super::work::{Missing, Ref, Source};
use super::{program, situation, typical};
use spc_base::Bug;
use spc_cuda::{PassChain, PassTiles, PassValue, Update, UpdateKernel, UpdateModule};
use spc_interp::method::{MethodError, Optimiser};
use spc_ir::DType;
use spc_ir::method::{Does, Moment, Rule, Rules};
use spc_kernel::update::{Chain, Grid, Kind, Node};
use std::collections::BTreeMap;

/// Lanes that groups are cut for, so that the text is the same on any machine.
const LANES: usize = 4;
/// Steps of a run whose launches are listed.
const MOST_STEPS: u64 = 1_000_000;

/// What a kernel is given for one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuArgument {
    /// Number of an array in [`GpuUpdates::arrays`].
    Array(usize),
    /// The numbers of the step, f32.
    Numbers,
    /// A word, 0 before the step. After it, one more than the number of a weight, in [`GpuUpdates::weights`], that is not finite.
    Fault,
    /// What the kernel counts.
    Count,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuLaunch {
    pub kernel: String,
    pub count: u64,
    pub arguments: Vec<GpuArgument>,
}

/// An array of a run: one entry for each weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuArray {
    /// `param/W` is what the program reads, `grad/W` the gradient with respect to it; `scratch/N/W` holds nothing between steps;
    /// others are the state, by the names of [`crate::UpdatePlan::save`] and the weight's.
    pub name: String,
    pub weight: String,
    pub len: u64,
    /// A truth value of one byte, else f32. The masks of a state are 1 before the first step, everything else is 0.
    pub truth: bool,
}

/// A rule that stays on the host, with the weights that its steps are left out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub rule: String,
    pub weights: Vec<String>,
    pub reason: String,
}

/// What is done in some steps.
struct Steps {
    launches: Vec<GpuLaunch>,
    numbers: Vec<Number>,
}

/// The kernels of a run, and what each step launches.
pub struct GpuUpdates {
    pub module: UpdateModule,
    pub arrays: Vec<GpuArray>,
    pub left_out: Vec<LeftOut>,
    /// Observers, which are not computed there.
    pub observers: Vec<String>,
    core: Core,
    /// Each from a step on; the first is the start of the run.
    when: Vec<(Option<u64>, usize)>,
    programs: Vec<Steps>,
}

fn said(m: Missing) -> Result<String, MethodError> {
    match m {
        Missing::Form(why) => Ok(why),
        Missing::Bug(b) => Err(b.into()),
    }
}

/// Why a program has no form on a GPU.
fn reason(p: &Program) -> Option<String> {
    let of_phase = |p: &Phase| match p {
        Phase::Sweep(..) => None,
        Phase::Choose { .. } => Some("a choice that is no N of M of neighbours"),
        Phase::Threshold { .. } | Phase::Top { .. } | Phase::Count { .. } => Some("an amount over whole tensors"),
        Phase::Best(_) | Phase::Tally(_) => Some("an amount of groups"),
        Phase::BestWithin(_) | Phase::TallyWithin(_) => Some("masks that move within tiles"),
        Phase::Gather { .. } | Phase::Scatter { .. } | Phase::Folded { .. } | Phase::Root { .. } => {
            Some("a penalty of groups that tensors share, or that looks at all groups together")
        }
        Phase::Means { .. } | Phase::Newton(_) => Some("norms in the metric of the optimiser"),
        Phase::Prox(_) | Phase::Slope(_) => Some("a penalty that the reference interpreter takes"),
    };
    if let Some(why) = p.phases.iter().find_map(of_phase) {
        return Some(why.into());
    }
    let steps = p.phases.iter().flat_map(|p| if let Phase::Sweep(_, s) = p { &s[..] } else { &[] });
    for s in steps {
        match p.sources.get(s.pass) {
            Some(Source::Chain(c)) if !c.folds.is_empty() => return Some("a sum over weights".into()),
            Some(Source::Chain(c)) if c.nodes.iter().any(|n| matches!(n, Node::Before(_))) => {
                return Some("an amount over whole tensors".into());
            }
            Some(Source::Resize(g, ..)) => {
                if let Err(why) = tiles(*g).and_then(|t| t.units(0)) {
                    return Some(format!("a norm of groups: {why}"));
                }
            }
            Some(Source::Chain(_) | Source::Kept { .. }) => {}
            _ => return Some("norms in the metric of the optimiser".into()),
        }
    }
    None
}

fn tiles(g: Grid) -> Result<PassTiles, String> {
    let small = |n: usize| u32::try_from(n).map_err(|_| "a strip of tiles has too many weights".to_string());
    Ok(PassTiles { rows: small(g.rows)?, cols: small(g.cols)?, tile: small(g.tile)? })
}

/// Without observers; their names.
fn without_observers(rules: &mut Rules) -> Vec<String> {
    let mut names = Vec::new();
    for r in &mut rules.list {
        if let Does::Keep { update: Some(u), .. } = &mut r.does {
            names.extend(u.observers.iter().map(|(n, _)| format!("{}.{n}", r.name)));
            u.observers.clear();
        }
    }
    names
}

/// Why rules have no form on a GPU, together.
fn unfit(core: &Core) -> Result<Option<String>, MethodError> {
    for s in [typical(core, true, false), typical(core, false, false), typical(core, false, true)] {
        let found = match program::build(core, &s) {
            Ok(p) => reason(&p),
            Err(m) => Some(said(m)?),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

impl GpuUpdates {
    /// # Errors
    /// As of `UpdatePlan::new`; an optimiser of the caller's, and runs of more than a million steps, are not built.
    pub(crate) fn new(
        mut rules: Rules,
        optimiser: Optimiser,
        steps: u64,
        shapes: &[(String, Vec<usize>)],
    ) -> Result<GpuUpdates, MethodError> {
        if Moment::step(0, steps).is_none() || steps == 0 {
            return Err(MethodError::Step { step: 0, steps, next: 0 });
        }
        if let Optimiser::Outside { .. } = optimiser {
            return Err(MethodError::NotYet { what: "an optimiser of the caller's on a GPU".into() });
        }
        if steps > MOST_STEPS {
            return Err(MethodError::NotYet { what: format!("a run of more than {MOST_STEPS} steps on a GPU") });
        }
        let observers = without_observers(&mut rules);
        let all = |keep: &dyn Fn(&str) -> bool| -> Vec<Tensor> {
            let own = shapes.iter().filter(|(n, _)| keep(n));
            own.map(|(name, shape)| {
                let len = shape.iter().product();
                Tensor { name: name.clone(), len, shape: shape.clone(), dense: false }
            })
            .collect()
        };
        let core = |list: Vec<Rule>, keep: &dyn Fn(&str) -> bool| {
            Core::new(Rules { list, steps: rules.steps }, optimiser, steps, LANES, all(keep))
        };
        let whole = core(rules.list.clone(), &|_| true)?;
        // Each rule by itself, then those that share weights with one that has no form.
        let mut reasons: Vec<Option<String>> = Vec::new();
        for r in &rules.list {
            reasons.push(unfit(&core(vec![r.clone()], &|_| true)?)?);
        }
        let large = |t: &Tensor| i32::try_from(t.len).is_err() || t.len == 0;
        let mut bad: Vec<bool> = whole.tensors.iter().map(large).collect();
        let members = |i: usize| whole.info.get(i).map_or(&[][..], |x| &x.members);
        loop {
            for (i, _) in reasons.iter().enumerate().filter(|(_, r)| r.is_some()) {
                members(i).iter().for_each(|t| bad[*t] = true);
            }
            let shares = |(i, r): &(usize, &Option<String>)| r.is_none() && members(*i).iter().any(|t| bad[*t]);
            let Some((i, _)) = reasons.iter().enumerate().find(shares) else { break };
            reasons[i] = Some("it acts on weights of a rule that is left out, or of too large a weight".into());
        }
        let fits = |name: &str| whole.index(name).is_some_and(|t| !bad[t]);
        let list: Vec<Rule> =
            rules.list.iter().zip(&reasons).filter(|(_, r)| r.is_none()).map(|(r, _)| r.clone()).collect();
        let mut own = core(list, &fits)?;
        if let Some(why) = unfit(&own)? {
            reasons.iter_mut().filter(|r| r.is_none()).for_each(|r| *r = Some(why.clone()));
            own = core(Vec::new(), &|_| false)?;
        }
        let left_out = rule_names(&whole)
            .into_iter()
            .zip(&reasons)
            .enumerate()
            .filter_map(|(i, (rule, why))| {
                let weights = members(i).iter().map(|t| whole.tensors[*t].name.clone()).collect();
                Some(LeftOut { rule, weights, reason: why.clone()? })
            })
            .collect();
        let mut b = Builder { core: &own, arrays: Vec::new(), refs: Vec::new(), kernels: Vec::new() };
        let (mut when, mut programs) = (Vec::new(), Vec::new());
        let mut known: BTreeMap<Situation, usize> = BTreeMap::new();
        for (step, s) in situations(&own)? {
            let at = match known.get(&s) {
                Some(at) => *at,
                None => {
                    programs.push(b.steps(&s)?);
                    known.insert(s, programs.len() - 1);
                    programs.len() - 1
                }
            };
            when.push((step, at));
        }
        let updates: Vec<Update> = b.kernels.iter().map(|(u, _)| u.clone()).collect();
        let module = spc_cuda::updates(&updates).map_err(|e| Bug::new(format!("updates without text: {e}")))?;
        let arrays = b.arrays;
        Ok(GpuUpdates { module, arrays, left_out, observers, when, programs, core: own })
    }

    pub fn kernels(&self) -> &[UpdateKernel] {
        &self.module.kernels
    }

    /// Names of the weights whose steps are taken.
    pub fn weights(&self) -> impl Iterator<Item = &str> {
        self.core.tensors.iter().map(|t| t.name.as_str())
    }

    /// What a step launches in order, `None` being the start of the run, and its numbers for these learning rates, by weight. The
    /// last step leaves the weights as they are before the constraints are projected for deployment (`dense/W`, or `param/W` where a
    /// weight has no such array).
    pub fn step(
        &self,
        step: Option<u64>,
        rate: &dyn Fn(&str) -> f32,
    ) -> Result<(&[GpuLaunch], Vec<f32>), crate::Error> {
        let fail = |e: MethodError| crate::Error::new(&e.into(), &spc_report::SourceMap::default());
        let found = self.when.iter().rev().find(|w| w.0 <= step).filter(|_| step < Some(self.core.steps));
        let steps = self.core.steps;
        let other = || MethodError::Step { step: step.unwrap_or(0), steps, next: 0 };
        let (_, at) = found.ok_or_else(|| fail(other()))?;
        let rates: Vec<f32> = self.core.tensors.iter().map(|t| rate(&t.name)).collect();
        let p = &self.programs[*at];
        Ok((&p.launches, numbers(&self.core, &p.numbers, step, &rates).map_err(|b| fail(b.into()))?))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (Option<u64>, Option<u64>, &[GpuLaunch], &[Number])> {
        let end = self.core.steps;
        let next = self.when.iter().skip(1).map(|w| w.0).chain([Some(end)]);
        self.when.iter().zip(next).map(|((from, at), to)| {
            let p = &self.programs[*at];
            (*from, from.and(to), &p.launches[..], &p.numbers[..])
        })
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }
}

/// The numbers of a step.
pub(super) fn numbers(core: &Core, list: &[Number], step: Option<u64>, rates: &[f32]) -> Result<Vec<f32>, Bug> {
    let lost = || Bug::new("a step behind the end");
    let moment = Moment::step(step.unwrap_or(0), core.steps).ok_or_else(lost)?;
    let next = if let Some(s) = step { Moment::step(s + 1, core.steps).ok_or_else(lost)? } else { moment };
    let keep = |i: usize, later: bool, m: u64| kept(core, i, if later { &next } else { &moment }, m);
    let mut out = Vec::new();
    Now { moment, next, rates, keep: &keep }.fill(list, &mut out)?;
    Ok(out)
}

/// What happens in each step, the start of the run first.
fn situations(core: &Core) -> Result<Vec<(Option<u64>, Situation)>, MethodError> {
    let flags = vec![Flags::default(); core.info.len()];
    let (floats, truths) = (BTreeMap::new(), BTreeMap::new());
    // Which situation it is depends on flags alone.
    let mut state = State { done: 0, between: false, floats, truths, flags, reference: None };
    let mut out: Vec<(Option<u64>, Situation)> = Vec::new();
    let n = core.tensors.len();
    let lost = || Bug::new("a step behind the end");
    for step in std::iter::once(None).chain((0..core.steps).map(Some)) {
        let m = Moment::step(step.unwrap_or(0), core.steps).ok_or_else(lost)?;
        let now = if step.is_some() { Some(situation::now(core, &state, &m)?) } else { None };
        let after = step.map_or(0, |s| s + 1);
        let next = if after < core.steps {
            let m = Moment::step(after, core.steps).ok_or_else(lost)?;
            Some(situation::next(core, &state, &m)?)
        } else {
            None
        };
        for (n, f) in next.iter().flatten().zip(&mut state.flags) {
            *f = Flags { started: f.started || (n.active && !n.waits), frozen: n.frozen };
        }
        let s = Situation { part: Part::Whole, now, grads: vec![step.is_some(); n], next };
        // Only changes are kept.
        if out.last().is_none_or(|(_, last)| *last != s) {
            out.push((step, s));
        }
    }
    Ok(out)
}

struct Builder<'a> {
    core: &'a Core,
    arrays: Vec<GpuArray>,
    refs: Vec<Ref>,
    /// Kernels by what they do, under no name.
    kernels: Vec<(Update, Update)>,
}

impl Builder<'_> {
    fn steps(&mut self, s: &Situation) -> Result<Steps, MethodError> {
        let p = program::build(self.core, s).map_err(|m| match m {
            Missing::Bug(b) => MethodError::Bug(b),
            Missing::Form(what) => MethodError::NotYet { what },
        })?;
        if let Some(what) = reason(&p) {
            return Err(MethodError::NotYet { what: format!("{what} on a GPU") });
        }
        let mut launches = Vec::new();
        for phase in &p.phases {
            let Phase::Sweep(t, steps) = phase else { continue };
            for step in steps {
                let source = p.sources.get(step.pass).ok_or_else(|| Bug::new("a pass without a source"))?;
                launches.push(self.launch(*t, source, &step.refs)?);
            }
        }
        Ok(Steps { launches, numbers: p.numbers })
    }

    fn launch(&mut self, t: usize, source: &Source, refs: &[Ref]) -> Result<GpuLaunch, MethodError> {
        use GpuArgument::{Array, Count, Fault, Numbers};
        let wrong = |e: String| MethodError::Bug(Bug::new(format!("a pass without a kernel: {e}")));
        let len = self.core.tensors.get(t).map_or(0, |t| t.len as u64);
        let given = refs.iter().map(|r| self.array(r)).collect::<Result<Vec<usize>, Bug>>()?;
        let small = |n: usize| u32::try_from(n).map_err(|_| Bug::new("a number of a pass"));
        let fault = small(t + 1)?;
        let first = |k: usize| given.get(k).copied().map(Array).ok_or_else(|| Bug::new("a pass without its arrays"));
        let (update, count, arguments) = match source {
            Source::Chain(c) => {
                let chain = chain(c, refs)?;
                let reads = chain.reads_numbers();
                let mut arguments: Vec<GpuArgument> = given.iter().copied().map(Array).collect();
                arguments.extend(reads.then_some(Numbers));
                arguments.push(Count);
                (Update::Chain { name: String::new(), chain }, len, arguments)
            }
            Source::Kept { m, number } => {
                let u = Update::Kept { name: String::new(), m: small(*m)?, number: small(*number)?, fault };
                (u, len / *m as u64, vec![first(0)?, first(1)?, Numbers, Fault, Count])
            }
            Source::Resize(g, c, result) => {
                let tiles = tiles(*g).map_err(wrong)?;
                let (to, result) = (chain(c, &[Ref::Param(t)])?, *result);
                let count = tiles.units(len).map_err(wrong)?;
                let u = Update::Resize { name: String::new(), tiles, to, result, fault };
                (u, count, vec![first(0)?, Numbers, Fault, Count])
            }
            Source::Other => return Err(wrong("it has no form".into())),
        };
        Ok(GpuLaunch { kernel: self.kernel(update)?, count, arguments })
    }

    /// The name of the kernel that does this.
    fn kernel(&mut self, u: Update) -> Result<String, Bug> {
        if let Some((named, _)) = self.kernels.iter().find(|(_, known)| *known == u) {
            return name(named).cloned().ok_or_else(|| Bug::new("a kernel without a name"));
        }
        let of = |kind: &str| {
            let same = |(k, _): &&(Update, Update)| name(k).is_some_and(|n| n.starts_with(kind));
            format!("{kind}_{}", self.kernels.iter().filter(same).count())
        };
        let mut named = u.clone();
        let called = match &mut named {
            Update::Chain { name, .. } => {
                *name = of("entries");
                name.clone()
            }
            Update::Kept { name, m, .. } => {
                *name = of(&format!("kept_of_{m}"));
                name.clone()
            }
            Update::Resize { name, .. } => {
                *name = of("norms");
                name.clone()
            }
            _ => return Err(Bug::new("a kernel of no pass")),
        };
        self.kernels.push((named, u));
        Ok(called)
    }

    fn array(&mut self, r: &Ref) -> Result<usize, Bug> {
        if let Some(i) = self.refs.iter().position(|x| x == r) {
            return Ok(i);
        }
        let own = self.core.tensors.get(tensor(r)).ok_or_else(|| Bug::new("an array of no weight"))?;
        let rules = rule_names(self.core);
        let rule = |i: usize| rules.get(i).map_or("", String::as_str);
        let prefix = match r {
            Ref::Param(_) => "param".into(),
            Ref::Grad(_) => "grad".into(),
            Ref::Mapped(_) => "mapped".into(),
            Ref::Dense(_) => "dense".into(),
            Ref::Moment(k, _) => format!("moments/{k}"),
            Ref::Mask(i, n, _) => format!("rule/{}/mask/{n}", rule(*i)),
            Ref::Previous(i, n, _) => format!("rule/{}/previous/{n}", rule(*i)),
            Ref::Float(i, n, _) | Ref::Truth(i, n, _) => format!("rule/{}/state/{n}", rule(*i)),
            Ref::ScratchTruth(k, _) => format!("scratch/mask.{k}"),
            Ref::Scratch(k, _) | Ref::Side(k, _) => format!("scratch/{k}"),
        };
        self.refs.push(r.clone());
        let (name, weight) = (format!("{prefix}/{}", own.name), own.name.clone());
        self.arrays.push(GpuArray { name, weight, len: own.len as u64, truth: r.kind() == Kind::Bytes });
        Ok(self.arrays.len() - 1)
    }
}

fn name(u: &Update) -> Option<&String> {
    match u {
        Update::Chain { name, .. } | Update::Kept { name, .. } | Update::Resize { name, .. } => Some(name),
        _ => None,
    }
}

/// A chain as text takes it.
fn chain(c: &Chain, refs: &[Ref]) -> Result<PassChain, Bug> {
    let kind = |r: &Ref| if r.kind() == Kind::Bytes { DType::Bool } else { DType::F32 };
    let value = |n: &Node| {
        Ok(match n {
            Node::Array(a) => PassValue::Array(*a),
            Node::Number(i) => PassValue::Number(*i),
            Node::Map { expr, args, dtype } => PassValue::Map { expr: expr.clone(), args: args.clone(), dtype: *dtype },
            Node::Before(_) => return Err(Bug::new("a place in a pass of a GPU")),
        })
    };
    let values = c.nodes.iter().map(value).collect::<Result<_, _>>()?;
    Ok(PassChain { arrays: refs.iter().map(kind).collect(), values, stores: c.stores.clone() })
}
