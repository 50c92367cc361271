//! Constraints hold after every step, counted by code that knows nothing of spc, over random programs. The suite takes some
//! thousand steps; a million: `cargo test --release -p spc --test violations -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::train::Rng;
use spc::{Compiler, Optimiser};

fn pick<T: Clone>(r: &mut Rng, list: &[T]) -> T {
    list[r.below(list.len() as u64) as usize].clone()
}

/// A matrix of `rows` x `cols` and what may be in it.
struct Weight {
    name: &'static str,
    rows: usize,
    cols: usize,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Free,
    /// So many of each m neighbours of a row.
    Nm(usize, usize),
    /// So many percent of the weights, in each row or in all.
    Rows(usize),
    Whole(usize),
    /// So many percent of the tiles.
    Tiles(usize, usize, usize),
}

/// How many more there are than may be.
fn violations(w: &Weight, v: &[f32]) -> usize {
    let there = |r: usize, c: usize| usize::from(v[r * w.cols + c] != 0.0);
    let share = |p: usize, n: usize| (p * n).div_ceil(100);
    let over = |have: usize, may: usize| have.saturating_sub(may);
    match w.rule {
        Rule::Free => 0,
        Rule::Nm(n, m) => (0..w.rows)
            .flat_map(|r| (0..w.cols / m).map(move |g| (r, g)))
            .map(|(r, g)| over((g * m..(g + 1) * m).map(|c| there(r, c)).sum(), n))
            .sum(),
        Rule::Rows(p) => (0..w.rows).map(|r| over((0..w.cols).map(|c| there(r, c)).sum(), share(p, w.cols))).sum(),
        Rule::Whole(p) => over(v.iter().filter(|x| **x != 0.0).count(), share(p, w.rows * w.cols)),
        Rule::Tiles(a, b, p) => {
            let all: Vec<usize> = (0..w.rows / a)
                .flat_map(|r| (0..w.cols / b).map(move |c| (r, c)))
                .map(|(r, c)| {
                    (r * a..(r + 1) * a)
                        .flat_map(|i| (c * b..(c + 1) * b).map(move |j| (i, j)))
                        .map(|(i, j)| there(i, j))
                        .max()
                        .unwrap()
                })
                .collect();
            over(all.iter().sum(), share(p, all.len()))
        }
    }
}

/// A program, its weights, and whether each holds from the first step on, or at the end only.
fn program(r: &mut Rng) -> (String, Vec<(Weight, bool)>) {
    let mut list = Vec::new();
    let mut rules = String::new();
    for (k, (name, rows, cols)) in [("w", 16, 32), ("v", 8, 16)].into_iter().enumerate() {
        let rule = match r.below(6) {
            0 => {
                let m = pick(r, &[2usize, 4, 8, 16]);
                Rule::Nm(1 + r.below(m as u64 - 1) as usize, m)
            }
            1 => Rule::Rows(5 + r.below(90) as usize),
            2 | 3 => Rule::Whole(5 + r.below(90) as usize),
            4 => {
                let (a, b) = pick(r, &[(1, 4), (4, 4), (2, 8), (8, 1)]);
                Rule::Tiles(a, b, 10 + r.below(80) as usize)
            }
            _ => Rule::Free,
        };
        let elements = !matches!(rule, Rule::Tiles(..));
        // What moves single weights does not fit tiles, and what counts per tensor does not fit rows.
        let (via, holds) = match (r.below(6), rule) {
            (0, _) => ("", true),
            (1, _) => ("via sr_ste(lambda: 0.01)", true),
            (2, _) => ("via frozen()", true),
            (3, Rule::Whole(_)) => ("via dropgrow(interval: 3)", true),
            (4, Rule::Nm(..)) => ("via mdgf(scaled: true)", false),
            (5, Rule::Nm(..)) => ("via adams(lambda: 1e-2, refresh: 3)", false),
            _ => ("via sr_ste()", true),
        };
        let what = match rule {
            Rule::Free => None,
            Rule::Nm(n, m) => Some(format!("{n} of {m} of elements per tile(in: {m})")),
            Rule::Rows(p) => Some(format!("{p}% of elements per tile(out: 1, in: all)")),
            Rule::Whole(p) => Some(format!("{p}% of elements per tensor")),
            Rule::Tiles(a, b, p) => Some(format!("{p}% of tile(out: {a}, in: {b}) per tensor")),
        };
        if let Some(what) = what {
            rules += &format!("require r{k}: keep {what} on net.{name} {via}\n");
        }
        if r.below(2) == 0 {
            let group = if elements { "elements" } else { "tile(out: 1, in: all)" };
            let p = pick(r, &["l1()", "mcp(0.5)", "l0()", "capped_l1()"]);
            rules += &format!("penalize p{k}: 1e-3 * {p} of {group} on net.{name}\n");
        }
        list.push((Weight { name: if k == 0 { "net.w" } else { "net.v" }, rows, cols, rule }, holds));
    }
    let text = format!(
        "
use std.updates.{{sr_ste, dropgrow, mdgf, adams, frozen}}
use std.penalties.{{l1, l0, capped_l1, mcp}}
axis B = 1..8
model net {{ axes {{ I = 32, O = 16, N = 8 }}  w: f32[O, I]  v: f32[N, O] }}
fn f(x: f32[B, I]) -> z: f32[B, N] {{
  y[b, o] = net.w[o, i] * x[b, i]
  z[b, n] = net.v[n, o] * y[b, o]
}}
{rules}"
    );
    (text, list)
}

