//! Operations of the loop IR.
use super::{Ty, Val};
use crate::math::MathFn;

/// A float constant by its bits, so that kernels can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(pub u32);

impl Bits {
    pub fn of(x: f32) -> Bits {
        Bits(x.to_bits())
    }

    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// Memory address `base + index * scale + disp` in bytes; scale is 1, 2, 4 or 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addr {
    pub base: Val,
    pub index: Option<(Val, u8)>,
    pub disp: i32,
}

impl Addr {
    pub fn new(base: Val) -> Addr {
        Addr { base, index: None, disp: 0 }
    }

    pub fn at(base: Val, disp: i32) -> Addr {
        Addr { base, index: None, disp }
    }

    pub fn indexed(base: Val, index: Val, scale: u8) -> Addr {
        Addr { base, index: Some((index, scale)), disp: 0 }
    }

    #[must_use]
    pub fn plus(self, disp: i32) -> Addr {
        Addr { disp: self.disp.saturating_add(disp), ..self }
    }

    pub fn uses(&self) -> impl Iterator<Item = Val> {
        std::iter::once(self.base).chain(self.index.map(|(i, _)| i))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $var:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $var),* }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$var),*];
            pub fn name(self) -> &'static str { match self { $($name::$var => $text),* } }
            pub fn from_name(name: &str) -> Option<$name> { match name { $($text => Some($name::$var),)* _ => None } }
        }
    };
}

named! {
    /// Integer operations, on `i64` or lane by lane on `vi32`; all wrap. Vectors have no division.
    IBin {
        Add = "iadd", Sub = "isub", Mul = "imul", Min = "imin", Max = "imax", And = "iand", Or = "ior", Xor = "ixor",
        /// Truncates towards zero; by zero gives 0, and the least value by -1 gives itself.
        Div = "idiv",
        /// Has the sign of the dividend; by zero gives the dividend, and by -1 gives 0.
        Rem = "irem",
    }
}
named! {
    /// Float operations on scalars or lane by lane. `Max` and `Min` are IEEE 754 maximum and minimum: NaN if either
    /// operand is NaN, and -0 is less than +0.
    FBin { Add = "fadd", Sub = "fsub", Mul = "fmul", Div = "fdiv", Max = "fmax", Min = "fmin" }
}
named! {
    FUn { Neg = "fneg", Abs = "fabs", Sqrt = "fsqrt", Floor = "floor" }
}
named! {
    /// Comparisons. On floats they are false if an operand is NaN, but for `Ne`, which is then true.
    Cmp { Lt = "lt", Le = "le", Gt = "gt", Ge = "ge", Eq = "eq", Ne = "ne" }
}
named! {
    /// Logic on truth values, scalar or lane by lane.
    LBin { And = "and", Or = "or" }
}
named! {
    /// Horizontal reductions. The order is a tree: lane i meets lane i + n/2, then n halves. Of integers the result is
    /// an `i64` that holds the 32-bit result.
    RedFn { Add = "radd", Max = "rmax", Min = "rmin" }
}
named! {
    LoadKind {
        /// One float.
        F32 = "f32",
        /// One signed 32-bit integer, extended.
        I32 = "i32",
        /// One unsigned 32-bit integer.
        U32 = "u32",
        /// One byte.
        U8 = "u8",
        /// One byte as a truth value: true if not zero.
        Bool = "bool",
        /// As many floats as there are lanes.
        VF32 = "vf32",
        /// One float, in every lane.
        Splat = "splat",
        /// Four floats (or as many as there are lanes), repeated over the lanes.
        Quad = "quad",
        /// Four 32-bit integers (or as many as there are lanes), repeated over the lanes.
        QuadI32 = "quad_i32",
        /// One signed byte, extended.
        I8 = "i8",
        /// Two bytes, unsigned.
        U16 = "u16",
        /// One half-precision float (IEEE 754 binary16), widened.
        F16 = "f16",
        /// As many 32-bit integers as there are lanes.
        VI32 = "vi32",
        /// One 32-bit integer, in every lane.
        SplatI32 = "splat_i32",
        /// As many signed bytes as there are lanes, extended.
        VI8 = "vi8",
        /// As many unsigned bytes as there are lanes.
        VU8 = "vu8",
        /// As many signed 16-bit integers as there are lanes, extended.
        VI16 = "vi16",
        /// As many unsigned 16-bit integers as there are lanes.
        VU16 = "vu16",
        /// As many half-precision floats as there are lanes, widened.
        VF16 = "vf16",
        /// As many bfloat16 numbers as there are lanes, widened.
        VBf16 = "vbf16",
    }
}
named! {
    StoreKind {
        F32 = "f32",
        /// The low 32 bits of an integer.
        I32 = "i32",
        /// The low 8 bits of an integer.
        U8 = "u8",
        /// A truth value as the byte 0 or 1.
        Bool = "bool",
        VF32 = "vf32",
        /// The low 16 bits of an integer.
        U16 = "u16",
        VI32 = "vi32",
        /// The low 8 bits of every lane.
        VU8 = "vu8",
    }
}

