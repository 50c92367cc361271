//! Errors of spc as a Python exception.
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use pyo3::{create_exception, intern};

create_exception!(
    _spc,
    Error,
    PyException,
    "What spc refuses. The text shows the words that it is about; `codes` are stable, `spc explain CODE` tells more."
);

/// The exception of an error: its text, `codes` and `exit_code`.
pub(crate) fn raise(py: Python<'_>, e: &spc::Error) -> PyErr {
    let err = Error::new_err(e.to_string());
    let value = err.value(py);
    let set = value.setattr("codes", e.codes().to_vec()).and_then(|()| value.setattr("exit_code", e.exit_code()));
    match set {
        Ok(()) => err,
        Err(other) => other,
    }
}

/// `ArrayError`: an [`Error`] that is a ValueError as well.
pub(crate) fn array_error<'py>(py: Python<'py>) -> PyResult<&'py Bound<'py, PyType>> {
    static KIND: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let make = || -> PyResult<Py<PyType>> {
        let bases = (py.get_type::<Error>(), py.get_type::<PyValueError>());
        let body = PyDict::new(py);
        body.set_item("__module__", "spc._spc")?;
        body.set_item(
            "__doc__",
            "An array that a call cannot use as it is; nothing has changed. `codes` as of `Error`.",
        )?;
        Ok(py.get_type::<PyType>().call1(("ArrayError", bases, body))?.cast_into::<PyType>()?.unbind())
    };
    KIND.get_or_try_init(py, make).map(|t| t.bind(py))
}

/// The exception of an array that cannot be used, with a code.
pub(crate) fn refused(py: Python<'_>, code: &str, text: &str) -> PyErr {
    let made = || -> PyResult<PyErr> {
        let value = array_error(py)?.call1((format!("error[{code}]: {text}"),))?;
        value.setattr(intern!(py, "codes"), [code])?;
        value.setattr(intern!(py, "exit_code"), 1)?;
        Ok(PyErr::from_value(value))
    };
    made().unwrap_or_else(|e| e)
}
