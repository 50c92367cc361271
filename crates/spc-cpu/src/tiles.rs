//! Whether this process may use tile registers.
#![allow(unsafe_code)]

/// True if the processor has AMX-TILE and AMX-INT8, the operating system keeps their state, and it permits this process to use
/// them. Asks for the permission, which holds for all threads, at the first call; a process that never asks gets a signal at its
/// first tile instruction.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn permitted() -> bool {
    use std::sync::OnceLock;
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| has_tiles() && request())
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) fn permitted() -> bool {
    false
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv};
    /// In `edx` of leaf 7: AMX-TILE and AMX-INT8.
    const TILES: u32 = 1 << 24 | 1 << 25;
    /// In XCR0: the configuration and the data of tiles.
    const SAVED: u64 = 1 << 17 | 1 << 18;
    /// In `ecx` of leaf 1: XSAVE in use by the operating system.
    const OSXSAVE: u32 = 1 << 27;
    /// Palette 1: bytes of all tiles and of one, bytes of a row, number of tiles, rows.
    const PALETTE: (u32, u32, u32) = (1024 << 16 | 8192, 8 << 16 | 64, 16);
    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: the caller has seen that the operating system uses XSAVE.
        unsafe { _xgetbv(0) }
    }
    let leaf = |n: u32, sub: u32| __cpuid_count(n, sub);
    if __get_cpuid_max(0).0 < 0x1d || leaf(1, 0).ecx & OSXSAVE == 0 || leaf(7, 0).edx & TILES != TILES {
        return false;
    }
    // SAFETY: the operating system uses XSAVE.
    let all = unsafe { saved() } & SAVED == SAVED;
    let palette = leaf(0x1d, 1);
    all && (palette.eax, palette.ebx, palette.ecx & 0xffff) == PALETTE
}

/// Asks Linux to permit the data of tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn request() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call changes what the process may do and no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}
