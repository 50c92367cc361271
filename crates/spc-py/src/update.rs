//! Training runs: parameters are changed in place.
use crate::arrays::{Read, Write};
use crate::error::raise;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn optimiser(options: &Bound<'_, PyDict>) -> PyResult<spc::Optimiser> {
    let number = |key: &str, default: f64| match options.get_item(key)? {
        Some(x) => x.extract::<f64>(),
        None => Ok(default),
    };
    let name: String =
        options.get_item("name")?.ok_or_else(|| PyTypeError::new_err("an optimiser has a name"))?.extract()?;
    match name.as_str() {
        "sgd" => {
            let (momentum, weight_decay) = (number("momentum", 0.0)?, number("weight_decay", 0.0)?);
            Ok(spc::Optimiser::Sgd { momentum, weight_decay })
        }
        "adamw" => {
            let (beta1, beta2) = (number("beta1", 0.9)?, number("beta2", 0.999)?);
            let (eps, weight_decay) = (number("eps", 1e-8)?, number("weight_decay", 0.0)?);
            Ok(spc::Optimiser::AdamW { beta1, beta2, eps, weight_decay })
        }
        "outside" => {
            let square = match options.contains("beta2")? {
                true => Some((number("beta2", 0.0)?, number("eps", 0.0)?)),
                false => None,
            };
            Ok(spc::Optimiser::Outside { moments: number("moments", 0.0)? as usize, square })
        }
        other => Err(PyValueError::new_err(format!("there is no optimiser `{other}`; known: sgd, adamw"))),
    }
}

fn named(rates: &BTreeMap<String, f32>) -> Vec<(&str, f32)> {
    rates.iter().map(|(n, r)| (n.as_str(), *r)).collect()
}

/// The constraints and penalties of a program, compiled for runs of one length.
#[pyclass(frozen)]
pub struct UpdatePlan {
    inner: spc::UpdatePlan,
    shapes: Vec<(String, Vec<usize>)>,
}

/// The memory of a run.
#[pyclass]
pub struct State {
    inner: spc::UpdateState,
}

/// What lines of a run are compared with.
#[pyclass]
pub struct RunLog {
    inner: spc::RunLog,
}

impl UpdatePlan {
    pub fn new(
        py: Python<'_>,
        checked: &spc::Checked,
        options: &Bound<'_, PyDict>,
        steps: u64,
        ties: &[(String, String)],
    ) -> PyResult<UpdatePlan> {
        let optimiser = optimiser(options)?;
        let ties: Vec<(&str, &str)> = ties.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let inner = checked.update_plan_tied(optimiser, steps, &ties).map_err(|e| raise(py, &e))?;
        let shapes = inner.shapes().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
        Ok(UpdatePlan { inner, shapes })
    }
}

