//! The functions that C calls: they check what they are given, lay out buffers and run the steps.
use super::Status;
use super::dispatch::{Level, forward};
use super::module::{Body, Maker};
use super::steps::{StepRow, Tables, tables};
use super::weights::{FACTORS, HEADER_BYTES, MAGIC, TURN, VERSION, Weights};
use crate::buffer::ALIGN;
use crate::host::Isa;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::{DataId, FuncId, Linkage};
use spc_base::Bug;
use spc_ir::SymId;
use spc_kernel::{Amount, Program, Role, StepArg};

/// What all functions of an object share.
pub(super) struct Common<'a> {
    pub prefix: &'a str,
    pub weights: &'a Weights,
    pub embedded: Option<DataId>,
    pub runner: FuncId,
    pub level: Level,
}

fn bug(text: &str) -> Bug {
    Bug::new(format!("object: {text}"))
}

fn refuse(f: &mut Body<'_>, c: Value, status: Status) {
    f.when(c, |f| {
        let x = f.b.ins().iconst(I32, status as i64);
        f.give(x);
        true
    });
}

/// `n` as a value, from the sizes of the free axes.
fn amount(f: &mut Body<'_>, a: &Amount, sizes: &[Value]) -> Result<Value, Bug> {
    let coef = |n: u64| i64::try_from(n).map_err(|_| bug("a size that does not fit"));
    let mut n = f.int(coef(a.of.coef)?);
    for s in &a.of.syms {
        let size = sizes.get(s.0 as usize).ok_or_else(|| bug("an unknown free axis"))?;
        n = f.b.ins().imul(n, *size);
    }
    if a.pad {
        let pad = spc_kernel::templates::TOKEN_PAD as i64;
        n = f.b.ins().iadd_imm_s(n, pad - 1);
        n = f.b.ins().band_imm_s(n, -pad);
    }
    if a.per != 1 {
        n = f.b.ins().imul_imm_s(n, coef(a.per)?);
    }
    Ok(n)
}

fn size(f: &mut Body<'_>, amounts: &[Amount], sizes: &[Value]) -> Result<Value, Bug> {
    let mut most = f.int(0);
    for a in amounts {
        let n = amount(f, a, sizes)?;
        most = f.b.ins().umax(most, n);
    }
    Ok(most)
}

fn lines(f: &mut Body<'_>, bytes: Value) -> Value {
    let n = f.b.ins().iadd_imm_s(bytes, ALIGN as i64 - 1);
    f.b.ins().band_imm_s(n, -(ALIGN as i64))
}

/// Buffers that lie in the workspace.
fn in_workspace(role: &Role) -> bool {
    matches!(role, Role::Temp | Role::Status(_))
}

/// True if no size or number of a call can exceed what 60 bits hold, and every output has exactly its elements.
pub(super) fn fits(p: &Program) -> bool {
    let greatest: Vec<u64> = p.syms().iter().map(|s| s.hi).collect();
    let small = |n: Option<u64>| n.is_some_and(|n| n < 1 << 50);
    let buffers = p.buffers().iter().all(|b| small(b.size(&greatest)));
    let args = p.steps().iter().all(|s| {
        let numbers = s.args.iter().filter_map(|a| if let StepArg::Amount(a) = a { Some(a) } else { None });
        numbers.chain([&s.range]).all(|a| small(a.bind(&greatest)))
    });
    buffers && args && p.buffers().len() < 1 << 9
}

/// The bytes of workspace that a variant needs, as a function of the sizes.
fn workspace(m: &mut Maker, name: &str, p: &Program) -> Result<FuncId, Bug> {
    m.local(&format!("{name}_bytes"), &vec![I64; p.syms().len()], Some(I64), |f, sizes| {
        let mut total = f.int(0);
        for b in p.buffers().iter().filter(|b| in_workspace(&b.role)) {
            let n = size(f, &b.bytes, sizes)?;
            let n = lines(f, n);
            total = f.b.ins().iadd(total, n);
        }
        f.give(total);
        Ok(())
    })
}

