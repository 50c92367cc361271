//! Weights as sums of two, and axes in another order, decided by the compiler: the same results in all that a plan goes
//! through, and the program as it was where it would not pay or cannot be done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Folder, build, explained, goes_round, made, numbers, result, session};
use spc::driver::{Compile, Explain, Options, Stage, compile_file, diff_files, explain_file};
use spc::{Compiler, Program};

const D: usize = 256;
const F: usize = 1024;

const TEXT: &str = "
edition 1
use std.nn
use std.patterns.nm
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 256, F = 1024 }
  up: f32[F, D]    bu: f32[F]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  y = nn.linear(nn.gelu(nn.linear(x, m.up, m.bu)), m.down)
}
target one = cpu(threads: 1) { B = 1 }
";

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn next(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn value(&mut self) -> f32 {
        (self.next(1 << 24) as f32 + 1.0) / 8_388_608.0 - 1.03
    }

    fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }

    /// A matrix of 16 x 1 blocks, of which `share` in 100 stay, and of all other elements `outliers` in 1000.
    fn blocks(&mut self, rows: usize, cols: usize, share: u64, outliers: u64) -> Vec<f32> {
        let mut w = self.values(rows * cols);
        for top in (0..rows).step_by(16) {
            for j in 0..cols {
                let keep = self.next(100) < share;
                for i in top..(top + 16).min(rows) {
                    if !keep && self.next(1000) >= outliers {
                        w[i * cols + j] = 0.0;
                    }
                }
            }
        }
        w
    }

    fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut out: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            out.swap(i, self.next(i as u64 + 1) as usize);
        }
        out
    }
}

/// The program over axes of these sizes.
fn folder((d, f): (usize, usize), up: &[f32], down: &[f32]) -> Folder {
    let folder = Folder::new();
    folder.text("net.sp", &TEXT.replace("D = 256", &format!("D = {d}")).replace("F = 1024", &format!("F = {f}")));
    let bias = Random(4).values(f);
    folder.weights("m.safetensors", &[("up", &[f, d], up), ("bu", &[f], &bias), ("down", &[d, f], down)]);
    folder
}

/// Inputs of the program with outliers: its first weight has long rows.
const LONG: usize = 2048;

/// Blocks at 80 % zeros with 1 % of outliers in both weights.
fn outliers() -> Folder {
    let mut r = Random(1);
    let n = 256;
    let (up, down) = (r.blocks(n, LONG, 20, 10), r.blocks(LONG, n, 20, 10));
    folder((LONG, n), &up, &down)
}

/// Blocks whose neurons were shuffled, in `up` by rows, in `down` by the same columns.
fn shuffled() -> (Folder, Vec<usize>) {
    let mut r = Random(2);
    let (up, down) = (r.blocks(F, D, 25, 0), r.values(D * F));
    let order = r.shuffled(F);
    let rows: Vec<f32> = order.iter().flat_map(|i| up[i * D..(i + 1) * D].to_vec()).collect();
    let columns: Vec<f32> = (0..D).flat_map(|i| order.iter().map(|j| down[i * F + j]).collect::<Vec<_>>()).collect();
    (folder((D, F), &rows, &columns), order)
}

fn plan(p: &Program) -> serde_json::Value {
    serde_json::from_str(p.plan()).unwrap()
}

fn layout(p: &Program, weight: &str) -> String {
    let list = plan(p)["functions"][0]["linears"].as_array().cloned().unwrap();
    let found = list.iter().find(|l| l["weight"].as_str().unwrap().starts_with(weight));
    found.unwrap()["layout"].as_str().unwrap().into()
}

/// The built program gives what the interpreter gives of the program as it is written.
fn agrees(f: &Folder, p: &Program, d: usize) {
    let plain = build(f, Compiler::new().interpret(true));
    for tokens in [1, 3, 17] {
        let (a, b) = (result(p, d, tokens), result(&plain, d, tokens));
        let scale = b.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let most = a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(most <= 2e-5 * scale, "{tokens} tokens: {most} of {scale}");
    }
}

