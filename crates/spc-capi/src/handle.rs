//! Handles that the caller keeps: boxes with a tag, so that a handle of another kind or one that was freed is refused.
use crate::error::{Refusal, Status, answer, refuse};

/// What a handle holds.
pub trait Held {
    /// Eight letters that stand at the handle's beginning.
    const TAG: u64;
    /// What it is, as the end of "not ..".
    const NAME: &'static str;
}

/// A value behind a pointer of the caller's.
#[derive(Debug)]
pub struct Handle<T> {
    tag: u64,
    inner: T,
}

/// Refuses a null place for a result, before work begins.
pub(crate) fn wanted<T>(to: *mut *mut T) -> Result<(), Refusal> {
    if to.is_null() { refuse(Status::Null, "there is no place for the result") } else { Ok(()) }
}

/// # Safety
///
/// `to` is not null (see [`wanted`]) and leads to a pointer that may be written.
pub(crate) unsafe fn hand_out<T: Held>(inner: T, to: *mut *mut Handle<T>) {
    // SAFETY: promised by the caller.
    unsafe { *to = Box::into_raw(Box::new(Handle { tag: T::TAG, inner })) };
}

/// # Safety
///
/// `handle` is null, or came from [`hand_out`] and is not changed while the reference lives.
pub(crate) unsafe fn of<'a, T: Held>(handle: *const Handle<T>) -> Result<&'a T, Refusal> {
    if !handle.is_aligned() {
        return refuse(Status::Handle, format!("not {}", T::NAME));
    }
    // SAFETY: null gives nothing, the rest is promised.
    match unsafe { handle.as_ref() } {
        None => refuse(Status::Null, format!("{} is a null pointer", T::NAME)),
        Some(h) if h.tag == T::TAG => Ok(&h.inner),
        Some(_) => refuse(Status::Handle, format!("not {}", T::NAME)),
    }
}

/// # Safety
///
/// `handle` is null, or came from [`hand_out`] and is used by this thread alone while the reference lives.
pub(crate) unsafe fn of_mut<'a, T: Held>(handle: *mut Handle<T>) -> Result<&'a mut T, Refusal> {
    if !handle.is_aligned() {
        return refuse(Status::Handle, format!("not {}", T::NAME));
    }
    // SAFETY: null gives nothing, the rest is promised.
    match unsafe { handle.as_mut() } {
        None => refuse(Status::Null, format!("{} is a null pointer", T::NAME)),
        Some(h) if h.tag == T::TAG => Ok(&mut h.inner),
        Some(_) => refuse(Status::Handle, format!("not {}", T::NAME)),
    }
}

/// Frees a handle of this kind; leaves alone what is none.
///
/// # Safety
///
/// `handle` is null, or came from [`hand_out`], was not freed before, and nobody uses it.
pub(crate) unsafe fn free<T: Held>(handle: *mut Handle<T>) {
    let _ = answer(|| {
        // SAFETY: promised by the caller.
        if unsafe { of_mut(handle) }.is_ok() {
            // SAFETY: it came from a box.
            unsafe { Box::from_raw(handle) }.tag = 0;
        }
        Ok(())
    });
}