/// Words of a call of a program: buffers, sizes, numbers.
struct Words<'a> {
    program: &'a Program,
    numbers: Vec<&'a Amount>,
}

impl<'a> Words<'a> {
    fn of(program: &'a Program) -> Words<'a> {
        let mut numbers: Vec<&Amount> = Vec::new();
        for s in program.steps() {
            let args = s.args.iter().filter_map(|a| if let StepArg::Amount(a) = a { Some(a) } else { None });
            for a in args.chain([&s.range]) {
                if !numbers.contains(&a) {
                    numbers.push(a);
                }
            }
        }
        Words { program, numbers }
    }

    fn buffers(&self) -> usize {
        self.program.buffers().len()
    }

    fn number(&self, a: &Amount) -> Result<u32, Bug> {
        let i = self.numbers.iter().position(|n| *n == a).ok_or_else(|| bug("a number without a word"))?;
        Ok((2 * self.buffers() + i) as u32)
    }

    fn len(&self) -> usize {
        2 * self.buffers() + self.numbers.len()
    }

    fn rows(&self, kernels: &[FuncId]) -> Result<Vec<StepRow>, Bug> {
        let mut rows = Vec::new();
        for s in self.program.steps() {
            let range = self.number(&s.range)?;
            let (mut lo, mut hi, mut stored) = (None, None, None);
            let mut args = Vec::new();
            for (i, a) in s.args.iter().enumerate() {
                args.push(match a {
                    StepArg::Buffer(b) => {
                        let role = self.program.buffers().get(*b).map(|b| &b.role);
                        if matches!(role, Some(Role::Packed { array: "ptr", .. })) {
                            stored = Some(*b as u32);
                        }
                        *b as u32
                    }
                    StepArg::Amount(a) => self.number(a)?,
                    StepArg::Lo => {
                        lo = Some(i as u32);
                        range
                    }
                    StepArg::Hi => {
                        hi = Some(i as u32);
                        range
                    }
                });
            }
            let (Some(lo), Some(hi)) = (lo, hi) else { return Err(bug("a step without a range")) };
            let kernel = *kernels.get(s.kernel).ok_or_else(|| bug("a step without a kernel"))?;
            rows.push(StepRow { kernel, args, lo, hi, range, stored });
        }
        Ok(rows)
    }
}

/// Parameters of a function of C, by what they are.
struct Params<'v> {
    weights: Value,
    sizes: &'v [Value],
    inputs: &'v [Value],
    outputs: &'v [Value],
    workspace: Value,
    workspace_bytes: Value,
    threads: Value,
}

fn split<'v>(p: &Program, all: &'v [Value]) -> Result<Params<'v>, Bug> {
    let (s, i, o) = (p.syms().len(), p.inputs().len(), p.outputs().len());
    let part = |from: usize, n: usize| all.get(from..from + n).ok_or_else(|| bug("too few parameters"));
    let one = |at: usize| part(at, 1).map(|p| p[0]);
    let end = 1 + s + i + o;
    Ok(Params {
        weights: one(0)?,
        sizes: part(1, s)?,
        inputs: part(1 + s, i)?,
        outputs: part(1 + s + i, o)?,
        workspace: one(end)?,
        workspace_bytes: one(end + 1)?,
        threads: one(end + 2)?,
    })
}

fn parameters(p: &Program) -> usize {
    4 + p.syms().len() + p.inputs().len() + p.outputs().len()
}

