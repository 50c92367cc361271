//! The meaning of the loop IR: an interpreter in which a pointer is a buffer and an offset, and every access is checked.
use super::tile::dot;
use super::{
    Addr, Cmp, FBin, FUn, IBin, Kernel, LBin, LoadKind, Op, RedFn, Stmt, StoreKind, TILE_BYTES, TILES, TileOp, Ty, Val,
};
use crate::math;
use spc_base::Bug;

/// An argument of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    Int(i64),
    /// The byte `offset` of buffer number `buffer`.
    Ptr {
        buffer: usize,
        offset: usize,
    },
}

impl Arg {
    pub fn buffer(buffer: usize) -> Arg {
        Arg::Ptr { buffer, offset: 0 }
    }
}

const MAX_LANES: usize = 16;

#[derive(Clone, Copy, Debug)]
enum Value {
    I(i64),
    P(usize, i64),
    F(f32),
    VF([f32; MAX_LANES]),
    VI([i32; MAX_LANES]),
    B(bool),
    VB([bool; MAX_LANES]),
}

struct Interp<'a> {
    kernel: &'a Kernel,
    values: Vec<Option<Value>>,
    buffers: &'a mut [Vec<u8>],
    /// Memory of the kernel's own, whose numbers follow those of `buffers`.
    locals: Vec<Vec<u8>>,
    tiles: [Option<Box<[u8; TILE_BYTES]>>; TILES as usize],
}

/// Runs a kernel on `buffers`.
///
/// Errors: a kernel that does not verify, arguments that do not fit, a buffer passed as `cptr` and as `ptr` at once, and
/// any load or store outside its buffer.
pub fn run(kernel: &Kernel, args: &[Arg], buffers: &mut [Vec<u8>]) -> Result<(), Bug> {
    let fail = |e: String| Bug::new(format!("kernel {}: {e}", kernel.name));
    kernel.verify().map_err(fail)?;
    if args.len() != kernel.params.len() {
        return Err(fail(format!("{} arguments for {} parameters", args.len(), kernel.params.len())));
    }
    let mut it =
        Interp { kernel, values: vec![None; kernel.tys.len()], buffers, locals: Vec::new(), tiles: Default::default() };
    let (mut read, mut written) = (Vec::new(), Vec::new());
    for (i, (p, a)) in kernel.params.iter().zip(args).enumerate() {
        it.values[i] = Some(match (*a, p.ty) {
            (Arg::Int(x), Ty::I64) => Value::I(x),
            (Arg::Ptr { buffer, offset }, t) if t.is_pointer() && buffer < it.buffers.len() => {
                if t == Ty::CPtr {
                    read.push(buffer)
                } else {
                    written.push(buffer)
                }
                Value::P(buffer, i64::try_from(offset).map_err(|_| fail("offset too large".into()))?)
            }
            _ => return Err(fail(format!("argument {} does not fit", p.name))),
        });
    }
    if let Some(b) = read.iter().find(|b| written.contains(b)) {
        return Err(fail(format!("buffer {b} is passed as cptr and as ptr")));
    }
    it.body(&kernel.body).map_err(fail)
}

fn compare<T: PartialOrd>(c: Cmp, a: T, b: T) -> bool {
    match c {
        Cmp::Lt => a < b,
        Cmp::Le => a <= b,
        Cmp::Gt => a > b,
        Cmp::Ge => a >= b,
        Cmp::Eq => a == b,
        Cmp::Ne => a != b,
    }
}

fn integer(f: IBin, a: i64, b: i64) -> i64 {
    match f {
        IBin::Add => a.wrapping_add(b),
        IBin::Sub => a.wrapping_sub(b),
        IBin::Mul => a.wrapping_mul(b),
        IBin::Min => a.min(b),
        IBin::Max => a.max(b),
        IBin::And => a & b,
        IBin::Or => a | b,
        IBin::Xor => a ^ b,
        IBin::Div => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a }),
        IBin::Rem => a.checked_rem(b).unwrap_or(if b == 0 { a } else { 0 }),
    }
}

