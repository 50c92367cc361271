//! Which stored elements are not zero, whatever their type, without a conversion.
use super::header::StoredType;

/// How to look at the elements of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Bytes of an element: 1, 2, 4 or 8.
    size: usize,
    /// An element is zero when none of these bits is set: the sign of a float does not count.
    value: u64,
    /// The exponent of a float; all bits set means NaN or an infinity.
    exponent: Option<u64>,
}

impl StoredType {
    /// `None` for types whose elements are smaller than a byte, have two parts, or have no zero.
    pub fn presence(self) -> Option<Presence> {
        let whole = |size: usize| Presence { size, value: u64::MAX >> (64 - 8 * size), exponent: None };
        let float = |size: usize, exponent: u64| {
            let value = u64::MAX >> (65 - 8 * size);
            Presence { size, value, exponent: Some(exponent) }
        };
        Some(match self {
            StoredType::F64 => float(8, 0x7ff0_0000_0000_0000),
            StoredType::F32 => float(4, 0x7f80_0000),
            StoredType::F16 => float(2, 0x7c00),
            StoredType::BF16 => float(2, 0x7f80),
            StoredType::I64 | StoredType::U64 => whole(8),
            StoredType::I32 | StoredType::U32 => whole(4),
            StoredType::I16 | StoredType::U16 => whole(2),
            StoredType::I8 | StoredType::U8 | StoredType::BOOL => whole(1),
            _ => return None,
        })
    }
}

impl Presence {
    /// Bytes of one element.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Sets bit `i` of `bits` where element `i` of `bytes` is present, NaN included, and clears the others; the number of
    /// elements that are NaN or infinite. `bits` has a bit for each element.
    pub fn bits(&self, bytes: &[u8], bits: &mut [u64]) -> u64 {
        bits.fill(0);
        match self.size {
            1 => self.each::<1>(bytes, bits, |b| u64::from(b[0])),
            2 => self.each::<2>(bytes, bits, |b| u64::from(u16::from_le_bytes(b))),
            4 => self.each::<4>(bytes, bits, |b| u64::from(u32::from_le_bytes(b))),
            _ => self.each::<8>(bytes, bits, u64::from_le_bytes),
        }
    }

    fn each<const N: usize>(&self, bytes: &[u8], bits: &mut [u64], word: impl Fn([u8; N]) -> u64) -> u64 {
        let mut strange = 0;
        let (elements, _) = bytes.as_chunks::<N>();
        for (out, part) in bits.iter_mut().zip(elements.chunks(64)) {
            for (i, e) in part.iter().enumerate() {
                let w = word(*e);
                *out |= u64::from(w & self.value != 0) << i;
                strange += u64::from(self.exponent.is_some_and(|m| w & m == m));
            }
        }
        strange
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_either_sign_are_absent_and_nan_is_present() {
        let values = [0.0f32, -0.0, f32::NAN, f32::INFINITY, -1.0, f32::from_bits(1)];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut bits = [u64::MAX];
        assert_eq!(StoredType::F32.presence().unwrap().bits(&bytes, &mut bits), 2);
        assert_eq!(bits, [0b11_1100]);
        let wide: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
        assert_eq!((StoredType::F64.presence().unwrap().bits(&wide, &mut bits), bits), (2, [0b11_1100]));
        let halves = [0x0000u16, 0x8000, 0x7e00, 0xfc00, 0x0001];
        let bytes: Vec<u8> = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!((StoredType::F16.presence().unwrap().bits(&bytes, &mut bits), bits), (2, [0b1_1100]));
        // The same bits are large numbers in bf16.
        assert_eq!((StoredType::BF16.presence().unwrap().bits(&bytes, &mut bits), bits), (0, [0b1_1100]));
        let special: Vec<u8> = [0x8000u16, 0x7f80, 0xffc0].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!((StoredType::BF16.presence().unwrap().bits(&special, &mut bits), bits), (2, [0b110]));
        // The sign of an integer is a value.
        assert_eq!((StoredType::I16.presence().unwrap().bits(&bytes, &mut bits), bits), (0, [0b1_1110]));
    }

    #[test]
    fn more_elements_than_a_word_and_none_at_all() {
        let bytes: Vec<u8> = (0..130u8).map(|i| i % 2).collect();
        let mut bits = [7u64; 3];
        StoredType::U8.presence().unwrap().bits(&bytes, &mut bits);
        assert_eq!(bits, [0xaaaa_aaaa_aaaa_aaaa, 0xaaaa_aaaa_aaaa_aaaa, 2]);
        StoredType::BOOL.presence().unwrap().bits(&[], &mut bits[..0]);
    }
}
