//! Writing arrays that are larger than the caches without reading them first.
//!
//! A store to memory that is not in the cache reads the line before it writes it. An array that a sweep only writes is therefore
//! written to room of one block, which stays in the first cache, and from there to memory by stores that pass the cache by.
#![allow(unsafe_code)]
use std::sync::{Mutex, PoisonError};

/// From so many weights on arrays pass the cache by: 16 MiB of floats. Other processors write whole lines without reading them.
pub(crate) const STREAM: usize = if cfg!(target_arch = "x86_64") { 1 << 22 } else { usize::MAX };

/// Weights of a block while arrays do: what the passes read and write of it stays in the first cache, about.
pub(crate) const SMALL: usize = 1 << 12;

/// Most bytes of a block's room for one array.
pub(crate) const MOST: usize = 1 << 18;

const LINE: usize = 64;

/// Room for the blocks of all threads; each takes one while it works.
pub(crate) struct Rooms {
    bytes: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// Room for one block, handed back when it is dropped.
pub(crate) struct Room<'a> {
    of: &'a Rooms,
    bytes: Vec<u8>,
}

impl Rooms {
    /// Each of so many bytes, from a multiple of a cache line on.
    pub fn new(bytes: usize) -> Rooms {
        Rooms { bytes, free: Mutex::default() }
    }

    pub fn take(&self) -> Room<'_> {
        let own = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Room { of: self, bytes: own.unwrap_or_else(|| vec![0; self.bytes + LINE]) }
    }
}

impl Room<'_> {
    /// Where it begins.
    pub fn address(&mut self) -> u64 {
        (self.bytes.as_mut_ptr() as u64).next_multiple_of(LINE as u64)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let own = std::mem::take(&mut self.bytes);
        self.of.free.lock().unwrap_or_else(PoisonError::into_inner).push(own);
    }
}

/// What is read next. While lines are written past the cache the processor has nothing to compute, so it fetches these.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Addresses of the next line and behind the last, last array first.
    arrays: Vec<(usize, usize)>,
    /// So many lines are fetched for each one that is written.
    each: usize,
}

impl Ahead {
    /// `written` bytes are written meanwhile.
    pub fn begin(&mut self, arrays: impl Iterator<Item = (usize, usize)>, written: usize) {
        self.arrays.clear();
        self.arrays.extend(arrays);
        let bytes: usize = self.arrays.iter().map(|(from, to)| to.saturating_sub(*from)).sum();
        self.each = bytes.div_ceil(written.max(1));
    }

    #[inline(always)]
    fn fetch(&mut self) {
        for _ in 0..self.each {
            let Some((at, end)) = self.arrays.last_mut() else { return };
            if *at >= *end {
                self.arrays.pop();
                continue;
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a hint, which reads nothing, whatever the address is.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T1>(*at as *const i8);
            }
            *at += LINE;
        }
    }
}

/// Copies `n` bytes past the cache. They are visible to other threads after [`done`].
///
/// # Safety
/// `from` may be read and `to` written for `n` bytes, and they do not overlap.
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, n: usize, ahead: &mut Ahead) {
    let head = to.align_offset(LINE).min(n);
    let lines = (n - head) / LINE;
    let tail = n - head - lines * LINE;
    // SAFETY: three parts of the same `n` bytes; the middle begins at a multiple of a line.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, head);
        whole_lines(from.add(head), to.add(head), lines, ahead);
        std::ptr::copy_nonoverlapping(from.add(n - tail), to.add(n - tail), tail);
    }
}

/// # Safety
/// As [`copy`] for `lines` lines; `to` is a multiple of a line.
#[cfg(target_arch = "x86_64")]
unsafe fn whole_lines(from: *const u8, to: *mut u8, lines: usize, ahead: &mut Ahead) {
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions; the rest as promised here.
        unsafe { lines_512(from, to, lines, ahead) }
    } else if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has the instructions; the rest as promised here.
        unsafe { lines_256(from, to, lines, ahead) }
    } else {
        // SAFETY: as promised here.
        unsafe { std::ptr::copy_nonoverlapping(from, to, lines * LINE) }
    }
}

/// # Safety
/// As [`whole_lines`], on a processor with AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn lines_512(from: *const u8, to: *mut u8, lines: usize, ahead: &mut Ahead) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
    for i in 0..lines {
        ahead.fetch();
        // SAFETY: line `i` lies inside both, and `to` is aligned for it.
        unsafe { _mm512_stream_si512(to.add(i * LINE).cast(), _mm512_loadu_si512(from.add(i * LINE).cast())) };
    }
}

/// # Safety
/// As [`whole_lines`], on a processor with AVX.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn lines_256(from: *const u8, to: *mut u8, lines: usize, ahead: &mut Ahead) {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_stream_si256};
    for i in 0..lines {
        ahead.fetch();
        // SAFETY: line `i` lies inside both, and `to` is aligned for it.
        unsafe {
            let (from, to) = (from.add(i * LINE).cast::<__m256i>(), to.add(i * LINE).cast::<__m256i>());
            let (x, y) = (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)));
            _mm256_stream_si256(to, x);
            _mm256_stream_si256(to.add(1), y);
        }
    }
}

/// # Safety
/// As [`copy`] for `lines` lines.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn whole_lines(from: *const u8, to: *mut u8, lines: usize, _: &mut Ahead) {
    // SAFETY: as promised here.
    unsafe { std::ptr::copy_nonoverlapping(from, to, lines * LINE) }
}

/// Waits until what [`copy`] wrote is in memory.
pub(crate) fn done() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an instruction that every such processor has, without operands.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_at_any_address_and_no_others_change() {
        let from: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut ahead = Ahead::default();
        for begin in [0usize, 1, 4, 16, 63, 64, 65] {
            // What is fetched may lie anywhere, and may end before or after what is written.
            ahead.begin([(1 << 40, (1 << 40) + 100), (0, begin)].into_iter(), 64);
            for n in [0usize, 1, 5, 63, 64, 65, 128, 500, 900] {
                let mut to = vec![255u8; 1000];
                // SAFETY: `begin + n` is at most 1000.
                unsafe { copy(from.as_ptr().add(3), to.as_mut_ptr().add(begin), n, &mut ahead) };
                done();
                assert!(to[..begin].iter().chain(&to[begin + n..]).all(|x| *x == 255), "{begin} {n}");
                assert_eq!(to[begin..begin + n], from[3..3 + n], "{begin} {n}");
            }
        }
    }

    #[test]
    fn rooms_begin_at_a_line_and_are_used_again() {
        let rooms = Rooms::new(100);
        let mut a = rooms.take();
        let at = a.address();
        assert!(at.is_multiple_of(64));
        drop(a);
        assert_eq!(rooms.take().address(), at);
    }
}
