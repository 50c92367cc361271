//! What functions return, and why in words.
use spc::Error;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Numbers of `spc_status` and `spc_failure` in `spc.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    Null = 1,
    Size = 2,
    Alignment = 3,
    IndexRange = 6,
    Score = 7,
    Program = 16,
    Name = 17,
    Promise = 18,
    Input = 19,
    Utf8 = 20,
    Handle = 21,
    Bug = 101,
}

/// Why a call did nothing.
pub(crate) struct Refusal {
    status: Status,
    text: String,
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Refusal {
        let status = match e.exit_code() {
            _ if e.codes().iter().any(|c| c == "SP0505") => Status::IndexRange,
            _ if e.codes().iter().any(|c| c == "SP0240") => Status::Score,
            1 => Status::Program,
            2 => Status::Name,
            3 => Status::Promise,
            4 => Status::Input,
            _ => Status::Bug,
        };
        Refusal { status, text: e.to_string() }
    }
}

impl Refusal {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Refusal {
        Refusal { status, text: text.into() }
    }
}

pub(crate) fn refuse<T>(status: Status, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(status, text))
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Text of the last call of this thread that failed.
#[unsafe(no_mangle)]
pub extern "C" fn spc_last_error() -> *const c_char {
    const NONE: &CStr = c"";
    LAST.try_with(|last| last.try_borrow().map_or(NONE.as_ptr(), |text| text.as_ptr())).unwrap_or(NONE.as_ptr())
}

fn keep(text: &str) {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = text));
}

/// Runs the body of a function of C. A panic is a bug, and ends here.
pub(crate) fn answer(body: impl FnOnce() -> Result<(), Refusal>) -> i32 {
    let refusal = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok as i32,
        Ok(Err(r)) => r,
        Err(_) => Refusal { status: Status::Bug, text: "spc stopped where it never should".into() },
    };
    keep(&refusal.text);
    refusal.status as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(answer(|| panic!("expected in this test")), 101);
        // SAFETY: the text lives until the next failure of this thread.
        assert!(!unsafe { CStr::from_ptr(spc_last_error()) }.is_empty());
        assert_eq!(answer(|| refuse(Status::Name, "with\0zero")), 17);
        // SAFETY: as above.
        assert_eq!(unsafe { CStr::from_ptr(spc_last_error()) }, c"withzero");
        let other = std::thread::spawn(|| {
            // SAFETY: as above.
            unsafe { CStr::from_ptr(spc_last_error()) }.is_empty()
        });
        assert!(other.join().unwrap());
    }
}
