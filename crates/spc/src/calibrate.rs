//! What scores measure over data: the inputs that weights meet while a function runs on a data source.
use crate::data::DataCache;
use crate::failure::Res;
use crate::job::Job;
use crate::load::Source;
use crate::session::Session;
use crate::weights::WeightSet;
use spc_base::{Diagnostic, codes};
use spc_interp::{InputNorms, bind_syms};
use spc_ir::{Graph, Require};
use spc_sema::DataRef;
use std::collections::{BTreeMap, BTreeSet};

/// The norms of inputs that a constraint's scores read; nothing where they read none.
///
/// The function is that of the first `run` whose call reads the data source; without one, the only function whose inputs
/// are all members of the source. It computes with the weights as they are before the constraint.
pub fn input_norms(
    s: &mut Session<'_>,
    source: &Source,
    r: &Require,
    weights: &WeightSet,
) -> Res<Option<BTreeMap<String, Vec<f32>>>> {
    let measured = |k: &&spc_ir::Keep| k.score.data().is_some();
    let Some(words) = r.keeps.iter().find(measured).and_then(|k| k.score.data()) else { return Ok(None) };
    let keeps = r.keeps.iter().filter(measured);
    let names: BTreeSet<&str> = keeps.flat_map(|k| &k.members).map(|m| m.weight.as_str()).collect();
    let (function, args) = call(source, r, words)?;
    let graph = source.dense_graph(&function)?;
    let mut cache = DataCache::default();
    let job = Job::new(s, source, &mut cache, graph, &args)?;
    let mut norms = InputNorms::default();
    let batches = job.batches();
    for (i, (from, to)) in (0u64..).zip(&batches) {
        s.progress.step("measuring inputs", i, batches.len() as u64);
        let mut inputs = job.batch(*from, *to);
        let mut shapes: BTreeMap<String, Vec<usize>> =
            inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
        let missing = crate::states::missing_states(graph, &shapes)?;
        shapes.extend(missing.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())));
        inputs.extend(missing);
        let syms = bind_syms(graph, &shapes)?;
        norms.add(graph, &syms, &inputs, weights, &names)?;
    }
    Ok(Some(norms.finish()))
}

/// The function that the data enters, and the members in the places of its parameters. `words` are `calib`,
/// `calib.image` or `calib.train.image`: a split that is named there replaces the run's own.
fn call(source: &Source, r: &Require, words: &str) -> Res<(String, Vec<(String, DataRef)>)> {
    let parts: Vec<&str> = words.split('.').collect();
    let name = parts.first().copied().unwrap_or_default();
    let data = source.module.data(name);
    let split = parts.get(1).filter(|p| data.is_some_and(|d| d.splits.iter().any(|(n, _)| n == *p)));
    let split = split.map(|p| (*p).to_string());
    let from_here = |args: &[(String, DataRef)]| !args.is_empty() && args.iter().all(|(_, a)| a.data == name);
    if let Some(run) = source.module.runs.iter().find(|run| from_here(&run.args)) {
        let mut args = run.args.clone();
        if split.is_some() {
            args.iter_mut().for_each(|(_, a)| a.split.clone_from(&split));
        }
        return Ok((run.function.clone(), args));
    }
    let span = source.module.requires.iter().find(|q| q.name == r.name).map(|q| q.span);
    let args_of = |g: &Graph| -> Option<Vec<(String, DataRef)>> {
        let states = crate::states::states(g);
        let inputs = g.named_inputs().into_iter().filter(|(n, _)| !states.contains(n));
        let one = |(n, _): (String, spc_ir::NodeId)| {
            data?.members.iter().find(|m| m.name == n)?;
            let r =
                DataRef { data: name.into(), split: split.clone(), member: n.clone(), span: span.unwrap_or_default() };
            Some((n, r))
        };
        inputs.map(one).collect()
    };
    let mut found =
        source.graphs.iter().filter_map(|(f, g)| Some((f.clone(), args_of(g)?))).filter(|(_, a)| !a.is_empty());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        _ => {
            let text = format!("it is not clear which function reads `{name}` for the score of `{}`", r.name);
            let d = Diagnostic::error(codes::SCORE_INPUT, text)
                .help(format!("say it in a run: `run measure {{ call: f({name}.MEMBER) }}`"));
            Err(match span {
                Some(span) => d.at(span, "measures inputs").into(),
                None => d.into(),
            })
        }
    }
}