#[pymethods]
impl UpdatePlan {
    /// Names and shapes of the parameters.
    fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.shapes.clone()
    }

    /// Why steps are interpreted; None: they are compiled.
    fn interpreted(&self) -> Option<&str> {
        self.inner.interpreted()
    }

    /// Begins a run: `params` become what the program reads in the first step.
    fn start(&self, py: Python<'_>, params: &Bound<'_, PyDict>) -> PyResult<State> {
        let mut params = Write::of(params, &self.shapes)?;
        let mut params = params.slices()?;
        let done = py.detach(|| self.inner.start(&mut params));
        done.map(|inner| State { inner }).map_err(|e| raise(py, &e))
    }

    /// Projects the weights on every constraint, in place.
    fn project(&self, py: Python<'_>, params: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut params = Write::of(params, &self.shapes)?;
        let mut params = params.slices()?;
        py.detach(|| self.inner.project(&mut params)).map_err(|e| raise(py, &e))
    }

    /// Takes step `step`, with the rate of each parameter. Gives what observers saw: (rule, name, value).
    fn update(
        &self,
        py: Python<'_>,
        step: u64,
        params: &Bound<'_, PyDict>,
        grads: &Bound<'_, PyDict>,
        rates: BTreeMap<String, f32>,
        state: &mut State,
    ) -> PyResult<Vec<(String, String, f64)>> {
        let (mut params, grads) = (Write::of(params, &self.shapes)?, Read::of(grads, &self.shapes)?);
        let (mut params, grads) = (params.slices()?, grads.slices()?);
        let rates = named(&rates);
        let done = py.detach(|| self.inner.update_each(step, &mut params, &grads, &rates, &mut state.inner));
        let seen = done.map_err(|e| raise(py, &e))?;
        Ok(seen.into_iter().map(|o| (o.rule, o.name, o.value)).collect())
    }

    /// Begins a log at these parameters.
    fn log(&self, py: Python<'_>, params: &Bound<'_, PyDict>) -> PyResult<RunLog> {
        let params = Read::of(params, &self.shapes)?;
        let inner = self.inner.log(&params.slices()?).map_err(|e| raise(py, &e))?;
        Ok(RunLog { inner })
    }

    /// A line of JSON about the run as it is now.
    fn log_line(
        &self,
        py: Python<'_>,
        log: &mut RunLog,
        params: &Bound<'_, PyDict>,
        state: &State,
        seen: Vec<(String, String, f64)>,
    ) -> PyResult<String> {
        let params = Read::of(params, &self.shapes)?;
        let params = params.slices()?;
        let seen: Vec<spc::Observed> =
            seen.into_iter().map(|(rule, name, value)| spc::Observed { rule, name, value }).collect();
        let done = py.detach(|| self.inner.log_line(&mut log.inner, &params, &state.inner, &seen));
        done.map_err(|e| raise(py, &e))
    }

    /// Whether a rule changes the gradient of a parameter, so that `before` needs room for it.
    fn maps_gradient(&self, name: &str) -> bool {
        self.inner.maps_gradient(name)
    }

    /// The first half of a step around the caller's optimiser: `params` become the weights, `mapped` their gradients.
    fn before(
        &self,
        py: Python<'_>,
        step: u64,
        params: &Bound<'_, PyDict>,
        grads: &Bound<'_, PyDict>,
        mapped: &Bound<'_, PyDict>,
        state: &mut State,
    ) -> PyResult<()> {
        let (mut params, grads) = (Write::of(params, &self.shapes)?, Read::of(grads, &self.shapes)?);
        let mut mapped = Write::of(mapped, &self.shapes)?;
        let (mut params, grads, mut mapped) = (params.slices()?, grads.slices()?, mapped.slices()?);
        let done = py.detach(|| self.inner.before(step, &mut params, &grads, &mut mapped, &mut state.inner));
        done.map_err(|e| raise(py, &e))
    }

    /// The second half: `params` as the optimiser has moved them become what the program reads next. `moments` are lists of
    /// dicts by name, as many as the plan was made for.
    #[expect(clippy::too_many_arguments)]
    fn after(
        &self,
        py: Python<'_>,
        step: u64,
        params: &Bound<'_, PyDict>,
        grads: &Bound<'_, PyDict>,
        moments: Vec<Bound<'_, PyDict>>,
        rates: BTreeMap<String, f32>,
        state: &mut State,
    ) -> PyResult<Vec<(String, String, f64)>> {
        let (mut params, grads) = (Write::of(params, &self.shapes)?, Read::of(grads, &self.shapes)?);
        let mut moments = moments.iter().map(|m| Write::of(m, &self.shapes)).collect::<PyResult<Vec<_>>>()?;
        let (mut params, grads) = (params.slices()?, grads.slices()?);
        let mut given: Vec<(&str, Vec<&mut [f32]>)> = Vec::new();
        for m in &mut moments {
            for (name, v) in m.slices()? {
                match given.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, list)) => list.push(v),
                    None => given.push((name, vec![v])),
                }
            }
        }
        let rates = named(&rates);
        let done = py.detach(|| self.inner.after_each(step, &mut params, &grads, &mut given, &rates, &mut state.inner));
        let seen = done.map_err(|e| raise(py, &e))?;
        Ok(seen.into_iter().map(|o| (o.rule, o.name, o.value)).collect())
    }

    /// The state as the bytes of a safetensors file.
    fn save<'py>(&self, py: Python<'py>, state: &State) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.inner.save(&state.inner).map_err(|e| raise(py, &e))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The state from such a file.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<State> {
        self.inner.load(path).map(|inner| State { inner }).map_err(|e| raise(py, &e))
    }
}
