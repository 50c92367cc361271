//! The measured roofline of this machine.
use crate::pairs::Clock;
use crate::stats::quantile;
use serde::Serialize;
use spc_base::Bug;
use spc_cpu::{Isa, Limits};

/// Read rate of data that together take `bytes` bytes a thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Read {
    pub bytes: u64,
    pub gb_per_s: f64,
}

/// What the core reaches at most, all threads together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roofline {
    /// f32 multiply-adds on registers, 2 operations each.
    pub gflop_per_s: f64,
    /// Smallest first.
    pub reads: Vec<Read>,
}

/// Sizes that are read: within the first, the second and the third cache of common machines, and beyond all.
const SIZES: [usize; 9] = [16 << 10, 256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 64 << 20, 256 << 20];

/// Samples of each.
const SAMPLES: usize = 9;

/// The loops, kept to be run beside the kernels.
pub struct Machine {
    pub limits: Limits,
    pub roofline: Roofline,
}

/// Which limit binds a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    Compute,
    /// Reading at the rate of data of so many bytes.
    Read(u64),
}

impl Roofline {
    /// The rate of the smallest measured size that holds `bytes`, of the largest if none does.
    pub fn read(&self, bytes: u64) -> Read {
        let fits = self.reads.iter().find(|r| bytes <= r.bytes).or(self.reads.last());
        fits.copied().unwrap_or(Read { bytes, gb_per_s: f64::INFINITY })
    }

    /// Least seconds for `flops` operations that read `bytes`, which lie where data of `bytes` lies; and what binds.
    pub fn bound(&self, flops: f64, bytes: u64) -> (f64, Bound) {
        let read = self.read(bytes);
        let (compute, memory) = (flops / self.gflop_per_s / 1e9, bytes as f64 / read.gb_per_s / 1e9);
        if compute >= memory { (compute, Bound::Compute) } else { (memory, Bound::Read(read.bytes)) }
    }
}

impl Machine {
    /// Measures the limits: the best tenth of a few samples of each, because others only ever make a sample slower.
    pub fn measure(isa: Isa, threads: usize, now: Clock<'_>, heard: &dyn Fn(u64, u64)) -> Result<Machine, Bug> {
        let most = SIZES.last().copied().unwrap_or(0);
        let limits = Limits::new(isa, threads, most)?;
        let total = SIZES.len() as u64 + 1;
        let best = |rates: &[f64]| quantile(rates, 0.9);
        heard(0, total);
        let mut m = Machine { limits, roofline: Roofline { gflop_per_s: 0.0, reads: Vec::new() } };
        let rates = (0..=SAMPLES).map(|_| m.multiply_adds(100_000, now)).collect::<Result<Vec<_>, _>>()?;
        m.roofline.gflop_per_s = best(&rates[1..]);
        for (i, bytes) in SIZES.into_iter().enumerate() {
            heard(i as u64 + 1, total);
            let rates = (0..=SAMPLES).map(|_| m.read(bytes as u64, now)).collect::<Result<Vec<_>, _>>()?;
            m.roofline.reads.push(Read { bytes: bytes as u64, gb_per_s: best(&rates[1..]) });
        }
        heard(total, total);
        Ok(m)
    }

    /// One sample of the multiply-add rate in GFLOP/s.
    fn multiply_adds(&self, rounds: u64, now: Clock<'_>) -> Result<f64, Bug> {
        let begin = now();
        let done = self.limits.multiply_adds(rounds)?;
        Ok(2.0 * done as f64 / now().saturating_sub(begin).as_secs_f64().max(1e-9) / 1e9)
    }

    /// One sample of the rate of reading data of this size in GB/s.
    fn read(&self, bytes: u64, now: Clock<'_>) -> Result<f64, Bug> {
        let times = ((4 << 20) / bytes.max(1)).max(1);
        let begin = now();
        let done = self.limits.read(usize::try_from(bytes).unwrap_or(usize::MAX), times)?;
        Ok(done as f64 / now().saturating_sub(begin).as_secs_f64().max(1e-9) / 1e9)
    }

    /// One sample of what binds, as a share of the rate in the roofline: about 1 while nobody disturbs, less if so.
    pub fn now(&self, bound: Bound, seconds: f64, now: Clock<'_>) -> Result<f64, Bug> {
        match bound {
            Bound::Compute => {
                let one = self.limits.multiply_adds(1)?.max(1) as f64;
                let rounds = (self.roofline.gflop_per_s * 1e9 / 2.0 * seconds / one).clamp(100.0, 1e7) as u64;
                Ok(self.multiply_adds(rounds, now)? / self.roofline.gflop_per_s)
            }
            Bound::Read(bytes) => Ok(self.read(bytes, now)? / self.roofline.read(bytes).gb_per_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_limit_binds() {
        let read = |bytes, gb_per_s| Read { bytes, gb_per_s };
        let r = Roofline {
            gflop_per_s: 100.0,
            reads: vec![read(1 << 10, 200.0), read(1 << 20, 50.0), read(1 << 30, 10.0)],
        };
        assert_eq!(r.bound(1e9, 1000), (0.01, Bound::Compute));
        let (seconds, bound) = r.bound(1.0, 1 << 20);
        assert!((seconds / ((1 << 20) as f64 / 50e9) - 1.0).abs() < 1e-9 && bound == Bound::Read(1 << 20));
        assert_eq!(r.bound(1.0, (1 << 20) + 1).1, Bound::Read(1 << 30));
        // Beyond all that was measured, the last rate holds.
        let (seconds, bound) = r.bound(0.0, 1 << 40);
        assert!((seconds / ((1u64 << 40) as f64 / 10e9) - 1.0).abs() < 1e-9 && bound == Bound::Read(1 << 30));
        assert_eq!(r.bound(0.0, 0).0, 0.0);
    }

    #[test]
    fn a_measured_machine_computes_and_reads() {
        let start = std::time::Instant::now();
        let m = Machine::measure(Isa::native(), 1, &|| start.elapsed(), &|_, _| {}).unwrap();
        let r = &m.roofline;
        assert!(r.gflop_per_s > 0.1 && r.reads.len() == SIZES.len(), "{r:?}");
        assert!(r.reads.iter().all(|r| r.gb_per_s > 0.01));
        for bound in [Bound::Compute, Bound::Read(1 << 20)] {
            assert!(m.now(bound, 1e-4, &|| start.elapsed()).unwrap() > 0.0);
        }
    }
}
