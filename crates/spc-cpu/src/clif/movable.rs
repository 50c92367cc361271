//! Which loads may move.
//!
//! Cranelift keeps ordinary loads in place and sinks arithmetic to its use, so that in a block with several loads and
//! multiply-adds all loads come first and vectors spill. A load marked `readonly` and `can_move` is placed at its use
//! like arithmetic. Such a load may also be hoisted out of loops in which its address does not change, which would run
//! it even when the loop does not. So only loads whose address changes with the innermost loop are marked.
use spc_kernel::ir::{Addr, Kernel, LoadKind, Op, Stmt, Ty, Val};

/// For each value, the number of open loops of the innermost loop that it changes with; 0 if it changes with none.
pub(super) struct Depths(Vec<u32>);

impl Depths {
    pub(super) fn of(kernel: &Kernel) -> Depths {
        let mut d = Depths(vec![0; kernel.tys.len()]);
        d.body(kernel, &kernel.body, 0);
        d
    }

    fn get(&self, v: Val) -> u32 {
        self.0.get(v.index()).copied().unwrap_or(0)
    }

    fn set(&mut self, v: Val, depth: u32) {
        if let Some(slot) = self.0.get_mut(v.index()) {
            *slot = depth;
        }
    }

    fn addr(&self, a: &Addr) -> u32 {
        a.uses().map(|v| self.get(v)).max().unwrap_or(0)
    }

    /// True if the load at `addr` in a body of that depth may be marked.
    pub(super) fn movable(&self, kernel: &Kernel, addr: &Addr, depth: u32) -> bool {
        kernel.ty(addr.base) == Some(Ty::CPtr) && self.addr(addr) == depth
    }

    fn body(&mut self, kernel: &Kernel, body: &[Stmt], depth: u32) {
        for s in body {
            match s {
                Stmt::Let(v, op) => {
                    let d = match op {
                        Op::Load(kind, a) if *kind != LoadKind::Bool && self.movable(kernel, a, depth) => depth,
                        Op::Load(..) | Op::LoadTail(..) | Op::Gather(..) | Op::Math(..) => depth,
                        _ => op.uses().into_iter().map(|u| self.get(u)).max().unwrap_or(0),
                    };
                    self.set(*v, d);
                }
                Stmt::Store(..) | Stmt::StoreTail { .. } | Stmt::Prefetch(..) | Stmt::Tile(_) => {}
                Stmt::Loop(l) => {
                    self.set(l.index, depth + 1);
                    for c in &l.carried {
                        // A value carried unchanged is its initial value.
                        let d = if c.yielded == c.param { self.get(c.init) } else { depth + 1 };
                        self.set(c.param, d);
                    }
                    self.body(kernel, &l.body, depth + 1);
                    for c in &l.carried {
                        self.set(c.result, if c.yielded == c.param { self.get(c.init) } else { depth });
                    }
                }
            }
        }
    }
}
