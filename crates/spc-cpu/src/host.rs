//! The instruction set that code is made for.
use cranelift_codegen::isa::{OwnedTargetIsa, TargetFrontendConfig, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use spc_base::Bug;

/// The executor of kernels and the vectors it uses. Results are the same bits up to the order of sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Cranelift: every architecture that it has, 4 lanes.
    Clif,
    /// x86-64 with AVX2, FMA, F16C, BMI1 and BMI2: 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and DQ as well: 16 lanes.
    Avx512,
    /// The same with VNNI and VBMI, the dot product of bytes and their permutation.
    Avx512Vnni,
    /// The same with tiles of 8-bit integers, AMX-TILE and AMX-INT8, which the operating system must permit.
    Avx512Amx,
}

impl Isa {
    pub const ALL: [Isa; 5] = [Isa::Clif, Isa::Avx2, Isa::Avx512, Isa::Avx512Vnni, Isa::Avx512Amx];

    pub fn name(self) -> &'static str {
        match self {
            Isa::Clif => "clif",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512Amx => "avx512amx",
        }
    }

    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|i| i.name() == name)
    }

    /// Lanes of the vectors of a kernel for it.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Clif => 4,
            Isa::Avx2 => 8,
            Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx => 16,
        }
    }

    /// True for 512-bit code.
    pub fn is_512(self) -> bool {
        matches!(self, Isa::Avx512 | Isa::Avx512Vnni | Isa::Avx512Amx)
    }

    /// True for code with VNNI and VBMI.
    pub fn has_vnni(self) -> bool {
        matches!(self, Isa::Avx512Vnni | Isa::Avx512Amx)
    }

    /// What kernels for it may be made of.
    pub fn target(self) -> spc_kernel::Target {
        spc_kernel::Target { lanes: self.lanes(), tiles: self == Isa::Avx512Amx }
    }

    /// True if this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Clif => true,
            Isa::Avx2 => has_avx2(),
            Isa::Avx512 => has_avx2() && has_avx512(),
            Isa::Avx512Vnni => has_avx2() && has_avx512() && has_vnni(),
            Isa::Avx512Amx => has_avx2() && has_avx512() && has_vnni() && crate::tiles::permitted(),
        }
    }

    /// The widest that this machine can run.
    pub fn native() -> Isa {
        Isa::ALL.into_iter().rev().find(|i| i.is_available()).unwrap_or(Isa::Clif)
    }
}

#[cfg(all(target_arch = "x86_64", unix))]
fn has_avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("f16c") && has!("bmi1") && has!("bmi2") && has!("popcnt")
}

#[cfg(all(target_arch = "x86_64", unix))]
fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq")
}

#[cfg(all(target_arch = "x86_64", unix))]
fn has_vnni() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512vnni") && has!("avx512vbmi")
}

#[cfg(not(all(target_arch = "x86_64", unix)))]
fn has_vnni() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", unix)))]
fn has_avx2() -> bool {
    false
}

#[cfg(not(all(target_arch = "x86_64", unix)))]
fn has_avx512() -> bool {
    false
}

/// Which instructions compiled code may use. Results are the same bits with either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// All that this machine has.
    Host,
    /// Only those that every machine of this architecture has.
    Baseline,
}

/// What the translation needs to know of the target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub config: TargetFrontendConfig,
    /// False where a vector load must not become the memory operand of another instruction. Without AVX, x86 memory
    /// operands of 16 bytes must be aligned, and Cranelift 0.135 folds unaligned loads into `cmpps` all the same.
    pub fold_loads: bool,
    /// Whether bytes are swizzled by an instruction. Without SSSE3, Cranelift 0.135 calls a function that nobody defines.
    pub swizzle: bool,
}

impl Target {
    pub(crate) fn of(isa: &dyn TargetIsa) -> Target {
        let has = |name: &str| isa.isa_flags().into_iter().find(|f| f.name == name).and_then(|f| f.as_bool());
        let (fold_loads, swizzle) = (has("has_avx") != Some(false), has("has_ssse3") != Some(false));
        Target { config: isa.frontend_config(), fold_loads, swizzle }
    }
}

pub(crate) fn isa(features: Features) -> Result<OwnedTargetIsa, Bug> {
    let fail = |e: &dyn std::fmt::Display| Bug::new(format!("cranelift: {e}"));
    let mut flags = settings::builder();
    for (name, value) in [("opt_level", "speed"), ("is_pic", "false"), ("use_colocated_libcalls", "false")] {
        flags.set(name, value).map_err(|e| fail(&e))?;
    }
    let builder = cranelift_native::builder_with_options(features == Features::Host).map_err(|e| fail(&e))?;
    builder.finish(settings::Flags::new(flags)).map_err(|e| fail(&e))
}
