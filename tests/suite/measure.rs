//! `--measure`: times of kernels decide, enter the plan, and are kept; and prices of GPUs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::Value;
use std::path::Path;
use support::Rng;
use support::spc::{Ran, listing, spc};
use tempfile::TempDir;

const NET: &str = "\
use std.nn
axis B = 1..64
model net from safetensors \"net.safetensors\" { axes { I = 96, N = 160, O = 64 }  w1: f32[N, I]  b1: f32[N]  w2: f32[O, N] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
target t = cpu(threads: 1) { B = 48 }
target gpu = cuda(arch: \"sm_80\") { B = 48 }
";

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), NET).unwrap();
    let mut rng = Rng(3);
    let mut all = Vec::new();
    for (n, shape) in [("w1", vec![160, 96]), ("b1", vec![160]), ("w2", vec![64, 160])] {
        let values = (0..shape.iter().product::<usize>()).flat_map(|_| rng.float().to_le_bytes()).collect::<Vec<u8>>();
        all.push((n, shape, values));
    }
    let views = all.iter().map(|(n, s, b)| (*n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(dir.path().join("net.safetensors"), serialize(views, None).unwrap()).unwrap();
    dir
}

fn ok(r: Ran) -> String {
    assert_eq!(r.code, 0, "stdout:\n{}\nstderr:\n{}", r.stdout, r.stderr);
    r.stdout
}

const MEASURE: [&str; 6] = ["--target", "t", "--measure", "2", "--measured", "times.json"];

fn plan(dir: &Path) -> (String, Value) {
    let text = ok(spc(dir, [&["compile", "net.sp", "--emit=plan"], &MEASURE[..]].concat()));
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn times(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("times.json")).unwrap()).unwrap()
}

fn layout(plan: &Value, weight: &str) -> String {
    let list = plan["functions"][0]["linears"].as_array().unwrap();
    list.iter().find(|l| l["weight"] == weight).unwrap()["layout"].as_str().unwrap().to_string()
}

#[test]
fn the_times_enter_the_plan_and_the_same_times_give_the_same_plan() {
    let dir = folder();
    let d = dir.path();
    let (first, value) = plan(d);
    assert_eq!(plan(d).0, first, "with the times of the first run");
    let measured = value["functions"][0]["measured"].as_array().unwrap();
    assert!(measured.len() >= 4 && measured.iter().all(|m| m["ps"].as_u64().unwrap() > 0), "{measured:?}");
    // The plan counts on what was measured.
    for l in value["functions"][0]["linears"].as_array().unwrap() {
        let mine = |m: &&Value| (&m["node"], &m["layout"], &m["act"]) == (&l["node"], &l["layout"], &l["x"]);
        assert_eq!(measured.iter().find(mine).unwrap()["ps"], l["predicted_ps"], "{l}");
    }
    // As a lock it needs neither times nor the machine.
    std::fs::write(d.join("plan.json"), &first).unwrap();
    std::fs::remove_file(d.join("times.json")).unwrap();
    let again = ok(spc(d, ["compile", "net.sp", "--target", "t", "--emit=plan", "--plan", "plan.json"]));
    assert_eq!(again, first);
    assert!(!listing(d).contains(&"times.json".to_string()));
    let text = ok(spc(d, [&["explain", "net.sp"], &MEASURE[..]].concat()));
    assert!(text.contains("measured") && text.contains("not measured: others are predicted"), "{text}");
    let ran = ok(spc(d, [&["explain", "net.sp", "--json"], &MEASURE[..]].concat()));
    let json: Value = serde_json::from_str(&ran).unwrap();
    let candidates = json[0]["layers"][0]["candidates"].as_array().unwrap();
    assert!(candidates.iter().any(|c| c["measured_ps"].is_u64()), "{candidates:?}");
    // The page has the times, too, and compares measured ones with each other.
    ok(spc(d, [&["explain", "net.sp", "--report", "report.html"], &MEASURE[..]].concat()));
    let page = std::fs::read_to_string(d.join("report.html")).unwrap();
    let shown = spc_report::picoseconds(candidates.iter().find_map(|c| c["measured_ps"].as_u64()).unwrap());
    assert!(page.contains(&format!("<td class=\"n\">{shown}</td>")) && page.contains("its time is the measured one"));
    assert!(page.contains("<th class=\"n\">measured</th>") && page.contains("not measured: others"));
    // Without the option there is no word of it.
    let plain = ok(spc(d, ["compile", "net.sp", "--target", "t", "--emit=plan"]));
    assert!(!plain.contains("measured"), "{plain}");
}

