//! Machine instructions over virtual registers, in the shape that regalloc2 wants.
//!
//! There are two register classes: general registers (integers, pointers, truth values as 0 or 1) and vector registers
//! (floats, vectors, and truth values by lane as 0 or -1).
use regalloc2::{Block, Function, Inst, InstRange, Operand, PReg, PRegSet, RegClass, VReg};
use spc_kernel::ir::{Cmp, FBin, FUn, IBin, LBin, LoadKind, Near, RedFn, StoreKind};
use spc_kernel::math::MathFn;

/// Hardware numbers of general registers.
pub(super) const RAX: usize = 0;
pub(super) const RDX: usize = 2;
pub(super) const RSP: usize = 4;
pub(super) const RDI: usize = 7;
/// General registers that a function of the System V ABI gives back as it found them; `rsp` is the other one.
pub(super) const CALLEE_SAVED: [usize; 6] = [3, 5, 12, 13, 14, 15];
pub(super) const CALLER_SAVED: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

/// What the address of memory of a call's own is a multiple of.
pub(super) const LOCAL_ALIGN: u32 = 64;

pub(super) fn int_reg(n: usize) -> PReg {
    PReg::new(n, RegClass::Int)
}

pub(super) fn vector_reg(n: usize) -> PReg {
    PReg::new(n, RegClass::Float)
}

/// Integer operations of two registers whose result is in the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IntOp {
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Min,
    Max,
}

/// Integer operations of a register and a constant whose result is in the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ImmOp {
    And(i32),
    Or(i32),
    /// Arithmetic shift right.
    Sar(u8),
    Shl(u8),
    Dec,
    Inc,
    /// Not of a truth value.
    Flip,
}

/// What an instruction does. Operands are listed as definitions, uses and temporaries, in this order; those of the memory
/// operand follow (base, index). `tied` says that the first use is the register of the definition; `early` that the
/// definition is written before the uses are read, so that they are different registers.
///
/// `bool` says scalar: one lane instead of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MOp {
    /// Defines the argument block in `rdi`.
    Args,
    Ret,
    Jmp,
    /// Jumps to the first successor if the flags say so, else to the second.
    Branch(Cmp),
    /// Sets the flags: the register against 0.
    Test,

    Int(i64),
    /// Address of the memory operand.
    Lea,
    /// tied
    IntOp(IntOp),
    /// tied
    ImmOp(ImmOp),
    MulImm(i32),
    /// The low 32 bits, sign-extended.
    Wrap32,
    /// `rax` divided by a register that is neither `rax` nor `rdx`: quotient in `rax` (true) or remainder in `rdx`.
    Divide(bool),
    SetInt(Cmp),
    SetIntImm(Cmp, i32),
    /// `def = if c { a } else { b }` of operands b (tied), a, c.
    SelectInt,
    Load64,
    LoadInt(LoadKind),
    StoreInt(StoreKind),

    Zero,
    /// A float from the constant pool in every lane.
    Const(u32),
    LoadF(bool),
    LoadSplat,
    StoreF(bool),
    /// Uses n; temporaries: two integers, and with AVX2 a vector.
    LoadTail,
    /// Uses value, n; temporaries as above.
    StoreTail,
    Prefetch(Near),
    /// Not max and min.
    FBin(FBin, bool),
    /// Max (true) or min, early; a temporary vector with AVX2.
    Extreme(bool, bool),
    FUn(FUn, bool),
    /// `c + a * b` of operands c (tied), a, b; b may be in memory.
    Fma(bool),
    /// The lowest lane in all lanes.
    SplatF,
    /// A truth value in all lanes; a temporary integer.
    SplatBool,
    /// The upper half of the lowest 2n lanes.
    UpperHalf(usize),
    /// Compares the lowest lanes; a temporary vector.
    SetF(Cmp),
    CompareF(Cmp),
    /// `def = if c { a } else { b }` by lane, of operands c, a, b.
    SelectF,
    Logic(LBin),
    /// early
    NotLanes,
    /// early
    IntToF,
    /// early; a temporary integer
    FToInt,
    /// Narrow elements, widened; an f16 scalar with a temporary integer.
    LoadNarrow(LoadKind),
    LoadHalf,
    /// The low byte of each lane; with AVX2 a temporary vector.
    StoreBytes,
    /// Lane by lane on integers; the second may be in memory.
    Lanes(IBin),
    /// Lane i from lane `i ^ k`.
    Swap(u8),
    /// Lane by lane: left (true) or arithmetic right.
    ShiftLanes(bool, u8),
    /// Operands acc (tied), u, s. With VNNI `s` may be in memory; without, three temporary vectors.
    Dot,
    /// Integers to floats; may be in memory.
    LanesToF,
    /// early; with AVX2 a temporary vector.
    Nearest,
    NearestOrLeast,
    /// The low 32 bits of an integer in all lanes.
    SplatInt,
    /// The lowest lane as an integer.
    LowestInt,
    /// The low 32 bits of an integer as a scalar float.
    FloatOfInt,
    /// Operands vector, numbers of lanes.
    Permute,
    /// The number of bits that are one.
    Ones,
    /// Operands vector, mask; with AVX2 two temporary integers and a vector.
    Expand,
    /// Operands vector, numbers of bytes within 16.
    Bytes,
    /// Operands numbers of bytes, vector. With VNNI the vector may be in memory; without, two temporary vectors, and early.
    PermuteBytes,
    /// The second half (true) or the first of the lanes of both in turn; early, with AVX2 a temporary vector.
    Zip(bool),
    /// Operands numbers; early, a temporary vector with AVX2.
    Gather,
    /// Four floats, repeated.
    LoadQuad,
    /// Address of memory of the call's own, so many bytes from its beginning.
    Local(u32),
    TileZero(u8),
    /// The index of the memory operand is the distance between rows.
    TileLoad(u8),
    TileStore(u8),
    TileDot(u8, u8, u8),
    /// Calls a function lane by lane. Operands and result are in fixed registers.
    Call(MathFn, bool),
}

