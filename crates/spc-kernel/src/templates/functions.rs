//! exp, erf and tanh as sequences of f32 operations, on one float or lane by lane: every executor and every form computes
//! the same bits.
//!
//! The polynomials are minimax fits of their own (relative errors of the fits: 3e-9, 1e-9, 5e-9); what is left is rounding.
//! Against the true values, for every f32: exp within 1.1 ulp (at least the least subnormal number), erf within 1.9,
//! tanh within 1.4. NaN gives NaN; infinities give the limits; zeros of erf and tanh keep their sign.
use crate::ir::{Bits, Builder, Cmp, FBin, FUn, IBin, Op, Ty, Val};
use crate::math::MathFn;

/// Emits a function of one argument; nothing for those that have no sequence here.
pub(super) fn function(b: &mut Builder, f: MathFn, x: Val) -> Option<Val> {
    let mut e = Sequence { vector: b.ty(x) == Some(Ty::VF32), b };
    match f {
        MathFn::Exp => Some(e.exp(x)),
        MathFn::Erf => Some(e.erf(x)),
        MathFn::Tanh => Some(e.tanh(x)),
        MathFn::Log | MathFn::Sin | MathFn::Cos | MathFn::Pow => None,
    }
}

/// Added to a number below 2^22, it leaves the nearest integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;
/// What the f32 nearest to ln 2 exceeds it by.
const LN2_EXCESS: f32 = 1.904_654_3e-9;
/// `(e^r - 1 - r) / r^2` for |r| up to half of ln 2.
const EXP: [f32; 5] = [0.5, 0.166_665_12, 0.041_666_187, 0.008_369_599, 0.001_395_172];
/// `erf(x) / x - 1` by x^2, for |x| up to 1.
const ERF: [f32; 7] =
    [0.128_379_1, -0.376_126_26, 0.112_835_854, -0.026_853_813, 0.005_188_327_7, -0.000_801_019_37, 0.000_078_538_61];
/// `ln(1 - erf(x))` from 1 to 4.
const ERFC: [f32; 7] =
    [-0.000_353_720_48, -1.127_04, -0.638_225_7, -0.103_037_365, 0.021_805_316, -0.002_939_606_6, 0.000_185_573_94];
/// `(tanh(x) / x - 1) / x^2` by x^2, for x^2 up to 0.4.
const TANH: [f32; 5] = [-0.333_332_75, 0.133_312_75, -0.053_725_127, 0.020_589_827, -0.005_648_316_3];

struct Sequence<'a> {
    b: &'a mut Builder,
    vector: bool,
}

