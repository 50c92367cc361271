//! Random kernels for tests of executors: nested and empty loops, permuted carried values, more live values than
//! registers, every operation of the IR.
use super::{Addr, Bits, Builder, Cmp, FBin, FUn, IBin, Kernel, LBin, LoadKind, Op, RedFn, StoreKind, Ty, Val};
use crate::math::MathFn;
use spc_base::Bug;

/// Size in bytes of the two buffers that a random kernel takes.
pub const BUFFER: usize = 4096;
const MAX_DEPTH: usize = 3;

/// A small deterministic generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; 0 if n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A float in -2..2 with few bits, and now and then a zero of either sign, an infinity, a NaN or a large number.
    pub fn float(&mut self) -> f32 {
        match self.below(40) {
            0 => -0.0,
            1 => 0.0,
            2 => f32::INFINITY,
            3 => f32::NEG_INFINITY,
            4 => f32::NAN,
            5 => 1e30,
            6 => 1e-40,
            _ => (self.below(4001) as f32 - 2000.0) / 1000.0,
        }
    }
}

/// Contents for a buffer of a random kernel: floats, some small integers among them.
pub fn buffer(rng: &mut Rng) -> Vec<u8> {
    let word = |rng: &mut Rng| {
        if rng.below(8) == 0 { (rng.below(64) as u32).to_le_bytes() } else { rng.float().to_le_bytes() }
    };
    (0..BUFFER / 4).flat_map(|_| word(rng)).collect()
}

/// A kernel of parameters `p: cptr`, `q: ptr` (both of [`BUFFER`] bytes) and `n: i64` in `0..=3`. All accesses stay
/// inside the buffers.
pub fn kernel(rng: &mut Rng, lanes: usize) -> Result<Kernel, Bug> {
    let mut g = Gen { b: Builder::new("random", lanes), rng, p: Val(0), q: Val(1) };
    g.p = g.b.param("p", Ty::CPtr);
    g.q = g.b.param("q", Ty::Ptr);
    let n = g.b.param("n", Ty::I64);
    let mut values = vec![n];
    for kind in [
        LoadKind::VF32,
        LoadKind::VF32,
        LoadKind::F32,
        LoadKind::F32,
        LoadKind::I32,
        LoadKind::Bool,
        LoadKind::VI32,
        LoadKind::VI8,
    ] {
        let addr = Addr::at(g.p, 4 * g.rng.below(64) as i32);
        let v = g.b.load(kind, addr);
        values.push(v);
    }
    let truths = g.b.fcmp(Cmp::Lt, values[1], values[2]);
    values.push(truths);
    let len = 4 + g.rng.below(40);
    g.sequence(&mut values, 0, len);
    for (i, v) in values.iter().rev().take(40).enumerate() {
        g.store(*v, Addr::at(g.q, (i * 64) as i32));
    }
    g.b.finish()
}

struct Gen<'r> {
    b: Builder,
    rng: &'r mut Rng,
    p: Val,
    q: Val,
}

