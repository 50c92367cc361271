//! Exact widening of 16-bit floats.

/// IEEE 754 binary16 to binary32. Exact; a NaN stays a NaN with its payload in the upper bits.
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits) & 0x3ff;
    match exponent {
        0 => {
            let magnitude = fraction as f32 * 2f32.powi(-24);
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 127 - 15) << 23) | (fraction << 13)),
    }
}

/// bfloat16 to binary32: the upper half of its bits.
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_has_its_value() {
        for bits in 0..=u16::MAX {
            let (sign, e, f) = (bits >> 15, (bits >> 10) & 31, bits & 1023);
            let magnitude = match (e, f) {
                (31, 0) => f64::INFINITY,
                (31, _) => f64::NAN,
                (0, f) => f64::from(f) / f64::from(1 << 24),
                (e, f) => (1.0 + f64::from(f) / 1024.0) * 2f64.powi(i32::from(e) - 15),
            };
            let got = f16_to_f32(bits);
            assert_eq!(got.is_sign_negative(), sign == 1, "{bits:#x}");
            assert!(
                f64::from(got.abs()) == magnitude || got.is_nan() && magnitude.is_nan(),
                "{bits:#x}: {got} is not {magnitude}"
            );
        }
    }

    #[test]
    fn bf16_is_the_upper_half() {
        assert_eq!(bf16_to_f32(0x3f80), 1.0);
        assert_eq!(bf16_to_f32(0xc040), -3.0);
        assert!(bf16_to_f32(0x7fc0).is_nan());
    }
}