fn integer32(f: IBin, a: i32, b: i32) -> i32 {
    match f {
        IBin::Add => a.wrapping_add(b),
        IBin::Sub => a.wrapping_sub(b),
        IBin::Mul => a.wrapping_mul(b),
        IBin::Min => a.min(b),
        IBin::Max => a.max(b),
        IBin::And => a & b,
        IBin::Or => a | b,
        IBin::Xor => a ^ b,
        // Refused by the verifier.
        IBin::Div | IBin::Rem => 0,
    }
}

/// The bytes of the first `lanes` lanes, the others zero.
fn bytes(v: [i32; MAX_LANES], lanes: usize) -> [u8; 4 * MAX_LANES] {
    std::array::from_fn(|j| if j / 4 < lanes { v[j / 4].to_le_bytes()[j % 4] } else { 0 })
}

fn of_bytes(byte: impl Fn(usize) -> u8) -> [i32; MAX_LANES] {
    std::array::from_fn(|i| i32::from_le_bytes(std::array::from_fn(|k| byte(4 * i + k))))
}

/// `acc` plus the products of the unsigned bytes of `u` and the signed bytes of `s`.
fn dot4(acc: i32, u: i32, s: i32) -> i32 {
    let products = u.to_le_bytes().into_iter().zip(s.to_le_bytes()).map(|(u, s)| i32::from(u) * i32::from(s as i8));
    products.fold(acc, i32::wrapping_add)
}

fn float(f: FBin, a: f32, b: f32) -> f32 {
    match f {
        FBin::Add => a + b,
        FBin::Sub => a - b,
        FBin::Mul => a * b,
        FBin::Div => a / b,
        FBin::Max => math::maximum(a, b),
        FBin::Min => math::minimum(a, b),
    }
}

fn unary(f: FUn, a: f32) -> f32 {
    match f {
        FUn::Neg => -a,
        FUn::Abs => a.abs(),
        FUn::Sqrt => a.sqrt(),
        FUn::Floor => a.floor(),
    }
}

fn wrong<T>(v: Val) -> Result<T, String> {
    Err(format!("{v} has another type"))
}

