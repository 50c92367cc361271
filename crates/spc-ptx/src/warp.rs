//! One warp: 32 lanes with a program counter each. The lanes at the lowest one run together, so that ways apart meet again.
use crate::arithmetic::{self as a, bits_of, f32_of};
use crate::counters::{conflicts, sectors};
use crate::machine::SHARED_BASE;
use crate::matrix::{Lanes, Number, half, multiply};
use crate::types::{Instruction, Kind, Operand, Shuffle, Space, Special, Ty};
use crate::warpgroup::{Operands, Products};
use crate::{Counters, Kernel, Launch, Memory};

/// A block while it runs.
pub(crate) struct Block<'a> {
    pub kernel: &'a Kernel,
    pub how: &'a Launch<'a>,
    pub index: u32,
    pub parameters: &'a [u8],
    pub shared: Vec<u8>,
    /// The thread (counted from 1) that wrote 16 bytes of shared memory and has passed no `fence.proxy.async` since.
    pub unfenced: Vec<u16>,
    pub memory: &'a mut Memory,
    pub counters: &'a mut Counters,
}

/// An asynchronous copy of 16 bytes: to shared memory, from global memory where it is not a copy of zeros.
#[derive(Clone, Copy)]
struct Copy {
    to: u64,
    from: Option<u64>,
}

#[derive(Clone, Default)]
struct Copies {
    groups: Vec<Vec<Copy>>,
    open: Vec<Copy>,
}

pub(crate) struct Warp {
    id: usize,
    pc: [usize; 32],
    pub live: u32,
    /// Lanes that wait at a barrier.
    pub waiting: u32,
    registers: Vec<Lanes>,
    copies: Vec<Copies>,
    pub products: Products,
}

/// A fault: the line of the PTX text, and what is wrong.
type Wrong = (Option<usize>, String);

fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| mask >> i & 1 == 1)
}

impl Warp {
    pub fn new(id: usize, registers: usize) -> Warp {
        let copies = vec![Copies::default(); 32];
        let products = Products::new(registers);
        Warp { id, pc: [0; 32], live: u32::MAX, waiting: 0, registers: vec![[0; 32]; registers], copies, products }
    }

    pub fn runnable(&self) -> u32 {
        self.live & !self.waiting
    }

    fn get(&self, block: &Block<'_>, operand: &Operand, lane: usize) -> u64 {
        match operand {
            Operand::Reg(r) => self.registers[*r][lane],
            Operand::Imm(v) => *v,
            Operand::Special(s) => u64::from(match s {
                Special::Tid => (self.id * 32 + lane) as u32,
                Special::Ntid => block.how.block,
                Special::Ctaid => block.index,
                Special::Nctaid => block.how.grid,
                Special::Lane => lane as u32,
                Special::Zero => 0,
                Special::One => 1,
            }),
            // The others are no values; statements with them in the wrong place read 0.
            Operand::Many(_) | Operand::At(..) | Operand::Label(_) => 0,
        }
    }

    fn set(&mut self, operand: &Operand, lane: usize, ty: Ty, value: u64) {
        if let Operand::Reg(r) = operand {
            self.registers[*r][lane] = if ty == Ty::Pred { u64::from(value != 0) } else { ty.keep(value) };
            self.products.written(*r);
        }
    }

    fn all(&self, block: &Block<'_>, operand: &Operand) -> Lanes {
        std::array::from_fn(|l| self.get(block, operand, l))
    }

    /// Runs one instruction.
    pub fn step(&mut self, block: &mut Block<'_>) -> Result<(), Wrong> {
        let runnable = self.runnable();
        let pc = lanes_of(runnable).map(|l| self.pc[l]).min().unwrap_or(0);
        let kernel = block.kernel;
        let Some(ins) = kernel.code.get(pc) else { return Err((None, "ran past the last instruction".into())) };
        let mut active = 0u32;
        for l in lanes_of(runnable).filter(|l| self.pc[*l] == pc) {
            active |= 1 << l;
        }
        for l in lanes_of(active) {
            self.pc[l] = pc + 1;
        }
        if let Some((r, inverted)) = ins.guard {
            for l in lanes_of(active) {
                if (self.registers[r][l] != 0) == inverted {
                    active &= !(1 << l);
                }
            }
        }
        block.counters.instructions += 1;
        let wrong = |what| (Some(ins.line), what);
        self.run(block, ins, active).map_err(wrong)?;
        self.products.wrong.take().map_or(Ok(()), |what| Err(wrong(what)))
    }

