//! `spc step`: one training step under the rules of a program, by the reference interpreter.
use crate::failure::{Failure, Res};
use crate::load::{Source, load_file};
use crate::project::without_links;
use crate::run::Done;
use crate::session::Session;
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::method::{Data, MethodError, Optimiser, Saved, Tensors, Updater};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_ir::DType;
use spc_ir::method::Does;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A step to take.
#[derive(Clone, Debug)]
pub struct Step {
    /// Weights by their full names, or by the names that the program gives them in its weight file.
    pub weights: PathBuf,
    /// Gradients with respect to what `forward` gives, under the same names.
    pub grads: PathBuf,
    /// What the step before wrote; without it, the first values.
    pub state: Option<PathBuf>,
    /// Number of the step, from 0.
    pub step: u64,
    /// Length of the run; without it, that of the program's `train`.
    pub steps: Option<u64>,
    pub rate: f32,
    pub optimiser: Optimiser,
    /// Folder to write `weights.safetensors` and `state.safetensors` to.
    pub out: PathBuf,
}

impl From<MethodError> for Failure {
    fn from(e: MethodError) -> Failure {
        e.diagnostic().map_or_else(Failure::Bug, Failure::from)
    }
}

const WEIGHTS: &str = "weights.safetensors";
const STATE: &str = "state.safetensors";
/// Name of the number of steps taken, in a state.
const DONE: &str = "done";

/// Takes one step of one program. The text says what the observers of its updates saw, one line each.
pub fn step_file(s: &mut Session<'_>, path: &Path, what: &Step) -> Res<Done> {
    let source = load_file(s, path)?;
    without_links(&source.module)?;
    let rules = source.module.rules.clone();
    let Some(steps) = what.steps.or(rules.steps) else {
        let d = Diagnostic::error(codes::NO_LENGTH, "the length of the run is not known");
        return Err(Failure::usage(d.help("give it with `--of N`, or write `train { steps: N }`")));
    };
    if what.step >= steps {
        return Err(MethodError::Step { step: what.step, steps, next: 0 }.into());
    }
    let file = s.world.weights(&what.weights)?;
    let (weights, shapes) = read(&file, &source)?;
    let (grads, grad_shapes) = read(&s.world.weights(&what.grads)?, &source)?;
    for (name, shape) in &grad_shapes {
        if shapes.get(name).is_some_and(|s| s != shape) {
            let text = format!("the gradient of `{name}` has shape {shape:?}, the weight {:?}", shapes[name]);
            return Err(Diagnostic::error(codes::SHAPE, text).into());
        }
    }
    let mut u = Updater::new(rules, weights, what.optimiser, steps)?;
    match &what.state {
        Some(path) => u.restore(&saved(&s.world.weights(path)?)?)?,
        None => u = start(u, what.step)?,
    }
    if u.done() != what.step {
        return Err(MethodError::Step { step: what.step, steps, next: u.done() }.into());
    }
    let seen = u.step(&grads, what.rate)?;
    write(s, &u, &shapes, &what.out)?;
    let mut text = String::new();
    for o in seen {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {}: {}", o.rule, o.name, o.value);
    }
    let _ = writeln!(text, "{}: step {} of {steps}", what.out.display(), what.step);
    Ok(text.into())
}

/// Without a state, a later step begins there with first values.
fn start(u: Updater<f32>, step: u64) -> Res<Updater<f32>> {
    if step == 0 {
        return Ok(u);
    }
    let mut saved = u.save();
    saved.done = step;
    let mut u = u;
    u.restore(&saved)?;
    Ok(u)
}

type Shapes = BTreeMap<String, Vec<usize>>;

/// The f32 tensors of the program's models that a file holds.
fn read(file: &WeightFile, source: &Source) -> Res<(Tensors<f32>, Shapes)> {
    let (mut values, mut shapes) = (Tensors::new(), Shapes::new());
    let tensors = source.module.models.iter().flat_map(|m| &m.tensors).filter(|t| t.dtype == DType::F32);
    for t in tensors {
        let held = |n: &str| file.header().tensors().iter().find(|h| h.name == n);
        let Some(h) = held(&t.path).or_else(|| held(&t.stored)) else { continue };
        crate::bind::fits(t, &h.shape)?;
        shapes.insert(t.path.clone(), h.shape.clone());
        values.insert(t.path.clone(), file.f32(&h.name)?.to_vec());
    }
    Ok((values, shapes))
}

