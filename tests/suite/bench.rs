//! `spc bench` from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use safetensors::tensor::{Dtype, TensorView, serialize};
use support::Rng;
use support::spc::{Ran, spc};
use tempfile::TempDir;

const NET: &str = "\
use std.nn
axis B = 1..64, T = 1..8
model net from safetensors \"net.safetensors\" { axes { I = 64, N = 64, O = 10 }  w1: f32[N, I]  b1: f32[N]  w2: f32[O, N] }
fn f(x: f32[B, T, I]) -> y: f32[B, T, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
target t = cpu(threads: 1) { B = 16, T = 2 }
";

fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("net.sp"), NET).unwrap();
    let mut rng = Rng(3);
    let mut tensor =
        |shape: &[usize]| -> Vec<u8> { (0..shape.iter().product()).flat_map(|_| rng.float().to_le_bytes()).collect() };
    let shapes = [("w1", vec![64, 64]), ("b1", vec![64]), ("w2", vec![10, 64])];
    let stored: Vec<(&str, Vec<usize>, Vec<u8>)> =
        shapes.into_iter().map(|(n, s)| (n, s.clone(), tensor(&s))).collect();
    let views = stored.iter().map(|(n, s, b)| (*n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(dir.path().join("net.safetensors"), serialize(views, None).unwrap()).unwrap();
    dir
}

fn bench(args: &[&str]) -> Ran {
    spc(folder().path(), [&["bench", "net.sp"], args].concat())
}

fn json(args: &[&str]) -> serde_json::Value {
    let ran = bench(&[&["--json", "--pairs", "9"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn every_layer_and_the_whole_are_measured_at_the_sizes_asked_for() {
    let report = json(&["--batch", "3,40", "--size", "T=5"]);
    assert!(report["roofline"]["gflop_per_s"].as_f64().unwrap() > 0.0);
    let functions = report["functions"].as_array().unwrap();
    assert_eq!(functions.len(), 2);
    for (f, b) in functions.iter().zip([3u64, 40]) {
        assert_eq!((f["sizes"]["B"].as_u64(), f["sizes"]["T"].as_u64()), (Some(b), Some(5)));
        let layers = f["layers"].as_array().unwrap();
        let names: Vec<&str> = layers.iter().map(|l| l["weight"].as_str().unwrap()).collect();
        assert_eq!(names, ["net.w1", "net.w2"]);
        for l in layers {
            assert_eq!(l["tokens"].as_u64(), Some(5 * b));
            let r = &l["ratio"];
            let number = |name: &str| r[name].as_f64().unwrap();
            assert!(number("low") <= number("median") && number("median") <= number("high"), "{r}");
            assert_eq!(r["pairs"].as_u64(), Some(9));
            let side = |name: &str| l[name]["seconds"].as_f64().unwrap();
            let best = if l["best"] == "dense" { "dense" } else { "peer" };
            assert!(side(best) <= side("dense").min(side("peer")) + 1e-12);
            assert!(side("ours") > 0.0 && l["share"].as_f64().unwrap() > 0.0);
        }
        // 16 x 1 vectors, a quarter of them: a quarter of the elements, and their columns.
        assert_eq!(layers[0]["nonzeros"].as_u64(), Some(1024));
        let bytes = |name: &str| layers[0][name].as_u64().unwrap();
        let sparse = layers[0]["layout"] != layers[0]["dense_layout"];
        assert!(if sparse {
            bytes("stored_bytes") < bytes("dense_bytes")
        } else {
            bytes("stored_bytes") == bytes("dense_bytes")
        });
        assert!(f["whole"]["ratio"]["median"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn people_get_a_table_and_few_pairs_prove_nothing() {
    let ran = bench(&["--pairs", "7", "--isa", "clif"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for part in ["clif, 1 thread", "measured limits", "f at B = 16, T = 2", "dense best", "whole", "too few pairs"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("faster") && !ran.stdout.contains("SLOWER"), "{}", ran.stdout);
}

#[test]
fn axes_and_sizes_that_there_are_not_are_wrong_usage() {
    for (args, part) in [
        (&["--size", "Q=3"][..], "no function has a free axis `Q`"),
        (&["--size", "T=9"], "the axis `T` cannot be 9: it is 1..8"),
        (&["--batch", "65"], "the axis `B` cannot be 65: it is 1..64"),
        (&["--batch", "0"], "the axis `B` cannot be 0"),
        (&["--fn", "g"], "there is no function `g`"),
        (&["--seconds", "0"], "expected a positive number"),
        (&["--target", "cuda"], "measures CPU code"),
    ] {
        let ran = bench(args);
        assert!(matches!(ran.code, 2 | 4), "{args:?}: {} {}", ran.code, ran.stderr);
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn calibrate_writes_a_file_that_commands_read() {
    let dir = folder();
    let ran = spc(dir.path(), ["calibrate", "--quick", "--isa", "clif", "-o", "mine.json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("median error") && ran.stdout.contains("wrote mine.json"), "{}", ran.stdout);
    let bench = ["bench", "net.sp", "--isa", "clif", "--pairs", "7", "--constants", "mine.json"];
    let ran = spc(dir.path(), bench);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // Changed by hand, it is refused.
    let file = dir.path().join("mine.json");
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to, part) in [
        ("\"launch_ps\"", "\"lunch_ps\"", "unknown field `lunch_ps`"),
        ("\"format\": 4", "\"format\": 7", "its format is 7"),
        ("\"token_tile\": 16", "\"token_tile\": 17", "changed by hand"),
        ("\"overlap_permille\": ", "\"overlap_permille\": 9999", "expected 0 to 1000"),
        ("\"token_tile\": 16", "\"token_tile\": 0", "`token_tile` is 0"),
        ("\"clif\": {", "\"none\": {", "changed by hand"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        std::fs::write(dir.path().join("bad.json"), changed).unwrap();
        let ran = spc(dir.path(), ["explain", "net.sp", "--constants", "bad.json"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{to}: {}", ran.stderr);
        assert!(ran.stderr.contains("SP0640") && ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    // None at all, nothing in it, no text.
    let none = spc(dir.path(), ["explain", "net.sp", "--constants", "nowhere.json"]);
    assert!(none.code == 4 && none.stderr.contains("SP0401"), "{}", none.stderr);
    for bytes in [&b""[..], b"{}", b"\xff\xfe", b"[1]"] {
        std::fs::write(dir.path().join("bad.json"), bytes).unwrap();
        let ran = spc(dir.path(), ["explain", "net.sp", "--constants", "bad.json"]);
        assert!(ran.code == 4 && ran.stderr.contains("SP0640"), "{bytes:?}: {}", ran.stderr);
    }
    // It holds portable code only.
    let ran = spc(dir.path(), ["bench", "net.sp", "--isa", "avx2", "--constants", "mine.json"]);
    let native = spc::Isa::Avx2.is_available();
    assert!(!native || (ran.code == 4 && ran.stderr.contains("no constants for `avx2`")), "{}", ran.stderr);
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let dir = folder();
    let ran = spc(dir.path(), ["explain", "net.sp", "--report", "report.html"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "wrote report.html\n"), "{}", ran.stderr);
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    for part in ["<h2>f</h2>", "net.w1", "64 x 64", "B = 16, T = 2", "Roofline", "GFLOP/s", "<circle", "kernel"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    for outside in ["<script", "src=", "href=", "url(", "@import", "http"] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    // Every element that is opened is closed.
    for tag in ["html", "body", "table", "tr", "td", "svg", "text", "details", "pre", "title"] {
        let count = |s: String| page.matches(&s).count();
        assert_eq!(count(format!("<{tag}>")) + count(format!("<{tag} ")), count(format!("</{tag}>")), "{tag}");
    }
}

/// The numbers of the page are those of `explain --json`, in the tables and in the pictures.
#[test]
fn the_report_has_the_numbers_of_explain() {
    use spc_report::{bytes, percent, picoseconds};
    let dir = folder();
    assert_eq!(spc(dir.path(), ["explain", "net.sp", "--report", "report.html"]).code, 0);
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    let json = spc(dir.path(), ["explain", "net.sp", "--json"]).stdout;
    let all: serde_json::Value = serde_json::from_str(&json).unwrap();
    let number = |v: &serde_json::Value| v.as_u64().unwrap();
    let has = |part: String| assert!(page.contains(&part), "{part} is not in the page");
    let mut seen = 0;
    for f in all.as_array().unwrap() {
        let (total, dense) = (number(&f["total_ps"]), number(&f["dense_ps"]));
        has(format!("{} dense, {} as planned", picoseconds(dense), picoseconds(total)));
        for l in f["layers"].as_array().unwrap() {
            let (rows, cols, present) = (number(&l["rows"]), number(&l["cols"]), number(&l["nonzeros"]));
            let density = present as f64 / (rows * cols) as f64;
            let (name, winner) = (l["weight"].as_str().unwrap(), l["winner"].as_str().unwrap());
            has(format!(
                "<tr><td>{name}</td><td class=\"n\">{rows} x {cols}</td><td class=\"n\">{}</td><td>{winner}</td>",
                percent(density)
            ));
            has(format!("width=\"{:.1}\" height=\"14\"/>", density * 560.0));
            let candidates = l["candidates"].as_array().unwrap();
            let time = |c: &serde_json::Value| c["kernel_ps"].as_u64();
            let own = candidates.iter().find(|c| c["layout"] == winner).unwrap();
            let best =
                candidates.iter().filter(|c| c["layout"].as_str().unwrap().starts_with("dense")).filter_map(time).min();
            let (own_ps, best) = (time(own).unwrap(), best.unwrap());
            has(format!("<td class=\"n\">{}</td><td class=\"n\">{}</td>", picoseconds(best), picoseconds(own_ps)));
            // What is above the table's fastest rate is not on the picture.
            has(format!("<title>{name}, {winner}: "));
            for c in candidates {
                let head = format!("<tr><td>{}</td>", c["layout"].as_str().unwrap());
                match (c["refused"].as_str(), c["stored_bytes"].as_u64()) {
                    (Some(why), _) => has(format!("refused: {why}")),
                    (None, Some(b)) => has(format!("{head}<td class=\"n\">{}</td>", bytes(b))),
                    _ => has(head),
                }
            }
            for flip in l["flips"].as_array().unwrap() {
                has(flip.as_str().unwrap().to_string());
            }
            seen += 1;
        }
        let steps: std::collections::BTreeSet<&str> =
            page.split("lines: ").skip(1).flat_map(|t| t.split('<').next().unwrap().split(' ')).collect();
        for l in f["layers"].as_array().unwrap() {
            let node = number(&l["node"]);
            let fused = |n: u64| steps.contains(format!("%{n}").as_str());
            assert!(fused(node) || fused(node + 1), "no kernel runs {node}: {steps:?}");
        }
    }
    assert!(seen >= 2, "{seen} layers");
    assert!(page.contains("<pre>") && page.contains("What was considered"));
}
