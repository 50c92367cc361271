//! The text form of kernels. [`super::parse`] reads it back.
use super::{Addr, Kernel, Near, Op, Stmt, TileOp, Val};
use std::fmt;

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.base)?;
        if let Some((i, scale)) = self.index {
            write!(f, " + {i} * {scale}")?;
        }
        if self.disp != 0 {
            write!(f, " + {}", self.disp)?;
        }
        write!(f, "]")
    }
}

fn list(values: &[Val]) -> String {
    let words: Vec<String> = values.iter().map(Val::to_string).collect();
    words.join(", ")
}

/// A float as Rust's shortest decimal; NaNs by their bits.
fn float(x: f32) -> String {
    if x.is_nan() { format!("nan_{:08x}", x.to_bits()) } else { format!("{x:?}") }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Int(c) => write!(f, "int {c}"),
            Op::Float(c) => write!(f, "float {}", float(c.get())),
            Op::VFloat(c) => write!(f, "vfloat {}", float(c.get())),
            Op::VInt(c) => write!(f, "vint {c}"),
            Op::Bool(c) => write!(f, "bool {c}"),
            Op::IBin(k, a, b) => write!(f, "{} {a}, {b}", k.name()),
            Op::Shr(a, n) => write!(f, "ishr {a}, {n}"),
            Op::Shl(a, n) => write!(f, "ishl {a}, {n}"),
            Op::Wrap32(a) => write!(f, "wrap32 {a}"),
            Op::PtrAdd(a, b) => write!(f, "ptr_add {a}, {b}"),
            Op::PtrDiff(a, b) => write!(f, "ptr_diff {a}, {b}"),
            Op::PtrOff(a, n) => write!(f, "ptr_off {a}, {n}"),
            Op::Load(k, addr) => write!(f, "load.{} {addr}", k.name()),
            Op::LoadTail(addr, n) => write!(f, "load_tail {addr}, {n}"),
            Op::FBin(k, a, b) => write!(f, "{} {a}, {b}", k.name()),
            Op::FUn(k, a) => write!(f, "{} {a}", k.name()),
            Op::Fma(..) => write!(f, "fma {}", list(&self.uses())),
            Op::Dot4(..) => write!(f, "dot4 {}", list(&self.uses())),
            Op::Math(k, ..) => write!(f, "call.{} {}", k.name(), list(&self.uses())),
            Op::Splat(a) => write!(f, "splat {a}"),
            Op::Swap(a, k) => write!(f, "swap {a}, {k}"),
            Op::Reduce(k, a) => write!(f, "{} {a}", k.name()),
            Op::ICmp(k, a, b) => write!(f, "icmp.{} {a}, {b}", k.name()),
            Op::FCmp(k, a, b) => write!(f, "fcmp.{} {a}, {b}", k.name()),
            Op::Logic(k, a, b) => write!(f, "{} {a}, {b}", k.name()),
            Op::Not(a) => write!(f, "not {a}"),
            Op::Select(..) => write!(f, "select {}", list(&self.uses())),
            Op::IToF(a) => write!(f, "itof {a}"),
            Op::NearestOrLeast(a) => write!(f, "nearest_or_least {a}"),
            Op::Nearest(a) => write!(f, "nearest {a}"),
            Op::FToI(a) => write!(f, "ftoi {a}"),
            Op::ToBits(a) => write!(f, "to_bits {a}"),
            Op::FromBits(a) => write!(f, "from_bits {a}"),
            Op::Permute(a, i) => write!(f, "permute {a}, {i}"),
            Op::Ones(a) => write!(f, "ones {a}"),
            Op::Expand(a, m) => write!(f, "expand {a}, {m}"),
            Op::Bytes(a, i) => write!(f, "bytes {a}, {i}"),
            Op::PermuteBytes(a, i) => write!(f, "permute_bytes {a}, {i}"),
            Op::Zip(high, a, b) => write!(f, "{} {a}, {b}", if *high { "zip_high" } else { "zip_low" }),
            Op::Local(n) => write!(f, "local {n}"),
            Op::Gather(addr, i) => write!(f, "gather {addr}, {i}"),
        }
    }
}

impl fmt::Display for TileOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TileOp::Zero(t) => write!(f, "tile_zero {t}"),
            TileOp::Load(t, addr) => write!(f, "tile_load {t}, {addr}"),
            TileOp::Store(t, addr) => write!(f, "tile_store {t}, {addr}"),
            TileOp::Dot(c, s, u) => write!(f, "tile_dot {c}, {s}, {u}"),
        }
    }
}

impl Kernel {
    /// `v3: i64`
    fn typed(&self, v: Val) -> String {
        format!("{v}: {}", self.ty(v).map_or("?", |t| t.name()))
    }

    fn write_body(&self, body: &[Stmt], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pad = "  ".repeat(depth);
        for s in body {
            match s {
                Stmt::Let(v, op) => writeln!(f, "{pad}{} = {op}", self.typed(*v))?,
                Stmt::Store(k, addr, v) => writeln!(f, "{pad}store.{} {addr}, {v}", k.name())?,
                Stmt::StoreTail { addr, value, n } => writeln!(f, "{pad}store_tail {addr}, {value}, {n}")?,
                Stmt::Prefetch(Near::L1, addr) => writeln!(f, "{pad}prefetch {addr}")?,
                Stmt::Prefetch(Near::L2, addr) => writeln!(f, "{pad}prefetch_l2 {addr}")?,
                Stmt::Tile(t) => writeln!(f, "{pad}{t}")?,
                Stmt::Loop(l) => {
                    let carried: Vec<String> = l
                        .carried
                        .iter()
                        .map(|c| format!("{} = {} -> {}", self.typed(c.param), c.init, c.result))
                        .collect();
                    writeln!(f, "{pad}loop {} < {} ({}) {{", l.index, l.count, carried.join(", "))?;
                    self.write_body(&l.body, depth + 1, f)?;
                    let yields: Vec<Val> = l.carried.iter().map(|c| c.yielded).collect();
                    writeln!(f, "{pad}}} yield ({})", list(&yields))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params: Vec<String> = self.params.iter().map(|p| format!("{}: {}", p.name, p.ty.name())).collect();
        writeln!(f, "kernel {} lanes {} ({}) {{", self.name, self.lanes, params.join(", "))?;
        self.write_body(&self.body, 1, f)?;
        writeln!(f, "}}")
    }
}