/// Programs, steps, counts of matrices that were looked at, and violations.
fn count(programs: u64, steps: u64) -> (u64, u64, u64, usize) {
    let (mut taken, mut looked, mut wrong) = (0, 0, 0);
    let mut compiled = 0;
    for seed in 0..programs {
        let mut r = Rng(seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let (text, list) = program(&mut r);
        let checked = Compiler::new().compile_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let o = pick(&mut r, &[Optimiser::SGD, Optimiser::Sgd { momentum: 0.9, weight_decay: 0.01 }, Optimiser::ADAM]);
        let plan = checked.update_plan(o, steps).unwrap();
        compiled += u64::from(plan.interpreted().is_none());
        let mut params: Vec<(&str, Vec<f32>)> = list.iter().map(|(w, _)| (w.name, r.floats(w.rows * w.cols))).collect();
        let mut given: Vec<(&str, &mut [f32])> = params.iter_mut().map(|(n, v)| (*n, &mut v[..])).collect();
        let mut state = plan.start(&mut given).unwrap();
        for step in 0..steps {
            for ((w, holds), (_, v)) in list.iter().zip(&given) {
                if *holds {
                    looked += 1;
                    let n = violations(w, v);
                    assert_eq!(n, 0, "seed {seed} before step {step}: {} {:?}\n{text}", w.name, w.rule);
                    wrong += n;
                }
            }
            let grads: Vec<(&str, Vec<f32>)> = list.iter().map(|(w, _)| (w.name, r.floats(w.rows * w.cols))).collect();
            let grads: Vec<(&str, &[f32])> = grads.iter().map(|(n, g)| (*n, &g[..])).collect();
            plan.update(step, &mut given, &grads, 0.05, &mut state).unwrap();
            taken += 1;
        }
        for ((w, _), (_, v)) in list.iter().zip(&given) {
            looked += 1;
            let n = violations(w, v);
            assert_eq!(n, 0, "seed {seed} at the end: {} {:?}\n{text}", w.name, w.rule);
            wrong += n;
        }
    }
    assert!(compiled * 2 > programs, "most programs are compiled: {compiled} of {programs}");
    (taken, looked, compiled, wrong)
}

#[test]
fn no_step_breaks_a_constraint() {
    let (taken, looked, ..) = count(24, 40);
    assert!(taken == 960 && looked > 960);
}

/// The counter sees what it should.
#[test]
fn the_counter_counts() {
    let w = |rule| Weight { name: "net.w", rows: 2, cols: 4, rule };
    let v = [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, -1.0];
    assert_eq!(violations(&w(Rule::Nm(2, 4)), &v), 1);
    assert_eq!(violations(&w(Rule::Nm(1, 2)), &v), 1);
    assert_eq!(violations(&w(Rule::Rows(50)), &v), 1);
    assert_eq!(violations(&w(Rule::Rows(26)), &v), 1);
    assert_eq!(violations(&w(Rule::Whole(25)), &v), 2);
    assert_eq!(violations(&w(Rule::Tiles(1, 2, 50)), &v), 1);
    assert_eq!(violations(&w(Rule::Free), &v), 0);
}

#[test]
#[ignore = "a million steps: minutes, in release"]
#[allow(clippy::print_stdout)]
fn a_million_steps_break_no_constraint() {
    let (taken, looked, compiled, wrong) = count(2_000, 500);
    println!("{taken} steps of 2000 programs ({compiled} compiled), {looked} matrices counted, {wrong} violations");
    assert!(taken == 1_000_000 && wrong == 0);
}
