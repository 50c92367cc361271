//! The value of each arithmetic instruction in one lane. Registers hold bits.
use crate::types::{Binary, Bool, Cmp, Round, Ty, Unary};
use std::cmp::Ordering;

pub(crate) fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

pub(crate) fn bits_of(v: f32) -> u64 {
    u64::from(v.to_bits())
}

pub(crate) fn unary(op: Unary, ty: Ty, a: u64) -> Result<u64, String> {
    if ty == Ty::F32 {
        let x = f32_of(a);
        return Ok(bits_of(match op {
            Unary::Neg => -x,
            Unary::Abs => x.abs(),
            Unary::Rcp => 1.0 / x,
            Unary::Sqrt => x.sqrt(),
            Unary::Rsqrt => (1.0 / f64::from(x).sqrt()) as f32,
            Unary::Ex2 => x.exp2(),
            Unary::Lg2 => x.log2(),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Tanh => x.tanh(),
            _ => return Err(format!("{op:?} of f32")),
        }));
    }
    let v = ty.keep(a);
    Ok(match op {
        Unary::Neg => v.wrapping_neg(),
        Unary::Not if ty == Ty::Pred => u64::from(v == 0),
        Unary::Not => !v,
        Unary::Abs => ty.number(v).unsigned_abs() as u64,
        Unary::Popc => u64::from(v.count_ones()),
        Unary::Clz => u64::from(v.leading_zeros()) - (64 - ty.bits()),
        Unary::Brev => v.reverse_bits() >> (64 - ty.bits()),
        _ => return Err(format!("{op:?} of {ty:?}")),
    })
}

pub(crate) fn binary(op: Binary, ty: Ty, a: u64, b: u64) -> Result<u64, String> {
    if ty == Ty::F32 {
        return float(op, f32_of(a), f32_of(b)).map(bits_of);
    }
    let (x, y) = (ty.number(a), ty.number(b));
    Ok(match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::MulHi => (x.wrapping_mul(y) >> ty.bits()) as u64,
        // Division by zero is not defined; the device gives all ones.
        Binary::Div => x.checked_div(y).unwrap_or(-1) as u64,
        Binary::Rem => x.checked_rem(y).unwrap_or(-1) as u64,
        Binary::Min => x.min(y) as u64,
        Binary::Max => x.max(y) as u64,
        Binary::Shl => {
            let n = b as u32;
            if u64::from(n) >= ty.bits() { 0 } else { a << n }
        }
        Binary::Shr => {
            let n = u64::from(b as u32).min(ty.bits());
            (x >> n) as u64
        }
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::Copysign | Binary::MinNan | Binary::MaxNan => return Err(format!("{op:?} of {ty:?}")),
    })
}

fn float(op: Binary, x: f32, y: f32) -> Result<f32, String> {
    let nan = x.is_nan() || y.is_nan();
    Ok(match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::MinNan | Binary::MaxNan if nan => f32::NAN,
        // -0 is less than +0.
        Binary::Min | Binary::MinNan if x == y => f32::from_bits(x.to_bits() | y.to_bits()),
        Binary::Max | Binary::MaxNan if x == y => f32::from_bits(x.to_bits() & y.to_bits()),
        Binary::Min | Binary::MinNan => x.min(y),
        Binary::Max | Binary::MaxNan => x.max(y),
        Binary::Copysign => y.copysign(x),
        _ => return Err(format!("{op:?} of f32")),
    })
}

/// Whether `a cmp b`; `unordered` is the answer where one is NaN.
pub(crate) fn compare(cmp: Cmp, unordered: bool, ty: Ty, a: u64, b: u64) -> bool {
    let order = if ty == Ty::F32 { f32_of(a).partial_cmp(&f32_of(b)) } else { Some(ty.number(a).cmp(&ty.number(b))) };
    match (cmp, order) {
        (Cmp::Nan, o) => o.is_none(),
        (Cmp::Num, o) => o.is_some(),
        (_, None) => unordered,
        (Cmp::Eq, Some(o)) => o == Ordering::Equal,
        (Cmp::Ne, Some(o)) => o != Ordering::Equal,
        (Cmp::Lt, Some(o)) => o == Ordering::Less,
        (Cmp::Le, Some(o)) => o != Ordering::Greater,
        (Cmp::Gt, Some(o)) => o == Ordering::Greater,
        (Cmp::Ge, Some(o)) => o != Ordering::Less,
    }
}

