//! Builder of kernels. Mistakes in its use come out as a [`Bug`] in [`Builder::finish`].
use super::{
    Addr, Bits, Carried, Cmp, FBin, FUn, IBin, Kernel, LBin, LoadKind, Loop, Near, Op, Param, RedFn, Stmt, StoreKind,
    TileOp, Ty, Val,
};
use crate::math::MathFn;
use spc_base::Bug;

/// Appends statements to the body of a kernel, innermost open loop last.
pub struct Builder {
    kernel: Kernel,
    stack: Vec<Vec<Stmt>>,
}

impl Builder {
    pub fn new(name: impl Into<String>, lanes: usize) -> Builder {
        let kernel = Kernel { name: name.into(), lanes, params: Vec::new(), tys: Vec::new(), body: Vec::new() };
        Builder { kernel, stack: vec![Vec::new()] }
    }

    pub fn lanes(&self) -> usize {
        self.kernel.lanes
    }

    pub fn ty(&self, v: Val) -> Option<Ty> {
        self.kernel.ty(v)
    }

    /// Closes the kernel and verifies it.
    pub fn finish(mut self) -> Result<Kernel, Bug> {
        let body = self.stack.pop();
        if !self.stack.is_empty() {
            return Err(Bug::new(format!("kernel {}: a loop is still open", self.kernel.name)));
        }
        self.kernel.body = body.unwrap_or_default();
        let checked = self.kernel.verify();
        checked.map_err(|e| Bug::new(format!("kernel {}: {e}", self.kernel.name)))?;
        Ok(self.kernel)
    }

    fn value(&mut self, ty: Ty) -> Val {
        let v = Val(self.kernel.tys.len() as u32);
        self.kernel.tys.push(ty);
        v
    }

    fn push(&mut self, s: Stmt) {
        if let Some(top) = self.stack.last_mut() {
            top.push(s);
        }
    }

    /// Adds a parameter. All parameters come before the first statement.
    pub fn param(&mut self, name: &str, ty: Ty) -> Val {
        self.kernel.params.push(Param { name: name.to_string(), ty });
        self.value(ty)
    }

    pub fn op(&mut self, op: Op) -> Val {
        // An operand that does not exist leaves any type here; the verifier refuses the operand.
        let ty = op.result(&|v| self.kernel.ty(v)).unwrap_or(Ty::I64);
        let v = self.value(ty);
        self.push(Stmt::Let(v, op));
        v
    }

    pub fn store(&mut self, kind: StoreKind, addr: Addr, v: Val) {
        self.push(Stmt::Store(kind, addr, v));
    }

    pub fn store_tail(&mut self, addr: Addr, value: Val, n: Val) {
        self.push(Stmt::StoreTail { addr, value, n });
    }

    pub fn prefetch(&mut self, addr: Addr) {
        self.push(Stmt::Prefetch(Near::L1, addr));
    }

    pub fn prefetch_l2(&mut self, addr: Addr) {
        self.push(Stmt::Prefetch(Near::L2, addr));
    }

    pub fn tile(&mut self, op: TileOp) {
        self.push(Stmt::Tile(op));
    }

