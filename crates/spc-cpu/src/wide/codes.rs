//! Which instruction an operation is, for all lanes or one, in the EVEX (512 bits) or the VEX (256 bits) form.
use iced_x86::Code;
use spc_kernel::ir::{Cmp, FBin, FUn};

/// Operands: result, a, b.
pub(super) fn fbin(f: FBin, z: bool, scalar: bool) -> Code {
    use Code::*;
    match (f, z, scalar) {
        (FBin::Add, true, false) => EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        (FBin::Add, false, false) => VEX_Vaddps_ymm_ymm_ymmm256,
        (FBin::Add, true, true) => EVEX_Vaddss_xmm_k1z_xmm_xmmm32_er,
        (FBin::Add, false, true) => VEX_Vaddss_xmm_xmm_xmmm32,
        (FBin::Sub, true, false) => EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
        (FBin::Sub, false, false) => VEX_Vsubps_ymm_ymm_ymmm256,
        (FBin::Sub, true, true) => EVEX_Vsubss_xmm_k1z_xmm_xmmm32_er,
        (FBin::Sub, false, true) => VEX_Vsubss_xmm_xmm_xmmm32,
        (FBin::Mul, true, false) => EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        (FBin::Mul, false, false) => VEX_Vmulps_ymm_ymm_ymmm256,
        (FBin::Mul, true, true) => EVEX_Vmulss_xmm_k1z_xmm_xmmm32_er,
        (FBin::Mul, false, true) => VEX_Vmulss_xmm_xmm_xmmm32,
        (FBin::Div, true, false) => EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
        (FBin::Div, false, false) => VEX_Vdivps_ymm_ymm_ymmm256,
        (FBin::Div, true, true) => EVEX_Vdivss_xmm_k1z_xmm_xmmm32_er,
        (FBin::Div, false, true) => VEX_Vdivss_xmm_xmm_xmmm32,
        (FBin::Max, true, false) => EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
        (FBin::Max, false, false) => VEX_Vmaxps_ymm_ymm_ymmm256,
        (FBin::Max, true, true) => EVEX_Vmaxss_xmm_k1z_xmm_xmmm32_sae,
        (FBin::Max, false, true) => VEX_Vmaxss_xmm_xmm_xmmm32,
        (FBin::Min, true, false) => EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
        (FBin::Min, false, false) => VEX_Vminps_ymm_ymm_ymmm256,
        (FBin::Min, true, true) => EVEX_Vminss_xmm_k1z_xmm_xmmm32_sae,
        (FBin::Min, false, true) => VEX_Vminss_xmm_xmm_xmmm32,
    }
}

/// Result += a * b.
pub(super) fn fma(z: bool, scalar: bool) -> Code {
    match (z, scalar) {
        (true, false) => Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
        (false, false) => Code::VEX_Vfmadd231ps_ymm_ymm_ymmm256,
        (true, true) => Code::EVEX_Vfmadd231ss_xmm_k1z_xmm_xmmm32_er,
        (false, true) => Code::VEX_Vfmadd231ss_xmm_xmm_xmmm32,
    }
}

pub(super) fn load(z: bool, scalar: bool) -> Code {
    match (z, scalar) {
        (true, false) => Code::EVEX_Vmovups_zmm_k1z_zmmm512,
        (false, false) => Code::VEX_Vmovups_ymm_ymmm256,
        (true, true) => Code::EVEX_Vmovss_xmm_k1z_m32,
        (false, true) => Code::VEX_Vmovss_xmm_m32,
    }
}

pub(super) fn store(z: bool, scalar: bool) -> Code {
    match (z, scalar) {
        (true, false) => Code::EVEX_Vmovups_zmmm512_k1z_zmm,
        (false, false) => Code::VEX_Vmovups_ymmm256_ymm,
        (true, true) => Code::EVEX_Vmovss_m32_k1_xmm,
        (false, true) => Code::VEX_Vmovss_m32_xmm,
    }
}

pub(super) fn broadcast_memory(z: bool) -> Code {
    if z { Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32 } else { Code::VEX_Vbroadcastss_ymm_m32 }
}

/// Bitwise operations on whole vectors, whatever they hold.
#[derive(Clone, Copy)]
pub(super) enum Bitwise {
    And,
    Or,
    Xor,
}

pub(super) fn bitwise(f: Bitwise, z: bool) -> Code {
    match (f, z) {
        (Bitwise::And, true) => Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32,
        (Bitwise::And, false) => Code::VEX_Vandps_ymm_ymm_ymmm256,
        (Bitwise::Or, true) => Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32,
        (Bitwise::Or, false) => Code::VEX_Vorps_ymm_ymm_ymmm256,
        (Bitwise::Xor, true) => Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32,
        (Bitwise::Xor, false) => Code::VEX_Vxorps_ymm_ymm_ymmm256,
    }
}

/// The square root or the floor; the scalar forms have the operand twice.
pub(super) fn rounding(f: FUn, z: bool, scalar: bool) -> Code {
    use Code::*;
    match (f == FUn::Sqrt, z, scalar) {
        (true, true, false) => EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
        (true, false, false) => VEX_Vsqrtps_ymm_ymmm256,
        (true, true, true) => EVEX_Vsqrtss_xmm_k1z_xmm_xmmm32_er,
        (true, false, true) => VEX_Vsqrtss_xmm_xmm_xmmm32,
        (false, true, false) => EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae,
        (false, false, false) => VEX_Vroundps_ymm_ymmm256_imm8,
        (false, true, true) => EVEX_Vrndscaless_xmm_k1z_xmm_xmmm32_imm8_sae,
        (false, false, true) => VEX_Vroundss_xmm_xmm_xmmm32_imm8,
    }
}

/// Predicate of `cmpps`: ordered and quiet, but for `Ne`, which is true of NaN.
pub(super) fn predicate(c: Cmp) -> u32 {
    match c {
        Cmp::Lt => 17,
        Cmp::Le => 18,
        Cmp::Gt => 30,
        Cmp::Ge => 29,
        Cmp::Eq => 0,
        Cmp::Ne => 4,
    }
}

/// Predicate of `cmpps`: an operand is NaN.
pub(super) const UNORDERED: u32 = 3;

pub(super) fn set(c: Cmp) -> Code {
    match c {
        Cmp::Lt => Code::Setl_rm8,
        Cmp::Le => Code::Setle_rm8,
        Cmp::Gt => Code::Setg_rm8,
        Cmp::Ge => Code::Setge_rm8,
        Cmp::Eq => Code::Sete_rm8,
        Cmp::Ne => Code::Setne_rm8,
    }
}