    fn run(&mut self, block: &mut Block<'_>, ins: &Instruction, active: u32) -> Result<(), String> {
        let o = &ins.operands;
        let together = || {
            let text = || format!("an instruction of the whole warp runs with lanes {active:#010x} only");
            if active == u32::MAX { Ok(()) } else { Err(text()) }
        };
        match ins.kind {
            Kind::Branch => {
                let Operand::Label(to) = o[0] else { return Err("a branch without a target".into()) };
                lanes_of(active).for_each(|l| self.pc[l] = to);
            }
            Kind::Barrier => {
                if active != self.live {
                    return Err(format!("lanes {active:#010x} of {:#010x} reach a barrier", self.live));
                }
                self.waiting |= active;
            }
            Kind::Return => {
                if lanes_of(active).any(|l| !self.copies[l].open.is_empty()) {
                    return Err("an asynchronous copy was never committed".into());
                }
                if !self.products.idle() {
                    return Err("a product was never waited for".into());
                }
                self.live &= !active;
            }
            Kind::Load(space, ty) => self.load(block, space, ty, o, active)?,
            Kind::Store(space, ty) => self.store(block, space, ty, o, active)?,
            Kind::Add32 { space, ty, result } => self.add(block, (space, ty), result, o, active)?,
            Kind::Copy16 => self.copy(block, o, active)?,
            Kind::CopyCommit => {
                for l in lanes_of(active) {
                    let group = std::mem::take(&mut self.copies[l].open);
                    self.copies[l].groups.push(group);
                }
            }
            Kind::CopyWait(n) => self.wait(block, n, active)?,
            Kind::LoadMatrix { count, transposed } => {
                together()?;
                self.load_matrices(block, o, count, transposed)?;
            }
            Kind::Mma(_) | Kind::MmaSparse(..) => {
                together()?;
                self.multiply(block, ins)?;
            }
            Kind::ProxyFence => {
                let threads = self.id * 32 + 1..self.id * 32 + 33;
                let passed = |w: u16| threads.contains(&usize::from(w)) && active >> ((w - 1) % 32) & 1 == 1;
                block.unfenced.iter_mut().filter(|w| passed(**w)).for_each(|w| *w = 0);
            }
            Kind::GroupFence | Kind::GroupCommit | Kind::GroupWait(_) | Kind::GroupSparse(..) => {
                together()?;
                self.of_group(block, ins)?;
            }
            Kind::Shuffle(how) => {
                together()?;
                self.shuffle(block, how, o)?;
            }
            _ => {
                for l in lanes_of(active) {
                    self.value(block, ins, l)?;
                }
            }
        }
        Ok(())
    }

