//! Passes of a training step as CUDA text: values entry by entry, masks of N of every M, and norms of groups. They are what
//! `spc_kernel::update` makes machine code of for CPUs: the same expressions in the same order.
use super::{Emitter, THREADS, UpdateParam, param, whole};
use crate::ParamKind;
use crate::expr::typed;
use spc_ir::{DType, ScalarExpr};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A value of a pass. Operands come before what is made of them.
#[derive(Clone, Debug, PartialEq)]
pub enum PassValue {
    /// An entry of an array as it is before the pass; of norms, the norm.
    Array(usize),
    /// A number of the step.
    Number(usize),
    Map {
        expr: ScalarExpr,
        args: Vec<usize>,
        dtype: DType,
    },
}

/// Values of every entry, and the arrays that take some of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassChain {
    /// An entry is f32, or a truth value of one byte.
    pub arrays: Vec<DType>,
    pub values: Vec<PassValue>,
    /// Array and value.
    pub stores: Vec<(usize, usize)>,
}

impl PassChain {
    fn dtype(&self, value: usize) -> Result<DType, String> {
        Ok(match self.values.get(value) {
            Some(PassValue::Array(a)) => *self.arrays.get(*a).ok_or("no such array")?,
            Some(PassValue::Number(_)) => DType::F32,
            Some(PassValue::Map { dtype, .. }) => *dtype,
            None => return Err("no such value".into()),
        })
    }

    /// The values that others or stores need.
    fn live(&self, results: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut live = vec![false; self.values.len()];
        results.filter(|r| *r < live.len()).collect::<Vec<_>>().into_iter().for_each(|r| live[r] = true);
        for i in (0..self.values.len()).rev() {
            if let (true, PassValue::Map { args, .. }) = (live[i], &self.values[i]) {
                args.iter().filter(|a| **a < i).for_each(|a| live[*a] = true);
            }
        }
        live
    }

    /// Whether its kernel has the parameter `numbers`: a store depends on one.
    pub fn reads_numbers(&self) -> bool {
        let live = self.live(self.stores.iter().map(|s| s.1));
        self.values.iter().zip(live).any(|(v, live)| live && matches!(v, PassValue::Number(_)))
    }

    /// Declarations of the live values as `v0`, `v1`, .. `array` says what an array's entry is.
    fn lines(&self, live: &[bool], indent: &str, array: &dyn Fn(usize) -> String) -> Result<String, String> {
        let mut t = String::new();
        for (i, v) in self.values.iter().enumerate().filter(|(i, _)| live[*i]) {
            let dtype = self.dtype(i)?;
            let value = match v {
                PassValue::Array(a) => array(*a),
                PassValue::Number(n) => format!("n{n}"),
                PassValue::Map { expr, args, .. } => {
                    if args.iter().any(|a| *a >= i) {
                        return Err("a value of later ones".into());
                    }
                    let types = args.iter().map(|a| self.dtype(*a)).collect::<Result<Vec<_>, _>>()?;
                    renamed(&typed(expr, &types, dtype)?, args)
                }
            };
            let _ = writeln!(t, "{indent}const {} v{i} = {value};", c_type(dtype));
        }
        Ok(t)
    }

    /// Declarations of the numbers that live values read.
    fn numbers(&self, live: &[bool], indent: &str, load: &str) -> String {
        let used: BTreeSet<usize> = self
            .values
            .iter()
            .zip(live)
            .filter_map(|(v, live)| if let (PassValue::Number(n), true) = (v, live) { Some(*n) } else { None })
            .collect();
        used.into_iter().fold(String::new(), |mut t, n| {
            let _ = writeln!(t, "{indent}const float n{n} = {load}(numbers + {n});");
            t
        })
    }
}

/// A tile's share of an array: `rows` x `tile` weights of a matrix of `cols` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassTiles {
    pub rows: u32,
    pub cols: u32,
    pub tile: u32,
}

impl PassTiles {
    /// Tiles of all columns are runs.
    fn flat(self) -> Result<PassTiles, String> {
        let run = self.rows.checked_mul(self.cols).filter(|n| *n > 0 && *n < 1 << 30);
        let run = run.ok_or("a strip of tiles has too many weights")?;
        if self.tile == 0 || !self.cols.is_multiple_of(self.tile) {
            return Err("tiles that do not divide the columns".into());
        }
        Ok(if self.tile == self.cols { PassTiles { rows: 1, cols: run, tile: run } } else { self })
    }

    fn narrow(self) -> bool {
        self.tile < 32 && self.tile < self.cols
    }

