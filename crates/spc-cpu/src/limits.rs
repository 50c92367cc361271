//! The limits of this machine, as its own code reaches them: multiply-adds on registers, and reads of memory.
#![allow(unsafe_code)]
use crate::buffer::AlignedBuf;
use crate::host::Isa;
use crate::jit::{JitModule, compile_wide};
use crate::pool::Pool;
use spc_base::Bug;
use spc_kernel::templates::limits::{READ_ROUND, fma_peak, fma_peak_round, read_stream};
use std::sync::{Mutex, PoisonError};

/// What one thread works on.
struct Lane {
    memory: AlignedBuf,
    /// Written by the loops, so that their work is not for nothing.
    sink: AlignedBuf,
}

/// Loops that do nothing but the limiting work, for one instruction set and a number of threads.
pub struct Limits {
    module: JitModule,
    isa: Isa,
    pool: Pool,
    lanes: Vec<Mutex<Lane>>,
    inputs: AlignedBuf,
}

const FMA: usize = 0;
const READ: usize = 1;

impl Limits {
    /// Loops for `isa`; each thread owns `bytes` bytes (at least one round of reads) to read from.
    pub fn new(isa: Isa, threads: usize, bytes: usize) -> Result<Limits, Bug> {
        let lanes = isa.lanes();
        let module = compile_wide(&[fma_peak(lanes)?, read_stream(lanes)?], isa, false)?;
        let threads = threads.max(1);
        let mut owned = Vec::with_capacity(threads);
        for _ in 0..threads {
            let mut memory = AlignedBuf::default();
            let bytes = bytes.max(READ_ROUND).next_multiple_of(READ_ROUND);
            memory.try_resize(bytes).map_err(|_| Bug::new("no memory to measure the speed of memory"))?;
            memory.bytes_mut().fill(0);
            owned.push(Mutex::new(Lane { memory, sink: AlignedBuf::zeroed(4 * lanes) }));
        }
        let inputs = AlignedBuf::from_f32(&vec![1.0; 2 * lanes]);
        Ok(Limits { module, isa, pool: Pool::new(threads), lanes: owned, inputs })
    }

    /// Runs `rounds` rounds of multiply-adds on every thread; how many multiply-adds that were, of all lanes together.
    pub fn multiply_adds(&self, rounds: u64) -> Result<u64, Bug> {
        self.each(&|lane| {
            let sink = lane.sink.bytes_mut().as_mut_ptr() as u64;
            let words = [self.inputs.bytes().as_ptr() as u64, sink, rounds];
            // SAFETY: the loop reads two vectors at the first address and writes one at the second; both are there.
            unsafe { self.module.call(FMA, &words) }
        })?;
        let round = fma_peak_round(self.isa.lanes()) as u64;
        Ok(rounds.saturating_mul(round).saturating_mul(self.lanes.len() as u64))
    }

    /// Every thread reads the first `bytes` bytes of its memory `times` times; how many bytes that were.
    pub fn read(&self, bytes: usize, times: u64) -> Result<u64, Bug> {
        let rounds = self.lanes.first().map_or(0, |l| {
            let l = l.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.min(l.memory.len()) / READ_ROUND
        });
        let rounds = rounds.max(1) as u64;
        self.each(&|lane| {
            let sink = lane.sink.bytes_mut().as_mut_ptr() as u64;
            let words = [lane.memory.bytes().as_ptr() as u64, sink, rounds];
            for _ in 0..times {
                // SAFETY: the loop reads `rounds` rounds, which the memory holds, and writes one vector.
                unsafe { self.module.call(READ, &words)? };
            }
            Ok(())
        })?;
        let done = rounds.saturating_mul(READ_ROUND as u64);
        Ok(done.saturating_mul(times).saturating_mul(self.lanes.len() as u64))
    }

    fn each(&self, work: &(dyn Fn(&mut Lane) -> Result<(), Bug> + Sync)) -> Result<(), Bug> {
        let failed = Mutex::new(None);
        self.pool.run(self.lanes.len(), &|i| {
            let Some(lane) = self.lanes.get(i) else { return };
            let result = work(&mut lane.lock().unwrap_or_else(PoisonError::into_inner));
            if let Err(e) = result {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_whatever_the_number_of_threads() {
        for isa in Isa::ALL.into_iter().filter(|i| i.is_available()) {
            for threads in [0usize, 1, 3] {
                let l = Limits::new(isa, threads, 1000).unwrap();
                let n = threads.max(1) as u64;
                assert_eq!(l.multiply_adds(10).unwrap(), 10 * n * fma_peak_round(isa.lanes()) as u64);
                // 1000 bytes are two rounds of 512; more than there are cannot be read.
                assert_eq!(l.read(1024, 3).unwrap(), 3 * 1024 * n);
                assert_eq!(l.read(usize::MAX, 1).unwrap(), 1024 * n);
                assert_eq!(l.read(0, 1).unwrap(), 512 * n);
            }
        }
    }
}
