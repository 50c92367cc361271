//! The common way of all commands that need weights: bind, project, plan, pack.
use crate::bind;
use crate::cut::{Axis, Cut, RULE, Removed, dead_channels, restore};
use crate::failure::Res;
use crate::load::Source;
use crate::lock::{self, Difference, Plans};
use crate::plan::{Allowed, PackedSet, Planned, pack_weights, plain_made, plan_like, plan_of_file, warn_unexploited};
use crate::project::{project, requires};
use crate::session::Session;
use crate::structure::{absorbed, made_bytes, original, step_of};
use crate::weights::{Weight, WeightSet};
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::{CheckError, Projected, verify_requires};
use spc_ir::structure::Restructure;
use spc_ir::{Graph, Op, Plan, Require, independent};
use spc_sema::{Model, Target};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Axes without their dead positions, and what is left of the weights that carry them. [`Build::weights`] and the graphs
    /// are without them.
    pub axes: Vec<Axis>,
    pub removed: BTreeMap<String, Removed>,
    /// The functions as they were, with their constraints, where something was removed.
    pub whole: Vec<Graph>,
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
        return functions(s, source, target, names, (stored, Vec::new()), Allowed::Dense, true);
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
    let built = functions(s, source, target, names, (weights, projected), Allowed::All, true)?;
    let smaller = built.removed.keys().map(String::as_str).collect();
    warn_unexploited(s, &source.module, &built.functions, &smaller);
    Ok(built)
}

/// As [`build_from`], in the structure of the program: every weight is packed as the model has it. A plan file that the caller
/// named is followed, whatever structure it asks for.
pub fn build_in_shape(
    s: &mut Session<'_>,
    source: &Source,
    target: Target,
    names: &[String],
    weights: WeightSet,
) -> Res<Build> {
    let follow = s.options.plan.is_some();
    functions(s, source, target, names, (weights, Vec::new()), Allowed::All, follow)
}

fn functions(
    s: &Session<'_>,
    source: &Source,
    target: Target,
    names: &[String],
    (weights, projected): (WeightSet, Vec<Projected>),
    allowed: Allowed,
    structure: bool,
) -> Res<Build> {
    let file = plan_file(s, source, allowed)?;
    let graph = |name: &String| match allowed {
        Allowed::All => source.graph(name),
        Allowed::Dense => source.dense_graph(name),
    };
    let edited = match &file {
        Some((_, plans)) => plans.edited()?,
        None => false,
    };
    // A file that was changed is compared with what a search gives.
    let (lock, changed) = if edited { (None, file) } else { (file, None) };
    let cut = match allowed {
        Allowed::All if structure && !s.options.interp => dead_channels(source, &weights)?,
        _ => None,
    };
    let all = |cut: Option<&Cut>| {
        let one = |name: &String| {
            let whole = graph(name)?;
            let (g, w) = match cut {
                Some(c) => (c.graphs.get(name).ok_or_else(|| Bug::new("a function vanished"))?, &c.weights),
                None => (whole, &weights),
            };
            match &lock {
                Some((path, plans)) => plan_of_file(s, (path, plans), g, w, &target),
                None => plan_like(s, g, whole, w, &target, (allowed, structure)),
            }
        };
        names.iter().map(one).collect::<Res<Vec<Planned>>>()
    };
    let total = |list: &[Planned]| list.iter().map(|f| f.plan.total_ps).fold(0, u64::saturating_add);
    let rules = |p: &Plan| p.rules.iter().any(|r| r == RULE);
    let (mut functions, taken) = match (cut, &lock) {
        (None, _) => (all(None)?, None),
        // The file says which of the two it is about.
        (Some(c), Some((_, plans))) if plans.functions.iter().any(rules) => (all(Some(&c))?, Some(c)),
        (Some(_), Some(_)) => (all(None)?, None),
        (Some(c), None) => {
            let (whole, mut smaller) = (all(None)?, all(Some(&c))?);
            if total(&smaller) < total(&whole) {
                for (f, w) in smaller.iter_mut().zip(&whole) {
                    f.plan.rules.insert(0, RULE.into());
                    // What the whole program takes at best when dense.
                    f.plan.dense_ps = w.plan.dense_ps;
                }
                (smaller, Some(c))
            } else {
                (whole, None)
            }
        }
    };
    if let Some((path, plans)) = changed {
        return Err(lock::was_edited(&path, &plans, &functions, &target));
    }
    let mut b = Build {
        target,
        projected,
        weights,
        functions: Vec::new(),
        packed: PackedSet::new(),
        axes: Vec::new(),
        removed: BTreeMap::new(),
        whole: Vec::new(),
    };
    if let Some(c) = taken {
        b.whole = names.iter().map(|n| graph(n).cloned()).collect::<Res<_>>()?;
        (b.weights, b.axes, b.removed) = (c.weights, c.axes, c.removed);
    }
    let made: Vec<&Restructure> =
        functions.iter().flat_map(|f| &f.plan.structure).filter(|s| s.made.is_some()).collect();
    if !made.is_empty() && b.whole.is_empty() {
        b.whole = names.iter().map(|n| graph(n).cloned()).collect::<Res<_>>()?;
    }
    for f in &functions {
        pack_weights(s, f, &b.weights, &mut b.packed)?;
        // Of what is made of other weights only biases are read as they are stored.
        plain_made(f, &mut b.weights)?;
    }
    b.functions.append(&mut functions);
    Ok(b)
}