/// The file of times decides, so a plan can be forced by it: the fastest time wins, and one picosecond does.
#[test]
fn what_was_measured_decides() {
    let dir = folder();
    let d = dir.path();
    let (_, value) = plan(d);
    let chosen = layout(&value, "net.w1");
    let set = |d: &Path, ps: &dyn Fn(usize) -> u64| {
        let mut t = times(d);
        for (_, list) in t["times"].as_object_mut().unwrap() {
            for (i, x) in list.as_array_mut().unwrap().iter_mut().enumerate() {
                *x = ps(i).into();
            }
        }
        std::fs::write(d.join("times.json"), t.to_string()).unwrap();
    };
    // What was predicted to be best takes a second, its rivals almost nothing.
    set(d, &|i| if i == 0 { 1_000_000_000_000 } else { 10 + i as u64 });
    let other = layout(&plan(d).1, "net.w1");
    set(d, &|i| if i == 0 { 10 } else { 1_000_000_000_000 });
    let back = layout(&plan(d).1, "net.w1");
    assert_ne!(other, back);
    assert!(chosen == other || chosen == back, "{chosen}, {other}, {back}");
}

#[test]
fn what_cannot_be_measured_or_read_is_refused() {
    let dir = folder();
    let d = dir.path();
    for (more, part) in [
        (&["--measure", "0"][..], "0 is not in 1..=16"),
        (&["--measure", "17"], "17 is not in 1..=16"),
        (&["--measured", "times.json"], "--measure"),
        (&["--measure", "2", "--plan", "plan.json"], "cannot be used with"),
        (&["--measure", "2", "--target", "cuda"], "times kernels of this CPU"),
        (&["--gpu", "b200", "--target", "cuda"], "a100, h100, h200"),
    ] {
        let r = spc(d, [&["explain", "net.sp"], more].concat());
        assert_eq!(r.code, 2, "{more:?}: {} {}", r.stdout, r.stderr);
        assert!(r.stderr.contains(part), "{part} is not in {}", r.stderr);
    }
    for (text, part) in [
        ("", "EOF"),
        ("{\"format\": 2, \"times\": {}}", "its format is 2"),
        ("{\"format\": 1}", "missing field `times`"),
        ("{\"format\": 1, \"times\": {\"a\": [-1]}}", "invalid value"),
        ("{\"format\": 1, \"times\": {}, \"more\": 1}", "unknown field"),
    ] {
        std::fs::write(d.join("times.json"), text).unwrap();
        let r = spc(d, [&["explain", "net.sp"], &MEASURE[..]].concat());
        assert_eq!(r.code, 4, "{text}: {}", r.stdout);
        assert!(r.stderr.contains("SP0670") && r.stderr.contains(part), "{part} is not in {}", r.stderr);
        assert_eq!(
            std::fs::read_to_string(d.join("times.json")).unwrap(),
            text,
            "a file that is refused is left alone"
        );
    }
}

