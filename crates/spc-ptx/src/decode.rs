//! One statement as an instruction.
use crate::machine::SHARED_BASE;
use crate::matrix::Number;
use crate::types::{Binary, Bool, Cmp, Instruction, Kind, Operand, Round, Shuffle, Space, Special, Ty, Unary};
use std::collections::BTreeMap;

/// What names stand for in a kernel.
pub(crate) struct Names {
    pub registers: BTreeMap<String, usize>,
    pub labels: BTreeMap<String, usize>,
    pub parameters: BTreeMap<String, u64>,
    /// Name of the dynamic array of shared memory.
    pub shared: String,
}

/// Cuts operands at commas outside of braces and brackets; `d|p` is two operands.
fn split(text: &str) -> Vec<&str> {
    let (mut out, mut from, mut depth) = (Vec::new(), 0, 0usize);
    for (i, c) in text.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' | '|' if depth == 0 => {
                out.push(text[from..i].trim());
                from = i + 1;
            }
            _ => {}
        }
    }
    if !text[from..].trim().is_empty() {
        out.push(text[from..].trim());
    }
    out
}

fn special(name: &str) -> Option<Special> {
    Some(match name {
        "%tid.x" => Special::Tid,
        "%ntid.x" => Special::Ntid,
        "%ctaid.x" => Special::Ctaid,
        "%nctaid.x" => Special::Nctaid,
        "%laneid" => Special::Lane,
        "%tid.y" | "%tid.z" | "%ctaid.y" | "%ctaid.z" => Special::Zero,
        "%ntid.y" | "%ntid.z" | "%nctaid.y" | "%nctaid.z" => Special::One,
        _ => return None,
    })
}

fn number(s: &str) -> Option<u64> {
    if let Some(hex) = s.strip_prefix("0f") {
        return u32::from_str_radix(hex, 16).ok().map(u64::from);
    }
    if let Some(hex) = s.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    s.parse::<i64>().ok().map(|v| v as u64).or_else(|| s.parse().ok())
}

impl Names {
    fn operand(&mut self, s: &str) -> Result<Operand, String> {
        let s = s.trim();
        if let Some(list) = s.strip_prefix('{') {
            let list: Result<Vec<_>, _> =
                split(list.trim_end_matches('}')).into_iter().map(|x| self.operand(x)).collect();
            return list.map(Operand::Many);
        }
        if let Some(inside) = s.strip_prefix('[') {
            let inside = inside.trim_end_matches(']').trim();
            let (base, offset) = match inside.split_once('+') {
                Some((b, o)) => (b, o.trim().parse::<i64>().map_err(|e| e.to_string())?),
                None => (inside, 0),
            };
            return Ok(Operand::At(Box::new(self.operand(base)?), offset));
        }
        if s == "_" {
            // A result that is thrown away.
            let n = self.registers.len();
            return Ok(Operand::Reg(*self.registers.entry("_".into()).or_insert(n)));
        }
        if s.starts_with('%') {
            if let Some(name) = special(s) {
                return Ok(Operand::Special(name));
            }
            let n = self.registers.len();
            return Ok(Operand::Reg(*self.registers.entry(s.into()).or_insert(n)));
        }
        if let Some(at) = self.labels.get(s) {
            return Ok(Operand::Label(*at));
        }
        if let Some(offset) = self.parameters.get(s) {
            return Ok(Operand::Imm(*offset));
        }
        if !s.is_empty() && s == self.shared {
            return Ok(Operand::Imm(SHARED_BASE));
        }
        number(s).map(Operand::Imm).ok_or_else(|| format!("the operand `{s}`"))
    }
}

pub(crate) fn instruction(text: &str, line: usize, names: &mut Names) -> Result<Instruction, String> {
    let (mut guard, mut text) = (None, text);
    if let Some(rest) = text.strip_prefix('@') {
        let (name, rest) = rest.split_once(char::is_whitespace).ok_or("a guard without an instruction")?;
        let Operand::Reg(r) = names.operand(name.trim_start_matches('!'))? else { return Err("the guard".into()) };
        guard = Some((r, name.starts_with('!')));
        text = rest.trim();
    }
    let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let operands: Vec<Operand> = split(rest).into_iter().map(|o| names.operand(o)).collect::<Result<_, _>>()?;
    let kind = kind(opcode, &operands)?;
    let least = least_operands(kind);
    if operands.len() < least {
        return Err(format!("{} operands, expected {least}", operands.len()));
    }
    Ok(Instruction { guard, kind, operands, line })
}

