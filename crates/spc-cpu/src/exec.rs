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
use spc_kernel::{Fault, Program, Role, Slice, Sources, Tensor, arguments, constant_bytes};
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

/// Inputs of the caller's at such addresses are read where they lie; others are copied first.
const IN_PLACE: usize = 16;

type Outputs = Vec<(String, Tensor)>;
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
        self.run(sizes, inputs, None, &self.pool).map(|(out, _)| out)
    }

    /// As [`Executor::call`], with large steps on threads of the caller. Any number of them gives the same bits.
    pub fn call_on(&self, sizes: &[u64], inputs: &[Slice<'_>], threads: &dyn Threads) -> Result<Outputs, Fault> {
        self.run(sizes, inputs, None, threads).map(|(out, _)| out)
    }

    /// As [`Executor::call`], with the time of each step.
    pub fn call_timed(
        &self,
        sizes: &[u64],
        inputs: &[Slice<'_>],
        now: Clock<'_>,
    ) -> Result<(Outputs, Vec<(NodeId, Duration)>), Fault> {
        self.run(sizes, inputs, Some(now), &self.pool)
    }

    fn run(
        &self,
        sizes: &[u64],
        inputs: &[Slice<'_>],
        now: Option<Clock<'_>>,
        threads: &dyn Threads,
    ) -> Result<(Outputs, Vec<(NodeId, Duration)>), Fault> {
        self.program.check_call(sizes, inputs)?;
        let mut own = self.lock().pop().unwrap_or_default();
        let result =
            self.prepare(&mut own, sizes, inputs).and_then(|()| self.steps(&mut own, sizes, inputs, now, threads));
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
    fn prepare(&self, own: &mut Vec<AlignedBuf>, sizes: &[u64], inputs: &[Slice<'_>]) -> Result<(), Fault> {
        own.resize_with(self.constants.len(), AlignedBuf::default);
        for ((b, constant), buf) in self.program.buffers().iter().zip(&self.constants).zip(own) {
            if constant.is_some() {
                continue;
            }
            let n = b.size(sizes).and_then(|n| usize::try_from(n).ok()).ok_or(Fault::Memory)?;
            if in_place(&b.role, n, inputs).is_some() {
                continue;
            }
            buf.try_resize(n).map_err(|_| Fault::Memory)?;
            match b.role {
                Role::Input(i) => {
                    let x = inputs.get(i).ok_or_else(|| Bug::new("an input is missing"))?;
                    x.write(buf.bytes_mut());
                }
                Role::Status(_) => buf.bytes_mut().fill(0),
                _ => {}
            }
        }
        Ok(())
    }

    fn steps(
        &self,
        own: &mut [AlignedBuf],
        sizes: &[u64],
        inputs: &[Slice<'_>],
        now: Option<Clock<'_>>,
        threads: &dyn Threads,
    ) -> Result<(Outputs, Vec<(NodeId, Duration)>), Fault> {
        // Address and length of each buffer.
        let mut bases: Vec<(u64, usize)> = Vec::with_capacity(own.len());
        for ((b, constant), buf) in self.program.buffers().iter().zip(&self.constants).zip(own.iter_mut()) {
            let n = || b.size(sizes).and_then(|n| usize::try_from(n).ok());
            bases.push(match constant {
                Some(c) => (c.bytes().as_ptr() as u64, c.len()),
                None => match n().and_then(|n| Some((in_place(&b.role, n, inputs)?, n))) {
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
            // `own` is borrowed by this call alone; and inputs that are read in place have the size of their buffer and are
            // written by no kernel.
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
        for port in self.program.outputs() {
            let buf = own.get(port.buffer).ok_or_else(|| Bug::new("an output without a buffer"))?;
            outputs.push((port.name.clone(), Tensor::read(port.dtype, buf.bytes())));
        }
        Ok((outputs, times))
    }
}

/// The caller's array of an input, where kernels may read it instead of a copy: it has as many bytes as the buffer, and none
/// of its elements lies across two words.
fn in_place(role: &Role, bytes: usize, inputs: &[Slice<'_>]) -> Option<*const u8> {
    let Role::Input(i) = role else { return None };
    let (p, n) = inputs.get(*i)?.place();
    (n == bytes && n > 0 && p.addr().is_multiple_of(IN_PLACE)).then_some(p)
}
