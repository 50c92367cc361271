//! Statements and loops.
use super::super::vcode::{ImmOp, MOp};
use super::{Place, Selector};
use regalloc2::{Operand, VReg};
use spc_base::Bug;
use spc_kernel::ir::{Cmp, Loop, Op, Stmt, Val};

/// Lines of a body in the kernel's text.
fn lines(body: &[Stmt]) -> usize {
    body.iter().map(|s| if let Stmt::Loop(l) = s { lines(&l.body) + 2 } else { 1 }).sum()
}

impl Selector<'_> {
    /// What follows comes from a later line of the kernel's text.
    fn next_line(&mut self, by: usize) {
        self.line += by;
        self.code.line = self.line;
    }

    pub(super) fn body(&mut self, body: &[Stmt]) -> Result<(), Bug> {
        let folds = self.folds(body);
        for s in body {
            self.next_line(1);
            match s {
                Stmt::Let(v, Op::Load(kind, addr)) if folds.contains(v) => self.set(*v, Place::Memory(*addr, *kind)),
                Stmt::Let(v, op) => self.op(*v, op)?,
                Stmt::Store(kind, addr, v) => self.store(*kind, addr, *v)?,
                Stmt::StoreTail { addr, value, n } => self.store_tail(addr, *value, *n)?,
                Stmt::Prefetch(near, addr) => self.prefetch(*near, addr)?,
                Stmt::Tile(t) => self.tile(t)?,
                Stmt::Loop(l) => self.repeat(l)?,
            }
        }
        Ok(())
    }

    fn regs(&mut self, values: impl Iterator<Item = Val>) -> Result<Vec<VReg>, Bug> {
        values.map(|v| self.reg(v)).collect()
    }

    /// `test n; jg enter | skip`, `enter -> header(n, [0], init)`, `header: body; dec n; jnz back | out`,
    /// `back -> header(n, [index], yield)`, `out -> exit(yield)`, `skip -> exit(init)`.
    ///
    /// Every edge from a branch to a join is a block of its own; those that hold no moves vanish in emission. A loop of a
    /// known number of rounds has neither test nor `skip`.
    fn repeat(&mut self, l: &Loop) -> Result<(), Bug> {
        let known = match self.place(l.count) {
            Place::Int(c) => Some(c),
            _ => None,
        };
        if known.is_some_and(|c| c <= 0) {
            for c in &l.carried {
                let p = self.place(c.init);
                self.set(c.result, p);
            }
            self.next_line(lines(&l.body) + 1);
            return Ok(());
        }
        let count = self.reg(l.count)?;
        let inits = self.regs(l.carried.iter().map(|c| c.init))?;
        let indexed = self.uses[l.index.index()] > 0;
        let mut entering = vec![count];
        if indexed {
            let zero = self.int_vreg();
            self.code.emit(MOp::Int(0), &[Operand::reg_def(zero)], None);
            entering.push(zero);
        }
        entering.extend(&inits);
        if known.is_none() {
            self.code.emit(MOp::Test, &[Operand::reg_use(count)], None);
            self.code.emit(MOp::Branch(Cmp::Gt), &[], None);
        } else {
            self.code.emit(MOp::Jmp, &[], None);
        }
        let before = self.code.end();
        let mut enter = before;
        let mut skip = None;
        if known.is_none() {
            // Before the loop, so that what it has for the end of the loop does not live through it.
            let passed = self.code.jump_block();
            self.code.blocks[passed].cold = true;
            skip = Some(passed);
            enter = self.code.jump_block();
            self.code.edge(before, enter, Vec::new());
            self.code.edge(before, passed, Vec::new());
        }

        let left = self.int_vreg();
        let mut params = vec![left];
        let index = indexed.then(|| self.define(l.index));
        params.extend(index);
        for c in &l.carried {
            params.push(self.define(c.param));
        }
        let header = self.code.start(params);
        self.code.blocks[header].header = true;
        self.code.edge(enter, header, entering);
        self.body(&l.body)?;
        self.next_line(1);
        let yields = self.regs(l.carried.iter().map(|c| c.yielded))?;
        let mut again = Vec::new();
        let next = |s: &mut Self, op: ImmOp, from: VReg| {
            let to = s.int_vreg();
            s.code.emit(MOp::ImmOp(op), &[Operand::reg_reuse_def(to, 1), Operand::reg_use(from)], None);
            to
        };
        let next_index = index.map(|i| next(self, ImmOp::Inc, i));
        again.push(next(self, ImmOp::Dec, left));
        again.extend(next_index);
        again.extend(&yields);
        self.code.emit(MOp::Branch(Cmp::Ne), &[], None);
        let latch = self.code.end();
        let back = self.code.jump_block();
        self.code.edge(latch, back, Vec::new());
        self.code.edge(back, header, again);
        if latch == header {
            self.code.blocks[header].inner = true;
            self.code.blocks[back].inner = true;
        }

        let Some(skip) = skip else {
            for (c, y) in l.carried.iter().zip(&yields) {
                self.set(c.result, Place::Reg(*y));
            }
            let exit = self.code.start(Vec::new());
            self.code.edge(latch, exit, Vec::new());
            return Ok(());
        };
        let out = self.code.jump_block();
        self.code.edge(latch, out, Vec::new());
        let results = l.carried.iter().map(|c| self.define(c.result)).collect();
        let exit = self.code.start(results);
        self.code.edge(out, exit, yields);
        self.code.edge(skip, exit, inits);
        Ok(())
    }
}
