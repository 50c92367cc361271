//! Checked programs, and compiled ones that can be called.
use crate::arrays::{Borrowed, Target, kind, result};
use crate::error::raise;
use crate::update::UpdatePlan;
use numpy::PyReadonlyArrayDyn;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::path::PathBuf;

fn compiler(options: &Bound<'_, PyDict>) -> PyResult<spc::Compiler> {
    let mut c = spc::Compiler::new();
    for (key, value) in options {
        let key: String = key.extract()?;
        if value.is_none() {
            continue;
        }
        c = match key.as_str() {
            "threads" => c.threads(value.extract()?),
            "interpret" => c.interpret(value.extract()?),
            "target" => c.target(&value.extract::<String>()?),
            "base" => c.base(value.extract::<PathBuf>()?),
            "std" => c.std(value.extract::<PathBuf>()?),
            "plan" => c.plan_file(value.extract::<PathBuf>()?),
            "functions" => value.extract::<Vec<String>>()?.iter().fold(c, |c, f| c.function(f)),
            "dense" if value.extract()? => c.dense(),
            "dense" => c,
            "isa" => c.isa(isa(&value.extract::<String>()?)?),
            _ => return Err(PyTypeError::new_err(format!("there is no option `{key}`"))),
        };
    }
    Ok(c)
}

fn isa(name: &str) -> PyResult<spc::Isa> {
    let found = spc::Isa::ALL.into_iter().find(|i| i.name() == name);
    found.ok_or_else(|| {
        let all: Vec<&str> = spc::Isa::ALL.iter().map(|i| i.name()).collect();
        PyValueError::new_err(format!("there is no instruction set `{name}`; known: {}", all.join(", ")))
    })
}

/// Checks a program: `path` of a `.sp` file, or its `text`.
#[pyfunction]
#[pyo3(signature = (path, text, options))]
pub fn compile(
    py: Python<'_>,
    path: Option<PathBuf>,
    text: Option<String>,
    options: &Bound<'_, PyDict>,
) -> PyResult<Checked> {
    let c = compiler(options)?;
    let done = match (path, text) {
        (Some(path), None) => py.detach(|| c.compile_file(path)),
        (None, Some(text)) => py.detach(|| c.compile_str(&text)),
        _ => return Err(PyTypeError::new_err("a program is given as a path or as `text=`")),
    };
    done.map(|c| Checked { inner: Some(c) }).map_err(|e| raise(py, &e))
}

/// Loads a folder that `spc compile -o` wrote.
#[pyfunction]
pub fn load_folder(py: Python<'_>, path: PathBuf, options: &Bound<'_, PyDict>) -> PyResult<Program> {
    let c = compiler(options)?;
    py.detach(|| c.load(path)).map(|inner| Program { inner }).map_err(|e| raise(py, &e))
}

/// A program that passed its checks and may still lack weights.
#[pyclass]
pub struct Checked {
    /// None after `build`.
    inner: Option<spc::Checked>,
}

fn built() -> PyErr {
    PyValueError::new_err("this program was built already")
}

impl Checked {
    fn get(&self) -> PyResult<&spc::Checked> {
        self.inner.as_ref().ok_or_else(built)
    }
}

#[pymethods]
impl Checked {
    /// Names and shapes of the weights.
    fn weights(&self) -> PyResult<Vec<(String, Vec<usize>)>> {
        Ok(self.get()?.weights().into_iter().map(|(n, s)| (n.to_string(), s)).collect())
    }

    /// What each `require` and `penalize` does during training, a line each.
    fn rules(&self) -> PyResult<Vec<String>> {
        Ok(self.get()?.rules())
    }

    /// Gives a weight its values; they are copied.
    fn bind(&mut self, py: Python<'_>, name: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(a) = values.extract::<PyReadonlyArrayDyn<'_, f32>>() else {
            let text = format!("`{name}` is bound to {}, not to an array of float32", kind(values));
            return Err(PyTypeError::new_err(text));
        };
        let c = self.inner.as_mut().ok_or_else(built)?;
        c.set(name, a.as_array()).map_err(|e| raise(py, &e))
    }

    /// Takes the weights of a model from a safetensors file.
    fn bind_file(&mut self, model: &str, path: PathBuf) -> PyResult<()> {
        let c = self.inner.take().ok_or_else(built)?;
        self.inner = Some(c.bind_file(model, path));
        Ok(())
    }

    /// Applies every constraint, chooses layouts and compiles.
    fn build(&mut self, py: Python<'_>) -> PyResult<Program> {
        let c = self.inner.take().ok_or_else(built)?;
        py.detach(|| c.build()).map(|inner| Program { inner }).map_err(|e| raise(py, &e))
    }

    /// Compiles the constraints and penalties for a training run. `ties`: pairs of names, of which the first is the same array
    /// as the second.
    fn update_plan(
        &self,
        py: Python<'_>,
        optimiser: &Bound<'_, PyDict>,
        steps: u64,
        ties: Vec<(String, String)>,
    ) -> PyResult<UpdatePlan> {
        UpdatePlan::new(py, self.get()?, optimiser, steps, &ties)
    }
}

/// A compiled program with its weights.
#[pyclass(frozen)]
pub struct Program {
    inner: spc::Program,
}

#[pymethods]
impl Program {
    fn functions(&self) -> Vec<String> {
        self.inner.functions().map(str::to_string).collect()
    }

    /// Inputs of a function with their types: `("x", "f32[B=?B, I=64]")`.
    fn inputs(&self, function: &str) -> Vec<(String, String)> {
        self.inner.inputs(function)
    }

    /// Results of a function in declared order, with their types.
    fn results(&self, function: &str) -> Vec<(String, String)> {
        self.inner.results(function)
    }

    /// The chosen layouts, as the text of a `plan.json`.
    fn plan(&self) -> &str {
        self.inner.plan()
    }

    /// Warnings of the compilation.
    fn warnings(&self) -> Vec<String> {
        self.inner.warnings().to_vec()
    }

    /// Calls a function on arrays by name; gives pairs of name and array. Results that `out` names are written to its arrays.
    fn call<'py>(
        &self,
        py: Python<'py>,
        function: &str,
        inputs: &Bound<'py, PyDict>,
        out: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut borrowed = Vec::new();
        for (name, array) in inputs {
            let name: String = name.extract()?;
            borrowed.push((Borrowed::of(&name, &array)?, name));
        }
        let held: Vec<_> = borrowed.iter().map(|(a, n)| (a.held(), n.as_str())).collect();
        let mut places = Vec::new();
        for (name, array) in out {
            let name: String = name.extract()?;
            places.push((name.clone(), Target::of(py, &name, &array)?));
        }
        let mut into: Vec<_> = places.iter_mut().map(|(n, a)| (n.as_str(), a.held())).collect();
        let done = py.detach(|| {
            let given: Vec<(&str, &dyn spc::Input)> = held.iter().map(|(a, n)| (*n, a.input())).collect();
            let mut into: Vec<(&str, &mut dyn spc::Output)> = into.iter_mut().map(|(n, a)| (*n, a.output())).collect();
            self.inner.call_into(function, &given, &mut into)
        });
        let mut all = done.map_err(|e| raise(py, &e))?;
        let names: Vec<String> = all.names().map(str::to_string).collect();
        let found = names.into_iter().map(|n| Ok((n.clone(), result(py, &mut all, &n)?)));
        PyList::new(py, found.collect::<PyResult<Vec<_>>>()?)
    }
}