impl Sequence<'_> {
    fn float(&mut self, c: f32) -> Val {
        self.b.op(if self.vector { Op::VFloat(Bits::of(c)) } else { Op::Float(Bits::of(c)) })
    }

    fn int(&mut self, c: i32) -> Val {
        if self.vector { self.b.vint(c) } else { self.b.int(i64::from(c)) }
    }

    fn with(&mut self, f: FBin, a: Val, c: f32) -> Val {
        let c = self.float(c);
        self.b.fbin(f, a, c)
    }

    /// Coefficients from the constant term on.
    fn horner(&mut self, coefficients: &[f32], x: Val) -> Val {
        let mut rest = coefficients.iter().rev();
        let mut sum = self.float(rest.next().copied().unwrap_or(0.0));
        for c in rest {
            let c = self.float(*c);
            sum = self.b.fma(sum, x, c);
        }
        sum
    }

    /// `e^r` and n, for `x = n ln 2 + r` with |x| at most 2^20. A NaN stays one, with any n.
    fn reduced(&mut self, x: Val) -> (Val, Val) {
        let (per, rounder) = (self.float(std::f32::consts::LOG2_E), self.float(ROUNDER));
        let t = self.b.fma(x, per, rounder);
        let n = self.with(FBin::Sub, t, ROUNDER);
        // Exact but for the excess: what is left of x has no bits below those of ln 2.
        let (ln2, excess) = (self.float(-std::f32::consts::LN_2), self.float(LN2_EXCESS));
        let r = self.b.fma(n, ln2, x);
        let r = self.b.fma(n, excess, r);
        let q = self.horner(&EXP, r);
        let square = self.b.fbin(FBin::Mul, r, r);
        let p = self.b.fma(q, square, r);
        let p = self.with(FBin::Add, p, 1.0);
        let bits = self.b.op(Op::ToBits(t));
        let bias = self.int(ROUNDER.to_bits() as i32);
        (p, self.b.isub(bits, bias))
    }

    /// 2^n for n in -126..=127.
    fn power(&mut self, n: Val) -> Val {
        let bias = self.int(127);
        let e = self.b.iadd(n, bias);
        let bits = self.b.op(Op::Shl(e, 23));
        self.b.op(Op::FromBits(bits))
    }

    fn exp(&mut self, x: Val) -> Val {
        // Beyond these the result is infinite, or rounds to zero; what would round to zero is not computed, because processors
        // take their time over results below the normal range.
        let (least, zero) = (self.float(-104.0), self.float(0.0));
        let none = self.b.fcmp(Cmp::Lt, x, least);
        let x = self.with(FBin::Min, x, 89.0);
        let x = self.b.select(none, zero, x);
        let (p, n) = self.reduced(x);
        // In two steps, the second of which rounds where the result is subnormal.
        let half = self.b.op(Op::Shr(n, 1));
        let rest = self.b.isub(n, half);
        let (half, rest) = (self.power(half), self.power(rest));
        let p = self.b.fbin(FBin::Mul, p, half);
        let p = self.b.fbin(FBin::Mul, p, rest);
        self.b.select(none, zero, p)
    }

    /// `e^x` for |x| up to 80.
    fn exp_near(&mut self, x: Val) -> Val {
        let (p, n) = self.reduced(x);
        let scale = self.power(n);
        self.b.fbin(FBin::Mul, p, scale)
    }

    /// `near` where `size` is below `limit`, else `far` (which is not negative) with the sign of `x`.
    fn joined(&mut self, x: Val, size: Val, limit: f32, near: Val, far: Val) -> Val {
        let (bits, sign) = (self.b.op(Op::ToBits(x)), self.int(i32::MIN));
        let sign = self.b.ibin(IBin::And, bits, sign);
        let far = self.b.op(Op::ToBits(far));
        let far = self.b.ibin(IBin::Or, far, sign);
        let far = self.b.op(Op::FromBits(far));
        let limit = self.float(limit);
        let below = self.b.fcmp(Cmp::Lt, size, limit);
        self.b.select(below, near, far)
    }

    fn erf(&mut self, x: Val) -> Val {
        let size = self.b.fun(FUn::Abs, x);
        let square = self.b.fbin(FBin::Mul, x, x);
        let near = self.horner(&ERF, square);
        let near = self.b.fma(near, x, x);
        // At 4 the result rounds to 1.
        let cut = self.with(FBin::Min, size, 4.0);
        let q = self.horner(&ERFC, cut);
        let rest = self.exp_near(q);
        let one = self.float(1.0);
        let far = self.b.fbin(FBin::Sub, one, rest);
        self.joined(x, size, 1.0, near, far)
    }

    fn tanh(&mut self, x: Val) -> Val {
        let size = self.b.fun(FUn::Abs, x);
        let square = self.b.fbin(FBin::Mul, x, x);
        let q = self.horner(&TANH, square);
        let one = self.float(1.0);
        let near = self.b.fma(q, square, one);
        let near = self.b.fbin(FBin::Mul, near, x);
        // At 10 the result rounds to 1.
        let cut = self.with(FBin::Min, size, 10.0);
        let twice = self.b.fbin(FBin::Add, cut, cut);
        let e = self.exp_near(twice);
        let e = self.with(FBin::Add, e, 1.0);
        let two = self.float(2.0);
        let rest = self.b.fbin(FBin::Div, two, e);
        let one = self.float(1.0);
        let far = self.b.fbin(FBin::Sub, one, rest);
        self.joined(x, size, 0.632, near, far)
    }
}