fn least_operands(kind: Kind) -> usize {
    match kind {
        Kind::Barrier | Kind::Return | Kind::CopyCommit | Kind::ProxyFence | Kind::GroupFence | Kind::GroupCommit => 0,
        Kind::Branch | Kind::CopyWait(_) | Kind::GroupWait(_) => 1,
        Kind::Bin(..) | Kind::MulWide(_) | Kind::Setp(_, _, None, _) | Kind::PackBf16 | Kind::Copy16 => 3,
        Kind::Mad(_)
        | Kind::MadWide(_)
        | Kind::Bfe(_)
        | Kind::Prmt
        | Kind::Funnel { .. }
        | Kind::Selp(_)
        | Kind::Mma(_) => 4,
        Kind::Setp(_, _, Some(_), _) => 4,
        Kind::Bfi(_) | Kind::Shuffle(_) => 5,
        Kind::MmaSparse(..) => 6,
        Kind::GroupSparse(..) => 9,
        _ => 2,
    }
}

fn unary(word: &str) -> Option<Unary> {
    Some(match word {
        "neg" => Unary::Neg,
        "not" => Unary::Not,
        "abs" => Unary::Abs,
        "rcp" => Unary::Rcp,
        "sqrt" => Unary::Sqrt,
        "rsqrt" => Unary::Rsqrt,
        "ex2" => Unary::Ex2,
        "lg2" => Unary::Lg2,
        "sin" => Unary::Sin,
        "cos" => Unary::Cos,
        "tanh" => Unary::Tanh,
        "popc" => Unary::Popc,
        "clz" => Unary::Clz,
        "brev" => Unary::Brev,
        _ => return None,
    })
}

fn binary(word: &str, parts: &[&str]) -> Option<Binary> {
    let nan = parts.contains(&"NaN");
    Some(match word {
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "mul" if parts.contains(&"hi") => Binary::MulHi,
        "mul" => Binary::Mul,
        "div" => Binary::Div,
        "rem" => Binary::Rem,
        "min" if nan => Binary::MinNan,
        "max" if nan => Binary::MaxNan,
        "min" => Binary::Min,
        "max" => Binary::Max,
        "shl" => Binary::Shl,
        "shr" => Binary::Shr,
        "and" => Binary::And,
        "or" => Binary::Or,
        "xor" => Binary::Xor,
        "copysign" => Binary::Copysign,
        _ => return None,
    })
}

fn compare(word: &str, ty: Ty) -> Result<(Cmp, bool), String> {
    let plain = |w: &str| {
        Some(match w {
            "eq" => Cmp::Eq,
            "ne" => Cmp::Ne,
            "lt" | "lo" => Cmp::Lt,
            "le" | "ls" => Cmp::Le,
            "gt" | "hi" => Cmp::Gt,
            "ge" | "hs" => Cmp::Ge,
            "num" => Cmp::Num,
            "nan" => Cmp::Nan,
            _ => return None,
        })
    };
    if let Some(c) = plain(word) {
        return Ok((c, false));
    }
    let unordered = word.strip_suffix('u').filter(|_| ty == Ty::F32).and_then(plain);
    unordered.map(|c| (c, true)).ok_or_else(|| format!("the comparison `{word}`"))
}

fn setp(parts: &[&str], ty: Ty) -> Result<Kind, String> {
    let word = parts.get(1).copied().unwrap_or_default();
    let (cmp, unordered) = compare(word, ty)?;
    let with = parts.get(2).and_then(|w| match *w {
        "and" => Some(Bool::And),
        "or" => Some(Bool::Or),
        "xor" => Some(Bool::Xor),
        _ => None,
    });
    Ok(Kind::Setp(cmp, unordered, with, ty))
}

fn convert(parts: &[&str]) -> Result<Kind, String> {
    if parts.contains(&"bf16x2") {
        return Ok(Kind::PackBf16);
    }
    let types: Vec<Ty> = parts.iter().filter_map(|p| Ty::parse(p)).collect();
    let [to, from] = types[..] else { return Err("the types of a conversion".into()) };
    let round = parts.iter().find_map(|p| match *p {
        "rni" => Some(Round::Near),
        "rzi" => Some(Round::Zero),
        "rmi" => Some(Round::Down),
        "rpi" => Some(Round::Up),
        _ => None,
    });
    Ok(Kind::Convert { to, from, round, saturate: parts.contains(&"sat") })
}

fn immediate(operands: &[Operand], at: usize, below: u64) -> Result<usize, String> {
    match operands.get(at) {
        Some(Operand::Imm(n)) if *n < below => Ok(*n as usize),
        _ => Err(format!("operand {at} is no number below {below}")),
    }
}

/// What the halves of the operands of a product are; its sums are f32.
fn halves(parts: &[&str]) -> Result<Number, String> {
    let types: Vec<&str> = parts.iter().copied().filter(|p| Ty::parse(p).is_some() || p.ends_with("f16")).collect();
    match types[..] {
        ["f32", "bf16", "bf16"] | ["f32", "bf16", "bf16", "f32"] => Ok(Number::Bf16),
        ["f32", "f16", "f16"] | ["f32", "f16", "f16", "f32"] => Ok(Number::F16),
        _ => Err("the types of a product".into()),
    }
}

