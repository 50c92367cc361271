//! Training updates against copying: `cargo bench -p spc-tests --bench updates`
//!
//! Every row is timed in turns with a copy of as many floats (`copy_from_slice`, 64 MiB to 64 MiB for the 4096 x 4096 rows), so
//! that the ratio holds on a machine that others use, too: share = time of the copy / time of the operator, median and best
//! decile of the pairs. One thread. `-- avx2` or `-- clif` chooses the instruction set; `-- linear` times wgsef from 10^5 to 10^8.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use spc::{Compiler, Optimiser, UpdatePlan};
use spc_cpu::{Call, Isa, Pool, Slot, Sweeps, between};
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};
use spc_kernel::update::{
    Chain, Column, Fold, FoldKind, Grid, Kind, Lines, Node, Work, bracket, group_pass, last_of, nm_in_place, nm_pass,
};
use std::time::{Duration, Instant};

const SIDE: usize = 4096;
const PAIRS: usize = 25;

fn floats(n: usize) -> Vec<f32> {
    let mut s = 1u64;
    let mut unit = || {
        s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // Sums of four: about as weights are spread.
    (0..n).map(|_| unit() + unit() + unit() + unit()).collect()
}

fn time(f: &mut dyn FnMut()) -> Duration {
    let t = Instant::now();
    f();
    t.elapsed()
}

struct Copy {
    from: Vec<f32>,
    to: Vec<f32>,
}

/// Times an operator in turns with the copy of `n` floats.
fn row(name: &str, c: &mut Copy, n: usize, f: &mut dyn FnMut()) {
    changed(name, c, n, &mut (), &mut |()| (), &mut |()| f());
}

/// The same of an operator that changes what it gets; `restore` is not timed.
fn changed<T>(
    name: &str,
    c: &mut Copy,
    n: usize,
    on: &mut T,
    restore: &mut dyn FnMut(&mut T),
    f: &mut dyn FnMut(&mut T),
) {
    restore(on);
    f(on);
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    let begin = Instant::now();
    while pairs.len() < 5 || (pairs.len() < PAIRS && begin.elapsed() < Duration::from_secs(4)) {
        let (to, from) = (&mut c.to[..n], &c.from[..n]);
        let copy = time(&mut || to.copy_from_slice(std::hint::black_box(from))).as_secs_f64();
        restore(on);
        pairs.push((copy, time(&mut || f(on)).as_secs_f64()));
    }
    let median = |mut v: Vec<f64>| {
        v.sort_unstable_by(f64::total_cmp);
        (v[v.len() / 2], v[v.len() * 9 / 10])
    };
    let (share, best) = median(pairs.iter().map(|(c, t)| c / t).collect());
    let (ms, _) = median(pairs.iter().map(|(_, t)| t * 1e3).collect());
    let (copy, _) = median(pairs.iter().map(|(c, _)| c * 1e3).collect());
    println!("| {name} | {ms:.1} | {copy:.1} | {:.0} % | {:.0} % |", share * 100.0, best * 100.0);
}

/// Soft thresholding of norms by a number.
fn lasso() -> (Chain, usize) {
    let mut c = Chain::default();
    c.array(Kind::F32);
    let (x, t) = (c.node(Node::Array(0)), c.node(Node::Number(0)));
    let y = c.map(S::bin(BinFn::Max, S::bin(BinFn::Sub, S::Arg(0), S::Arg(1)), S::Const(0.0)), vec![x, t], DType::F32);
    (c, y)
}

/// The mask of a threshold, and the weights under it.
fn masked() -> Chain {
    let mut c = Chain::default();
    let (w, m, v) = (c.array(Kind::F32), c.array(Kind::Bytes), c.array(Kind::F32));
    let (w, least, early) = (c.node(Node::Array(w)), c.node(Node::Number(0)), c.node(Node::Before(1)));
    let size = S::un(UnFn::Abs, S::Arg(0));
    let equal = S::bin(BinFn::And, S::bin(BinFn::Eq, size.clone(), S::Arg(1)), S::Arg(2));
    let mask = S::bin(BinFn::Or, S::bin(BinFn::Gt, size, S::Arg(1)), equal);
    let mask = c.map(mask, vec![w, least, early], DType::Bool);
    let x = c.map(S::select(S::Arg(0), S::Arg(1), S::Const(0.0)), vec![mask, w], DType::F32);
    c.store(m, mask);
    c.store(v, x);
    c
}

fn main() {
    let isa = std::env::args().find_map(|a| Isa::from_name(&a)).unwrap_or(Isa::native());
    if std::env::args().any(|a| a == "linear") {
        return linear(isa);
    }
    let lanes = isa.lanes();
    let pool = Pool::new(1);
    let most = 22 << 20;
    let mut c = Copy { from: floats(most), to: vec![0.0; most] };
    c.to.copy_from_slice(&c.from);
    let n = SIDE * SIDE;
    println!(
        "{}\n\n| operator | ms | copy ms | share of copy | best decile |\n| --- | --- | --- | --- | --- |",
        isa.name()
    );
    let (mut mask, mut view) = (vec![0u8; most], vec![1f32; most]);
    let w = c.from.clone();
    limits(isa, &mut c, n);
    for (k, m) in [(2usize, 4usize), (1, 8), (4, 16), (8, 32)] {
        let sweeps = Sweeps::new(vec![nm_pass(m, 0, true, lanes).unwrap()], isa).unwrap();
        row(&format!("{k}:{m} mask and apply, 4096 x 4096"), &mut c, n, &mut || {
            let mut slots = [Slot::Read(&w[..n]), Slot::Bytes(&mut mask[..n]), Slot::F32(&mut view[..n])];
            sweeps.run(n, &mut slots, &[k as f32], &[Call { pass: 0, slots: vec![0, 1, 2] }], &pool).unwrap();
        });
    }
    for (k, m) in [(2usize, 4usize), (8, 32)] {
        let sweeps = Sweeps::new(vec![nm_in_place(m, 0, lanes).unwrap()], isa).unwrap();
        let name = format!("{k}:{m} in place, 4096 x 4096");
        changed(&name, &mut c, n, &mut view, &mut |v| v[..n].copy_from_slice(&w[..n]), &mut |v| {
            let call = [Call { pass: 0, slots: vec![0] }];
            sweeps.run(n, &mut [Slot::F32(&mut v[..n])], &[k as f32], &call, &pool).unwrap();
        });
    }
    let (chain, y) = lasso();
    let grids = [
        ("group lasso, 16 x 16 tiles", Grid { rows: 16, cols: SIDE, tile: 16 }),
        ("group lasso, rows", Grid { rows: 1, cols: SIDE, tile: SIDE }),
        ("group lasso, 4 x 4 tiles", Grid { rows: 4, cols: SIDE, tile: 4 }),
    ];
    for (name, g) in grids {
        let sweeps = Sweeps::new(vec![group_pass(g, Work::Prox(&chain, y), lanes).unwrap()], isa).unwrap();
        view[..n].copy_from_slice(&w[..n]);
        row(&format!("{name}, 4096 x 4096"), &mut c, n, &mut || {
            let call = [Call { pass: 0, slots: vec![0] }];
            sweeps.run(n, &mut [Slot::F32(&mut view[..n])], &[1e-6], &call, &pool).unwrap();
        });
    }
    let sweeps = Sweeps::new(vec![masked().pass("masked", lanes).unwrap()], isa).unwrap();
    let threshold = |w: &[f32]| {
        let b = between(&[w], &[None], bracket(&[w], &[None], most / 10).unwrap(), &pool);
        let l = last_of(&b.keys, b.above, most / 10).unwrap();
        let (_, index) = b.place(l.at, &[w], &[None]).unwrap();
        [f32::from_bits(l.key), f32::from_bits(index as u32 + 1)]
    };
    row("greatest 10 % of 22 Mi weights, mask and apply", &mut c, most, &mut || {
        let numbers = threshold(&w);
        let mut slots = [Slot::Read(&w), Slot::Bytes(&mut mask), Slot::F32(&mut view)];
        sweeps.run(most, &mut slots, &numbers, &[Call { pass: 0, slots: vec![0, 1, 2] }], &pool).unwrap();
    });
    row("its threshold alone", &mut c, most, &mut || {
        std::hint::black_box(threshold(&w));
    });
    let plan = one("require c: keep 10% of elements per tensor", (4096, most / 4096), SGD, isa);
    let name = "greatest 10 % of 22 Mi weights, in place";
    changed(name, &mut c, most, &mut view, &mut |v| v.copy_from_slice(&w), &mut |v| {
        plan.project(&mut [("net.w", v)]).unwrap();
    });
    coupled(isa, &mut c);
    envelope(isa, &mut c);
    for (name, rules, optimiser) in [
        (
            "a whole step: SR-STE 2:4, SGD with momentum",
            "require c: keep 2 of 4 of elements per tile(in: 4) via sr_ste()",
            SGD,
        ),
        ("a whole step: l1, AdamW", "penalize p: 1e-4 * l1() of elements", Optimiser::ADAM),
    ] {
        step(name, rules, optimiser, isa, &mut c);
    }
}

/// What a pass costs that does nothing else: reading once, and reading and writing in place.
fn limits(isa: Isa, c: &mut Copy, n: usize) {
    let mut read = Chain::default();
    read.array(Kind::F32);
    let value = read.node(Node::Array(0));
    read.folds.push(Fold { kind: FoldKind::Max, value, guard: None });
    let mut scale = Chain::default();
    scale.array(Kind::F32);
    let (x, f) = (scale.node(Node::Array(0)), scale.node(Node::Number(0)));
    let y = scale.map(S::bin(BinFn::Mul, S::Arg(0), S::Arg(1)), vec![x, f], DType::F32);
    scale.store(0, y);
    let passes = [&read, &scale].map(|p| p.pass("limit", isa.lanes()).unwrap());
    let sweeps = Sweeps::new(passes.to_vec(), isa).unwrap();
    let mut v = c.from[..n].to_vec();
    let pool = Pool::new(1);
    for (pass, name) in ["limit: reading, 4096 x 4096", "limit: scaling in place, 4096 x 4096"].into_iter().enumerate()
    {
        row(name, c, n, &mut || {
            let call = [Call { pass, slots: vec![0] }];
            sweeps.run(n, &mut [Slot::F32(&mut v)], &[0.999], &call, &pool).unwrap();
        });
    }
}

/// Group lasso of neurons: rows of two matrices and columns of a third.
fn coupled(isa: Isa, c: &mut Copy) {
    let (f, d) = (2048, 2048);
    let n = f * d;
    let grids =
        [Grid { rows: 1, cols: d, tile: d }, Grid { rows: 1, cols: d, tile: d }, Grid { rows: d, cols: f, tile: 1 }];
    let passes = grids
        .iter()
        .flat_map(|g| [Work::Squares, Work::Scale].map(|w| group_pass(*g, w, isa.lanes()).unwrap()))
        .collect();
    let sweeps = Sweeps::new(passes, isa).unwrap();
    let mut w: Vec<Vec<f32>> = (0..3).map(|k| c.from[k..k + n].to_vec()).collect();
    let mut side = vec![vec![0f32; f]; 3];
    let pool = Pool::new(1);
    row("group lasso of neurons: 2 x 2048 rows, 2048 columns", c, 3 * n, &mut || {
        for k in 0..3 {
            let call = [Call { pass: 2 * k, slots: vec![0, 1] }];
            sweeps.run(n, &mut [Slot::F32(&mut w[k]), Slot::F32(&mut side[k])], &[], &call, &pool).unwrap();
        }
        for j in 0..f {
            let norm = (side[0][j] + side[1][j] + side[2][j]).sqrt();
            let factor = (norm - 1e-6).max(0.0) / norm;
            side.iter_mut().for_each(|s| s[j] = factor);
        }
        for k in 0..3 {
            let call = [Call { pass: 2 * k + 1, slots: vec![0, 1] }];
            sweeps.run(n, &mut [Slot::F32(&mut w[k]), Slot::Read(&side[k])], &[], &call, &pool).unwrap();
        }
    });
}

/// The prox of wgsef over groups of 16.
struct Envelope {
    sweeps: Sweeps,
    pool: Pool,
    w: Vec<f32>,
    side: Vec<f32>,
    slopes: Vec<f32>,
}

const TAU: f64 = 1e-3;

/// The root over groups of these norms, of which half are kept.
fn root(slopes: &[f32]) -> f64 {
    let number = Column::Number;
    let of = [number(1.0), Column::Array(slopes), number(-TAU), number(0.0), number(1.0)];
    Lines { n: slopes.len(), of }.root(slopes.len() as f64 / 2.0, 0.0, f64::INFINITY).unwrap()
}

impl Envelope {
    fn new(isa: Isa, w: &[f32]) -> Envelope {
        let g = Grid { rows: 1, cols: 16, tile: 16 };
        let pass = |w| group_pass(g, w, isa.lanes()).unwrap();
        let sweeps = Sweeps::new(vec![pass(Work::Squares), pass(Work::Scale)], isa).unwrap();
        let groups = w.len() / 16;
        Envelope { sweeps, pool: Pool::new(1), w: w.to_vec(), side: vec![0.0; groups], slopes: vec![0.0; groups] }
    }

    /// Gives the time of the root search.
    fn prox(&mut self) -> Duration {
        let n = self.w.len();
        let call = [Call { pass: 0, slots: vec![0, 1] }];
        let mut slots = [Slot::F32(&mut self.w), Slot::F32(&mut self.side)];
        self.sweeps.run(n, &mut slots, &[], &call, &self.pool).unwrap();
        self.side.iter_mut().for_each(|x| *x = x.sqrt());
        let by = (TAU as f32).sqrt();
        self.slopes.iter_mut().zip(&self.side).for_each(|(s, x)| *s = *x * by);
        let start = Instant::now();
        let t = root(&self.slopes);
        let took = start.elapsed();
        self.side.iter_mut().zip(&self.slopes).for_each(|(x, s)| {
            let u = (f64::from(*s) * t - TAU).clamp(0.0, 1.0);
            *x = (u / (u + TAU)) as f32;
        });
        let call = [Call { pass: 1, slots: vec![0, 1] }];
        self.sweeps.run(n, &mut [Slot::F32(&mut self.w), Slot::Read(&self.side)], &[], &call, &self.pool).unwrap();
        took
    }
}

fn envelope(isa: Isa, c: &mut Copy) {
    for groups in [100_000usize, 1_000_000] {
        let mut e = Envelope::new(isa, &c.from[..16 * groups]);
        let (mut root, mut rounds) = (Duration::ZERO, 0u32);
        row(&format!("wgsef, {groups} groups of 16"), c, 16 * groups, &mut || {
            root += e.prox();
            rounds += 1;
        });
        let each = root.as_nanos() as f64 / f64::from(rounds) / groups as f64;
        println!("| its root search | {each:.1} ns a group | | | |");
    }
}

/// Time against size, from 10^5 to 10^8: of the root over so many groups, and of the whole prox of so many weights. `-- linear`.
fn linear(isa: Isa) {
    let median = |f: &mut dyn FnMut() -> Duration| {
        f();
        let mut t: Vec<f64> = (0..5).map(|_| f().as_secs_f64()).collect();
        t.sort_unstable_by(f64::total_cmp);
        t[2]
    };
    for (name, whole) in [("root over n groups", false), ("wgsef of n weights in groups of 16", true)] {
        println!("\n| {name} | ns each |\n| --- | --- |");
        let mut points: Vec<(f64, f64)> = Vec::new();
        for n in [100_000usize, 1_000_000, 10_000_000, 100_000_000] {
            let v = floats(n);
            let t = if whole {
                let mut e = Envelope::new(isa, &v);
                median(&mut || time(&mut || _ = e.prox()))
            } else {
                let slopes: Vec<f32> = v.into_iter().map(|x| x.abs() * 0.1).collect();
                median(&mut || time(&mut || _ = std::hint::black_box(root(&slopes))))
            };
            println!("| {n} | {:.2} |", t * 1e9 / n as f64);
            points.push(((n as f64).ln(), t.ln()));
        }
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / points.len() as f64;
        let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
        let slope = mean(&|p| (p.0 - x) * (p.1 - y)) / mean(&|p| (p.0 - x) * (p.0 - x));
        println!("\nslope of a line through the logarithms: {slope:.2}");
    }
}

const SGD: Optimiser = Optimiser::Sgd { momentum: 0.9, weight_decay: 0.0 };

/// A plan for one matrix.
fn one(rules: &str, (rows, cols): (usize, usize), optimiser: Optimiser, isa: Isa) -> UpdatePlan {
    let text = format!(
        "
use std.updates.sr_ste
use std.penalties.l1
axis B = 1..8
model net {{ axes {{ I = {cols}, O = {rows} }} w: f32[O, I] }}
fn f(x: f32[B, I]) -> y: f32[B, O] {{ y[b, o] = net.w[o, i] * x[b, i] }}
{rules}
"
    );
    Compiler::new().isa(isa).compile_str(&text).unwrap().update_plan(optimiser, 1_000_000).unwrap()
}

fn step(name: &str, rules: &str, optimiser: Optimiser, isa: Isa, c: &mut Copy) {
    let plan = one(rules, (SIDE, SIDE), optimiser, isa);
    let n = SIDE * SIDE;
    let (mut w, g) = (c.from[..n].to_vec(), c.from[5..n + 5].to_vec());
    let mut state = plan.start(&mut [("net.w", &mut w)]).unwrap();
    let arrays = plan.passes().unwrap().iter().map(|p| p.1).max().unwrap_or(0);
    let mut at = 0;
    row(&format!("{name}, 4096 x 4096 ({arrays} arrays)"), c, n, &mut || {
        plan.update(at, &mut [("net.w", &mut w)], &[("net.w", &g)], 1e-6, &mut state).unwrap();
        at += 1;
    });
}