pub(crate) fn logic(with: Bool, a: bool, b: bool) -> bool {
    match with {
        Bool::And => a && b,
        Bool::Or => a || b,
        Bool::Xor => a != b,
    }
}

fn whole(round: Option<Round>, v: f32) -> f32 {
    match round {
        Some(Round::Near) => v.round_ties_even(),
        Some(Round::Down) => v.floor(),
        Some(Round::Up) => v.ceil(),
        Some(Round::Zero) => v.trunc(),
        None => v,
    }
}

pub(crate) fn convert(to: Ty, from: Ty, round: Option<Round>, saturate: bool, a: u64) -> u64 {
    match (to, from) {
        (Ty::F32, Ty::F32) => {
            let v = whole(round, f32_of(a));
            // Saturation is to 0..1, NaN to 0.
            bits_of(if saturate { if v > 0.0 { v.min(1.0) } else { 0.0 } } else { v })
        }
        (Ty::F32, from) => bits_of(from.number(a) as f32),
        // The ends of the range for numbers outside it; NaN is 0.
        (to, Ty::F32) => {
            let (low, high) = limits(to);
            let v = f64::from(whole(round.or(Some(Round::Zero)), f32_of(a)));
            if v.is_nan() { 0 } else { (v as i128).clamp(low, high) as u64 }
        }
        (to, from) if saturate => {
            let (low, high) = limits(to);
            from.number(a).clamp(low, high) as u64
        }
        (_, from) => from.number(a) as u64,
    }
}

fn limits(ty: Ty) -> (i128, i128) {
    if ty.is_signed() {
        (-(1i128 << (ty.bits() - 1)), (1i128 << (ty.bits() - 1)) - 1)
    } else {
        (0, (1i128 << ty.bits()) - 1)
    }
}

/// The low `length` bits of `a` inserted into `b` at `at`.
pub(crate) fn bfi(ty: Ty, a: u64, b: u64, at: u64, length: u64) -> u64 {
    let (at, length) = (at & 255, length & 255);
    if at >= ty.bits() {
        return b;
    }
    let ones = if length >= 64 { u64::MAX } else { (1u64 << length) - 1 };
    let mask = ty.keep(ones << at);
    (b & !mask) | (a << at & mask)
}

/// `length` bits of `a` from `at`, with sign where the type has one.
pub(crate) fn bfe(ty: Ty, a: u64, at: u64, length: u64) -> u64 {
    let (at, length) = (at & 255, (length & 255).min(ty.bits()));
    if length == 0 {
        return 0;
    }
    let shifted = (ty.number(a) >> at.min(127)) as u64;
    let low = if length >= 64 { shifted } else { shifted & ((1 << length) - 1) };
    let sign = ty.is_signed() && ty.number(a) >> (at + length - 1).min(ty.bits() - 1) & 1 == 1;
    if sign && length < 64 { low | u64::MAX << length } else { low }
}

/// Four bytes of the pair `b:a`, as each nibble of `how` says; bit 3 of a nibble repeats the sign.
pub(crate) fn prmt(a: u64, b: u64, how: u64) -> u64 {
    let bytes = (a & 0xffff_ffff) | b << 32;
    (0..4).fold(0, |out, i| {
        let n = how >> (4 * i) & 15;
        let byte = bytes >> (8 * (n & 7)) & 255;
        let byte = if n & 8 == 0 { byte } else { 255 * (byte >> 7) };
        out | byte << (8 * i)
    })
}

