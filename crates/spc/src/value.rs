//! Arrays that go into calls and come out of them.
use crate::engine::Outputs;
use crate::failure::Res;
use ndarray::{ArrayBase, ArrayD, ArrayViewD, ArrayViewMutD, CowArray, Data, DataMut, Dimension, IxDyn};
use spc_base::{Bug, Diagnostic, codes};
use spc_interp::Value;
use spc_ir::DType;
use spc_kernel::{Slice, SliceMut};
use std::collections::BTreeMap;

/// Values of one call by parameter, borrowed.
pub(crate) type Given<'a> = BTreeMap<String, View<'a>>;

/// An array that a call reads. One that is row-major in memory is read where it lies, another one is copied first.
#[derive(Clone, Debug)]
pub enum View<'a> {
    F(CowArray<'a, f32, IxDyn>),
    I(CowArray<'a, i32, IxDyn>),
    B(CowArray<'a, bool, IxDyn>),
}

impl<'a> View<'a> {
    pub(crate) fn of(value: &'a Value<f32>) -> View<'a> {
        match value {
            Value::F(a) => View::F(a.as_standard_layout()),
            Value::I(a) => View::I(a.as_standard_layout()),
            Value::B(a) => View::B(a.as_standard_layout()),
        }
    }

    pub(crate) fn owned(value: Value<f32>) -> View<'a> {
        match value {
            Value::F(a) => View::F(CowArray::from(a)),
            Value::I(a) => View::I(CowArray::from(a)),
            Value::B(a) => View::B(CowArray::from(a)),
        }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            View::F(a) => a.shape(),
            View::I(a) => a.shape(),
            View::B(a) => a.shape(),
        }
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            View::F(_) => DType::F32,
            View::I(_) => DType::I32,
            View::B(_) => DType::Bool,
        }
    }

    /// The elements in row-major order.
    pub(crate) fn slice(&self) -> Option<Slice<'_>> {
        match self {
            View::F(a) => a.as_slice().map(Slice::F32),
            View::I(a) => a.as_slice().map(Slice::I32),
            View::B(a) => a.as_slice().map(Slice::Bool),
        }
    }

    pub(crate) fn to_value(&self) -> Value<f32> {
        match self {
            View::F(a) => Value::F(a.to_owned()),
            View::I(a) => Value::I(a.to_owned()),
            View::B(a) => Value::B(a.to_owned()),
        }
    }
}

/// Memory of the caller's for results, by their names.
pub(crate) type Places<'a> = BTreeMap<String, Place<'a>>;

