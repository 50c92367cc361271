//! Arrays that go into calls and come out of them.
use crate::engine::Outputs;
use ndarray::{ArrayBase, ArrayViewD, Data, Dimension};
use spc_interp::Value;

mod sealed {
    use ndarray::ArrayD;
    use spc_interp::Value;

    /// An element type that programs compute with.
    pub trait Element: Clone {
        fn value(array: ArrayD<Self>) -> Value<f32>;
    }

    impl Element for f32 {
        fn value(array: ArrayD<f32>) -> Value<f32> {
            Value::F(array)
        }
    }

    impl Element for i32 {
        fn value(array: ArrayD<i32>) -> Value<f32> {
            Value::I(array)
        }
    }

    impl Element for bool {
        fn value(array: ArrayD<bool>) -> Value<f32> {
            Value::B(array)
        }
    }

    /// Keeps [`super::Input`] to the arrays below.
    pub trait Sealed {
        fn to_value(&self) -> Value<f32>;
    }
}

use sealed::{Element, Sealed};

/// An array that a function can be called on: any `ndarray` array or view of `f32`, `i32` or `bool`, in any order of
/// memory.
pub trait Input: Sealed {}

impl<A: Element, S: Data<Elem = A>, D: Dimension> Sealed for ArrayBase<S, D> {
    fn to_value(&self) -> Value<f32> {
        A::value(self.as_standard_layout().into_owned().into_dyn())
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
}
