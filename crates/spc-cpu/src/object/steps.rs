//! Running the steps of a program, from tables: one function for all programs of an object.
//!
//! A call keeps a list of words: the addresses of the program's buffers, then their sizes in bytes, then numbers. A step
//! names the words that are its kernel's arguments.
use super::module::{Body, Maker, signature};
use crate::exec::SHARED_FROM;
use crate::jit::PARTS_PER_THREAD;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_module::{DataId, FuncId};
use spc_base::Bug;

/// A step, by numbers of words.
pub(super) struct StepRow {
    pub kernel: FuncId,
    pub args: Vec<u32>,
    /// Positions of the ends of the range among the arguments.
    pub lo: u32,
    pub hi: u32,
    /// The end of the whole range.
    pub range: u32,
    /// Address of the numbers of stored elements before each index of the range, if there are such.
    pub stored: Option<u32>,
}

/// Bytes of a step in the table: kernel, then first argument, arguments, lo, hi, range, stored.
const ROW: usize = 32;
const NONE: u32 = u32::MAX;

/// Bytes of the description of a step that is shared out: kernel, arguments, their number, lo, hi, range, parts, stored.
const JOB: usize = 64;

/// The tables of a program: steps, and the words of their arguments.
pub(super) struct Tables {
    pub steps: DataId,
    pub words: DataId,
    pub count: usize,
}

pub(super) fn tables(m: &mut Maker, name: &str, rows: &[StepRow]) -> Result<Tables, Bug> {
    let (mut steps, mut words, mut kernels) = (Vec::new(), Vec::new(), Vec::new());
    for r in rows {
        kernels.push((steps.len(), r.kernel));
        steps.extend([0; 8]);
        let numbers = [(words.len() / 4) as u32, r.args.len() as u32, r.lo, r.hi, r.range, r.stored.unwrap_or(NONE)];
        steps.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        words.extend(r.args.iter().flat_map(|n| n.to_le_bytes()));
    }
    words.extend([0; 4]);
    let count = rows.len();
    steps.resize(steps.len().max(ROW), 0);
    let steps = m.data(&format!("{name}_steps"), steps, &kernels)?;
    let words = m.data(&format!("{name}_words"), words, &[])?;
    Ok(Tables { steps, words, count })
}

fn unsigned(f: &mut Body<'_>, at: Value, offset: i32) -> Value {
    let x = f.load_as(I32, at, offset);
    f.b.ins().uextend(I64, x)
}

fn element(f: &mut Body<'_>, base: Value, index: Value, shift: i64) -> Value {
    let at = f.b.ins().ishl_imm_u(index, shift);
    f.b.ins().iadd(base, at)
}

/// `void cut(job, i)`: where part `i` of a job begins. Parts hold about as many stored elements each, and each index of the
/// range counts for one more.
fn cut(m: &mut Maker) -> Result<FuncId, Bug> {
    m.local("spc_object_cut", &[I64, I64], Some(I64), |f, args| {
        let (job, i) = (args[0], args[1]);
        let (n, parts, stored) = (f.load(job, 40), f.load(job, 48), f.load(job, 56));
        let end = f.compare(IntCC::SignedGreaterThanOrEqual, i, parts);
        f.when(end, |f| {
            f.give(n);
            true
        });
        let even = f.b.ins().icmp_imm_u(IntCC::Equal, stored, 0);
        f.when(even, |f| {
            let x = f.b.ins().imul(n, i);
            let x = f.b.ins().udiv(x, parts);
            f.give(x);
            true
        });
        let weight = |f: &mut Body<'_>, r: Value| {
            let at = element(f, stored, r, 2);
            let before = unsigned(f, at, 0);
            f.b.ins().iadd(before, r)
        };
        let all = weight(f, n);
        let want = f.b.ins().imul(all, i);
        let want = f.b.ins().udiv(want, parts);
        // The first index with at least that much before it.
        let (head, inside, exit) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
        let (from, to) = (f.b.append_block_param(head, I64), f.b.append_block_param(head, I64));
        let zero = f.int(0);
        f.b.ins().jump(head, &[zero.into(), n.into()]);
        f.b.switch_to_block(head);
        let more = f.compare(IntCC::SignedLessThan, from, to);
        f.b.ins().brif(more, inside, &[], exit, &[]);
        f.b.switch_to_block(inside);
        let sum = f.b.ins().iadd(from, to);
        let middle = f.b.ins().sshr_imm_u(sum, 1);
        let before = weight(f, middle);
        let less = f.compare(IntCC::SignedLessThan, before, want);
        let after = f.b.ins().iadd_imm_s(middle, 1);
        let from_next = f.b.ins().select(less, after, from);
        let to_next = f.b.ins().select(less, to, middle);
        f.b.ins().jump(head, &[from_next.into(), to_next.into()]);
        f.b.switch_to_block(exit);
        f.give(from);
        Ok(())
    })
}

