//! The constants of the cost model, measured on this machine.
use crate::alone::{Alone, Layer, random};
use crate::fit::{Family, fit};
use crate::pairs::Clock;
use crate::roofline::Machine;
use crate::stats::{median, quantile};
use crate::suite::{Case, Sample, Zeros, on_grid, samples};
use spc_base::Bug;
use spc_cpu::Isa;
use spc_formats::{Layout, pack, validate};
use spc_ir::{Act, BinFn, ScalarExpr, UnFn};
use spc_layout::{CostTable, Level};

/// Outputs and inputs that are measured: weights in the first, second and third cache, few rows and many.
const SHAPES: [(usize, usize); 7] =
    [(256, 64), (320, 256), (512, 1024), (1024, 320), (256, 2048), (768, 768), (2048, 512)];

/// Tokens: those of every knot of the table of multiply-adds, and some between.
const TOKENS_FM: [usize; 6] = [1, 16, 32, 48, 64, 144];
const TOKENS_RM: [usize; 8] = [1, 2, 3, 4, 8, 16, 32, 144];

/// Shares of present elements in turn: of layouts with tiles; of lists of single ones, among them what a split leaves over; of
/// bits, which are for more.
const PERMILLE: &[u64] = &[100, 250, 500];
const LISTS: &[u64] = &[100, 15, 250, 5, 500];
const BITS: &[u64] = &[500, 250, 750, 100];

/// The kernels of one family.
struct Kind {
    name: &'static str,
    family: Family,
    act: Act,
    layouts: &'static [&'static str],
    permille: &'static [u64],
}

const fn kind(name: &'static str, family: Family, act: Act, layouts: &'static [&'static str]) -> Kind {
    Kind { name, family, act, layouts, permille: PERMILLE }
}

const KINDS: [Kind; 15] = [
    kind("dense, token-major", |t| &mut t.dense_rm, Act::Rm, &["dense(16)", "dense(8)", "dense(4)"]),
    kind("dense", |t| &mut t.dense_fm, Act::Fm, &["dense(16)", "dense(8)", "dense(4)"]),
    kind("vx1", |t| &mut t.vx1, Act::Fm, &["vx1(1)", "vx1(2)", "vx1(4)", "vx1(8)", "vx1(16)"]),
    kind("bsr", |t| &mut t.bsr, Act::Fm, &["bsr(2,2)", "bsr(4,4)", "bsr(8,8)", "bsr(16,4)"]),
    kind("nm", |t| &mut t.nm, Act::Fm, &["nm(1,4)", "nm(2,4)", "nm(4,8)"]),
    Kind { permille: LISTS, ..kind("csr", |t| &mut t.csr, Act::Fm, &["csr"]) },
    kind(
        "vx1 and bsr, token-major",
        |t| &mut t.lists_rm,
        Act::Rm,
        &["vx1(4)", "vx1(8)", "vx1(16)", "bsr(4,4)", "bsr(8,8)", "bsr(16,4)"],
    ),
    kind("nm16", |t| &mut t.nm16, Act::Rm, &["nm16(1,4)", "nm16(2,4)", "nm16(4,8)"]),
    Kind { permille: LISTS, ..kind("csr16", |t| &mut t.csr16, Act::Rm, &["csr16"]) },
    kind("vnm16", |t| &mut t.vnm16, Act::Rm, &["vnm16(64,8)", "vnm16(32,16)", "vnm16(128,32)"]),
    Kind { permille: BITS, ..kind("bitmap", |t| &mut t.bitmap, Act::Rm, &["bitmap"]) },
    kind("i8", |t| &mut t.i8, Act::Rm, &["i8(16)", "i8(32)"]),
    kind(
        "i8nm and i4nm",
        |t| &mut t.i8nm,
        Act::Rm,
        &["i8nm(1,4)", "i8nm(2,4)", "i8nm(4,8)", "i4nm(2,4,32,16)", "i4nm(2,4,64,16)"],
    ),
    kind("i8csr", |t| &mut t.i8csr, Act::Rm, &["i8csr(4)", "i8csr(8)"]),
    kind("groups", |t| &mut t.groups, Act::Rm, &["q4(32,16)", "q8(32,16)", "kept4(16,16)", "kept8(32,16)"]),
];

/// The names of all families.
pub fn family_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|k| k.name)
}