    /// What the kernel counts, of `len` weights.
    ///
    /// # Errors
    /// In words, where there is no kernel.
    pub fn units(self, len: u64) -> Result<u64, String> {
        let f = self.flat()?;
        if f.narrow() && !f.tile.is_power_of_two() {
            return Err(format!("tiles of {} columns", f.tile));
        }
        let across = if f.narrow() { f.cols.div_ceil(32) } else { f.cols / f.tile };
        Ok(len / (u64::from(f.rows) * u64::from(f.cols)) * u64::from(across))
    }
}

fn c_type(t: DType) -> &'static str {
    match t {
        DType::F32 => "float",
        DType::I32 => "int",
        DType::Bool => "bool",
    }
}

/// `a0`, `a1`, .. of an expression as the values that they are.
fn renamed(text: &str, args: &[usize]) -> String {
    let (mut out, mut word) = (String::new(), String::new());
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let number = word.strip_prefix('a').and_then(|n| n.parse::<usize>().ok());
        match number.and_then(|n| args.get(n)) {
            Some(v) => out += &format!("v{v}"),
            None => out += &word,
        }
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn in_place(name: &str, kind: ParamKind, read: bool) -> UpdateParam {
    UpdateParam { in_place: read, ..param(name, kind) }
}

impl Emitter {
    /// Four entries a thread, in accesses of 16 bytes where they are f32.
    pub(super) fn chain(&mut self, name: &str, chain: &PassChain) -> Result<(), String> {
        let live = chain.live(chain.stores.iter().map(|s| s.1));
        let mut read = vec![false; chain.arrays.len()];
        for (v, _) in chain.values.iter().zip(&live).filter(|(_, l)| **l) {
            if let PassValue::Array(a) = v {
                *read.get_mut(*a).ok_or("no such array")? = true;
            }
        }
        let (mut params, mut loads, mut keep, mut puts, mut ones) =
            (Vec::new(), String::new(), String::new(), String::new(), String::new());
        let mut takes = String::new();
        for (i, t) in chain.arrays.iter().enumerate() {
            let store = chain.stores.iter().find(|s| s.0 == i).map(|s| s.1);
            params.push(in_place(&format!("x{i}"), super::pointer(*t, store.is_some())?, store.is_some() && read[i]));
            let float = *t == DType::F32;
            if read[i] && float {
                let _ = writeln!(loads, "    const spc_f4 f{i} = spc_get4(x{i} + i);");
                let _ = writeln!(loads, "    const float q{i}[4] = {{f{i}.x, f{i}.y, f{i}.z, f{i}.w}};");
            } else if read[i] {
                let _ = writeln!(loads, "    const u32 q{i} = spc_get((const u32*)(x{i} + i));");
            }
            let Some(v) = store else { continue };
            if chain.dtype(v)? != *t {
                return Err("a value of another type than its array".into());
            }
            if float {
                let _ = writeln!(keep, "    float r{i}[4];");
                let _ = writeln!(takes, "      r{i}[j] = v{v};");
                let _ = writeln!(puts, "    *(spc_f4*)(x{i} + i) = spc_f4{{r{i}[0], r{i}[1], r{i}[2], r{i}[3]}};");
                let _ = writeln!(ones, "    x{i}[i] = v{v};");
            } else {
                let _ = writeln!(keep, "    u32 r{i} = 0u;");
                let _ = writeln!(takes, "      r{i} |= (v{v} ? 1u : 0u) << 8 * j;");
                let _ = writeln!(puts, "    *(u32*)(x{i} + i) = r{i};");
                let _ = writeln!(ones, "    x{i}[i] = v{v} ? 1 : 0;");
            }
        }
        let is_float = |a: usize| chain.arrays.get(a) == Some(&DType::F32);
        let quads = chain.lines(&live, "      ", &|a| {
            if is_float(a) { format!("q{a}[j]") } else { format!("(q{a} >> 8 * j & 255u) != 0u") }
        })?;
        let singles = chain.lines(&live, "    ", &|a| {
            if is_float(a) { format!("spc_get(x{a} + i)") } else { format!("spc_get(x{a} + i) != 0u") }
        })?;
        let numbers = chain.numbers(&live, "  ", "spc_ldg");
        if chain.reads_numbers() {
            params.push(param("numbers", ParamKind::F32In));
        }
        params.push(param("n", ParamKind::I32));
        let body = format!(
            "int i = (blockIdx.x * SPC_THREADS + threadIdx.x) * 4;\n{numbers}  if (i + 4 <= n) {{\n{loads}{keep}    SPC_UNROLL\n    \
             for (int j = 0; j < 4; ++j) {{\n{quads}{takes}    }}\n{puts}    return;\n  }}\n  SPC_ROLLED\n  \
             for (; i < n; ++i) {{\n{singles}{ones}  }}"
        );
        self.push(name, params, whole(4 * THREADS), "entries", 0, &body)
    }

    pub(super) fn kept(&mut self, name: &str, m: u32, number: u32, fault: u32) -> Result<(), String> {
        if !m.is_power_of_two() || !(2..=32).contains(&m) {
            return Err(format!("no kernel keeps some of {m}"));
        }
        let params = vec![
            param("w", ParamKind::F32In),
            param("mask", ParamKind::U8Out),
            param("numbers", ParamKind::F32In),
            in_place("fault", ParamKind::U32Out, true),
            param("groups", ParamKind::I32),
        ];
        let body = format!("spc_kept<{m}, {number}, {fault}>(w, mask, numbers, fault, groups);");
        self.push(name, params, whole(THREADS), "groups", 0, &body)
    }

    /// `to`: array 0 is the norm; its value `result` is the new one.
    pub(super) fn resize(
        &mut self,
        name: &str,
        tiles: PassTiles,
        to: &PassChain,
        result: usize,
        fault: u32,
    ) -> Result<(), String> {
        let f = tiles.flat()?;
        tiles.units(0)?;
        let live = to.live(std::iter::once(result));
        if to.dtype(result)? != DType::F32 {
            return Err("a norm that is no number".into());
        }
        let lines = to.lines(&live, "    ", &|_| "norm".into())?;
        let numbers = to.numbers(&live, "    ", "spc_ldg");
        let _ = writeln!(
            self.bodies,
            "\nstruct {name}_shape {{\n  static constexpr int ROWS = {}, COLS = {}, TILE = {}, FAULT = {fault};\n  SPC_FN float \
             to(float norm, const float* numbers) {{\n    (void)norm;\n    (void)numbers;\n{numbers}{lines}    return v{result};\n  }}\n}};",
            f.rows, f.cols, f.tile
        );
        let params = vec![
            in_place("w", ParamKind::F32Out, true),
            param("numbers", ParamKind::F32In),
            in_place("fault", ParamKind::U32Out, true),
            param("units", ParamKind::I32),
        ];
        let body = format!("spc_resize<{name}_shape>(w, numbers, fault, units);");
        self.push(name, params, whole(THREADS / 32), "warps", 0, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Update, updates};

    #[test]
    fn arguments_become_the_values_that_they_are() {
        assert_eq!(renamed("(spc_max(a0, a10) + (a1 ? a0 : 1.0f))", &[7, 3]), "(spc_max(v7, a10) + (v3 ? v7 : 1.0f))");
        assert_eq!(renamed("a0", &[12]), "v12");
    }

    #[test]
    fn numbers_that_nothing_needs_are_no_parameter() {
        let mut chain = PassChain {
            arrays: vec![DType::F32, DType::F32],
            values: vec![PassValue::Number(3), PassValue::Array(0)],
            stores: vec![(1, 1)],
        };
        let params = |chain: &PassChain| {
            let u = updates(&[Update::Chain { name: "c".into(), chain: chain.clone() }]).unwrap();
            u.kernels[0].params.iter().map(|p| p.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!((params(&chain), chain.reads_numbers()), (["x0", "x1", "n"].map(String::from).into(), false));
        chain.stores[0].1 = 0;
        assert_eq!(
            (params(&chain), chain.reads_numbers()),
            (["x0", "x1", "numbers", "n"].map(String::from).into(), true)
        );
    }

    #[test]
    fn what_has_no_kernel_is_refused() {
        let tiles = |rows, cols, tile| PassTiles { rows, cols, tile };
        assert_eq!(tiles(16, 64, 16).units(16 * 64 * 3), Ok(6));
        assert_eq!(tiles(1, 64, 64).units(64 * 3), Ok(3));
        assert_eq!(tiles(4, 96, 48).units(4 * 96 * 5), Ok(10));
        for (t, why) in [
            (tiles(1, 10, 4), "tiles that do not divide the columns"),
            (tiles(1, 12, 6), "tiles of 6 columns"),
            (tiles(1 << 16, 1 << 16, 1 << 16), "a strip of tiles has too many weights"),
        ] {
            assert_eq!(t.units(0).unwrap_err(), why);
        }
        let kept = |m| updates(&[Update::Kept { name: "k".into(), m, number: 0, fault: 1 }]);
        assert!(kept(32).is_ok() && kept(3).is_err() && kept(64).is_err() && kept(1).is_err());
        let chain = PassChain { arrays: vec![DType::F32], values: vec![PassValue::Array(1)], stores: vec![(0, 0)] };
        assert!(updates(&[Update::Chain { name: "c".into(), chain }]).is_err());
        let truth = PassValue::Map { expr: ScalarExpr::Const(1.0), args: vec![], dtype: DType::Bool };
        let chain = PassChain { arrays: vec![DType::F32], values: vec![truth], stores: vec![(0, 0)] };
        assert!(updates(&[Update::Chain { name: "c".into(), chain }]).is_err());
    }
}
