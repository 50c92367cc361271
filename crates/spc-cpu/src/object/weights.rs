//! The weights of an object as one block of bytes, to be a file that is mapped or data of the object.
//!
//! | bytes | what, little-endian |
//! | --- | --- |
//! | 0..8 | `SPCWGT` and two zeros |
//! | 8..12 | version of this form, 1 |
//! | 12..16 | bytes of this header, 64 |
//! | 16..24 | bytes of the whole |
//! | 24..32 | number of arrays |
//! | 32..48 | hash of what follows the header |
//! | 48..64 | zeros |
//!
//! The arrays follow, each at a multiple of 64 bytes and filled up with zeros to one. An object knows where its arrays lie
//! and the hash of the block that belongs to it.
use spc_base::Bug;
use spc_kernel::{Program, Role, Sources, constant_bytes};
use std::collections::BTreeMap;

/// Bytes before the first array.
pub const HEADER_BYTES: usize = 64;
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"SPCWGT\0\0");
pub(super) const VERSION: u64 = 1 | (HEADER_BYTES as u64) << 32;

/// One multiplier for each of the four sums of the hash: the fractional parts of the square roots of 2, 3, 5 and 7, made odd.
pub(super) const FACTORS: [u64; 4] =
    [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];
/// Places by which a sum turns after each word.
pub(super) const TURN: u32 = 29;

/// A block of weights and where its arrays are.
pub(super) struct Weights {
    pub bytes: Vec<u8>,
    /// Offset and number of bytes, by what is there.
    pub places: BTreeMap<Role, (u64, u64)>,
    pub hash: [u64; 2],
}

/// Two numbers that differ if the blocks differ in one word, and most likely if they differ in more. Word `i` goes into
/// sum `i % 4`, each step of which can be undone, as can the combination of two sums if the other is known. Not a
/// protection against somebody who chooses the bytes.
pub(super) fn hash(bytes: &[u8]) -> [u64; 2] {
    let mut sums = FACTORS;
    for chunk in bytes.chunks_exact(32) {
        for ((sum, factor), word) in sums.iter_mut().zip(FACTORS).zip(chunk.chunks_exact(8)) {
            let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
            *sum = (*sum ^ word).wrapping_mul(factor).rotate_left(TURN);
        }
    }
    [0, 2].map(|i| sums[i].wrapping_mul(FACTORS[i]).wrapping_add(sums[i + 1]))
}

/// Collects what the programs read, each array once.
pub(super) fn collect<'a>(programs: impl Iterator<Item = &'a Program>, from: &dyn Sources) -> Result<Weights, Bug> {
    let mut bytes = vec![0; HEADER_BYTES];
    let mut places = BTreeMap::new();
    for p in programs {
        for b in p.buffers() {
            if places.contains_key(&b.role) {
                continue;
            }
            if let Some(array) = constant_bytes(p, b, from)? {
                places.insert(b.role.clone(), (bytes.len() as u64, array.len() as u64));
                bytes.extend(array);
                bytes.resize(bytes.len().next_multiple_of(HEADER_BYTES), 0);
            }
        }
    }
    let hash = hash(&bytes[HEADER_BYTES..]);
    let words = [MAGIC, VERSION, bytes.len() as u64, places.len() as u64, hash[0], hash[1], 0, 0];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    Ok(Weights { bytes, places, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_bit_changes_the_hash() {
        let mut bytes: Vec<u8> = (0..192u32).map(|i| (i * 7) as u8).collect();
        let was = hash(&bytes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert_ne!(hash(&bytes), was);
                bytes[at] ^= 1 << bit;
            }
        }
        assert_eq!(hash(&bytes), was);
        bytes.swap(0, 32);
        assert_ne!(hash(&bytes), was);
    }
}
