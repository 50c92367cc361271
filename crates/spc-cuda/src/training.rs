//! CUDA text of training updates: entry by entry, N:M masks, 2:4 masked and packed in one pass, group norms, and the greatest of
//! all weights. The text is over the same prelude as that of programs, and runs in the same emulator.
use crate::expr::typed;
use crate::{Grid, ParamKind};
use serde::Serialize;
use spc_ir::{DType, ScalarExpr};
use std::collections::BTreeSet;
use std::fmt::Write;

mod passes;

pub use passes::{PassChain, PassTiles, PassValue};

const THREADS: u32 = crate::shape::THREADS;
/// Entries of a block of the histogram, as the template has them.
const COUNTED: u32 = THREADS * 32;
const BINS: u32 = 2048;

/// An update of weights on the device. Names become names of kernels: letters, digits and underscores.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// `results[i]` of every entry from `arrays` (`a0`, `a1`, ..) and then so many `numbers` of the step. An entry is f32, or a
    /// truth value of one byte. Results may be written over the arrays.
    Elements { name: String, arrays: Vec<DType>, numbers: usize, results: Vec<(DType, ScalarExpr)> },
    /// The mask of the `n` greatest of every `m` neighbours, and the weights as it leaves them; `m` a power of two up to 32.
    Nm { name: String, n: u32, m: u32 },
    /// 2 of every 4 neighbours in a row, rounded to bf16, as the arrays of the layout `mma24`.
    Pack24 { name: String, outputs: u32, inputs: u32 },
    /// Soft threshold of the norms of groups of `rows` x `cols`; `cols` a power of two up to 32, or all `inputs`.
    GroupNorm { name: String, outputs: u32, inputs: u32, rows: u32, cols: u32 },
    /// The mask of the greatest magnitudes of all: kernels NAME_histogram and NAME_select, run for the digits 0 to 5, then
    /// NAME_mask. See [`threshold_state`].
    Greatest { name: String },
    /// Values of every entry, stored in place.
    Chain { name: String, chain: PassChain },
    /// The mask of so many of every `m` neighbours as number `number` of the step says; `m` a power of two from 2 to 32. A weight
    /// that is 0 counts as the smallest there is. `fault` is left where a weight is not finite.
    Kept { name: String, m: u32, number: u32, fault: u32 },
    /// Another norm for each tile: value `result` of `to`, whose array 0 is the norm. `fault` is left where a norm is not finite.
    Resize { name: String, tiles: PassTiles, to: PassChain, result: usize, fault: u32 },
}

/// A parameter of a kernel of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateParam {
    pub name: String,
    pub kind: ParamKind,
    /// The array is read as well.
    pub in_place: bool,
}

/// A kernel of an update. Its last parameters are numbers; the grid is a formula of N, of which `counts` says what it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpdateKernel {
    pub name: String,
    pub params: Vec<UpdateParam>,
    pub grid: Grid,
    pub counts: &'static str,
    pub block: u32,
    pub shared_bytes: u32,
}

/// Text and kernels of updates.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateModule {
    pub text: String,
    pub kernels: Vec<UpdateKernel>,
}

/// What the `state` of [`Update::Greatest`] starts with to keep `keep` weights. The `counts` are 2048 zeros; every selection
/// leaves them so.
pub fn threshold_state(keep: u32) -> [u32; 3] {
    // Of none, no key is great enough.
    if keep == 0 { [u32::MAX, u32::MAX, 0] } else { [0, 0, keep] }
}

/// Emits updates as one module.
///
/// # Errors
/// In words, where an update has no kernel.
pub fn updates(list: &[Update]) -> Result<UpdateModule, String> {
    let mut out = Emitter { bodies: String::new(), kernels: Vec::new(), names: BTreeSet::new() };
    for u in list {
        out.update(u)?;
    }
    let mut text = String::from("// Updates of weights. Complete: compiles with NVRTC or nvcc for sm_80 and later.\n");
    text += include_str!("device/prelude.cuh");
    text += "\n";
    // The words of tensor cores are the only type that packing needs.
    text += include_str!("device/train.cuh");
    if list.iter().any(|u| matches!(u, Update::Kept { .. } | Update::Resize { .. })) {
        text += "\n";
        text += include_str!("device/passes.cuh");
    }
    text += &out.bodies;
    Ok(UpdateModule { text, kernels: out.kernels })
}

