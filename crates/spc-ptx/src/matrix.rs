//! Matrix instructions on the registers of a warp, in the fragment layouts of the PTX ISA. Lane `4g + t`.

/// One register of all lanes.
pub(crate) type Lanes = [u64; 32];

/// What a half of a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Bf16,
    F16,
}

/// The low (0) or high (1) half of a register.
pub(crate) fn half(number: Number, word: u64, h: usize) -> f32 {
    let bits = (word >> (16 * h) & 0xffff) as u32;
    match number {
        Number::Bf16 => f32::from_bits(bits << 16),
        Number::F16 => {
            let (sign, exponent, fraction) = ((bits & 0x8000) << 16, bits >> 10 & 31, bits & 0x3ff);
            match exponent {
                // Subnormal numbers are whole multiples of 2^-24.
                0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
                31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
                _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
            }
        }
    }
}

/// The column of kept value `h` in register `r` of a lane, of 32 columns with 2 of 4 kept.
///
/// # Errors
/// Positions of kept values do not ascend.
pub(crate) fn sparse_column(meta: &Lanes, selector: usize, lane: usize, r: usize, h: usize) -> Result<usize, String> {
    let (t, from) = (lane % 4, (lane & !3) + 2 * selector + r / 2);
    let code = (meta[from] >> (16 * (r % 2) + 4 * t) & 15) as usize;
    if code & 3 >= code >> 2 {
        return Err("positions of kept values do not ascend".into());
    }
    Ok(16 * (r / 2) + 4 * t + if h == 1 { code >> 2 } else { code & 3 })
}

/// `d[16][8] = a[16][16 or 32] * b + c` of numbers of 16 bits with f32 sums. Dense: `a` is `m16n8k16`'s. With `sparse`, the metadata and its
/// selector, it holds 2 of 4 of 32 columns.
///
/// # Errors
/// Positions of kept values do not ascend.
pub(crate) fn multiply(
    a: &[Lanes; 4],
    b: &[Lanes],
    c: &[Lanes; 4],
    sparse: Option<(&Lanes, usize)>,
    number: Number,
) -> Result<[Lanes; 4], String> {
    let (mut left, mut right, mut sums) = ([[(0usize, 0f32); 16]; 16], [[0f32; 8]; 32], [[0f32; 8]; 16]);
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for (r, word) in a.iter().enumerate() {
            let row = g + 8 * (r % 2);
            for h in 0..2 {
                let (at, column) = match sparse {
                    None => (8 * (r / 2) + 2 * t + h, 8 * (r / 2) + 2 * t + h),
                    Some((meta, selector)) => (2 * (4 * (r / 2) + t) + h, sparse_column(meta, selector, lane, r, h)?),
                };
                left[row][at] = (column, half(number, word[lane], h));
            }
        }
        for (r, word) in b.iter().enumerate().take(4) {
            for h in 0..2 {
                right[8 * r + 2 * t + h][g] = half(number, word[lane], h);
            }
        }
        for (r, word) in c.iter().enumerate() {
            sums[g + 8 * (r / 2)][2 * t + r % 2] = f32::from_bits(word[lane] as u32);
        }
    }
    for (row, sums) in left.iter().zip(&mut sums) {
        for (column, value) in row {
            for (sum, x) in sums.iter_mut().zip(&right[*column]) {
                *sum += value * x;
            }
        }
    }
    let mut out = [[0u64; 32]; 4];
    for lane in 0..32 {
        for (r, word) in out.iter_mut().enumerate() {
            word[lane] = u64::from(sums[lane / 4 + 8 * (r / 2)][2 * (lane % 4) + r % 2].to_bits());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The product by its definition, operands given by row and column.
    fn lanes(f: impl Fn(usize) -> u64) -> Lanes {
        std::array::from_fn(f)
    }

    fn bf16(v: f32) -> u64 {
        u64::from(v.to_bits() >> 16)
    }

    #[test]
    fn the_dense_product_is_that_of_the_matrices() {
        let (a, b) = (
            |r: usize, k: usize| ((r * 7 + k * 3) % 13) as f32 - 6.0,
            |k: usize, n: usize| ((k * 5 + n) % 11) as f32 - 5.0,
        );
        let af = std::array::from_fn(|r| {
            lanes(|l| {
                let (row, k) = (l / 4 + 8 * (r % 2), 2 * (l % 4) + 8 * (r / 2));
                bf16(a(row, k)) | bf16(a(row, k + 1)) << 16
            })
        });
        let bf: [Lanes; 2] = std::array::from_fn(|r| {
            lanes(|l| bf16(b(8 * r + 2 * (l % 4), l / 4)) | bf16(b(8 * r + 2 * (l % 4) + 1, l / 4)) << 16)
        });
        let one = [lanes(|_| u64::from(1f32.to_bits())); 4];
        let d = multiply(&af, &bf, &one, None, Number::Bf16).unwrap_or([[0; 32]; 4]);
        for l in 0..32 {
            for (r, word) in d.iter().enumerate() {
                let (row, n) = (l / 4 + 8 * (r / 2), 2 * (l % 4) + r % 2);
                let want: f32 = 1.0 + (0..16).map(|k| a(row, k) * b(k, n)).sum::<f32>();
                assert_eq!(f32::from_bits(word[l] as u32), want, "{row} {n}");
            }
        }
    }

    #[test]
    fn sparse_positions_must_ascend() {
        let zero = [[0; 32]; 4];
        let meta = |code: u64| lanes(|_| code * 0x1111_1111);
        assert!(multiply(&zero, &zero, &zero, Some((&meta(0b0100), 0)), Number::Bf16).is_ok());
        for bad in [0b0000, 0b0001, 0b1011, 0b1111] {
            assert!(multiply(&zero, &zero, &zero, Some((&meta(bad), 1)), Number::Bf16).is_err(), "{bad:04b}");
        }
    }

    #[test]
    fn halves_are_read_as_what_they_are() {
        for (word, want) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x8000, -0.0)]
        {
            assert_eq!(half(Number::F16, word << 16, 1).to_bits(), f32::to_bits(want), "{word:x}");
        }
        assert!(half(Number::F16, 0x7e00, 0).is_nan() && half(Number::F16, 0xfc00, 0) == f32::NEG_INFINITY);
        assert_eq!(half(Number::Bf16, 0x3f80, 0), 1.0);
    }
}