/// Addressing of the memory operand; its registers are the last operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mem {
    pub index: bool,
    pub scale: u8,
    pub disp: i32,
    /// One float for all lanes.
    pub broadcast: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct MInst {
    pub op: MOp,
    operands: (u32, u32),
    pub mem: Option<Mem>,
    /// Line of the kernel's text.
    pub line: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct MBlock {
    insts: (u32, u32),
    pub succs: Vec<Block>,
    preds: Vec<Block>,
    params: Vec<VReg>,
    args: Vec<Vec<VReg>>,
    /// First block of a loop body.
    pub header: bool,
    /// Part of a loop without inner loops.
    pub inner: bool,
    /// Run when a loop makes no round.
    pub cold: bool,
}

#[derive(Default)]
pub(super) struct VCode {
    pub insts: Vec<MInst>,
    operands: Vec<Operand>,
    pub blocks: Vec<MBlock>,
    vregs: usize,
    pub lanes: usize,
    /// Bytes of memory of the call's own.
    pub locals: u32,
    /// Line of the kernel's text that instructions come from.
    pub line: usize,
    current: usize,
}

impl VCode {
    pub fn new(lanes: usize) -> VCode {
        VCode { lanes, ..VCode::default() }
    }

    pub fn vreg(&mut self, class: RegClass) -> VReg {
        self.vregs += 1;
        VReg::new(self.vregs - 1, class)
    }

    /// Opens a block, which becomes the current one.
    pub fn start(&mut self, params: Vec<VReg>) -> usize {
        let n = self.insts.len() as u32;
        self.blocks.push(MBlock { insts: (n, n), params, ..MBlock::default() });
        self.current = self.blocks.len() - 1;
        self.current
    }

    /// Closes the current block after its branch.
    pub fn end(&mut self) -> usize {
        self.blocks[self.current].insts.1 = self.insts.len() as u32;
        self.current
    }

    pub fn edge(&mut self, from: usize, to: usize, args: Vec<VReg>) {
        self.blocks[from].succs.push(Block::new(to));
        self.blocks[from].args.push(args);
        self.blocks[to].preds.push(Block::new(from));
    }

    pub fn emit(&mut self, op: MOp, operands: &[Operand], mem: Option<Mem>) {
        let start = self.operands.len() as u32;
        self.operands.extend_from_slice(operands);
        self.insts.push(MInst { op, operands: (start, self.operands.len() as u32), mem, line: self.line });
    }

    /// A block that only jumps, as every edge from a branch to a join needs one.
    pub fn jump_block(&mut self) -> usize {
        self.start(Vec::new());
        self.emit(MOp::Jmp, &[], None);
        self.end()
    }

    /// The only instruction of a block, if it has just one.
    pub fn single(&self, block: usize) -> Option<MOp> {
        let (from, to) = self.blocks[block].insts;
        (to - from == 1).then(|| self.insts[from as usize].op)
    }

    /// The place of `bytes` of the call's own memory.
    pub fn local(&mut self, bytes: u32) -> u32 {
        let at = self.locals;
        self.locals += bytes.next_multiple_of(LOCAL_ALIGN);
        at
    }

    pub fn has_tiles(&self) -> bool {
        self.insts.iter().any(|i| matches!(i.op, MOp::TileZero(_) | MOp::TileLoad(_)))
    }

    pub fn has_calls(&self) -> bool {
        self.insts.iter().any(|i| matches!(i.op, MOp::Call(..)))
    }
}

/// Registers that a called function may change.
fn call_clobbers() -> PRegSet {
    let ints = CALLER_SAVED.iter().fold(PRegSet::empty(), |s, r| s.with(int_reg(*r)));
    // The result is in vector register 0.
    (1..32).fold(ints, |s, r| s.with(vector_reg(r)))
}

impl Function for VCode {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.blocks.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        let (from, to) = self.blocks[block.index()].insts;
        InstRange::new(Inst::new(from as usize), Inst::new(to as usize))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].succs
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.blocks[block.index()].preds
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.blocks[block.index()].params
    }

    fn is_ret(&self, inst: Inst) -> bool {
        self.insts[inst.index()].op == MOp::Ret
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(self.insts[inst.index()].op, MOp::Jmp | MOp::Branch(_))
    }

    fn branch_blockparams(&self, block: Block, _: Inst, succ: usize) -> &[VReg] {
        &self.blocks[block.index()].args[succ]
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        let (from, to) = self.insts[inst.index()].operands;
        &self.operands[from as usize..to as usize]
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        match self.insts[inst.index()].op {
            MOp::Call(..) => call_clobbers(),
            MOp::Divide(true) => PRegSet::empty().with(int_reg(RDX)),
            MOp::Divide(false) => PRegSet::empty().with(int_reg(RAX)),
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.vregs
    }

    /// In units of 8 bytes.
    fn spillslot_size(&self, class: RegClass) -> usize {
        if class == RegClass::Int { 1 } else { self.lanes / 2 }
    }
}

/// The float operation that a reduction repeats.
pub(super) fn reduction(f: RedFn) -> FBin {
    match f {
        RedFn::Add => FBin::Add,
        RedFn::Max => FBin::Max,
        RedFn::Min => FBin::Min,
    }
}