#[test]
fn blocks_with_outliers_become_two_products() {
    let f = outliers();
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    let up = ["m.up{tiles 16x1 from 8}", "m.up{beyond tiles 16x1 from 8}"];
    assert!(up.iter().all(|n| made(&p).contains(&n.to_string())), "{:?}\n{text}", made(&p));
    assert_eq!(layout(&p, up[0]), "vx1(16)");
    assert!(["vx1(", "csr"].iter().any(|l| layout(&p, up[1]).starts_with(l)), "{text}");
    assert!(text.contains("split: m.up: ") && text.contains("split-residual R"), "{text}");
    agrees(&f, &p, LONG);
    goes_round(&f, &p, LONG);
    let one = Explain { tensor: Some("m.up".into()), ..Explain::default() };
    let text = session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &one)).0.unwrap().text;
    assert!(text.contains(&format!("{} [", up[0])) && text.contains(&format!("{} [", up[1])), "{text}");
}

#[test]
fn shuffled_neurons_get_their_blocks_back() {
    let (f, _) = shuffled();
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert_eq!(made(&p).len(), 3, "{text}");
    assert_eq!(layout(&p, "m.up{order "), "vx1(16)", "{text}");
    assert!(text.contains("reordered: m.up: alike rows are neighbours now: vx1(16) takes"), "{text}");
    assert!(text.contains("reordered: m.bu and 1 more: carries the axis of the rows of `m.up`"), "{text}");
    assert!(text.contains("reorder-axis R"), "{text}");
    agrees(&f, &p, D);
    goes_round(&f, &p, D);
}

/// Both at once: the order brings blocks together, and what lies beyond them is a product of its own.
#[test]
fn shuffled_blocks_with_outliers_are_put_in_order_and_split() {
    let mut r = Random(6);
    let n = 256;
    let (up, down) = (r.blocks(n, LONG, 20, 10), r.values(LONG * n));
    let order = r.shuffled(n);
    let rows: Vec<f32> = order.iter().flat_map(|i| up[i * LONG..(i + 1) * LONG].to_vec()).collect();
    let f = folder((LONG, n), &rows, &down);
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    let up: Vec<String> = made(&p).into_iter().filter(|n| n.starts_with("m.up{order ")).collect();
    assert!(
        up.len() == 3 && up[1].ends_with("{tiles 16x1 from 8}") && up[2].contains("{beyond "),
        "{:?}\n{text}",
        made(&p)
    );
    assert_eq!(layout(&p, &up[1]), "vx1(16)", "{text}");
    agrees(&f, &p, LONG);
    let again = build(
        &f,
        Compiler::new().plan_file({
            f.text("plan.json", p.plan());
            f.path("plan.json")
        }),
    );
    assert_eq!((again.plan(), result(&again, LONG, 5)), (p.plan(), result(&p, LONG, 5)));
}

#[test]
fn what_would_not_pay_stays_whole_and_says_why() {
    // Small weights: a second kernel takes longer than what it leaves out.
    let (d, n) = (128, 256);
    let mut r = Random(1);
    let (up, down) = (r.blocks(n, d, 20, 10), r.blocks(d, n, 20, 10));
    let f = folder((d, n), &up, &down);
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert!(made(&p).is_empty(), "{text}");
    assert!(text.contains("not split: m.up: in tiles 16x1 from 8 and the rest it would take"), "{text}");
    assert!(!text.contains("split-residual R"), "{text}");
    // No structure, or nothing but structure: not even looked at.
    for (share, outliers) in [(20, 0), (0, 100)] {
        let mut r = Random(7);
        let (up, down) = (r.blocks(F, D, share, outliers), r.blocks(D, F, share, outliers));
        let text = explained(&folder((D, F), &up, &down));
        assert!(!text.contains("split"), "{text}");
    }
}

#[test]
fn codes_stay_in_one_matrix() {
    let f = outliers();
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap();
    f.text("net.sp", &(text + "quantize q: m.{up, down} to int8(per: tile(out: 1, in: 32))\n"));
    let text = explained(&f);
    assert!(made(&build(&f, Compiler::new())).is_empty(), "{text}");
    assert!(text.contains("not split: m.up") && text.contains("its values are codes"), "{text}");
}

