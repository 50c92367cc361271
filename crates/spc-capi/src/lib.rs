//! spc for C. `include/spc.h` describes every function; `tests/` compares it with this file and runs a program in C.
//!
//! No panic leaves a function, and what a pointer leads to is looked at only after the pointer was checked for null and, where
//! it leads to elements, for alignment. Handles carry a tag, so that one of another kind is refused.
#![allow(unsafe_code)]

mod array;
mod error;
mod halves;
mod handle;
mod train;

use array::{Described, Given, describe, given, write};
pub use array::{SpcArray, Type};
use error::{Refusal, answer, refuse};
pub use error::{Status, spc_last_error};
pub use halves::{SpcLog, spc_after, spc_before, spc_free_log, spc_log, spc_log_line, spc_maps_gradient};
pub use handle::Handle;
use handle::{Held, free, hand_out, of, of_mut, wanted};
use spc::{Checked, Compiler, Input, Isa, Program};
use std::ffi::{CStr, c_char};
pub use train::{
    Kind, SpcObserver, SpcOptimizer, SpcState, SpcUpdates, spc_free_state, spc_free_updates, spc_load_state,
    spc_save_state, spc_start, spc_update, spc_updates, spc_updates_interpreted,
};

/// Settings of a compilation.
#[repr(C)]
#[derive(Debug)]
pub struct SpcOptions {
    pub threads: usize,
    pub isa: *const c_char,
    pub base: *const c_char,
    pub interpret: i32,
}

/// A program that is being given its weights; nothing after it was built.
#[derive(Debug)]
pub struct Binding(Option<Checked>);

impl Held for Binding {
    const TAG: u64 = u64::from_le_bytes(*b"spc chk\0");
    const NAME: &'static str = "a program that was checked";
}

impl Held for Program {
    const TAG: u64 = u64::from_le_bytes(*b"spc prg\0");
    const NAME: &'static str = "a program that was built";
}

/// A program that is being given its weights.
pub type SpcChecked = Handle<Binding>;

/// A program that can be called.
pub type SpcProgram = Handle<Program>;

/// Version of the interface.
#[unsafe(no_mangle)]
pub extern "C" fn spc_abi_version() -> i32 {
    spc_cpu::object::ABI_VERSION
}

/// # Safety
///
/// `text` is null or ends in a zero byte.
unsafe fn text<'a>(text: *const c_char) -> Result<&'a str, Refusal> {
    if text.is_null() {
        return refuse(Status::Null, "a name is a null pointer");
    }
    // SAFETY: not null, and the caller promises the rest.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().or_else(|_| refuse(Status::Utf8, "a name is not UTF-8 text"))
}

/// # Safety
///
/// `options` is null or leads to settings whose texts are null or end in a zero byte.
unsafe fn compiler(options: *const SpcOptions) -> Result<Compiler, Refusal> {
    let mut c = Compiler::new();
    // SAFETY: null gives nothing.
    let Some(o) = (unsafe { options.as_ref() }) else { return Ok(c) };
    if o.threads > 1024 {
        return refuse(Status::Size, "more than 1024 threads");
    }
    if o.threads > 0 {
        c = c.threads(o.threads);
    }
    if !o.isa.is_null() {
        // SAFETY: promised by the caller.
        let name = unsafe { text(o.isa)? };
        match Isa::from_name(name) {
            Some(isa) => c = c.isa(isa),
            None => return refuse(Status::Name, format!("there is no instruction set `{name}`")),
        }
    }
    if !o.base.is_null() {
        // SAFETY: promised by the caller.
        c = c.base(unsafe { text(o.base)? });
    }
    Ok(c.interpret(o.interpret != 0))
}

/// # Safety
///
/// `source` leads to `bytes` bytes, `options` is null or whole, `checked` leads to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_compile(
    source: *const c_char,
    bytes: usize,
    options: *const SpcOptions,
    checked: *mut *mut SpcChecked,
) -> i32 {
    answer(|| {
        wanted(checked)?;
        if source.is_null() {
            return refuse(Status::Null, "the text is a null pointer");
        }
        if bytes > isize::MAX as usize {
            return refuse(Status::Size, "the text is longer than memory");
        }
        // SAFETY: not null, and promised by the caller.
        let source = unsafe { std::slice::from_raw_parts(source.cast::<u8>(), bytes) };
        let Ok(source) = std::str::from_utf8(source) else {
            return refuse(Status::Utf8, "the program is not UTF-8 text");
        };
        // SAFETY: promised by the caller.
        let inner = unsafe { compiler(options)? }.compile_str(source)?;
        // SAFETY: checked and promised.
        unsafe { hand_out(Binding(Some(inner)), checked) };
        Ok(())
    })
}

