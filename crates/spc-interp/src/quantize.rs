//! Rounding of weights to the values that a stored form can hold.
use crate::Real;
use spc_base::Bug;

/// Rounds to whole multiples of a scale, tile by tile: the scale of a tile is its largest absolute value divided by
/// 2^(bits-1) - 1, so zero stays zero; values are rounded to the nearest multiple, ties to even. Tiles are cut from the
/// origin and may be short at the edges. A scale that is not normal in f32 leaves its tile as it is. With `half`, scales that
/// are normal numbers of f16 are rounded to it; no value then needs a larger integer.
///
/// # Errors
/// A shape that is not that of the values, or a tile that is not of its rank.
pub fn quantize_int(values: &mut [f32], shape: &[u64], tile: &[u64], bits: u32, half: bool) -> Result<(), Bug> {
    let elements = shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let fits = tile.len() == shape.len() && !tile.contains(&0) && (2..=16).contains(&bits);
    if elements != Some(values.len() as u64) || !fits {
        return Err(Bug::new(format!("tiles {tile:?} of {bits} bits do not fit {shape:?}")));
    }
    let counts: Vec<usize> = shape.iter().zip(tile).map(|(n, t)| n.div_ceil(*t) as usize).collect();
    let of = |mut e: usize| {
        let (mut number, mut step) = (0, 1);
        for ((n, t), c) in shape.iter().zip(tile).zip(&counts).rev() {
            number += (e as u64 % n / t) as usize * step;
            step *= c;
            e /= (*n as usize).max(1);
        }
        number
    };
    let mut most = vec![0.0f32; counts.iter().product()];
    for (e, v) in values.iter().enumerate() {
        let m = &mut most[of(e)];
        *m = m.max(v.abs());
    }
    let top = ((1u32 << (bits - 1)) - 1) as f32;
    // What was the largest value of a tile becomes its scale.
    for m in &mut most {
        *m /= top;
        if half && (2f32.powi(-14)..=65504.0).contains(m) {
            round_f16(std::slice::from_mut(m));
        }
    }
    for (e, v) in values.iter_mut().enumerate() {
        let scale = most[of(e)];
        if scale.is_normal() {
            *v = (*v / scale).round_ties_even() * scale;
        }
    }
    Ok(())
}

/// [`spc_ir::Op::Round`]: rounds to 8 bits, in f32 whatever the values are computed in, all values of the `last` dimensions
/// with one scale.
pub(crate) fn round_activations<R: Real>(x: &[R], shape: &[usize], last: usize) -> Result<Vec<R>, Bug> {
    let split = shape.len().checked_sub(last).ok_or_else(|| Bug::new("rounded dimensions are out of range"))?;
    let size = shape[split..].iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let size = size.ok_or_else(|| Bug::new("a shape overflows"))?.max(1);
    let mut out = Vec::with_capacity(x.len());
    for values in x.chunks(size) {
        let values: Vec<f32> = values.iter().map(|v| v.to_f64() as f32).collect();
        let nan = values.iter().any(|v| v.is_nan());
        let most = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let scale = if nan { f32::NAN } else { most / 127.0 };
        for v in values {
            out.push(R::from_f64(if scale.is_nan() || scale.is_infinite() {
                f64::NAN
            } else if scale < f32::MIN_POSITIVE {
                0.0
            } else {
                f64::from((v * (127.0 / most)).round_ties_even()) * f64::from(scale)
            }));
        }
    }
    Ok(out)
}

/// Rounds to bf16: the upper half of the bits, to nearest, ties to even. Values are finite.
pub fn round_bf16(values: &mut [f32]) {
    for v in values {
        let bits = v.to_bits();
        let up = (bits >> 16) & 1;
        let rounded = bits.wrapping_add(0x7fff + up) & 0xffff_0000;
        *v = f32::from_bits(rounded);
    }
}

