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

impl AlignedBuf {
    pub fn zeroed(len: usize) -> AlignedBuf {
        AlignedBuf { lines: vec![Line([0; ALIGN]); len.div_ceil(ALIGN)], len }
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
        self.lines.try_reserve_exact(lines.saturating_sub(self.lines.len()))?;
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
