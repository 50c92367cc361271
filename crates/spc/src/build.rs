//! The common way of all commands that need weights: bind, project, plan, pack.
use crate::bind;
use crate::failure::Res;
use crate::load::Source;
use crate::lock::{self, Difference, Plans};
use crate::plan::{Allowed, PackedSet, Planned, pack_weights, plan, plan_of_file, warn_unexploited};
use crate::project::{project, requires};
use crate::session::Session;
use crate::weights::{Weight, WeightSet};
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::{CheckError, Projected, verify_requires};
use spc_ir::{Graph, Op, Require};
use spc_sema::{Model, Target};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A program with its constraints applied, its functions planned and their weights packed.
pub struct Build {
    pub target: Target,
    /// What each sentence of each constraint did.
    pub projected: Vec<Projected>,
    /// Weights after projection.
    pub weights: WeightSet,
    /// In the order of the functions asked for.
    pub functions: Vec<Planned>,
    pub packed: PackedSet,
}

/// Whether every `require` is applied, or all are left out: the dense program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Constraints {
    #[default]
    Applied,
    LeftOut,
}

/// Builds functions of a program for a target. `given` are weights that the caller bound by name.
pub fn build(
    s: &mut Session<'_>,
    source: &Source,
    target: Target,
    names: &[String],
    given: &WeightSet,
    constraints: Constraints,
) -> Res<Build> {
    let stored = bind::weights(s, source, given)?;
    if constraints == Constraints::LeftOut {
        return functions(s, source, target, names, stored, Vec::new(), Allowed::Dense);
    }
    let (weights, projected) = project(s, source, &stored)?;
    drop(stored);
    build_from(s, source, target, names, weights, projected)
}

/// As [`build`], from weights that satisfy the constraints already.
pub fn build_from(
    s: &mut Session<'_>,
    source: &Source,
    target: Target,
    names: &[String],
    weights: WeightSet,
    projected: Vec<Projected>,
) -> Res<Build> {
    let built = functions(s, source, target, names, weights, projected, Allowed::All)?;
    warn_unexploited(s, &source.module, &built.functions);
    Ok(built)
}

fn functions(
    s: &Session<'_>,
    source: &Source,
    target: Target,
    names: &[String],
    weights: WeightSet,
    projected: Vec<Projected>,
    allowed: Allowed,
) -> Res<Build> {
    let (mut functions, mut packed) = (Vec::new(), PackedSet::new());
    let file = plan_file(s, source, &target, names, &weights, allowed)?;
    for name in names {
        let graph = match allowed {
            Allowed::All => source.graph(name)?,
            Allowed::Dense => source.dense_graph(name)?,
        };
        let f = match &file {
            Some((path, plans)) => plan_of_file(s, (path, plans), graph, &weights, &target)?,
            None => plan(s, graph, &weights, &target, allowed)?,
        };
        pack_weights(s, &f, &weights, &mut packed)?;
        functions.push(f);
    }
    Ok(Build { target, projected, weights, functions, packed })
}

/// The plan file that the caller named, if this program is one that it can be about.
///
/// # Errors
/// SP0401 and SP0660 for a file that cannot be used, SP0661 for one with functions that the program does not have.
fn plan_file(
    s: &Session<'_>,
    source: &Source,
    target: &Target,
    names: &[String],
    weights: &WeightSet,
    allowed: Allowed,
) -> Res<Option<(PathBuf, Plans)>> {
    let Some(path) = s.options.plan.clone().filter(|_| allowed == Allowed::All && !s.options.interp) else {
        return Ok(None);
    };
    let plans = lock::read(s, &path)?;
    if plans.edited()? {
        let now = |n: &String| plan(s, source.graph(n)?, weights, target, allowed);
        let fresh = names.iter().map(now).collect::<Res<Vec<Planned>>>()?;
        return Err(lock::was_edited(&path, &plans, &fresh, target));
    }
    if let Some(p) = plans.functions.iter().find(|p| !source.graphs.contains_key(&p.function)) {
        let text = format!("`{}` was made for another program", path.display());
        let line = Difference::whole("function", Some(p.function.clone()), None);
        let d = Diagnostic::error(codes::PLAN_DIFFERS, text);
        let d = lock::differing_lines(d, "the plan", "the program", &[line]);
        return Err(d.help("`spc compile FILE.sp --emit=plan > plan.json` makes a new one").into());
    }
    Ok(Some((path, plans)))
}

