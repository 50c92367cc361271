//! The CUDA driver's C interface, taken from one library. Names, types and numbers are those of NVIDIA's driver API.
//!
//! The library is opened here rather than through a binding: a missing library or function is then an error like any other
//! (bindings that load lazily panic), and a file can be named, which is how tests put a stand-in in its place.
#![allow(unsafe_code)]
use super::RuntimeError;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::PathBuf;

pub(super) type Status = c_int;
pub(super) type Address = u64;
pub(super) type Handle = *mut c_void;

/// Statuses that are told apart.
pub(super) const OUT_OF_MEMORY: Status = 2;
const NO_DEVICE: Status = 100;

/// Attributes of devices and functions.
pub(super) const CC_MAJOR: c_int = 75;
pub(super) const CC_MINOR: c_int = 76;
pub(super) const MAX_DYNAMIC_SHARED: c_int = 8;

type Launch = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    Handle,
    *mut *mut c_void,
    *mut *mut c_void,
) -> Status;

/// The functions in use. The library stays loaded until the process ends.
pub(super) struct Driver {
    init: unsafe extern "C" fn(c_uint) -> Status,
    error_name: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
    pub device_count: unsafe extern "C" fn(*mut c_int) -> Status,
    pub device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    pub device_name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> Status,
    pub device_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    pub context_retain: unsafe extern "C" fn(*mut Handle, c_int) -> Status,
    pub context_release: unsafe extern "C" fn(c_int) -> Status,
    pub context_set: unsafe extern "C" fn(Handle) -> Status,
    pub alloc: unsafe extern "C" fn(*mut Address, usize) -> Status,
    pub free: unsafe extern "C" fn(Address) -> Status,
    pub to_device: unsafe extern "C" fn(Address, *const c_void, usize, Handle) -> Status,
    pub to_host: unsafe extern "C" fn(*mut c_void, Address, usize, Handle) -> Status,
    pub stream_create: unsafe extern "C" fn(*mut Handle, c_uint) -> Status,
    pub stream_destroy: unsafe extern "C" fn(Handle) -> Status,
    pub stream_wait: unsafe extern "C" fn(Handle) -> Status,
    pub event_create: unsafe extern "C" fn(*mut Handle, c_uint) -> Status,
    pub event_record: unsafe extern "C" fn(Handle, Handle) -> Status,
    pub event_wait: unsafe extern "C" fn(Handle) -> Status,
    pub event_elapsed: unsafe extern "C" fn(*mut f32, Handle, Handle) -> Status,
    pub event_destroy: unsafe extern "C" fn(Handle) -> Status,
    pub module_load: unsafe extern "C" fn(*mut Handle, *const c_void) -> Status,
    pub module_unload: unsafe extern "C" fn(Handle) -> Status,
    pub module_function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> Status,
    pub function_set: unsafe extern "C" fn(Handle, c_int, c_int) -> Status,
    pub launch: Launch,
    pub capture_begin: unsafe extern "C" fn(Handle, c_uint) -> Status,
    pub capture_end: unsafe extern "C" fn(Handle, *mut Handle) -> Status,
    pub graph_make: unsafe extern "C" fn(*mut Handle, Handle, u64) -> Status,
    pub graph_launch: unsafe extern "C" fn(Handle, Handle) -> Status,
    pub graph_destroy: unsafe extern "C" fn(Handle) -> Status,
    pub made_destroy: unsafe extern "C" fn(Handle) -> Status,
}

/// Where the driver is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverSearch {
    /// A file, instead of the loader's `libcuda.so.1`.
    pub file: Option<PathBuf>,
}

impl DriverSearch {
    /// `SPC_LIBCUDA`, a file, where it is set; else the loader's path.
    pub fn from_env() -> DriverSearch {
        DriverSearch { file: std::env::var_os("SPC_LIBCUDA").filter(|v| !v.is_empty()).map(PathBuf::from) }
    }
}

/// A function of the library.
///
/// # Safety
/// `T` is the function pointer type of the symbol.
unsafe fn symbol<T: Copy>(library: &libloading::Library, file: &str, name: &'static str) -> Result<T, RuntimeError> {
    // SAFETY: the caller gives the right type.
    let found = unsafe { library.get::<T>(name.as_bytes()) };
    found.map(|s| *s).map_err(|_| RuntimeError::Hollow { library: file.to_string(), function: name })
}