#[test]
fn an_axis_that_a_result_carries_stays_in_order_and_says_so() {
    let (f, _) = shuffled();
    let text = std::fs::read_to_string(f.path("net.sp")).unwrap();
    let text = text.replace("-> y: f32[B, D] {", "-> (y: f32[B, D], h: f32[B, F]) {");
    f.text(
        "net.sp",
        &text.replace("  y = nn.linear(nn.gelu(", "  h = nn.linear(x, m.up, m.bu)\n  y = nn.linear(nn.gelu("),
    );
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert!(made(&p).is_empty(), "{text}");
    let line =
        "not reordered: m.up: alike rows lie apart and have to stay there: a result of the function carries the axis";
    assert!(text.contains(line), "{text}");
}

#[test]
fn weights_of_one_element_and_of_odd_sizes_compile() {
    for (d, n) in [(1, 1), (3, 17), (16, 1), (1, 33)] {
        let mut r = Random(3);
        let (up, down) = (r.blocks(n, d, 30, 50), r.blocks(d, n, 30, 50));
        let f = folder((d, n), &up, &down);
        let (p, plain) = (build(&f, Compiler::new()), build(&f, Compiler::new().interpret(true)));
        assert!(result(&p, d, 2).iter().zip(&result(&plain, d, 2)).all(|(a, b)| (a - b).abs() < 1e-4), "{d} x {n}");
    }
}