/// Rounds to f16, to nearest, ties to even; subnormal numbers included, beyond the greatest one to infinity.
pub fn round_f16(values: &mut [f32]) {
    for v in values {
        let a = f64::from(v.abs());
        // The spacing of f16 numbers around the value: 2^-24 for subnormal ones, else 2^(exponent - 10).
        let exponent = if a < 2f64.powi(-14) { -14 } else { a.log2().floor() as i32 };
        let exponent = if 2f64.powi(exponent) > a && exponent > -14 { exponent - 1 } else { exponent };
        let ulp = 2f64.powi(exponent - 10);
        let rounded = (a / ulp).round_ties_even() * ulp;
        let rounded = if rounded > 65504.0 { f64::INFINITY } else { rounded };
        *v = (rounded as f32).copysign(*v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_per_tile() {
        let mut v = [127.0, 1.4, -1.6, 2.5, 0.0, -0.0, 254.0, 3.0];
        quantize_int(&mut v, &[2, 4], &[1, 4], 8, false).unwrap();
        // The second row has scale 2: 3 / 2 = 1.5 goes to the even 2.
        assert_eq!(v, [127.0, 1.0, -2.0, 2.0, 0.0, 0.0, 254.0, 4.0]);
        let mut v = [7.0, 3.4, -7.0, 0.0, 0.0, 0.0];
        quantize_int(&mut v, &[6], &[4], 4, false).unwrap();
        assert_eq!(v, [7.0, 3.0, -7.0, 0.0, 0.0, 0.0]);
        let mut twice = v;
        quantize_int(&mut twice, &[6], &[4], 4, false).unwrap();
        assert_eq!(twice, v);
        // One third is 0x3555 in f16, which is less: the greatest value is a little less, too.
        let mut v = [7.0f32 / 3.0, 0.4, -7.0 * 2f32.powi(-30), 0.0];
        quantize_int(&mut v, &[4], &[2], 4, true).unwrap();
        let third = 1365.0 / 4096.0;
        assert_eq!(v, [7.0 * third, third, -7.0 * 2f32.powi(-30), 0.0]);
        let mut tiny = [1e-44f32, 0.0];
        quantize_int(&mut tiny, &[2], &[2], 8, false).unwrap();
        assert_eq!(tiny, [1e-44, 0.0]);
        assert!(quantize_int(&mut v, &[5], &[4], 4, false).is_err());
        assert!(quantize_int(&mut v, &[6], &[0], 4, false).is_err());
    }

    #[test]
    fn activations_share_a_scale_over_the_last_dimensions() {
        let x = [127.0f64, 1.5, -2.5, 0.0, 254.0, 3.0, -1.0, 1.0];
        assert_eq!(round_activations(&x, &[2, 4], 1).unwrap(), [127.0, 2.0, -2.0, 0.0, 254.0, 4.0, 0.0, 0.0]);
        assert_eq!(round_activations(&x, &[1, 2, 4], 2).unwrap(), [128.0, 2.0, -2.0, 0.0, 254.0, 4.0, 0.0, 0.0]);
        let special = [f64::INFINITY, 1.0, f64::NAN, 1.0, 1e-40, 1e-41];
        let y = round_activations(&special, &[3, 2], 1).unwrap();
        assert!(y[..4].iter().all(|v| v.is_nan()) && y[4..] == [0.0, 0.0], "{y:?}");
        // Rounding again changes nothing but the last place of the scale.
        let once = round_activations(&[0.3f32, -0.1234, 0.2999], &[3], 1).unwrap();
        let twice = round_activations(&once, &[3], 1).unwrap();
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= 1e-7));
    }

    #[test]
    fn float_forms() {
        let mut v = [1.0f32, 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), -3.0e-39, 0.0];
        round_bf16(&mut v);
        assert_eq!(v[..3], [1.0, 1.0, 1.0 + 2f32.powi(-6)]);
        let mut v = [
            1.0f32,
            1.0 + 2f32.powi(-11),
            1.0 + 3.0 * 2f32.powi(-11),
            65504.0,
            -65519.9,
            65520.0,
            2f32.powi(-25),
            3e-8,
            -0.0,
        ];
        round_f16(&mut v);
        let ulp = 2f32.powi(-24);
        assert_eq!(v, [1.0, 1.0, 1.0 + 2f32.powi(-9), 65504.0, -65504.0, f32::INFINITY, 0.0, ulp, 0.0]);
    }
}
