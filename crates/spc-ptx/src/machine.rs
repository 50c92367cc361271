//! A launch: blocks one after the other, warps in the order of the schedule.
use crate::warp::{Block, Warp};
use crate::{Counters, Kernel, Memory};
use std::fmt;

/// Address of the dynamic array of shared memory: not zero, so that a forgotten base is noticed.
pub(crate) const SHARED_BASE: u64 = 1024;
/// Most shared memory of a block on any device, rounded up.
const MAX_SHARED: u32 = 1 << 20;
/// Most instructions of warps in one launch.
const MAX_INSTRUCTIONS: u64 = 4_000_000_000;

/// The order of warps. Results of correct kernels do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// In turns of a few instructions.
    Forward,
    Backward,
    /// Each as far as it can.
    ForwardAhead,
    BackwardAhead,
    /// In turns of random length, in an order drawn from this seed.
    Shuffled(u64),
}

impl Schedule {
    /// Six to test with.
    pub const ALL: [Schedule; 6] = [
        Schedule::Forward,
        Schedule::Backward,
        Schedule::ForwardAhead,
        Schedule::BackwardAhead,
        Schedule::Shuffled(1),
        Schedule::Shuffled(2),
    ];
}

/// How a kernel is launched. Grids and blocks have one dimension.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    pub grid: u32,
    /// Threads of a block: a multiple of 32, at most 1024.
    pub block: u32,
    /// Bytes of the dynamic array of shared memory.
    pub shared_bytes: u32,
    /// One number for each parameter: an address, or the value.
    pub arguments: &'a [u64],
    pub schedule: Schedule,
}

/// Why a launch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kernel: String,
    /// Block and warp that were running, where one was.
    pub at: Option<(u32, usize)>,
    /// Line of the PTX text.
    pub line: Option<usize>,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel)?;
        if let Some((block, warp)) = self.at {
            write!(f, ", block {block}, warp {warp}")?;
        }
        if let Some(line) = self.line {
            write!(f, ", PTX line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Fault {}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Runs a kernel to its end.
///
/// # Errors
/// A mistake of the launch or of the kernel. What was written before it stays written.
pub fn launch(kernel: &Kernel, how: &Launch<'_>, memory: &mut Memory) -> Result<Counters, Fault> {
    let fault = |what: String| Fault { kernel: kernel.name.clone(), at: None, line: None, what };
    if how.arguments.len() != kernel.parameters.len() {
        let (given, wanted) = (how.arguments.len(), kernel.parameters.len());
        return Err(fault(format!("{given} arguments for {wanted} parameters")));
    }
    if how.block == 0 || how.block > 1024 || !how.block.is_multiple_of(32) {
        return Err(fault(format!("blocks of {} threads", how.block)));
    }
    if how.shared_bytes > MAX_SHARED {
        return Err(fault(format!("{} bytes of shared memory", how.shared_bytes)));
    }
    let mut parameters = vec![0u8; kernel.parameters.last().map_or(0, |(at, n)| at + n)];
    for (value, (at, n)) in how.arguments.iter().zip(&kernel.parameters) {
        parameters[*at..at + n].copy_from_slice(&value.to_le_bytes()[..*n]);
    }
    let mut counters = Counters::default();
    let seed = if let Schedule::Shuffled(seed) = how.schedule { seed } else { 1 };
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for index in 0..how.grid {
        let mut block = Block {
            kernel,
            how,
            index,
            parameters: &parameters,
            shared: vec![0xff; how.shared_bytes as usize],
            unfenced: vec![0; how.shared_bytes as usize / 16 + 1],
            memory: &mut *memory,
            counters: &mut counters,
        };
        run_block(&mut block, &mut random)?;
    }
    Ok(counters)
}

fn run_block(block: &mut Block<'_>, random: &mut Random) -> Result<(), Fault> {
    let (kernel, how, index) = (block.kernel, block.how, block.index);
    let count = how.block as usize / 32;
    let mut warps: Vec<Warp> = (0..count).map(|id| Warp::new(id, kernel.registers)).collect();
    let mut order: Vec<usize> = (0..count).collect();
    if matches!(how.schedule, Schedule::Backward | Schedule::BackwardAhead) {
        order.reverse();
    }
    loop {
        let mut progress = false;
        if let Schedule::Shuffled(_) = how.schedule {
            for i in (1..count).rev() {
                order.swap(i, random.below(i + 1));
            }
        }
        for id in &order {
            let turn = match how.schedule {
                Schedule::ForwardAhead | Schedule::BackwardAhead => u64::MAX,
                Schedule::Shuffled(_) => 1 + random.below(80) as u64,
                _ => 40,
            };
            let warp = &mut warps[*id];
            let mut done = 0;
            while done < turn && warp.runnable() != 0 {
                warp.step(block).map_err(|(line, what)| Fault {
                    kernel: kernel.name.clone(),
                    at: Some((index, *id)),
                    line,
                    what,
                })?;
                done += 1;
                if block.counters.instructions > MAX_INSTRUCTIONS {
                    let what = format!("more than {MAX_INSTRUCTIONS} instructions");
                    return Err(Fault { kernel: kernel.name.clone(), at: Some((index, *id)), line: None, what });
                }
            }
            progress |= done > 0;
        }
        let live: u32 = warps.iter().map(|w| w.live.count_ones()).sum();
        let waiting: u32 = warps.iter().map(|w| w.waiting.count_ones()).sum();
        if live == 0 {
            let same = |group: &[Warp]| group.iter().all(|w| w.products.digest == group[0].products.digest);
            if warps.chunks(4).any(|g| !same(g) || (g.len() < 4 && g[0].products.digest != 0)) {
                let what = "the four warps of a group issue different products".to_string();
                return Err(Fault { kernel: kernel.name.clone(), at: Some((index, 0)), line: None, what });
            }
            return Ok(());
        }
        if waiting == live {
            warps.iter_mut().for_each(|w| w.waiting = 0);
            block.counters.barriers += 1;
        } else if !progress {
            let what = format!("{waiting} of {live} threads wait at a barrier, and no other thread can go on");
            return Err(Fault { kernel: kernel.name.clone(), at: Some((index, 0)), line: None, what });
        }
    }
}
