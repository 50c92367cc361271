//! A read-only memory map and typed views of it: the only unsafe code of this crate.
#![allow(unsafe_code)]
use crate::error::unreadable;
use memmap2::Mmap;
use spc_base::Diagnostic;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

/// The bytes of a file, paged in when touched.
#[derive(Debug)]
pub struct Map(Mmap);

/// Types for which every bit pattern is a value and which hold no padding.
pub trait Plain: Copy + private::Sealed {}
impl Plain for f32 {}
impl Plain for i32 {}
impl Plain for u32 {}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
}

impl Map {
    /// Maps a regular file. Errors: SP0401.
    pub fn open(path: &Path) -> Result<Map, Diagnostic> {
        let file = File::open(path).map_err(|e| unreadable(path, &e))?;
        let kind = file.metadata().map_err(|e| unreadable(path, &e))?;
        if !kind.is_file() {
            return Err(unreadable(path, &io::Error::other("it is not a regular file")));
        }
        // SAFETY: the map is private to this process and read-only. Rust requires that nobody changes the bytes while
        // they are borrowed; like every program that maps weights we ask that of the user: a file in use must not be
        // rewritten in place. Our own writers never do so, they rename a new file over the old name.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| unreadable(path, &e))?;
        Ok(Map(map))
    }

    /// Lets go of the memory of a range. Bytes that are read again are read from the file.
    pub fn forget(&self, range: Range<usize>) {
        if range.is_empty() || self.0.get(range.clone()).is_none() {
            return;
        }
        // What remains in memory costs memory and nothing else, so a failure is none.
        // SAFETY: the map is a private view of a file that is never written through, so pages that the system drops come back
        // with the file's bytes; that nobody changes those is what `open` asks for.
        #[cfg(unix)]
        let _ = unsafe { self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of `range` as numbers, or `None` where they lie outside the file, are not aligned for `T`, are not a
    /// whole number of them, or where the machine is not little-endian as the files are.
    pub fn view<T: Plain>(&self, range: Range<usize>) -> Option<&[T]> {
        if cfg!(target_endian = "big") {
            return None;
        }
        let bytes = self.0.get(range)?;
        // SAFETY: `T: Plain` admits every bit pattern and has no padding, and `align_to` hands out an aligned middle.
        let (before, middle, after) = unsafe { bytes.align_to::<T>() };
        (before.is_empty() && after.is_empty()).then_some(middle)
    }
}
