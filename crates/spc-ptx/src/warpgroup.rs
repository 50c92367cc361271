//! Products of warp groups (`wgmma.mma_async.sp` with its left side in registers): what is in flight, and what must not be
//! touched meanwhile.
//!
//! A product is computed when it is issued. Its sums show at the wait that covers its group; until then their registers hold
//! NaN, and a write to them or to the registers of the left side is a fault. So is a change of the shared memory that it
//! reads between issue and wait, a register written since the last `wgmma.fence`, and shared memory whose writer has not
//! passed a `fence.proxy.async`. The four warps of a group must issue the same products.
use crate::matrix::{Lanes, Number, half, sparse_column};
use crate::memory::SHARED_BITS;
use std::collections::BTreeMap;

/// Bytes of a row of the right side that one product reads: 32 columns of 16 bits.
const ROW: u64 = 64;

/// One product in flight.
struct Product {
    left: Vec<usize>,
    sums: Vec<usize>,
    /// Start, and what was there.
    right: Vec<(u64, Vec<u8>)>,
}

/// What a warp has asked of the tensor cores of its group.
#[derive(Default)]
pub(crate) struct Products {
    /// Registers written since the last fence.
    touched: Vec<bool>,
    /// Uses of a register by products in flight.
    busy: Vec<u32>,
    sums: BTreeMap<usize, Lanes>,
    open: Vec<Product>,
    groups: Vec<Vec<Product>>,
    /// A write to a busy register.
    pub wrong: Option<String>,
    /// Of the lines of all products, to compare the warps of a group.
    pub digest: u64,
}

/// The operands of a product, by register.
pub(crate) struct Operands {
    pub sums: Vec<usize>,
    pub left: Vec<usize>,
    pub meta: usize,
    pub selector: usize,
    pub descriptor: u64,
    pub number: Number,
    pub line: usize,
}

/// Where row `n` of the right side lies, in pieces of 16 bytes: rows of 128 bytes, eight of them a pattern in which the number
/// of a piece is xored with that of its row.
fn pieces(descriptor: u64, n: u64) -> Result<[u64; 4], String> {
    let (start, distance) = ((descriptor & 0x3fff) << 4, (descriptor >> 32 & 0x3fff) << 4);
    if descriptor >> 62 != 1 {
        return Err("a descriptor of another swizzle than 128 bytes".into());
    }
    if descriptor >> 49 & 7 != 0 || start >> 7 & 7 != 0 {
        return Err(format!("a pattern of 8 rows of 128 bytes starts at {start:#x}, no multiple of 1024"));
    }
    if (start & 127) + ROW > 128 {
        return Err(format!("32 columns from {start:#x} on do not lie in a row of 128 bytes"));
    }
    let row = start + n / 8 * distance + n % 8 * 128;
    Ok(std::array::from_fn(|i| {
        let at = row + 16 * i as u64;
        (at ^ (at >> 7 & 7) << 4) & ((1 << SHARED_BITS) - 1)
    }))
}

impl Products {
    pub fn new(registers: usize) -> Products {
        Products { touched: vec![true; registers], busy: vec![0; registers], ..Products::default() }
    }

    /// A register is written by another instruction.
    pub fn written(&mut self, register: usize) {
        self.touched[register] = true;
        if self.busy[register] > 0 {
            self.wrong = Some("a register of a product in flight is written".into());
        }
    }

    pub fn fence(&mut self) {
        self.touched.fill(false);
    }

    pub fn commit(&mut self) {
        self.groups.push(std::mem::take(&mut self.open));
    }

    pub fn idle(&self) -> bool {
        self.open.is_empty() && self.groups.iter().all(Vec::is_empty)
    }