impl Driver {
    /// Loads the driver and starts it.
    pub fn open(search: &DriverSearch) -> Result<Driver, RuntimeError> {
        let name = search.file.clone().unwrap_or_else(|| PathBuf::from("libcuda.so.1"));
        let file = name.display().to_string();
        // SAFETY: loading runs the library's initialisers; it is the system's driver or the file that the user named.
        let library = unsafe { libloading::Library::new(&name) }.map_err(|e| RuntimeError::NoDriver(e.to_string()))?;
        let l = &library;
        // SAFETY: the types are those of the driver API's header, and each symbol is looked up under its own name in a
        // library that presents itself as the driver.
        let driver = unsafe {
            Driver {
                init: symbol(l, &file, "cuInit")?,
                error_name: symbol(l, &file, "cuGetErrorName")?,
                device_count: symbol(l, &file, "cuDeviceGetCount")?,
                device_get: symbol(l, &file, "cuDeviceGet")?,
                device_name: symbol(l, &file, "cuDeviceGetName")?,
                device_attribute: symbol(l, &file, "cuDeviceGetAttribute")?,
                context_retain: symbol(l, &file, "cuDevicePrimaryCtxRetain")?,
                context_release: symbol(l, &file, "cuDevicePrimaryCtxRelease_v2")?,
                context_set: symbol(l, &file, "cuCtxSetCurrent")?,
                alloc: symbol(l, &file, "cuMemAlloc_v2")?,
                free: symbol(l, &file, "cuMemFree_v2")?,
                to_device: symbol(l, &file, "cuMemcpyHtoDAsync_v2")?,
                to_host: symbol(l, &file, "cuMemcpyDtoHAsync_v2")?,
                stream_create: symbol(l, &file, "cuStreamCreate")?,
                stream_destroy: symbol(l, &file, "cuStreamDestroy_v2")?,
                stream_wait: symbol(l, &file, "cuStreamSynchronize")?,
                event_create: symbol(l, &file, "cuEventCreate")?,
                event_record: symbol(l, &file, "cuEventRecord")?,
                event_wait: symbol(l, &file, "cuEventSynchronize")?,
                event_elapsed: symbol(l, &file, "cuEventElapsedTime")?,
                event_destroy: symbol(l, &file, "cuEventDestroy_v2")?,
                module_load: symbol(l, &file, "cuModuleLoadData")?,
                module_unload: symbol(l, &file, "cuModuleUnload")?,
                module_function: symbol(l, &file, "cuModuleGetFunction")?,
                function_set: symbol(l, &file, "cuFuncSetAttribute")?,
                launch: symbol(l, &file, "cuLaunchKernel")?,
                capture_begin: symbol(l, &file, "cuStreamBeginCapture_v2")?,
                capture_end: symbol(l, &file, "cuStreamEndCapture")?,
                graph_make: symbol(l, &file, "cuGraphInstantiateWithFlags")?,
                graph_launch: symbol(l, &file, "cuGraphLaunch")?,
                graph_destroy: symbol(l, &file, "cuGraphDestroy")?,
                made_destroy: symbol(l, &file, "cuGraphExecDestroy")?,
            }
        };
        // The functions are used after this: never unload.
        std::mem::forget(library);
        // SAFETY: the flags must be 0, and are.
        let status = unsafe { (driver.init)(0) };
        match status {
            0 => Ok(driver),
            _ => Err(RuntimeError::NoDevice(driver.describe(status))),
        }
    }

    /// An error with the name of the function that gave it.
    pub fn check(&self, status: Status, function: &'static str) -> Result<(), RuntimeError> {
        match status {
            0 => Ok(()),
            NO_DEVICE => Err(RuntimeError::NoDevice(self.describe(status))),
            _ => Err(RuntimeError::Call { function, code: self.describe(status) }),
        }
    }

    /// The name of a status, `CUDA_ERROR_INVALID_VALUE (1)`.
    pub fn describe(&self, status: Status) -> String {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the pointer is valid for one pointer; any status may be asked for.
        let known = unsafe { (self.error_name)(status, &mut text) };
        if known != 0 || text.is_null() {
            return format!("error {status}");
        }
        // SAFETY: a name that the driver gave is a NUL-terminated string that is never freed.
        format!("{} ({status})", unsafe { CStr::from_ptr(text) }.to_string_lossy())
    }
}
