//! Reads the text form of a kernel: `parse(&kernel.to_string()) == Ok(kernel)` for every kernel that verifies.
use super::{
    Addr, Bits, Carried, Cmp, FBin, FUn, IBin, Kernel, LBin, LoadKind, Loop, Near, Op, Param, RedFn, Stmt, StoreKind,
    TileOp, Ty, Val,
};
use crate::math::MathFn;

/// Greatest value number in a text, so that a short text cannot ask for much memory.
const MAX_VALUES: u32 = 1 << 20;
const MAX_DEPTH: usize = super::verify::MAX_DEPTH;

/// Parses and verifies one kernel.
pub fn parse(text: &str) -> Result<Kernel, String> {
    let mut p = Parser { tokens: tokens(text)?, at: 0, tys: Vec::new() };
    let kernel = p.kernel()?;
    if let Some((line, t)) = p.tokens.get(p.at) {
        return Err(format!("line {line}: `{t}` after the kernel"));
    }
    kernel.verify()?;
    Ok(kernel)
}

/// Words and single punctuation marks with their line numbers. A word may hold letters, digits, `_`, `.`, and a sign
/// where a number begins or in its exponent.
fn tokens(text: &str) -> Result<Vec<(usize, &str)>, String> {
    let mut out = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let mut len = c.len_utf8();
            if rest.starts_with("->") {
                len = 2;
            } else if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                let numeric = c.is_ascii_digit() || c == '-';
                let bytes = rest.as_bytes();
                while len < bytes.len() {
                    let sign = bytes[len] == b'-' && numeric && bytes[len - 1] == b'e';
                    if !(bytes[len].is_ascii_alphanumeric() || matches!(bytes[len], b'_' | b'.') || sign) {
                        break;
                    }
                    len += 1;
                }
            } else if !"{}()[],:=<+*".contains(c) {
                return Err(format!("line {number}: unexpected `{c}`"));
            }
            out.push((number, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: Vec<(usize, &'a str)>,
    at: usize,
    tys: Vec<Option<Ty>>,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, what: &str) -> Result<T, String> {
        let at = self.at.min(self.tokens.len().saturating_sub(1));
        let line = self.tokens.get(at).map_or(1, |t| t.0);
        let found = self.peek().unwrap_or("the end");
        Err(format!("line {line}: expected {what}, found `{found}`"))
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(|t| t.1)
    }

    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        match self.peek() {
            Some(t) => {
                self.at += 1;
                Ok(t)
            }
            None => self.fail(what),
        }
    }

    fn eat(&mut self, word: &str) -> bool {
        let hit = self.peek() == Some(word);
        self.at += usize::from(hit);
        hit
    }

    fn need(&mut self, word: &str) -> Result<(), String> {
        if self.eat(word) { Ok(()) } else { self.fail(&format!("`{word}`")) }
    }

    /// A token that `f` understands.
    fn read<T>(&mut self, what: &str, f: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        match self.peek().and_then(f) {
            Some(v) => {
                self.at += 1;
                Ok(v)
            }
            None => self.fail(what),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        self.read("a number", |t| t.parse().ok())
    }

    fn bits(&mut self) -> Result<Bits, String> {
        self.read("a float", |t| match t.strip_prefix("nan_") {
            Some(hex) => u32::from_str_radix(hex, 16).ok().map(Bits),
            None => t.parse().ok().map(Bits::of),
        })
    }

    fn ty(&mut self) -> Result<Ty, String> {
        self.read("a type", |t| Ty::ALL.into_iter().find(|k| k.name() == t))
    }

    fn value(&mut self) -> Result<Val, String> {
        self.read("a value", |t| t.strip_prefix('v')?.parse().ok().filter(|n| *n < MAX_VALUES).map(Val))
    }

    fn comma_value(&mut self) -> Result<Val, String> {
        self.need(",")?;
        self.value()
    }

    fn set_ty(&mut self, v: Val, ty: Ty) {
        if self.tys.len() <= v.index() {
            self.tys.resize(v.index() + 1, None);
        }
        self.tys[v.index()] = Some(ty);
    }

    fn typed(&mut self) -> Result<(Val, Ty), String> {
        let v = self.value()?;
        self.need(":")?;
        let ty = self.ty()?;
        self.set_ty(v, ty);
        Ok((v, ty))
    }

    fn kernel(&mut self) -> Result<Kernel, String> {
        self.need("kernel")?;
        let name = self.next("a name")?.to_string();
        self.need("lanes")?;
        let lanes = self.number()?;
        self.need("(")?;
        let mut params = Vec::new();
        while !self.eat(")") {
            if !params.is_empty() {
                self.need(",")?;
            }
            let name = self.next("a name")?.to_string();
            self.need(":")?;
            let ty = self.ty()?;
            self.set_ty(Val(params.len() as u32), ty);
            params.push(Param { name, ty });
        }
        self.need("{")?;
        let body = self.body(0)?;
        let tys = std::mem::take(&mut self.tys);
        let missing = tys.iter().position(Option::is_none);
        if let Some(i) = missing {
            return Err(format!("v{i} is never defined"));
        }
        Ok(Kernel { name, lanes, params, tys: tys.into_iter().flatten().collect(), body })
    }

    /// Statements up to and including the closing brace.
    fn body(&mut self, depth: usize) -> Result<Vec<Stmt>, String> {
        if depth > MAX_DEPTH {
            return self.fail("less deeply nested loops");
        }
        let mut out = Vec::new();
        while !self.eat("}") {
            out.push(self.stmt(depth)?);
        }
        Ok(out)
    }

    fn stmt(&mut self, depth: usize) -> Result<Stmt, String> {
        if self.eat("loop") {
            return self.repeat(depth);
        }
        if self.eat("prefetch") {
            return Ok(Stmt::Prefetch(Near::L1, self.addr()?));
        }
        if self.eat("prefetch_l2") {
            return Ok(Stmt::Prefetch(Near::L2, self.addr()?));
        }
        if self.eat("store_tail") {
            let addr = self.addr()?;
            let value = self.comma_value()?;
            return Ok(Stmt::StoreTail { addr, value, n: self.comma_value()? });
        }
        if let Some(word) = self.peek().filter(|t| t.starts_with("tile_")) {
            self.at += 1;
            return Ok(Stmt::Tile(self.tile(word)?));
        }
        let store = |t: &str| StoreKind::from_name(t.strip_prefix("store.")?);
        if let Some(kind) = self.peek().and_then(store) {
            self.at += 1;
            let addr = self.addr()?;
            return Ok(Stmt::Store(kind, addr, self.comma_value()?));
        }
        let (v, _) = self.typed()?;
        self.need("=")?;
        Ok(Stmt::Let(v, self.op()?))
    }

    fn tile(&mut self, word: &str) -> Result<TileOp, String> {
        let t = self.number()?;
        if word == "tile_zero" {
            return Ok(TileOp::Zero(t));
        }
        self.need(",")?;
        match word {
            "tile_load" => Ok(TileOp::Load(t, self.addr()?)),
            "tile_store" => Ok(TileOp::Store(t, self.addr()?)),
            "tile_dot" => {
                let s = self.number()?;
                self.need(",")?;
                Ok(TileOp::Dot(t, s, self.number()?))
            }
            _ => Err(format!("unknown statement `{word}`")),
        }
    }

    fn repeat(&mut self, depth: usize) -> Result<Stmt, String> {
        let index = self.value()?;
        self.set_ty(index, Ty::I64);
        self.need("<")?;
        let count = self.value()?;
        self.need("(")?;
        let mut carried: Vec<Carried> = Vec::new();
        while !self.eat(")") {
            if !carried.is_empty() {
                self.need(",")?;
            }
            let (param, ty) = self.typed()?;
            self.need("=")?;
            let init = self.value()?;
            self.need("->")?;
            let result = self.value()?;
            self.set_ty(result, ty);
            carried.push(Carried { param, init, result, yielded: param });
        }
        self.need("{")?;
        let body = self.body(depth + 1)?;
        self.need("yield")?;
        self.need("(")?;
        for (i, c) in carried.iter_mut().enumerate() {
            if i > 0 {
                self.need(",")?;
            }
            c.yielded = self.value()?;
        }
        self.need(")")?;
        Ok(Stmt::Loop(Loop { index, count, carried, body }))
    }

    fn addr(&mut self) -> Result<Addr, String> {
        self.need("[")?;
        let mut a = Addr::new(self.value()?);
        while self.eat("+") {
            if a.index.is_none() && a.disp == 0 && self.peek().is_some_and(|t| t.starts_with('v')) {
                let i = self.value()?;
                self.need("*")?;
                a.index = Some((i, self.number()?));
            } else {
                a.disp = self.number()?;
                break;
            }
        }
        self.need("]")?;
        Ok(a)
    }

    fn op(&mut self) -> Result<Op, String> {
        let word = self.next("an operation")?;
        if let Some((head, kind)) = word.split_once('.') {
            return match head {
                "load" => match LoadKind::from_name(kind) {
                    Some(k) => Ok(Op::Load(k, self.addr()?)),
                    None => Err(format!("unknown load `{word}`")),
                },
                "call" => match MathFn::from_name(kind) {
                    Some(k) => {
                        let a = self.value()?;
                        let b = if self.eat(",") { Some(self.value()?) } else { None };
                        Ok(Op::Math(k, a, b))
                    }
                    None => Err(format!("unknown function `{word}`")),
                },
                "icmp" | "fcmp" => {
                    let k = Cmp::from_name(kind).ok_or_else(|| format!("unknown comparison `{word}`"))?;
                    let a = self.value()?;
                    let b = self.comma_value()?;
                    Ok(if head == "icmp" { Op::ICmp(k, a, b) } else { Op::FCmp(k, a, b) })
                }
                _ => Err(format!("unknown operation `{word}`")),
            };
        }
        match word {
            "int" => return Ok(Op::Int(self.number()?)),
            "float" => return Ok(Op::Float(self.bits()?)),
            "vfloat" => return Ok(Op::VFloat(self.bits()?)),
            "local" => return Ok(Op::Local(self.number()?)),
            "vint" => return Ok(Op::VInt(self.number()?)),
            "bool" => return Ok(Op::Bool(self.number()?)),
            "load_tail" => {
                let a = self.addr()?;
                return Ok(Op::LoadTail(a, self.comma_value()?));
            }
            "gather" => {
                let a = self.addr()?;
                return Ok(Op::Gather(a, self.comma_value()?));
            }
            _ => {}
        }
        let a = self.value()?;
        if let Some(op) = unary(word, a) {
            return Ok(op);
        }
        self.need(",")?;
        match word {
            "ishr" => return Ok(Op::Shr(a, self.number()?)),
            "ishl" => return Ok(Op::Shl(a, self.number()?)),
            "swap" => return Ok(Op::Swap(a, self.number()?)),
            "ptr_off" => return Ok(Op::PtrOff(a, self.number()?)),
            _ => {}
        }
        let b = self.value()?;
        if let Some(op) = binary(word, a, b) {
            return Ok(op);
        }
        match word {
            "dot4" => Ok(Op::Dot4(a, b, self.comma_value()?)),
            "fma" => Ok(Op::Fma(a, b, self.comma_value()?)),
            "select" => Ok(Op::Select(a, b, self.comma_value()?)),
            _ => Err(format!("unknown operation `{word}`")),
        }
    }
}

fn unary(word: &str, a: Val) -> Option<Op> {
    Some(match word {
        "wrap32" => Op::Wrap32(a),
        "ones" => Op::Ones(a),
        "splat" => Op::Splat(a),
        "not" => Op::Not(a),
        "itof" => Op::IToF(a),
        "nearest" => Op::Nearest(a),
        "nearest_or_least" => Op::NearestOrLeast(a),
        "ftoi" => Op::FToI(a),
        "to_bits" => Op::ToBits(a),
        "from_bits" => Op::FromBits(a),
        _ => {
            FUn::from_name(word).map(|f| Op::FUn(f, a)).or_else(|| RedFn::from_name(word).map(|f| Op::Reduce(f, a)))?
        }
    })
}

fn binary(word: &str, a: Val, b: Val) -> Option<Op> {
    match word {
        "ptr_add" => return Some(Op::PtrAdd(a, b)),
        "ptr_diff" => return Some(Op::PtrDiff(a, b)),
        "expand" => return Some(Op::Expand(a, b)),
        "permute" => return Some(Op::Permute(a, b)),
        "bytes" => return Some(Op::Bytes(a, b)),
        "permute_bytes" => return Some(Op::PermuteBytes(a, b)),
        "zip_low" => return Some(Op::Zip(false, a, b)),
        "zip_high" => return Some(Op::Zip(true, a, b)),
        _ => {}
    }
    IBin::from_name(word)
        .map(|f| Op::IBin(f, a, b))
        .or_else(|| FBin::from_name(word).map(|f| Op::FBin(f, a, b)))
        .or_else(|| LBin::from_name(word).map(|f| Op::Logic(f, a, b)))
}
