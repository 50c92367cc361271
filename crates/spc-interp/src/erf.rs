//! The error function in f64, to less than 1e-15 absolute.

/// Below this the series is used, from here on the continued fraction.
const SWITCH: f64 = 1.5;
/// From here on `1 - erf(x)` is below half a unit in the last place of 1.
const ONE: f64 = 6.0;
/// Depth of the continued fraction; at [`SWITCH`] its truncation is below 1e-17.
const DEPTH: u32 = 90;

/// `2 / sqrt(pi)` times the integral of `exp(-t^2)` from 0 to x.
///
/// For small arguments the series `2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!` (DLMF 7.6.2), whose terms are all of
/// one sign; for large ones `1 - exp(-x^2)/sqrt(pi) * 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ..))))` (DLMF 7.9.3), evaluated
/// from the inside out.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() || a == 0.0 {
        return x;
    }
    let square = a * a;
    // exp(-a^2) without the rounding of the square: h has few digits, so that h^2 is exact.
    let h = (a * 16.0).floor() / 16.0;
    let gauss = (-h * h).exp() * ((h - a) * (h + a)).exp();
    let value = if a >= ONE {
        1.0
    } else if a < SWITCH {
        // Summed with a running correction (Kahan 1965).
        let (mut term, mut sum, mut n, mut lost) = (a, a, 0.0, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * square / (2.0 * n + 1.0);
            let add = term - lost;
            let next = sum + add;
            lost = (next - sum) - add;
            sum = next;
        }
        std::f64::consts::FRAC_2_SQRT_PI * gauss * sum
    } else {
        let fraction = (1..=DEPTH).rev().fold(a, |inner, n| a + 0.5 * f64::from(n) / inner);
        1.0 - 0.5 * std::f64::consts::FRAC_2_SQRT_PI * gauss / fraction
    };
    value.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nearest f64, computed with integers of 600 bits from the alternating series of DLMF 7.6.1.
    #[expect(clippy::approx_constant, reason = "one argument is the square root of 2")]
    const GOLDEN: &[(f64, f64)] = &[
        (1e-10, 1.1283791670955126e-10),
        (0.001, 0.0011283787909692365),
        (0.1, 0.1124629160182849),
        (0.25, 0.27632639016823696),
        (0.5, 0.5204998778130465),
        (0.75, 0.7111556336535151),
        (0.9, 0.7969082124228322),
        (1.0, 0.8427007929497149),
        (1.1, 0.8802050695740817),
        (1.25, 0.9229001282564583),
        (1.4142135623730951, 0.9544997361036416),
        (1.5, 0.9661051464753108),
        (1.6, 0.976348383344644),
        (1.7, 0.9837904585907745),
        (1.7499999, 0.9866716659416819),
        (1.75, 0.9866716712191824),
        (1.8, 0.9890905016357308),
        (1.9, 0.9927904292352575),
        (2.0, 0.9953222650189527),
        (2.2, 0.9981371537020182),
        (2.5, 0.999593047982555),
        (3.0, 0.9999779095030014),
        (3.5, 0.9999992569016276),
        (4.0, 0.9999999845827421),
        (4.5, 0.9999999998033839),
        (5.0, 0.9999999999984626),
        (5.5, 0.9999999999999927),
        (5.9, 0.9999999999999999),
    ];

    #[test]
    fn agrees_with_known_values() {
        for &(x, want) in GOLDEN {
            let got = erf(x);
            assert!((got - want).abs() < 6e-16, "erf({x}) = {got:e}, want {want:e}");
            assert_eq!(erf(-x), -got);
        }
    }

    #[test]
    fn is_monotone_across_the_switch_and_exact_at_the_ends() {
        let mut last = -1.0;
        for i in -70_000..=70_000 {
            let v = erf(f64::from(i) / 10_000.0);
            assert!(v + 4e-16 >= last, "falls at {i}");
            last = v;
        }
        assert_eq!((erf(f64::INFINITY), erf(f64::NEG_INFINITY), erf(1e300)), (1.0, -1.0, 1.0));
        assert!(erf(f64::NAN).is_nan());
        assert_eq!(erf(-0.0).to_bits(), (-0.0f64).to_bits());
        assert_eq!(erf(5e-324), 5e-324);
    }
}