    /// Starts a product of the 16 rows of this warp. `read` gives 16 bytes of shared memory that a product may read.
    ///
    /// # Errors
    /// What the device leaves undefined.
    pub fn issue(
        &mut self,
        registers: &mut [Lanes],
        o: &Operands,
        read: &mut dyn FnMut(u64) -> Result<[u8; 16], String>,
    ) -> Result<(), String> {
        let columns = o.sums.len() * 2;
        let used = o.left.iter().chain(&o.sums).chain([&o.meta]);
        if used.clone().any(|r| self.touched[*r] && !(o.sums.contains(r) && self.sums.contains_key(r))) {
            return Err("a register of a product was written since the last wgmma.fence".into());
        }
        let mut seen = Vec::with_capacity(columns * 4);
        let mut right = vec![[0f32; 32]; columns];
        for (n, row) in right.iter_mut().enumerate() {
            for (i, at) in pieces(o.descriptor, n as u64)?.into_iter().enumerate() {
                let bytes = read(at)?;
                for (k, pair) in bytes.as_chunks::<2>().0.iter().enumerate() {
                    row[8 * i + k] = half(o.number, u64::from(u16::from_le_bytes(*pair)), 0);
                }
                seen.push((at, bytes.to_vec()));
            }
        }
        let mut sums = vec![[0f32; 16]; columns];
        let at = |lane: usize, i: usize| (lane / 4 + 8 * (i / 2 % 2), i / 4 * 8 + 2 * (lane % 4) + i % 2);
        for (i, r) in o.sums.iter().enumerate() {
            let now = self.sums.get(r).unwrap_or(&registers[*r]);
            for (lane, v) in now.iter().enumerate() {
                let (row, column) = at(lane, i);
                sums[column][row] = f32::from_bits(*v as u32);
            }
        }
        for lane in 0..32 {
            for (r, register) in o.left.iter().enumerate() {
                let row = lane / 4 + 8 * (r % 2);
                for h in 0..2 {
                    let column = sparse_column(&registers[o.meta], o.selector, lane, r, h)?;
                    let value = half(o.number, registers[*register][lane], h);
                    for (sums, x) in sums.iter_mut().zip(&right) {
                        sums[row] += value * x[column];
                    }
                }
            }
        }
        for (i, r) in o.sums.iter().enumerate() {
            let mut lanes = [0u64; 32];
            for (lane, v) in lanes.iter_mut().enumerate() {
                let (row, column) = at(lane, i);
                *v = u64::from(sums[column][row].to_bits());
            }
            self.sums.insert(*r, lanes);
            registers[*r] = [u64::from(u32::MAX); 32];
        }
        used.for_each(|r| self.busy[*r] += 1);
        let left = o.left.iter().copied().chain([o.meta]).collect();
        self.open.push(Product { left, sums: o.sums.clone(), right: seen });
        self.digest = (self.digest ^ o.line as u64).wrapping_mul(0x0100_0000_01b3);
        Ok(())
    }

    /// Until all but the `n` latest groups are complete.
    ///
    /// # Errors
    /// What a product read has changed.
    pub fn wait(
        &mut self,
        n: usize,
        registers: &mut [Lanes],
        read: &mut dyn FnMut(u64) -> Result<[u8; 16], String>,
    ) -> Result<(), String> {
        let done = self.groups.len().saturating_sub(n);
        for p in self.groups.drain(..done).flatten() {
            for (at, bytes) in &p.right {
                if read(*at)?[..] != bytes[..] {
                    return Err(format!("shared memory at {at:#x} changed while a product read it"));
                }
            }
            p.left.iter().chain(&p.sums).for_each(|r| self.busy[*r] -= 1);
            for r in p.sums {
                if self.busy[r] == 0
                    && let Some(lanes) = self.sums.remove(&r)
                {
                    registers[r] = lanes;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_of_128_bytes_is_that_of_the_descriptor() {
        let descriptor = |start: u64| start >> 4 | 64 << 32 | 1 << 62;
        assert_eq!(pieces(descriptor(1024), 0).unwrap(), [1024, 1040, 1056, 1072]);
        // Row 3: pieces 0..4 at 3, 2, 1, 0; the other half of the columns at 7, 6, 5, 4.
        assert_eq!(pieces(descriptor(1024), 3).unwrap().map(|a| a - 1024 - 3 * 128), [48, 32, 16, 0]);
        assert_eq!(pieces(descriptor(1024 + 64), 3).unwrap().map(|a| a - 1024 - 3 * 128), [112, 96, 80, 64]);
        assert_eq!(pieces(descriptor(2048), 9).unwrap()[0], 2048 + 1024 + 128 + 16);
        for (bad, word) in
            [(descriptor(1152), "multiple of 1024"), (descriptor(1024 + 80), "do not lie"), (64, "swizzle")]
        {
            assert!(pieces(bad, 0).unwrap_err().contains(word), "{bad:x}");
        }
    }
}
