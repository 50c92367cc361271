//! A stand-in for the CUDA driver, for tests: the driver calls that the runtime makes, carried out on the CPU, kernels run by
//! the PTX interpreter. Name the library in `SPC_LIBCUDA`. It takes PTX only (`SPC_CUDA_IMAGE=ptx`).
//!
//! `SPC_STAND_IN` changes its behaviour, words separated by commas: `none` (no device), `old` (compute capability 7.0), `hopper` (9.0 and its shared memory),
//! `memory=N` (so many bytes of memory), `fault=NAME` (launches of kernels with NAME in their name fail), `late` (such a
//! failure shows at the next wait, as on a device), `order=N` (the schedule), `log=FILE` (appends a line for each launch and, at the release of the context, how many buffers are left).
//!
//! Every function has the signature and meaning of the function of that name in NVIDIA's driver API.
// Pointers come from a C caller that keeps the driver API's rules; `unsafe` says so for each function.
#![allow(unsafe_code, non_snake_case, clippy::missing_safety_doc)]

use spc_ptx::{Kernel, Launch, Memory, Module, Schedule, launch};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Status = c_int;
const INVALID: Status = 1;
const OUT_OF_MEMORY: Status = 2;
const NO_DEVICE: Status = 100;
const BAD_IMAGE: Status = 200;
const BAD_PTX: Status = 218;
const NOT_FOUND: Status = 500;
const LAUNCH_FAILED: Status = 719;
const CAPTURE_FORBIDS: Status = 900;
const NOT_CAPTURING: Status = 901;

/// A launch that is carried out later.
#[derive(Clone)]
struct Node {
    /// Address of the kernel, which lives as long as its module.
    kernel: usize,
    grid: u32,
    block: u32,
    shared_bytes: u32,
    arguments: Vec<u64>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    sizes: BTreeMap<u64, u64>,
    launches: u64,
    /// Launches are recorded here instead of being carried out.
    capture: Option<Vec<Node>>,
    /// A launch failed, and nobody knows yet.
    failed: bool,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn state() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    f(state().get_or_insert_default())
}

/// The value of a word of `SPC_STAND_IN`; empty for a word without one.
fn setting(word: &str) -> Option<String> {
    let all = std::env::var("SPC_STAND_IN").unwrap_or_default();
    all.split(',').find_map(|w| match w.split_once('=') {
        Some((name, value)) if name == word => Some(value.to_string()),
        None if w == word => Some(String::new()),
        _ => None,
    })
}

fn log(line: &str) {
    if let Some(file) = setting("log")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file)
    {
        let _ = writeln!(file, "{line}");
    }
}

/// Whether the work asked for before can be looked at: not while launches are recorded, and not where one failed.
fn now() -> Result<(), Status> {
    with(|s| match (s.capture.is_some(), s.failed) {
        (true, _) => Err(CAPTURE_FORBIDS),
        (_, true) => Err(LAUNCH_FAILED),
        _ => Ok(()),
    })
}

/// Carries out a launch.
fn carry_out(s: &mut State, node: &Node) -> Status {
    // SAFETY: the address is that of a kernel of a module that is still loaded: who records a graph keeps its module.
    let kernel = unsafe { &*(node.kernel as *const Kernel) };
    let order = setting("order").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let schedule = Schedule::ALL[order % Schedule::ALL.len()];
    let (grid, block, shared_bytes) = (node.grid, node.block, node.shared_bytes);
    let how = Launch { grid, block, shared_bytes, arguments: &node.arguments, schedule };
    s.launches += 1;
    let done = if setting("fault").is_some_and(|name| kernel.name.contains(&name)) {
        Err("as the setting says".to_string())
    } else {
        launch(kernel, &how, &mut s.memory).map_err(|f| f.to_string())
    };
    match done {
        Ok(c) => {
            log(&format!("{}: {} instructions", kernel.name, c.instructions));
            0
        }
        Err(fault) => {
            log(&format!("fault: {fault}"));
            if setting("late").is_some() {
                s.failed = true;
                return 0;
            }
            LAUNCH_FAILED
        }
    }
}