/// 32 bits of the pair `b:a`, shifted.
pub(crate) fn funnel(right: bool, clamp: bool, a: u64, b: u64, n: u64) -> u64 {
    let n = if clamp { (n & 0xffff_ffff).min(32) } else { n & 31 };
    let pair = (a & 0xffff_ffff) | b << 32;
    if right { pair >> n } else { ((u128::from(pair) << n) >> 32) as u64 }
}

/// bf16 of two numbers, rounded to nearest, ties to even; `low` in the low half.
pub(crate) fn pack_bf16(high: f32, low: f32) -> u64 {
    let half = |v: f32| {
        let bits = v.to_bits();
        if v.is_nan() { 0x7fff } else { u64::from(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) }
    };
    half(high) << 16 | half(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap_and_keep_their_sign() {
        let b = |op, ty: Ty, x: i64, y: i64| ty.keep(binary(op, ty, x as u64, y as u64).unwrap_or(77));
        assert_eq!(b(Binary::Add, Ty::U32, -1, 2), 1);
        assert_eq!(b(Binary::Shr, Ty::S32, -8, 1), 0xffff_fffc);
        assert_eq!(b(Binary::Shr, Ty::U32, -8, 40), 0);
        assert_eq!(b(Binary::Shr, Ty::S64, i64::MIN, 200), u64::MAX);
        assert_eq!(b(Binary::Div, Ty::S32, -7, 2), 0xffff_fffd);
        assert_eq!(b(Binary::MulHi, Ty::S32, -2, 3), 0xffff_ffff);
        assert_eq!(b(Binary::MulHi, Ty::U64, -1, -1), u64::MAX - 1);
        assert_eq!(b(Binary::Shl, Ty::U32, 1, 32), 0);
        assert_eq!(
            (bfi(Ty::U32, 0xff, 0x1234_5678, 8, 4), bfe(Ty::S32, 0xf0, 4, 4) as i64, bfe(Ty::U32, 0xf0, 4, 8)),
            (0x1234_5f78, -1, 15)
        );
        assert_eq!(bfi(Ty::U64, 0xdead_beef, 0x1_2345_6789, 32, 32), 0xdead_beef_2345_6789);
        assert_eq!(bfi(Ty::U32, 1, 2, 40, 4), 2);
        assert_eq!(prmt(0x8877_6655, 0x4433_2211, 0x7530), 0x4422_8855);
        assert_eq!(funnel(true, false, 0x1, 0x2, 1) & 0xffff_ffff, 0);
        assert_eq!(funnel(false, false, 0x8000_0000, 0x1, 1) & 0xffff_ffff, 3);
        assert_eq!(unary(Unary::Clz, Ty::U32, 1), Ok(31));
    }

    #[test]
    fn floats_follow_ieee() {
        let nan = bits_of(f32::NAN);
        assert!(compare(Cmp::Lt, true, Ty::F32, nan, 0) && !compare(Cmp::Lt, false, Ty::F32, nan, 0));
        assert!(compare(Cmp::Nan, false, Ty::F32, nan, 0) && compare(Cmp::Eq, false, Ty::F32, bits_of(-0.0), 0));
        let max = |x: f32, y: f32| float(Binary::Max, x, y).unwrap_or(77.0).to_bits();
        assert_eq!((max(-0.0, 0.0), max(f32::NAN, 2.0)), (0, 2.0f32.to_bits()));
        assert!(float(Binary::MaxNan, f32::NAN, 2.0).is_ok_and(f32::is_nan));
        assert_eq!(f32_of(bits_of(float(Binary::Copysign, -1.0, 3.0).unwrap_or(0.0))), -3.0);
        assert_eq!(convert(Ty::S32, Ty::F32, None, false, bits_of(-2.7)) as i64, -2);
        assert_eq!(convert(Ty::U8, Ty::F32, None, false, bits_of(1e9)), 255);
        assert_eq!(f32_of(convert(Ty::F32, Ty::F32, Some(Round::Down), false, bits_of(-0.5))), -1.0);
        assert_eq!(pack_bf16(1.0, f32::from_bits(0x3f80_8000)), 0x3f80_3f80, "a tie goes to even");
    }
}