impl Gen<'_> {
    /// A value of that type; there always is one.
    fn any(&mut self, values: &[Val], ty: Ty) -> Val {
        let fitting: Vec<Val> = values.iter().copied().filter(|v| self.b.ty(*v) == Some(ty)).collect();
        self.rng.pick(&fitting)
    }

    /// An address divisible by 4 with at least 64 bytes behind it in its buffer.
    fn addr(&mut self, values: &[Val], base: Val) -> Addr {
        let disp = 4 * self.rng.below(500) as i32;
        match self.rng.below(3) {
            0 => Addr::at(base, disp),
            1 => {
                let i = self.small(values, 124);
                Addr::indexed(base, i, self.rng.pick(&[1, 2, 4, 8])).plus(disp)
            }
            _ => {
                let i = self.small(values, 1020);
                let moved = self.b.ptr_add(base, i);
                if self.rng.below(4) == 0 {
                    // The same place by its distance from the first byte.
                    let far = self.b.ptr_diff(moved, base);
                    return Addr::indexed(base, far, 1).plus(disp);
                }
                Addr::at(moved, disp)
            }
        }
    }

    /// An integer with no bits but those of `mask`.
    fn small(&mut self, values: &[Val], mask: i64) -> Val {
        let (i, mask) = (self.any(values, Ty::I64), self.b.int(mask));
        self.b.ibin(IBin::And, i, mask)
    }

    fn store(&mut self, v: Val, addr: Addr) {
        match self.b.ty(v) {
            Some(Ty::I64) => {
                match self.rng.below(16) {
                    0 => self.b.prefetch(addr),
                    1 => self.b.prefetch_l2(addr),
                    _ => {}
                }
                let kind = self.rng.pick(&[StoreKind::I32, StoreKind::U16, StoreKind::U8]);
                self.b.store(kind, addr, v);
            }
            Some(Ty::F32) => self.b.store(StoreKind::F32, addr, v),
            Some(Ty::VF32) => self.b.store(StoreKind::VF32, addr, v),
            Some(Ty::VI32) => {
                let kind = self.rng.pick(&[StoreKind::VI32, StoreKind::VI32, StoreKind::VU8]);
                self.b.store(kind, addr, v);
            }
            Some(Ty::Bool) => self.b.store(StoreKind::Bool, addr, v),
            Some(Ty::VBool) => {
                let (one, zero) = (self.b.vfloat(1.0), self.b.vfloat(0.0));
                let v = self.b.select(v, one, zero);
                self.b.store(StoreKind::VF32, addr, v);
            }
            _ => {}
        }
    }

    fn sequence(&mut self, values: &mut Vec<Val>, depth: usize, len: usize) {
        for _ in 0..len {
            match self.rng.below(24) {
                0..=3 if depth < MAX_DEPTH => self.repeat(values, depth),
                0..=4 => {
                    let ty = self.rng.pick(&[Ty::I64, Ty::F32, Ty::VF32, Ty::VI32, Ty::Bool, Ty::VBool]);
                    let (v, addr) = (self.any(values, ty), self.addr(values, self.q));
                    self.store(v, addr);
                }
                5 => {
                    let n = self.any(values, Ty::I64);
                    let value = self.any(values, Ty::VF32);
                    let addr = self.addr(values, self.q);
                    self.b.store_tail(addr, value, n);
                }
                _ => {
                    let op = self.op(values);
                    let v = self.b.op(op);
                    values.push(v);
                }
            }
        }
    }

    fn repeat(&mut self, values: &mut Vec<Val>, depth: usize) {
        let count = if self.rng.below(3) == 0 { self.b.int(1) } else { self.small(values, 3) };
        let inits: Vec<Val> = (0..self.rng.below(7)).map(|_| self.rng.pick(values)).collect();
        // The closure of `repeat` borrows the builder, so the generator takes it over for the body.
        let mut inner = values.clone();
        let (rng, p, q) = (&mut *self.rng, self.p, self.q);
        let results = self.b.repeat(count, &inits, |b, index, params| {
            let taken = std::mem::replace(b, Builder::new("inner", 1));
            let mut g = Gen { b: taken, rng, p, q };
            inner.push(index);
            inner.extend_from_slice(params);
            let len = 1 + g.rng.below(14);
            g.sequence(&mut inner, depth + 1, len);
            // Swaps, invariants and fresh values alike.
            let yields = params
                .iter()
                .map(|v| {
                    let ty = g.b.ty(*v).unwrap_or(Ty::I64);
                    let swap = g.rng.below(3) == 0;
                    g.any(if swap { params } else { &inner }, ty)
                })
                .collect();
            *b = g.b;
            yields
        });
        values.extend(results);
    }

    fn op(&mut self, values: &[Val]) -> Op {
        let ft = self.rng.pick(&[Ty::F32, Ty::VF32, Ty::VF32]);
        let bt = if ft == Ty::F32 { Ty::Bool } else { Ty::VBool };
        match self.rng.below(36) {
            0..=3 => {
                // The bits of a NaN are no part of the meaning, so integers are read from memory that nothing writes.
                let kind = self.rng.pick(LoadKind::ALL);
                let float = matches!(kind, LoadKind::F32 | LoadKind::VF32 | LoadKind::Splat | LoadKind::Quad);
                let written = float && self.rng.below(3) == 0;
                let addr = self.addr(values, if written { self.q } else { self.p });
                Op::Load(kind, addr)
            }
            4 => {
                let base = if self.rng.below(3) == 0 { self.q } else { self.p };
                let addr = self.addr(values, base);
                Op::LoadTail(addr, self.any(values, Ty::I64))
            }
            5..=7 => Op::FBin(self.rng.pick(FBin::ALL), self.any(values, ft), self.any(values, ft)),
            8 => Op::FUn(self.rng.pick(FUn::ALL), self.any(values, ft)),
            9..=11 => Op::Fma(self.any(values, ft), self.any(values, ft), self.any(values, ft)),
            12 => {
                let f = self.rng.pick(&MathFn::ALL);
                let a = self.any(values, ft);
                Op::Math(f, a, (f.arity() == 2).then(|| self.any(values, ft)))
            }
            13 => {
                let ty = self.rng.pick(&[Ty::Bool, Ty::F32, Ty::I64]);
                Op::Splat(self.any(values, ty))
            }
            14 => {
                let ty = self.rng.pick(&[Ty::VF32, Ty::VI32]);
                Op::Reduce(self.rng.pick(RedFn::ALL), self.any(values, ty))
            }
            15 => Op::ICmp(self.rng.pick(Cmp::ALL), self.any(values, Ty::I64), self.any(values, Ty::I64)),
            16 => Op::FCmp(self.rng.pick(Cmp::ALL), self.any(values, ft), self.any(values, ft)),
            17 => match self.rng.below(2) {
                0 => Op::Logic(self.rng.pick(LBin::ALL), self.any(values, bt), self.any(values, bt)),
                _ => Op::Not(self.any(values, bt)),
            },
            18 => {
                let ty = self.rng.pick(&[Ty::I64, Ty::F32, Ty::VF32, Ty::VI32, Ty::Bool, Ty::VBool]);
                let by_lane = matches!(ty, Ty::VF32 | Ty::VI32 | Ty::VBool) && self.rng.below(2) == 0;
                let c = self.any(values, if by_lane { Ty::VBool } else { Ty::Bool });
                Op::Select(c, self.any(values, ty), self.any(values, ty))
            }
            19 => match self.rng.below(4) {
                3 => Op::Ones(self.any(values, Ty::I64)),
                0 => Op::IToF(self.any(values, Ty::I64)),
                1 => Op::FToI(self.any(values, Ty::F32)),
                _ => Op::Wrap32(self.any(values, Ty::I64)),
            },
            23 | 24 => Op::Dot4(self.any(values, Ty::VI32), self.any(values, Ty::VI32), self.any(values, Ty::VI32)),
            25 => {
                let f = self.rng.pick(&[
                    IBin::Add,
                    IBin::Sub,
                    IBin::Mul,
                    IBin::Min,
                    IBin::Max,
                    IBin::And,
                    IBin::Or,
                    IBin::Xor,
                ]);
                Op::IBin(f, self.any(values, Ty::VI32), self.any(values, Ty::VI32))
            }
            35 => {
                let (a, i) = (self.any(values, Ty::VI32), self.any(values, Ty::VI32));
                if self.b.lanes() == 16 && self.rng.below(2) == 0 { Op::PermuteBytes(a, i) } else { Op::Bytes(a, i) }
            }
            26 => match self.rng.below(5) {
                0 if self.rng.below(2) == 0 => Op::NearestOrLeast(self.any(values, Ty::VF32)),
                0 => Op::Nearest(self.any(values, Ty::VF32)),
                1 => Op::IToF(self.any(values, Ty::VI32)),
                2 => Op::VInt(self.rng.pick(&[0, 1, -1, 127, -128, i32::MIN, i32::MAX, 0x0f0f_0f0f])),
                3 => Op::Shl(self.any(values, Ty::VI32), self.rng.below(32) as u8),
                _ => Op::Shr(self.any(values, Ty::VI32), self.rng.below(32) as u8),
            },
            34 if self.b.lanes() > 1 => {
                let ty = self.rng.pick(&[Ty::VF32, Ty::VI32]);
                Op::Swap(self.any(values, ty), 1 + self.rng.below(self.b.lanes() - 1) as u8)
            }
            28 => {
                let vector = self.rng.below(2) == 0;
                let kind = if vector { LoadKind::VF32 } else { LoadKind::F32 };
                let addr = self.addr(values, self.p);
                Op::ToBits(self.b.load(kind, addr))
            }
            29 => {
                let ty = self.rng.pick(&[Ty::I64, Ty::VI32]);
                Op::FromBits(self.any(values, ty))
            }
            30 if self.rng.below(2) == 0 => Op::Expand(self.any(values, Ty::VF32), self.any(values, Ty::I64)),
            30 => Op::Permute(self.any(values, Ty::VF32), self.any(values, Ty::VI32)),
            31 | 32 => {
                let high = self.rng.below(2) == 0;
                Op::Zip(high, self.any(values, Ty::VF32), self.any(values, Ty::VF32))
            }
            33 => {
                let base = if self.rng.below(3) == 0 { self.q } else { self.p };
                let addr = self.addr(values, base);
                // The 64 bytes behind the address hold 16 floats.
                let (i, most) = (self.any(values, Ty::VI32), self.b.vint(15));
                Op::Gather(addr, self.b.ibin(IBin::And, i, most))
            }
            27 => Op::Shl(self.any(values, Ty::I64), self.rng.below(32) as u8),
            20 => Op::Shr(self.any(values, Ty::I64), self.rng.below(64) as u8),
            21 => Op::Int(self.rng.pick(&[0, 1, -1, 7, i64::MIN, i64::MAX, -1000])),
            22 => {
                let c = Bits::of(self.rng.float());
                if ft == Ty::F32 { Op::Float(c) } else { Op::VFloat(c) }
            }
            _ => Op::IBin(self.rng.pick(IBin::ALL), self.any(values, Ty::I64), self.any(values, Ty::I64)),
        }
    }
}