struct Emitter {
    bodies: String,
    kernels: Vec<UpdateKernel>,
    names: BTreeSet<String>,
}

fn pointer(t: DType, written: bool) -> Result<ParamKind, String> {
    Ok(match (t, written) {
        (DType::F32, false) => ParamKind::F32In,
        (DType::F32, true) => ParamKind::F32Out,
        (DType::Bool, false) => ParamKind::U8In,
        (DType::Bool, true) => ParamKind::U8Out,
        (DType::I32, _) => return Err("an entry is f32 or a truth value".into()),
    })
}

fn param(name: &str, kind: ParamKind) -> UpdateParam {
    UpdateParam { name: name.into(), kind, in_place: false }
}

fn whole(n: u32) -> Grid {
    Grid { tokens: n, tiles: 1 }
}

fn both(name: &str) -> UpdateParam {
    UpdateParam { name: name.into(), kind: ParamKind::U32Out, in_place: true }
}

impl Emitter {
    fn update(&mut self, u: &Update) -> Result<(), String> {
        use ParamKind::{F32In, F32Out, I32, U8Out, U32Out};
        match u {
            Update::Chain { name, chain } => self.chain(name, chain),
            Update::Kept { name, m, number, fault } => self.kept(name, *m, *number, *fault),
            Update::Resize { name, tiles, to, result, fault } => self.resize(name, *tiles, to, *result, *fault),
            Update::Elements { name, arrays, numbers, results } => self.elements(name, arrays, *numbers, results),
            Update::Nm { name, n, m } => {
                if !m.is_power_of_two() || *m > 32 || n > m {
                    return Err(format!("no kernel keeps {n} of {m}"));
                }
                let params = vec![
                    param("w", F32In),
                    param("mask", U8Out),
                    param("kept", F32Out),
                    param("groups", I32),
                    param("n", I32),
                ];
                let body = format!("spc_nm_mask<{n}, {m}>(w, mask, kept, groups, n);");
                self.push(name, params, whole(THREADS), "groups", 0, &body)
            }
            Update::Pack24 { name, outputs, inputs } => {
                self.shape(name, &[("O", *outputs), ("K", *inputs)])?;
                let params =
                    vec![param("w", F32In), param("values", U32Out), param("meta", U32Out), param("tiles", I32)];
                let body = format!("spc_pack24<{name}_shape>(w, values, meta, tiles);");
                self.push(name, params, whole(THREADS / 32), "tiles of 32 x 32", 0, &body)
            }
            Update::GroupNorm { name, outputs, inputs, rows, cols } => {
                let tiles = cols.is_power_of_two() && *cols <= 32;
                if *rows == 0 || !(tiles || cols == inputs) {
                    return Err(format!("no kernel has groups of {rows} x {cols}"));
                }
                self.shape(name, &[("O", *outputs), ("K", *inputs), ("R", *rows), ("C", *cols)])?;
                let mut params = vec![param("w", F32In), param("to", F32Out), param("numbers", F32In)];
                if tiles {
                    params.push(param("units", I32));
                    let body = format!("spc_prox_tiles<{name}_shape>(w, to, numbers, units);");
                    return self.push(name, params, whole(THREADS / 32), "rows of groups by 32 columns", 0, &body);
                }
                let body = format!("spc_prox_rows<{name}_shape>(w, to, numbers, (float*)smem);");
                self.push(name, params, whole(1), "groups", 4 * (THREADS / 32), &body)
            }
            Update::Greatest { name } => {
                let state = UpdateParam { kind: ParamKind::U32In, ..param("state", I32) };
                let params =
                    vec![param("w", F32In), state.clone(), both("counts"), param("digit", I32), param("n", I32)];
                let body = "spc_histogram(w, state, counts, digit, n, (u32*)smem);";
                self.push(&format!("{name}_histogram"), params, whole(COUNTED), "entries", 4 * BINS, body)?;
                let body = "spc_select(state, counts, digit, (u32*)smem);";
                let params = vec![both("state"), both("counts"), param("digit", I32)];
                self.push(&format!("{name}_select"), params, whole(1), "one", 4 * THREADS, body)?;
                let params = vec![param("w", F32In), state, param("mask", U8Out), param("n", I32)];
                self.push(
                    &format!("{name}_mask"),
                    params,
                    whole(THREADS),
                    "entries",
                    0,
                    "spc_chosen(w, state, mask, n);",
                )
            }
        }
    }