/// The plan file that the caller named, if this program is one that it can be about.
///
/// # Errors
/// SP0401 and SP0660 for a file that cannot be used, SP0661 for one with functions that the program does not have.
fn plan_file(s: &Session<'_>, source: &Source, allowed: Allowed) -> Res<Option<(PathBuf, Plans)>> {
    let Some(path) = s.options.plan.clone().filter(|_| allowed == Allowed::All && !s.options.interp) else {
        return Ok(None);
    };
    let plans = lock::read(s, &path)?;
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
        let absorbed = self.functions.iter().flat_map(|f| absorbed(&f.plan));
        let gone: BTreeSet<String> = packed.into_iter().chain(absorbed).cloned().collect();
        for name in gone.iter().filter(|n| !plain.contains(*n)) {
            self.weights.remove(name);
        }
        Ok(())
    }

    /// The values of a weight as they are stored for the compiled program: unpacked from its first layout, or plain; zero where
    /// something was removed.
    pub fn stored_values(&self, name: &str) -> Result<Weight, Bug> {
        let get = |name: &str| match self.packed.iter().find(|((w, _), _)| w == name) {
            Some((_, p)) => Weight::new(vec![p.rows(), p.cols()], p.unpack().ok()?.into()).ok(),
            None => self.weights.get(name).cloned(),
        };
        let mut small = get(name);
        if small.is_none()
            && let Some(Restructure { how: Some(_), made: Some(made), .. }) =
                step_of(self.functions.iter().map(|f| &f.plan), name)
        {
            // The same zeros in the same places.
            small = Some(self.stored_values(made)?);
        }
        for f in &self.functions {
            if small.is_none() {
                small = original(&f.plan.structure, name, &get).map_err(Bug::new)?;
            }
        }
        let small = small.ok_or_else(|| Bug::new(format!("`{name}` is not stored")))?;
        match self.removed.get(name) {
            Some(r) => r.whole(&small).map_err(|e| Bug::new(format!("`{name}`: {e}"))),
            None => Ok(small),
        }
    }

    /// Functions and weights as they were before anything was removed: what the compiled program is compared with.
    pub fn reference(&self, f: &Planned) -> Result<(Graph, WeightSet), Bug> {
        match self.whole.iter().find(|g| g.name == f.graph.name) {
            Some(g) => Ok((g.clone(), restore(&self.removed, &self.weights).map_err(Bug::new)?)),
            None => Ok((f.graph.clone(), self.weights.clone())),
        }
    }

    /// Checks the weights of the compiled program against every constraint.
    ///
    /// # Errors
    /// SP0502 names the first tensor, row and group that break one.
    pub fn check_requires(&self, s: &Session<'_>, list: &[Require]) -> Res<()> {
        let check = |list: &[Require]| {
            let mut values = WeightSet::default();
            for name in list.iter().flat_map(Require::weights) {
                if values.get(name).is_none() {
                    values.insert(name, self.stored_values(name)?);
                }
            }
            check_weights(list, &values)
        };
        // One weight after the other needs the memory of one.
        let parts = independent(list);
        for (done, part) in (0u64..).zip(&parts) {
            s.progress.step("verifying", done, parts.len() as u64);
            if let Err(e) = check(part) {
                // In file order another mistake may come first.
                return check(list).and(Err(e));
            }
        }
        s.progress.step("verifying", parts.len() as u64, parts.len() as u64);
        Ok(())
    }

    /// Bytes that a model's tensors take in the compiled folder: packed, plain, or both where both are read. Tensors
    /// that no function reads count as stored.
    pub fn model_bytes(&self, model: &Model) -> Result<u64, Bug> {
        let plain = self.plain()?;
        let mut total = 0u64;
        for t in &model.tensors {
            let plans = || self.functions.iter().map(|f| &f.plan);
            let mut path = &t.path;
            while let Some(Restructure { how: Some(_), made: Some(made), .. }) = step_of(plans(), path) {
                path = made;
            }
            let mut packed: Vec<u64> =
                self.packed.iter().filter(|((w, _), _)| w == path).map(|(_, p)| p.packed().bytes()).collect();
            let sizes = |name: &str| -> Vec<u64> {
                let mine = self.packed.iter().filter(|((w, _), _)| w == name);
                mine.map(|(_, p)| p.packed().bytes()).collect()
            };
            // What was made of it, in the first function that has something.
            let made = self.functions.iter().map(|f| made_bytes(&f.plan.structure, path, &sizes));
            packed.extend(made.into_iter().find(|l| !l.is_empty()).unwrap_or_default());
            if packed.is_empty() || plain.contains(&t.path) {
                let left = self.removed.get(&t.path);
                let size = |(i, d): (usize, &spc_ir::Dim)| match left.and_then(|r| r.kept.get(i)?.as_ref()) {
                    Some(kept) => Some(kept.len() as u64),
                    None => d.size.fixed(),
                };
                let elements = t.dims.iter().enumerate().try_fold(4u64, |n, d| n.checked_mul(size(d)?));
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