/// The function for one instruction set. What its caller has checked: pointers of the caller, sizes, weights.
fn variant(m: &mut Maker, c: &Common<'_>, name: &str, p: &Program, kernels: &[FuncId]) -> Result<FuncId, Bug> {
    let words = Words::of(p);
    let Tables { steps, words: lists, count } = tables(m, name, &words.rows(kernels)?)?;
    m.local(name, &vec![I64; parameters(p)], Some(I32), |f, all| {
        let given = split(p, all)?;
        let at = f.stack(8 * words.len());
        let nb = words.buffers();
        let put = |f: &mut Body<'_>, i: usize, x: Value| f.store(x, at, 8 * i as i32);
        let mut total = f.int(0);
        let mut states = Vec::new();
        let mut sized = Vec::new();
        for b in p.buffers() {
            let n = match c.weights.places.get(&b.role) {
                Some((_, n)) => f.int(*n as i64),
                None => size(f, &b.bytes, given.sizes)?,
            };
            let offset = total;
            if in_workspace(&b.role) {
                let n = lines(f, n);
                total = f.b.ins().iadd(total, n);
            }
            sized.push((n, offset));
        }
        let some = f.b.ins().icmp_imm_u(IntCC::NotEqual, total, 0);
        let null = f.b.ins().icmp_imm_u(IntCC::Equal, given.workspace, 0);
        let null = f.b.ins().band(some, null);
        refuse(f, null, Status::Null);
        let low = f.b.ins().band_imm_u(given.workspace, ALIGN as i64 - 1);
        let crooked = f.b.ins().icmp_imm_u(IntCC::NotEqual, low, 0);
        let crooked = f.b.ins().band(some, crooked);
        refuse(f, crooked, Status::Alignment);
        let short = f.compare(IntCC::UnsignedLessThan, given.workspace_bytes, total);
        refuse(f, short, Status::Workspace);
        for (i, (b, (n, offset))) in p.buffers().iter().zip(sized).enumerate() {
            let missing = || bug("a value without a place");
            let base = match &b.role {
                Role::Input(k) => *given.inputs.get(*k).ok_or_else(missing)?,
                Role::Output(k) => *given.outputs.get(*k).ok_or_else(missing)?,
                Role::Weight(_) | Role::Packed { .. } => {
                    let (offset, _) = c.weights.places.get(&b.role).ok_or_else(missing)?;
                    f.b.ins().iadd_imm_s(given.weights, *offset as i64)
                }
                Role::Temp => f.b.ins().iadd(given.workspace, offset),
                Role::Status(_) => {
                    let base = f.b.ins().iadd(given.workspace, offset);
                    let zero = f.int(0);
                    f.store(zero, base, 0);
                    states.push(base);
                    base
                }
            };
            put(f, i, base);
            put(f, nb + i, n);
        }
        for (i, a) in words.numbers.iter().enumerate() {
            let n = amount(f, a, given.sizes)?;
            put(f, 2 * nb + i, n);
        }
        let (steps, lists) = (f.address_of(steps), f.address_of(lists));
        let (count, buffers) = (f.int(count as i64), f.int(nb as i64));
        f.call(c.runner, &[at, steps, count, lists, buffers, given.threads]);
        let (mut ids, mut scores) = (Vec::new(), Vec::new());
        for base in states {
            let x = f.load_as(I32, base, 0);
            ids.push(f.b.ins().icmp_imm_u(IntCC::Equal, x, 1));
            scores.push(f.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, x, 1));
        }
        let (ids, scores) = (f.any(&ids), f.any(&scores));
        refuse(f, ids, Status::IndexRange);
        refuse(f, scores, Status::Score);
        let fine = f.b.ins().iconst(I32, Status::Ok as i64);
        f.give(fine);
        Ok(())
    })
}

