//! Arrays of the caller.
use crate::error::{Refusal, Status, refuse};
use crate::text;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use spc::{Input, Results};
use std::ffi::{c_char, c_void};

/// An array as C describes it.
#[repr(C)]
#[derive(Debug)]
pub struct SpcArray {
    pub name: *const c_char,
    pub data: *mut c_void,
    pub shape: *const i64,
    pub rank: usize,
    /// A number of [`Type`].
    pub ty: i32,
}

/// Numbers of `spc_type` in `spc.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F32 = 0,
    I32 = 1,
    Bool = 2,
}

const MAX_RANK: usize = 16;

/// A checked description.
pub(crate) struct Described<'a> {
    pub name: &'a str,
    pub data: *mut c_void,
    pub shape: Vec<usize>,
    pub ty: Type,
}

/// The values of an array that was given. Numbers stay where the caller has them.
pub(crate) enum Values<'a> {
    F32(ArrayViewD<'a, f32>),
    I32(ArrayViewD<'a, i32>),
    Bool(ArrayD<bool>),
}

pub(crate) struct Given<'a> {
    pub name: &'a str,
    pub values: Values<'a>,
}

impl Values<'_> {
    pub(crate) fn input(&self) -> &dyn Input {
        match self {
            Values::F32(a) => a,
            Values::I32(a) => a,
            Values::Bool(a) => a,
        }
    }
}

/// # Safety
///
/// `array` is null or leads to an array whose name ends in a zero byte and whose shape has `rank` numbers.
pub(crate) unsafe fn describe<'a>(array: *const SpcArray) -> Result<Described<'a>, Refusal> {
    if array.is_null() {
        return refuse(Status::Null, "an array is a null pointer");
    }
    if !array.is_aligned() {
        return refuse(Status::Alignment, "an array is not aligned");
    }
    // SAFETY: not null, aligned, and promised by the caller.
    let (a, name) = unsafe { (&*array, text((*array).name)?) };
    let (ty, bytes) = match a.ty {
        0 => (Type::F32, 4),
        1 => (Type::I32, 4),
        2 => (Type::Bool, 1),
        n => return refuse(Status::Input, format!("`{name}`: there is no type {n}")),
    };
    if a.rank > MAX_RANK {
        return refuse(Status::Size, format!("`{name}` has more than {MAX_RANK} axes"));
    }
    if a.rank > 0 && a.shape.is_null() {
        return refuse(Status::Null, format!("the shape of `{name}` is a null pointer"));
    }
    if !a.shape.is_aligned() {
        return refuse(Status::Alignment, format!("the shape of `{name}` is not aligned"));
    }
    let mut shape = Vec::with_capacity(a.rank);
    for i in 0..a.rank {
        // SAFETY: aligned, not null, and promised by the caller.
        let n = unsafe { a.shape.add(i).read() };
        match usize::try_from(n) {
            Ok(n) => shape.push(n),
            Err(_) => return refuse(Status::Size, format!("an axis of `{name}` has size {n}")),
        }
    }
    let whole = shape.iter().try_fold(bytes, |n: usize, d| n.checked_mul(*d)).filter(|n| *n <= isize::MAX as usize);
    // An axis of size 0 does not excuse the others.
    let others = shape.iter().filter(|d| **d > 0).try_fold(bytes, |n: usize, d| n.checked_mul(*d));
    if whole.is_none() || others.is_none_or(|n| n > isize::MAX as usize) {
        return refuse(Status::Size, format!("`{name}` is larger than memory"));
    }
    if a.data.is_null() {
        return refuse(Status::Null, format!("the values of `{name}` are a null pointer"));
    }
    if !(a.data as usize).is_multiple_of(bytes) {
        return refuse(Status::Alignment, format!("the values of `{name}` are not aligned to {bytes} bytes"));
    }
    Ok(Described { name, data: a.data, shape, ty })
}

/// # Safety
///
/// As for [`describe`], and the values are there and do not change as long as the result lives.
pub(crate) unsafe fn given<'a>(array: *const SpcArray) -> Result<Given<'a>, Refusal> {
    // SAFETY: promised by the caller.
    let d = unsafe { describe(array)? };
    let n: usize = d.shape.iter().product();
    let fail = |e: ndarray::ShapeError| Refusal::new(Status::Size, format!("`{}`: {e}", d.name));
    let shape = IxDyn(&d.shape);
    // SAFETY: not null, aligned, as many elements as the shape says; any bits are a value of these types.
    let values = unsafe {
        match d.ty {
            Type::F32 => {
                let v = std::slice::from_raw_parts(d.data.cast::<f32>(), n);
                Values::F32(ArrayViewD::from_shape(shape, v).map_err(fail)?)
            }
            Type::I32 => {
                let v = std::slice::from_raw_parts(d.data.cast::<i32>(), n);
                Values::I32(ArrayViewD::from_shape(shape, v).map_err(fail)?)
            }
            Type::Bool => {
                let v = std::slice::from_raw_parts(d.data.cast::<u8>(), n).iter().map(|b| *b != 0).collect();
                Values::Bool(ArrayD::from_shape_vec(shape, v).map_err(fail)?)
            }
        }
    };
    Ok(Given { name: d.name, values })
}

/// Whether a result has this name, type and shape.
pub(crate) fn fits(d: &Described<'_>, results: &Results) -> Result<(), Refusal> {
    let found = match d.ty {
        Type::F32 => results.f32(d.name).map(|a| a.shape().to_vec()),
        Type::I32 => results.i32(d.name).map(|a| a.shape().to_vec()),
        Type::Bool => results.bool(d.name).map(|a| a.shape().to_vec()),
    };
    match found {
        Some(shape) if shape == d.shape => Ok(()),
        Some(shape) => {
            refuse(Status::Size, format!("the result `{}` has the shape {shape:?}, not {:?}", d.name, d.shape))
        }
        None => refuse(Status::Name, format!("there is no result `{}` of that type", d.name)),
    }
}

/// Copies a result that [`fits`].
///
/// # Safety
///
/// What the array leads to may be written.
pub(crate) unsafe fn write(d: &Described<'_>, results: &Results) {
    // SAFETY: promised by the caller; `fits` has compared the sizes.
    unsafe {
        match d.ty {
            Type::F32 => put(d, results.f32(d.name).into_iter().flatten().copied()),
            Type::I32 => put(d, results.i32(d.name).into_iter().flatten().copied()),
            Type::Bool => put(d, results.bool(d.name).into_iter().flatten().map(|b| u8::from(*b))),
        }
    }
}

/// # Safety
///
/// As many elements fit as come.
unsafe fn put<T>(d: &Described<'_>, values: impl Iterator<Item = T>) {
    for (i, x) in values.enumerate() {
        // SAFETY: inside the array.
        unsafe { d.data.cast::<T>().add(i).write(x) };
    }
}