    /// Four entries a thread, in 16-byte accesses where they are f32.
    fn elements(
        &mut self,
        name: &str,
        arrays: &[DType],
        numbers: usize,
        results: &[(DType, ScalarExpr)],
    ) -> Result<(), String> {
        let mut types = arrays.to_vec();
        types.resize(arrays.len() + numbers, DType::F32);
        let mut params = Vec::new();
        let (mut loads, mut scalar_loads, mut quads, mut one) =
            (String::new(), String::new(), String::new(), String::new());
        for (i, t) in arrays.iter().enumerate() {
            params.push(param(&format!("x{i}"), pointer(*t, false)?));
            let c = if *t == DType::F32 { "float" } else { "bool" };
            let test = if *t == DType::F32 { "" } else { " != 0u" };
            if *t == DType::F32 {
                loads += &format!("    const spc_f4 q{i} = spc_get4(x{i} + i);\n");
                loads += &format!("    const float v{i}[4] = {{q{i}.x, q{i}.y, q{i}.z, q{i}.w}};\n");
            } else {
                loads += &format!("    const u32 q{i} = spc_get((const u32*)(x{i} + i));\n");
                loads += &format!("    const bool v{i}[4] = {{(q{i} & 255u) != 0u, (q{i} >> 8 & 255u) != 0u, ");
                loads += &format!("(q{i} >> 16 & 255u) != 0u, q{i} >> 24 != 0u}};\n");
            }
            scalar_loads += &format!("    const {c} a{i} = spc_get(x{i} + i){test};\n    (void)a{i};\n");
            quads += &format!("      const {c} a{i} = v{i}[j];\n      (void)a{i};\n");
        }
        let mut constants = String::new();
        for i in 0..numbers {
            let _ = writeln!(
                constants,
                "  const float a{} = spc_ldg(numbers + {i});\n  (void)a{};",
                arrays.len() + i,
                arrays.len() + i
            );
        }
        let (mut keep, mut stores) = (String::new(), String::new());
        for (i, (t, e)) in results.iter().enumerate() {
            params.push(param(&format!("y{i}"), pointer(*t, true)?));
            let value = typed(e, &types, *t)?;
            if *t == DType::F32 {
                keep += &format!("    float r{i}[4];\n");
                quads += &format!("      r{i}[j] = {value};\n");
                stores += &format!("    *(spc_f4*)(y{i} + i) = spc_f4{{r{i}[0], r{i}[1], r{i}[2], r{i}[3]}};\n");
                one += &format!("    y{i}[i] = {value};\n");
            } else {
                keep += &format!("    u32 r{i} = 0u;\n");
                quads += &format!("      r{i} |= ({value} ? 1u : 0u) << 8 * j;\n");
                stores += &format!("    *(u32*)(y{i} + i) = r{i};\n");
                one += &format!("    y{i}[i] = {value} ? 1 : 0;\n");
            }
        }
        if numbers > 0 {
            params.push(param("numbers", ParamKind::F32In));
        }
        params.push(param("n", ParamKind::I32));
        let body = format!(
            "int i = (blockIdx.x * SPC_THREADS + threadIdx.x) * 4;\n{constants}  if (i + 4 <= n) {{\n{loads}{keep}    SPC_UNROLL\n    \
             for (int j = 0; j < 4; ++j) {{\n{quads}    }}\n{stores}    return;\n  }}\n  SPC_ROLLED\n  \
             for (; i < n; ++i) {{\n{scalar_loads}{}  }}",
            // All results of an entry are made before one is written over what they are made of.
            together(&one)
        );
        self.push(name, params, Grid { tokens: 4 * THREADS, tiles: 1 }, "entries", 0, &body)
    }

