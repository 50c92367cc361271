//! Errors of spc as a Python exception.
use pyo3::exceptions::PyException;
use pyo3::types::PyAnyMethods;
use pyo3::{PyErr, Python, create_exception};

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