impl Interp<'_> {
    fn get(&self, v: Val) -> Result<Value, String> {
        self.values.get(v.index()).copied().flatten().ok_or_else(|| format!("{v} has no value"))
    }

    fn set(&mut self, v: Val, x: Value) {
        if let Some(slot) = self.values.get_mut(v.index()) {
            *slot = Some(x);
        }
    }

    fn int(&self, v: Val) -> Result<i64, String> {
        if let Value::I(x) = self.get(v)? { Ok(x) } else { wrong(v) }
    }

    fn vector(&self, v: Val) -> Result<[f32; MAX_LANES], String> {
        if let Value::VF(x) = self.get(v)? { Ok(x) } else { wrong(v) }
    }

    fn lanes(&self, v: Val) -> Result<[i32; MAX_LANES], String> {
        if let Value::VI(x) = self.get(v)? { Ok(x) } else { wrong(v) }
    }

    fn memory(&self, buffer: usize) -> &[u8] {
        let own = buffer.checked_sub(self.buffers.len());
        own.map_or_else(|| &self.buffers[buffer][..], |i| self.locals.get(i).map_or(&[], |m| &m[..]))
    }

    fn tile(&mut self, op: &TileOp) -> Result<(), String> {
        let empty = |t: u8| format!("tile {t} holds nothing");
        match *op {
            TileOp::Zero(t) => self.tiles[usize::from(t)] = Some(Box::new([0; TILE_BYTES])),
            TileOp::Load(t, a) => self.tiles[usize::from(t)] = Some(Box::new(self.bytes(&a)?)),
            TileOp::Store(t, a) => {
                let tile = self.tiles[usize::from(t)].clone().ok_or_else(|| empty(t))?;
                self.write(&a, &tile[..])?;
            }
            TileOp::Dot(c, s, u) => {
                let mut sums = self.tiles[usize::from(c)].take().ok_or_else(|| empty(c))?;
                match (&self.tiles[usize::from(s)], &self.tiles[usize::from(u)]) {
                    (Some(x), Some(y)) => dot(&mut sums, x, y),
                    _ => return Err(empty(s)),
                }
                self.tiles[usize::from(c)] = Some(sums);
            }
        }
        Ok(())
    }

    /// Buffer and byte range of an access of `len` bytes, checked.
    fn range(&self, a: &Addr, len: usize) -> Result<(usize, std::ops::Range<usize>), String> {
        self.range_from(self.get(a.base)?, a, len)
    }

    /// As [`Self::range`], with another base.
    fn range_from(&self, base: Value, a: &Addr, len: usize) -> Result<(usize, std::ops::Range<usize>), String> {
        let Value::P(buffer, offset) = base else { return wrong(a.base) };
        let index = match a.index {
            Some((i, scale)) => i128::from(self.int(i)?) * i128::from(scale),
            None => 0,
        };
        let at = i128::from(offset) + index + i128::from(a.disp);
        let size = self.memory(buffer).len();
        match usize::try_from(at).ok().and_then(|s| Some(s..s.checked_add(len)?)) {
            Some(r) if r.end <= size => Ok((buffer, r)),
            _ => Err(format!("{a} is bytes {at} to {} of buffer {buffer} of {size} bytes", at + len as i128)),
        }
    }

    /// The bytes at an address whose base and displacement are `base` already.
    fn bytes_at<const N: usize>(&self, base: Value, a: &Addr) -> Result<[u8; N], String> {
        let (buffer, r) = self.range_from(base, &Addr { disp: 0, ..*a }, N)?;
        self.memory(buffer)[r].try_into().map_err(|_| "a range of another length".to_string())
    }

    fn bytes<const N: usize>(&self, a: &Addr) -> Result<[u8; N], String> {
        let (buffer, r) = self.range(a, N)?;
        self.memory(buffer)[r].try_into().map_err(|_| "a range of another length".to_string())
    }

    fn write(&mut self, a: &Addr, bytes: &[u8]) -> Result<(), String> {
        let (buffer, r) = self.range(a, bytes.len())?;
        let own = buffer.checked_sub(self.buffers.len());
        let memory = match own {
            Some(i) => self.locals.get_mut(i),
            None => self.buffers.get_mut(buffer),
        };
        if let Some(m) = memory {
            m[r].copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Number of lanes of a tail of `n`.
    fn tail(&self, n: Val) -> Result<usize, String> {
        Ok(self.int(n)?.clamp(0, self.kernel.lanes as i64) as usize)
    }

    fn floats(&self, a: &Addr, count: usize) -> Result<[f32; MAX_LANES], String> {
        let mut out = [0.0; MAX_LANES];
        for (i, x) in out.iter_mut().enumerate().take(count) {
            *x = f32::from_le_bytes(self.bytes(&a.plus(4 * i as i32))?);
        }
        Ok(out)
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), String> {
        for s in body {
            match s {
                Stmt::Let(v, Op::Local(n)) => {
                    self.locals.push(vec![0xff; *n as usize]);
                    let at = self.buffers.len() + self.locals.len() - 1;
                    self.set(*v, Value::P(at, 0));
                }
                Stmt::Tile(t) => self.tile(t)?,
                Stmt::Let(v, op) => {
                    let x = self.op(op)?;
                    self.set(*v, x);
                }
                Stmt::Store(kind, a, v) => self.store(*kind, a, *v)?,
                Stmt::StoreTail { addr, value, n } => {
                    let (x, n) = (self.vector(*value)?, self.tail(*n)?);
                    for (i, x) in x.iter().enumerate().take(n) {
                        self.write(&addr.plus(4 * i as i32), &x.to_le_bytes())?;
                    }
                }
                Stmt::Prefetch(..) => {}
                Stmt::Loop(l) => {
                    let count = self.int(l.count)?;
                    let mut now = l.carried.iter().map(|c| self.get(c.init)).collect::<Result<Vec<_>, _>>()?;
                    for i in 0..count.max(0) {
                        self.set(l.index, Value::I(i));
                        for (c, x) in l.carried.iter().zip(&now) {
                            self.set(c.param, *x);
                        }
                        self.body(&l.body)?;
                        now = l.carried.iter().map(|c| self.get(c.yielded)).collect::<Result<Vec<_>, _>>()?;
                    }
                    for (c, x) in l.carried.iter().zip(now) {
                        self.set(c.result, x);
                    }
                }
            }
        }
        Ok(())
    }

    fn store(&mut self, kind: StoreKind, a: &Addr, v: Val) -> Result<(), String> {
        match (kind, self.get(v)?) {
            (StoreKind::F32, Value::F(x)) => self.write(a, &x.to_le_bytes()),
            (StoreKind::I32, Value::I(x)) => self.write(a, &(x as i32).to_le_bytes()),
            (StoreKind::U8, Value::I(x)) => self.write(a, &[x as u8]),
            (StoreKind::U16, Value::I(x)) => self.write(a, &(x as u16).to_le_bytes()),
            (StoreKind::VI32, Value::VI(x)) => {
                let bytes: Vec<u8> = x.iter().take(self.kernel.lanes).flat_map(|x| x.to_le_bytes()).collect();
                self.write(a, &bytes)
            }
            (StoreKind::VU8, Value::VI(x)) => {
                let bytes: Vec<u8> = x.iter().take(self.kernel.lanes).map(|x| *x as u8).collect();
                self.write(a, &bytes)
            }
            (StoreKind::Bool, Value::B(x)) => self.write(a, &[u8::from(x)]),
            (StoreKind::VF32, Value::VF(x)) => {
                let bytes: Vec<u8> = x.iter().take(self.kernel.lanes).flat_map(|x| x.to_le_bytes()).collect();
                self.write(a, &bytes)
            }
            _ => wrong(v),
        }
    }

    fn load(&self, kind: LoadKind, a: &Addr) -> Result<Value, String> {
        Ok(match kind {
            LoadKind::F32 => Value::F(f32::from_le_bytes(self.bytes(a)?)),
            LoadKind::I32 => Value::I(i64::from(i32::from_le_bytes(self.bytes(a)?))),
            LoadKind::U32 => Value::I(i64::from(u32::from_le_bytes(self.bytes(a)?))),
            LoadKind::U8 => Value::I(i64::from(self.bytes::<1>(a)?[0])),
            LoadKind::Bool => Value::B(self.bytes::<1>(a)?[0] != 0),
            LoadKind::VF32 => {
                self.range(a, 4 * self.kernel.lanes)?;
                Value::VF(self.floats(a, self.kernel.lanes)?)
            }
            LoadKind::Splat => Value::VF([f32::from_le_bytes(self.bytes(a)?); MAX_LANES]),
            LoadKind::Quad => {
                let n = self.kernel.lanes.min(4);
                let four = self.floats(a, n)?;
                Value::VF(std::array::from_fn(|i| four[i % n]))
            }
            LoadKind::QuadI32 => {
                let n = self.kernel.lanes.min(4);
                let four = self.floats(a, n)?;
                Value::VI(std::array::from_fn(|i| four[i % n].to_bits() as i32))
            }
            LoadKind::I8 => Value::I(i64::from(self.bytes::<1>(a)?[0] as i8)),
            LoadKind::U16 => Value::I(i64::from(u16::from_le_bytes(self.bytes(a)?))),
            LoadKind::F16 => Value::F(math::f16_to_f32(u16::from_le_bytes(self.bytes(a)?))),
            LoadKind::SplatI32 => Value::VI([i32::from_le_bytes(self.bytes(a)?); MAX_LANES]),
            LoadKind::VI32 => {
                Value::VI(self.elements(a, kind, |[b0, b1, b2, b3]: [u8; 4]| i32::from_le_bytes([b0, b1, b2, b3]))?)
            }
            LoadKind::VI8 => Value::VI(self.elements(a, kind, |[b]: [u8; 1]| i32::from(b as i8))?),
            LoadKind::VU8 => Value::VI(self.elements(a, kind, |[b]: [u8; 1]| i32::from(b))?),
            LoadKind::VI16 => Value::VI(self.elements(a, kind, |b| i32::from(i16::from_le_bytes(b)))?),
            LoadKind::VU16 => Value::VI(self.elements(a, kind, |b| i32::from(u16::from_le_bytes(b)))?),
            LoadKind::VF16 => Value::VF(self.elements(a, kind, |b| math::f16_to_f32(u16::from_le_bytes(b)))?),
            LoadKind::VBf16 => {
                Value::VF(self.elements(a, kind, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))?)
            }
        })
    }

    /// One element for each lane, from `N` bytes each.
    fn elements<const N: usize, T: Copy + Default>(
        &self,
        a: &Addr,
        kind: LoadKind,
        f: impl Fn([u8; N]) -> T,
    ) -> Result<[T; MAX_LANES], String> {
        self.range(a, kind.bytes(self.kernel.lanes))?;
        let mut out = [T::default(); MAX_LANES];
        for (i, x) in out.iter_mut().enumerate().take(self.kernel.lanes) {
            *x = f(self.bytes(&a.plus((N * i) as i32))?);
        }
        Ok(out)
    }

    /// Applies `f` to one float or lane by lane.
    fn map1(&self, a: Val, f: impl Fn(f32) -> f32) -> Result<Value, String> {
        match self.get(a)? {
            Value::F(x) => Ok(Value::F(f(x))),
            Value::VF(x) => Ok(Value::VF(x.map(f))),
            _ => wrong(a),
        }
    }

    fn map2(&self, a: Val, b: Val, f: impl Fn(f32, f32) -> f32) -> Result<Value, String> {
        match (self.get(a)?, self.get(b)?) {
            (Value::F(x), Value::F(y)) => Ok(Value::F(f(x, y))),
            (Value::VF(x), Value::VF(y)) => Ok(Value::VF(std::array::from_fn(|i| f(x[i], y[i])))),
            _ => wrong(a),
        }
    }

    fn reduce(&self, f: RedFn, a: Val) -> Result<Value, String> {
        let mut n = self.kernel.lanes;
        if let Value::VI(mut x) = self.get(a)? {
            while n > 1 {
                n /= 2;
                for i in 0..n {
                    x[i] = match f {
                        RedFn::Add => x[i].wrapping_add(x[i + n]),
                        RedFn::Max => x[i].max(x[i + n]),
                        RedFn::Min => x[i].min(x[i + n]),
                    };
                }
            }
            return Ok(Value::I(i64::from(x[0])));
        }
        let mut x = self.vector(a)?;
        while n > 1 {
            n /= 2;
            for i in 0..n {
                x[i] = match f {
                    RedFn::Add => x[i] + x[i + n],
                    RedFn::Max => math::maximum(x[i], x[i + n]),
                    RedFn::Min => math::minimum(x[i], x[i + n]),
                };
            }
        }
        Ok(Value::F(x[0]))
    }

    fn select(&self, c: Val, a: Val, b: Val) -> Result<Value, String> {
        match (self.get(c)?, self.get(a)?, self.get(b)?) {
            (Value::B(c), x, y) => Ok(if c { x } else { y }),
            (Value::VB(c), Value::VF(x), Value::VF(y)) => {
                Ok(Value::VF(std::array::from_fn(|i| if c[i] { x[i] } else { y[i] })))
            }
            (Value::VB(c), Value::VI(x), Value::VI(y)) => {
                Ok(Value::VI(std::array::from_fn(|i| if c[i] { x[i] } else { y[i] })))
            }
            (Value::VB(c), Value::VB(x), Value::VB(y)) => {
                Ok(Value::VB(std::array::from_fn(|i| if c[i] { x[i] } else { y[i] })))
            }
            _ => wrong(c),
        }
    }

    fn op(&self, op: &Op) -> Result<Value, String> {
        Ok(match *op {
            Op::Int(c) => Value::I(c),
            // Made where it stands.
            Op::Local(_) => return Err("memory of a kernel's own inside an expression".into()),
            Op::Float(c) => Value::F(c.get()),
            Op::VFloat(c) => Value::VF([c.get(); MAX_LANES]),
            Op::Bool(c) => Value::B(c),
            Op::VInt(c) => Value::VI([c; MAX_LANES]),
            Op::IBin(f, a, b) => match (self.get(a)?, self.get(b)?) {
                (Value::I(x), Value::I(y)) => Value::I(integer(f, x, y)),
                (Value::VI(x), Value::VI(y)) => Value::VI(std::array::from_fn(|i| integer32(f, x[i], y[i]))),
                _ => return wrong(a),
            },
            Op::Shr(a, n) => match self.get(a)? {
                Value::VI(x) => Value::VI(x.map(|x| x >> n)),
                _ => Value::I(self.int(a)? >> n),
            },
            Op::Shl(a, n) => match self.get(a)? {
                Value::VI(x) => Value::VI(x.map(|x| x << n)),
                _ => Value::I(self.int(a)? << n),
            },
            Op::Dot4(acc, u, s) => {
                let (acc, u, s) = (self.lanes(acc)?, self.lanes(u)?, self.lanes(s)?);
                Value::VI(std::array::from_fn(|i| dot4(acc[i], u[i], s[i])))
            }
            Op::Nearest(a) => Value::VI(self.vector(a)?.map(|x| x.round_ties_even() as i32)),
            Op::NearestOrLeast(a) => {
                let one = |x: f32| if x < 2_147_483_648.0 { x.round_ties_even() as i32 } else { i32::MIN };
                Value::VI(self.vector(a)?.map(one))
            }
            Op::Wrap32(a) => Value::I(i64::from(self.int(a)? as i32)),
            Op::PtrAdd(p, n) => self.offset(p, self.int(n)?)?,
            Op::PtrOff(p, n) => self.offset(p, i64::from(n))?,
            Op::PtrDiff(a, b) => match (self.get(a)?, self.get(b)?) {
                (Value::P(one, x), Value::P(other, y)) if one == other => Value::I(x.wrapping_sub(y)),
                (Value::P(..), Value::P(..)) => return Err("a distance between two buffers".into()),
                _ => return wrong(a),
            },
            Op::Load(kind, ref a) => self.load(kind, a)?,
            Op::LoadTail(ref a, n) => Value::VF(self.floats(a, self.tail(n)?)?),
            Op::FBin(f, a, b) => self.map2(a, b, |x, y| float(f, x, y))?,
            Op::FUn(f, a) => self.map1(a, |x| unary(f, x))?,
            Op::Fma(a, b, c) => match (self.get(a)?, self.get(b)?, self.get(c)?) {
                (Value::F(x), Value::F(y), Value::F(z)) => Value::F(x.mul_add(y, z)),
                (Value::VF(x), Value::VF(y), Value::VF(z)) => {
                    Value::VF(std::array::from_fn(|i| x[i].mul_add(y[i], z[i])))
                }
                _ => return wrong(a),
            },
            Op::Math(f, a, Some(b)) => self.map2(a, b, |x, y| math::call(f, x, y))?,
            Op::Math(f, a, None) => self.map1(a, |x| math::call(f, x, 0.0))?,
            Op::Splat(a) => match self.get(a)? {
                Value::F(x) => Value::VF([x; MAX_LANES]),
                Value::I(x) => Value::VI([x as i32; MAX_LANES]),
                Value::B(x) => Value::VB([x; MAX_LANES]),
                _ => return wrong(a),
            },
            Op::Swap(a, k) => {
                let from = |i: usize| i ^ usize::from(k) & (MAX_LANES - 1);
                match self.get(a)? {
                    Value::VF(x) => Value::VF(std::array::from_fn(|i| x[from(i)])),
                    Value::VI(x) => Value::VI(std::array::from_fn(|i| x[from(i)])),
                    _ => return wrong(a),
                }
            }
            Op::Reduce(f, a) => self.reduce(f, a)?,
            Op::ICmp(c, a, b) => Value::B(compare(c, self.int(a)?, self.int(b)?)),
            Op::FCmp(c, a, b) => match (self.get(a)?, self.get(b)?) {
                (Value::F(x), Value::F(y)) => Value::B(compare(c, x, y)),
                (Value::VF(x), Value::VF(y)) => Value::VB(std::array::from_fn(|i| compare(c, x[i], y[i]))),
                _ => return wrong(a),
            },
            Op::Logic(f, a, b) => {
                let both = |x: bool, y: bool| if f == LBin::And { x && y } else { x || y };
                match (self.get(a)?, self.get(b)?) {
                    (Value::B(x), Value::B(y)) => Value::B(both(x, y)),
                    (Value::VB(x), Value::VB(y)) => Value::VB(std::array::from_fn(|i| both(x[i], y[i]))),
                    _ => return wrong(a),
                }
            }
            Op::Not(a) => match self.get(a)? {
                Value::B(x) => Value::B(!x),
                Value::VB(x) => Value::VB(x.map(|x| !x)),
                _ => return wrong(a),
            },
            Op::Select(c, a, b) => self.select(c, a, b)?,
            Op::IToF(a) => match self.get(a)? {
                Value::VI(x) => Value::VF(x.map(|x| x as f32)),
                _ => Value::F(self.int(a)? as f32),
            },
            Op::FToI(a) => match self.get(a)? {
                Value::F(x) => Value::I(x as i64),
                _ => return wrong(a),
            },
            Op::ToBits(a) => match self.get(a)? {
                Value::F(x) => Value::I(i64::from(x.to_bits() as i32)),
                Value::VF(x) => Value::VI(x.map(|x| x.to_bits() as i32)),
                _ => return wrong(a),
            },
            Op::FromBits(a) => match self.get(a)? {
                Value::I(x) => Value::F(f32::from_bits(x as u32)),
                Value::VI(x) => Value::VF(x.map(|x| f32::from_bits(x as u32))),
                _ => return wrong(a),
            },
            Op::Permute(a, i) => {
                let (x, at, lanes) = (self.vector(a)?, self.lanes(i)?, self.kernel.lanes);
                Value::VF(std::array::from_fn(|j| x[at[j] as u32 as usize % lanes]))
            }
            Op::Ones(a) => Value::I(i64::from(self.int(a)?.count_ones())),
            Op::Expand(a, m) => {
                let (x, mask, mut next) = (self.vector(a)?, self.int(m)?, 0..MAX_LANES);
                let mut lane = |j: usize| if mask >> j & 1 == 1 { next.next().map_or(0.0, |i| x[i]) } else { 0.0 };
                Value::VF(std::array::from_fn(&mut lane))
            }
            Op::Bytes(a, i) => {
                let (x, at) = (bytes(self.lanes(a)?, self.kernel.lanes), bytes(self.lanes(i)?, MAX_LANES));
                let pick = |j: usize| if at[j] & 0x80 == 0 { x[j / 16 * 16 + usize::from(at[j] & 15)] } else { 0 };
                Value::VI(of_bytes(pick))
            }
            Op::PermuteBytes(a, i) => {
                let (x, at) = (bytes(self.lanes(a)?, MAX_LANES), bytes(self.lanes(i)?, MAX_LANES));
                Value::VI(of_bytes(|j| x[usize::from(at[j] & 63)]))
            }
            Op::Zip(high, a, b) => {
                let (x, y, lanes) = (self.vector(a)?, self.vector(b)?, self.kernel.lanes);
                let from = if high { lanes } else { 0 };
                Value::VF(std::array::from_fn(|j| {
                    let at = (from + j) / 2 % MAX_LANES;
                    if (from + j).is_multiple_of(2) { x[at] } else { y[at] }
                }))
            }
            Op::Gather(ref a, i) => {
                let at = self.lanes(i)?;
                let mut out = [0.0; MAX_LANES];
                for (x, i) in out.iter_mut().zip(at).take(self.kernel.lanes) {
                    let disp = 4 * i64::from(i) + i64::from(a.disp);
                    let Value::P(buffer, offset) = self.get(a.base)? else { return wrong(a.base) };
                    let moved = Value::P(buffer, offset.wrapping_add(disp));
                    *x = f32::from_le_bytes(self.bytes_at(moved, a)?);
                }
                Value::VF(out)
            }
        })
    }

    fn offset(&self, p: Val, bytes: i64) -> Result<Value, String> {
        let Value::P(buffer, at) = self.get(p)? else { return wrong(p) };
        Ok(Value::P(buffer, at.wrapping_add(bytes)))
    }
}