/// # Safety
///
/// `path` ends in a zero byte, `options` is null or whole, `checked` leads to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_compile_file(
    path: *const c_char,
    options: *const SpcOptions,
    checked: *mut *mut SpcChecked,
) -> i32 {
    answer(|| {
        wanted(checked)?;
        // SAFETY: promised by the caller.
        let inner = unsafe { compiler(options)?.compile_file(text(path)?)? };
        // SAFETY: checked and promised.
        unsafe { hand_out(Binding(Some(inner)), checked) };
        Ok(())
    })
}

const BUILT: &str = "the program was built already";

/// # Safety
///
/// `checked` came from [`spc_compile`], `weight` leads to an array as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_bind(checked: *mut SpcChecked, weight: *const SpcArray) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (c, a) = unsafe { (of_mut(checked)?, given(weight)?) };
        let Some(c) = c.0.as_mut() else { return refuse(Status::Handle, BUILT) };
        match a {
            Given { name, values: array::Values::F32(v) } => Ok(c.set(name, v)?),
            Given { name, .. } => refuse(Status::Input, format!("the values of `{name}` are not floats")),
        }
    })
}

/// # Safety
///
/// `checked` came from [`spc_compile`], `program` leads to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_build(checked: *mut SpcChecked, program: *mut *mut SpcProgram) -> i32 {
    answer(|| {
        wanted(program)?;
        // SAFETY: promised by the caller.
        let c = unsafe { of_mut(checked)? };
        let Some(c) = c.0.take() else { return refuse(Status::Handle, BUILT) };
        let inner = c.build()?;
        // SAFETY: checked and promised.
        unsafe { hand_out(inner, program) };
        Ok(())
    })
}

/// # Safety
///
/// `folder` ends in a zero byte, `options` is null or whole, `program` leads to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_load(
    folder: *const c_char,
    options: *const SpcOptions,
    program: *mut *mut SpcProgram,
) -> i32 {
    answer(|| {
        wanted(program)?;
        // SAFETY: promised by the caller.
        let inner = unsafe { compiler(options)?.load(text(folder)?)? };
        // SAFETY: checked and promised.
        unsafe { hand_out(inner, program) };
        Ok(())
    })
}

/// # Safety
///
/// `list` leads to `n` arrays, or n is 0.
unsafe fn list<'a>(list: *const SpcArray, n: usize) -> Result<&'a [SpcArray], Refusal> {
    match n {
        0 => Ok(&[]),
        _ if list.is_null() => refuse(Status::Null, "a list of arrays is a null pointer"),
        _ if !list.is_aligned() => refuse(Status::Alignment, "a list of arrays is not aligned"),
        1..=4096 => {
            // SAFETY: not null, aligned, and promised by the caller.
            Ok(unsafe { std::slice::from_raw_parts(list, n) })
        }
        _ => refuse(Status::Size, "more than 4096 arrays"),
    }
}

/// # Safety
///
/// `program` came from [`spc_build`] or [`spc_load`]; the arrays are as they say, and no output overlaps anything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_call(
    program: *const SpcProgram,
    function: *const c_char,
    inputs: *const SpcArray,
    input_count: usize,
    outputs: *const SpcArray,
    output_count: usize,
) -> i32 {
    answer(|| {
        // SAFETY: promised by the caller.
        let (p, name) = unsafe { (of(program)?, text(function)?) };
        // SAFETY: promised by the caller.
        let (inputs, outputs) = unsafe { (list(inputs, input_count)?, list(outputs, output_count)?) };
        let mut values = Vec::with_capacity(inputs.len());
        for a in inputs {
            // SAFETY: promised by the caller.
            values.push(unsafe { given(a)? });
        }
        let mut places: Vec<Described<'_>> = Vec::with_capacity(outputs.len());
        for a in outputs {
            // SAFETY: promised by the caller.
            places.push(unsafe { describe(a)? });
        }
        let named: Vec<(&str, &dyn Input)> = values.iter().map(|g| (g.name, g.values.input())).collect();
        let results = p.call(name, &named)?;
        // An output may be an input: nothing looks at those any more.
        drop(named);
        drop(values);
        for d in &places {
            array::fits(d, &results)?;
        }
        for d in &places {
            // SAFETY: its type and size are those of the result, and the caller owns it.
            unsafe { write(d, &results) };
        }
        Ok(())
    })
}

/// # Safety
///
/// `checked` is null or came from [`spc_compile`] and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_free_checked(checked: *mut SpcChecked) {
    // SAFETY: promised by the caller.
    unsafe { free(checked) };
}

/// # Safety
///
/// `program` is null or came from [`spc_build`] or [`spc_load`], was not freed before, and no call is running.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn spc_free_program(program: *mut SpcProgram) {
    // SAFETY: promised by the caller.
    unsafe { free(program) };
}