/// True if a size lies outside its range, or is not the one that follows from others.
fn check_sizes(f: &mut Body<'_>, p: &Program, sizes: &[Value]) -> Result<Value, Bug> {
    let mut outside = Vec::new();
    for (s, formula) in p.formulas() {
        let whole = |n: i128| i64::try_from(n).map_err(|_| bug("a size that does not fit"));
        let size = |s: &SymId| sizes.get(s.0 as usize).copied().ok_or_else(|| bug("an unknown free axis"));
        let most = |s: &SymId| p.syms().get(s.0 as usize).map_or(0, |y| i128::from(y.hi));
        // Within the ranges nothing wraps.
        whole(
            formula.terms.iter().map(|(c, s)| i128::from(*c).abs() * most(s)).sum::<i128>()
                + i128::from(formula.add).abs(),
        )?;
        let mut n = f.int(formula.add);
        for (c, s) in &formula.terms {
            let by = size(s)?;
            let part = f.b.ins().imul_imm_s(by, *c);
            n = f.b.ins().iadd(n, part);
        }
        let zero = f.int(0);
        let n = f.b.ins().smax(n, zero);
        let div = f.int(whole(i128::from(formula.div))?);
        let n = f.b.ins().udiv(n, div);
        let own = size(s)?;
        outside.push(f.compare(IntCC::NotEqual, n, own));
    }
    for (s, n) in p.syms().iter().zip(sizes) {
        let end = |n: u64| i64::try_from(n).map_err(|_| bug("a range that does not fit"));
        outside.push(f.b.ins().icmp_imm_s(IntCC::SignedLessThan, *n, end(s.lo)?));
        outside.push(f.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, *n, end(s.hi)?));
    }
    Ok(f.any(&outside))
}

/// Adds `NAME` and `NAME_workspace_bytes` for the programs of a function, one for each instruction set.
pub(super) fn function(
    m: &mut Maker,
    c: &Common<'_>,
    name: &str,
    programs: &[(Isa, &Program, Vec<FuncId>)],
) -> Result<(), Bug> {
    let (mut runs, mut sizes) = (Vec::new(), Vec::new());
    for (isa, p, kernels) in programs {
        let own = format!("{name}__{}", isa.name());
        runs.push((*isa, variant(m, c, &own, p, kernels)?));
        sizes.push((*isa, workspace(m, &own, p)?));
    }
    let (_, p, _) = programs.first().ok_or_else(|| bug("a function without a program"))?;
    m.function(name, Linkage::Export, &vec![I64; parameters(p)], Some(I32), |f, all| {
        let mut all = all.to_vec();
        if let (Some(data), Some(w)) = (c.embedded, all.first_mut()) {
            let own = f.address_of(data);
            let null = f.b.ins().icmp_imm_u(IntCC::Equal, *w, 0);
            *w = f.b.ins().select(null, own, *w);
        }
        let given = split(p, &all)?;
        let has_weights = !c.weights.places.is_empty();
        let pointers: Vec<(Value, u64)> = (p.inputs().iter().zip(given.inputs))
            .chain(p.outputs().iter().zip(given.outputs))
            .map(|(port, x)| (*x, spc_kernel::templates::element_bytes(port.dtype)))
            .chain(has_weights.then_some((given.weights, ALIGN as u64)))
            .collect();
        let nulls: Vec<Value> = pointers.iter().map(|(x, _)| f.b.ins().icmp_imm_u(IntCC::Equal, *x, 0)).collect();
        let null = f.any(&nulls);
        refuse(f, null, Status::Null);
        let mut crooked = Vec::new();
        for (x, n) in pointers.iter().filter(|(_, n)| *n > 1) {
            let low = f.b.ins().band_imm_u(*x, *n as i64 - 1);
            crooked.push(f.b.ins().icmp_imm_u(IntCC::NotEqual, low, 0));
        }
        let crooked = f.any(&crooked);
        refuse(f, crooked, Status::Alignment);
        let outside = check_sizes(f, p, given.sizes)?;
        refuse(f, outside, Status::Size);
        if has_weights {
            let other = not_ours(f, c.weights, given.weights);
            refuse(f, other, Status::Weights);
        }
        forward(f, &c.level, &runs, &all)
    })?;
    m.function(
        &format!("{name}_workspace_bytes"),
        Linkage::Export,
        &vec![I64; p.syms().len()],
        Some(I64),
        |f, args| {
            let outside = check_sizes(f, p, args)?;
            f.when(outside, |f| {
                let zero = f.int(0);
                f.give(zero);
                true
            });
            forward(f, &c.level, &sizes, args)
        },
    )?;
    Ok(())
}

