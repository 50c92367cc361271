//! Bytes: blocks in order, branches, moves of the allocator, frame, constant pool.
use super::encode::POOL;
use super::vcode::{CALLEE_SAVED, LOCAL_ALIGN, MOp, RSP, VCode, int_reg};
use super::{Machine, Stats};
use crate::host::Isa;
use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};
use regalloc2::{Allocation, Block, Edit, InstOrEdit, Output, PRegSet, RegClass};
use spc_base::Bug;
use spc_kernel::ir::Cmp;
use spc_kernel::math::MathFn;

/// A constant in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    Word(u32),
    /// Eight words.
    Vector([u32; 8]),
    /// Sixteen words.
    Wide([u32; 16]),
}

pub(super) struct Emitter<'a> {
    pub code: &'a VCode,
    pub out: &'a Output,
    pub isa: Isa,
    /// Calls go over a distance, not to an address.
    pub near: bool,
    encoder: Encoder,
    position: u64,
    labels: Vec<Option<u64>>,
    /// Places of 32-bit distances to blocks.
    to_blocks: Vec<(usize, usize)>,
    /// Places of 8-bit distances, and their targets.
    short: Vec<(usize, u64)>,
    pool: Vec<Constant>,
    to_pool: Vec<(usize, usize)>,
    pub calls: Vec<(usize, MathFn)>,
    lines: Vec<(usize, usize)>,
    heads: Vec<usize>,
    /// Bytes of instructions.
    end: usize,
    /// Bytes of spill slots, and of all below the saved registers.
    slots: i64,
    /// Where memory of the call's own may begin.
    locals: i64,
    frame: i64,
    saved: Vec<usize>,
    failed: Option<String>,
}

/// Bytes where the operands of a call lie, two vectors.
const CALL_AREA: i64 = 128;

/// The configuration of tiles as the processor reads it: palette 1, eight tiles of 64 bytes a row (16 bits each from byte 16
/// on) and 16 rows (8 bits each from byte 48 on).
const TILE_SHAPES: [u32; 16] = {
    let mut words = [0; 16];
    words[0] = 1;
    let mut i = 4;
    while i < 8 {
        words[i] = 0x0040_0040;
        i += 1;
    }
    words[12] = 0x1010_1010;
    words[13] = 0x1010_1010;
    words
};

pub(super) fn gp(n: usize) -> Register {
    Register::RAX + n as u32
}

pub(super) fn gp32(n: usize) -> Register {
    Register::EAX + n as u32
}

/// Blocks that hold nothing but a jump and need no code.
fn empty_blocks(code: &VCode, out: &Output) -> Vec<bool> {
    let moves = |b: usize| out.block_insts_and_edits(code, Block::new(b)).any(|x| is_move(&x));
    (0..code.blocks.len()).map(|b| b != 0 && code.single(b) == Some(MOp::Jmp) && !moves(b)).collect()
}

fn is_move(x: &InstOrEdit<'_>) -> bool {
    matches!(x, InstOrEdit::Edit(Edit::Move { from, to }) if from != to)
}

pub(super) fn emit(name: &str, code: &VCode, out: &Output, isa: Isa, near: bool) -> Result<Machine, Bug> {
    let mut e = Emitter {
        code,
        out,
        isa,
        near,
        encoder: Encoder::new(64),
        position: 0,
        labels: vec![None; code.blocks.len()],
        to_blocks: Vec::new(),
        short: Vec::new(),
        pool: Vec::new(),
        to_pool: Vec::new(),
        calls: Vec::new(),
        lines: Vec::new(),
        heads: Vec::new(),
        end: 0,
        slots: 0,
        locals: 0,
        frame: 0,
        saved: Vec::new(),
        failed: None,
    };
    let mut stats = Stats::default();
    e.blocks(&mut stats);
    let bytes = e.finish();
    match e.failed {
        Some(text) => Err(Bug::new(format!("kernel {name}: encoding: {text}"))),
        None => Ok(Machine { bytes, calls: e.calls, stats, code: e.end, lines: e.lines, heads: e.heads }),
    }
}