/// Prices of the linears' own layouts, by weight.
fn prices(d: &Path, more: &[&str]) -> (String, Vec<u64>) {
    let json = ok(spc(d, [&["explain", "net.sp", "--target", "gpu", "--json"], more].concat()));
    let v: Value = serde_json::from_str(&json).unwrap();
    let layers = v[0]["layers"].as_array().unwrap();
    let own = |l: &Value| {
        let c = l["candidates"].as_array().unwrap().iter().find(|c| c["layout"] == l["winner"]).unwrap();
        c["kernel_ps"].as_u64().unwrap()
    };
    (v[0]["cost_table"]["name"].as_str().unwrap().to_string(), layers.iter().map(own).collect())
}

#[test]
fn plans_of_gpus_have_prices_of_the_gpu_that_is_named() {
    let dir = folder();
    let d = dir.path();
    // An architecture of 8.x suggests the A100.
    assert_eq!(prices(d, &[]).0, "a100-v1");
    let [a100, h100, h200] = ["a100", "h100", "h200"].map(|g| prices(d, &["--gpu", g]));
    assert_eq!([&a100.0, &h100.0, &h200.0], ["a100-v1", "h100-v1", "h200-v1"]);
    assert!(a100.1[0] > h100.1[0] && h100.1[0] >= h200.1[0], "{a100:?} {h100:?} {h200:?}");
    let text = ok(spc(d, ["explain", "net.sp", "--target", "gpu", "--gpu", "h200"]));
    for part in ["h200-v1", "refused: GPUs have no kernel of it", "mma24", "mma32(64)", "predicted"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    // No layer is priced as a CPU's.
    assert!(!text.contains("x86_64"), "{text}");
    let page = d.join("report.html");
    ok(spc(d, ["explain", "net.sp", "--target", "gpu", "--report", "report.html"]));
    assert!(std::fs::read_to_string(page).unwrap().contains("not measured"));
    // A plan file of a GPU is checked with the prices of the GPU that it was made for.
    let lock = ok(spc(d, ["compile", "net.sp", "--target", "gpu", "--emit=plan"]));
    std::fs::write(d.join("plan.json"), &lock).unwrap();
    let again =
        ok(spc(d, ["compile", "net.sp", "--target", "gpu", "--emit=plan", "--plan", "plan.json", "--gpu", "h100"]));
    assert_eq!(again, lock);
}

/// One weight, one input, one output, no token: every price and every measurement has to cope.
#[test]
fn layers_of_one_element_have_plans_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let text = "use std.nn\naxis B = 0..4\n\
                model net from safetensors \"net.safetensors\" { axes { I = 1, O = 1 }  w: f32[O, I] }\n\
                fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.relu(nn.linear(x, net.w)) }\n\
                target none = cpu(threads: 1) { B = 0 }\ntarget one = cpu(threads: 1) { B = 1 }\n";
    std::fs::write(d.join("net.sp"), text).unwrap();
    for value in [0.0f32, 1.0, -3.5] {
        let bytes = value.to_le_bytes();
        let view = TensorView::new(Dtype::F32, vec![1, 1], &bytes).unwrap();
        std::fs::write(d.join("net.safetensors"), serialize([("w", view)], None).unwrap()).unwrap();
        for target in ["none", "one", "cuda"] {
            ok(spc(d, ["explain", "net.sp", "--target", target]));
        }
        for target in ["none", "one"] {
            ok(spc(
                d,
                ["compile", "net.sp", "--target", target, "--emit=plan", "--measure", "3", "--measured", "t.json"],
            ));
        }
        ok(spc(d, ["verify", "net.sp", "--target", "one"]));
    }
    // A file whose weight has no elements is not the one that is declared.
    let view = TensorView::new(Dtype::F32, vec![1, 0], &[]).unwrap();
    std::fs::write(d.join("net.safetensors"), serialize([("w", view)], None).unwrap()).unwrap();
    let r = spc(d, ["explain", "net.sp"]);
    assert!(r.code == 4 || r.code == 1, "{} {}", r.code, r.stderr);
    assert!(r.stderr.contains("error[SP04"), "{}", r.stderr);
}
