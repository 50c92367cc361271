//! `spc run FILE --fn NAME --in x=x.npy --out y=y.npy`: one call of a function on files.
use super::Done;
use crate::artefact::Loaded;
use crate::build::{Constraints, build};
use crate::device::place;
use crate::engine::{Engine, Inputs, Outputs};
use crate::failure::{Failure, Res};
use crate::load::{listing, load_file};
use crate::plan::fall_back;
use crate::session::Session;
use crate::tensors::{tensor, value};
use crate::weights::WeightSet;
use serde_json::json;
use spc_base::{Diagnostic, codes};
use spc_interp::Value;
use spc_ir::Graph;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is called on what.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The function; `None`: the only one.
    pub function: Option<String>,
    /// npy files by parameter.
    pub inputs: BTreeMap<String, PathBuf>,
    /// npy files to write, by result.
    pub outputs: BTreeMap<String, PathBuf>,
    pub json: bool,
    /// Without any `require`: the dense program.
    pub dense: bool,
}

/// Most values of a result that are printed.
const SHOWN: usize = 64;

/// Calls a function of a `.sp` file, compiled, or of a compiled folder.
pub fn call_file(s: &mut Session<'_>, path: &Path, target_name: Option<&str>, call: &Call) -> Res<Done> {
    if s.world.is_folder(path) {
        if call.dense {
            let d = Diagnostic::error(codes::ARGUMENT, "a compiled folder holds the sparse program only");
            return Err(Failure::usage(d.help("give the .sp file with `--dense`")));
        }
        let loaded = Loaded::open(s, path)?;
        let names: Vec<&str> = loaded.functions.iter().map(|f| f.graph.name.as_str()).collect();
        let name = choose(call, &names)?;
        let planned = loaded.function(&name)?;
        let on = loaded.place(s)?;
        let engine = Engine::at(planned, &loaded.packed, &loaded.weights, &on)?;
        return finish(s, &engine, &planned.graph, call);
    }
    let source = load_file(s, path)?;
    let names: Vec<&str> = source.graphs.keys().map(String::as_str).collect();
    let name = choose(call, &names)?;
    // Inputs first: a mistake there should not wait for the weights.
    read_inputs(s, source.graph(&name)?, call)?;
    let (t, on) = place(s, &source.module, target_name)?;
    let graph = if call.dense { source.dense_graph(&name)? } else { source.graph(&name)? };
    fall_back(s, [graph], &t)?;
    let names = std::slice::from_ref(&name);
    let built = build(s, &source, t, names, &WeightSet::default(), constraints(call.dense))?;
    let planned = built.function(&name)?;
    let engine = Engine::at(planned, &built.packed, &built.weights, &on)?;
    finish(s, &engine, &planned.graph, call)
}

fn constraints(dense: bool) -> Constraints {
    if dense { Constraints::LeftOut } else { Constraints::Applied }
}

fn choose(call: &Call, names: &[&str]) -> Res<String> {
    match (&call.function, names) {
        (Some(f), _) if names.contains(&f.as_str()) => Ok(f.clone()),
        (None, [only]) => Ok((*only).to_string()),
        (Some(f), _) => {
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no function `{f}` to call"));
            Err(Failure::usage(listing(d, "function", names)))
        }
        (None, _) => {
            let d = Diagnostic::error(codes::NO_RUN, "say which function to call with `--fn NAME`");
            Err(Failure::usage(listing(d, "function", names)))
        }
    }
}

fn read_inputs(s: &Session<'_>, graph: &Graph, call: &Call) -> Res<Inputs> {
    let names: Vec<String> = graph.named_inputs().into_iter().map(|(n, _)| n).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut inputs = Inputs::new();
    for (name, path) in &call.inputs {
        if !names.contains(name) {
            let d = Diagnostic::error(codes::INPUT, format!("`{}` has no input `{name}`", graph.name));
            return Err(listing(d, "input", &known).into());
        }
        inputs.insert(name.clone(), value(&s.world.npy(path)?)?);
    }
    let states = crate::states::states(graph);
    if let Some(name) = names.iter().find(|n| !inputs.contains_key(*n) && !states.contains(n)) {
        let d = Diagnostic::error(codes::INPUT, format!("the input `{name}` is missing"));
        return Err(d.help(format!("give it with `--in {name}=FILE.npy`")).into());
    }
    Ok(inputs)
}

fn finish(s: &mut Session<'_>, engine: &Engine, graph: &Graph, call: &Call) -> Res<Done> {
    let results: Vec<&str> = graph.outputs.iter().map(|(n, _)| n.as_str()).collect();
    if let Some(name) = call.outputs.keys().find(|n| !results.contains(&n.as_str())) {
        let d = Diagnostic::error(codes::INPUT, format!("`{}` has no result `{name}`", graph.name));
        return Err(listing(d, "result", &results).into());
    }
    let targets: Vec<&PathBuf> = call.outputs.values().collect();
    if let Some(twice) = targets.iter().enumerate().find(|(i, p)| targets[..*i].contains(p)) {
        let d = Diagnostic::error(codes::ARGUMENT, format!("two results are written to `{}`", twice.1.display()));
        return Err(Failure::usage(d));
    }
    let inputs = read_inputs(s, graph, call)?;
    let outputs = engine.call(&inputs)?;
    for (name, path) in &call.outputs {
        if let Some((_, v)) = outputs.iter().find(|(n, _)| n == name) {
            s.world.write_npy(path, &tensor(v)?)?;
        }
    }
    Ok(if call.json { to_json(&outputs, call) } else { to_text(&outputs, call) }.into())
}

fn words(v: &Value<f32>) -> Vec<String> {
    match v {
        Value::F(a) => a.iter().take(SHOWN).map(|x| format!("{x:?}")).collect(),
        Value::I(a) => a.iter().take(SHOWN).map(ToString::to_string).collect(),
        Value::B(a) => a.iter().take(SHOWN).map(ToString::to_string).collect(),
    }
}

fn to_text(outputs: &Outputs, call: &Call) -> String {
    let mut out = String::new();
    for (name, v) in outputs {
        out += &format!("{name}: {}{:?}", v.dtype(), v.shape());
        match call.outputs.get(name) {
            Some(path) => out += &format!(" -> {}\n", path.display()),
            None => {
                let shown = words(v);
                let more = if v.shape().iter().product::<usize>() > SHOWN { ", .." } else { "" };
                out += &format!(" = {}{more}\n", shown.join(", "));
            }
        }
    }
    out
}

fn to_json(outputs: &Outputs, call: &Call) -> String {
    let list: Vec<serde_json::Value> = outputs
        .iter()
        .map(|(name, v)| {
            json!({ "name": name, "dtype": v.dtype().name(), "shape": v.shape(), "file": call.outputs.get(name), "first": words(v) })
        })
        .collect();
    format!("{:#}\n", json!({ "outputs": list }))
}
