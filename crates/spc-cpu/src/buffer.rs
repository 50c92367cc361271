//! Storage aligned to 64 bytes.
#![allow(unsafe_code)]

/// Alignment of every buffer that kernels use, in bytes.
pub const ALIGN: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGN]);

/// Bytes at an address divisible by [`ALIGN`], zero at first. The storage is padded to whole lines of 64 bytes.
#[derive(Clone, Default)]
pub struct AlignedBuf {
    lines: Vec<Line>,
    len: usize,
}

/// Asks the system to keep the storage in pages of 2 MiB, because streams of weights otherwise wait for translations of
/// addresses. Best effort: nothing depends on it.
#[cfg(target_os = "linux")]
fn want_large_pages(lines: &mut Vec<Line>) {
    const PAGE: usize = 2 << 20;
    let start = lines.as_mut_ptr() as usize;
    let from = start.next_multiple_of(PAGE);
    let to = (start + lines.capacity() * ALIGN) / PAGE * PAGE;
    if from < to {
        // SAFETY: the range lies inside the vector's own storage, and the advice changes no contents.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn want_large_pages(_: &mut Vec<Line>) {}

impl AlignedBuf {
    pub fn zeroed(len: usize) -> AlignedBuf {
        let mut lines = Vec::with_capacity(len.div_ceil(ALIGN));
        want_large_pages(&mut lines);
        lines.resize(len.div_ceil(ALIGN), Line([0; ALIGN]));
        AlignedBuf { lines, len }
    }

    pub fn from_bytes(bytes: &[u8]) -> AlignedBuf {
        let mut b = AlignedBuf::zeroed(bytes.len());
        b.bytes_mut().copy_from_slice(bytes);
        b
    }

    pub fn from_f32(values: &[f32]) -> AlignedBuf {
        let mut b = AlignedBuf::zeroed(4 * values.len());
        for (to, x) in b.bytes_mut().chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&x.to_ne_bytes());
        }
        b
    }

    /// Makes the buffer hold `len` bytes, or says that there is no memory for them. What they contain is not defined.
    pub fn try_resize(&mut self, len: usize) -> Result<(), std::collections::TryReserveError> {
        let lines = len.div_ceil(ALIGN);
        let room = self.lines.capacity();
        self.lines.try_reserve_exact(lines.saturating_sub(self.lines.len()))?;
        if self.lines.capacity() != room {
            want_large_pages(&mut self.lines);
        }
        self.lines.resize(lines, Line([0; ALIGN]));
        self.len = len;
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the lines are `len` or more contiguous initialised bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// The whole floats that the buffer holds.
    pub fn f32s(&self) -> &[f32] {
        // SAFETY: the storage is aligned to 64, holds `len` initialised bytes, and every pattern of bits is an f32.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len / 4) }
    }

    /// The whole 32-bit words that the buffer holds.
    pub fn u32s(&self) -> &[u32] {
        // SAFETY: as above, for u32.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len / 4) }
    }

    pub fn f32s_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len / 4) }
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_keep_their_bytes() {
        for len in [0usize, 1, 63, 64, 65, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let b = AlignedBuf::from_bytes(&bytes);
            assert_eq!(b.bytes(), bytes);
            assert_eq!(b.bytes().as_ptr() as usize % ALIGN, 0);
            assert_eq!(b.f32s().len(), len / 4);
        }
        assert_eq!(AlignedBuf::from_f32(&[1.5, -2.0]).f32s(), [1.5, -2.0]);
        assert!(AlignedBuf::default().is_empty());
        let mut b = AlignedBuf::zeroed(1);
        assert!(b.try_resize(isize::MAX as usize).is_err());
        assert_eq!(b.bytes(), [0]);
        b.try_resize(200).unwrap();
        assert_eq!(b.bytes().len(), 200);
    }
}