    /// Instructions that compute in one lane.
    fn value(&mut self, block: &Block<'_>, ins: &Instruction, l: usize) -> Result<(), String> {
        let o = &ins.operands;
        let get = |i: usize| o.get(i).map_or(0, |x| self.get(block, x, l));
        let wide = |ty: Ty| if ty.bytes() == 4 { Ty::U64 } else { Ty::U32 };
        let (ty, v) = match ins.kind {
            Kind::Mov(ty) => return self.mov(block, ty, o, l),
            Kind::Un(op, ty) => (ty, a::unary(op, ty, get(1))?),
            Kind::Bin(op, ty) => (ty, a::binary(op, ty, get(1), get(2))?),
            Kind::MulWide(ty) => (wide(ty), (ty.number(get(1)) * ty.number(get(2))) as u64),
            Kind::MadWide(ty) => (wide(ty), ((ty.number(get(1)) * ty.number(get(2))) as u64).wrapping_add(get(3))),
            Kind::Mad(Ty::F32) => (Ty::F32, bits_of(f32_of(get(1)).mul_add(f32_of(get(2)), f32_of(get(3))))),
            Kind::Mad(ty) => (ty, get(1).wrapping_mul(get(2)).wrapping_add(get(3))),
            Kind::Bfi(ty) => (ty, a::bfi(ty, get(1), get(2), get(3), get(4))),
            Kind::Bfe(ty) => (ty, a::bfe(ty, get(1), get(2), get(3))),
            Kind::Prmt => (Ty::U32, a::prmt(get(1), get(2), get(3))),
            Kind::Funnel { right, clamp } => (Ty::U32, a::funnel(right, clamp, get(1), get(2), get(3))),
            Kind::Selp(ty) => (ty, if get(3) != 0 { get(1) } else { get(2) }),
            Kind::Setp(cmp, unordered, with, ty) => {
                let holds = a::compare(cmp, unordered, ty, get(1), get(2));
                (Ty::Pred, u64::from(with.map_or(holds, |w| a::logic(w, holds, get(3) != 0))))
            }
            Kind::Convert { to, from, round, saturate } => (to, a::convert(to, from, round, saturate, get(1))),
            Kind::WidenHalf => (Ty::F32, bits_of(half(Number::F16, get(1), 0))),
            Kind::PackBf16 => (Ty::U32, a::pack_bf16(f32_of(get(1)), f32_of(get(2)))),
            other => return Err(format!("{other:?} in one lane")),
        };
        self.set(&o[0], l, ty, v);
        Ok(())
    }

    /// Also takes a register apart, or puts one together.
    fn mov(&mut self, block: &Block<'_>, ty: Ty, o: &[Operand], l: usize) -> Result<(), String> {
        let each = |n: usize| {
            if n == 0 || n > 8 { Err("a register of no parts".to_string()) } else { Ok(ty.bits() / n as u64) }
        };
        match (&o[0], &o[1]) {
            (Operand::Many(parts), from) => {
                let (bits, v) = (each(parts.len())?, self.get(block, from, l));
                for (i, part) in (0u64..).zip(parts) {
                    self.set(part, l, Ty::U64, v >> (bits * i) & ((1u64 << bits) - 1));
                }
            }
            (to, Operand::Many(parts)) => {
                let bits = each(parts.len())?;
                let v = (0u64..).zip(parts).fold(0, |v, (i, part)| v | self.get(block, part, l) << (bits * i));
                self.set(to, l, ty, v);
            }
            (to, from) => {
                let v = self.get(block, from, l);
                self.set(to, l, ty, v);
            }
        }
        Ok(())
    }

    fn address(&self, block: &Block<'_>, operand: &Operand, lane: usize) -> Result<u64, String> {
        let Operand::At(base, offset) = operand else { return Err("an access without an address".into()) };
        Ok(self.get(block, base, lane).wrapping_add(*offset as u64))
    }

    fn load(&mut self, block: &mut Block<'_>, space: Space, ty: Ty, o: &[Operand], active: u32) -> Result<(), String> {
        let to: Vec<&Operand> = if let Operand::Many(list) = &o[0] { list.iter().collect() } else { vec![&o[0]] };
        let (each, bytes) = (ty.bytes(), (ty.bytes() * to.len()) as u64);
        let mut addresses = Vec::with_capacity(32);
        for l in lanes_of(active) {
            let at = self.address(block, &o[1], l)?;
            aligned(at, bytes, l)?;
            addresses.push(at);
            let from: Vec<u8> = match space {
                Space::Param => {
                    let from = usize::try_from(at).unwrap_or(usize::MAX);
                    let all = block.parameters;
                    all.get(from..from.saturating_add(bytes as usize)).ok_or("a parameter that is not there")?.to_vec()
                }
                Space::Global => block.memory.read(at, 0..bytes).map_err(|e| format!("lane {l}: {e}"))?.to_vec(),
                Space::Shared => shared(&mut block.shared, at, bytes)?.to_vec(),
            };
            for (part, register) in from.chunks(each).zip(&to) {
                let mut word = [0u8; 8];
                word[..each].copy_from_slice(part);
                let v = ty.number(u64::from_le_bytes(word)) as u64;
                // A narrow signed value fills the register.
                self.set(register, l, if ty.is_signed() { Ty::U64 } else { ty }, v);
            }
        }
        match space {
            Space::Global => {
                block.counters.load_sectors += sectors(&addresses, bytes);
                block.counters.load_bytes += bytes * addresses.len() as u64;
            }
            Space::Shared => block.counters.bank_conflicts += conflicts(&addresses, bytes),
            Space::Param => {}
        }
        Ok(())
    }

