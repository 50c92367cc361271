//! One instruction at a time.
use super::codes::{self, Bitwise, UNORDERED};
use super::emit::{Constant, Emitter, gp, gp32};
use super::vcode::{ImmOp, IntOp, MOp, RAX, RDI, RDX};
use iced_x86::{Code, Instruction, MemoryOperand, Register};
use spc_kernel::ir::{Cmp, FBin, FUn, LBin, LoadKind, Near, StoreKind};
use spc_kernel::math::MathFn;

/// Memory operand of a constant.
pub(super) const POOL: MemoryOperand = MemoryOperand {
    segment_prefix: Register::None,
    base: Register::RIP,
    index: Register::None,
    scale: 1,
    displacement: 0,
    displ_size: 1,
    is_broadcast: false,
};

fn gp8(n: usize) -> Register {
    const LOW: [Register; 8] = [
        Register::AL,
        Register::CL,
        Register::DL,
        Register::BL,
        Register::SPL,
        Register::BPL,
        Register::SIL,
        Register::DIL,
    ];
    LOW.get(n).copied().unwrap_or(Register::R8L + (n as u32).wrapping_sub(8))
}

fn gp16(n: usize) -> Register {
    Register::AX + n as u32
}

fn tmm(n: u8) -> Register {
    Register::TMM0 + u32::from(n)
}

pub(super) fn xmm(n: usize) -> Register {
    Register::XMM0 + n as u32
}

