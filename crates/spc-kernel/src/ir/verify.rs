//! The verifier: types, arity, single definition, and scope (a value is visible later in its own body and in inner ones).
use super::{Addr, IBin, Kernel, LANES, LBin, MAX_LOCAL, Op, Stmt, StoreKind, TILES, TileOp, Ty, Val};

/// Greatest depth of nested loops.
pub const MAX_DEPTH: usize = 64;

struct Verifier<'a> {
    kernel: &'a Kernel,
    /// Visible at the current point.
    visible: Vec<bool>,
    defined: Vec<bool>,
    /// Tiles that hold something at the current point, on every way to it, as bits.
    tiles: u8,
    /// Bytes of memory of the kernel's own.
    local: u32,
}

pub fn verify(kernel: &Kernel) -> Result<(), String> {
    if !LANES.contains(&kernel.lanes) {
        return Err(format!("{} is no lane count", kernel.lanes));
    }
    let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !word(&kernel.name) {
        return Err("the name is not made of letters, digits and _".into());
    }
    let n = kernel.tys.len();
    let mut v = Verifier { kernel, visible: vec![false; n], defined: vec![false; n], tiles: 0, local: 0 };
    for (i, p) in kernel.params.iter().enumerate() {
        if !word(&p.name) || kernel.param(&p.name) != Some(i) {
            return Err(format!("parameter name `{}` is repeated or malformed", p.name));
        }
        if !(p.ty.is_pointer() || p.ty == Ty::I64) {
            return Err(format!("parameter {} is {}, not a pointer or i64", p.name, p.ty.name()));
        }
        v.define(Val(i as u32), p.ty)?;
    }
    v.body(&kernel.body, 0)?;
    match v.defined.iter().position(|d| !d) {
        Some(i) => Err(format!("v{i} is never defined")),
        None => Ok(()),
    }
}