    fn store(&mut self, block: &mut Block<'_>, space: Space, ty: Ty, o: &[Operand], active: u32) -> Result<(), String> {
        let from: Vec<&Operand> = if let Operand::Many(list) = &o[1] { list.iter().collect() } else { vec![&o[1]] };
        let bytes = (ty.bytes() * from.len()) as u64;
        let mut addresses = Vec::with_capacity(32);
        for l in lanes_of(active) {
            let at = self.address(block, &o[0], l)?;
            aligned(at, bytes, l)?;
            addresses.push(at);
            let mut words = Vec::with_capacity(16);
            for x in &from {
                words.extend_from_slice(&self.get(block, x, l).to_le_bytes()[..ty.bytes()]);
            }
            match space {
                Space::Shared => {
                    shared(&mut block.shared, at, bytes)?.copy_from_slice(&words);
                    self.wrote(block, at, l);
                }
                Space::Global => {
                    let to = block.memory.write(at, 0..bytes).map_err(|e| format!("lane {l}: {e}"))?;
                    to.copy_from_slice(&words);
                }
                Space::Param => return Err("a store to a parameter".into()),
            }
        }
        if space == Space::Global {
            block.counters.store_sectors += sectors(&addresses, bytes);
            block.counters.store_bytes += bytes * addresses.len() as u64;
        } else {
            block.counters.bank_conflicts += conflicts(&addresses, bytes);
        }
        Ok(())
    }

    fn add(
        &mut self,
        block: &mut Block<'_>,
        (space, ty): (Space, Ty),
        result: bool,
        o: &[Operand],
        active: u32,
    ) -> Result<(), String> {
        let first = usize::from(result);
        let (Some(at), Some(by)) = (o.get(first), o.get(first + 1)) else {
            return Err("an addition without operands".into());
        };
        let mut addresses = Vec::with_capacity(32);
        for l in lanes_of(active) {
            let (at, by) = (self.address(block, at, l)?, self.get(block, by, l));
            aligned(at, 4, l)?;
            addresses.push(at);
            let bytes = if space == Space::Shared {
                shared(&mut block.shared, at, 4)?
            } else {
                block.memory.write(at, 0..4).map_err(|e| format!("lane {l}: {e}"))?
            };
            let mut word = [0u8; 4];
            word.copy_from_slice(bytes);
            let old = u64::from(u32::from_le_bytes(word));
            let new = if ty == Ty::F32 { bits_of(f32_of(old) + f32_of(by)) } else { old.wrapping_add(by) };
            bytes.copy_from_slice(&(new as u32).to_le_bytes());
            if result {
                self.set(&o[0], l, Ty::U32, old);
            }
        }
        if space == Space::Shared {
            block.counters.bank_conflicts += conflicts(&addresses, 4);
        } else {
            block.counters.store_sectors += sectors(&addresses, 4);
            block.counters.store_bytes += 4 * addresses.len() as u64;
        }
        Ok(())
    }

    fn copy(&mut self, block: &mut Block<'_>, o: &[Operand], active: u32) -> Result<(), String> {
        let mut addresses = Vec::with_capacity(32);
        for l in lanes_of(active) {
            let (to, from) = (self.address(block, &o[0], l)?, self.address(block, &o[1], l)?);
            let bytes = o.get(3).map_or(16, |n| self.get(block, n, l));
            if bytes != 0 && bytes != 16 {
                return Err(format!("lane {l}: a copy of {bytes} of 16 bytes"));
            }
            aligned(to, 16, l)?;
            if bytes == 16 {
                aligned(from, 16, l)?;
                block.memory.read(from, 0..16).map_err(|e| format!("lane {l}: {e}"))?;
                addresses.push(from);
            }
            shared(&mut block.shared, to, 16)?.fill(0xff);
            self.copies[l].open.push(Copy { to, from: (bytes == 16).then_some(from) });
        }
        block.counters.load_sectors += sectors(&addresses, 16);
        block.counters.load_bytes += 16 * addresses.len() as u64;
        Ok(())
    }

