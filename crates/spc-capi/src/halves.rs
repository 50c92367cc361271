//! Steps in two halves around an optimiser of the caller's, and logs of runs.
use crate::error::{Status, answer, refuse};
use crate::handle::{Handle, Held, free, hand_out, of, of_mut, wanted};
use crate::train::{Arrays, SpcObserver, SpcState, SpcUpdates, tell};
use crate::{SpcArray, text};
use spc::RunLog;
use std::ffi::{CString, c_char, c_void};

/// What lines of a run are compared with, and the last of them.
pub struct Log {
    inner: RunLog,
    line: CString,
}

impl Held for Log {
    const TAG: u64 = u64::from_le_bytes(*b"spc log\0");
    const NAME: &'static str = "the log of a run";
}

/// What lines of a run are compared with, and the last of them.
pub type SpcLog = Handle<Log>;

/// # Safety
///
/// `plan` is null or came from [`spc_updates`](crate::train::spc_updates), `name` ends in a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_maps_gradient(plan: *const SpcUpdates, name: *const c_char) -> i32 {
    // SAFETY: promised by the caller.
    match unsafe { (of(plan), text(name)) } {
        (Ok(p), Ok(name)) => i32::from(p.plan.maps_gradient(name)),
        _ => 0,
    }
}

/// # Safety
///
/// `plan` and `state` came from functions of this interface; the lists have as many arrays as their counts say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_before(
    plan: *const SpcUpdates,
    step: u64,
    params: *const SpcArray,
    param_count: usize,
    grads: *const SpcArray,
    grad_count: usize,
    mapped: *const SpcArray,
    mapped_count: usize,
    state: *mut SpcState,
) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (p, s) = unsafe { (of(plan)?, of_mut(state)?) };
        let changed = [(params, param_count), (mapped, mapped_count)];
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &changed, (grads, grad_count))? };
        // SAFETY: promised by the caller.
        let (mut changed, grads) = unsafe { arrays.slices() };
        let (params, mapped) = changed.split_at_mut(param_count);
        Ok(p.plan.before(step, params, &grads, mapped, &mut s.state)?)
    })
}

/// # Safety
///
/// `plan` and `state` came from functions of this interface; the lists have as many arrays as their counts say; `observer` may
/// be called with `context` while the call runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_after(
    plan: *const SpcUpdates,
    step: u64,
    params: *const SpcArray,
    param_count: usize,
    grads: *const SpcArray,
    grad_count: usize,
    moments: *const SpcArray,
    moment_count: usize,
    rate: f32,
    state: *mut SpcState,
    observer: SpcObserver,
    context: *mut c_void,
) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (p, s) = unsafe { (of(plan)?, of_mut(state)?) };
        let changed = [(params, param_count), (moments, moment_count)];
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &changed, (grads, grad_count))? };
        // SAFETY: promised by the caller.
        let (mut changed, grads) = unsafe { arrays.slices() };
        let moments = changed.split_off(param_count);
        // Those of one parameter, in the order of the list.
        let mut given: Vec<(&str, Vec<&mut [f32]>)> = Vec::new();
        for (name, v) in moments {
            match given.iter_mut().find(|(n, _)| *n == name) {
                Some((_, list)) => list.push(v),
                None => given.push((name, vec![v])),
            }
        }
        let seen = p.plan.after(step, &mut changed, &grads, &mut given, rate, &mut s.state)?;
        // SAFETY: promised by the caller.
        unsafe { tell(s, seen, observer, context) };
        Ok(())
    })
}

/// # Safety
///
/// `plan` came from [`spc_updates`](crate::train::spc_updates), `params` leads to as many arrays as `count` says, `log` to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_log(
    plan: *const SpcUpdates,
    params: *const SpcArray,
    count: usize,
    log: *mut *mut SpcLog,
) -> i32 {
    answer(|| {
        wanted(log)?;
        // SAFETY: promised by the caller.
        let p = unsafe { of(plan)? };
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &[], (params, count))? };
        // SAFETY: promised by the caller.
        let (_, params) = unsafe { arrays.slices() };
        let inner = p.plan.log(&params)?;
        // SAFETY: checked and promised.
        unsafe { hand_out(Log { inner, line: CString::default() }, log) };
        Ok(())
    })
}

/// # Safety
///
/// `plan`, `log` and `state` came from functions of this interface; `params` leads to as many arrays as `count` says, `line` to a
/// pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_log_line(
    plan: *const SpcUpdates,
    log: *mut SpcLog,
    params: *const SpcArray,
    count: usize,
    state: *mut SpcState,
    line: *mut *const c_char,
) -> i32 {
    answer(|| {
        if line.is_null() || !line.is_aligned() {
            return refuse(Status::Null, "there is no place for the line");
        }
        // SAFETY: promised by the caller.
        let (p, l, s) = unsafe { (of(plan)?, of_mut(log)?, of_mut(state)?) };
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &[], (params, count))? };
        // SAFETY: promised by the caller.
        let (_, params) = unsafe { arrays.slices() };
        let text = p.plan.log_line(&mut l.inner, &params, &s.state, &s.seen)?;
        l.line = CString::new(text.replace('\0', "")).unwrap_or_default();
        // SAFETY: not null and aligned, the rest is promised.
        unsafe { *line = l.line.as_ptr() };
        Ok(())
    })
}

/// # Safety
///
/// `log` is null or came from [`spc_log`] and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_free_log(log: *mut SpcLog) {
    // SAFETY: promised by the caller.
    unsafe { free(log) };
}
