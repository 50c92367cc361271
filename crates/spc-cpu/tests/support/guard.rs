//! Memory between pages that nothing may touch.

/// Bytes that end where an unreadable page begins, or begin where one ends.
pub struct Guarded {
    map: *mut libc::c_void,
    whole: usize,
    start: *mut u8,
    len: usize,
}

const PAGE: usize = 4096;

impl Guarded {
    /// With `end`, the byte after the last one is out of reach, else the byte before the first one.
    pub fn new(bytes: &[u8], end: bool) -> Guarded {
        let room = bytes.len().next_multiple_of(PAGE);
        let whole = room + 2 * PAGE;
        // SAFETY: a new private mapping, of which the middle is made accessible.
        let map = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            if room > 0 {
                let inside = map.cast::<u8>().add(PAGE).cast();
                assert_eq!(libc::mprotect(inside, room, libc::PROT_READ | libc::PROT_WRITE), 0);
            }
            map
        };
        let offset = PAGE + if end { room - bytes.len() } else { 0 };
        // SAFETY: inside the accessible part.
        let start = unsafe {
            let start = map.cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
            start
        };
        Guarded { map, whole, start, len: bytes.len() }
    }

    /// Makes what is there unwritable.
    pub fn read_only(self) -> Guarded {
        let room = self.len.next_multiple_of(PAGE);
        if room > 0 {
            // SAFETY: the pages belong to this mapping.
            unsafe {
                let inside = self.map.cast::<u8>().add(PAGE).cast();
                assert_eq!(libc::mprotect(inside, room, libc::PROT_READ), 0);
            }
        }
        self
    }

    pub fn address(&self) -> u64 {
        self.start as u64
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` accessible bytes that live as long as the mapping.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: unmapped once.
        unsafe { libc::munmap(self.map, self.whole) };
    }
}
