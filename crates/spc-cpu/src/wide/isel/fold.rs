//! Which loads become memory operands of the instruction that uses them.
use super::Selector;
use spc_kernel::ir::{FBin, IBin, Kernel, LoadKind, Op, Stmt, Ty, Val};
use std::collections::{BTreeMap, BTreeSet};

/// Number of uses of every value.
pub(super) fn count_uses(kernel: &Kernel) -> Vec<u32> {
    let mut uses = vec![0; kernel.tys.len()];
    count(&kernel.body, &mut uses);
    uses
}

fn count(body: &[Stmt], uses: &mut [u32]) {
    let mut add = |v: Val| {
        if let Some(n) = uses.get_mut(v.index()) {
            *n += 1;
        }
    };
    for s in body {
        match s {
            Stmt::Let(_, op) => op.uses().into_iter().for_each(&mut add),
            Stmt::Store(_, addr, v) => addr.uses().chain([*v]).for_each(&mut add),
            Stmt::StoreTail { addr, value, n } => addr.uses().chain([*value, *n]).for_each(&mut add),
            Stmt::Prefetch(_, addr) => addr.uses().for_each(&mut add),
            Stmt::Tile(t) => t.addr().into_iter().flat_map(|a| a.uses()).for_each(&mut add),
            Stmt::Loop(l) => {
                add(l.count);
                l.carried.iter().flat_map(|c| [c.init, c.yielded]).for_each(&mut add);
            }
        }
    }
    for s in body {
        if let Stmt::Loop(l) = s {
            count(&l.body, uses);
        }
    }
}

impl Selector<'_> {
    /// Loads of this body that have one use, in this body and as an operand that may be in memory, with no loop in
    /// between, and no store where the memory may be written.
    pub(super) fn folds(&self, body: &[Stmt]) -> BTreeSet<Val> {
        let mut folded = BTreeSet::new();
        // Loads that may still move down to here.
        let mut loads: BTreeMap<Val, (LoadKind, bool)> = BTreeMap::new();
        for s in body {
            match s {
                Stmt::Let(v, Op::Load(kind, addr)) => {
                    loads.insert(*v, (*kind, self.ty(addr.base) == Ty::CPtr));
                }
                Stmt::Let(_, op) => {
                    let fits = |v: &Val| loads.get(v).is_some_and(|(kind, _)| self.takes(*v, *kind));
                    let taken = match op {
                        Op::Fma(a, b, _) | Op::FBin(FBin::Add | FBin::Mul, a, b) => {
                            [b, a].into_iter().find(|v| fits(v))
                        }
                        Op::FBin(FBin::Sub | FBin::Div, _, b) => Some(b).filter(|v| fits(v)),
                        Op::IBin(IBin::Sub, a, b) if self.ty(*a) == Ty::VI32 => Some(b).filter(|v| fits(v)),
                        Op::IBin(_, a, b) if self.ty(*a) == Ty::VI32 => [b, a].into_iter().find(|v| fits(v)),
                        Op::Dot4(_, _, s) if self.isa.has_vnni() => Some(s).filter(|v| fits(v)),
                        Op::PermuteBytes(a, _) if self.isa.has_vnni() => {
                            Some(a).filter(|v| fits(v) && matches!(loads.get(v), Some((LoadKind::VI32, _))))
                        }
                        Op::IToF(a) if self.ty(*a) == Ty::VI32 => Some(a).filter(|v| fits(v)),
                        _ => None,
                    };
                    folded.extend(taken.copied());
                }
                Stmt::Store(..) | Stmt::StoreTail { .. } | Stmt::Tile(_) => loads.retain(|_, (_, constant)| *constant),
                Stmt::Prefetch(..) => {}
                Stmt::Loop(_) => loads.clear(),
            }
        }
        folded
    }

    fn takes(&self, v: Val, kind: LoadKind) -> bool {
        let fits = match kind {
            LoadKind::F32 | LoadKind::VF32 | LoadKind::VI32 => true,
            LoadKind::Splat | LoadKind::SplatI32 => self.isa.is_512(),
            _ => false,
        };
        fits && self.uses[v.index()] == 1
    }
}
