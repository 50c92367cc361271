//! NVRTC's C interface, taken from one file. The functions and their meaning are those of NVIDIA's NVRTC documentation;
//! they are the same in versions 12 and 13.
#![allow(unsafe_code)]
use super::{ImageKind, NvrtcError, blame};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

type Program = *mut c_void;
type Status = c_int;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> Status;
type GetBytes = unsafe extern "C" fn(Program, *mut c_char) -> Status;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Status;

/// The functions of a library that stays loaded until the process ends.
pub(super) struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    error_text: unsafe extern "C" fn(Status) -> *const c_char,
    create: Create,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    log: (GetSize, GetBytes),
    ptx: (GetSize, GetBytes),
    cubin: (GetSize, GetBytes),
}

impl Nvrtc {
    /// Loads `file`, a path or a bare name for the loader.
    ///
    /// # Errors
    /// In words: it does not load, or lacks a function.
    pub(super) fn open(file: &Path) -> Result<Nvrtc, String> {
        // NVRTC opens its builtins by bare name, without a search path of its own. A copy that is mapped already is found.
        if let Some(folder) = file.parent().filter(|f| !f.as_os_str().is_empty()) {
            let entries = std::fs::read_dir(folder).map_err(|e| e.to_string())?;
            let mut builtins: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
            let is_builtins = |name: &str| name.starts_with("libnvrtc-builtins.so.");
            builtins.retain(|p| p.file_name().is_some_and(|n| is_builtins(&n.to_string_lossy())));
            builtins.sort();
            for path in builtins {
                // SAFETY: loading runs the library's initialisers; it is a file that stands beside the NVRTC that the
                // user named or installed. Whether it loads does not matter here: NVRTC says so if it misses it.
                if let Ok(library) = unsafe { libloading::Library::new(&path) } {
                    std::mem::forget(library);
                }
            }
        }
        // SAFETY: loading runs the library's initialisers; it is the file that the user named or installed as NVRTC.
        let library = unsafe { libloading::Library::new(file) }.map_err(|e| e.to_string())?;
        // SAFETY: the types are those of NVRTC's header, and each symbol is looked up under its own name in a library
        // that presents itself as NVRTC.
        let nvrtc = unsafe {
            Nvrtc {
                version: symbol(&library, "nvrtcVersion")?,
                error_text: symbol(&library, "nvrtcGetErrorString")?,
                create: symbol(&library, "nvrtcCreateProgram")?,
                destroy: symbol(&library, "nvrtcDestroyProgram")?,
                compile: symbol(&library, "nvrtcCompileProgram")?,
                log: (symbol(&library, "nvrtcGetProgramLogSize")?, symbol(&library, "nvrtcGetProgramLog")?),
                ptx: (symbol(&library, "nvrtcGetPTXSize")?, symbol(&library, "nvrtcGetPTX")?),
                cubin: (symbol(&library, "nvrtcGetCUBINSize")?, symbol(&library, "nvrtcGetCUBIN")?),
            }
        };
        // The functions are used after this: never unload.
        std::mem::forget(library);
        Ok(nvrtc)
    }

    pub(super) fn version(&self) -> Result<(i32, i32), NvrtcError> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are valid for one int.
        let status = unsafe { (self.version)(&mut major, &mut minor) };
        self.check(status, "its version")?;
        Ok((major, minor))
    }

    /// Compiles `text` for `arch`. Multiplications and additions are not contracted: the text asks for fused ones itself.
    pub(super) fn compile(&self, text: &str, arch: &str, kind: ImageKind) -> Result<Vec<u8>, NvrtcError> {
        let c = |s: &str| CString::new(s).map_err(|_| NvrtcError::Failed("a NUL byte in the text".into()));
        let (source, name) = (c(text)?, c("kernels.cu")?);
        let options = [c(&format!("--gpu-architecture={arch}"))?, c("--std=c++17")?, c("--fmad=false")?];
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program = Job { nvrtc: self, program: std::ptr::null_mut() };
        let null = std::ptr::null;
        // SAFETY: the strings are NUL-terminated and outlive the call; no headers are given.
        let status = unsafe { (self.create)(&mut program.program, source.as_ptr(), name.as_ptr(), 0, null(), null()) };
        self.check(status, "making a program")?;
        // SAFETY: the program was just made; `options` holds three NUL-terminated strings that outlive the call.
        let status = unsafe { (self.compile)(program.program, options.len() as c_int, options.as_ptr()) };
        if status != 0 {
            let log = program.bytes(self.log, "its log").unwrap_or_default();
            let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim_end().to_string();
            let (arch, code) = (arch.to_string(), self.describe(status));
            return Err(NvrtcError::Refused { arch, code, kernel: blame(text, &log), log });
        }
        let mut bytes = match kind {
            ImageKind::Ptx => program.bytes(self.ptx, "PTX")?,
            ImageKind::Cubin => program.bytes(self.cubin, "a cubin")?,
        };
        if kind == ImageKind::Ptx && bytes.last() == Some(&0) {
            bytes.pop();
        }
        if bytes.is_empty() { Err(NvrtcError::Failed(format!("nothing came out for {arch}"))) } else { Ok(bytes) }
    }

    fn check(&self, status: Status, what: &str) -> Result<(), NvrtcError> {
        if status == 0 { Ok(()) } else { Err(NvrtcError::Failed(format!("{what}: {}", self.describe(status)))) }
    }

    fn describe(&self, status: Status) -> String {
        // SAFETY: the function takes any number and gives null or a string that lives as long as the library.
        let text = unsafe { (self.error_text)(status) };
        if text.is_null() {
            return format!("error {status}");
        }
        // SAFETY: not null, hence a NUL-terminated string of the library.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

/// A function of the library.
///
/// # Safety
/// `T` is the function pointer type of the symbol.
unsafe fn symbol<T: Copy>(library: &libloading::Library, name: &str) -> Result<T, String> {
    // SAFETY: the caller gives the right type.
    unsafe { library.get::<T>(name.as_bytes()) }.map(|s| *s).map_err(|_| format!("it has no function {name}"))
}

/// A program that is destroyed when dropped.
struct Job<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl Job<'_> {
    /// Asks for a size, then for that many bytes.
    fn bytes(&self, (size, get): (GetSize, GetBytes), what: &str) -> Result<Vec<u8>, NvrtcError> {
        let mut n = 0;
        // SAFETY: the program is alive; the pointer is valid for one size.
        let status = unsafe { size(self.program, &mut n) };
        self.nvrtc.check(status, what)?;
        let mut bytes = vec![0u8; n];
        if n > 0 {
            // SAFETY: the program is alive; NVRTC writes exactly the number of bytes that it just gave.
            let status = unsafe { get(self.program, bytes.as_mut_ptr().cast()) };
            self.nvrtc.check(status, what)?;
        }
        Ok(bytes)
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        if !self.program.is_null() {
            // SAFETY: the program was made by this library and is destroyed once. A failure leaves nothing to do.
            let _ = unsafe { (self.nvrtc.destroy)(&mut self.program) };
        }
    }
}
