//! Device memory: buffers at addresses of their own, so that an access outside one is noticed.

/// Bits of an address of shared memory in the descriptor of a matrix.
pub(crate) const SHARED_BITS: u32 = 18;

/// Address of the first buffer, and distance of two.
const STRIDE: u64 = 1 << 36;

/// Buffers by address. An address is never used twice.
#[derive(Debug, Default)]
pub struct Memory {
    buffers: Vec<Option<Vec<u8>>>,
}

impl Memory {
    /// A new buffer of these bytes; its address, a multiple of 2^36.
    ///
    /// # Errors
    /// More than 2^36 bytes, or more than 2^27 buffers.
    pub fn alloc(&mut self, bytes: Vec<u8>) -> Result<u64, String> {
        if bytes.len() as u64 >= STRIDE || self.buffers.len() >= 1 << 27 {
            return Err("out of device memory".into());
        }
        self.buffers.push(Some(bytes));
        Ok(self.buffers.len() as u64 * STRIDE)
    }

    /// Lets go of a buffer.
    ///
    /// # Errors
    /// There is no buffer at this address.
    pub fn free(&mut self, address: u64) -> Result<(), String> {
        let slot = self.slot(address).filter(|_| address.is_multiple_of(STRIDE));
        match slot.and_then(|i| self.buffers.get_mut(i)) {
            Some(b @ Some(_)) => {
                *b = None;
                Ok(())
            }
            _ => Err(format!("there is no buffer at {address:#x}")),
        }
    }

    /// Number of buffers that are not freed.
    pub fn live(&self) -> usize {
        self.buffers.iter().flatten().count()
    }

    /// Bytes of the buffer at `address`, counted from it.
    ///
    /// # Errors
    /// They do not lie in one buffer.
    pub fn read(&self, address: u64, range: std::ops::Range<u64>) -> Result<&[u8], String> {
        let (slot, from) = self.place(address, range.start, range.end)?;
        let all = self.buffers.get(slot).and_then(Option::as_deref).unwrap_or_default();
        let end = from + (range.end - range.start) as usize;
        all.get(from..end).ok_or_else(|| outside(slot, from, range.end - range.start, all.len()))
    }

    /// As [`Memory::read`], to write.
    ///
    /// # Errors
    /// They do not lie in one buffer.
    pub fn write(&mut self, address: u64, range: std::ops::Range<u64>) -> Result<&mut [u8], String> {
        let (slot, from) = self.place(address, range.start, range.end)?;
        let all = self.buffers.get_mut(slot).and_then(Option::as_deref_mut).unwrap_or_default();
        let (end, len) = (from + (range.end - range.start) as usize, all.len());
        all.get_mut(from..end).ok_or_else(|| outside(slot, from, range.end - range.start, len))
    }

    fn slot(&self, address: u64) -> Option<usize> {
        usize::try_from(address / STRIDE).ok()?.checked_sub(1)
    }

    fn place(&self, address: u64, from: u64, to: u64) -> Result<(usize, usize), String> {
        let unmapped = || format!("an access to {address:#x}, where no buffer is");
        let slot = self.slot(address).filter(|i| matches!(self.buffers.get(*i), Some(Some(_)))).ok_or_else(unmapped)?;
        let offset = (address % STRIDE).checked_add(from).filter(|_| from <= to).ok_or_else(unmapped)?;
        Ok((slot, usize::try_from(offset).map_err(|_| unmapped())?))
    }
}

fn outside(slot: usize, from: usize, bytes: u64, len: usize) -> String {
    format!("an access of {bytes} bytes at {from} of buffer {slot}, which has {len} bytes")
}