/// Writes through a pointer of the caller.
unsafe fn put<T>(to: *mut T, value: T) -> Status {
    if to.is_null() {
        return INVALID;
    }
    // SAFETY: not null, and the caller gives a pointer to one such value.
    unsafe { to.write(value) };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(_: c_uint) -> Status {
    if setting("none").is_some() { NO_DEVICE } else { 0 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: Status, to: *mut *const c_char) -> Status {
    let name = match status {
        INVALID => c"CUDA_ERROR_INVALID_VALUE",
        OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
        NO_DEVICE => c"CUDA_ERROR_NO_DEVICE",
        BAD_IMAGE => c"CUDA_ERROR_INVALID_IMAGE",
        BAD_PTX => c"CUDA_ERROR_INVALID_PTX",
        NOT_FOUND => c"CUDA_ERROR_NOT_FOUND",
        LAUNCH_FAILED => c"CUDA_ERROR_LAUNCH_FAILED",
        CAPTURE_FORBIDS => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        NOT_CAPTURING => c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
        _ => return INVALID,
    };
    // SAFETY: as the driver API says.
    unsafe { put(to, name.as_ptr()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(to: *mut c_int) -> Status {
    // SAFETY: as the driver API says.
    unsafe { put(to, 1) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(to: *mut c_int, ordinal: c_int) -> Status {
    // SAFETY: as the driver API says.
    if ordinal == 0 { unsafe { put(to, 0) } } else { INVALID }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, n: c_int, _: c_int) -> Status {
    let name = b"PTX interpreter\0";
    if to.is_null() || (n as usize) < name.len() {
        return INVALID;
    }
    // SAFETY: the caller's buffer has n bytes, at least as many as the name.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), to, name.len()) };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(to: *mut c_int, which: c_int, _: c_int) -> Status {
    let value = match which {
        75 if setting("old").is_some() => 7,
        75 if setting("hopper").is_some() => 9,
        75 => 8,
        76 => 0,
        _ => return INVALID,
    };
    // SAFETY: as the driver API says.
    unsafe { put(to, value) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(to: *mut *mut c_void, _: c_int) -> Status {
    // SAFETY: as the driver API says. Any handle but null will do.
    unsafe { put(to, std::ptr::dangling_mut::<u64>().cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRelease_v2(_: c_int) -> Status {
    let (live, launches) = with(|s| (s.memory.live(), s.launches));
    log(&format!("released: {live} buffers left after {launches} launches"));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(_: *mut c_void) -> Status {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> Status {
    let most: u64 = setting("memory").and_then(|m| m.parse().ok()).unwrap_or(1 << 34);
    let found = with(|s| {
        if bytes == 0 {
            return Err(INVALID);
        }
        if s.sizes.values().sum::<u64>() + bytes as u64 > most {
            return Err(OUT_OF_MEMORY);
        }
        // Fresh memory holds NaN.
        let address = s.memory.alloc(vec![0xff; bytes]).map_err(|_| OUT_OF_MEMORY)?;
        s.sizes.insert(address, bytes as u64);
        Ok(address)
    });
    // SAFETY: as the driver API says.
    found.map_or_else(|status| status, |address| unsafe { put(to, address) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Status {
    with(|s| if s.sizes.remove(&address).is_some() && s.memory.free(address).is_ok() { 0 } else { INVALID })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, n: usize, _: *mut c_void) -> Status {
    if let Err(status) = now() {
        return status;
    }
    with(|s| match s.memory.write(to, 0..n as u64) {
        Ok(bytes) => {
            // SAFETY: the caller gives n bytes.
            bytes.copy_from_slice(unsafe { std::slice::from_raw_parts(from.cast(), n) });
            0
        }
        Err(_) => INVALID,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, n: usize, _: *mut c_void) -> Status {
    if let Err(status) = now() {
        return status;
    }
    with(|s| match s.memory.read(from, 0..n as u64) {
        Ok(bytes) => {
            // SAFETY: the caller's buffer has n bytes.
            unsafe { std::slice::from_raw_parts_mut(to.cast(), n) }.copy_from_slice(bytes);
            0
        }
        Err(_) => INVALID,
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(to: *mut *mut c_void, _: c_uint) -> Status {
    // SAFETY: as the driver API says.
    unsafe { put(to, std::ptr::dangling_mut::<u64>().cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(_: *mut c_void) -> Status {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(_: *mut c_void) -> Status {
    now().map_or_else(|status| status, |()| 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(to: *mut *mut c_void, _: c_uint) -> Status {
    let event = Box::into_raw(Box::new(std::time::Instant::now()));
    // SAFETY: as the driver API says.
    unsafe { put(to, event.cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: *mut c_void, _: *mut c_void) -> Status {
    // SAFETY: the event was made by `cuEventCreate` and is not destroyed.
    unsafe { put(event.cast(), std::time::Instant::now()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(_: *mut c_void) -> Status {
    now().map_or_else(|status| status, |()| 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(ms: *mut f32, start: *mut c_void, end: *mut c_void) -> Status {
    // SAFETY: both events were made by `cuEventCreate` and are not destroyed.
    unsafe {
        let (start, end) = (*start.cast::<std::time::Instant>(), *end.cast::<std::time::Instant>());
        put(ms, end.saturating_duration_since(start).as_secs_f32() * 1e3)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> Status {
    // SAFETY: made by `cuEventCreate`, destroyed once.
    drop(unsafe { Box::from_raw(event.cast::<std::time::Instant>()) });
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(to: *mut *mut c_void, image: *const c_void) -> Status {
    // SAFETY: an image is a cubin, which is longer than four bytes, or NUL-terminated text.
    let text = unsafe { CStr::from_ptr(image.cast::<c_char>()) };
    if text.to_bytes().starts_with(b"\x7fELF") {
        return BAD_IMAGE;
    }
    match text.to_str().map_err(|e| e.to_string()).and_then(Module::parse) {
        // SAFETY: as the driver API says.
        Ok(module) => unsafe { put(to, Box::into_raw(Box::new(module)).cast()) },
        Err(e) => {
            log(&format!("refused: {e}"));
            BAD_PTX
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: *mut c_void) -> Status {
    // SAFETY: made by `cuModuleLoadData`, unloaded once.
    drop(unsafe { Box::from_raw(module.cast::<Module>()) });
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    to: *mut *const Kernel,
    module: *mut c_void,
    name: *const c_char,
) -> Status {
    // SAFETY: the module is loaded, the name NUL-terminated.
    let (module, name) = unsafe { (&*module.cast::<Module>(), CStr::from_ptr(name)) };
    match name.to_str().ok().and_then(|n| module.kernel(n)) {
        // SAFETY: as the driver API says.
        Some(kernel) => unsafe { put(to, kernel) },
        None => NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(_: *const Kernel, which: c_int, value: c_int) -> Status {
    // Dynamic shared memory, as much as compute capability 8.0 has, or 9.0.
    let most = if setting("hopper").is_some() { 227 << 10 } else { 163 << 10 };
    if which == 8 && (0..=most).contains(&value) { 0 } else { INVALID }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    kernel: *const Kernel,
    grid: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    _: *mut c_void,
    arguments: *const *const c_void,
    _: *mut *mut c_void,
) -> Status {
    if [grid_y, grid_z, block_y, block_z] != [1; 4] || grid == 0 {
        return INVALID;
    }
    // SAFETY: the kernel's module is loaded.
    let kernel = unsafe { &*kernel };
    let mut values = Vec::new();
    for (i, bytes) in kernel.parameter_bytes().into_iter().enumerate() {
        let mut word = [0u8; 8];
        // SAFETY: there is a pointer for each parameter, to as many bytes as it has.
        unsafe { std::ptr::copy_nonoverlapping((*arguments.add(i)).cast(), word.as_mut_ptr(), bytes) };
        values.push(u64::from_le_bytes(word));
    }
    let kernel = std::ptr::from_ref(kernel) as usize;
    let node = Node { kernel, grid, block, shared_bytes, arguments: values };
    with(|s| match &mut s.capture {
        Some(nodes) => {
            nodes.push(node);
            0
        }
        None => carry_out(s, &node),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(_: *mut c_void, _: c_uint) -> Status {
    with(|s| {
        if s.capture.is_some() {
            return INVALID;
        }
        s.capture = Some(Vec::new());
        0
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(_: *mut c_void, graph: *mut *mut c_void) -> Status {
    match with(|s| s.capture.take()) {
        // SAFETY: as the driver API says.
        Some(nodes) => unsafe { put(graph, Box::into_raw(Box::new(nodes)).cast()) },
        None => NOT_CAPTURING,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(to: *mut *mut c_void, graph: *mut c_void, _: u64) -> Status {
    // SAFETY: made by `cuStreamEndCapture` and not destroyed.
    let nodes = unsafe { &*graph.cast::<Vec<Node>>() };
    log(&format!("graph: {} launches", nodes.len()));
    // SAFETY: as the driver API says.
    unsafe { put(to, Box::into_raw(Box::new(nodes.clone())).cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(graph: *mut c_void, _: *mut c_void) -> Status {
    // SAFETY: made by `cuGraphInstantiateWithFlags` and not destroyed.
    let nodes = unsafe { &*graph.cast::<Vec<Node>>() };
    with(|s| nodes.iter().map(|n| carry_out(s, n)).find(|status| *status != 0).unwrap_or(0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: *mut c_void) -> Status {
    // SAFETY: made by `cuStreamEndCapture`, destroyed once.
    drop(unsafe { Box::from_raw(graph.cast::<Vec<Node>>()) });
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(graph: *mut c_void) -> Status {
    // SAFETY: made by `cuGraphInstantiateWithFlags`, destroyed once.
    drop(unsafe { Box::from_raw(graph.cast::<Vec<Node>>()) });
    0
}

/// NVRTC in the same process opens the driver and calls this: without it, it crashes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetExportTable(to: *mut *const c_void, _: *const c_void) -> Status {
    // SAFETY: as the driver API says.
    unsafe { put(to, std::ptr::null()) };
    NOT_FOUND
}
