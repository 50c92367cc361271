//! The extension module `spc._spc`: the embedding API of spc with arrays of numpy and, by DLPack, of others. `python/spc/__init__.py` is its face.
//!
//! Errors of spc are the Python exception `Error`, whose text is what the command would show. Long work runs without the
//! interpreter's lock.

mod arrays;
mod dlpack;
mod error;
mod lending;
mod program;
mod update;
mod weights;

#[pyo3::pymodule]
mod _spc {
    #[pymodule_export]
    use crate::error::Error;
    #[pymodule_export]
    use crate::program::{Checked, Program, compile, load_folder};
    #[pymodule_export]
    use crate::update::{State, UpdatePlan};
    #[pymodule_export]
    use crate::weights::write_weights;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        m.add("ArrayError", crate::error::array_error(m.py())?)
    }
}
