//! Registers in one pass over the code, for kernels whose values fit: several times as fast as the general allocator, which
//! takes what is refused here.
//!
//! Blocks lie in the order of the program, and loops are runs of blocks. So a value lives in one range of positions, from its
//! definition to its last use or to the end of the outermost loop that uses it and does not define it. Values that follow each
//! other in one register (the result of an instruction that writes its first operand, what a loop carries) are joined where their
//! ranges do not meet. A joined value has one register, or one slot on the stack, from its beginning to its end.
//!
//! Positions are twice the number of an instruction, plus one after it. Ranges hold their start and not their end.
use super::vcode::{CALLEE_SAVED, CALLER_SAVED, MOp, RAX, RDX, VCode, int_reg, vector_reg};
use crate::host::Isa;
use regalloc2::{
    Allocation, Block, Edit, Function, Inst, OperandConstraint, OperandKind, OperandPos, Output, PReg, ProgPoint,
    RegClass, SpillSlot, VReg,
};

/// How often values are put on the stack before the general allocator is asked.
const MOST_PASSES: usize = 8;

/// What moves from the stack to the stack go through, where anything is there.
const SCRATCH: usize = 11;

/// A loop: where it begins and ends, and the loop around it.
struct Span {
    start: u32,
    end: u32,
    around: Option<usize>,
}

/// Values that share a register.
#[derive(Clone, Default)]
struct Web {
    /// Ascending; none touches the next.
    ranges: Vec<(u32, u32)>,
    class: Option<RegClass>,
    /// Uses and definitions, those in loops more.
    weight: u64,
    /// Used or defined in an innermost loop.
    inner: bool,
}

impl Web {
    fn start(&self) -> u32 {
        self.ranges.first().map_or(0, |r| r.0)
    }

    fn end(&self) -> u32 {
        self.ranges.last().map_or(0, |r| r.1)
    }

    fn meets(&self, other: &Web) -> bool {
        if self.end() <= other.start() || other.end() <= self.start() {
            return false;
        }
        let (mut i, mut j) = (0, 0);
        while let (Some(a), Some(b)) = (self.ranges.get(i), other.ranges.get(j)) {
            if a.1 <= b.0 {
                i += 1;
            } else if b.1 <= a.0 {
                j += 1;
            } else {
                return true;
            }
        }
        false
    }

    fn join(&mut self, other: Web) {
        self.weight += other.weight;
        self.inner |= other.inner;
        match self.ranges.last_mut() {
            // What follows, mostly.
            Some(last) if other.ranges.len() == 1 && last.1 == other.start() => last.1 = other.end(),
            _ => {
                self.ranges.extend(other.ranges);
                self.ranges.sort_unstable();
                self.ranges.dedup_by(|b, a| {
                    let touch = a.1 == b.0;
                    if touch {
                        a.1 = b.1;
                    }
                    touch
                });
            }
        }
    }
}

/// Where a web is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    None,
    Reg(PReg),
    Stack(usize),
}

struct Scan<'a> {
    code: &'a VCode,
    spans: Vec<Span>,
    /// The innermost loop of each block.
    within: Vec<Option<usize>>,
    /// The web of each value, or one that was joined to it.
    parents: Vec<u32>,
    webs: Vec<Web>,
    homes: Vec<Home>,
    slots: usize,
    /// Registers of single operands whose values are on the stack: by instruction and number of the operand.
    own: Vec<(u32, u32, PReg)>,
    registers: [Vec<PReg>; 2],
}

/// What wants a register: a web, or an operand of an instruction.
#[derive(Clone, Copy)]
enum Want {
    Web(usize),
    Operand(u32, u32),
}

/// Why this is a matter for the general allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Calls change registers.
    Calls,
    /// More values than registers in an innermost loop, or more vectors.
    Full,
    /// Too many values are put on the stack, one after the other.
    Passes,
    /// A move would be in an innermost loop.
    Inner,
    /// Moves change places in a circle.
    Circle,
}

/// The allocation, or why there is none.
pub(super) fn scan(code: &VCode, isa: Isa) -> Result<Output, Refused> {
    if code.has_calls() {
        return Err(Refused::Calls);
    }
    let mut s = Scan::new(code, isa);
    s.ranges();
    s.join();
    s.assign()?;
    s.output()
}