/// True if the header at an address is not that of these weights.
fn not_ours(f: &mut Body<'_>, w: &Weights, at: Value) -> Value {
    let words = [MAGIC, VERSION, w.bytes.len() as u64, w.places.len() as u64, w.hash[0], w.hash[1]];
    let mut wrong = Vec::new();
    for (i, word) in words.into_iter().enumerate() {
        let x = f.load(at, 8 * i as i32);
        let want = f.int(word as i64);
        wrong.push(f.compare(IntCC::NotEqual, x, want));
    }
    f.any(&wrong)
}

/// Adds `PREFIX_check_weights(weights, bytes)`, which reads the whole block.
pub(super) fn check_weights(m: &mut Maker, c: &Common<'_>) -> Result<(), Bug> {
    let name = format!("{}_check_weights", c.prefix);
    m.function(&name, Linkage::Export, &[I64, I64], Some(I32), |f, args| {
        let (at, bytes) = (args[0], args[1]);
        let null = f.b.ins().icmp_imm_u(IntCC::Equal, at, 0);
        refuse(f, null, Status::Null);
        let low = f.b.ins().band_imm_u(at, ALIGN as i64 - 1);
        let crooked = f.b.ins().icmp_imm_u(IntCC::NotEqual, low, 0);
        refuse(f, crooked, Status::Alignment);
        let total = f.int(c.weights.bytes.len() as i64);
        let other = f.compare(IntCC::NotEqual, bytes, total);
        refuse(f, other, Status::Weights);
        let other = not_ours(f, c.weights, at);
        refuse(f, other, Status::Weights);
        let sums = f.stack(32);
        let factors = FACTORS.map(|x| f.int(x as i64));
        for (i, x) in factors.iter().enumerate() {
            f.store(*x, sums, 8 * i as i32);
        }
        let rounds = f.int(((c.weights.bytes.len() - HEADER_BYTES) / 32) as i64);
        let first = f.b.ins().iadd_imm_s(at, HEADER_BYTES as i64);
        f.repeat(rounds, |f, i| {
            let offset = f.b.ins().ishl_imm_u(i, 5);
            let p = f.b.ins().iadd(first, offset);
            for (i, factor) in factors.iter().enumerate() {
                let place = 8 * i as i32;
                let (word, sum) = (f.load(p, place), f.load(sums, place));
                let x = f.b.ins().bxor(sum, word);
                let x = f.b.ins().imul(x, *factor);
                let x = f.b.ins().rotl_imm_u(x, i64::from(TURN));
                f.store(x, sums, place);
            }
        });
        let mut wrong = Vec::new();
        for (k, want) in [(0, c.weights.hash[0]), (2, c.weights.hash[1])] {
            let (a, b) = (f.load(sums, 8 * k), f.load(sums, 8 * k + 8));
            let a = f.b.ins().imul(a, factors[k as usize]);
            let sum = f.b.ins().iadd(a, b);
            let want = f.int(want as i64);
            wrong.push(f.compare(IntCC::NotEqual, sum, want));
        }
        let wrong = f.any(&wrong);
        refuse(f, wrong, Status::Weights);
        let fine = f.b.ins().iconst(I32, Status::Ok as i64);
        f.give(fine);
        Ok(())
    })?;
    Ok(())
}

/// Adds `spc_abi_version`, which several objects of one program may hold.
pub(super) fn version(m: &mut Maker) -> Result<(), Bug> {
    m.function("spc_abi_version", Linkage::Preemptible, &[], Some(I32), |f, _| {
        let x = f.b.ins().iconst(I32, i64::from(super::ABI_VERSION));
        f.give(x);
        Ok(())
    })?;
    Ok(())
}