impl LoadKind {
    pub fn result(self) -> Ty {
        match self {
            LoadKind::F32 | LoadKind::F16 => Ty::F32,
            LoadKind::I32 | LoadKind::U32 | LoadKind::U8 | LoadKind::I8 | LoadKind::U16 => Ty::I64,
            LoadKind::Bool => Ty::Bool,
            LoadKind::VF32 | LoadKind::Splat | LoadKind::Quad | LoadKind::VF16 | LoadKind::VBf16 => Ty::VF32,
            LoadKind::VI32 | LoadKind::SplatI32 | LoadKind::QuadI32 => Ty::VI32,
            LoadKind::VI8 | LoadKind::VU8 | LoadKind::VI16 | LoadKind::VU16 => Ty::VI32,
        }
    }

    /// Bytes read.
    pub fn bytes(self, lanes: usize) -> usize {
        match self {
            LoadKind::F32 | LoadKind::I32 | LoadKind::U32 | LoadKind::Splat | LoadKind::SplatI32 => 4,
            LoadKind::Quad | LoadKind::QuadI32 => 4 * lanes.min(4),
            LoadKind::U16 | LoadKind::F16 => 2,
            LoadKind::U8 | LoadKind::I8 | LoadKind::Bool => 1,
            LoadKind::VF32 | LoadKind::VI32 => 4 * lanes,
            LoadKind::VI16 | LoadKind::VU16 | LoadKind::VF16 | LoadKind::VBf16 => 2 * lanes,
            LoadKind::VI8 | LoadKind::VU8 => lanes,
        }
    }
}

impl StoreKind {
    pub fn operand(self) -> Ty {
        match self {
            StoreKind::F32 => Ty::F32,
            StoreKind::I32 | StoreKind::U16 | StoreKind::U8 => Ty::I64,
            StoreKind::Bool => Ty::Bool,
            StoreKind::VF32 => Ty::VF32,
            StoreKind::VI32 | StoreKind::VU8 => Ty::VI32,
        }
    }

    /// Bytes written.
    pub fn bytes(self, lanes: usize) -> usize {
        match self {
            StoreKind::F32 | StoreKind::I32 => 4,
            StoreKind::U16 => 2,
            StoreKind::U8 | StoreKind::Bool => 1,
            StoreKind::VF32 | StoreKind::VI32 => 4 * lanes,
            StoreKind::VU8 => lanes,
        }
    }
}

