//! Plan files: a compilation with one gives the same bytes without a search, a file of something else is refused with what
//! differs, and `spc diff` tells two apart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "lock/structure.rs"]
mod structure;
mod support;

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::Value;
use spc_layout::{Constants, CostTable};
use std::path::Path;
use support::schema::faults;
use support::spc::{Ran, listing, spc};
use support::{Rng, root};
use tempfile::TempDir;

const NET: &str = "\
use std.nn
use std.patterns.nm
axis B = 1..64
model net from safetensors \"net.safetensors\" {
  axes { I = 128, N = 512, O = 64 }
  w1: f32[N, I]  b1: f32[N]
  w2: f32[O, N]
}
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2) }
fn g(x: f32[B, I]) -> y: f32[B, N] { y = nn.linear(x, net.w1) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
require half: nm(1, 4) on net.w2
target t = cpu(threads: 1) { B = 48 }
target small = cpu(threads: 1) { B = 1 }
";

fn weights(dir: &Path, name: &str, seed: u64) {
    let mut rng = Rng(seed);
    let mut all = Vec::new();
    for (n, shape) in [("w1", vec![512, 128]), ("b1", vec![512]), ("w2", vec![64, 512])] {
        let values = (0..shape.iter().product::<usize>()).flat_map(|_| rng.float().to_le_bytes()).collect::<Vec<u8>>();
        all.push((n, shape, values));
    }
    let views = all.iter().map(|(n, s, b)| (*n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(dir.join(name), serialize(views, None).unwrap()).unwrap();
}

/// The program, its weights, and `plan.json` for the target `t`.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), NET).unwrap();
    weights(dir.path(), "net.safetensors", 3);
    plan(dir.path(), &[], "plan.json");
    dir
}

fn ok(r: Ran) -> Ran {
    assert_eq!(r.code, 0, "stdout:\n{}\nstderr:\n{}", r.stdout, r.stderr);
    r
}

/// Writes the plan for the target `t`, unless `more` names another.
fn plan(dir: &Path, more: &[&str], to: &str) -> String {
    let target = if more.contains(&"--target") { &[][..] } else { &["--target", "t"] };
    let r = ok(spc(dir, [&["compile", "net.sp", "--emit=plan"], target, more].concat()));
    std::fs::write(dir.join(to), &r.stdout).unwrap();
    r.stdout
}

/// Writes `mine.json`: a table with other rates, for all code.
fn constants(dir: &Path, change: impl FnOnce(&mut CostTable)) {
    let mut table = CostTable::wide_x86_64_v1();
    table.name = "mine".into();
    change(&mut table);
    let tables = spc_cpu::Isa::ALL.into_iter().map(|i| (i.name().to_string(), table.clone())).collect();
    std::fs::write(dir.join("mine.json"), Constants::new(tables).to_json().unwrap()).unwrap();
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

fn refused(dir: &Path, args: &[&str], code: &str) -> String {
    let before = listing(dir);
    let r = spc(dir, args);
    assert_eq!(r.code, 4, "{args:?}\n{}\n{}", r.stdout, r.stderr);
    assert!(r.stderr.contains(&format!("error[{code}]")), "{args:?}: {}", r.stderr);
    assert_eq!(listing(dir), before, "{args:?} left something behind");
    r.stderr
}

/// The file again with `change` applied and a seal that fits: what a forger or another tool would write.
fn sealed(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut v: Value = serde_json::from_str(text).unwrap();
    change(&mut v);
    v["seal"] = "".into();
    // Members keep their order, so that compact text is what the seal is of.
    let compact = ordered(&v, &serde_json::from_str(&read(&root().join("../docs"), "plan.schema.json")).unwrap());
    let seal = <sha2::Sha256 as sha2::Digest>::digest(compact.as_bytes());
    let seal: String = seal.iter().map(|b| format!("{b:02x}")).collect();
    compact.replace("\"seal\":\"\"", &format!("\"seal\":\"{seal}\""))
}

/// Compact JSON with members in the order of the schema.
fn ordered(v: &Value, schema: &Value) -> String {
    support::schema::ordered(v, schema, schema)
}

#[test]
fn a_compilation_with_its_plan_gives_the_same_bytes() {
    let dir = folder();
    let d = dir.path();
    ok(spc(d, ["compile", "net.sp", "--target", "t", "-o", "a"]));
    let locked = ["compile", "net.sp", "--target", "t", "--plan", "plan.json", "-o", "b"];
    ok(spc(d, locked));
    assert_eq!(listing(&d.join("a")), listing(&d.join("b")));
    for f in listing(&d.join("a")) {
        assert_eq!(std::fs::read(d.join("a").join(&f)).unwrap(), std::fs::read(d.join("b").join(&f)).unwrap(), "{f}");
    }
    assert_eq!(read(&d.join("a"), "plan.json"), read(d, "plan.json"));
    // The file of a folder is as good, and so is one that went through an editor that changes line ends.
    std::fs::write(d.join("crlf.json"), read(d, "plan.json").replace('\n', "\r\n")).unwrap();
    for file in ["a/plan.json", "crlf.json"] {
        let text = ok(spc(d, ["compile", "net.sp", "--target", "t", "--plan", file, "--emit=plan"])).stdout;
        assert_eq!(text, read(d, "plan.json"), "{file}");
    }
    for command in ["verify", "explain"] {
        ok(spc(d, [command, "net.sp", "--target", "t", "--plan", "plan.json"]));
    }
}

#[test]
fn other_constants_change_nothing_where_there_is_a_plan() {
    let dir = folder();
    let d = dir.path();
    constants(d, |t| (t.vx1.mul_fs, t.csr.mul_fs) = (1_000_000, 1_000_000));
    let with = ["compile", "net.sp", "--target", "t", "--emit=plan", "--constants", "mine.json"];
    let free = ok(spc(d, with)).stdout;
    assert_ne!(free, read(d, "plan.json"));
    let bound = ok(spc(d, [&with[..], &["--plan", "plan.json"]].concat())).stdout;
    assert_eq!(bound, read(d, "plan.json"));
}

/// Training moves values, not the number of places that a pattern keeps.
#[test]
fn other_values_in_the_same_structure_keep_the_plan() {
    let dir = folder();
    let d = dir.path();
    weights(d, "trained.safetensors", 4);
    let args = ["compile", "net.sp", "--target", "t", "--plan", "plan.json", "--bind", "net=trained.safetensors"];
    ok(spc(d, [&args[..], &["-o", "out"]].concat()));
    ok(spc(d, ["verify", "out"]));
}

#[test]
fn a_plan_of_something_else_is_refused_with_the_differing_lines() {
    let dir = folder();
    let d = dir.path();
    let base = ["compile", "net.sp", "--plan", "plan.json"];
    let with = |more: &[&str]| refused(d, &[&base[..], more].concat(), "SP0661");

    let text = with(&["--target", "small"]);
    for line in ["- f: target t", "+ f: target small", "- f: tuned for B = 48", "+ f: tuned for B = 1"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let edit = |from: &str, to: &str| {
        assert!(NET.contains(from), "{from}");
        std::fs::write(d.join("net.sp"), NET.replace(from, to)).unwrap();
    };
    edit("{ B = 48 }", "{ B = 16 }");
    assert!(with(&["--target", "t"]).contains("+ f: tuned for B = 16"));
    // Another structure of the weights.
    edit("keep 25%", "keep 50%");
    let text = with(&["--target", "t"]);
    assert!(
        text.contains("- f: net.w1 present elements 16384") && text.contains("+ f: net.w1 present elements 32768"),
        "{text}"
    );
    edit("tile(out: 16, in: 1)", "tile(out: 1, in: 16)");
    let text = with(&["--target", "t"]);
    assert!(text.contains("+ f: net.w1 in vx1("), "{text}");
    // Another computation.
    edit("nn.relu", "nn.gelu");
    assert!(with(&["--target", "t"]).contains("+ f: computation and constraints"));
    // Another program.
    edit("fn g(", "fn h(");
    assert!(with(&["--target", "t"]).contains("- function g"));
    std::fs::write(d.join("net.sp"), format!("{NET}fn h(x: f32[B, I]) -> y: f32[B, I] {{ y = x }}\n")).unwrap();
    assert!(with(&["--target", "t"]).contains("+ functions h"));
}

#[test]
fn a_file_that_is_no_plan_or_was_edited_is_refused() {
    let dir = folder();
    let d = dir.path();
    let base = ["compile", "net.sp", "--target", "t", "--plan", "bad.json"];
    let good = read(d, "plan.json");
    let with = |text: &str, code: &str| {
        std::fs::write(d.join("bad.json"), text).unwrap();
        let message = refused(d, &base, code);
        if code == "SP0660" {
            refused(d, &["verify", "net.sp", "--target", "t", "--plan", "bad.json"], code);
        }
        message
    };
    assert!(with("", "SP0660").contains("no JSON"));
    assert!(with("{}", "SP0660").contains("no number `format`"));
    assert!(with(&good.replacen("\"format\": 2", "\"format\": 3", 1), "SP0660").contains("format 3"));
    assert!(with(&good.replacen("\"weight\"", "\"wight\"", 1), "SP0660").contains("wight"));
    // A winner changed by hand, and what a search says instead.
    let v: Value = serde_json::from_str(&good).unwrap();
    let winner = v["functions"][0]["linears"][1]["layout"].as_str().unwrap().to_string();
    let other = if winner == "csr" { "vx1(4)" } else { "csr" };
    let line = |layout: &str| format!("\"weight\": \"net.w2\",\n          \"layout\": \"{layout}\"");
    let edited = good.replacen(&line(&winner), &line(other), 1);
    assert_ne!(edited, good);
    let text = with(&edited, "SP0660");
    assert!(text.contains("changed after it was written"), "{text}");
    let lines = [format!("- f: net.w2 layout {other}"), format!("+ f: net.w2 layout {winner}")];
    assert!(lines.iter().all(|l| text.contains(l)), "{text}");
    // A forged seal helps nobody: the plan is checked against the graph and the weights.
    let forged =
        |change: &dyn Fn(&mut Value), code: &str| with(&sealed(&good, |v| change(&mut v["functions"][0])), code);
    assert_eq!(
        sealed(&good, |_| {}).len(),
        serde_json::to_string(&serde_json::from_str::<Value>(&good).unwrap()).unwrap().len()
    );
    forged(&|f| f["linears"][1]["layout"] = "bsr(300,1)".into(), "SP0661");
    forged(&|f| f["linears"][1]["layout"] = "dense(16)".into(), "SP0660");
    let turned = if v["functions"][0]["linears"][0]["x"] == "rm" { "fm" } else { "rm" };
    forged(&|f| f["linears"][0]["x"] = turned.into(), "SP0660");
    forged(&|f| f["linears"][0]["epilogue"] = 10_000.into(), "SP0660");
    forged(&|f| f["values"]["10000"] = "fm".into(), "SP0660");
    forged(&|f| f["converts"] = serde_json::json!([{ "node": 10_000, "to": "fm", "predicted_ps": 1 }]), "SP0660");
    forged(&|f| f["linears"] = serde_json::json!([]), "SP0661");
    forged(&|f| f["why"] = serde_json::json!([]), "SP0661");
    forged(&|f| f["total_ps"] = 1.into(), "SP0660");
    forged(&|f| f["graph"] = "0".into(), "SP0661");
    std::fs::remove_file(d.join("bad.json")).unwrap();
    refused(d, &base, "SP0401");
}

/// Any byte of a file may be another: it is refused, or is no difference.
#[test]
fn a_damaged_plan_never_compiles() {
    let dir = folder();
    let d = dir.path();
    let good = read(d, "plan.json").into_bytes();
    let mut rng = Rng(11);
    for _ in 0..24 {
        let mut bytes = good.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << rng.below(8);
        std::fs::write(d.join("bad.json"), &bytes).unwrap();
        let r = spc(d, ["compile", "net.sp", "--target", "t", "--plan", "bad.json", "--emit=plan"]);
        let same = r.code == 0 && r.stdout.as_bytes() == good;
        assert!(same || [1, 4].contains(&r.code), "byte {at}: {}\n{}", r.code, r.stderr);
        assert!(same || r.stderr.contains("SP066"), "byte {at}: {}", r.stderr);
    }
}

#[test]
fn differences_are_told_for_people_and_programs() {
    let dir = folder();
    let d = dir.path();
    let r = ok(spc(d, ["diff", "plan.json", "plan.json"]));
    assert_eq!(r.stdout, "the plans are the same\n");
    plan(d, &["--target", "small"], "small.json");
    let r = spc(d, ["diff", "plan.json", "small.json"]);
    assert_eq!(r.code, 1, "{}", r.stderr);
    for words in ["tuned for", "B = 48", "B = 1", "net.w1", "predicted"] {
        assert!(r.stdout.contains(words), "{words} is not in\n{}", r.stdout);
    }
    constants(d, |t| t.nm.mul_fs = 5_000);
    let mine = ["--constants", "mine.json"];
    plan(d, &mine, "mine.json.plan");
    std::fs::write(d.join("net.sp"), NET.replace("nm(1, 4)", "nm(2, 4)").replace("require cols", "// ")).unwrap();
    plan(d, &mine, "more.json");
    let r = spc(d, ["diff", "mine.json.plan", "more.json", "--json"]);
    let v: Value = serde_json::from_str(&r.stdout).unwrap();
    assert_eq!((r.code, &v["same"], &v["edited"]), (1, &false.into(), &serde_json::json!([false, false])));
    let find = |weight: &str, what: &str| {
        let list = v["differences"].as_array().unwrap();
        let mut it = list.iter().filter(|x| x["function"] == "f" && x["weight"] == weight && x["what"] == what);
        it.next().unwrap_or_else(|| panic!("no {what} of {weight} in {v:#}")).clone()
    };
    let layout = find("net.w1", "layout");
    let before = layout["a"].as_str().unwrap();
    assert!(before.starts_with("vx1(") && layout["b"].as_str().unwrap().starts_with("dense"), "{layout}");
    let because = layout["because"].to_string();
    assert!(because.contains(&format!("{before} takes")) && because.contains("in the second"), "{because}");
    assert!(find("net.w1", "zeros")["a"].as_str().unwrap().starts_with("75.0 %"));
    let layout = find("net.w2", "layout");
    let refused =
        format!("{} is refused in the second plan: row 0, group 0 keeps 2 of 4", layout["a"].as_str().unwrap());
    assert!(layout["because"].to_string().contains(&refused), "{layout:#}");

    std::fs::write(d.join("edited.json"), read(d, "plan.json").replace("\"winner\": \"", "\"winner\": \"nm")).unwrap();
    let r = spc(d, ["diff", "plan.json", "edited.json"]);
    assert!(r.code == 1 && r.stdout.contains("`edited.json` was changed after it was written"), "{}", r.stdout);
    assert_eq!(spc(d, ["diff", "plan.json", "nothing.json"]).code, 4);
    assert!(spc(d, ["diff", "net.sp", "plan.json"]).stderr.contains("SP0660"));
}

#[test]
fn plans_have_the_published_form() {
    let schema: Value = serde_json::from_str(&read(&root().join("../docs"), "plan.schema.json")).unwrap();
    let dir = folder();
    let v: Value = serde_json::from_str(&read(dir.path(), "plan.json")).unwrap();
    assert_eq!(faults(&v, &schema), Vec::<String>::new());
    let mut full = v.clone();
    full["functions"][0]["converts"] = serde_json::json!([{ "node": 1, "to": "fm", "predicted_ps": 5 }]);
    full["functions"][0]["values"] = serde_json::json!({ "5": "fm" });
    assert_eq!(faults(&full, &schema), Vec::<String>::new());
    full["functions"][0]["values"]["5"] = "mf".into();
    assert!(!faults(&full, &schema).is_empty());
    assert!(
        v["functions"][0]["why"][0]["candidates"]
            .as_array()
            .is_some_and(|c| c.iter().any(|c| c["refused"].is_string()))
    );
    // The schema refuses what the reader refuses.
    let changed = |f: &dyn Fn(&mut Value)| {
        let mut bad = v.clone();
        f(&mut bad);
        !faults(&bad, &schema).is_empty()
    };
    assert!(changed(&|v| v["format"] = 1.into()));
    assert!(changed(&|v| v["functions"][0]["linears"][0]["layout"] = "dense".into()));
    assert!(changed(&|v| v["functions"][0]["linears"][0]["x"] = "mf".into()));
    assert!(changed(&|v| v["functions"][0]["total_ps"] = (-1).into()));
    assert!(changed(&|v| v["functions"][0]["why"][0]["more"] = 1.into()));
    assert!(changed(&|v| drop(v["functions"][0].as_object_mut().unwrap().remove("exact"))));
}
