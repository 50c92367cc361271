//! Training runs: parameters of the caller are changed in place.
use crate::array::{Described, Type, describe};
use crate::error::{Refusal, Status, answer, refuse};
use crate::handle::{Handle, Held, free, hand_out, of, of_mut, wanted};
use crate::{BUILT, SpcArray, SpcChecked, list, text};
use spc::{Observed, Optimiser, UpdatePlan, UpdateState};
use std::ffi::{CString, c_char, c_void};

/// Settings of an optimiser.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SpcOptimizer {
    pub kind: i32,
    pub momentum: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Arrays of a parameter's shape that the caller's own optimiser keeps for it.
    pub moments: u32,
}

/// Numbers of `spc_optimizer_kind` in `spc.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sgd = 0,
    AdamW = 1,
    Outside = 2,
}

/// What a program asks of its weights during training.
pub struct Updates {
    pub(crate) plan: UpdatePlan,
    shapes: Vec<(String, Vec<usize>)>,
    /// Why steps are interpreted.
    reason: Option<CString>,
}

impl Held for Updates {
    const TAG: u64 = u64::from_le_bytes(*b"spc upd\0");
    const NAME: &'static str = "a plan of updates";
}

/// The memory of a run.
pub struct Run {
    pub(crate) state: UpdateState,
    /// What observers saw in the last step.
    pub(crate) seen: Vec<Observed>,
}

impl Held for Run {
    const TAG: u64 = u64::from_le_bytes(*b"spc sta\0");
    const NAME: &'static str = "the state of a run";
}

/// What a program asks of its weights during training.
pub type SpcUpdates = Handle<Updates>;

/// The memory of a run.
pub type SpcState = Handle<Run>;

/// Gets what observers saw: context, rule, name, value.
pub type SpcObserver = Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, f64)>;

fn optimiser(o: &SpcOptimizer) -> Result<Optimiser, Refusal> {
    let share = |x: f64| (0.0..1.0).contains(&x);
    let fine = |x: f64| x.is_finite() && x >= 0.0;
    match o.kind {
        0 if share(o.momentum) && fine(o.weight_decay) => {
            Ok(Optimiser::Sgd { momentum: o.momentum, weight_decay: o.weight_decay })
        }
        1 if share(o.beta1) && share(o.beta2) && fine(o.eps) && fine(o.weight_decay) => {
            Ok(Optimiser::AdamW { beta1: o.beta1, beta2: o.beta2, eps: o.eps, weight_decay: o.weight_decay })
        }
        2 if share(o.beta2) && fine(o.eps) && o.moments <= 8 => {
            let square = (o.beta2 > 0.0).then_some((o.beta2, o.eps));
            if square.is_some() && o.moments < 2 {
                return refuse(Status::Input, "an optimiser like Adam keeps two moments or more");
            }
            Ok(Optimiser::Outside { moments: o.moments as usize, square })
        }
        0..=2 => refuse(Status::Input, "a setting of the optimiser lies outside its range"),
        n => refuse(Status::Name, format!("there is no optimiser {n}")),
    }
}

/// # Safety
///
/// `checked` came from [`spc_compile`](crate::spc_compile), `optimizer` leads to settings, `plan` to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_updates(
    checked: *mut SpcChecked,
    optimizer: *const SpcOptimizer,
    steps: u64,
    plan: *mut *mut SpcUpdates,
) -> i32 {
    answer(|| {
        wanted(plan)?;
        if !optimizer.is_aligned() {
            return refuse(Status::Alignment, "the optimiser is not aligned");
        }
        // SAFETY: promised by the caller.
        let (c, o) = unsafe { (of_mut(checked)?, optimizer.as_ref()) };
        let Some(o) = o else { return refuse(Status::Null, "the optimiser is a null pointer") };
        let Some(c) = c.0.as_ref() else { return refuse(Status::Handle, BUILT) };
        let made = c.update_plan(optimiser(o)?, steps)?;
        let shapes = made.shapes().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
        let reason = made.interpreted().map(|r| CString::new(r.replace('\0', "")).unwrap_or_default());
        // SAFETY: checked and promised.
        unsafe { hand_out(Updates { plan: made, shapes, reason }, plan) };
        Ok(())
    })
}

