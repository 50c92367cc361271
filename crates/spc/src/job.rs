//! The inputs of a job: data members in the places of parameters, in batches that fit the row axis.
use crate::data::DataCache;
use crate::engine::{Engine, Inputs, Outputs};
use crate::failure::Res;
use crate::load::Source;
use crate::session::Session;
use crate::tensors::{join, move_rows, slice, value};
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::{Graph, Size, SymId, Type};
use spc_sema::{DataMember, DataRef};
use std::collections::BTreeMap;

/// Inputs of one call on a data source. `rows` counts the rows of the data.
#[derive(Clone, Debug)]
pub struct Job {
    pub inputs: Inputs,
    /// Position of the row axis in each input.
    places: BTreeMap<String, usize>,
    /// The free axis that the rows bind to, its name and range.
    pub axis: SymId,
    pub name: String,
    range: (u64, u64),
    pub rows: usize,
}

/// The dimension of a parameter that takes the rows of a member: the one whose removal leaves the member's axes.
fn row_axis(ty: &Type, member: &DataMember) -> Option<(usize, SymId)> {
    (0..ty.rank()).find_map(|i| {
        let mut rest: Vec<&str> = ty.dims.iter().map(|d| d.axis.as_str()).collect();
        rest.remove(i);
        let fits = rest.iter().eq(member.dims.iter().map(|d| &d.axis));
        match ty.dims[i].size {
            Size::Free(sym) if fits => Some((i, sym)),
            _ => None,
        }
    })
}

impl Job {
    /// Reads the members that `args` names.
    pub fn new(
        s: &mut Session<'_>,
        source: &Source,
        cache: &mut DataCache,
        graph: &Graph,
        args: &[(String, DataRef)],
    ) -> Res<Job> {
        let params = graph.named_inputs();
        let mut job = Job {
            inputs: Inputs::new(),
            places: BTreeMap::new(),
            axis: SymId(0),
            name: String::new(),
            range: (0, u64::MAX),
            rows: 0,
        };
        for (i, (param, r)) in args.iter().enumerate() {
            let node = params.iter().find(|(n, _)| n == param).map(|(_, n)| *n);
            let ty = graph.ty(node.ok_or_else(|| Bug::new(format!("no parameter {param}")))?)?;
            let member = source.module.data(&r.data).and_then(|d| d.members.iter().find(|m| m.name == r.member));
            let member = member.ok_or_else(|| Bug::new(format!("no member {}.{}", r.data, r.member)))?;
            let (place, sym) = row_axis(ty, member).ok_or_else(|| {
                let text = format!("`{param}` takes a whole data member, without rows: checked, but not run yet");
                Diagnostic::error(codes::NOT_YET, text).at(r.span, "not built yet")
            })?;
            let tensor = cache.member(s, source, r)?;
            let rows = tensor.shape().first().copied().unwrap_or(0);
            if i == 0 {
                let axis = graph.sym(sym)?;
                (job.axis, job.rows, job.name, job.range) = (sym, rows, axis.name.clone(), (axis.lo, axis.hi));
            } else if sym != job.axis || rows != job.rows {
                let text = format!("`{param}` has {rows} rows along `{}`", graph.sym(sym)?.name);
                return Err(Diagnostic::error(codes::DATA, text)
                    .at(r.span, format!("the first argument has {} along `{}`", job.rows, job.name))
                    .into());
            }
            job.inputs.insert(param.clone(), move_rows(value(&tensor)?, place));
            job.places.insert(param.clone(), place);
        }
        if (job.rows as u64) < job.range.0.max(1) {
            let text = format!(
                "the data has {} rows, and the axis `{}` is at least {}",
                job.rows,
                job.name,
                job.range.0.max(1)
            );
            return Err(Diagnostic::error(codes::DATA, text).into());
        }
        Ok(job)
    }

    /// Where each result carries the row axis, in the order of the graph's outputs.
    fn result_places(&self, graph: &Graph) -> Result<Vec<Option<usize>>, Bug> {
        let place = |ty: &Type| {
            let mut found = ty.dims.iter().enumerate().filter(|(_, d)| d.size == Size::Free(self.axis));
            match (found.next(), found.next()) {
                (Some((i, _)), None) => Some(i),
                _ => None,
            }
        };
        graph.outputs.iter().map(|(_, o)| graph.ty(*o).map(place)).collect()
    }

    /// The position of the row axis in the first result.
    pub fn result_rows(&self, graph: &Graph) -> Result<Option<usize>, Bug> {
        Ok(self.result_places(graph)?.first().copied().flatten())
    }

    /// Inputs of at most as many rows as the axis allows: `from..to` of all rows.
    pub fn batch(&self, from: usize, to: usize) -> Inputs {
        let cut =
            |(name, v): (&String, _)| (name.clone(), slice(v, self.places.get(name).copied().unwrap_or(0), from, to));
        self.inputs.iter().map(cut).collect()
    }

    /// Ends of the batches: as few as the axis allows, of nearly equal size.
    pub fn batches(&self) -> Vec<(usize, usize)> {
        let most = usize::try_from(self.range.1).unwrap_or(usize::MAX).max(1);
        let n = self.rows.div_ceil(most).max(1);
        (0..n).map(|i| (self.rows * i / n, self.rows * (i + 1) / n)).collect()
    }

    /// Calls the function on all rows, in batches where the axis is shorter than the data.
    pub fn call(&self, s: &Session<'_>, engine: &Engine, graph: &Graph, task: &str) -> Res<Outputs> {
        let batches = self.batches();
        if let [_] = batches[..] {
            return engine.call(&self.inputs);
        }
        let places = self.result_places(graph)?;
        if places.iter().any(Option::is_none) {
            let text = format!(
                "the data has {} rows, the axis `{}` holds at most {}, and the results do not carry it, so it cannot be \
                 computed in parts",
                self.rows, self.name, self.range.1
            );
            return Err(Diagnostic::error(codes::DATA, text).into());
        }
        let mut parts: Vec<Outputs> = Vec::new();
        for (i, (from, to)) in (0u64..).zip(&batches) {
            s.progress.step(task, i, batches.len() as u64);
            parts.push(engine.call(&self.batch(*from, *to))?);
        }
        let mut out = Vec::new();
        for (i, ((name, _), place)) in graph.outputs.iter().zip(places).enumerate() {
            let values: Vec<_> = parts.iter_mut().map(|p| p[i].1.clone()).collect();
            out.push((name.clone(), join(&values, place.unwrap_or(0))?));
        }
        Ok(out)
    }
}
