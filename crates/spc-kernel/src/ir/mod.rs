//! The loop IR: a kernel is a function over pointers and integers, with structured counted loops that carry values.
//!
//! A vector has no lane count of its own; [`Kernel::lanes`] gives it for all vectors of a kernel. A kernel returns
//! nothing: it writes through its `Ptr` parameters. The interpreter in [`interp`] is the meaning of every operation.
//!
//! | type | what |
//! | --- | --- |
//! | `i64` | integer, wrapping arithmetic |
//! | `ptr` | pointer to memory that the kernel may read and write |
//! | `cptr` | pointer to memory that nothing writes while the kernel runs, so that its loads may move |
//! | `f32`, `vf32` | float, vector of floats |
//! | `vi32` | vector of signed 32-bit integers, wrapping arithmetic |
//! | `bool`, `vbool` | truth value, and one for each lane |

mod build;
pub mod interp;
mod op;
mod parse;
mod print;
pub mod random;
mod tile;
mod verify;

pub use build::Builder;
pub use op::{Addr, Bits, Cmp, FBin, FUn, IBin, LBin, LoadKind, Op, RedFn, StoreKind};
pub use parse::parse;
pub use tile::{MAX_LOCAL, TILE_BYTES, TILES, TileOp};

/// Id of a value. Parameters are the first values, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Val(pub u32);

impl Val {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ty {
    I64,
    Ptr,
    CPtr,
    F32,
    VF32,
    VI32,
    Bool,
    VBool,
}

impl Ty {
    pub const ALL: [Ty; 8] = [Ty::I64, Ty::Ptr, Ty::CPtr, Ty::F32, Ty::VF32, Ty::VI32, Ty::Bool, Ty::VBool];

    pub fn name(self) -> &'static str {
        match self {
            Ty::I64 => "i64",
            Ty::Ptr => "ptr",
            Ty::CPtr => "cptr",
            Ty::F32 => "f32",
            Ty::VF32 => "vf32",
            Ty::VI32 => "vi32",
            Ty::Bool => "bool",
            Ty::VBool => "vbool",
        }
    }

    pub fn is_pointer(self) -> bool {
        matches!(self, Ty::Ptr | Ty::CPtr)
    }

    pub fn is_float(self) -> bool {
        matches!(self, Ty::F32 | Ty::VF32)
    }
}

/// Lane counts that a kernel may have.
pub const LANES: [usize; 4] = [1, 4, 8, 16];

/// A parameter: `i64`, `ptr` or `cptr`. Its value is [`Val`] number `i` for parameter `i`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    pub name: String,
    pub ty: Ty,
}

/// Statements run in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stmt {
    Let(Val, Op),
    Store(StoreKind, Addr, Val),
    /// Writes the first `n` lanes (clamped to `0..=lanes`) of a vector; memory past them is not touched.
    StoreTail {
        addr: Addr,
        value: Val,
        n: Val,
    },
    /// Says that the cache line at the address will be read soon, and how near it is wanted. Has no effect on values and may
    /// point anywhere.
    Prefetch(Near, Addr),
    Tile(TileOp),
    Loop(Loop),
}

/// The cache that a line is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Near {
    /// The first level: what is read within some hundred cycles.
    L1,
    /// The second level, which has room for more lines on their way: long streams from the third level or from memory.
    L2,
}

/// A value that a loop carries: `param` is `init` in the first round and the yielded value in later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carried {
    pub param: Val,
    pub init: Val,
    /// Value after the last round, or `init` if there was none.
    pub result: Val,
    /// Value at the end of a round.
    pub yielded: Val,
}

/// Runs `body` for `index` = 0, 1, .., `count` - 1; not at all if `count` is zero or negative.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Loop {
    pub index: Val,
    pub count: Val,
    pub carried: Vec<Carried>,
    pub body: Vec<Stmt>,
}

/// A function over pointers and integers. `tys[v]` is the type of value `v`; every value is defined exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Letters, digits and `_` only.
    pub name: String,
    pub lanes: usize,
    pub params: Vec<Param>,
    pub tys: Vec<Ty>,
    pub body: Vec<Stmt>,
}

impl Kernel {
    /// Type of a value; `None` for a value that the kernel does not have.
    pub fn ty(&self, v: Val) -> Option<Ty> {
        self.tys.get(v.index()).copied()
    }

    /// Position of the parameter of that name.
    pub fn param(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }

    /// True if it uses tile registers, which not every processor has.
    pub fn uses_tiles(&self) -> bool {
        fn any(body: &[Stmt]) -> bool {
            body.iter().any(|s| match s {
                Stmt::Tile(_) => true,
                Stmt::Loop(l) => any(&l.body),
                _ => false,
            })
        }
        any(&self.body)
    }

    /// Checks types, arity, single definition and dominance. All executors need a kernel that passes.
    pub fn verify(&self) -> Result<(), String> {
        verify::verify(self)
    }
}