/// # Safety
///
/// `plan` is null or came from [`spc_updates`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_updates_interpreted(plan: *const SpcUpdates) -> *const c_char {
    // SAFETY: promised by the caller.
    let reason = unsafe { of(plan) }.ok().and_then(|p| p.reason.as_ref());
    reason.map_or(std::ptr::null(), |r| r.as_ptr())
}

/// The arrays of a call, of floats and of the shapes of the plan; those that are changed share memory with none.
pub(crate) struct Arrays<'a> {
    changed: Vec<Described<'a>>,
    read: Vec<Described<'a>>,
}

impl<'a> Arrays<'a> {
    /// # Safety
    ///
    /// The lists have as many arrays, which are as they say.
    pub(crate) unsafe fn new(
        plan: &Updates,
        changed: &[(*const SpcArray, usize)],
        read: (*const SpcArray, usize),
    ) -> Result<Arrays<'a>, Refusal> {
        // SAFETY: promised by the caller.
        let of = |(p, n): (*const SpcArray, usize)| -> Result<Vec<Described<'a>>, Refusal> {
            // SAFETY: promised by the caller.
            unsafe { list(p, n)?.iter().map(|a| describe(a)).collect() }
        };
        let mut out = Arrays { changed: Vec::new(), read: of(read)? };
        for list in changed {
            out.changed.extend(of(*list)?);
        }
        for a in out.changed.iter().chain(&out.read) {
            if a.ty != Type::F32 {
                return refuse(Status::Input, format!("the values of `{}` are not floats", a.name));
            }
            match plan.shapes.iter().find(|(n, _)| n == a.name) {
                Some((_, s)) if *s != a.shape => {
                    return refuse(Status::Size, format!("`{}` has the shape {:?}, not {s:?}", a.name, a.shape));
                }
                Some(_) => {}
                None => return refuse(Status::Name, format!("the program has no weight `{}`", a.name)),
            }
        }
        let span = |a: &Described<'_>| {
            let from = a.data as usize;
            (from, from + 4 * a.shape.iter().product::<usize>())
        };
        for (i, a) in out.changed.iter().enumerate() {
            let (from, to) = span(a);
            let others = out.changed.iter().skip(i + 1).chain(&out.read);
            if let Some(b) = others.into_iter().find(|b| span(b).0 < to && from < span(b).1) {
                return refuse(Status::Input, format!("`{}` shares memory with `{}`", a.name, b.name));
            }
        }
        Ok(out)
    }

    /// # Safety
    ///
    /// The arrays are there for as long as the slices, and nobody else uses those that are changed.
    #[allow(clippy::type_complexity)]
    pub(crate) unsafe fn slices(&self) -> (Vec<(&'a str, &'a mut [f32])>, Vec<(&'a str, &'a [f32])>) {
        let n = |d: &Described<'_>| d.shape.iter().product::<usize>();
        // SAFETY: not null, aligned and of that size, as `describe` saw; those changed share memory with none.
        let changed = |d: &Described<'a>| unsafe { (d.name, std::slice::from_raw_parts_mut(d.data.cast(), n(d))) };
        // SAFETY: as above.
        let read = |d: &Described<'a>| unsafe { (d.name, std::slice::from_raw_parts(d.data.cast::<f32>(), n(d))) };
        (self.changed.iter().map(changed).collect(), self.read.iter().map(read).collect())
    }
}

/// # Safety
///
/// `plan` came from [`spc_updates`], `params` leads to as many arrays as `count` says, `state` to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_start(
    plan: *const SpcUpdates,
    params: *const SpcArray,
    count: usize,
    state: *mut *mut SpcState,
) -> i32 {
    answer(|| {
        wanted(state)?;
        // SAFETY: promised by the caller.
        let p = unsafe { of(plan)? };
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &[(params, count)], (std::ptr::null(), 0))? };
        // SAFETY: promised by the caller.
        let (mut params, _) = unsafe { arrays.slices() };
        let inner = p.plan.start(&mut params)?;
        // SAFETY: checked and promised.
        unsafe { hand_out(Run { state: inner, seen: Vec::new() }, state) };
        Ok(())
    })
}

