//! Updates of weights: 2:4 pruned and packed in one pass, and group soft thresholds, beside a copy.
use crate::cases::Random;
use crate::{COPIES, Res, middle, read, rounds, went_well};
use spc_cuda::runtime::{Device, ImageChoice, UpdateArgument as A, UpdateProgram};
use spc_cuda::{Update, UpdateModule, updates};
use spc_formats::{Array, Layout, pack};
use spc_ir::{DType, ScalarExpr};
use std::path::Path;
use std::sync::Arc;

/// Rows and columns.
pub const SIZE: u32 = 8192;
/// Rows and columns that are packed on the CPU too, to compare.
const COMPARED: u32 = 256;

pub fn module(size: u32) -> Res<UpdateModule> {
    let copy = ScalarExpr::parse("a0")?;
    let norm =
        |name: &str, rows, cols| Update::GroupNorm { name: name.into(), outputs: size, inputs: size, rows, cols };
    Ok(updates(&[
        Update::Elements {
            name: "copy".into(),
            arrays: vec![DType::F32],
            numbers: 0,
            results: vec![(DType::F32, copy)],
        },
        Update::Pack24 { name: "pack24".into(), outputs: size, inputs: size },
        Update::Pack24 { name: "pack24_checked".into(), outputs: COMPARED, inputs: COMPARED },
        norm("lasso_rows", 1, size),
        norm("lasso_16x16", 16, 16),
    ])?)
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Weights that are bf16 numbers, so that packing does not round.
fn drawn(n: usize) -> Vec<f32> {
    let mut random = Random(41);
    (0..n).map(|_| random.value()).collect()
}

/// What is packed on the device is what the CPU packs.
fn check(program: &UpdateProgram) -> Res<()> {
    let (n, tiles) = (COMPARED as usize, u64::from(COMPARED / 32).pow(2));
    let mut w = drawn(n * n);
    let given = [A::Read(f32s(&w)), A::Write(tiles * 1024), A::Write(tiles * 128), A::Number(tiles as i32)];
    let got = program.run("pack24_checked", tiles, &given)?;
    for group in w.chunks_mut(4) {
        let mut order = [0, 1, 2, 3];
        order.sort_by(|a, b| group[*b].abs().total_cmp(&group[*a].abs()).then(a.cmp(b)));
        order[2..].iter().for_each(|i| group[*i] = 0.0);
    }
    for (name, bytes) in [("values", &got[0]), ("meta", &got[1])] {
        let packed = pack(&Layout::Mma24, n, n, &w).map_err(|r| r.0)?;
        let Some(Array::U32(want)) = packed.array(name) else { return Err("no words".into()) };
        if want.iter().flat_map(|w| w.to_le_bytes()).ne(bytes.iter().copied()) {
            return Err(format!("2:4 pruned and packed: other `{name}` than the CPU has").into());
        }
    }
    println!("pack24       {n} x {n}: the words of the CPU, ok");
    Ok(())
}

pub fn run((device, folder): (&Arc<Device>, &Path), size: u32) -> Res<()> {
    let m = module(size)?;
    // Images are for the usual size; for another, NVRTC makes them.
    let images = if size == SIZE { read(folder, "updates") } else { Vec::new() };
    let program = UpdateProgram::new(device, &m, &images, ImageChoice::from_env()?)?;
    check(&program)?;
    let (n, across) = (u64::from(size).pow(2), u64::from(size.div_ceil(32)));
    let (tiles, to) = (across * across, || A::Write(4 * n));
    let w = f32s(&drawn(usize::try_from(n)?));
    let tau = A::Read(f32s(&[0.1]));
    let units = u64::from(size.div_ceil(16)) * across;
    let whole = |n: u64| i32::try_from(n).map(A::Number);
    let list = [
        ("copy", n, vec![A::Read(w.clone()), to(), whole(n)?], 8.0),
        (
            "pack24",
            tiles,
            vec![A::Read(w.clone()), A::Write(tiles * 1024), A::Write(tiles * 128), whole(tiles)?],
            5.125,
        ),
        ("lasso_rows", u64::from(size), vec![A::Read(w.clone()), to(), tau.clone()], 8.0),
        ("lasso_16x16", units, vec![A::Read(w), to(), tau, whole(units)?], 8.0),
    ];
    let mut good = true;
    for (name, count, arguments, bytes) in list {
        good &= went_well(
            name,
            program.rounds((name, count), &arguments, COPIES, rounds(50)?).map_err(Into::into).map(|t| {
                let us = middle(t);
                let rate = bytes * n as f64 / us / 1e6;
                println!("spc {name:<24} {size:>5} rows   {us:>9.1} us {rate:>7.2} TB/s");
                true
            }),
        );
    }
    if good { Ok(()) } else { Err("not everything was timed".into()) }
}
