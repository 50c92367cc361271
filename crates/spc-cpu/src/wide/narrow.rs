//! Instructions on vectors of integers and on narrow elements.
use super::codes::{Bitwise, UNORDERED};
use super::emit::{Constant, Emitter, gp, gp32};
use super::encode::{POOL, xmm};
use super::vcode::MOp;
use iced_x86::{Code, Instruction, MemoryOperand, Register};
use spc_kernel::ir::{IBin, LoadKind};

/// Operands: result, a, b. There is no division.
fn lanes(f: IBin, z: bool) -> Code {
    use Code::*;
    match (f, z) {
        (IBin::Add, true) => EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
        (IBin::Add, false) => VEX_Vpaddd_ymm_ymm_ymmm256,
        (IBin::Sub, true) => EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32,
        (IBin::Sub, false) => VEX_Vpsubd_ymm_ymm_ymmm256,
        (IBin::Mul, true) => EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32,
        (IBin::Mul, false) => VEX_Vpmulld_ymm_ymm_ymmm256,
        (IBin::Min, true) => EVEX_Vpminsd_zmm_k1z_zmm_zmmm512b32,
        (IBin::Min, false) => VEX_Vpminsd_ymm_ymm_ymmm256,
        (IBin::Max, true) => EVEX_Vpmaxsd_zmm_k1z_zmm_zmmm512b32,
        (IBin::Max, false) => VEX_Vpmaxsd_ymm_ymm_ymmm256,
        (IBin::Xor, true) => EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32,
        (IBin::Xor, false) => VEX_Vpxor_ymm_ymm_ymmm256,
        (IBin::Or, true) => EVEX_Vpord_zmm_k1z_zmm_zmmm512b32,
        (IBin::Or, false) => VEX_Vpor_ymm_ymm_ymmm256,
        (IBin::And | IBin::Div | IBin::Rem, true) => EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32,
        (IBin::And | IBin::Div | IBin::Rem, false) => VEX_Vpand_ymm_ymm_ymmm256,
    }
}

/// Loads that widen, from half or a quarter of a vector.
fn widening(kind: LoadKind, z: bool) -> Code {
    use Code::*;
    match (kind, z) {
        (LoadKind::VI8, true) => EVEX_Vpmovsxbd_zmm_k1z_xmmm128,
        (LoadKind::VI8, false) => VEX_Vpmovsxbd_ymm_xmmm64,
        (LoadKind::VU8, true) => EVEX_Vpmovzxbd_zmm_k1z_xmmm128,
        (LoadKind::VU8, false) => VEX_Vpmovzxbd_ymm_xmmm64,
        (LoadKind::VI16, true) => EVEX_Vpmovsxwd_zmm_k1z_ymmm256,
        (LoadKind::VI16, false) => VEX_Vpmovsxwd_ymm_xmmm128,
        (LoadKind::VF16, true) => EVEX_Vcvtph2ps_zmm_k1z_ymmm256_sae,
        (LoadKind::VF16, false) => VEX_Vcvtph2ps_ymm_xmmm128,
        (_, true) => EVEX_Vpmovzxwd_zmm_k1z_ymmm256,
        (_, false) => VEX_Vpmovzxwd_ymm_xmmm128,
    }
}