/// # Safety
///
/// `plan` came from [`spc_updates`], `params` leads to as many arrays as `count` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_project(plan: *const SpcUpdates, params: *const SpcArray, count: usize) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let p = unsafe { of(plan)? };
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &[(params, count)], (std::ptr::null(), 0))? };
        // SAFETY: promised by the caller.
        let (mut params, _) = unsafe { arrays.slices() };
        Ok(p.plan.project(&mut params)?)
    })
}

/// Tells what observers saw, and keeps it for logs.
///
/// # Safety
///
/// `observer` may be called with `context`.
pub(crate) unsafe fn tell(s: &mut Run, seen: Vec<Observed>, observer: SpcObserver, context: *mut c_void) {
    s.seen = seen;
    let Some(f) = observer else { return };
    for o in &s.seen {
        let name = |n: &str| CString::new(n.replace('\0', "")).unwrap_or_default();
        let (rule, name) = (name(&o.rule), name(&o.name));
        // SAFETY: both texts live until the call returns.
        unsafe { f(context, rule.as_ptr(), name.as_ptr(), o.value) };
    }
}

/// # Safety
///
/// `plan` and `state` came from functions of this interface; the lists have as many arrays as their counts say; `observer` may
/// be called with `context` while the call runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_update(
    plan: *const SpcUpdates,
    step: u64,
    params: *const SpcArray,
    param_count: usize,
    grads: *const SpcArray,
    grad_count: usize,
    rate: f32,
    state: *mut SpcState,
    observer: SpcObserver,
    context: *mut c_void,
) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (p, s) = unsafe { (of(plan)?, of_mut(state)?) };
        // SAFETY: promised by the caller.
        let arrays = unsafe { Arrays::new(p, &[(params, param_count)], (grads, grad_count))? };
        // SAFETY: promised by the caller.
        let (mut params, grads) = unsafe { arrays.slices() };
        let seen = p.plan.update(step, &mut params, &grads, rate, &mut s.state)?;
        // SAFETY: promised by the caller.
        unsafe { tell(s, seen, observer, context) };
        Ok(())
    })
}

/// # Safety
///
/// `plan` and `state` came from functions of this interface, `path` ends in a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_save_state(plan: *const SpcUpdates, state: *mut SpcState, path: *const c_char) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (p, s, path) = unsafe { (of(plan)?, of_mut(state)?, text(path)?) };
        let bytes = p.plan.save(&s.state)?;
        // The whole file or nothing.
        let part = format!("{path}.part");
        let done = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
        done.map_err(|e| Refusal::new(Status::Input, format!("{path}: {e}")))
    })
}

/// # Safety
///
/// `plan` came from [`spc_updates`], `path` ends in a zero byte, `state` leads to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_load_state(
    plan: *const SpcUpdates,
    path: *const c_char,
    state: *mut *mut SpcState,
) -> i32 {
    answer(|| {
        wanted(state)?;
        // SAFETY: promised by the caller.
        let (p, path) = unsafe { (of(plan)?, text(path)?) };
        let inner = p.plan.load(path)?;
        // SAFETY: checked and promised.
        unsafe { hand_out(Run { state: inner, seen: Vec::new() }, state) };
        Ok(())
    })
}

/// # Safety
///
/// `plan` is null or came from [`spc_updates`] and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_free_updates(plan: *mut SpcUpdates) {
    // SAFETY: promised by the caller.
    unsafe { free(plan) };
}

/// # Safety
///
/// `state` is null or came from [`spc_start`] or [`spc_load_state`] and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_free_state(state: *mut SpcState) {
    // SAFETY: promised by the caller.
    unsafe { free(state) };
}