    fn shape(&mut self, name: &str, constants: &[(&str, u32)]) -> Result<(), String> {
        const LIMIT: u32 = i32::MAX as u32 - 4096;
        if constants.iter().any(|(_, v)| *v == 0 || *v > LIMIT) {
            return Err("a size is 0, or too large for 32-bit row and column numbers".into());
        }
        let list: Vec<String> = constants.iter().map(|(n, v)| format!("{n} = {v}")).collect();
        let _ = writeln!(self.bodies, "\nstruct {name}_shape {{\n  static constexpr int {};\n}};", list.join(", "));
        Ok(())
    }

    fn push(
        &mut self,
        name: &str,
        params: Vec<UpdateParam>,
        grid: Grid,
        counts: &'static str,
        shared_bytes: u32,
        body: &str,
    ) -> Result<(), String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fine) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("`{name}` is no name of a kernel"));
        }
        if !self.names.insert(name.into()) {
            return Err(format!("two kernels are called `{name}`"));
        }
        let list: Vec<String> = params.iter().map(|p| format!("{} {}", p.kind.c_type(), p.name)).collect();
        let smem = if shared_bytes > 0 { "  SPC_SMEM(smem);\n" } else { "" };
        let _ = write!(
            self.bodies,
            "\n// kernel {name}, N counts {counts}\n//   launch {grid} blocks of {THREADS} threads\nextern \"C\" __global__ void \
             __launch_bounds__({THREADS}) {name}(\n    {}) {{\n{smem}  {body}\n}}\n",
            list.join(", ")
        );
        self.kernels.push(UpdateKernel { name: name.into(), params, grid, counts, block: THREADS, shared_bytes });
        Ok(())
    }
}

/// Assignments `y[i] = value;` as values first, then stores.
fn together(lines: &str) -> String {
    let (mut values, mut stores) = (String::new(), String::new());
    for (n, line) in lines.lines().enumerate() {
        if let Some((to, value)) = line.trim().trim_end_matches(';').split_once(" = ") {
            let _ = writeln!(values, "    const auto s{n} = {value};");
            let _ = writeln!(stores, "    {to} = s{n};");
        }
    }
    values + &stores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_kernel_is_refused() {
        let refused = |u: Update| updates(&[u]).unwrap_err();
        assert_eq!(refused(Update::Nm { name: "a".into(), n: 2, m: 3 }), "no kernel keeps 2 of 3");
        assert_eq!(refused(Update::Nm { name: "a b".into(), n: 2, m: 4 }), "`a b` is no name of a kernel");
        let norm = |rows, cols| Update::GroupNorm { name: "g".into(), outputs: 4, inputs: 40, rows, cols };
        assert_eq!(refused(norm(2, 12)), "no kernel has groups of 2 x 12");
        assert!(updates(&[norm(2, 40)]).is_ok() && updates(&[norm(2, 40), norm(1, 1)]).is_err());
        assert!(refused(Update::Pack24 { name: "p".into(), outputs: 0, inputs: 4 }).starts_with("a size is 0"));
        let expr = ScalarExpr::parse("(add a0 a2)").unwrap();
        let arrays = vec![DType::F32];
        let u = Update::Elements { name: "e".into(), arrays, numbers: 1, results: vec![(DType::F32, expr)] };
        assert_eq!(refused(u), "no argument a2");
    }
}
