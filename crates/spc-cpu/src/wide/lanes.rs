//! Instructions that move floats between lanes, and loads that spread them.
use super::emit::{Constant, Emitter, gp, gp32};
use super::encode::POOL;
use super::vcode::MOp;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

/// Numbers of the lanes of two vectors of 16 in turn, from the first or from the middle on.
fn in_turn(high: bool) -> [u32; 16] {
    let from = if high { 8 } else { 0 };
    std::array::from_fn(|i| from + i as u32 / 2 + 16 * (i as u32 % 2))
}

impl Emitter<'_> {
    /// r: result, and for a gather the numbers and with 256 bits a temporary vector.
    pub(super) fn spread(&mut self, op: MOp, r: &[usize], m: MemoryOperand) {
        use Code::*;
        let z = self.is_512();
        let d = self.vector(r[0]);
        if op == MOp::LoadQuad {
            let code = if z { EVEX_Vbroadcastf32x4_zmm_k1z_m128 } else { VEX_Vbroadcastf128_ymm_m128 };
            return self.put(Instruction::with2(code, d, m));
        }
        // All lanes are wanted. The processor clears the mask as it goes, and merges into the result, whose old contents
        // it would wait for.
        let i = self.vector(r[1]);
        let m = MemoryOperand { index: i, scale: 4, ..m };
        if z {
            self.put(Instruction::with3(VEX_Kxnorw_kr_kr_kr, Register::K1, Register::K1, Register::K1));
            self.bitwise(super::codes::Bitwise::Xor, r[0], r[0], r[0]);
            self.masked(Instruction::with2(EVEX_Vgatherdps_zmm_k1_vm32z, d, m), false);
        } else {
            let t = self.vector(r[2]);
            self.put(Instruction::with3(VEX_Vpcmpeqd_ymm_ymm_ymmm256, t, t, t));
            self.bitwise(super::codes::Bitwise::Xor, r[0], r[0], r[0]);
            self.put(Instruction::with3(VEX_Vgatherdps_ymm_vm32y_ymm, d, m, t));
        }
    }

    /// r: result, vector, mask, and with 256 bits two temporary integers and a vector.
    pub(super) fn expand(&mut self, r: &[usize]) {
        use Code::*;
        let (d, a, mask) = (self.vector(r[0]), self.vector(r[1]), r[2]);
        if self.is_512() {
            self.put(Instruction::with2(VEX_Kmovw_kr_r32, Register::K1, gp32(mask)));
            self.masked(Instruction::with2(EVEX_Vexpandps_zmm_k1z_zmmm512, d, a), true);
            return;
        }
        let [bytes, numbers] = [r[3], r[4]];
        let v = self.vector(r[5]);
        let low = Register::XMM0 + r[5] as u32;
        // A byte of ones for each bit of the mask, and in those bytes the numbers from 0 on.
        self.int(bytes, 0x0101_0101_0101_0101);
        self.put(Instruction::with3(VEX_Pdep_r64_r64_rm64, gp(bytes), gp(mask), gp(bytes)));
        self.put(Instruction::with3(Imul_r64_rm64_imm32, gp(bytes), gp(bytes), 0xff));
        self.int(numbers, 0x0706_0504_0302_0100);
        self.put(Instruction::with3(VEX_Pdep_r64_r64_rm64, gp(numbers), gp(numbers), gp(bytes)));
        self.put(Instruction::with2(VEX_Vmovq_xmm_rm64, low, gp(numbers)));
        self.put(Instruction::with2(VEX_Vpmovzxbd_ymm_xmmm64, v, low));
        self.put(Instruction::with3(VEX_Vpermps_ymm_ymm_ymmm256, d, v, a));
        self.put(Instruction::with2(VEX_Vmovq_xmm_rm64, low, gp(bytes)));
        self.put(Instruction::with2(VEX_Vpmovsxbd_ymm_xmmm64, v, low));
        self.put(Instruction::with3(VEX_Vandps_ymm_ymm_ymmm256, d, d, v));
    }

    /// r: result, a, b, and for a zip with 256 bits a temporary vector.
    pub(super) fn rearrange(&mut self, op: MOp, r: &[usize]) {
        use Code::*;
        let z = self.is_512();
        let (d, a, b) = (self.vector(r[0]), self.vector(r[1]), self.vector(r[2]));
        match op {
            MOp::Zip(high) if z => {
                let numbers = Instruction::with2(EVEX_Vmovdqu32_zmm_k1z_zmmm512, d, POOL);
                self.put_pooled(numbers, Constant::Wide(in_turn(high)));
                self.put(Instruction::with3(EVEX_Vpermi2ps_zmm_k1z_zmm_zmmm512b32, d, a, b));
            }
            MOp::Zip(high) => {
                let t = self.vector(r[3]);
                self.put(Instruction::with3(VEX_Vunpcklps_ymm_ymm_ymmm256, d, a, b));
                self.put(Instruction::with3(VEX_Vunpckhps_ymm_ymm_ymmm256, t, a, b));
                // The lower halves of both, or the upper ones.
                let halves: u32 = if high { 0x31 } else { 0x20 };
                self.put(Instruction::with4(VEX_Vperm2f128_ymm_ymm_ymmm256_imm8, d, d, t, halves));
            }
            _ => {
                let code = if z { EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32 } else { VEX_Vpermps_ymm_ymm_ymmm256 };
                self.put(Instruction::with3(code, d, b, a));
            }
        }
    }
}