    fn wait(&mut self, block: &mut Block<'_>, n: usize, active: u32) -> Result<(), String> {
        for l in lanes_of(active) {
            let done = self.copies[l].groups.len().saturating_sub(n);
            for copy in self.copies[l].groups.drain(..done).flatten() {
                let mut bytes = [0u8; 16];
                if let Some(from) = copy.from {
                    bytes.copy_from_slice(block.memory.read(from, 0..16)?);
                }
                shared(&mut block.shared, copy.to, 16)?.copy_from_slice(&bytes);
                block.unfenced[((copy.to - SHARED_BASE) / 16) as usize] = (self.id * 32 + l + 1) as u16;
            }
        }
        Ok(())
    }

    fn load_matrices(
        &mut self,
        block: &mut Block<'_>,
        o: &[Operand],
        count: usize,
        transposed: bool,
    ) -> Result<(), String> {
        block.counters.matrix_loads += 1;
        let to: Vec<&Operand> = if let Operand::Many(list) = &o[0] { list.iter().collect() } else { vec![&o[0]] };
        for (m, to) in to.into_iter().enumerate().take(count) {
            let mut rows = Vec::with_capacity(8);
            let mut tile = [[0u8; 16]; 8];
            for (i, row) in tile.iter_mut().enumerate() {
                let at = self.address(block, &o[1], 8 * m + i)?;
                aligned(at, 16, 8 * m + i)?;
                row.copy_from_slice(shared(&mut block.shared, at, 16)?);
                rows.push(at);
            }
            block.counters.bank_conflicts += conflicts(&rows, 16);
            let half = |r: usize, c: usize| u64::from(u16::from_le_bytes([tile[r][2 * c], tile[r][2 * c + 1]]));
            for l in 0..32 {
                let (r, c) = (l / 4, l % 4 * 2);
                let pair = if transposed { [half(c, r), half(c + 1, r)] } else { [half(r, c), half(r, c + 1)] };
                self.set(to, l, Ty::U32, pair[0] | pair[1] << 16);
            }
        }
        Ok(())
    }

    /// Shared memory from `at` on was written by a lane.
    fn wrote(&self, block: &mut Block<'_>, at: u64, lane: usize) {
        block.unfenced[((at - SHARED_BASE) / 16) as usize] = (self.id * 32 + lane + 1) as u16;
    }

    /// Products of the warp's group.
    fn of_group(&mut self, block: &mut Block<'_>, ins: &Instruction) -> Result<(), String> {
        let (all, unfenced) = (&mut block.shared, &block.unfenced);
        let mut read = |at: u64| -> Result<[u8; 16], String> {
            let bytes = shared(all, at, 16)?;
            let mut out = [0u8; 16];
            out.copy_from_slice(bytes);
            Ok(out)
        };
        let (selector, number) = match ins.kind {
            Kind::GroupFence => {
                self.products.fence();
                return Ok(());
            }
            Kind::GroupCommit => {
                self.products.commit();
                return Ok(());
            }
            Kind::GroupWait(n) => return self.products.wait(n, &mut self.registers, &mut read),
            Kind::GroupSparse(selector, number) => (selector, number),
            other => return Err(format!("{other:?} is no product of a group")),
        };
        let o = &ins.operands;
        let one =
            |x: &Operand| if let Operand::Reg(r) = x { Ok(*r) } else { Err("no register of a product".to_string()) };
        let many = |x: &Operand| -> Result<Vec<usize>, String> {
            if let Operand::Many(list) = x {
                list.iter().map(one).collect()
            } else {
                Err("no list of registers".into())
            }
        };
        let (descriptor, adds) = (self.registers[one(&o[2])?], self.registers[one(&o[5])?]);
        if descriptor.iter().any(|d| *d != descriptor[0]) || adds.contains(&0) {
            return Err("lanes of a product with other descriptors, or sums that are not added to".into());
        }
        let (sums, left, meta) = (many(&o[0])?, many(&o[1])?, one(&o[3])?);
        let operands = Operands { sums, left, meta, selector, descriptor: descriptor[0], number, line: ins.line };
        block.counters.group_matrix += 1;
        let mut fenced = |at: u64| {
            let bytes = read(at)?;
            match unfenced[((at - SHARED_BASE) / 16) as usize] {
                0 => Ok(bytes),
                w => Err(format!("thread {} wrote {at:#x} and passed no fence.proxy.async since", w - 1)),
            }
        };
        self.products.issue(&mut self.registers, &operands, &mut fenced)
    }