/// The weights of a graph that something other than a linear reads: they are needed as stored.
pub fn plain_weights(graph: &Graph) -> Result<BTreeSet<String>, Bug> {
    let mut out = BTreeSet::new();
    for (name, node) in graph.weights() {
        let mut readers = graph.readers(node);
        readers.dedup();
        let only_matrix = |r: &spc_ir::NodeId| {
            let inputs = graph.inputs(*r);
            let is_linear = matches!(graph.node(*r).map(|n| &n.op), Ok(Op::Linear { .. }));
            is_linear && inputs.get(1) == Some(&node) && inputs.iter().filter(|i| **i == node).count() == 1
        };
        if !readers.iter().all(only_matrix) || graph.is_output(node) {
            out.insert(name);
        }
    }
    Ok(out)
}

impl Build {
    pub fn function(&self, name: &str) -> Result<&Planned, Bug> {
        self.functions.iter().find(|f| f.graph.name == name).ok_or_else(|| Bug::new(format!("`{name}` was not built")))
    }

    /// Weights that some function reads as stored.
    pub fn plain(&self) -> Result<BTreeSet<String>, Bug> {
        let mut out = BTreeSet::new();
        for f in &self.functions {
            out.extend(plain_weights(&f.graph)?);
        }
        Ok(out)
    }

    /// Lets go of dense values that are now only read packed.
    pub fn release(&mut self) -> Result<(), Bug> {
        let plain = self.plain()?;
        let packed: BTreeSet<&String> = self.packed.keys().map(|(w, _)| w).collect();
        for name in packed.into_iter().filter(|n| !plain.contains(*n)) {
            self.weights.remove(name);
        }
        Ok(())
    }

    /// The values of a weight as they are stored for the compiled program: unpacked from its first layout, or plain.
    pub fn stored_values(&self, name: &str) -> Result<Weight, Bug> {
        let packed = self.packed.iter().find(|((w, _), _)| w == name);
        match packed {
            Some((_, p)) => {
                let values = p.unpack().map_err(Bug::new)?;
                Weight::new(vec![p.rows(), p.cols()], values.into())
            }
            None => self.weights.want(name).cloned(),
        }
    }

    /// Checks the weights of the compiled program against every constraint.
    ///
    /// # Errors
    /// SP0502 names the first tensor, row and group that break one.
    pub fn check_requires(&self, s: &Session<'_>, list: &[Require]) -> Res<()> {
        let mut values = WeightSet::default();
        for name in list.iter().flat_map(Require::weights) {
            if values.get(name).is_none() {
                values.insert(name, self.stored_values(name)?);
            }
        }
        s.progress.step("verifying", 0, 1);
        check_weights(list, &values)
    }

    /// Bytes that a model's tensors take in the compiled folder: packed, plain, or both where both are read. Tensors
    /// that no function reads count as stored.
    pub fn model_bytes(&self, model: &Model) -> Result<u64, Bug> {
        let plain = self.plain()?;
        let mut total = 0u64;
        for t in &model.tensors {
            let packed: Vec<u64> =
                self.packed.iter().filter(|((w, _), _)| *w == t.path).map(|(_, p)| p.packed().bytes()).collect();
            if packed.is_empty() || plain.contains(&t.path) {
                let elements = t.dims.iter().try_fold(4u64, |n, d| n.checked_mul(d.size.fixed()?));
                total = total.saturating_add(elements.unwrap_or(u64::MAX));
            }
            total = packed.into_iter().fold(total, u64::saturating_add);
        }
        Ok(total)
    }
}

/// SP0502 unless every constraint holds for these values.
pub fn check_weights(list: &[Require], values: &WeightSet) -> Res<()> {
    match verify_requires(list, values) {
        Ok(()) => Ok(()),
        Err(CheckError::Broken(b)) => Err(Diagnostic::error(codes::VERIFY_FAILED, b.message.clone())
            .note(format!("tensor `{}`, row {}, group {}", b.weight, b.row, b.group))
            .into()),
        Err(CheckError::Project(e)) => Err(e.into()),
    }
}

/// The constraints of a program, for [`Build::check_requires`].
pub fn program_requires(source: &Source) -> Vec<Require> {
    requires(&source.module)
}