/// An operation with one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Int(i64),
    Float(Bits),
    /// The same float in every lane.
    VFloat(Bits),
    /// The same integer in every lane.
    VInt(i32),
    Bool(bool),
    IBin(IBin, Val, Val),
    /// Arithmetic shift right by 0..=63, of a vector by 0..=31.
    Shr(Val, u8),
    /// Shift left by 0..=31, of a vector lane by lane.
    Shl(Val, u8),
    /// The low 32 bits, sign-extended.
    Wrap32(Val),
    PtrAdd(Val, Val),
    /// `PtrDiff(a, b)`: the bytes from `b` to `a`, which point into one buffer.
    PtrDiff(Val, Val),
    /// Pointer plus a number of bytes.
    PtrOff(Val, i32),
    Load(LoadKind, Addr),
    /// The first `n` lanes (clamped to `0..=lanes`) from memory, the others zero; memory past them is not touched.
    LoadTail(Addr, Val),
    FBin(FBin, Val, Val),
    FUn(FUn, Val),
    /// Fused a * b + c, rounded once.
    Fma(Val, Val, Val),
    /// `Dot4(acc, u, s)`: each lane of `acc` plus the sum over its four bytes of the unsigned byte of `u` times the signed
    /// byte of `s`. Wraps; never saturates.
    Dot4(Val, Val, Val),
    /// A function of one argument, or of two.
    Math(MathFn, Val, Option<Val>),
    Splat(Val),
    /// Lane `i` of the result is lane `i ^ k` of a vector of floats or integers; k is 1 or more and below the number of lanes.
    Swap(Val, u8),
    Reduce(RedFn, Val),
    ICmp(Cmp, Val, Val),
    FCmp(Cmp, Val, Val),
    Logic(LBin, Val, Val),
    Not(Val),
    /// `Select(c, a, b)`: a where c is true, else b. A `bool` chooses a whole value, a `vbool` chooses by lane.
    Select(Val, Val, Val),
    /// To the nearest float, ties to even; an `i64` or lane by lane.
    IToF(Val),
    /// Each lane to the nearest 32-bit integer, ties to even; saturates at the ends, NaN gives 0.
    Nearest(Val),
    /// As `Nearest`, but what 32 bits cannot hold, and NaN, gives the least integer.
    NearestOrLeast(Val),
    /// Truncation; saturates at the ends of i64, NaN gives 0.
    FToI(Val),
    /// The bits of a float, sign-extended; lane by lane of a vector. Those of a NaN are any NaN's.
    ToBits(Val),
    /// The float with the low 32 bits; lane by lane of a vector.
    FromBits(Val),
    /// `Permute(a, i)`: lane j is the lane of `a` whose number is lane j of `i`, modulo the number of lanes.
    Permute(Val, Val),
    /// How many bits of an `i64` are one.
    Ones(Val),
    /// `Expand(a, m)`: the lanes of `a` in their order, spread over the lanes whose bits in the `i64` m are one, the first lane's the
    /// lowest; zero in the others. Bits past the lanes count for nothing.
    Expand(Val, Val),
    /// `Bytes(a, i)`: byte j of the result is a byte of the same 16 of `a`, that whose number is in the low 4 bits of byte j of
    /// `i`; zero where the top bit of byte j is set. With one lane `a` has 4 bytes, and the others are zero.
    Bytes(Val, Val),
    /// `PermuteBytes(a, i)`: byte j of the result is the byte of `a` whose number is in the low 6 bits of byte j of `i`. Kernels of
    /// 16 lanes only.
    PermuteBytes(Val, Val),
    /// `Zip(high, a, b)` of the lanes of `a` and `b` in turn, `a[0], b[0], a[1], ..`: the first half, or the second.
    Zip(bool, Val, Val),
    /// Lane j is the float at the address plus four times lane j of a `vi32`.
    Gather(Addr, Val),
    /// So many bytes of memory of the call's own, at a multiple of 64 and undefined at first. Outside loops only.
    Local(u32),
}