impl Emitter<'_> {
    pub fn fail(&mut self, text: impl Into<String>) {
        self.failed.get_or_insert(text.into());
    }

    pub fn is_512(&self) -> bool {
        self.isa.is_512()
    }

    /// Vector register `n` in its full width.
    pub fn vector(&self, n: usize) -> Register {
        (if self.is_512() { Register::ZMM0 } else { Register::YMM0 }) + n as u32
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn put(&mut self, i: Result<Instruction, IcedError>) {
        match i {
            Ok(i) => self.put_one(&i),
            Err(e) => self.fail(e.to_string()),
        }
    }

    pub fn put_one(&mut self, i: &Instruction) {
        match self.encoder.encode(i, self.position) {
            Ok(n) => self.position += n as u64,
            Err(e) => self.fail(format!("{:?}: {e}", i.code())),
        }
    }

    /// An instruction whose memory operand, which must have `rip` as base and 0 as address, is a constant.
    pub fn put_pooled(&mut self, i: Result<Instruction, IcedError>, c: Constant) {
        let entry = self.pool.iter().position(|x| *x == c).unwrap_or_else(|| {
            self.pool.push(c);
            self.pool.len() - 1
        });
        let start = self.position as usize;
        self.put(i);
        let at = start + self.encoder.get_constant_offsets().displacement_offset();
        self.to_pool.push((at, entry));
    }

    /// A conditional jump forward over a few instructions; give the result to [`Self::land`] at its target.
    pub fn skip(&mut self, code: Code) -> usize {
        self.put(Instruction::with_branch(code, self.position + 2));
        self.position as usize - 1
    }

    pub fn land(&mut self, skip: usize) {
        self.short.push((skip, self.position));
    }

    /// Address of the area for operand `n` of a call.
    pub fn call_area(&self, n: i64) -> MemoryOperand {
        MemoryOperand::with_base_displ(gp(RSP), self.slots + n * (CALL_AREA / 2))
    }

    fn slot(&self, a: Allocation) -> MemoryOperand {
        MemoryOperand::with_base_displ(gp(RSP), a.as_stack().map_or(0, |s| s.index() as i64 * 8))
    }

    /// Moves leave the flags alone, because the allocator puts them between a comparison and its branch.
    fn mov(&mut self, from: Allocation, to: Allocation) {
        use Code::*;
        let z = self.is_512();
        let (load, store, copy) = match (from.as_reg().or(to.as_reg()).map(|r| r.class()), z) {
            (Some(RegClass::Int), _) => (Mov_r64_rm64, Mov_rm64_r64, Mov_r64_rm64),
            (_, true) => (EVEX_Vmovups_zmm_k1z_zmmm512, EVEX_Vmovups_zmmm512_k1z_zmm, EVEX_Vmovaps_zmm_k1z_zmmm512),
            (_, false) => (VEX_Vmovups_ymm_ymmm256, VEX_Vmovups_ymmm256_ymm, VEX_Vmovaps_ymm_ymmm256),
        };
        let name = |e: &Self, r: regalloc2::PReg| match r.class() {
            RegClass::Int => gp(r.hw_enc()),
            _ => e.vector(r.hw_enc()),
        };
        match (from.as_reg(), to.as_reg()) {
            (Some(a), Some(b)) => self.put(Instruction::with2(copy, name(self, b), name(self, a))),
            (Some(a), None) => self.put(Instruction::with2(store, self.slot(to), name(self, a))),
            (None, Some(b)) => self.put(Instruction::with2(load, name(self, b), self.slot(from))),
            (None, None) => self.fail("a move from stack to stack"),
        }
    }

    fn branch(&mut self, near: Code, short: Code, target: usize) {
        match self.labels[target] {
            Some(p) => {
                let distance = p as i64 - (self.position as i64 + 2);
                self.put(Instruction::with_branch(if distance >= -128 { short } else { near }, p));
            }
            None => {
                self.put(Instruction::with_branch(near, self.position));
                self.to_blocks.push((self.position as usize - 4, target));
            }
        }
    }

    fn align(&mut self, n: u64) {
        const NOPS: [&[u8]; 10] = [
            &[],
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0],
            &[0x0f, 0x1f, 0x40, 0],
            &[0x0f, 0x1f, 0x44, 0, 0],
            &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
            &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
            &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        ];
        while !self.position.is_multiple_of(n) {
            let k = (n - self.position % n).min(9);
            for b in NOPS[k as usize] {
                self.encoder.write_u8(*b);
            }
            self.position += k;
        }
    }

    fn frame(&mut self) {
        let mut used = PRegSet::empty();
        let moved = self.out.edits.iter().flat_map(|(_, Edit::Move { from, to })| [from, to]);
        for r in self.out.allocs.iter().chain(moved).filter_map(|a| a.as_reg()) {
            used.add(r);
        }
        self.saved = CALLEE_SAVED.into_iter().filter(|r| used.contains(int_reg(*r))).collect();
        self.slots = self.out.num_spillslots as i64 * 8;
        self.locals = self.slots + if self.code.has_calls() { CALL_AREA } else { 0 };
        let own = i64::from(self.code.locals);
        // The stack is aligned to less than memory of a call's own.
        self.frame = self.locals + if own > 0 { own + i64::from(LOCAL_ALIGN) } else { 0 };
        // The return address and the saved registers lie above; calls want the stack aligned to 16 bytes.
        if (self.frame + 8 * (self.saved.len() as i64 + 1)) % 16 != 0 {
            self.frame += 8;
        }
        for r in self.saved.clone() {
            self.put(Instruction::with1(Code::Push_r64, gp(r)));
        }
        self.grow();
        if self.code.has_tiles() {
            self.put_pooled(Instruction::with1(Code::VEX_Ldtilecfg_m512, POOL), Constant::Wide(TILE_SHAPES));
        }
    }

    /// Moves the stack pointer down page by page, so that a stack that is full is met at its guard page.
    fn grow(&mut self) {
        const PAGE: i64 = 4096;
        let mut left = self.frame;
        while left > PAGE {
            self.put(Instruction::with2(Code::Sub_rm64_imm32, gp(RSP), PAGE as i32));
            let top = MemoryOperand::with_base(gp(RSP));
            self.put(Instruction::with2(Code::Or_rm64_imm8, top, 0));
            left -= PAGE;
        }
        self.put(Instruction::with2(Code::Sub_rm64_imm32, gp(RSP), left as i32));
    }

    /// The place of memory of the call's own on the stack.
    pub fn local(&mut self, d: usize, at: u32) {
        let up = self.locals + i64::from(at) + i64::from(LOCAL_ALIGN) - 1;
        let place = MemoryOperand::with_base_displ(gp(RSP), up);
        self.put(Instruction::with2(Code::Lea_r64_m, gp(d), place));
        self.put(Instruction::with2(Code::And_rm64_imm8, gp(d), -(LOCAL_ALIGN as i32)));
    }

    fn leave(&mut self) {
        if self.code.has_tiles() {
            self.put_one(&Instruction::with(Code::VEX_Tilerelease));
        }
        self.put_one(&Instruction::with(Code::VEX_Vzeroupper));
        self.put(Instruction::with2(Code::Add_rm64_imm32, gp(RSP), self.frame as i32));
        for r in self.saved.clone().into_iter().rev() {
            self.put(Instruction::with1(Code::Pop_r64, gp(r)));
        }
        self.put_one(&Instruction::with(Code::Retnq));
    }

    fn blocks(&mut self, stats: &mut Stats) {
        let code = self.code;
        let empty = empty_blocks(code, self.out);
        let present = (0..code.blocks.len()).filter(|b| !empty[*b]);
        let (mut order, cold): (Vec<usize>, Vec<usize>) = present.partition(|b| !code.blocks[*b].cold);
        order.extend(cold);
        let through = |mut b: usize| {
            while empty[b] {
                b = code.blocks[b].succs[0].index();
            }
            b
        };
        self.frame();
        for (n, &b) in order.iter().enumerate() {
            let block = &code.blocks[b];
            if block.header && block.inner {
                self.align(64);
            }
            self.labels[b] = Some(self.position);
            if block.header {
                self.heads.push(self.position as usize);
            }
            let next = order.get(n + 1).copied();
            let succs: Vec<usize> = block.succs.iter().map(|s| through(s.index())).collect();
            for x in self.out.block_insts_and_edits(code, Block::new(b)) {
                match x {
                    InstOrEdit::Edit(Edit::Move { from, to }) if from == to => {}
                    InstOrEdit::Edit(Edit::Move { from, to }) => {
                        stats.count(block.inner, from.is_stack() || to.is_stack());
                        self.mov(*from, *to);
                    }
                    InstOrEdit::Inst(i) if code.insts[i.index()].line != self.line() => {
                        self.lines.push((self.position as usize, code.insts[i.index()].line));
                        self.one(i, &succs, next);
                    }
                    InstOrEdit::Inst(i) => self.one(i, &succs, next),
                }
            }
        }
        self.end = self.position as usize;
    }

    /// Line of the kernel's text that the last instruction came from.
    fn line(&self) -> usize {
        self.lines.last().map_or(0, |l| l.1)
    }

    fn one(&mut self, i: regalloc2::Inst, succs: &[usize], next: Option<usize>) {
        match self.code.insts[i.index()].op {
            MOp::Jmp => self.jump(succs[0], next),
            MOp::Branch(c) => self.fork(c, succs[0], succs[1], next),
            MOp::Ret => self.leave(),
            _ => self.inst(i),
        }
    }

    fn jump(&mut self, target: usize, next: Option<usize>) {
        if next != Some(target) {
            self.branch(Code::Jmp_rel32_64, Code::Jmp_rel8_64, target);
        }
    }

    fn fork(&mut self, c: Cmp, yes: usize, no: usize, next: Option<usize>) {
        use Code::*;
        let jump = |c: Cmp| match c {
            Cmp::Lt => (Jl_rel32_64, Jl_rel8_64),
            Cmp::Le => (Jle_rel32_64, Jle_rel8_64),
            Cmp::Gt => (Jg_rel32_64, Jg_rel8_64),
            Cmp::Ge => (Jge_rel32_64, Jge_rel8_64),
            Cmp::Eq => (Je_rel32_64, Je_rel8_64),
            Cmp::Ne => (Jne_rel32_64, Jne_rel8_64),
        };
        let opposite = match c {
            Cmp::Lt => Cmp::Ge,
            Cmp::Le => Cmp::Gt,
            Cmp::Gt => Cmp::Le,
            Cmp::Ge => Cmp::Lt,
            Cmp::Eq => Cmp::Ne,
            Cmp::Ne => Cmp::Eq,
        };
        if next == Some(yes) {
            let (near, short) = jump(opposite);
            self.branch(near, short, no);
        } else {
            let (near, short) = jump(c);
            self.branch(near, short, yes);
            self.jump(no, next);
        }
    }

    /// All bytes, with distances filled in and the constants at the end.
    fn finish(&mut self) -> Vec<u8> {
        let mut bytes = self.encoder.take_buffer();
        for (at, block) in &self.to_blocks {
            let Some(target) = self.labels[*block] else {
                self.failed.get_or_insert("a jump to a block without code".into());
                continue;
            };
            let d = target as i64 - (*at as i64 + 4);
            bytes[*at..at + 4].copy_from_slice(&(d as i32).to_le_bytes());
        }
        for (at, target) in &self.short {
            match i8::try_from(*target as i64 - (*at as i64 + 1)) {
                Ok(d) => bytes[*at] = d as u8,
                Err(_) => {
                    self.failed.get_or_insert("a short jump is too long".into());
                }
            }
        }
        let mut starts = vec![0; self.pool.len()];
        for width in [16, 8, 1] {
            for (start, c) in starts.iter_mut().zip(&self.pool) {
                let words: &[u32] = match (c, width) {
                    (Constant::Wide(v), 16) => v,
                    (Constant::Vector(v), 8) => v,
                    (Constant::Word(w), 1) => std::slice::from_ref(w),
                    _ => continue,
                };
                while !bytes.len().is_multiple_of(4 * words.len()) {
                    bytes.push(0xcc);
                }
                *start = bytes.len();
                bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
            }
        }
        for (at, entry) in &self.to_pool {
            // Encoded as the distance to address 0.
            let field: [u8; 4] = std::array::from_fn(|i| bytes[at + i]);
            let d = i32::from_le_bytes(field).wrapping_add(starts[*entry] as i32);
            bytes[*at..at + 4].copy_from_slice(&d.to_le_bytes());
        }
        bytes
    }
}