/// An array that a result is written to: where it lies if it is row-major, copied into it otherwise.
#[derive(Debug)]
pub enum Place<'a> {
    F(ArrayViewMutD<'a, f32>),
    I(ArrayViewMutD<'a, i32>),
}

impl<'a> Place<'a> {
    fn shape(&self) -> &[usize] {
        match self {
            Place::F(a) => a.shape(),
            Place::I(a) => a.shape(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Place::F(_) => DType::F32,
            Place::I(_) => DType::I32,
        }
    }

    /// # Errors
    /// SP0504 for a result of another shape or type.
    pub(crate) fn fits(&self, name: &str, shape: &[usize], dtype: DType) -> Res<()> {
        if self.shape() == shape && self.dtype() == dtype {
            return Ok(());
        }
        let (own, has) = (self.dtype().name(), dtype.name());
        let text = format!("`{name}` is {has}{shape:?}, the array given for it {own}{:?}", self.shape());
        Err(Diagnostic::error(codes::INPUT, text).into())
    }

    /// Copies the value into it.
    ///
    /// # Errors
    /// Those of [`Place::fits`].
    pub(crate) fn assign(&mut self, name: &str, value: &Value<f32>) -> Res<()> {
        let dtype = match value {
            Value::F(_) => DType::F32,
            Value::I(_) => DType::I32,
            Value::B(_) => DType::Bool,
        };
        self.fits(name, value.shape(), dtype)?;
        match (self, value) {
            (Place::F(to), Value::F(from)) => to.assign(from),
            (Place::I(to), Value::I(from)) => to.assign(from),
            _ => return Err(Bug::new(format!("{name} changed its type")).into()),
        }
        Ok(())
    }

    /// Itself as memory for kernels to write to, or as one to copy into.
    pub(crate) fn split(self) -> (Option<Place<'a>>, Option<Place<'a>>) {
        let rows = match &self {
            Place::F(a) => a.is_standard_layout(),
            Place::I(a) => a.is_standard_layout(),
        };
        if rows { (Some(self), None) } else { (None, Some(self)) }
    }

    pub(crate) fn slice(&mut self) -> Option<SliceMut<'_>> {
        match self {
            Place::F(a) => a.as_slice_mut().map(SliceMut::F32),
            Place::I(a) => a.as_slice_mut().map(SliceMut::I32),
        }
    }
}

mod sealed {
    use super::{Place, View};
    use ndarray::{ArrayViewD, ArrayViewMutD, CowArray, IxDyn};

    /// An element type that programs compute with.
    pub trait Element: Clone {
        fn view(array: CowArray<'_, Self, IxDyn>) -> View<'_>
        where
            Self: Sized;
    }

    impl Element for f32 {
        fn view(array: CowArray<'_, f32, IxDyn>) -> View<'_> {
            View::F(array)
        }
    }

    impl Element for i32 {
        fn view(array: CowArray<'_, i32, IxDyn>) -> View<'_> {
            View::I(array)
        }
    }

    impl Element for bool {
        fn view(array: CowArray<'_, bool, IxDyn>) -> View<'_> {
            View::B(array)
        }
    }

    /// An element type of results that calls write into arrays of the caller's.
    pub trait Written {
        fn place(array: ArrayViewMutD<'_, Self>) -> Place<'_>
        where
            Self: Sized;
    }

    impl Written for f32 {
        fn place(array: ArrayViewMutD<'_, f32>) -> Place<'_> {
            Place::F(array)
        }
    }

    impl Written for i32 {
        fn place(array: ArrayViewMutD<'_, i32>) -> Place<'_> {
            Place::I(array)
        }
    }

    /// Keeps [`super::Output`] to the arrays below.
    pub trait SealedMut {
        fn taken(&mut self) -> Place<'_>;
    }

    /// Row-major elements, copied where they lie in another order.
    pub fn rows<T: Clone>(a: ArrayViewD<'_, T>) -> CowArray<'_, T, IxDyn> {
        if a.is_standard_layout() { CowArray::from(a) } else { CowArray::from(a.as_standard_layout().into_owned()) }
    }

    /// Keeps [`super::Input`] to the arrays below.
    pub trait Sealed {
        fn given(&self) -> View<'_>;
    }
}

use sealed::{Element, Sealed, SealedMut, Written};

/// An array that a function can be called on: any `ndarray` array or view of `f32`, `i32` or `bool`, in any order of
/// memory. Row-major ones are not copied.
pub trait Input: Sealed {}

impl<A: Element, S: Data<Elem = A>, D: Dimension> Sealed for ArrayBase<S, D> {
    fn given(&self) -> View<'_> {
        A::view(sealed::rows(self.view().into_dyn()))
    }
}

impl<A: Element, S: Data<Elem = A>, D: Dimension> Input for ArrayBase<S, D> {}

/// An array that a call writes a result to: any `ndarray` array or mutable view of `f32` or `i32`, in any order of memory. Row-major ones
/// are written where they lie.
pub trait Output: SealedMut {}

impl<A: Written, S: DataMut<Elem = A>, D: Dimension> SealedMut for ArrayBase<S, D> {
    fn taken(&mut self) -> Place<'_> {
        A::place(self.view_mut().into_dyn())
    }
}

impl<A: Written, S: DataMut<Elem = A>, D: Dimension> Output for ArrayBase<S, D> {}

/// Results of a call, by name and in declared order.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    list: Outputs,
}

impl Results {
    pub(crate) fn new(list: Outputs) -> Results {
        Results { list }
    }

    /// Names in declared order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(n, _)| n.as_str())
    }

    fn get(&self, name: &str) -> Option<&Value<f32>> {
        self.list.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// A result of `f32`; `None` for an unknown name or another type.
    pub fn f32(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.get(name)?.floats().map(|a| a.view())
    }

    /// A result of `i32`; `None` for an unknown name or another type.
    pub fn i32(&self, name: &str) -> Option<ArrayViewD<'_, i32>> {
        if let Value::I(a) = self.get(name)? { Some(a.view()) } else { None }
    }

    /// A result of `bool`; `None` for an unknown name or another type.
    pub fn bool(&self, name: &str) -> Option<ArrayViewD<'_, bool>> {
        if let Value::B(a) = self.get(name)? { Some(a.view()) } else { None }
    }

    /// Takes a result of `f32` out.
    pub fn take_f32(&mut self, name: &str) -> Option<ArrayD<f32>> {
        self.take(name, |v| if let Value::F(a) = v { Ok(a) } else { Err(v) })
    }

    /// Takes a result of `i32` out.
    pub fn take_i32(&mut self, name: &str) -> Option<ArrayD<i32>> {
        self.take(name, |v| if let Value::I(a) = v { Ok(a) } else { Err(v) })
    }

    /// Takes a result of `bool` out.
    pub fn take_bool(&mut self, name: &str) -> Option<ArrayD<bool>> {
        self.take(name, |v| if let Value::B(a) = v { Ok(a) } else { Err(v) })
    }

    fn take<T>(&mut self, name: &str, of: impl FnOnce(Value<f32>) -> Result<T, Value<f32>>) -> Option<T> {
        let i = self.list.iter().position(|(n, _)| n == name)?;
        let (name, value) = self.list.remove(i);
        match of(value) {
            Ok(found) => Some(found),
            Err(other) => {
                self.list.insert(i, (name, other));
                None
            }
        }
    }
}
