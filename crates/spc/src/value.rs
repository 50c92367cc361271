//! Arrays that go into calls and come out of them.
use crate::engine::Outputs;
use ndarray::{ArrayBase, ArrayD, ArrayViewD, CowArray, Data, Dimension, IxDyn};
use spc_interp::Value;
use spc_ir::DType;
use spc_kernel::Slice;
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

mod sealed {
    use super::View;
    use ndarray::{ArrayViewD, CowArray, IxDyn};

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

    /// Row-major elements, copied where they lie in another order.
    pub fn rows<T: Clone>(a: ArrayViewD<'_, T>) -> CowArray<'_, T, IxDyn> {
        if a.is_standard_layout() { CowArray::from(a) } else { CowArray::from(a.as_standard_layout().into_owned()) }
    }

    /// Keeps [`super::Input`] to the arrays below.
    pub trait Sealed {
        fn given(&self) -> View<'_>;
    }
}

use sealed::{Element, Sealed};

/// An array that a function can be called on: any `ndarray` array or view of `f32`, `i32` or `bool`, in any order of
/// memory. Row-major ones are not copied.
pub trait Input: Sealed {}

impl<A: Element, S: Data<Elem = A>, D: Dimension> Sealed for ArrayBase<S, D> {
    fn given(&self) -> View<'_> {
        A::view(sealed::rows(self.view().into_dyn()))
    }
}

impl<A: Element, S: Data<Elem = A>, D: Dimension> Input for ArrayBase<S, D> {}

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
