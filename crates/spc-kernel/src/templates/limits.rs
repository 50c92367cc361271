//! Kernels that measure what a core can do: the multiply-add rate and the rate of reading memory.
use crate::ir::{Addr, Builder, FBin, Kernel, LoadKind, StoreKind, Ty, Val};
use spc_base::Bug;

/// Accumulators of [`fma_peak`]: enough to hide the latency of two multiply-add units.
fn chains(lanes: usize) -> usize {
    if lanes == 16 { 24 } else { 12 }
}

/// Multiply-adds of one round of [`fma_peak`], counted by scalar lane.
pub fn fma_peak_round(lanes: usize) -> usize {
    chains(lanes) * lanes
}

/// `n` rounds of multiply-adds on registers alone. Parameters: `x` (two vectors), `y` (one vector, written), `n`.
pub fn fma_peak(lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("fma_peak_{lanes}"), lanes);
    let (x, y, n) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr), b.param("n", Ty::I64));
    let p = b.load(LoadKind::VF32, Addr::new(x));
    let q = b.load(LoadKind::VF32, Addr::at(x, 4 * lanes as i32));
    let zero = b.vfloat(0.0);
    let acc = b.repeat(n, &vec![zero; chains(lanes)], |b, _, acc| acc.iter().map(|a| b.fma(p, q, *a)).collect());
    total(&mut b, &acc, y)?;
    b.finish()
}

/// Dot products of bytes of one round of [`dot_peak`], counted by multiply-add.
pub fn dot_peak_round(lanes: usize) -> usize {
    4 * chains(lanes) * lanes
}

/// `n` rounds of dot products of bytes on registers alone. Parameters: `x` (two vectors), `y` (one vector, written), `n`.
pub fn dot_peak(lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("dot_peak_{lanes}"), lanes);
    let (x, y, n) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr), b.param("n", Ty::I64));
    let p = b.load(LoadKind::VI32, Addr::new(x));
    let q = b.load(LoadKind::VI32, Addr::at(x, 4 * lanes as i32));
    let zero = b.vint(0);
    let acc = b.repeat(n, &vec![zero; chains(lanes)], |b, _, acc| acc.iter().map(|a| b.dot4(*a, p, q)).collect());
    let sum = acc.iter().copied().reduce(|p, q| b.iadd(p, q)).ok_or_else(|| Bug::new("no accumulators"))?;
    b.store(StoreKind::VI32, Addr::new(y), sum);
    b.finish()
}

/// Reads `n` rounds of [`READ_ROUND`] bytes from `x` on, `n` times. Parameters: `x`, `y` (one vector, written), `n`.
pub fn read_stream(lanes: usize) -> Result<Kernel, Bug> {
    let mut b = Builder::new(format!("read_stream_{lanes}"), lanes);
    let (x, y, n) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr), b.param("n", Ty::I64));
    let zero = b.vfloat(0.0);
    let vectors = READ_ROUND / (4 * lanes);
    let chains = vectors.min(8);
    let state: Vec<Val> = std::iter::once(x).chain(vec![zero; chains]).collect();
    let out = b.repeat(n, &state, |b, _, s| {
        let mut acc = s[1..].to_vec();
        for i in 0..vectors {
            let v = b.load(LoadKind::VF32, Addr::at(s[0], (4 * lanes * i) as i32));
            acc[i % chains] = b.fbin(FBin::Add, acc[i % chains], v);
        }
        std::iter::once(b.ptr_off(s[0], READ_ROUND as i32)).chain(acc).collect()
    });
    total(&mut b, &out[1..], y)?;
    b.finish()
}

/// Bytes of one round of [`read_stream`].
pub const READ_ROUND: usize = 512;

fn total(b: &mut Builder, acc: &[Val], y: Val) -> Result<(), Bug> {
    let sum = acc.iter().copied().reduce(|p, q| b.fbin(FBin::Add, p, q)).ok_or_else(|| Bug::new("no accumulators"))?;
    b.store(StoreKind::VF32, Addr::new(y), sum);
    Ok(())
}