    /// A loop of `count` rounds. `body` gets the round's index and the carried values, and gives as many values back
    /// for the next round. Returns the values after the last round.
    pub fn repeat(
        &mut self,
        count: Val,
        inits: &[Val],
        body: impl FnOnce(&mut Builder, Val, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let index = self.value(Ty::I64);
        let types: Vec<Ty> = inits.iter().map(|v| self.ty(*v).unwrap_or(Ty::I64)).collect();
        let params: Vec<Val> = types.iter().map(|t| self.value(*t)).collect();
        self.stack.push(Vec::new());
        let yields = body(self, index, &params);
        let stmts = self.stack.pop().unwrap_or_default();
        let results: Vec<Val> = types.iter().map(|t| self.value(*t)).collect();
        // A yield too few leaves a value that does not exist, which the verifier refuses.
        let missing = Val(u32::MAX);
        let carried = (0..inits.len())
            .map(|i| Carried {
                param: params[i],
                init: inits[i],
                result: results[i],
                yielded: yields.get(i).copied().unwrap_or(missing),
            })
            .collect();
        self.push(Stmt::Loop(Loop { index, count, carried, body: stmts }));
        results
    }

    /// Runs `body` once if `cond` is true.
    pub fn when(&mut self, cond: Val, body: impl FnOnce(&mut Builder)) {
        let (one, zero) = (self.int(1), self.int(0));
        let count = self.select(cond, one, zero);
        self.repeat(count, &[], |b, _, _| {
            body(b);
            Vec::new()
        });
    }

    pub fn int(&mut self, c: i64) -> Val {
        self.op(Op::Int(c))
    }

    pub fn float(&mut self, c: f32) -> Val {
        self.op(Op::Float(Bits::of(c)))
    }

    pub fn vfloat(&mut self, c: f32) -> Val {
        self.op(Op::VFloat(Bits::of(c)))
    }

    pub fn vint(&mut self, c: i32) -> Val {
        self.op(Op::VInt(c))
    }

    pub fn dot4(&mut self, acc: Val, u: Val, s: Val) -> Val {
        self.op(Op::Dot4(acc, u, s))
    }

    pub fn ibin(&mut self, f: IBin, a: Val, b: Val) -> Val {
        self.op(Op::IBin(f, a, b))
    }

    pub fn iadd(&mut self, a: Val, b: Val) -> Val {
        self.ibin(IBin::Add, a, b)
    }

    pub fn isub(&mut self, a: Val, b: Val) -> Val {
        self.ibin(IBin::Sub, a, b)
    }

    pub fn imul(&mut self, a: Val, b: Val) -> Val {
        self.ibin(IBin::Mul, a, b)
    }

    /// `a * c`, without an operation where c is 1.
    pub fn scale(&mut self, a: Val, c: i64) -> Val {
        if c == 1 {
            return a;
        }
        let c = self.int(c);
        self.imul(a, c)
    }

    pub fn ptr_add(&mut self, p: Val, bytes: Val) -> Val {
        self.op(Op::PtrAdd(p, bytes))
    }

    /// The bytes from `b` to `a`, which point into one buffer.
    pub fn ptr_diff(&mut self, a: Val, b: Val) -> Val {
        self.op(Op::PtrDiff(a, b))
    }

    pub fn ptr_off(&mut self, p: Val, bytes: i32) -> Val {
        self.op(Op::PtrOff(p, bytes))
    }

    pub fn load(&mut self, kind: LoadKind, addr: Addr) -> Val {
        self.op(Op::Load(kind, addr))
    }

    pub fn load_tail(&mut self, addr: Addr, n: Val) -> Val {
        self.op(Op::LoadTail(addr, n))
    }

    pub fn fbin(&mut self, f: FBin, a: Val, b: Val) -> Val {
        self.op(Op::FBin(f, a, b))
    }

    pub fn fun(&mut self, f: FUn, a: Val) -> Val {
        self.op(Op::FUn(f, a))
    }

    pub fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.op(Op::Fma(a, b, c))
    }

    pub fn math(&mut self, f: MathFn, a: Val, b: Option<Val>) -> Val {
        self.op(Op::Math(f, a, b))
    }

    pub fn splat(&mut self, a: Val) -> Val {
        self.op(Op::Splat(a))
    }

    /// Lane i gets lane `i ^ k`.
    pub fn swap(&mut self, a: Val, k: u8) -> Val {
        self.op(Op::Swap(a, k))
    }

    pub fn reduce(&mut self, f: RedFn, a: Val) -> Val {
        self.op(Op::Reduce(f, a))
    }

    pub fn icmp(&mut self, c: Cmp, a: Val, b: Val) -> Val {
        self.op(Op::ICmp(c, a, b))
    }

    pub fn fcmp(&mut self, c: Cmp, a: Val, b: Val) -> Val {
        self.op(Op::FCmp(c, a, b))
    }

    pub fn logic(&mut self, f: LBin, a: Val, b: Val) -> Val {
        self.op(Op::Logic(f, a, b))
    }

    pub fn permute(&mut self, a: Val, i: Val) -> Val {
        self.op(Op::Permute(a, i))
    }

    /// The first lanes of `a`, spread over the lanes whose bits of `mask` are one.
    pub fn expand(&mut self, a: Val, mask: Val) -> Val {
        self.op(Op::Expand(a, mask))
    }

    pub fn bytes(&mut self, a: Val, i: Val) -> Val {
        self.op(Op::Bytes(a, i))
    }

    pub fn permute_bytes(&mut self, a: Val, i: Val) -> Val {
        self.op(Op::PermuteBytes(a, i))
    }

    pub fn gather(&mut self, addr: Addr, i: Val) -> Val {
        self.op(Op::Gather(addr, i))
    }

    pub fn select(&mut self, c: Val, a: Val, b: Val) -> Val {
        self.op(Op::Select(c, a, b))
    }
}