impl Emitter<'_> {
    /// Vector register in the width of a scalar or of all lanes.
    fn width(&self, n: usize, scalar: bool) -> Register {
        if scalar { xmm(n) } else { self.vector(n) }
    }

    pub(super) fn inst(&mut self, i: regalloc2::Inst) {
        let inst = self.code.insts[i.index()];
        let mut r = Vec::new();
        for a in self.out.inst_allocs(i) {
            match a.as_reg() {
                Some(p) => r.push(p.hw_enc()),
                None => return self.fail("an operand without a register"),
            }
        }
        let mem = inst.mem.map(|m| {
            let index = if m.index { r.pop() } else { None };
            let base = r.pop().unwrap_or_default();
            MemoryOperand::new(
                gp(base),
                index.map_or(Register::None, gp),
                u32::from(m.scale),
                i64::from(m.disp),
                u32::from(m.disp != 0),
                m.broadcast,
                Register::None,
            )
        });
        match (inst.op, mem) {
            (MOp::Lea, Some(m)) => self.lea(r[0], m),
            (MOp::Load64, Some(m)) => self.put(Instruction::with2(Code::Mov_r64_rm64, gp(r[0]), m)),
            (MOp::LoadInt(kind), Some(m)) => self.load_int(kind, r[0], m),
            (MOp::StoreInt(kind), Some(m)) => match kind {
                StoreKind::U16 => self.put(Instruction::with2(Code::Mov_rm16_r16, m, gp16(r[0]))),
                StoreKind::I32 => self.put(Instruction::with2(Code::Mov_rm32_r32, m, gp32(r[0]))),
                _ => self.put(Instruction::with2(Code::Mov_rm8_r8, m, gp8(r[0]))),
            },
            (MOp::LoadF(scalar), Some(m)) => {
                let code = codes::load(self.is_512(), scalar);
                self.put(Instruction::with2(code, self.width(r[0], scalar), m));
            }
            (MOp::StoreF(scalar), Some(m)) => {
                let code = codes::store(self.is_512(), scalar);
                self.put(Instruction::with2(code, m, self.width(r[0], scalar)));
            }
            (MOp::LoadSplat, Some(m)) => {
                self.put(Instruction::with2(codes::broadcast_memory(self.is_512()), self.vector(r[0]), m));
            }
            (MOp::LoadTail, Some(m)) => self.load_tail(&r, m),
            (MOp::StoreTail, Some(m)) => self.store_tail(&r, m),
            (MOp::TileLoad(t), Some(m)) => {
                self.put(Instruction::with2(Code::VEX_Tileloadd_tmm_sibmem, tmm(t), m));
            }
            (MOp::TileStore(t), Some(m)) => {
                self.put(Instruction::with2(Code::VEX_Tilestored_sibmem_tmm, m, tmm(t)));
            }
            (MOp::Prefetch(Near::L1), Some(m)) => self.put(Instruction::with1(Code::Prefetcht0_m8, m)),
            (MOp::Prefetch(Near::L2), Some(m)) => self.put(Instruction::with1(Code::Prefetcht1_m8, m)),
            (MOp::FBin(f, scalar), m) => {
                let code = codes::fbin(f, self.is_512(), scalar);
                let (d, a) = (self.width(r[0], scalar), self.width(r[1], scalar));
                match m {
                    Some(m) => self.put(Instruction::with3(code, d, a, m)),
                    None => self.put(Instruction::with3(code, d, a, self.width(r[2], scalar))),
                }
            }
            (MOp::Fma(scalar), m) => {
                let code = codes::fma(self.is_512(), scalar);
                let (d, a) = (self.width(r[0], scalar), self.width(r[2], scalar));
                match m {
                    Some(m) => self.put(Instruction::with3(code, d, a, m)),
                    None => self.put(Instruction::with3(code, d, a, self.width(r[3], scalar))),
                }
            }
            (
                MOp::LoadNarrow(_)
                | MOp::LoadHalf
                | MOp::StoreBytes
                | MOp::Lanes(_)
                | MOp::Dot
                | MOp::LanesToF
                | MOp::Bytes
                | MOp::PermuteBytes,
                m,
            ) => {
                self.narrow(inst.op, &r, m);
            }
            (MOp::LoadQuad | MOp::Gather, Some(m)) => self.spread(inst.op, &r, m),
            (op, None) => self.registers(op, &r),
            (op, Some(_)) => self.fail(format!("{op:?} has no form with memory")),
        }
    }

    fn registers(&mut self, op: MOp, r: &[usize]) {
        use Code::*;
        match op {
            MOp::Args => {}
            MOp::Test => self.put(Instruction::with2(Test_rm64_r64, gp(r[0]), gp(r[0]))),
            MOp::Int(c) => self.int(r[0], c),
            MOp::IntOp(f) => self.int_op(f, r[0], r[2]),
            MOp::ImmOp(f) => self.imm_op(f, r[0]),
            MOp::MulImm(n) => self.put(Instruction::with3(Imul_r64_rm64_imm32, gp(r[0]), gp(r[1]), n)),
            MOp::Ones => self.put(Instruction::with2(Popcnt_r64_rm64, gp(r[0]), gp(r[1]))),
            MOp::Expand => self.expand(r),
            MOp::Wrap32 => self.put(Instruction::with2(Movsxd_r64_rm32, gp(r[0]), gp32(r[1]))),
            MOp::Divide(quotient) => self.divide(quotient, r[2]),
            MOp::SetInt(c) => {
                self.put(Instruction::with2(Cmp_r64_rm64, gp(r[1]), gp(r[2])));
                self.set(c, r[0]);
            }
            MOp::SetIntImm(c, n) => {
                self.put(Instruction::with2(Cmp_rm64_imm32, gp(r[1]), n));
                self.set(c, r[0]);
            }
            MOp::SelectInt => {
                self.put(Instruction::with2(Test_rm64_r64, gp(r[3]), gp(r[3])));
                self.put(Instruction::with2(Cmovne_r64_rm64, gp(r[0]), gp(r[2])));
            }
            MOp::Zero if r[0] < 16 => {
                self.put(Instruction::with3(VEX_Vpxor_xmm_xmm_xmmm128, xmm(r[0]), xmm(r[0]), xmm(r[0])));
            }
            MOp::Zero => self.bitwise(Bitwise::Xor, r[0], r[0], r[0]),
            MOp::Const(bits) => {
                let code = codes::broadcast_memory(self.is_512());
                self.put_pooled(Instruction::with2(code, self.vector(r[0]), POOL), Constant::Word(bits));
            }
            MOp::Extreme(max, scalar) => self.extreme(max, scalar, r),
            MOp::FUn(f, scalar) => self.fun(f, scalar, r[0], r[1]),
            MOp::SplatF => self.splat(r[0], r[1]),
            MOp::SplatBool => {
                // 0 or -1 in an integer register, then in all lanes.
                self.put(Instruction::with2(Mov_r32_rm32, gp32(r[2]), gp32(r[1])));
                self.put(Instruction::with1(Neg_rm32, gp32(r[2])));
                if self.is_512() {
                    self.put(Instruction::with2(EVEX_Vpbroadcastd_zmm_k1z_r32, self.vector(r[0]), gp32(r[2])));
                } else {
                    self.put(Instruction::with2(VEX_Vmovd_xmm_rm32, xmm(r[0]), gp32(r[2])));
                    self.put(Instruction::with2(VEX_Vpbroadcastd_ymm_xmmm32, self.vector(r[0]), xmm(r[0])));
                }
            }
            MOp::UpperHalf(n) => self.upper_half(n, r[0], r[1]),
            MOp::SetF(c) => {
                let p = codes::predicate(c);
                if self.is_512() {
                    let code = EVEX_Vcmpss_kr_k1_xmm_xmmm32_imm8_sae;
                    self.put(Instruction::with4(code, Register::K1, xmm(r[1]), xmm(r[2]), p));
                    self.put(Instruction::with2(VEX_Kmovw_r32_kr, gp32(r[0]), Register::K1));
                } else {
                    let code = VEX_Vcmpss_xmm_xmm_xmmm32_imm8;
                    self.put(Instruction::with4(code, xmm(r[3]), xmm(r[1]), xmm(r[2]), p));
                    self.put(Instruction::with2(VEX_Vmovd_rm32_xmm, gp32(r[0]), xmm(r[3])));
                }
                self.put(Instruction::with2(And_rm32_imm8, gp32(r[0]), 1));
            }
            MOp::CompareF(c) => {
                let p = codes::predicate(c);
                let (d, a, b) = (self.vector(r[0]), self.vector(r[1]), self.vector(r[2]));
                if self.is_512() {
                    let code = EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
                    self.put(Instruction::with4(code, Register::K1, a, b, p));
                    self.put(Instruction::with2(EVEX_Vpmovm2d_zmm_kr, d, Register::K1));
                } else {
                    self.put(Instruction::with4(VEX_Vcmpps_ymm_ymm_ymmm256_imm8, d, a, b, p));
                }
            }
            MOp::SelectF => {
                let (d, c, a, b) = (self.vector(r[0]), self.vector(r[1]), self.vector(r[2]), self.vector(r[3]));
                if self.is_512() {
                    self.put(Instruction::with2(EVEX_Vpmovd2m_kr_zmm, Register::K1, c));
                    self.masked(Instruction::with3(EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, d, b, a), false);
                } else {
                    self.put(Instruction::with4(VEX_Vblendvps_ymm_ymm_ymmm256_ymm, d, b, a, c));
                }
            }
            MOp::Logic(f) => {
                let f = if f == LBin::And { Bitwise::And } else { Bitwise::Or };
                self.bitwise(f, r[0], r[1], r[2]);
            }
            MOp::NotLanes => {
                let (d, a) = (self.vector(r[0]), self.vector(r[1]));
                if self.is_512() {
                    // The table of "not the last operand".
                    self.put(Instruction::with4(EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8, d, a, a, 0x55));
                } else {
                    self.put(Instruction::with3(VEX_Vpcmpeqd_ymm_ymm_ymmm256, d, d, d));
                    self.bitwise(Bitwise::Xor, r[0], r[0], r[1]);
                }
            }
            MOp::IntToF => {
                let d = xmm(r[0]);
                if self.is_512() {
                    self.bitwise(Bitwise::Xor, r[0], r[0], r[0]);
                    self.put(Instruction::with3(EVEX_Vcvtsi2ss_xmm_xmm_rm64_er, d, d, gp(r[1])));
                } else {
                    self.put(Instruction::with3(VEX_Vpxor_xmm_xmm_xmmm128, d, d, d));
                    self.put(Instruction::with3(VEX_Vcvtsi2ss_xmm_xmm_rm64, d, d, gp(r[1])));
                }
            }
            MOp::Swap(_)
            | MOp::ShiftLanes(..)
            | MOp::Nearest
            | MOp::NearestOrLeast
            | MOp::SplatInt
            | MOp::LowestInt => self.narrow(op, r, None),
            MOp::FToInt => self.float_to_int(r[0], r[1], r[2]),
            MOp::FloatOfInt => {
                let code = if self.is_512() { EVEX_Vmovd_xmm_rm32 } else { VEX_Vmovd_xmm_rm32 };
                self.put(Instruction::with2(code, xmm(r[0]), gp32(r[1])));
            }
            MOp::Local(at) => self.local(r[0], at),
            MOp::TileZero(t) => self.put(Instruction::with1(VEX_Tilezero_tmm, tmm(t))),
            MOp::TileDot(c, s, u) => {
                self.put(Instruction::with3(VEX_Tdpbsud_tmm_tmm_tmm, tmm(c), tmm(s), tmm(u)));
            }
            MOp::Permute | MOp::Zip(_) => self.rearrange(op, r),
            MOp::Call(f, scalar) => self.call(f, scalar),
            _ => self.fail(format!("{op:?} without its memory operand")),
        }
    }

    fn lea(&mut self, d: usize, m: MemoryOperand) {
        let (base, index) = (m.base, m.index);
        let i = if index == Register::None && m.displacement == 0 {
            if base == gp(d) {
                return;
            }
            Instruction::with2(Code::Mov_r64_rm64, gp(d), base)
        } else if index == Register::None && base == gp(d) {
            let short = i8::try_from(m.displacement).is_ok();
            let code = if short { Code::Add_rm64_imm8 } else { Code::Add_rm64_imm32 };
            Instruction::with2(code, gp(d), m.displacement as i32)
        } else {
            Instruction::with2(Code::Lea_r64_m, gp(d), m)
        };
        self.put(i);
    }

    fn load_int(&mut self, kind: LoadKind, d: usize, m: MemoryOperand) {
        match kind {
            LoadKind::I32 => self.put(Instruction::with2(Code::Movsxd_r64_rm32, gp(d), m)),
            LoadKind::U8 => self.put(Instruction::with2(Code::Movzx_r32_rm8, gp32(d), m)),
            LoadKind::I8 => self.put(Instruction::with2(Code::Movsx_r64_rm8, gp(d), m)),
            LoadKind::U16 => self.put(Instruction::with2(Code::Movzx_r32_rm16, gp32(d), m)),
            LoadKind::Bool => {
                self.put(Instruction::with2(Code::Cmp_rm8_imm8, m, 0));
                self.set(Cmp::Ne, d);
            }
            _ => self.put(Instruction::with2(Code::Mov_r32_rm32, gp32(d), m)),
        }
    }

    pub(super) fn int(&mut self, d: usize, c: i64) {
        self.put(if let Ok(c) = u32::try_from(c) {
            Instruction::with2(Code::Mov_r32_imm32, gp32(d), c)
        } else if let Ok(c) = i32::try_from(c) {
            Instruction::with2(Code::Mov_rm64_imm32, gp(d), c)
        } else {
            Instruction::with2(Code::Mov_r64_imm64, gp(d), c)
        });
    }

    fn int_op(&mut self, f: IntOp, d: usize, b: usize) {
        use Code::*;
        let (d, b) = (gp(d), gp(b));
        let code = match f {
            IntOp::Sub => Sub_r64_rm64,
            IntOp::Mul => Imul_r64_rm64,
            IntOp::And => And_r64_rm64,
            IntOp::Or => Or_r64_rm64,
            IntOp::Xor => Xor_r64_rm64,
            IntOp::Min | IntOp::Max => {
                self.put(Instruction::with2(Cmp_r64_rm64, d, b));
                if f == IntOp::Min { Cmovg_r64_rm64 } else { Cmovl_r64_rm64 }
            }
        };
        self.put(Instruction::with2(code, d, b));
    }

    fn imm_op(&mut self, f: ImmOp, d: usize) {
        use Code::*;
        self.put(match f {
            ImmOp::And(n) => Instruction::with2(And_rm64_imm32, gp(d), n),
            ImmOp::Or(n) => Instruction::with2(Or_rm64_imm32, gp(d), n),
            ImmOp::Sar(n) => Instruction::with2(Sar_rm64_imm8, gp(d), u32::from(n)),
            ImmOp::Shl(n) => Instruction::with2(Shl_rm64_imm8, gp(d), u32::from(n)),
            ImmOp::Dec => Instruction::with1(Dec_rm64, gp(d)),
            ImmOp::Inc => Instruction::with1(Inc_rm64, gp(d)),
            ImmOp::Flip => Instruction::with2(Xor_rm32_imm8, gp32(d), 1),
        });
    }

    /// A truth value from the flags.
    fn set(&mut self, c: Cmp, d: usize) {
        self.put(Instruction::with1(codes::set(c), gp8(d)));
        self.put(Instruction::with2(Code::Movzx_r32_rm8, gp32(d), gp8(d)));
    }

    /// `rax` by `b`. Divisors 0 and -1, of which the processor traps, need no division.
    fn divide(&mut self, quotient: bool, b: usize) {
        use Code::*;
        let (rax, rdx) = (gp(RAX), gp(RDX));
        self.put(Instruction::with2(Lea_r64_m, rdx, MemoryOperand::with_base_displ(gp(b), 1)));
        self.put(Instruction::with2(Cmp_rm64_imm8, rdx, 1));
        let usual = self.skip(Ja_rel8_64);
        if quotient {
            // 0 or -a.
            self.put(Instruction::with2(Imul_r64_rm64, rax, gp(b)));
        } else {
            // a or 0: `rdx` is b + 1.
            self.put(Instruction::with2(Imul_r64_rm64, rdx, rax));
        }
        let done = self.skip(Jmp_rel8_64);
        self.land(usual);
        self.put_one(&Instruction::with(Cqo));
        self.put(Instruction::with1(Idiv_rm64, gp(b)));
        self.land(done);
    }

    pub(super) fn bitwise(&mut self, f: Bitwise, d: usize, a: usize, b: usize) {
        let code = codes::bitwise(f, self.is_512());
        self.put(Instruction::with3(code, self.vector(d), self.vector(a), self.vector(b)));
    }

    /// With the mask `k1`.
    pub(super) fn masked(&mut self, i: Result<Instruction, iced_x86::IcedError>, zeroing: bool) {
        self.put(i.map(|mut i| {
            i.set_op_mask(Register::K1);
            i.set_zeroing_masking(zeroing);
            i
        }));
    }

    /// IEEE 754 maximum or minimum. The processor's own gives the second operand if either is NaN or both are zeros.
    fn extreme(&mut self, max: bool, scalar: bool, r: &[usize]) {
        use Code::*;
        let (d, a, b) = (self.width(r[0], scalar), self.width(r[1], scalar), self.width(r[2], scalar));
        if self.is_512() {
            let (range, compare) = if scalar {
                (EVEX_Vrangess_xmm_k1z_xmm_xmmm32_imm8_sae, EVEX_Vcmpss_kr_k1_xmm_xmmm32_imm8_sae)
            } else {
                (EVEX_Vrangeps_zmm_k1z_zmm_zmmm512b32_imm8_sae, EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae)
            };
            // Orders zeros by their signs and ignores NaNs, which the sum then puts in.
            self.put(Instruction::with4(range, d, a, b, if max { 5 } else { 4 }));
            self.put(Instruction::with4(compare, Register::K1, a, b, UNORDERED));
            self.masked(Instruction::with3(codes::fbin(FBin::Add, true, scalar), d, a, b), false);
            return;
        }
        let t = self.width(r[3], scalar);
        let code = codes::fbin(if max { FBin::Max } else { FBin::Min }, false, scalar);
        self.put(Instruction::with3(code, t, a, b));
        self.put(Instruction::with3(code, d, b, a));
        // The two differ only for zeros of both signs and for NaN.
        self.bitwise(if max { Bitwise::And } else { Bitwise::Or }, r[0], r[0], r[3]);
        let compare = if scalar { VEX_Vcmpss_xmm_xmm_xmmm32_imm8 } else { VEX_Vcmpps_ymm_ymm_ymmm256_imm8 };
        self.put(Instruction::with4(compare, t, a, b, UNORDERED));
        self.bitwise(Bitwise::Or, r[0], r[0], r[3]);
    }

    fn fun(&mut self, f: FUn, scalar: bool, d: usize, a: usize) {
        let z = self.is_512();
        if matches!(f, FUn::Neg | FUn::Abs) {
            let (f, bits) = if f == FUn::Neg { (Bitwise::Xor, 1 << 31) } else { (Bitwise::And, !(1 << 31)) };
            let code = codes::bitwise(f, z);
            let mem = MemoryOperand { is_broadcast: z, ..POOL };
            let i = Instruction::with3(code, self.vector(d), self.vector(a), mem);
            self.put_pooled(i, if z { Constant::Word(bits) } else { Constant::Vector([bits; 8]) });
            return;
        }
        let code = codes::rounding(f, z, scalar);
        let (d, a) = (self.width(d, scalar), self.width(a, scalar));
        // Towards minus infinity, without exceptions.
        let down = 9;
        self.put(match (f == FUn::Sqrt, scalar) {
            (true, false) => Instruction::with2(code, d, a),
            (true, true) => Instruction::with3(code, d, a, a),
            (false, false) => Instruction::with3(code, d, a, down),
            (false, true) => Instruction::with4(code, d, a, a, down),
        });
    }

    fn splat(&mut self, d: usize, a: usize) {
        let code = if self.is_512() { Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32 } else { Code::VEX_Vbroadcastss_ymm_xmm };
        self.put(Instruction::with2(code, self.vector(d), xmm(a)));
    }

    fn upper_half(&mut self, n: usize, d: usize, a: usize) {
        use Code::*;
        let ymm = |n: usize| Register::YMM0 + n as u32;
        let z = self.is_512();
        self.put(match (n, z) {
            (8, _) => Instruction::with3(EVEX_Vextractf32x8_ymmm256_k1z_zmm_imm8, ymm(d), self.vector(a), 1),
            (4, true) => Instruction::with3(EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8, xmm(d), self.vector(a), 1),
            (4, false) => Instruction::with3(VEX_Vextractf128_xmmm128_ymm_imm8, xmm(d), ymm(a), 1),
            _ => {
                let code = if z { EVEX_Vpermilps_xmm_k1z_xmmm128b32_imm8 } else { VEX_Vpermilps_xmm_xmmm128_imm8 };
                // Lanes 2 and 3, or lane 1, to the front.
                Instruction::with3(code, xmm(d), xmm(a), if n == 2 { 0x0e } else { 0x01 })
            }
        });
    }

    /// Truncates; out of range to the nearest end, NaN to 0.
    fn float_to_int(&mut self, d: usize, a: usize, t: usize) {
        use Code::*;
        let z = self.is_512();
        let (convert, compare) = if z {
            (EVEX_Vcvttss2si_r64_xmmm32_sae, EVEX_Vucomiss_xmm_xmmm32_sae)
        } else {
            (VEX_Vcvttss2si_r64_xmmm32, VEX_Vucomiss_xmm_xmmm32)
        };
        // The least integer where the value does not fit.
        self.put(Instruction::with2(convert, gp(d), xmm(a)));
        let limit = Constant::Word(9_223_372_036_854_775_808.0f32.to_bits());
        self.int(t, i64::MAX);
        self.put_pooled(Instruction::with2(compare, xmm(a), POOL), limit);
        self.put(Instruction::with2(Cmovae_r64_rm64, gp(d), gp(t)));
        self.int(t, 0);
        self.put(Instruction::with2(compare, xmm(a), xmm(a)));
        self.put(Instruction::with2(Cmovp_r64_rm64, gp(d), gp(t)));
    }

    /// The number of lanes, `n` clamped, into `t`; overwrites `u`.
    fn clamp(&mut self, n: usize, t: usize, u: usize) {
        use Code::*;
        let lanes = self.code.lanes as i64;
        self.int(t, lanes);
        self.put(Instruction::with2(Cmp_r64_rm64, gp(n), gp(t)));
        self.put(Instruction::with2(Cmovl_r64_rm64, gp(t), gp(n)));
        // All ones if negative.
        self.put(Instruction::with2(Mov_r64_rm64, gp(u), gp(t)));
        self.put(Instruction::with2(Sar_rm64_imm8, gp(u), 63));
        self.put(Instruction::with3(VEX_Andn_r64_r64_rm64, gp(t), gp(u), gp(t)));
    }

    /// The mask of the first `n` lanes: in `k1`, or in the vector register `v`.
    fn tail_mask(&mut self, n: usize, t: usize, u: usize, v: Option<usize>) {
        use Code::*;
        self.clamp(n, t, u);
        match v {
            None => {
                self.put(Instruction::with2(Mov_r32_imm32, gp32(u), u32::MAX));
                self.put(Instruction::with3(VEX_Bzhi_r32_rm32_r32, gp32(u), gp32(u), gp32(t)));
                self.put(Instruction::with2(VEX_Kmovw_kr_r32, Register::K1, gp32(u)));
            }
            Some(v) => {
                self.put(Instruction::with2(VEX_Vmovd_xmm_rm32, xmm(v), gp32(t)));
                self.put(Instruction::with2(VEX_Vpbroadcastd_ymm_xmmm32, self.vector(v), xmm(v)));
                let i = Instruction::with3(VEX_Vpcmpgtd_ymm_ymm_ymmm256, self.vector(v), self.vector(v), POOL);
                self.put_pooled(i, Constant::Vector(std::array::from_fn(|i| i as u32)));
            }
        }
    }

    /// r: result, n, t, u, and with 256 bits a vector.
    fn load_tail(&mut self, r: &[usize], m: MemoryOperand) {
        let d = self.vector(r[0]);
        self.tail_mask(r[1], r[2], r[3], r.get(4).copied());
        match r.get(4) {
            None => self.masked(Instruction::with2(Code::EVEX_Vmovups_zmm_k1z_zmmm512, d, m), true),
            Some(v) => self.put(Instruction::with3(Code::VEX_Vmaskmovps_ymm_ymm_m256, d, self.vector(*v), m)),
        }
    }

    /// r: value, n, t, u, and with 256 bits a vector.
    fn store_tail(&mut self, r: &[usize], m: MemoryOperand) {
        let x = self.vector(r[0]);
        self.tail_mask(r[1], r[2], r[3], r.get(4).copied());
        match r.get(4) {
            None => self.masked(Instruction::with2(Code::EVEX_Vmovups_zmmm512_k1z_zmm, m, x), false),
            Some(v) => self.put(Instruction::with3(Code::VEX_Vmaskmovps_m256_ymm_ymm, m, self.vector(*v), x)),
        }
    }

    /// `f(data, second, lanes)` on the stack, which replaces `data`.
    fn call(&mut self, f: MathFn, scalar: bool) {
        use Code::*;
        let z = self.is_512();
        let lanes = if scalar { 1 } else { self.code.lanes };
        let (data, second) = (self.call_area(0), self.call_area(1));
        let store = codes::store(z, scalar);
        self.put(Instruction::with2(store, data, self.width(0, scalar)));
        if f.arity() == 2 {
            self.put(Instruction::with2(store, second, self.width(1, scalar)));
        }
        self.put_one(&Instruction::with(VEX_Vzeroupper));
        self.put(Instruction::with2(Lea_r64_m, gp(RDI), data));
        self.put(Instruction::with2(Lea_r64_m, Register::RSI, second));
        self.int(RDX, lanes as i64);
        if self.near {
            self.put(Instruction::with_branch(Call_rel32_64, self.position() + 5));
            self.calls.push((self.position() as usize - 4, f));
        } else {
            self.put(Instruction::with2(Mov_r64_imm64, gp(RAX), 0u64));
            self.calls.push((self.position() as usize - 8, f));
            self.put(Instruction::with1(Call_rm64, gp(RAX)));
        }
        self.put(Instruction::with2(codes::load(z, scalar), self.width(0, scalar), data));
    }
}
