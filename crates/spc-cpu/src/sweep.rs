//! Runs passes of training updates over arrays of the caller, block by block.
#![allow(unsafe_code)]
use crate::host::Isa;
use crate::jit::{JitModule, compile_wide};
use crate::share::Threads;
use crate::stream::{self, Ahead, MOST, Rooms, SMALL, STREAM};
use spc_base::Bug;
use spc_kernel::update::{IOTA, Kind, Pass};
use std::sync::{Mutex, PoisonError};

/// Weights that one block holds, about: what the passes of a sweep read and write of it stays in the second cache.
const BLOCK: usize = 1 << 15;

/// Compiled passes.
pub struct Sweeps {
    module: JitModule,
    passes: Vec<Pass>,
}

/// An array that passes read and write. It has one entry for each weight, or the numbers of a side array.
pub enum Slot<'a> {
    F32(&'a mut [f32]),
    /// Only read.
    Read(&'a [f32]),
    Bytes(&'a mut [u8]),
    ReadBytes(&'a [u8]),
    /// Room for what a pass writes and later ones of the same sweep read; nobody has it afterwards.
    Room,
    /// The same for bytes.
    RoomBytes,
}

impl Slot<'_> {
    fn len(&self) -> usize {
        match self {
            Slot::F32(v) => v.len(),
            Slot::Read(v) => v.len(),
            Slot::Bytes(v) => v.len(),
            Slot::ReadBytes(v) => v.len(),
            Slot::Room | Slot::RoomBytes => usize::MAX,
        }
    }

    fn is_bytes(&self) -> bool {
        matches!(self, Slot::Bytes(_) | Slot::ReadBytes(_) | Slot::RoomBytes)
    }

    fn is_writable(&self) -> bool {
        matches!(self, Slot::F32(_) | Slot::Bytes(_)) || self.is_room()
    }

    fn is_room(&self) -> bool {
        matches!(self, Slot::Room | Slot::RoomBytes)
    }

    fn address(&mut self) -> u64 {
        match self {
            Slot::F32(v) => v.as_mut_ptr() as u64,
            Slot::Read(v) => v.as_ptr() as u64,
            Slot::Bytes(v) => v.as_mut_ptr() as u64,
            Slot::ReadBytes(v) => v.as_ptr() as u64,
            Slot::Room | Slot::RoomBytes => 0,
        }
    }
}

/// A slot that a block is written to in room of its own.
struct Staged {
    slot: usize,
    /// Bytes of an entry.
    width: usize,
    /// Where it begins in the room of a block.
    offset: usize,
    /// The array that gets it, if one does.
    to: Option<u64>,
}

/// One pass of a sweep: its number and, for each of its arrays, the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub pass: usize,
    pub slots: Vec<usize>,
}

impl Sweeps {
    /// Compiles passes made for the lanes of `isa`.
    ///
    /// # Errors
    /// A bug where a kernel does not compile.
    pub fn new(passes: Vec<Pass>, isa: Isa) -> Result<Sweeps, Bug> {
        let kernels: Vec<_> = passes.iter().map(|p| p.kernel.clone()).collect();
        Ok(Sweeps { module: compile_wide(&kernels, isa, cfg!(debug_assertions))?, passes })
    }

    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Runs the calls over `n` weights: all of them over the first block, then all of them over the next. Blocks are shared
    /// out to threads, and any number of those gives the same bits. The folds of each call, for each block in order.
    ///
    /// # Errors
    /// A bug where a slot is not what a pass needs.
    pub fn run(
        &self,
        n: usize,
        slots: &mut [Slot<'_>],
        numbers: &[f32],
        calls: &[Call],
        threads: &dyn Threads,
    ) -> Result<Vec<Vec<f32>>, Bug> {
        let mut step = 1;
        for c in calls {
            step = lcm(step, self.check(n, slots, numbers.len(), c)?.unit);
        }
        if n == 0 {
            return Ok(vec![Vec::new(); calls.len()]);
        }
        let whole = |size: usize| step.saturating_mul((size / step).max(1));
        // Where arrays are large, those that are only written pass the cache by, in smaller blocks.
        let small = whole(SMALL);
        let large = n >= STREAM && small <= MOST / 4;
        let staged = self.staged(slots, calls, large);
        let block = if staged.is_empty() || !large { whole(BLOCK) } else { small };
        if let Some(i) = (0..slots.len()).find(|i| slots[*i].is_room() && !staged.contains(i)) {
            return Err(Bug::new(format!("slot {i} is room that is read before it is written")));
        }
        let mut bytes = 0;
        let staged: Vec<Staged> = (staged.into_iter())
            .map(|slot| {
                let s = &mut slots[slot];
                let (width, offset) = (if s.is_bytes() { 1 } else { 4 }, bytes);
                bytes += block.saturating_mul(width).next_multiple_of(64);
                Staged { slot, width, offset, to: (!s.is_room()).then(|| s.address()) }
            })
            .collect();
        let rooms = Rooms::new(bytes);
        let read = self.read(slots, calls, &staged);
        let blocks = n.div_ceil(block);
        let addresses: Vec<u64> = slots.iter_mut().map(Slot::address).collect();
        let mut words: Vec<f32> = (0..IOTA).map(|i| i as f32).collect();
        words.extend_from_slice(numbers);
        let per: Vec<usize> = calls.iter().map(|c| self.passes[c.pass].folds).collect();
        let mut folds: Vec<Vec<f32>> = per.iter().map(|f| vec![0.0; f * (blocks + 1)]).collect();
        let out: Vec<u64> = folds.iter_mut().map(|f| f.as_mut_ptr() as u64).collect();
        let failed = Mutex::new(None);
        // A thread takes several small blocks at once.
        let several = (BLOCK / block).max(1);
        threads.run(blocks.div_ceil(several), &|task| {
            let mut room = rooms.take();
            let first = room.address();
            let (mut addresses, mut args, mut ahead) = (addresses.clone(), Vec::new(), Ahead::default());
            for b in task * several..blocks.min((task + 1) * several) {
                let (from, to) = (b * block, n.min((b + 1) * block));
                for s in &staged {
                    // Entry `from` of the array is the first of the room.
                    addresses[s.slot] = (first + s.offset as u64).wrapping_sub((s.width * from) as u64);
                }
                for (k, c) in calls.iter().enumerate() {
                    let at = out[k] + 4 * (b * per[k]) as u64;
                    let last = (b + 1 == blocks).then(|| out[k] + 4 * (blocks * per[k]) as u64);
                    if let Err(e) = self.call(c, (from, to, n), &addresses, (&words, &mut args), at, last) {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                    }
                }
                if !staged.is_empty() {
                    let end = n.min((b + 2) * block);
                    let next = |(at, width): &(u64, usize)| (*at as usize + width * to, *at as usize + width * end);
                    let written: usize = staged.iter().filter(|s| s.to.is_some()).map(|s| s.width * (to - from)).sum();
                    ahead.begin(read.iter().map(next), written);
                }
                for (s, array) in staged.iter().filter_map(|s| Some((s, s.to?))) {
                    let (from_room, at) = (first as usize + s.offset, array as usize + s.width * from);
                    // SAFETY: the room has `block` entries, written just now; the array has `n`, borrowed mutably, and
                    // blocks are disjoint.
                    unsafe {
                        stream::copy(from_room as *const u8, at as *mut u8, s.width * (to - from), &mut ahead);
                    };
                }
            }
            stream::done();
        });
        if let Some(e) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(e);
        }
        // Only what was written: blocks with a whole unit, and a last unit that was cut.
        for ((f, per), c) in folds.iter_mut().zip(&per).zip(calls) {
            let unit = self.passes[c.pass].unit;
            let whole = |b: usize| n.min((b + 1) * block) / unit > b * block / unit;
            let there: Vec<bool> = (0..blocks).map(whole).chain([!n.is_multiple_of(unit)]).collect();
            let written = f.iter().zip(0usize..).filter(|(_, i)| there[i / (*per).max(1)]).map(|(x, _)| *x);
            *f = written.collect();
        }
        Ok(folds)
    }

    /// Addresses of the arrays of an entry for each weight that are not staged, and the bytes of an entry.
    fn read(&self, slots: &mut [Slot<'_>], calls: &[Call], staged: &[Staged]) -> Vec<(u64, usize)> {
        let each = |slot: usize| {
            let mut uses = calls.iter().flat_map(|c| c.slots.iter().zip(&self.passes[c.pass].arrays));
            uses.any(|(s, a)| *s == slot && !matches!(a.kind, Kind::Side(_)))
        };
        let list = (0..slots.len()).filter(|s| each(*s) && staged.iter().all(|x| x.slot != *s));
        list.map(|s| (slots[s].address(), if slots[s].is_bytes() { 1 } else { 4 })).collect()
    }

    /// Slots that are written before anything reads them: those of rooms, and of arrays where these are `large`.
    fn staged(&self, slots: &[Slot<'_>], calls: &[Call], large: bool) -> Vec<usize> {
        let only_written = |slot: &usize| {
            let mut uses = calls.iter().flat_map(|c| c.slots.iter().zip(&self.passes[c.pass].arrays));
            uses.find(|(s, _)| *s == slot).is_some_and(|(_, a)| a.written && !a.read)
        };
        let side = |slot: &usize| {
            let mut uses = calls.iter().flat_map(|c| c.slots.iter().zip(&self.passes[c.pass].arrays));
            uses.any(|(s, a)| s == slot && matches!(a.kind, Kind::Side(_)))
        };
        let wanted = |slot: &usize| slots[*slot].is_room() || (large && slots[*slot].is_writable());
        (0..slots.len()).filter(|s| wanted(s) && only_written(s) && !side(s)).collect()
    }

    fn check(&self, n: usize, slots: &[Slot<'_>], numbers: usize, c: &Call) -> Result<&Pass, Bug> {
        let p = self.passes.get(c.pass).ok_or_else(|| Bug::new("no such pass"))?;
        let wrong = |what: &str| Bug::new(format!("pass {}: {what}", p.kernel.name));
        if p.arrays.len() != c.slots.len() || numbers < p.numbers {
            return Err(wrong("another number of arrays or numbers"));
        }
        if !p.cut && !n.is_multiple_of(p.unit) {
            return Err(wrong("the weights are no whole number of units"));
        }
        for (i, (a, s)) in p.arrays.iter().zip(&c.slots).enumerate() {
            let slot = slots.get(*s).ok_or_else(|| wrong("no such slot"))?;
            let (bytes, len) = match a.kind {
                Kind::F32 => (false, n),
                Kind::Bytes => (true, n),
                Kind::Side(k) => (false, k.saturating_mul(n / p.unit)),
            };
            if slot.is_bytes() != bytes || slot.len() < len || (a.written && !slot.is_writable()) {
                return Err(wrong(&format!("array {i} does not fit")));
            }
            if a.written && c.slots.iter().enumerate().any(|(j, t)| i != j && s == t) {
                return Err(wrong(&format!("array {i} is used twice")));
            }
        }
        Ok(p)
    }

    /// One call for the weights `from..to` of `n`; a last unit that is cut is computed beside, in whole.
    fn call(
        &self,
        c: &Call,
        (from, to, n): (usize, usize, usize),
        addresses: &[u64],
        (numbers, args): (&[f32], &mut Vec<u64>),
        folds: u64,
        last: Option<u64>,
    ) -> Result<(), Bug> {
        let p = &self.passes[c.pass];
        let (lo, hi) = (from / p.unit, to / p.unit);
        let tail = [numbers.as_ptr() as u64, folds, lo as u64, hi as u64, n as u64];
        args.clear();
        args.extend(c.slots.iter().map(|s| addresses[*s]).chain(tail));
        if hi > lo {
            // SAFETY: `check` saw that every array has an entry for each weight, or its side numbers for each unit, and a room
            // one for each weight of the block; that those written are borrowed mutably; the kernels of passes stay inside such arrays (their tests run them in
            // the interpreter, which checks); blocks are disjoint; `folds` has room for each block and the rest.
            unsafe { self.module.call(c.pass, args)? };
        }
        let rest = to - hi * p.unit;
        let (Some(last), true) = (last, rest > 0) else { return Ok(()) };
        let done = hi * p.unit;
        let mut floats: Vec<Vec<f32>> = Vec::new();
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        let mut args = Vec::new();
        for (a, s) in p.arrays.iter().zip(&c.slots) {
            if a.kind == Kind::Bytes {
                let mut v = vec![0u8; p.unit];
                // SAFETY: the entries from `done` on are `rest`, inside the array, which no other thread touches there.
                unsafe {
                    std::ptr::copy_nonoverlapping((addresses[*s] as *const u8).wrapping_add(done), v.as_mut_ptr(), rest)
                };
                args.push(v.as_mut_ptr() as u64);
                bytes.push(v);
            } else {
                let mut v = vec![0f32; p.unit];
                // SAFETY: as above; side arrays belong to passes that are never cut.
                unsafe {
                    std::ptr::copy_nonoverlapping(
                        (addresses[*s] as *const f32).wrapping_add(done),
                        v.as_mut_ptr(),
                        rest,
                    )
                };
                args.push(v.as_mut_ptr() as u64);
                floats.push(v);
            }
        }
        args.extend([numbers.as_ptr() as u64, last, 0, 1, rest as u64]);
        // SAFETY: the copies hold one whole unit.
        unsafe { self.module.call(c.pass, &args)? };
        let (mut floats, mut bytes) = (floats.iter(), bytes.iter());
        for (a, s) in p.arrays.iter().zip(&c.slots) {
            // SAFETY: as for the copies above, back to arrays that are borrowed mutably.
            if a.kind == Kind::Bytes {
                if let (Some(v), true) = (bytes.next(), a.written) {
                    unsafe {
                        std::ptr::copy_nonoverlapping(v.as_ptr(), (addresses[*s] as *mut u8).wrapping_add(done), rest)
                    };
                }
            } else if let (Some(v), true) = (floats.next(), a.written) {
                unsafe {
                    std::ptr::copy_nonoverlapping(v.as_ptr(), (addresses[*s] as *mut f32).wrapping_add(done), rest)
                };
            }
        }
        Ok(())
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).saturating_mul(b)
}
