//! Runs scheduled programs as machine code.
#![allow(unsafe_code)]
use crate::buffer::AlignedBuf;
use crate::host::Isa;
use crate::jit::{JitModule, Split, compile_wide};
use crate::pool::Pool;
use crate::share::{Threads, counts};
use spc_base::Bug;
use spc_ir::NodeId;
use spc_kernel::ir::interp::Arg;
use spc_kernel::{Fault, Program, Role, Slice, SliceMut, Sources, Tensor, arguments, constant_bytes};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A program, its machine code, its weights and its threads. Calls may come from several threads; each step of each call
/// uses all threads of the executor, one step at a time.
pub struct Executor {
    program: Program,
    module: JitModule,
    /// Weights by buffer; other buffers belong to a call.
    constants: Vec<Option<AlignedBuf>>,
    pool: Pool,
    /// For steps that are too small to share.
    alone: Pool,
    /// Buffers of finished calls, kept for the next ones.
    spare: Mutex<Vec<Vec<AlignedBuf>>>,
}

/// Calls whose buffers are kept.
const SPARE: usize = 2;
/// A step whose buffers hold fewer bytes than this runs on the calling thread: waking others would take longer.
pub(crate) const SHARED_FROM: usize = 64 << 10;

/// Arrays of the caller's at such addresses are read and written where they lie; others are copied.
const IN_PLACE: usize = 16;

type Outputs = Vec<(String, Tensor)>;
/// A result is `None` where the caller has it already.
type Left = Vec<(String, Option<Tensor>)>;
/// What belongs to one call.
struct Call<'a, 'b> {
    sizes: &'a [u64],
    inputs: &'a [Slice<'a>],
    /// Memory for results, by the position of an output.
    into: &'a mut [Option<SliceMut<'b>>],
    now: Option<Clock<'a>>,
    threads: &'a dyn Threads,
}
/// Tells the time since some fixed moment.
type Clock<'a> = &'a dyn Fn() -> Duration;

