//! numpy arrays as arrays of spc, and back.
use ndarray::{ArrayD, ArrayViewD};
use numpy::{
    BorrowError, Element, IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// An array that a call reads, borrowed for as long.
pub(crate) enum Borrowed<'py> {
    F32(PyReadonlyArrayDyn<'py, f32>),
    I32(PyReadonlyArrayDyn<'py, i32>),
    Bool(PyReadonlyArrayDyn<'py, bool>),
}

/// What such an array holds, for a thread without Python's lock.
pub(crate) enum Held<'a> {
    F32(ArrayViewD<'a, f32>),
    I32(ArrayViewD<'a, i32>),
    Bool(ArrayViewD<'a, bool>),
}

impl<'py> Borrowed<'py> {
    /// Of a numpy array of float32, int32 or bool, in any order of memory.
    pub fn of(name: &str, given: &Bound<'py, PyAny>) -> PyResult<Borrowed<'py>> {
        if let Ok(a) = given.extract() {
            return Ok(Borrowed::F32(a));
        }
        if let Ok(a) = given.extract() {
            return Ok(Borrowed::I32(a));
        }
        if let Ok(a) = given.extract() {
            return Ok(Borrowed::Bool(a));
        }
        let text = format!("`{name}` is no array of float32, int32 or bool but {}", kind(given));
        Err(PyTypeError::new_err(text))
    }

    pub fn held(&self) -> Held<'_> {
        match self {
            Borrowed::F32(a) => Held::F32(a.as_array()),
            Borrowed::I32(a) => Held::I32(a.as_array()),
            Borrowed::Bool(a) => Held::Bool(a.as_array()),
        }
    }
}

impl Held<'_> {
    pub fn input(&self) -> &dyn spc::Input {
        match self {
            Held::F32(a) => a,
            Held::I32(a) => a,
            Held::Bool(a) => a,
        }
    }
}

/// What a value is, for a message.
pub(crate) fn kind(x: &Bound<'_, PyAny>) -> String {
    match x.getattr("dtype") {
        Ok(t) => format!("an array of {t}"),
        Err(_) => x.get_type().name().map_or_else(|_| "something else".into(), |n| n.to_string()),
    }
}

/// The array of a result, taken out of them.
pub(crate) fn result<'py>(py: Python<'py>, all: &mut spc::Results, name: &str) -> PyResult<Bound<'py, PyAny>> {
    fn own<'py, T: Element>(py: Python<'py>, a: ArrayD<T>) -> Bound<'py, PyAny> {
        a.into_pyarray(py).into_any()
    }
    if let Some(a) = all.take_f32(name) {
        return Ok(own(py, a));
    }
    if let Some(a) = all.take_i32(name) {
        return Ok(own(py, a));
    }
    let found = all.take_bool(name).map(|a| own(py, a));
    found.ok_or_else(|| PyValueError::new_err(format!("there is no result `{name}`")))
}

fn float32<'a, 'py>(name: &str, given: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyArrayDyn<f32>>> {
    let wrong = |_| PyTypeError::new_err(format!("`{name}` is no array of float32 but {}", kind(given)));
    given.cast::<PyArrayDyn<f32>>().map_err(wrong)
}

fn contiguous(name: &str, yes: bool) -> PyResult<()> {
    let wrong = || PyValueError::new_err(format!("`{name}` is not C-contiguous: pass `numpy.ascontiguousarray` of it"));
    if yes { Ok(()) } else { Err(wrong()) }
}

/// float32 arrays by name, to be read. They are borrowed, not copied.
pub(crate) struct Read<'py>(Vec<(String, PyReadonlyArrayDyn<'py, f32>)>);

impl<'py> Read<'py> {
    /// # Errors
    /// TypeError for something that is no float32 array, ValueError for one that is not C-contiguous.
    pub fn of(given: &Bound<'py, PyDict>, plan: &[(String, Vec<usize>)]) -> PyResult<Read<'py>> {
        let one = |(name, array): (Bound<'py, PyAny>, Bound<'py, PyAny>)| {
            let name: String = name.extract()?;
            let array = float32(&name, &array)?;
            same_shape(&name, array.shape(), plan)?;
            let shared =
                |_| PyValueError::new_err(format!("`{name}` shares memory with an array that is changed here"));
            let a = array.try_readonly().map_err(shared)?;
            contiguous(&name, array.is_c_contiguous())?;
            Ok((name, a))
        };
        given.iter().map(one).collect::<PyResult<_>>().map(Read)
    }

    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.0.iter().map(|(n, a)| (n.as_str(), a.shape()))
    }

    pub fn slices(&self) -> PyResult<Vec<(&str, &[f32])>> {
        self.0.iter().map(|(n, a)| Ok((n.as_str(), a.as_slice()?))).collect()
    }
}

/// float32 arrays by name, to be changed in place.
pub(crate) struct Write<'py>(Vec<(String, PyReadwriteArrayDyn<'py, f32>)>);

impl<'py> Write<'py> {
    /// # Errors
    /// TypeError for something that is no float32 array; ValueError for one that is read-only, that shares memory with
    /// another one, or that is not C-contiguous.
    pub fn of(given: &Bound<'py, PyDict>, plan: &[(String, Vec<usize>)]) -> PyResult<Write<'py>> {
        let one = |(name, array): (Bound<'py, PyAny>, Bound<'py, PyAny>)| {
            let name: String = name.extract()?;
            let array = float32(&name, &array)?;
            same_shape(&name, array.shape(), plan)?;
            let refused = |e| {
                let why = match e {
                    BorrowError::NotWriteable => "is read-only",
                    _ => "shares memory with another array that is used here",
                };
                PyValueError::new_err(format!("`{name}` {why}"))
            };
            let a = array.try_readwrite().map_err(refused)?;
            contiguous(&name, array.is_c_contiguous())?;
            Ok((name, a))
        };
        given.iter().map(one).collect::<PyResult<_>>().map(Write)
    }

    pub fn slices(&mut self) -> PyResult<Vec<(&str, &mut [f32])>> {
        self.0.iter_mut().map(|(n, a)| Ok((n.as_str(), a.as_slice_mut()?))).collect()
    }
}

/// An array has the shape that the plan declares; names are looked at elsewhere.
fn same_shape(name: &str, shape: &[usize], plan: &[(String, Vec<usize>)]) -> PyResult<()> {
    match plan.iter().find(|(n, _)| n == name) {
        Some((_, want)) if want != shape => {
            let text = format!("`{name}` has the shape {shape:?}, and the program declares {want:?}");
            Err(PyValueError::new_err(text))
        }
        _ => Ok(()),
    }
}
