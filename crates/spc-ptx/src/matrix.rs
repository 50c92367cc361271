//! Matrix instructions on the registers of a warp, in the fragment layouts of the PTX ISA. Lane `4g + t`.

/// One register of all lanes.
pub(crate) type Lanes = [u64; 32];

fn half(word: u64, h: usize) -> f32 {
    f32::from_bits(if h == 1 { word as u32 & 0xffff_0000 } else { (word as u32) << 16 })
}

/// `d[16][8] = a[16][16 or 32] * b + c` of bf16 with f32 sums. Dense: `a` is `m16n8k16`'s. With `sparse`, the metadata and its
/// selector, it holds 2 of 4 of 32 columns.
///
/// # Errors
/// Positions of kept values do not ascend.
pub(crate) fn multiply(
    a: &[Lanes; 4],
    b: &[Lanes],
    c: &[Lanes; 4],
    sparse: Option<(&Lanes, usize)>,
) -> Result<[Lanes; 4], String> {
    let (mut left, mut right, mut sums) = ([[(0usize, 0f32); 16]; 16], [[0f32; 8]; 32], [[0f32; 8]; 16]);
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for (r, word) in a.iter().enumerate() {
            let row = g + 8 * (r % 2);
            let code = match sparse {
                None => None,
                Some((meta, selector)) => {
                    let from = (lane & !3) + 2 * selector + r / 2;
                    let code = (meta[from] >> (16 * (r % 2) + 4 * t) & 15) as usize;
                    if code & 3 >= code >> 2 {
                        return Err("positions of kept values do not ascend".into());
                    }
                    Some(code)
                }
            };
            for h in 0..2 {
                let (at, column) = match code {
                    None => (8 * (r / 2) + 2 * t + h, 8 * (r / 2) + 2 * t + h),
                    Some(code) => {
                        let group = 4 * (r / 2) + t;
                        (2 * group + h, 4 * group + if h == 1 { code >> 2 } else { code & 3 })
                    }
                };
                left[row][at] = (column, half(word[lane], h));
            }
        }
        for (r, word) in b.iter().enumerate().take(4) {
            for h in 0..2 {
                right[8 * r + 2 * t + h][g] = half(word[lane], h);
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
        let d = multiply(&af, &bf, &one, None).unwrap_or([[0; 32]; 4]);
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
        assert!(multiply(&zero, &zero, &zero, Some((&meta(0b0100), 0))).is_ok());
        for bad in [0b0000, 0b0001, 0b1011, 0b1111] {
            assert!(multiply(&zero, &zero, &zero, Some((&meta(bad), 1))).is_err(), "{bad:04b}");
        }
    }
}