fn warpgroup(parts: &[&str], operands: &[Operand]) -> Result<Kind, String> {
    let word = parts.get(1).copied().unwrap_or_default();
    Ok(match word {
        "fence" => Kind::GroupFence,
        "commit_group" => Kind::GroupCommit,
        "wait_group" => Kind::GroupWait(immediate(operands, 0, 8)?),
        "mma_async" if parts.get(2) == Some(&"sp") => {
            let shape = parts.iter().find_map(|p| p.strip_prefix("m64n")?.strip_suffix("k32")?.parse::<usize>().ok());
            let columns =
                shape.filter(|n| *n > 0 && n.is_multiple_of(8) && *n <= 256).ok_or("the shape of a product")?;
            let sums = matches!(operands.first(), Some(Operand::Many(d)) if d.len() == columns / 2);
            let left = matches!(operands.get(1), Some(Operand::Many(a)) if a.len() == 4);
            if !sums || !left {
                return Err("the registers of a product".into());
            }
            // Neither negated nor turned.
            for (at, want) in [(6, 1), (7, 1), (8, 0)] {
                if immediate(operands, at, 2)? != want {
                    return Err(format!("operand {at} is not {want}"));
                }
            }
            Kind::GroupSparse(immediate(operands, 4, 2)?, halves(parts)?)
        }
        _ => return Err("the opcode is not in the subset".into()),
    })
}

fn kind(opcode: &str, operands: &[Operand]) -> Result<Kind, String> {
    let parts: Vec<&str> = opcode.split('.').collect();
    let has = |word: &str| parts.contains(&word);
    let ty = parts.iter().rev().find_map(|p| Ty::parse(p)).unwrap_or(Ty::U32);
    let space = if has("shared") {
        Space::Shared
    } else if has("param") {
        Space::Param
    } else {
        Space::Global
    };
    let word = parts.first().copied().unwrap_or_default();
    Ok(match word {
        "mul" if has("wide") => Kind::MulWide(ty),
        "mad" if has("wide") => Kind::MadWide(ty),
        "mad" if has("hi") => return Err("the opcode is not in the subset".into()),
        "mad" | "fma" => Kind::Mad(ty),
        "mov" => Kind::Mov(ty),
        "cvta" => Kind::Mov(Ty::U64),
        "bfi" => Kind::Bfi(ty),
        "bfe" => Kind::Bfe(ty),
        "prmt" => Kind::Prmt,
        "shf" => Kind::Funnel { right: has("r"), clamp: has("clamp") },
        "selp" => Kind::Selp(ty),
        "setp" => setp(&parts, ty)?,
        "cvt" if parts == ["cvt", "f32", "f16"] => Kind::WidenHalf,
        "cvt" => convert(&parts)?,
        "ld" if has("local") || has("const") => return Err("the opcode is not in the subset".into()),
        "st" if has("local") => return Err("the opcode is not in the subset".into()),
        "ld" => Kind::Load(space, ty),
        "st" => Kind::Store(space, ty),
        "red" | "atom" if has("add") && space != Space::Param && matches!(ty, Ty::F32 | Ty::U32 | Ty::S32) => {
            Kind::Add32 { space, ty, result: word == "atom" }
        }
        "bra" => Kind::Branch,
        "bar" | "barrier" => Kind::Barrier,
        "ret" | "exit" => Kind::Return,
        "cp" if has("commit_group") => Kind::CopyCommit,
        "cp" if has("wait_group") => Kind::CopyWait(immediate(operands, 0, 64)?),
        "cp" if has("async") && has("global") && !has("bulk") => {
            immediate(operands, 2, 17)
                .and_then(|n| if n == 16 { Ok(()) } else { Err("a copy of not 16 bytes".into()) })?;
            Kind::Copy16
        }
        "ldmatrix" => {
            let count = if has("x4") {
                4
            } else if has("x2") {
                2
            } else {
                1
            };
            Kind::LoadMatrix { count, transposed: has("trans") }
        }
        "mma" if has("m16n8k16") => Kind::Mma(halves(&parts)?),
        "mma" if opcode.contains(".sp::ordered_metadata.") && has("m16n8k32") => {
            Kind::MmaSparse(immediate(operands, 5, 2)?, halves(&parts)?)
        }
        "wgmma" => warpgroup(&parts, operands)?,
        "fence" if opcode.starts_with("fence.proxy.async") => Kind::ProxyFence,
        "shfl" => Kind::Shuffle(match parts.get(2).copied().unwrap_or_default() {
            "bfly" => Shuffle::Xor,
            "up" => Shuffle::Up,
            "down" => Shuffle::Down,
            "idx" => Shuffle::Index,
            _ => return Err("the kind of a shuffle".into()),
        }),
        _ => match (binary(word, &parts), unary(word)) {
            (Some(b), _) => Kind::Bin(b, ty),
            (_, Some(u)) => Kind::Un(u, ty),
            _ => return Err("the opcode is not in the subset".into()),
        },
    })
}