impl Executor {
    /// Compiles a program, scheduled for the lanes of `isa`, and copies its weights. Kernels that the instruction set's
    /// executor does not take go to Cranelift. `threads` of 0 or 1 runs on the calling thread.
    pub fn new(program: Program, sources: &dyn Sources, threads: usize, isa: Isa) -> Result<Executor, Bug> {
        // Debug builds prove every register allocation.
        let module = compile_wide(program.kernels(), isa, cfg!(debug_assertions))?;
        let mut constants = Vec::with_capacity(program.buffers().len());
        for b in program.buffers() {
            let bytes = constant_bytes(&program, b, sources)?;
            constants.push(bytes.map(|b| AlignedBuf::from_bytes(&b)));
        }
        let (pool, alone) = (Pool::new(threads), Pool::new(1));
        Ok(Executor { program, module, constants, pool, alone, spare: Mutex::new(Vec::new()) })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What compiled each kernel of the program.
    pub fn isas(&self) -> Vec<Isa> {
        (0..self.module.len()).filter_map(|i| self.module.isa(i)).collect()
    }

    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Bytes of the weights.
    pub fn constant_bytes(&self) -> usize {
        self.constants.iter().flatten().map(AlignedBuf::len).sum()
    }

    /// The outputs, in order, for sizes of the free axes and inputs in the order of [`Program::inputs`].
    pub fn call(&self, sizes: &[u64], inputs: &[Slice<'_>]) -> Result<Outputs, Fault> {
        self.call_on(sizes, inputs, &self.pool)
    }

    /// As [`Executor::call`], with large steps on threads of the caller. Any number of them gives the same bits.
    pub fn call_on(&self, sizes: &[u64], inputs: &[Slice<'_>], threads: &dyn Threads) -> Result<Outputs, Fault> {
        let (out, _) = self.run(Call { sizes, inputs, into: &mut [], now: None, threads })?;
        all(out)
    }

    /// As [`Executor::call`], with results written into memory of the caller's where there is any: `into` has one place for each
    /// of [`Program::outputs`], of its type and number of elements. Those are not among the results. After a fault what they
    /// contain is not defined.
    pub fn call_into(
        &self,
        sizes: &[u64],
        inputs: &[Slice<'_>],
        into: &mut [Option<SliceMut<'_>>],
    ) -> Result<Vec<(String, Option<Tensor>)>, Fault> {
        let ports = self.program.outputs();
        let fits = |(i, s): (usize, &mut Option<SliceMut<'_>>)| match s {
            None => true,
            Some(s) => ports.get(i).is_some_and(|p| {
                let n = p.dims.iter().try_fold(4u64, |n, d| n.checked_mul(d.bind(sizes)?));
                p.dtype == s.dtype() && n == u64::try_from(s.place().1).ok()
            }),
        };
        if !into.iter_mut().enumerate().all(fits) {
            return Err(Bug::new("memory for a result has another type or size").into());
        }
        Ok(self.run(Call { sizes, inputs, into, now: None, threads: &self.pool })?.0)
    }

    /// As [`Executor::call`], with the time of each step.
    pub fn call_timed(
        &self,
        sizes: &[u64],
        inputs: &[Slice<'_>],
        now: Clock<'_>,
    ) -> Result<(Outputs, Vec<(NodeId, Duration)>), Fault> {
        let (out, times) = self.run(Call { sizes, inputs, into: &mut [], now: Some(now), threads: &self.pool })?;
        Ok((all(out)?, times))
    }

    fn run(&self, mut call: Call<'_, '_>) -> Result<(Left, Vec<(NodeId, Duration)>), Fault> {
        self.program.check_call(call.sizes, call.inputs)?;
        let mut own = self.lock().pop().unwrap_or_default();
        let result = self.prepare(&mut own, &mut call).and_then(|()| self.steps(&mut own, &mut call));
        let mut spare = self.lock();
        if spare.len() < SPARE {
            spare.push(own);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<AlignedBuf>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every buffer that belongs to the call its size, and fills inputs and status words.
    fn prepare(&self, own: &mut Vec<AlignedBuf>, call: &mut Call<'_, '_>) -> Result<(), Fault> {
        own.resize_with(self.constants.len(), AlignedBuf::default);
        for ((b, constant), buf) in self.program.buffers().iter().zip(&self.constants).zip(own) {
            if constant.is_some() {
                continue;
            }
            let n = b.size(call.sizes).and_then(|n| usize::try_from(n).ok()).ok_or(Fault::Memory)?;
            if call.in_place(&b.role, n).is_some() {
                continue;
            }
            buf.try_resize(n).map_err(|_| Fault::Memory)?;
            match b.role {
                Role::Input(i) => {
                    let x = call.inputs.get(i).ok_or_else(|| Bug::new("an input is missing"))?;
                    x.write(buf.bytes_mut());
                }
                Role::Status(_) => buf.bytes_mut().fill(0),
                _ => {}
            }
        }
        Ok(())
    }

    fn steps(&self, own: &mut [AlignedBuf], call: &mut Call<'_, '_>) -> Result<(Left, Vec<(NodeId, Duration)>), Fault> {
        let (sizes, now, threads) = (call.sizes, call.now, call.threads);
        // Address and length of each buffer.
        let mut bases: Vec<(u64, usize)> = Vec::with_capacity(own.len());
        for ((b, constant), buf) in self.program.buffers().iter().zip(&self.constants).zip(own.iter_mut()) {
            let n = || b.size(sizes).and_then(|n| usize::try_from(n).ok());
            bases.push(match constant {
                Some(c) => (c.bytes().as_ptr() as u64, c.len()),
                None => match n().and_then(|n| Some((call.in_place(&b.role, n)?, n))) {
                    Some((p, n)) => (p as u64, n),
                    None => (buf.bytes_mut().as_mut_ptr() as u64, buf.len()),
                },
            });
        }
        let mut times = Vec::new();
        for s in self.program.steps() {
            let begin = now.map(|now| now());
            let (args, lo_param, hi_param, hi) = arguments(s, sizes)?;
            let mut words = Vec::with_capacity(args.len());
            let mut touched = 0usize;
            for a in args {
                words.push(match a {
                    Arg::Int(i) => i as u64,
                    Arg::Ptr { buffer, offset } => {
                        let (base, len) = bases.get(buffer).ok_or_else(|| Bug::new("a step without a buffer"))?;
                        touched = touched.saturating_add(*len);
                        base + offset as u64
                    }
                });
            }
            let pool: &dyn Threads = if touched < SHARED_FROM { &self.alone } else { threads };
            let counts = counts(&self.program, s).and_then(|b| self.constants.get(b)?.as_ref()).map(AlignedBuf::u32s);
            let split = Split { lo_param, hi_param, lo: 0, hi };
            // SAFETY: the program comes from `schedule`, so its kernels stay inside buffers of the sizes that `prepare` gave
            // them, given weights that `constant_bytes` checked; a step's result shares no buffer with its operands;
            // `own` is borrowed by this call alone; inputs that are read in place have the size of their buffer and are written by
            // no kernel; and results that are written in place have the size of theirs and are borrowed exclusively.
            unsafe { self.module.run_split_by(s.kernel, &words, split, counts, pool)? };
            if let (Some(begin), Some(now)) = (begin, now) {
                times.push((s.node, now().saturating_sub(begin)));
            }
        }
        for (b, buf) in self.program.buffers().iter().zip(own.iter()) {
            if let Role::Status(node) = b.role
                && let Some(fault) = Fault::of_status(node, buf.bytes())
            {
                return Err(fault);
            }
        }
        let mut outputs = Vec::new();
        for (i, port) in self.program.outputs().iter().enumerate() {
            let role = self.program.buffers().get(port.buffer).map(|b| &b.role);
            let (role, buf) = role.zip(own.get(port.buffer)).ok_or_else(|| Bug::new("an output without a buffer"))?;
            let n = bases.get(port.buffer).map_or(0, |b| b.1);
            let there = *role == Role::Output(i) && call.in_place(role, n).is_some();
            let value = match call.into.get_mut(i).and_then(Option::as_mut) {
                Some(to) => {
                    if !there {
                        to.read(buf.bytes());
                    }
                    None
                }
                None => Some(Tensor::read(port.dtype, buf.bytes())),
            };
            outputs.push((port.name.clone(), value));
        }
        Ok((outputs, times))
    }
}

/// The results of a call whose caller has no memory for them.
fn all(left: Left) -> Result<Outputs, Fault> {
    let value = |(n, v): (String, Option<Tensor>)| Some((n, v?));
    left.into_iter().map(value).collect::<Option<_>>().ok_or_else(|| Bug::new("a result is missing").into())
}

impl Call<'_, '_> {
    /// The caller's memory of an input or a result, where kernels may use it instead of a buffer of their own: it has as many bytes
    /// as the buffer, and none of its elements lies across two words.
    fn in_place(&mut self, role: &Role, bytes: usize) -> Option<*const u8> {
        let (p, n) = match role {
            Role::Input(i) => self.inputs.get(*i)?.place(),
            Role::Output(i) => {
                let (p, n) = self.into.get_mut(*i)?.as_mut()?.place();
                (p.cast_const(), n)
            }
            _ => return None,
        };
        (n == bytes && n > 0 && p.addr().is_multiple_of(IN_PLACE)).then_some(p)
    }
}