impl Emitter<'_> {
    fn vnni(&self) -> bool {
        self.isa.has_vnni()
    }

    pub(super) fn narrow(&mut self, op: MOp, r: &[usize], m: Option<MemoryOperand>) {
        use Code::*;
        let z = self.is_512();
        match (op, m) {
            (MOp::LoadNarrow(kind), Some(m)) => {
                self.put(Instruction::with2(widening(kind, z), self.vector(r[0]), m));
                if kind == LoadKind::VBf16 {
                    self.shift(true, 16, r[0], r[0]);
                }
            }
            (MOp::LoadHalf, Some(m)) => {
                self.put(Instruction::with2(Movzx_r32_rm16, gp32(r[1]), m));
                let (mov, convert) = if z {
                    (EVEX_Vmovd_xmm_rm32, EVEX_Vcvtph2ps_xmm_k1z_xmmm64)
                } else {
                    (VEX_Vmovd_xmm_rm32, VEX_Vcvtph2ps_xmm_xmmm64)
                };
                self.put(Instruction::with2(mov, xmm(r[0]), gp32(r[1])));
                self.put(Instruction::with2(convert, xmm(r[0]), xmm(r[0])));
            }
            (MOp::StoreBytes, Some(m)) if z => {
                self.put(Instruction::with2(EVEX_Vpmovdb_xmmm128_k1z_zmm, m, self.vector(r[0])));
            }
            (MOp::StoreBytes, Some(m)) => self.store_bytes(r[0], r[1], m),
            (MOp::Lanes(f), m) => {
                let (d, a) = (self.vector(r[0]), self.vector(r[1]));
                match m {
                    Some(m) => self.put(Instruction::with3(lanes(f, z), d, a, m)),
                    None => self.put(Instruction::with3(lanes(f, z), d, a, self.vector(r[2]))),
                }
            }
            (MOp::Dot, m) if self.vnni() => {
                let (d, u) = (self.vector(r[0]), self.vector(r[2]));
                let code = EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32;
                match m {
                    Some(m) => self.put(Instruction::with3(code, d, u, m)),
                    None => self.put(Instruction::with3(code, d, u, self.vector(r[3]))),
                }
            }
            (MOp::Dot, None) => self.dot(r),
            (MOp::Bytes, None) => {
                let code = if z { EVEX_Vpshufb_zmm_k1z_zmm_zmmm512 } else { VEX_Vpshufb_ymm_ymm_ymmm256 };
                self.put(Instruction::with3(code, self.vector(r[0]), self.vector(r[1]), self.vector(r[2])));
            }
            (MOp::PermuteBytes, m) if self.vnni() => {
                let (d, i) = (self.vector(r[0]), self.vector(r[1]));
                match m {
                    Some(m) => self.put(Instruction::with3(EVEX_Vpermb_zmm_k1z_zmm_zmmm512, d, i, m)),
                    None => self.put(Instruction::with3(EVEX_Vpermb_zmm_k1z_zmm_zmmm512, d, i, self.vector(r[2]))),
                }
            }
            (MOp::PermuteBytes, None) if z => self.permute_bytes(r),
            (MOp::LanesToF, m) => {
                let code = if z { EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er } else { VEX_Vcvtdq2ps_ymm_ymmm256 };
                match m {
                    Some(m) => self.put(Instruction::with2(code, self.vector(r[0]), m)),
                    None => self.put(Instruction::with2(code, self.vector(r[0]), self.vector(r[1]))),
                }
            }
            (MOp::Swap(k), None) => self.swap(k, r[0], r[1]),
            (MOp::ShiftLanes(left, n), None) => self.shift(left, n, r[0], r[1]),
            (MOp::Nearest, None) => self.nearest(r),
            (MOp::NearestOrLeast, None) => {
                let code = if z { EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er } else { VEX_Vcvtps2dq_ymm_ymmm256 };
                self.put(Instruction::with2(code, self.vector(r[0]), self.vector(r[1])));
            }
            (MOp::SplatInt, None) if z => {
                self.put(Instruction::with2(EVEX_Vpbroadcastd_zmm_k1z_r32, self.vector(r[0]), gp32(r[1])));
            }
            (MOp::SplatInt, None) => {
                self.put(Instruction::with2(VEX_Vmovd_xmm_rm32, xmm(r[0]), gp32(r[1])));
                self.put(Instruction::with2(VEX_Vpbroadcastd_ymm_xmmm32, self.vector(r[0]), xmm(r[0])));
            }
            (MOp::LowestInt, None) => {
                let code = if z { EVEX_Vmovd_rm32_xmm } else { VEX_Vmovd_rm32_xmm };
                self.put(Instruction::with2(code, gp32(r[0]), xmm(r[1])));
                self.put(Instruction::with2(Movsxd_r64_rm32, gp(r[0]), gp32(r[0])));
            }
            (op, _) => self.fail(format!("{op:?} has no such form")),
        }
    }

    /// Lanes within a quarter of 128 bits first, then the quarters.
    fn swap(&mut self, k: u8, d: usize, a: usize) {
        use Code::*;
        let z = self.is_512();
        let order = |k: u32| (0..4u32).map(|i| (i ^ k) << (2 * i)).sum::<u32>();
        let (inside, across) = (u32::from(k & 3), u32::from(k >> 2));
        let mut from = a;
        if inside != 0 {
            let code = if z { EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8 } else { VEX_Vpermilps_ymm_ymmm256_imm8 };
            self.put(Instruction::with3(code, self.vector(d), self.vector(from), order(inside)));
            from = d;
        }
        if across != 0 {
            let (d, s) = (self.vector(d), self.vector(from));
            self.put(if z {
                Instruction::with4(EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, d, s, s, order(across))
            } else {
                Instruction::with4(VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, d, s, s, 1u32)
            });
        }
    }

    fn shift(&mut self, left: bool, n: u8, d: usize, a: usize) {
        use Code::*;
        let code = match (left, self.is_512()) {
            (true, true) => EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8,
            (true, false) => VEX_Vpslld_ymm_ymm_imm8,
            (false, true) => EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8,
            (false, false) => VEX_Vpsrad_ymm_ymm_imm8,
        };
        self.put(Instruction::with3(code, self.vector(d), self.vector(a), u32::from(n)));
    }

    /// The low byte of each of 8 lanes of `a`, through `t`.
    fn store_bytes(&mut self, a: usize, t: usize, m: MemoryOperand) {
        use Code::*;
        let v = self.vector(t);
        let low = Instruction::with3(VEX_Vpand_ymm_ymm_ymmm256, v, self.vector(a), POOL);
        self.put_pooled(low, Constant::Vector([0xff; 8]));
        self.put(Instruction::with3(VEX_Vpackusdw_ymm_ymm_ymmm256, v, v, v));
        // The first half of either half.
        self.put(Instruction::with3(VEX_Vpermq_ymm_ymmm256_imm8, v, v, 0b1000));
        self.put(Instruction::with3(VEX_Vpackuswb_xmm_xmm_xmmm128, xmm(t), xmm(t), xmm(t)));
        self.put(Instruction::with2(VEX_Vmovq_xmmm64_xmm, m, xmm(t)));
    }

    /// Without VNNI: even and odd bytes as 16-bit numbers, whose products and their pairwise sums fit 32 bits.
    /// r: result = acc, acc, u, s, three temporaries.
    fn dot(&mut self, r: &[usize]) {
        use Code::*;
        let z = self.is_512();
        let (left, right, logical, madd, and) = if z {
            (
                EVEX_Vpsllw_zmm_k1z_zmmm512_imm8,
                EVEX_Vpsraw_zmm_k1z_zmmm512_imm8,
                EVEX_Vpsrlw_zmm_k1z_zmmm512_imm8,
                EVEX_Vpmaddwd_zmm_k1z_zmm_zmmm512,
                EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32,
            )
        } else {
            (
                VEX_Vpsllw_ymm_ymm_imm8,
                VEX_Vpsraw_ymm_ymm_imm8,
                VEX_Vpsrlw_ymm_ymm_imm8,
                VEX_Vpmaddwd_ymm_ymm_ymmm256,
                VEX_Vpand_ymm_ymm_ymmm256,
            )
        };
        let (d, u, s) = (self.vector(r[0]), self.vector(r[2]), self.vector(r[3]));
        let (p, q, t) = (self.vector(r[4]), self.vector(r[5]), self.vector(r[6]));
        self.put(Instruction::with3(left, p, s, 8));
        self.put(Instruction::with3(right, p, p, 8));
        let even = MemoryOperand { is_broadcast: z, ..POOL };
        let word = if z { Constant::Word(0x00ff_00ff) } else { Constant::Vector([0x00ff_00ff; 8]) };
        self.put_pooled(Instruction::with3(and, q, u, even), word);
        self.put(Instruction::with3(madd, p, p, q));
        self.put(Instruction::with3(right, q, s, 8));
        self.put(Instruction::with3(logical, t, u, 8));
        self.put(Instruction::with3(madd, q, q, t));
        self.put(Instruction::with3(lanes(IBin::Add, z), p, p, q));
        self.put(Instruction::with3(lanes(IBin::Add, z), d, d, p));
    }

    /// Without VBMI: of each quarter of `a`, repeated, the bytes whose numbers are in it. r: result, numbers, a, two temporaries.
    fn permute_bytes(&mut self, r: &[usize]) {
        use Code::*;
        let every = MemoryOperand { is_broadcast: true, ..POOL };
        let (d, i, a, t, u) =
            (self.vector(r[0]), self.vector(r[1]), self.vector(r[2]), self.vector(r[3]), self.vector(r[4]));
        for quarter in 0..4u32 {
            self.put(Instruction::with4(EVEX_Vshufi32x4_zmm_k1z_zmm_zmmm512b32_imm8, t, a, a, 0x55 * quarter));
            self.put_pooled(
                Instruction::with3(EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32, u, i, every),
                Constant::Word(0x3f3f_3f3f),
            );
            if quarter > 0 {
                let own = Constant::Word(0x1010_1010 * quarter);
                self.put_pooled(Instruction::with3(EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, u, u, every), own);
            }
            // Numbers of 16 and more get their top bit.
            self.put_pooled(Instruction::with3(lanes(IBin::Add, true), u, u, every), Constant::Word(0x7070_7070));
            let to = if quarter == 0 { d } else { t };
            self.put(Instruction::with3(EVEX_Vpshufb_zmm_k1z_zmm_zmmm512, to, t, u));
            if quarter > 0 {
                self.put(Instruction::with3(lanes(IBin::Or, true), d, d, t));
            }
        }
    }

    /// The processor gives the least integer for all that does not fit; large numbers get the greatest, NaN gets 0.
    fn nearest(&mut self, r: &[usize]) {
        use Code::*;
        const AT_LEAST: u32 = 29;
        const ORDERED: u32 = 7;
        let (d, a) = (self.vector(r[0]), self.vector(r[1]));
        let limit = 2_147_483_648.0f32.to_bits();
        if self.is_512() {
            self.put(Instruction::with2(EVEX_Vcvtps2dq_zmm_k1z_zmmm512b32_er, d, a));
            let compare = EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
            let mem = MemoryOperand { is_broadcast: true, ..POOL };
            let large = Instruction::with4(compare, Register::K1, a, mem, AT_LEAST);
            self.put_pooled(large, Constant::Word(limit));
            self.masked(Instruction::with4(EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8, d, d, d, 0x55), false);
            self.put(Instruction::with4(compare, Register::K1, a, a, UNORDERED));
            self.masked(Instruction::with3(EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32, d, d, d), false);
            return;
        }
        let t = self.vector(r[2]);
        self.put(Instruction::with2(VEX_Vcvtps2dq_ymm_ymmm256, d, a));
        let large = Instruction::with4(VEX_Vcmpps_ymm_ymm_ymmm256_imm8, t, a, POOL, AT_LEAST);
        self.put_pooled(large, Constant::Vector([limit; 8]));
        self.bitwise(Bitwise::Xor, r[0], r[0], r[2]);
        self.put(Instruction::with4(VEX_Vcmpps_ymm_ymm_ymmm256_imm8, t, a, a, ORDERED));
        self.bitwise(Bitwise::And, r[0], r[0], r[2]);
    }
}