impl<'a> Scan<'a> {
    fn new(code: &'a VCode, isa: Isa) -> Scan<'a> {
        let divides = code.insts.iter().any(|i| matches!(i.op, MOp::Divide(_)));
        let ints = CALLER_SAVED.into_iter().chain(CALLEE_SAVED);
        // Division has registers of its own, which nothing else gets.
        let ints = ints.filter(|r| !(divides && [RAX, RDX].contains(r))).map(int_reg).collect();
        let vectors = (0..if isa.is_512() { 32 } else { 16 }).map(vector_reg).collect();
        let n = code.num_vregs();
        Scan {
            code,
            spans: Vec::new(),
            within: Vec::new(),
            parents: (0..n as u32).collect(),
            webs: vec![Web::default(); n],
            homes: vec![Home::None; n],
            slots: 0,
            own: Vec::new(),
            registers: [ints, vectors],
        }
    }

    fn insts(&self, block: usize) -> (usize, usize) {
        let r = self.code.block_insns(Block::new(block));
        (r.first().index(), r.last().index())
    }

    fn loops(&mut self) {
        let n = self.code.blocks.len();
        let mut open: Vec<(usize, usize)> = Vec::new();
        for b in 0..n {
            while open.last().is_some_and(|(_, last)| *last < b) {
                open.pop();
            }
            if self.code.blocks[b].header {
                let preds = self.code.block_preds(Block::new(b));
                let last = preds.iter().map(|p| p.index()).max().unwrap_or(b);
                let (start, end) = (2 * self.insts(b).0 as u32, 2 * self.insts(last).1 as u32 + 2);
                self.spans.push(Span { start, end, around: open.last().map(|o| o.0) });
                open.push((self.spans.len() - 1, last));
            }
            self.within.push(open.last().map(|o| o.0));
        }
    }

    /// The range, weight and class of each value.
    fn ranges(&mut self) {
        self.loops();
        let mut starts = vec![0u32; self.webs.len()];
        for b in 0..self.code.blocks.len() {
            let (first, last) = self.insts(b);
            let depth = std::iter::successors(self.within[b], |l| self.spans[*l].around).count().min(8);
            let (weight, inner) = (1u64 << (3 * depth), self.code.blocks[b].inner);
            for p in self.code.block_params(Block::new(b)) {
                starts[p.vreg()] = 2 * first as u32;
                let web = &mut self.webs[p.vreg()];
                web.ranges = vec![(2 * first as u32, 2 * first as u32 + 1)];
                web.class = Some(p.class());
            }
            for i in first..=last {
                for o in self.code.inst_operands(Inst::new(i)) {
                    let v = o.vreg().vreg();
                    let at = 2 * i as u32 + u32::from(o.pos() == OperandPos::Late);
                    if o.kind() == OperandKind::Def {
                        starts[v] = at;
                        self.webs[v].class = Some(o.vreg().class());
                        self.webs[v].ranges = vec![(at, 2 * i as u32 + 2)];
                    } else {
                        self.used(b, starts[v], v, at + 1);
                    }
                    self.webs[v].weight += weight;
                    self.webs[v].inner |= inner;
                }
            }
            for succ in 0..self.code.block_succs(Block::new(b)).len() {
                for a in self.code.branch_blockparams(Block::new(b), Inst::new(last), succ) {
                    self.used(b, starts[a.vreg()], a.vreg(), 2 * last as u32 + 1);
                }
            }
        }
    }

    /// A value that was defined at `start` is used in a block until `end`.
    fn used(&mut self, block: usize, start: u32, v: usize, mut end: u32) {
        let mut at = self.within[block];
        while let Some(l) = at.filter(|l| self.spans[*l].start > start) {
            end = end.max(self.spans[l].end);
            at = self.spans[l].around;
        }
        if let Some(r) = self.webs[v].ranges.first_mut() {
            r.1 = r.1.max(end);
        }
    }

    fn root(&mut self, v: VReg) -> usize {
        let mut at = v.vreg();
        while self.parents[at] as usize != at {
            self.parents[at] = self.parents[self.parents[at] as usize];
            at = self.parents[at] as usize;
        }
        at
    }

    fn unite(&mut self, a: VReg, b: VReg) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return true;
        }
        if self.webs[a].class != self.webs[b].class || self.webs[a].meets(&self.webs[b]) {
            return false;
        }
        let other = std::mem::take(&mut self.webs[b]);
        self.webs[a].join(other);
        self.parents[b] = a as u32;
        true
    }

    fn join(&mut self) {
        for i in 0..self.code.insts.len() {
            let operands = self.code.inst_operands(Inst::new(i));
            for d in operands {
                let OperandConstraint::Reuse(u) = d.constraint() else { continue };
                if !self.unite(operands[u].vreg(), d.vreg()) {
                    // The operand is copied to the register of the result before the instruction.
                    let d = self.root(d.vreg());
                    if let Some(r) = self.webs[d].ranges.first_mut() {
                        r.0 = 2 * i as u32;
                    }
                }
            }
        }
        // What goes round first, then what enters and leaves.
        for around in [true, false] {
            for b in 0..self.code.blocks.len() {
                let (from, last) = (Block::new(b), Inst::new(self.insts(b).1));
                for (n, to) in self.code.block_succs(from).iter().enumerate() {
                    if (to.index() <= b) != around {
                        continue;
                    }
                    let args = self.code.branch_blockparams(from, last, n);
                    for (p, a) in self.code.block_params(*to).iter().zip(args) {
                        self.unite(*p, *a);
                    }
                }
            }
        }
    }

    /// A register for every web that has none on the stack, and for every operand whose web is there.
    fn assign(&mut self) -> Result<(), Refused> {
        for _ in 0..MOST_PASSES {
            if self.pass()? {
                return Ok(());
            }
            self.registers[0].retain(|r| *r != int_reg(SCRATCH));
        }
        Err(Refused::Passes)
    }

    /// True where all have registers, false where more went to the stack.
    fn pass(&mut self) -> Result<bool, Refused> {
        self.own.clear();
        let mut wants: Vec<(u32, u32, Want)> = Vec::new();
        for (n, web) in self.webs.iter().enumerate() {
            if !web.ranges.is_empty() && !matches!(self.homes[n], Home::Stack(_)) {
                wants.push((web.start(), web.end(), Want::Web(n)));
            }
        }
        if self.slots > 0 {
            self.operands_on_stack(&mut wants);
        }
        wants.sort_unstable_by_key(|w| (w.0, w.1));
        // Until when each register is taken, and by which web.
        let mut taken =
            [vec![(0u32, None::<usize>); self.registers[0].len()], vec![(0, None); self.registers[1].len()]];
        let mut more = false;
        for (start, end, want) in wants {
            let kind = match want {
                Want::Web(n) => usize::from(self.webs[n].class == Some(RegClass::Float)),
                Want::Operand(..) => 0,
            };
            let web = if let Want::Web(n) = want { Some(n) } else { None };
            let free = match taken[kind].iter().position(|t| t.0 <= start) {
                Some(r) => r,
                None => {
                    let (r, least) = self.cheapest(kind, &taken[kind], web).ok_or(Refused::Full)?;
                    more = true;
                    self.homes[least] = Home::Stack(self.slots);
                    self.slots += 1;
                    if Some(least) == web {
                        continue;
                    }
                    r
                }
            };
            taken[kind][free] = (end, web);
            let p = self.registers[kind][free];
            match want {
                Want::Web(n) => self.homes[n] = Home::Reg(p),
                Want::Operand(i, o) => self.own.push((i, o, p)),
            }
        }
        self.own.sort_unstable_by_key(|o| (o.0, o.1));
        Ok(!more)
    }

    /// The web that costs least on the stack, of those that have registers and of the one that wants one, and the register
    /// that this leaves. None where it would cost moves in innermost loops.
    fn cheapest(&self, kind: usize, taken: &[(u32, Option<usize>)], web: Option<usize>) -> Option<(usize, usize)> {
        let held = taken.iter().enumerate().filter_map(|(r, t)| Some((r, t.1?)));
        let all = held.chain(web.map(|w| (0, w))).filter(|(_, w)| kind == 0 && !self.webs[*w].inner);
        all.min_by_key(|(_, w)| (self.webs[*w].weight, *w))
    }

    fn home(&mut self, v: VReg) -> Home {
        let n = self.root(v);
        self.homes[n]
    }

    fn operands_on_stack(&mut self, wants: &mut Vec<(u32, u32, Want)>) {
        for i in 0..self.code.insts.len() {
            let at = 2 * i as u32;
            for (n, o) in self.code.inst_operands(Inst::new(i)).iter().enumerate() {
                if matches!(o.constraint(), OperandConstraint::FixedReg(_))
                    || !matches!(self.home(o.vreg()), Home::Stack(_))
                {
                    continue;
                }
                let (start, end) = match (o.kind(), o.constraint(), o.pos()) {
                    (OperandKind::Def, OperandConstraint::Reuse(_), _) | (OperandKind::Def, _, OperandPos::Early) => {
                        (at, at + 2)
                    }
                    (OperandKind::Def, ..) => (at + 1, at + 2),
                    (OperandKind::Use, _, OperandPos::Early) => (at, at + 1),
                    (OperandKind::Use, _, OperandPos::Late) => (at, at + 2),
                };
                wants.push((start, end, Want::Operand(i as u32, n as u32)));
            }
        }
    }

    fn place(&mut self, v: VReg) -> Allocation {
        match self.home(v) {
            Home::Reg(p) => Allocation::reg(p),
            Home::Stack(n) => Allocation::stack(SpillSlot::new(n)),
            Home::None => Allocation::none(),
        }
    }

    fn output(mut self) -> Result<Output, Refused> {
        let mut out = Output { num_spillslots: self.slots, ..Output::default() };
        let mut own = std::mem::take(&mut self.own).into_iter().peekable();
        for b in 0..self.code.blocks.len() {
            let (first, last) = self.insts(b);
            let inner = self.code.blocks[b].inner;
            let before_block = out.edits.len();
            for i in first..=last {
                let inst = Inst::new(i);
                out.inst_alloc_offsets.push(out.allocs.len() as u32);
                let from = out.allocs.len();
                let mut after: Vec<(Allocation, Allocation)> = Vec::new();
                let operands = self.code.inst_operands(inst);
                for (n, o) in operands.iter().enumerate() {
                    let home = self.place(o.vreg());
                    let here = match (o.constraint(), own.peek()) {
                        (OperandConstraint::FixedReg(p), _) => Allocation::reg(p),
                        (_, Some((j, m, p))) if (*j as usize, *m as usize) == (i, n) => {
                            let p = *p;
                            own.next();
                            Allocation::reg(p)
                        }
                        _ => home,
                    };
                    out.allocs.push(here);
                    if home != here && o.kind() == OperandKind::Def {
                        after.push((here, home));
                    }
                }
                for (n, o) in operands.iter().enumerate() {
                    if o.kind() == OperandKind::Use {
                        let reused = operands.iter().position(|d| d.constraint() == OperandConstraint::Reuse(n));
                        if let Some(d) = reused {
                            out.allocs[from + n] = out.allocs[from + d];
                        }
                        let (home, here) = (self.place(o.vreg()), out.allocs[from + n]);
                        if home != here {
                            out.edits.push((ProgPoint::before(inst), Edit::Move { from: home, to: here }));
                        }
                    }
                }
                if i == last {
                    self.edges(b, inst, &mut out.edits)?;
                }
                out.edits.extend(after.iter().map(|m| (ProgPoint::after(inst), Edit::Move { from: m.0, to: m.1 })));
            }
            if inner && out.edits.len() > before_block {
                return Err(Refused::Inner);
            }
        }
        Ok(out)
    }

    /// Moves of a block's arguments to the parameters of the one that follows it, all at once.
    fn edges(&mut self, b: usize, last: Inst, edits: &mut Vec<(ProgPoint, Edit)>) -> Result<(), Refused> {
        let block = Block::new(b);
        let code = self.code;
        let mut moves: Vec<(Allocation, Allocation)> = Vec::new();
        for (n, to) in code.block_succs(block).iter().enumerate() {
            for (p, a) in code.block_params(*to).iter().zip(code.branch_blockparams(block, last, n)) {
                let (from, to) = (self.place(*a), self.place(*p));
                if from != to {
                    moves.push((from, to));
                }
            }
        }
        while !moves.is_empty() {
            // One whose target nothing else is still read from.
            let next = moves.iter().position(|(_, to)| !moves.iter().any(|(from, _)| from == to));
            let (from, to) = moves.swap_remove(next.ok_or(Refused::Circle)?);
            if from.is_stack() && to.is_stack() {
                let through = Allocation::reg(int_reg(SCRATCH));
                edits.push((ProgPoint::before(last), Edit::Move { from, to: through }));
                edits.push((ProgPoint::before(last), Edit::Move { from: through, to }));
            } else {
                edits.push((ProgPoint::before(last), Edit::Move { from, to }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::isel::select;
    use super::super::supported;
    use super::*;
    use regalloc2::checker::Checker;
    use spc_formats::Layout;
    use spc_kernel::templates::LinearSpec;
    use spc_kernel::templates::cases::{LAYOUTS, every};

    /// Kernels of linears need no other allocator, and what they get is right.
    #[test]
    fn no_linear_is_refused() {
        for isa in [Isa::Avx2, Isa::Avx512Vnni] {
            let mut refused = Vec::new();
            let mut all = 0;
            for name in LAYOUTS {
                let layout: Layout = name.parse().unwrap();
                let spec = LinearSpec { layout, rows: 1000, cols: 1003, bias: true, act: None, beside: &[], lanes: isa.lanes() };
                for (name, k) in every(&spec).unwrap_or_default() {
                    if supported(&k, isa).is_err() {
                        continue;
                    }
                    all += 1;
                    let code = select(&k, isa).unwrap();
                    match scan(&code, isa) {
                        Ok(out) => {
                            let env = super::super::regs::environment(isa);
                            let mut checker = Checker::new(&code, &env);
                            checker.prepare(&out);
                            checker.run().unwrap_or_else(|e| panic!("{name}: {e:?}"));
                        }
                        Err(why) => refused.push(format!("{name}: {why:?}")),
                    }
                }
            }
            assert!(all > 40 && refused.is_empty(), "{}: {} of {all}: {refused:#?}", isa.name(), refused.len());
        }
    }
}