/// A plan file that was written for something else, or changed by hand.
fn refused(f: &Folder, plan: &str) -> String {
    f.text("other.json", plan);
    let c = Compiler::new().plan_file(f.path("other.json"));
    match c.compile_file(f.path("net.sp")).unwrap().build() {
        Ok(_) => panic!("it should be refused"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn plans_of_other_weights_and_edited_ones_are_coded_errors() {
    let (f, _) = shuffled();
    let text = build(&f, Compiler::new()).plan().to_string();
    let order = text.lines().find(|l| l.contains("\"order\": ")).unwrap().trim().to_string();
    for (from, to) in [
        (order.as_str(), "\"order\": \"0-1023\""),
        (order.as_str(), "\"order\": \"1 0\""),
        ("\"dim\": 0", "\"dim\": 1"),
        ("reorder-axis R", "split-residual R"),
    ] {
        let said = refused(&f, &text.replacen(from, to, 1));
        assert!(said.contains("SP0660"), "{to}: {said}");
    }
    assert!(refused(&f, &text.replacen(&order, "\"order\": \"0 0\"", 1)).contains("names every position once"));
    // The same program with other weights: the structure can be made, and does not fit them.
    let mut r = Random(1);
    let (up, down) = (r.blocks(F, D, 20, 10), r.blocks(D, F, 20, 10));
    let said = refused(&folder((D, F), &up, &down), &text);
    assert!(said.contains("SP0661") && said.contains("present elements"), "{said}");
    // A program in which the axis is a result.
    let source = std::fs::read_to_string(f.path("net.sp")).unwrap();
    let source = source.replace("-> y: f32[B, D] {", "-> (y: f32[B, D], h: f32[B, F]) {");
    f.text(
        "net.sp",
        &source.replace("  y = nn.linear(nn.gelu(", "  h = nn.linear(x, m.up, m.bu)\n  y = nn.linear(nn.gelu("),
    );
    let said = refused(&f, &text);
    assert!(said.contains("SP0661") && said.contains("reorder-axis R"), "{said}");
    // A split of a weight that is read twice now.
    let other = outliers();
    let text = build(&other, Compiler::new()).plan().to_string();
    let source = std::fs::read_to_string(other.path("net.sp")).unwrap();
    other.text(
        "net.sp",
        &source.replace(
            "nn.linear(nn.gelu(nn.linear(x, m.up, m.bu)), m.down)",
            "nn.linear(nn.gelu(nn.linear(x, m.up, m.bu) + nn.linear(x, m.up)), m.down)",
        ),
    );
    let said = refused(&other, &text);
    assert!(said.contains("SP0661"), "{said}");
}

/// What is told of two plans of one program over other weights.
fn differ(a: &Program, b: &Program) -> String {
    let f = Folder::new();
    f.text("a.json", a.plan());
    f.text("b.json", b.plan());
    session(Options::default(), |s| diff_files(s, &f.path("a.json"), &f.path("b.json"), false)).0.unwrap().text
}

#[test]
fn plans_with_a_split_and_with_an_order_are_told_apart() {
    let (split, (moved, _)) = (outliers(), shuffled());
    let plain = build(&folder((1, 1), &[1.0], &[1.0]), Compiler::new());
    let text = differ(&build(&split, Compiler::new()), &plain);
    for words in ["split m.up", "split m.up in the first plan: ", "m.up: in the first plan it is m.up{tiles "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("{beyond tiles ") && !text.contains("split m.up, split m.up"), "{text}");
    let text = differ(&plain, &build(&moved, Compiler::new()));
    for words in [
        "reordered m.up",
        "; reordered m.up in the second plan: alike rows",
        "m.down: in the second plan it is m.down{order ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("as in the program"), "{text}");
}

/// Makes positions `dead` of the inner axis zero in every weight that carries it.
fn without(f: usize, d: usize, dead: impl Fn(usize) -> bool, (up, bias, down): (&mut [f32], &mut [f32], &mut [f32])) {
    for i in (0..f).filter(|i| dead(*i)) {
        up[i * d..(i + 1) * d].fill(0.0);
        bias[i] = 0.0;
        (0..d).for_each(|r| down[r * f + i] = 0.0);
    }
}

/// The program over weights some of whose neurons are dead.
fn pruned((d, f): (usize, usize), mut up: Vec<f32>, mut down: Vec<f32>, dead: impl Fn(usize) -> bool) -> Folder {
    let mut bias = Random(4).values(f);
    without(f, d, dead, (&mut up, &mut bias, &mut down));
    let folder = folder((d, f), &up, &down);
    folder.weights("m.safetensors", &[("up", &[f, d], &up), ("bu", &[f], &bias), ("down", &[d, f], &down)]);
    folder
}

#[test]
fn what_is_left_of_dead_neurons_is_split_and_put_in_order() {
    let is_cut = |p: &Program| p.plan().contains("\"cut-dead F\"");
    // Every eighth sixteen of neurons is dead, the others are blocks with outliers.
    let mut r = Random(1);
    let n = 256;
    let (up, down) = (r.blocks(n, LONG, 20, 10), r.blocks(LONG, n, 20, 10));
    let f = pruned((LONG, n), up, down, |i| i / 16 % 8 == 0);
    let p = build(&f, Compiler::new());
    assert!(is_cut(&p), "{}", explained(&f));
    assert!(made(&p).contains(&"m.up{tiles 16x1 from 8}".to_string()), "{:?}\n{}", made(&p), explained(&f));
    agrees(&f, &p, LONG);
    goes_round(&f, &p, LONG);
    // Blocks of shuffled neurons, an eighth of which are dead.
    let mut r = Random(2);
    let (up, down) = (r.blocks(F, D, 25, 0), r.values(D * F));
    let order = r.shuffled(F);
    let rows: Vec<f32> = order.iter().flat_map(|i| up[i * D..(i + 1) * D].to_vec()).collect();
    let f = pruned((D, F), rows, down, |i| order[i] / 16 % 8 == 3);
    let p = build(&f, Compiler::new());
    assert!(is_cut(&p), "{}", explained(&f));
    assert_eq!(layout(&p, "m.up{order "), "vx1(16)", "{}", explained(&f));
    agrees(&f, &p, D);
    goes_round(&f, &p, D);
}

/// A second weight of 2:4 whose columns were shuffled, and the rows of the first with them.
fn shuffled_groups() -> Folder {
    let mut r = Random(6);
    let (up, mut down) = (r.values(F * D), r.values(D * F));
    for group in down.chunks_mut(4) {
        let first = r.next(4) as usize;
        let second = (first + 1 + r.next(3) as usize) % 4;
        (group[first], group[second]) = (0.0, 0.0);
    }
    let order = r.shuffled(F);
    let columns: Vec<f32> = (0..D).flat_map(|i| order.iter().map(|j| down[i * F + j]).collect::<Vec<_>>()).collect();
    folder((D, F), &up, &columns)
}

#[test]
fn shuffled_columns_get_their_pattern_back() {
    let f = shuffled_groups();
    let p = build(&f, Compiler::new());
    let text = explained(&f);
    assert_eq!((layout(&p, "m.down{order "), made(&p).len()), ("nm16(2,4)".into(), 3), "{text}");
    assert!(
        text.contains("reordered: m.down: each row reads 2 of 4 neighbouring columns now: nm16(2,4) takes"),
        "{text}"
    );
    agrees(&f, &p, D);
    goes_round(&f, &p, D);
    // Where a result carries the axis it stays, and says so.
    let source = std::fs::read_to_string(f.path("net.sp")).unwrap();
    let source = source.replace("-> y: f32[B, D] {", "-> (y: f32[B, D], h: f32[B, F]) {");
    f.text(
        "net.sp",
        &source.replace("  y = nn.linear(nn.gelu(", "  h = nn.linear(x, m.up, m.bu)\n  y = nn.linear(nn.gelu("),
    );
    let text = explained(&f);
    let line = "not reordered: m.down: each row would read 2 of 4 neighbouring columns in another order, and they have to \
                stay where they are: a result of the function carries the axis";
    let names = made(&build(&f, Compiler::new()));
    assert!(text.contains(line) && names.iter().all(|n| !n.contains("order")), "{names:?}\n{text}");
}

/// Calls the function of an object with rows of a file, from C.
const MAIN: &str = "
#include \"net.h\"
#include <stdio.h>
#include <stdlib.h>
static void *file(const char *path, size_t *bytes) {
  FILE *f = fopen(path, \"rb\");
  if (!f) exit(3);
  fseek(f, 0, SEEK_END);
  *bytes = (size_t)ftell(f);
  rewind(f);
  void *at = aligned_alloc(64, (*bytes + 63) / 64 * 64);
  if (fread(at, 1, *bytes, f) != *bytes) exit(4);
  fclose(f);
  return at;
}
int main(int count, char **args) {
  if (count != 3) return 2;
  size_t bytes, of_x;
  void *weights = file(args[1], &bytes);
  float *x = file(args[2], &of_x);
  if (net_check_weights(weights, bytes) != SPC_OK) return 5;
  int64_t n = (int64_t)(of_x / 4 / INPUTS);
  size_t room = net_f_workspace_bytes(n);
  void *workspace = aligned_alloc(64, (room + 63) / 64 * 64 + 64);
  float *y = aligned_alloc(64, ((size_t)n * INPUTS * 4 + 63) / 64 * 64);
  if (net_f(weights, n, x, y, workspace, room, NULL) != SPC_OK) return 6;
  fwrite(y, 4, (size_t)n * INPUTS, stdout);
  return 0;
}
";

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(clippy::print_stderr)]
fn objects_have_splits_and_orders() {
    use std::process::Command;
    if !Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success()) {
        spc_base::skipped("no C compiler");
        return;
    }
    for (f, d, rule) in [(outliers(), LONG, "split-residual R"), (shuffled().0, D, "reorder-axis R")] {
        let emit = vec![Stage::Plan, Stage::Obj, Stage::Header];
        let what = Compile { out: Some(f.path("out")), emit, ..Compile::default() };
        session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap();
        assert!(std::fs::read_to_string(f.path("out/plan.json")).unwrap().contains(rule));
        f.text("main.c", MAIN);
        let cc = Command::new("cc")
            .args(["-std=c11", "-Wall", "-Werror", &format!("-DINPUTS={d}"), "-I"])
            .arg(f.path("out"))
            .args([f.path("main.c"), f.path("out/net.o")])
            .arg("-o")
            .arg(f.path("main"))
            .output()
            .unwrap();
        assert!(cc.status.success(), "{}", String::from_utf8_lossy(&cc.stderr));
        let tokens = 3;
        let x: Vec<u8> = numbers(9, tokens * d).iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(f.path("x"), x).unwrap();
        let out = Command::new(f.path("main")).args([f.path("out/net.weights"), f.path("x")]).output().unwrap();
        assert!(out.status.success(), "{:?}", out.status);
        let y: Vec<f32> = out.stdout.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(y, result(&build(&f, Compiler::new()), d, tokens).into_raw_vec_and_offset().0, "{rule}");
    }
}