/// `void task(job, part)`: one part of a step.
fn task(m: &mut Maker, most_args: usize) -> Result<FuncId, Bug> {
    let cut = cut(m)?;
    let kernel = signature(m, &[I64], None);
    m.local("spc_object_task", &[I64, I64], None, |f, params| {
        let (job, part) = (params[0], params[1]);
        let (from, n) = (f.load(job, 8), f.load(job, 16));
        let args = f.stack(8 * most_args);
        f.repeat(n, |f, i| {
            let (a, b) = (element(f, from, i, 3), element(f, args, i, 3));
            let x = f.load(a, 0);
            f.store(x, b, 0);
        });
        let next = f.b.ins().iadd_imm_s(part, 1);
        let missing = || Bug::new("object: a cut without a value");
        for (position, i) in [(24, part), (32, next)] {
            let x = f.call(cut, &[job, i]).ok_or_else(missing)?;
            let position = f.load(job, position);
            let at = element(f, args, position, 3);
            f.store(x, at, 0);
        }
        let pointer = f.load(job, 0);
        f.call_pointer(kernel, pointer, &[args]);
        f.b.ins().return_(&[]);
        Ok(())
    })
}

/// `void run(words, steps, count, argument_words, buffers, threads)`: all steps in order.
pub(super) fn runner(m: &mut Maker, most_args: usize) -> Result<FuncId, Bug> {
    let task = task(m, most_args)?;
    let kernel = signature(m, &[I64], None);
    let share = signature(m, &[I64, I64, I64, I64], None);
    m.local("spc_object_run", &[I64; 6], None, |f, params| {
        let [words, steps, count, lists, buffers, threads] = params else {
            return Err(Bug::new("object: parameters of the runner"));
        };
        let (args, job, touched) = (f.stack(8 * most_args), f.stack(JOB), f.stack(8));
        let sizes = element(f, *words, *buffers, 3);
        f.repeat(*count, |f, s| {
            let row = element(f, *steps, s, ROW.trailing_zeros().into());
            let word = |f: &mut Body<'_>, k: Value| {
                let at = element(f, *words, k, 3);
                f.load(at, 0)
            };
            let first = unsigned(f, row, 8);
            let list = element(f, *lists, first, 2);
            let n = unsigned(f, row, 12);
            let zero = f.int(0);
            f.store(zero, touched, 0);
            f.repeat(n, |f, i| {
                let at = element(f, list, i, 2);
                let k = unsigned(f, at, 0);
                let x = word(f, k);
                let to = element(f, args, i, 3);
                f.store(x, to, 0);
                let is_buffer = f.compare(IntCC::UnsignedLessThan, k, *buffers);
                f.when(is_buffer, |f| {
                    let at = element(f, sizes, k, 3);
                    let (size, sum) = (f.load(at, 0), f.load(touched, 0));
                    let sum = f.b.ins().iadd(sum, size);
                    f.store(sum, touched, 0);
                    false
                });
            });
            let (lo, hi, range) = (unsigned(f, row, 16), unsigned(f, row, 20), unsigned(f, row, 24));
            let end = word(f, range);
            for (position, x) in [(lo, zero), (hi, end)] {
                let at = element(f, args, position, 3);
                f.store(x, at, 0);
            }
            let pointer = f.load(row, 0);
            let (alone, next) = (f.b.create_block(), f.b.create_block());
            let (given, several, large) = (f.b.create_block(), f.b.create_block(), f.b.create_block());
            f.b.ins().brif(*threads, given, &[], alone, &[]);
            f.b.switch_to_block(given);
            let workers = f.load(*threads, 16);
            let c = f.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, workers, 1);
            f.b.ins().brif(c, several, &[], alone, &[]);
            f.b.switch_to_block(several);
            let sum = f.load(touched, 0);
            let c = f.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, sum, SHARED_FROM as i64);
            f.b.ins().brif(c, large, &[], alone, &[]);
            f.b.switch_to_block(large);
            // Numbers of threads that no machine has would overflow.
            let most = f.int(1024);
            let workers = f.b.ins().umin(workers, most);
            let parts = f.b.ins().imul_imm_u(workers, PARTS_PER_THREAD as i64);
            let parts = f.b.ins().smin(parts, end);
            let k = unsigned(f, row, 28);
            let none = f.b.ins().icmp_imm_u(IntCC::Equal, k, i64::from(NONE));
            let k = f.b.ins().select(none, zero, k);
            let found = word(f, k);
            let stored = f.b.ins().select(none, zero, found);
            for (i, x) in [pointer, args, n, lo, hi, end, parts, stored].into_iter().enumerate() {
                f.store(x, job, 8 * i as i32);
            }
            let (run, context) = (f.load(*threads, 0), f.load(*threads, 8));
            let callee = f.callee(task);
            let callee = f.b.ins().func_addr(I64, callee);
            f.call_pointer(share, run, &[context, parts, callee, job]);
            f.b.ins().jump(next, &[]);
            f.b.switch_to_block(alone);
            f.call_pointer(kernel.clone(), pointer, &[args]);
            f.b.ins().jump(next, &[]);
            f.b.switch_to_block(next);
        });
        f.b.ins().return_(&[]);
        Ok(())
    })
}
