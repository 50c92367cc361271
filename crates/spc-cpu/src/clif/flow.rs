//! Statements and loops.
use super::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{BlockArg, InstBuilder, SourceLoc};
use spc_base::Bug;
use spc_kernel::ir::{Loop, Stmt, Val};

impl Translator<'_, '_> {
    /// What follows comes from the next line of the kernel's text.
    fn next_line(&mut self) {
        self.line += 1;
        self.b.set_srcloc(SourceLoc::new(self.line));
    }

    pub(super) fn body(&mut self, body: &[Stmt]) -> Result<(), Bug> {
        for s in body {
            self.next_line();
            match s {
                Stmt::Let(v, op) => {
                    let x = self.op(*v, op)?;
                    self.set(*v, x);
                }
                Stmt::Store(kind, addr, v) => self.store(*kind, addr, *v)?,
                Stmt::StoreTail { addr, value, n } => self.store_tail(addr, *value, *n)?,
                // Cranelift has no prefetch.
                Stmt::Prefetch(..) => {}
                Stmt::Tile(t) => return Err(Bug::new(format!("cranelift has no `{t}`"))),
                Stmt::Loop(l) => self.repeat(l)?,
            }
        }
        Ok(())
    }

    fn args(&self, values: impl Iterator<Item = Val>) -> Result<Vec<BlockArg>, Bug> {
        values.map(|v| self.get(v).map(BlockArg::from)).collect()
    }

    /// `test: n > 0 -> before | exit; before -> body(0, init); body: next < n -> body(next, yield) | exit(yield)`.
    ///
    /// The block `before` holds what is hoisted out of the loop, so that it runs only if the loop does.
    fn repeat(&mut self, l: &Loop) -> Result<(), Bug> {
        let (before, body, exit) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let index = self.b.append_block_param(body, I64);
        self.set(l.index, index);
        let mut results = Vec::with_capacity(l.carried.len());
        for c in &l.carried {
            let ty = self.type_of(c.param)?;
            let param = self.b.append_block_param(body, ty);
            self.set(c.param, param);
            results.push(self.b.append_block_param(exit, ty));
        }
        let count = self.get(l.count)?;
        let inits = self.args(l.carried.iter().map(|c| c.init))?;
        let some = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, count, 0);
        self.b.ins().brif(some, before, &[], exit, &inits);

        self.b.switch_to_block(before);
        let zero = self.b.ins().iconst(I64, 0);
        let first: Vec<BlockArg> = std::iter::once(zero.into()).chain(inits).collect();
        self.b.ins().jump(body, &first);

        self.b.switch_to_block(body);
        self.depth += 1;
        self.body(&l.body)?;
        self.depth -= 1;
        self.next_line();
        let yields = self.args(l.carried.iter().map(|c| c.yielded))?;
        let next = self.b.ins().iadd_imm_s(index, 1);
        let again: Vec<BlockArg> = std::iter::once(next.into()).chain(yields.iter().copied()).collect();
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, count);
        self.b.ins().brif(more, body, &again, exit, &yields);

        self.b.switch_to_block(exit);
        for (c, r) in l.carried.iter().zip(results) {
            self.set(c.result, r);
        }
        Ok(())
    }
}