impl Verifier<'_> {
    fn define(&mut self, v: Val, ty: Ty) -> Result<(), String> {
        let have = self.kernel.ty(v).ok_or_else(|| format!("v{} has no type", v.0))?;
        if have != ty {
            return Err(format!("v{} is {}, its definition gives {}", v.0, have.name(), ty.name()));
        }
        if std::mem::replace(&mut self.defined[v.index()], true) {
            return Err(format!("v{} is defined twice", v.0));
        }
        self.visible[v.index()] = true;
        Ok(())
    }

    /// Type of a visible value.
    fn get(&self, v: Val) -> Result<Ty, String> {
        match self.kernel.ty(v) {
            Some(t) if self.visible[v.index()] => Ok(t),
            _ => Err(format!("v{} is used outside its scope", v.0)),
        }
    }

    fn want(&self, v: Val, allowed: &[Ty]) -> Result<Ty, String> {
        let t = self.get(v)?;
        if allowed.contains(&t) {
            return Ok(t);
        }
        let names: Vec<&str> = allowed.iter().map(|t| t.name()).collect();
        Err(format!("v{} is {}, not {}", v.0, t.name(), names.join(" or ")))
    }

    fn addr(&self, a: &Addr, write: bool) -> Result<(), String> {
        self.want(a.base, if write { &[Ty::Ptr] } else { &[Ty::Ptr, Ty::CPtr] })?;
        if let Some((i, scale)) = a.index {
            self.want(i, &[Ty::I64])?;
            if ![1, 2, 4, 8].contains(&scale) {
                return Err(format!("{scale} is no scale"));
            }
        }
        Ok(())
    }

    fn tile(&mut self, op: &TileOp) -> Result<(), String> {
        if self.kernel.lanes != 16 {
            return Err(format!("a tile in a kernel of {} lanes", self.kernel.lanes));
        }
        let reads = op.reads();
        if let Some(t) = reads.iter().copied().chain(op.writes()).find(|t| *t >= TILES) {
            return Err(format!("there is no tile {t}"));
        }
        if let Some(t) = reads.iter().find(|t| self.tiles & (1 << **t) == 0) {
            return Err(format!("tile {t} is read before it is written"));
        }
        if let TileOp::Dot(c, s, u) = *op
            && (c == s || c == u || s == u)
        {
            return Err("a product of a tile with itself".into());
        }
        if let Some(a) = op.addr() {
            self.addr(a, matches!(op, TileOp::Store(..)))?;
            if a.index.is_some() {
                return Err("the address of a tile has an index".into());
            }
        }
        self.tiles |= op.writes().map_or(0, |t| 1 << t);
        Ok(())
    }

    fn body(&mut self, body: &[Stmt], depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("loops are nested too deeply".into());
        }
        for s in body {
            match s {
                Stmt::Let(v, Op::Local(n)) => {
                    self.local = self.local.saturating_add(*n);
                    if depth > 0 || *n == 0 || self.local > MAX_LOCAL {
                        return Err(format!("v{}: {n} bytes of own memory in {depth} loops", v.0));
                    }
                    self.define(*v, Ty::Ptr)?;
                }
                Stmt::Tile(t) => self.tile(t)?,
                Stmt::Let(v, op) => {
                    let ty = self.op(op).map_err(|e| format!("v{}: {e}", v.0))?;
                    self.define(*v, ty)?;
                }
                Stmt::Store(kind, addr, v) => {
                    self.addr(addr, true)?;
                    self.want(*v, &[kind.operand()])?;
                }
                Stmt::StoreTail { addr, value, n } => {
                    self.addr(addr, true)?;
                    self.want(*value, &[StoreKind::VF32.operand()])?;
                    self.want(*n, &[Ty::I64])?;
                }
                Stmt::Prefetch(_, addr) => self.addr(addr, false)?,
                Stmt::Loop(l) => {
                    self.want(l.count, &[Ty::I64])?;
                    let types = l.carried.iter().map(|c| self.get(c.init)).collect::<Result<Vec<_>, _>>()?;
                    let (outer, tiles) = (self.visible.clone(), self.tiles);
                    self.define(l.index, Ty::I64)?;
                    for (c, t) in l.carried.iter().zip(&types) {
                        self.define(c.param, *t)?;
                    }
                    self.body(&l.body, depth + 1)?;
                    for (c, t) in l.carried.iter().zip(&types) {
                        self.want(c.yielded, &[*t])?;
                    }
                    (self.visible, self.tiles) = (outer, tiles);
                    for (c, t) in l.carried.iter().zip(&types) {
                        self.define(c.result, *t)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks the operands and gives the type of the result.
    fn op(&self, op: &Op) -> Result<Ty, String> {
        const INTS: &[Ty] = &[Ty::I64, Ty::VI32];
        const FLOATS: &[Ty] = &[Ty::F32, Ty::VF32];
        const TRUTHS: &[Ty] = &[Ty::Bool, Ty::VBool];
        match op {
            Op::Int(_) | Op::Float(_) | Op::VFloat(_) | Op::VInt(_) | Op::Bool(_) | Op::Local(_) => {}
            Op::IBin(f, a, b) => {
                let t = self.want(*a, INTS)?;
                self.want(*b, &[t])?;
                if t == Ty::VI32 && matches!(f, IBin::Div | IBin::Rem) {
                    return Err(format!("{} has no vector form", f.name()));
                }
            }
            Op::ICmp(_, a, b) => {
                self.want(*a, &[Ty::I64])?;
                self.want(*b, &[Ty::I64])?;
            }
            Op::Shr(a, n) | Op::Shl(a, n) => {
                let vector = self.want(*a, INTS)? == Ty::VI32;
                let most = if vector || matches!(op, Op::Shl(..)) { 31 } else { 63 };
                if *n > most {
                    return Err(format!("shift by {n}"));
                }
            }
            Op::Wrap32(a) | Op::Ones(a) => {
                self.want(*a, &[Ty::I64])?;
            }
            Op::Swap(a, k) => {
                self.want(*a, &[Ty::VF32, Ty::VI32])?;
                if *k == 0 || usize::from(*k) >= self.kernel.lanes {
                    return Err(format!("lanes swapped by {k}"));
                }
            }
            Op::IToF(a) => {
                self.want(*a, INTS)?;
            }
            Op::Nearest(a) | Op::NearestOrLeast(a) => {
                self.want(*a, &[Ty::VF32])?;
            }
            Op::Dot4(acc, u, s) => {
                for v in [acc, u, s] {
                    self.want(*v, &[Ty::VI32])?;
                }
            }
            Op::FToI(a) => {
                self.want(*a, &[Ty::F32])?;
            }
            Op::ToBits(a) => {
                self.want(*a, FLOATS)?;
            }
            Op::FromBits(a) => {
                self.want(*a, INTS)?;
            }
            Op::Permute(a, i) => {
                self.want(*a, &[Ty::VF32])?;
                self.want(*i, &[Ty::VI32])?;
            }
            Op::Expand(a, m) => {
                self.want(*a, &[Ty::VF32])?;
                self.want(*m, &[Ty::I64])?;
            }
            Op::Bytes(a, i) | Op::PermuteBytes(a, i) => {
                self.want(*a, &[Ty::VI32])?;
                self.want(*i, &[Ty::VI32])?;
                if matches!(op, Op::PermuteBytes(..)) && self.kernel.lanes != 16 {
                    return Err(format!("bytes of {} lanes permuted", self.kernel.lanes));
                }
            }
            Op::Zip(_, a, b) => {
                self.want(*a, &[Ty::VF32])?;
                self.want(*b, &[Ty::VF32])?;
            }
            Op::Gather(addr, i) => {
                self.addr(addr, false)?;
                self.want(*i, &[Ty::VI32])?;
            }
            Op::PtrAdd(p, n) => {
                self.want(*p, &[Ty::Ptr, Ty::CPtr])?;
                self.want(*n, &[Ty::I64])?;
            }
            Op::PtrOff(p, _) => {
                self.want(*p, &[Ty::Ptr, Ty::CPtr])?;
            }
            Op::PtrDiff(a, b) => {
                self.want(*a, &[Ty::Ptr, Ty::CPtr])?;
                self.want(*b, &[Ty::Ptr, Ty::CPtr])?;
            }
            Op::Load(_, addr) => self.addr(addr, false)?,
            Op::LoadTail(addr, n) => {
                self.addr(addr, false)?;
                self.want(*n, &[Ty::I64])?;
            }
            Op::FBin(_, a, b) | Op::FCmp(_, a, b) => {
                let t = self.want(*a, FLOATS)?;
                self.want(*b, &[t])?;
            }
            Op::FUn(_, a) => {
                self.want(*a, FLOATS)?;
            }
            Op::Fma(a, b, c) => {
                let t = self.want(*a, FLOATS)?;
                self.want(*b, &[t])?;
                self.want(*c, &[t])?;
            }
            Op::Math(f, a, b) => {
                let t = self.want(*a, FLOATS)?;
                if f.arity() != 1 + usize::from(b.is_some()) {
                    return Err(format!("{} takes {} arguments", f.name(), f.arity()));
                }
                if let Some(b) = b {
                    self.want(*b, &[t])?;
                }
            }
            Op::Splat(a) => {
                self.want(*a, &[Ty::F32, Ty::I64, Ty::Bool])?;
            }
            Op::Reduce(_, a) => {
                self.want(*a, &[Ty::VF32, Ty::VI32])?;
            }
            Op::Logic(LBin::And | LBin::Or, a, b) => {
                let t = self.want(*a, TRUTHS)?;
                self.want(*b, &[t])?;
            }
            Op::Not(a) => {
                self.want(*a, TRUTHS)?;
            }
            Op::Select(c, a, b) => {
                let by_lane = self.want(*c, TRUTHS)? == Ty::VBool;
                let t = self.get(*a)?;
                if t.is_pointer() || (by_lane && !matches!(t, Ty::VF32 | Ty::VI32 | Ty::VBool)) {
                    return Err(format!("a select does not choose between values of {}", t.name()));
                }
                self.want(*b, &[t])?;
            }
        }
        op.result(&|v| self.kernel.ty(v)).ok_or_else(|| "an operand has no type".to_string())
    }
}
