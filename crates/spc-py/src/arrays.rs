//! Arrays of numpy, and of other libraries by DLPack, as arrays of spc, and back.
use crate::dlpack::Lent;
use crate::error::refused;
use crate::lending::Loan;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use numpy::{
    BorrowError, Element, IntoPyArray, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods,
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

/// An array that a call writes a result to, borrowed for as long.
pub(crate) enum Target<'py> {
    F32(PyReadwriteArrayDyn<'py, f32>),
    I32(PyReadwriteArrayDyn<'py, i32>),
}

/// What such an array holds, for a thread without Python's lock.
pub(crate) enum HeldMut<'a> {
    F32(ArrayViewMutD<'a, f32>),
    I32(ArrayViewMutD<'a, i32>),
}

impl<'py> Target<'py> {
    /// Of a numpy array of float32 or int32, in any order of memory.
    ///
    /// # Errors
    /// TypeError for something else; SP0504 for one that is read-only or that this call reads, too.
    pub fn of(py: Python<'py>, name: &str, given: &Bound<'py, PyAny>) -> PyResult<Target<'py>> {
        let no = |e: BorrowError| {
            let read_only = matches!(e, BorrowError::NotWriteable);
            let why = if read_only { "is read-only" } else { "shares memory with an array that is read here" };
            refused(py, "SP0504", &format!("`{name}` {why}"))
        };
        if let Ok(a) = given.cast::<PyArrayDyn<f32>>() {
            return Ok(Target::F32(a.try_readwrite().map_err(no)?));
        }
        if let Ok(a) = given.cast::<PyArrayDyn<i32>>() {
            return Ok(Target::I32(a.try_readwrite().map_err(no)?));
        }
        let text = format!("out for `{name}` is no array of float32 or int32 but {}", kind(given));
        Err(PyTypeError::new_err(text))
    }

    pub fn held(&mut self) -> HeldMut<'_> {
        match self {
            Target::F32(a) => HeldMut::F32(a.as_array_mut()),
            Target::I32(a) => HeldMut::I32(a.as_array_mut()),
        }
    }
}

impl HeldMut<'_> {
    pub fn output(&mut self) -> &mut dyn spc::Output {
        match self {
            HeldMut::F32(a) => a,
            HeldMut::I32(a) => a,
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

/// float32 values of a caller, borrowed, and the loan of their memory.
enum Source<'py> {
    /// To be read.
    Read(PyReadonlyArrayDyn<'py, f32>),
    /// To be changed.
    Write(PyReadwriteArrayDyn<'py, f32>),
    Lent(Lent<'py>),
}

struct Array<'py> {
    name: String,
    shape: Vec<usize>,
    source: Source<'py>,
    _loan: Loan,
}

impl<'py> Array<'py> {
    /// # Errors
    /// TypeError for something that is no float32 array; the code SP0404 for one of another shape, SP0504 for one that is not on the CPU,
    /// not C-contiguous, in use by another call or as another array of this one, or read-only where it is to be changed.
    fn of(
        name: String,
        given: &Bound<'py, PyAny>,
        plan: &[(String, Vec<usize>)],
        changed: bool,
    ) -> PyResult<Array<'py>> {
        let py = given.py();
        let no = |why: &str| refused(py, "SP0504", &format!("`{name}` {why}"));
        const SHARES: &str = "shares memory with another array that is used here";
        let (source, shape, from, bytes) = if let Ok(a) = given.cast::<PyArrayDyn<f32>>() {
            let shape = a.shape().to_vec();
            same_shape(py, &name, &shape, plan)?;
            let (from, bytes) = (a.data() as usize, 4 * a.len());
            let source = if changed {
                let refused = |e| no(if matches!(e, BorrowError::NotWriteable) { "is read-only" } else { SHARES });
                Source::Write(a.try_readwrite().map_err(refused)?)
            } else {
                Source::Read(a.try_readonly().map_err(|_| no(SHARES))?)
            };
            if !a.is_c_contiguous() {
                return Err(no("is not C-contiguous: pass `numpy.ascontiguousarray` of it"));
            }
            (source, shape, from, bytes)
        } else if given.cast::<PyUntypedArray>().is_err() && Lent::is_spoken_by(given) {
            let lent = Lent::of(&name, given)?;
            let shape = lent.shape().to_vec();
            same_shape(py, &name, &shape, plan)?;
            if changed && lent.read_only {
                return Err(no("is read-only"));
            }
            let (from, bytes) = (lent.address(), lent.bytes());
            (Source::Lent(lent), shape, from, bytes)
        } else {
            return Err(PyTypeError::new_err(format!("`{name}` is no array of float32 but {}", kind(given))));
        };
        let loan = Loan::of(from, bytes, changed).ok_or_else(|| no(SHARES))?;
        Ok(Array { name, shape, source, _loan: loan })
    }

    fn all(given: &Bound<'py, PyDict>, plan: &[(String, Vec<usize>)], changed: bool) -> PyResult<Vec<Array<'py>>> {
        given.iter().map(|(name, a)| Array::of(name.extract()?, &a, plan, changed)).collect()
    }

    fn slice(&self) -> PyResult<(&str, &[f32])> {
        let values = match &self.source {
            Source::Read(v) => v.as_slice()?,
            Source::Write(v) => v.as_slice()?,
            Source::Lent(v) => v.slice(),
        };
        Ok((&self.name, values))
    }

    fn slice_mut(&mut self) -> PyResult<(&str, &mut [f32])> {
        let values = match &mut self.source {
            Source::Read(_) => return Err(PyValueError::new_err(format!("`{}` is read-only", self.name))),
            Source::Write(v) => v.as_slice_mut()?,
            Source::Lent(v) => v.slice_mut(),
        };
        Ok((&self.name, values))
    }
}

/// float32 arrays by name, to be read. They are borrowed, not copied.
pub(crate) struct Read<'py>(Vec<Array<'py>>);

impl<'py> Read<'py> {
    /// # Errors
    /// Those of [`Array::of`].
    pub fn of(given: &Bound<'py, PyDict>, plan: &[(String, Vec<usize>)]) -> PyResult<Read<'py>> {
        Array::all(given, plan, false).map(Read)
    }

    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.0.iter().map(|a| (a.name.as_str(), &a.shape[..]))
    }

    pub fn slices(&self) -> PyResult<Vec<(&str, &[f32])>> {
        self.0.iter().map(Array::slice).collect()
    }
}

/// float32 arrays by name, to be changed in place.
pub(crate) struct Write<'py>(Vec<Array<'py>>);

impl<'py> Write<'py> {
    /// # Errors
    /// Those of [`Array::of`].
    pub fn of(given: &Bound<'py, PyDict>, plan: &[(String, Vec<usize>)]) -> PyResult<Write<'py>> {
        Array::all(given, plan, true).map(Write)
    }

    pub fn slices(&mut self) -> PyResult<Vec<(&str, &mut [f32])>> {
        self.0.iter_mut().map(Array::slice_mut).collect()
    }
}

/// An array has the shape that the plan declares; names are looked at elsewhere.
fn same_shape(py: Python<'_>, name: &str, shape: &[usize], plan: &[(String, Vec<usize>)]) -> PyResult<()> {
    match plan.iter().find(|(n, _)| n == name) {
        Some((_, want)) if want != shape => {
            let text = format!("`{name}` has the shape {shape:?}, and the program declares {want:?}");
            Err(refused(py, "SP0404", &text))
        }
        _ => Ok(()),
    }
}