    fn multiply(&mut self, block: &mut Block<'_>, ins: &Instruction) -> Result<(), String> {
        let o = &ins.operands;
        let fragment = |i: usize, n: usize| match &o[i] {
            Operand::Many(list) if list.len() == n => {
                Ok(list.iter().map(|x| self.all(block, x)).collect::<Vec<Lanes>>())
            }
            _ => Err(format!("operand {i} has not {n} registers")),
        };
        let four = |v: Vec<Lanes>| <[Lanes; 4]>::try_from(v).map_err(|_| "a fragment".to_string());
        let (left, sums) = (four(fragment(1, 4)?)?, four(fragment(3, 4)?)?);
        let sparse =
            if let Kind::MmaSparse(selector, _) = ins.kind { Some((self.all(block, &o[4]), selector)) } else { None };
        let (Kind::Mma(number) | Kind::MmaSparse(_, number)) = ins.kind else { return Err("no product".into()) };
        let right = fragment(2, if sparse.is_some() { 4 } else { 2 })?;
        let out = multiply(&left, &right, &sums, sparse.as_ref().map(|(meta, selector)| (meta, *selector)), number)?;
        if sparse.is_some() {
            block.counters.sparse_matrix += 1;
        } else {
            block.counters.matrix += 1;
        }
        let Operand::Many(to) = &o[0] else { return Err("a product without a place".into()) };
        for (register, values) in to.iter().zip(&out) {
            for (l, v) in values.iter().enumerate() {
                self.set(register, l, Ty::U32, *v);
            }
        }
        Ok(())
    }

    /// Segments of less than the whole warp are not known: the clamp operand is that of full width.
    fn shuffle(&mut self, block: &Block<'_>, how: Shuffle, o: &[Operand]) -> Result<(), String> {
        // `d`, perhaps `p`, then value, lane, clamp and mask.
        let first = o.len().checked_sub(4).filter(|n| (1..=2).contains(n)).ok_or("the operands of a shuffle")?;
        let values = self.all(block, &o[first]);
        for l in 0..32usize {
            let by = (self.get(block, &o[first + 1], l) & 31) as usize;
            let from = match how {
                Shuffle::Xor => Some(l ^ by),
                Shuffle::Up => l.checked_sub(by),
                Shuffle::Down => Some(l + by).filter(|x| *x < 32),
                Shuffle::Index => Some(by),
            };
            self.set(&o[0], l, Ty::U32, values[from.unwrap_or(l)]);
            if first == 2 {
                self.set(&o[1], l, Ty::Pred, u64::from(from.is_some()));
            }
        }
        Ok(())
    }
}

fn aligned(at: u64, bytes: u64, lane: usize) -> Result<(), String> {
    let text = || format!("lane {lane}: an access of {bytes} bytes at {at:#x}, which is misaligned");
    if bytes.is_power_of_two() && at.is_multiple_of(bytes) { Ok(()) } else { Err(text()) }
}

fn shared(all: &mut [u8], at: u64, bytes: u64) -> Result<&mut [u8], String> {
    let len = all.len();
    let text =
        || format!("an access of {bytes} bytes of shared memory at {at:#x}, outside of {SHARED_BASE:#x} ..+ {len}");
    let from = at.checked_sub(SHARED_BASE).and_then(|n| usize::try_from(n).ok()).ok_or_else(text)?;
    let to = from.checked_add(bytes as usize).ok_or_else(text)?;
    all.get_mut(from..to).ok_or_else(text)
}
