//! What all kernels of passes have in common: how they are called, and what a fold is made of.
use super::{Array, Kind, Pass};
use crate::ir::{Addr, Builder, Cmp, FBin, RedFn, StoreKind, Ty, Val};
use spc_base::Bug;

/// The parameters of a kernel, in the order of the calling convention.
pub(super) struct Frame {
    pub arrays: Vec<Val>,
    pub numbers: Val,
    pub folds: Val,
    pub lo: Val,
    pub hi: Val,
    pub end: Val,
}

impl Frame {
    pub fn new(b: &mut Builder, arrays: usize) -> Frame {
        Frame {
            arrays: (0..arrays).map(|i| b.param(&format!("a{i}"), Ty::Ptr)).collect(),
            numbers: b.param("numbers", Ty::CPtr),
            folds: b.param("folds", Ty::Ptr),
            lo: b.param("lo", Ty::I64),
            hi: b.param("hi", Ty::I64),
            end: b.param("end", Ty::I64),
        }
    }

    /// The pass over whole units whose fold is the greatest lane of `top`.
    pub fn pass(
        &self,
        mut b: Builder,
        top: Val,
        (arrays, unit, numbers): (Vec<Array>, usize, usize),
    ) -> Result<Pass, Bug> {
        let top = b.reduce(RedFn::Max, top);
        b.store(StoreKind::F32, Addr::new(self.folds), top);
        Ok(Pass { kernel: b.finish()?, arrays, unit, numbers, folds: 1, cut: false })
    }
}

/// Weights and numbers of each unit: those of tiles, which a pass of sums writes, and one that scales reads.
pub(super) fn beside(entries: usize, squares: bool) -> Vec<Array> {
    let array = |kind, written| Array { kind, written, read: true };
    vec![array(Kind::F32, !squares), array(Kind::Side(entries), squares)]
}

/// What weights are multiplied by; 0 gives +0.
pub(super) struct Factor {
    f: Val,
    zero: Val,
    gone: Val,
}

impl Factor {
    pub fn new(b: &mut Builder, f: Val) -> Factor {
        let zero = b.vfloat(0.0);
        Factor { f, zero, gone: b.fcmp(Cmp::Eq, f, zero) }
    }

    pub fn times(&self, b: &mut Builder, x: Val) -> Val {
        let y = b.fbin(FBin::Mul, x, self.f);
        b.select(self.gone, self.zero, y)
    }
}
