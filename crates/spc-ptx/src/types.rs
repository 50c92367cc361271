//! Types of values, and instructions as data.
use crate::matrix::Number;

/// Type of an operation. Registers hold 64 bits; a value is kept without sign, its upper bits zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F32,
    Pred,
}

impl Ty {
    pub fn parse(s: &str) -> Option<Ty> {
        Some(match s {
            "u8" | "b8" => Ty::U8,
            "s8" => Ty::S8,
            "u16" | "b16" => Ty::U16,
            "s16" => Ty::S16,
            "u32" | "b32" => Ty::U32,
            "s32" => Ty::S32,
            "u64" | "b64" => Ty::U64,
            "s64" => Ty::S64,
            "f32" => Ty::F32,
            "pred" => Ty::Pred,
            _ => return None,
        })
    }

    pub fn bytes(self) -> usize {
        match self {
            Ty::U8 | Ty::S8 | Ty::Pred => 1,
            Ty::U16 | Ty::S16 => 2,
            Ty::U64 | Ty::S64 => 8,
            _ => 4,
        }
    }

    pub fn bits(self) -> u64 {
        8 * self.bytes() as u64
    }

    /// The low bits that a register keeps.
    pub fn keep(self, v: u64) -> u64 {
        if self.bytes() == 8 { v } else { v & ((1 << self.bits()) - 1) }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
    }

    /// The number that the bits mean, with room for every type.
    pub fn number(self, v: u64) -> i128 {
        let v = self.keep(v);
        let shift = 64 - self.bits();
        if self.is_signed() { i128::from(((v << shift) as i64) >> shift) } else { i128::from(v) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Reg(usize),
    Imm(u64),
    Many(Vec<Operand>),
    /// An address and an offset.
    At(Box<Operand>, i64),
    Special(Special),
    Label(usize),
}

/// Registers that name a thread; only the first dimension is used, the others are 0 of 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Tid,
    Ntid,
    Ctaid,
    Nctaid,
    Lane,
    Zero,
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Param,
}

/// How numbers are compared. The unordered ones are also true where one is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Both are numbers; one is NaN.
    Num,
    Nan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bool {
    And,
    Or,
    Xor,
}

/// How f32 becomes a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Near,
    Zero,
    Down,
    Up,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    Neg,
    Not,
    Abs,
    Rcp,
    Sqrt,
    Rsqrt,
    Ex2,
    Lg2,
    Sin,
    Cos,
    Tanh,
    Popc,
    Clz,
    Brev,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    MulHi,
    Div,
    Rem,
    Min,
    Max,
    /// As `Min` and `Max`, NaN if either is.
    MinNan,
    MaxNan,
    Shl,
    Shr,
    And,
    Or,
    Xor,
    Copysign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Xor,
    Up,
    Down,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mov(Ty),
    Un(Unary, Ty),
    Bin(Binary, Ty),
    MulWide(Ty),
    Mad(Ty),
    MadWide(Ty),
    Bfi(Ty),
    Bfe(Ty),
    Prmt,
    /// Funnel shift; right or left, clamped or not.
    Funnel {
        right: bool,
        clamp: bool,
    },
    Selp(Ty),
    /// The comparison, whether NaN makes it true, and what it is combined with.
    Setp(Cmp, bool, Option<Bool>, Ty),
    Convert {
        to: Ty,
        from: Ty,
        round: Option<Round>,
        saturate: bool,
    },
    PackBf16,
    /// f16 to f32.
    WidenHalf,
    Load(Space, Ty),
    Store(Space, Ty),
    /// Atomic.
    Add32 {
        space: Space,
        ty: Ty,
        result: bool,
    },
    Branch,
    Barrier,
    Return,
    Copy16,
    CopyCommit,
    CopyWait(usize),
    LoadMatrix {
        count: usize,
        transposed: bool,
    },
    Mma(Number),
    MmaSparse(usize, Number),
    /// The writes of the thread to shared memory are seen by products of warp groups.
    ProxyFence,
    GroupFence,
    GroupCommit,
    GroupWait(usize),
    /// A product of a warp group, its left side in registers, with its selector.
    GroupSparse(usize, Number),
    Shuffle(Shuffle),
}

#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    /// Runs in lanes where this register is true, or false.
    pub guard: Option<(usize, bool)>,
    pub kind: Kind,
    pub operands: Vec<Operand>,
    pub line: usize,
}