/// How well one family is explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    pub family: &'static str,
    pub samples: usize,
    /// Median error of the predictions for the measured kernels, as a share.
    pub error: f64,
}

/// The constants that come with spc for code of this instruction set on x86-64.
pub fn shipped(isa: Isa) -> CostTable {
    match isa {
        Isa::Clif => CostTable::clif_x86_64_v1(),
        Isa::Avx2 => CostTable::avx2_x86_64_v1(),
        Isa::Avx512 => CostTable::wide_x86_64_v1(),
        Isa::Avx512Vnni => CostTable::vnni_x86_64_v1(),
        Isa::Avx512Amx => CostTable::amx_x86_64_v1(),
    }
}

/// Measures a machine: a table for `isa`, and how well it explains what was measured. `heard` is told how far it is. `quick`
/// measures two small shapes only: enough to see that it works, not to trust its choices on large layers.
pub fn calibrate(
    isa: Isa,
    quick: bool,
    now: Clock<'_>,
    heard: &dyn Fn(u64, u64),
) -> Result<(CostTable, Vec<Explained>), Bug> {
    let total = (KINDS.len() * shapes(quick).len()) as u64 + 2;
    heard(0, total);
    let machine = Machine::measure(isa, 1, now, &|_, _| {})?;
    let per_us = |gb: f64| ((gb * 1000.0).round() as u64).clamp(1, 1_000_000_000);
    let mut table = shipped(isa);
    table.name = format!("{}-calibrated", isa.name());
    table.source = "measured by `spc calibrate`".into();
    table.pass_fm = 48;
    table.levels = machine
        .roofline
        .reads
        .iter()
        .map(|r| Level { up_to_bytes: r.bytes, bytes_per_us: per_us(r.gb_per_s) })
        .collect();
    // More bytes are never read faster; where it seems so, somebody disturbed the fewer.
    let mut least = 0;
    for l in table.levels.iter_mut().rev() {
        least = l.bytes_per_us.max(least);
        l.bytes_per_us = least;
    }
    // Beyond what was measured, as at the end of it.
    if let Some(last) = table.levels.last().copied() {
        table.levels.push(Level { up_to_bytes: u64::MAX, ..last });
    }
    table.again_bytes_per_us = per_us(machine.roofline.read(512 << 10).gb_per_s);
    table.activation_bytes_per_us = per_us(machine.roofline.read(512 << 10).gb_per_s / 2.0);
    drop(machine);
    heard(1, total);
    elements(&mut table, isa, now)?;
    let (mut explained, mut converting, mut done) = (Vec::new(), Vec::new(), 2u64);
    for kind in &KINDS {
        let (e, list) = one_family(&mut table, kind, isa, quick, now, &mut || {
            heard(done, total);
            done += 1;
        })?;
        explained.push(e);
        for s in list.iter().filter(|s| s.act == Act::Fm && s.shape.tokens >= 16) {
            let moved = s.shape.tokens + table.padded(s.shape.tokens, Act::Fm);
            let bytes = 4 * moved * (s.shape.inputs + s.shape.outputs);
            converting.push(bytes as f64 / (s.converting_ps - 2.0 * table.launch_ps as f64).max(1.0) * 1e6);
        }
    }
    table.convert_bytes_per_us = (median(&converting) as u64).clamp(1, 1_000_000_000);
    heard(total, total);
    Ok((table, explained))
}

fn shapes(quick: bool) -> &'static [(usize, usize)] {
    if quick { &SHAPES[..2] } else { &SHAPES }
}

/// Measures one family and sets its rates in a table, whose levels of memory it takes as they are.
pub fn family(table: &mut CostTable, name: &str, isa: Isa, quick: bool, now: Clock<'_>) -> Result<Explained, Bug> {
    let kind = KINDS.iter().find(|k| k.name == name).ok_or_else(|| Bug::new(format!("no family is `{name}`")))?;
    Ok(one_family(table, kind, isa, quick, now, &mut || {})?.0)
}