impl Op {
    /// Operands, in order.
    pub fn uses(&self) -> Vec<Val> {
        match self {
            Op::Int(_) | Op::Float(_) | Op::VFloat(_) | Op::VInt(_) | Op::Bool(_) | Op::Local(_) => vec![],
            Op::Shr(a, _)
            | Op::Shl(a, _)
            | Op::Wrap32(a)
            | Op::Ones(a)
            | Op::PtrOff(a, _)
            | Op::FUn(_, a)
            | Op::Splat(a)
            | Op::Swap(a, _)
            | Op::Reduce(_, a)
            | Op::Not(a)
            | Op::IToF(a)
            | Op::Nearest(a)
            | Op::NearestOrLeast(a)
            | Op::ToBits(a)
            | Op::FromBits(a)
            | Op::FToI(a) => vec![*a],
            Op::IBin(_, a, b)
            | Op::PtrAdd(a, b)
            | Op::PtrDiff(a, b)
            | Op::FBin(_, a, b)
            | Op::ICmp(_, a, b)
            | Op::FCmp(_, a, b)
            | Op::Permute(a, b)
            | Op::Expand(a, b)
            | Op::Bytes(a, b)
            | Op::PermuteBytes(a, b)
            | Op::Zip(_, a, b)
            | Op::Logic(_, a, b) => vec![*a, *b],
            Op::Math(_, a, b) => std::iter::once(*a).chain(*b).collect(),
            Op::Load(_, addr) => addr.uses().collect(),
            Op::LoadTail(addr, n) | Op::Gather(addr, n) => addr.uses().chain([*n]).collect(),
            Op::Fma(a, b, c) | Op::Dot4(a, b, c) | Op::Select(a, b, c) => vec![*a, *b, *c],
        }
    }

    /// Type of the result, from the types of the operands; `None` where an operand is missing.
    pub fn result(&self, ty: &dyn Fn(Val) -> Option<Ty>) -> Option<Ty> {
        Some(match self {
            Op::Int(_) | Op::Wrap32(_) | Op::Ones(_) | Op::FToI(_) | Op::PtrDiff(..) => Ty::I64,
            Op::Float(_) => Ty::F32,
            Op::VFloat(_) | Op::LoadTail(..) | Op::Gather(..) => Ty::VF32,
            Op::ToBits(a) => match ty(*a)? {
                Ty::VF32 => Ty::VI32,
                _ => Ty::I64,
            },
            Op::FromBits(a) => match ty(*a)? {
                Ty::VI32 => Ty::VF32,
                _ => Ty::F32,
            },
            Op::VInt(_)
            | Op::Dot4(..)
            | Op::Nearest(_)
            | Op::NearestOrLeast(_)
            | Op::Bytes(..)
            | Op::PermuteBytes(..) => Ty::VI32,
            Op::IToF(a) => match ty(*a)? {
                Ty::VI32 => Ty::VF32,
                _ => Ty::F32,
            },
            Op::Reduce(_, a) => match ty(*a)? {
                Ty::VI32 => Ty::I64,
                _ => Ty::F32,
            },
            Op::Bool(_) | Op::ICmp(..) => Ty::Bool,
            Op::Local(_) => Ty::Ptr,
            Op::Load(k, _) => k.result(),
            Op::Splat(a) => match ty(*a)? {
                Ty::Bool => Ty::VBool,
                Ty::I64 => Ty::VI32,
                _ => Ty::VF32,
            },
            Op::FCmp(_, a, _) => match ty(*a)? {
                Ty::VF32 => Ty::VBool,
                _ => Ty::Bool,
            },
            Op::PtrAdd(a, _)
            | Op::PtrOff(a, _)
            | Op::IBin(_, a, _)
            | Op::Shr(a, _)
            | Op::Shl(a, _)
            | Op::Swap(a, _)
            | Op::FBin(_, a, _)
            | Op::FUn(_, a)
            | Op::Fma(a, _, _)
            | Op::Permute(a, _)
            | Op::Expand(a, _)
            | Op::Zip(_, a, _)
            | Op::Math(_, a, _)
            | Op::Logic(_, a, _)
            | Op::Not(a)
            | Op::Select(_, a, _) => ty(*a)?,
        })
    }
}