fn saved(file: &WeightFile) -> Res<Saved<f32>> {
    let mut out = Saved { done: 0, tensors: BTreeMap::new() };
    let wrong = |text: String| MethodError::State { name: DONE.into(), problem: text };
    for t in file.header().tensors() {
        if t.name == DONE {
            let done = file.i32(DONE)?;
            out.done = match done.as_slice() {
                [n] => u64::try_from(*n).map_err(|_| wrong("is negative".into()))?,
                _ => return Err(wrong("is no number".into()).into()),
            };
        } else if let Ok(v) = file.bool(&t.name) {
            out.tensors.insert(t.name.clone(), Data::B(v));
        } else {
            out.tensors.insert(t.name.clone(), Data::F(file.f32(&t.name)?.to_vec()));
        }
    }
    Ok(out)
}

fn write(s: &Session<'_>, u: &Updater<f32>, shapes: &Shapes, out: &Path) -> Res<()> {
    let mut weights = Vec::new();
    for (name, v) in u.weights() {
        let shape = shapes.get(name).ok_or_else(|| Bug::new("a weight without a shape"))?;
        weights.push(Stored { name, shape, values: Values::F32(v) });
    }
    let saved = u.save();
    let done = [i32::try_from(saved.done).map_err(|_| Bug::new("more steps than a file can say"))?];
    let lengths: Vec<(&str, [usize; 1])> = saved.tensors.iter().map(|(n, d)| (n.as_str(), [d.len()])).collect();
    let mut state = vec![Stored { name: DONE, shape: &[1], values: Values::I32(&done) }];
    for ((name, shape), d) in lengths.iter().zip(saved.tensors.values()) {
        let values = match d {
            Data::F(v) => Values::F32(v),
            Data::B(v) => Values::Bool(v),
        };
        state.push(Stored { name, shape, values });
    }
    let ours = |old: &Path| {
        let files = s.world.files(old, 4).unwrap_or_default();
        files.len() == 2 && files.iter().all(|f| f.as_os_str() == WEIGHTS || f.as_os_str() == STATE)
    };
    let none = BTreeMap::new();
    let (weights, state) = (Safetensors::new(&weights, &none, 8)?, Safetensors::new(&state, &none, 8)?);
    let folder = s.world.create(out, &ours)?;
    folder.file(WEIGHTS, |to| weights.write(to))?;
    folder.file(STATE, |to| state.write(to))?;
    Ok(folder.commit()?)
}

/// What a program does during training, for people: one line a rule.
pub fn rule_lines(source: &Source) -> Vec<String> {
    let line = |r: &spc_ir::method::Rule| {
        let (what, weights) = match &r.does {
            Does::Keep { require, update, .. } => {
                let via = update.as_ref().map_or_else(|| "projected".into(), |u| format!("via {}", u.name));
                (via, require.weights().join(", "))
            }
            Does::Penalize { penalty, over, via, .. } => {
                let mut list: Vec<&str> = over.iter().flat_map(spc_ir::Require::weights).collect();
                list.sort_unstable();
                list.dedup();
                (format!("{} via {via}", penalty.name), list.join(", "))
            }
        };
        let when: Vec<String> = r.active.iter().map(|(a, b)| format!("{}..{}", percent(*a), percent(*b))).collect();
        let when = if when.is_empty() { "at the end".into() } else { when.join(", ") };
        let frozen = r.frozen.map(|f| format!(", frozen from {}", percent(f))).unwrap_or_default();
        format!("{}: {what}, {when}{frozen}, on {weights}", r.name)
    };
    source.module.rules.list.iter().map(line).collect()
}

fn percent(r: spc_ir::method::Ratio) -> String {
    format!("{}%", r.to_f64() * 100.0)
}