fn one_family(
    table: &mut CostTable,
    kind: &Kind,
    isa: Isa,
    quick: bool,
    now: Clock<'_>,
    next: &mut dyn FnMut(),
) -> Result<(Explained, Vec<Sample>), Bug> {
    let mut list: Vec<Sample> = Vec::new();
    for &(o, k) in shapes(quick) {
        next();
        for (i, name) in kind.layouts.iter().enumerate() {
            let layout: Layout = name.parse().map_err(|r| Bug::new(format!("{name}: {r}")))?;
            let tokens = if kind.act == Act::Rm { &TOKENS_RM[..] } else { &TOKENS_FM };
            // A family of one layout has as many samples of each number of tokens as others have layouts, or its rates of many
            // tokens would be those of the few densities that were drawn for them.
            let rounds = if kind.layouts.len() == 1 { 3 } else { 1 };
            for (j, n) in tokens.iter().enumerate().flat_map(|(j, n)| (0..rounds).map(move |k| (j + k, *n))) {
                let permille = kind.permille[(i + j + o / 256) % kind.permille.len()];
                let mut w = Zeros::fitting(layout, permille).matrix(o, k, (o * k + j) as u64);
                on_grid(layout, k, &mut w);
                list.extend(samples((o, k, n), &w, &[Case { layout, act: kind.act }], isa, now)?);
            }
        }
    }
    let error = fit(table, kind.family, &list);
    Ok((Explained { family: kind.name, samples: list.len(), error }, list))
}

/// Starting a kernel, and pointwise work on one element.
fn elements(table: &mut CostTable, isa: Isa, now: Clock<'_>) -> Result<(), Bug> {
    let time = |a: &Alone| -> Result<f64, Bug> {
        let times = (0..40).map(|_| Ok(a.run(now)?.0)).collect::<Result<Vec<f64>, Bug>>()?;
        Ok(quantile(&times, 0.25) * 1e12)
    };
    let tiny = Layer { rows: 4, cols: 4, bias: false, act: None };
    let packed = pack(&Layout::DENSE, 4, 4, &random(16, 1)).map_err(|r| Bug::new(r.0))?;
    let packed = validate(packed).map_err(Bug::new)?;
    table.launch_ps = time(&Alone::new(&tiny, &packed, None, &random(4, 2), 1, isa)?)? as u64;
    let (rows, tokens) = (256usize, 64usize);
    let x = random(rows * tokens, 3);
    let pointwise = |act: ScalarExpr| -> Result<f64, Bug> {
        let layer = Layer { rows, cols: 1, bias: false, act: Some(act) };
        let alone = Alone::epilogue(&layer, &x, 1, isa)?.ok_or_else(|| Bug::new("an epilogue that does nothing"))?;
        Ok(time(&alone)? / (rows * tokens) as f64)
    };
    let sum = |n: u32| {
        (0..n).fold(ScalarExpr::Arg(0), |e, i| ScalarExpr::bin(BinFn::Add, e, ScalarExpr::Const(f64::from(i))))
    };
    let (one, many) = (pointwise(sum(1))?, pointwise(sum(9))?);
    table.element_ps = ((many - one) / 8.0).max(1.0) as u64;
    let exp = pointwise(ScalarExpr::un(UnFn::Exp, ScalarExpr::Arg(0)))?;
    table.call_ps = (exp - one).max(1.0) as u64;
    // A product of a matrix with itself: each row with each.
    let x = random(tokens * rows, 4);
    let product = time(&Alone::contract(rows, &x, isa)?)?;
    table.contract_fs = (product * 1000.0 / (tokens * tokens * rows) as f64).max(1.0) as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_table_explains_what_was_measured_and_is_sound() {
        let start = std::time::Instant::now();
        let (table, explained) = calibrate(Isa::native(), true, &|| start.elapsed(), &|_, _| {}).unwrap();
        assert_eq!(explained.len(), KINDS.len());
        assert!(explained.iter().all(|e| e.samples > 0 && e.error < 1.0), "{explained:?}");
        let named = spc_layout::Constants::new([("x".to_string(), table)].into_iter().collect());
        assert_eq!(spc_layout::Constants::parse(&named.to_json().unwrap()), Ok(named));
    }
}
