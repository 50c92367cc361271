//! Plans whose structure is not that of the program: told apart in words, and refused where it does not belong.
use super::*;
use support::weights::{blocks, of};

/// Code whose prices are the same on many machines.
const ISA: [&str; 2] = ["--isa", "clif"];

/// A gated layer after a norm: as it stands gate and up are one kernel, and the norm is in them.
const GATED: &str = "\
use std.nn
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 32, F = 64 }
  norm: f32[D]
  gate: f32[F, D]
  up: f32[F, D]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> (y: f32[B, D]) {
  h = nn.rmsnorm(x, m.norm)
  u = nn.linear(h, m.up)
  y = nn.linear(nn.silu(nn.linear(h, m.gate)) * u, m.down)
}
target t = cpu(threads: 1) { B = 1 }
";

fn gated() -> TempDir {
    let mut rng = Rng(7);
    let shapes = [("norm", vec![32]), ("gate", vec![64, 32]), ("up", vec![64, 32]), ("down", vec![32, 64])];
    let weights = shapes.map(|(n, s)| {
        let values = (0..s.iter().product::<usize>()).map(|_| rng.float() + 2.0).collect();
        (n, s, values)
    });
    of(GATED, &weights)
}

#[test]
fn differences_of_structure_are_told_in_words() {
    let dir = gated();
    let d = dir.path();
    plan(d, &ISA, "one.json");
    ok(spc(d, ["explain", "net.sp", "--report", "page.html"]));
    let page = read(d, "page.html");
    assert!(page.contains("<li>folded: m.up*norm: ") && page.contains("<li>merged: "), "{page}");
    let results = GATED.replace("(y: f32[B, D])", "(y: f32[B, D], u: f32[B, F], h: f32[B, D])");
    std::fs::write(d.join("net.sp"), results).unwrap();
    plan(d, &ISA, "apart.json");
    let r = spc(d, ["diff", "one.json", "apart.json"]);
    assert_eq!(r.code, 1, "{}", r.stderr);
    for words in [
        "folded m.up*norm, folded m.gate*norm, merged m.{up*norm,gate*norm}  as in the program\n",
        "structure: folded m.up*norm in the first plan: ",
        "; not so in the second: what it is a part of is a result; ",
        "merged m.{up*norm,gate*norm} in the first plan: one kernel in ",
        "\n  m.{up*norm,gate*norm}: in the second plan it is m.up, m.gate\n",
        "\n  m.gate: in the first plan it is m.{up*norm,gate*norm}\n",
    ] {
        assert!(r.stdout.contains(words), "{words} is not in\n{}", r.stdout);
    }
    let r = spc(d, ["diff", "apart.json", "one.json", "--json"]);
    let v: Value = serde_json::from_str(&r.stdout).unwrap();
    let list = v["differences"].as_array().unwrap();
    let structure = list.iter().find(|x| x["what"] == "structure").unwrap();
    assert_eq!((&structure["a"], r.code), (&"as in the program".into(), 1));
    assert!(structure["because"][0].as_str().unwrap().starts_with("folded m.up*norm in the second plan: "), "{v:#}");
    let linear = list.iter().find(|x| x["weight"] == "m.up" && x["what"] == "linear").unwrap();
    assert_eq!(linear["because"], serde_json::json!(["in the second plan it is m.{up*norm,gate*norm}"]));
}

/// Two layers; what becomes of their weights hangs on the values.
const TWO: &str = "\
use std.nn
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 256, F = 1024 }
  up: f32[F, D]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] { y = nn.linear(nn.gelu(nn.linear(x, m.up)), m.down) }
target t = cpu(threads: 1) { B = 1 }
";

/// Both weights are split into blocks and what lies beyond them.
fn split() -> TempDir {
    let (d, f, mut rng) = (2048, 256, Rng(1));
    let (up, down) = (blocks(&mut rng, (f, d), 20, 10), blocks(&mut rng, (d, f), 20, 10));
    let text = TWO.replace("D = 256", "D = 2048").replace("F = 1024", "F = 256");
    of(&text, &[("up", vec![f, d], up), ("down", vec![d, f], down)])
}

/// The rows of blocks lie apart: row i of the blocks is row 5 i.
fn apart() -> TempDir {
    let (d, f, mut rng) = (256, 1024, Rng(2));
    let (up, down) = (blocks(&mut rng, (f, d), 25, 0), (0..d * f).map(|_| rng.float()).collect());
    let rows = (0..f).flat_map(|i| up[(i * 205 % f) * d..][..d].to_vec()).collect();
    of(TWO, &[("up", vec![f, d], rows), ("down", vec![d, f], down)])
}

/// Forges a plan of the folder in one way after the other. Sealed anew, it has to be refused for what it says.
struct Forger {
    dir: TempDir,
    good: String,
}

impl Forger {
    fn new(dir: TempDir, rules: &[&str]) -> Forger {
        let good = plan(dir.path(), &ISA, "plan.json");
        let v: Value = serde_json::from_str(&good).unwrap();
        let found: Vec<&str> = list(&v).iter().filter_map(|s| s["rule"].as_str()).collect();
        assert!(rules.iter().all(|r| found.contains(r)), "{found:?}");
        let schema = serde_json::from_str(&read(&root().join("../docs"), "plan.schema.json")).unwrap();
        assert_eq!(faults(&v, &schema), Vec::<String>::new());
        // The forger's seal is a seal.
        let f = Forger { dir, good };
        std::fs::write(f.dir.path().join("bad.json"), forged(&f.good, |_| {})).unwrap();
        ok(spc(f.dir.path(), ["compile", "net.sp", "--target", "t", "--plan", "bad.json", "--emit=plan"]));
        f
    }

    fn refused(&self, what: &str, code: &str, change: impl FnOnce(&mut Vec<Value>)) {
        let text = forged(&self.good, change);
        assert_ne!(text, forged(&self.good, |_| {}), "{what}");
        let d = self.dir.path();
        std::fs::write(d.join("bad.json"), text).unwrap();
        let args = ["compile", "net.sp", "--target", "t", "--plan", "bad.json"];
        let r = spc(d, args);
        let coded = r.stderr.contains(&format!("error[{code}]"));
        assert!(r.code == 4 && coded, "{what}: {}\n{}{}", r.code, r.stdout, r.stderr);
    }
}

/// The file again with the steps of its first function changed and a seal that fits; unsealed where it is no plan any more.
fn forged(text: &str, change: impl FnOnce(&mut Vec<Value>)) -> String {
    let mut v: Value = serde_json::from_str(text).unwrap();
    change(v["functions"][0]["structure"].as_array_mut().unwrap());
    let Ok(functions) = serde_json::from_value::<Vec<spc_ir::Plan>>(v["functions"].clone()) else {
        return v.to_string();
    };
    let functions = serde_json::to_string(&functions).unwrap();
    let file = |seal: &str| {
        let (format, kind) = (&v["format"], &v["kind"]);
        format!("{{\"format\":{format},\"kind\":{kind},\"functions\":{functions},\"seal\":\"{seal}\"}}")
    };
    let seal = <sha2::Sha256 as sha2::Digest>::digest(file("").as_bytes());
    file(&seal.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

fn list(v: &Value) -> &[Value] {
    v["functions"][0]["structure"].as_array().unwrap()
}

fn rule(steps: &[Value], rule: &str) -> usize {
    steps.iter().position(|s| s["rule"] == rule && s["made"].is_string()).unwrap()
}

#[test]
fn a_fold_or_a_merge_that_does_not_belong_is_refused() {
    let f = Forger::new(gated(), &["fold-norm R", "merge-siblings B"]);
    let how = |text: &str| serde_json::json!({ "scaled": { "cols": text } });
    for text in ["(mul a1 a1)", "a7", "a0", "(exp a1)", "", "(", "1"] {
        f.refused(&format!("factor {text}"), "SP0661", |s| s[0]["how"] = how(text));
    }
    f.refused("along the rows", "SP0661", |s| s[0]["how"] = serde_json::json!({ "scaled": { "rows": "a1" } }));
    f.refused("nothing computed", "SP0661", |s| drop(s[0].as_object_mut().unwrap().remove("how")));
    f.refused("of another weight", "SP0661", |s| s[0]["from"] = serde_json::json!(["m.up", "m.gate"]));
    f.refused("of no weight", "SP0661", |s| s[0]["from"] = serde_json::json!([]));
    f.refused("another name", "SP0661", |s| s[0]["made"] = "m.other".into());
    f.refused("another rule", "SP0661", |s| s[0]["rule"] = "fold-constant R".into());
    f.refused("a rule that is none", "SP0661", |s| s[0]["rule"] = "no-rule B".into());
    f.refused("half of it", "SP0661", |s| drop(s.remove(0)));
    f.refused("none of it", "SP0661", |s| s.clear());
    for (at, text) in [(0, "(mul a1 a1)"), (1, "(mul a1 a1)"), (0, "(")] {
        f.refused(&format!("one name made in two ways, at {at}"), "SP0661", |s| {
            let mut other = s[0].clone();
            other["how"] = how(text);
            s.insert(at, other);
        });
    }
    f.refused("last", "SP0661", |s| s.rotate_left(1));
    let at = |s: &[Value]| rule(s, "merge-siblings B");
    f.refused("the other order", "SP0661", |s| {
        let i = at(s);
        s[i]["from"].as_array_mut().unwrap().reverse();
    });
    f.refused("other rows", "SP0661", |s| {
        let i = at(s);
        s[i]["rows"] = serde_json::json!([1, 127]);
    });
    f.refused("merged before it is folded", "SP0661", |s| {
        let i = at(s);
        let step = s.remove(i);
        s.insert(0, step);
    });
    f.refused("a split of what has no structure", "SP0661", |s| {
        let fit = serde_json::json!({ "tiles": { "rows": 16, "cols": 1, "least": 8 } });
        for structured in [true, false] {
            s.push(serde_json::json!({
                "rule": "split-residual R", "from": ["m.down"], "rows": [32], "made": format!("m.down{structured}"),
                "because": "", "how": { "split": { "fit": fit, "structured": structured } },
            }));
        }
    });
}

#[test]
fn a_split_that_does_not_belong_is_refused() {
    let f = Forger::new(split(), &["split-residual R"]);
    let at = |s: &[Value]| rule(s, "split-residual R");
    for (rows, cols, least) in [(16, 1, 16), (8, 1, 8), (0, 0, 0), (1u64 << 40, 1u64 << 40, 1), (5, 3, 1)] {
        let fit = serde_json::json!({ "tiles": { "rows": rows, "cols": cols, "least": least } });
        let code = if rows > 16 { "SP0660" } else { "SP0661" };
        f.refused(&format!("{rows} x {cols} from {least}"), code, |s| {
            let i = at(s);
            (s[i]["how"]["split"]["fit"], s[i + 1]["how"]["split"]["fit"]) = (fit.clone(), fit);
        });
    }
    f.refused("the structure twice", "SP0661", |s| {
        let i = at(s);
        s[i + 1]["how"]["split"]["structured"] = true.into();
    });
    f.refused("the rest first", "SP0661", |s| {
        let i = at(s);
        s.swap(i, i + 1);
    });
    f.refused("half of it", "SP0661", |s| {
        let i = at(s);
        s.remove(i + 1);
    });
    f.refused("of a weight that is not there", "SP0661", |s| {
        let i = at(s);
        (s[i]["from"], s[i + 1]["from"]) = (serde_json::json!(["m.no"]), serde_json::json!(["m.no"]));
    });
    f.refused("another rule", "SP0661", |s| {
        let i = at(s);
        s[i]["rule"] = "reorder-axis R".into();
    });
    f.refused("none of it", "SP0661", |s| s.clear());
}

#[test]
fn an_order_that_does_not_belong_is_refused() {
    let f = Forger::new(apart(), &["reorder-axis R"]);
    let all = |s: &mut Vec<Value>, change: &dyn Fn(&mut Value)| {
        s.iter_mut().filter(|s| s["made"].is_string()).for_each(|s| change(&mut s["how"]["reorder"]["moves"][0]));
    };
    for (order, code) in [
        ("0-1023", "SP0661"),
        ("1 0", "SP0661"),
        ("", "SP0661"),
        ("0-1024", "SP0661"),
        ("0 0", "SP0660"),
        ("0-99999999999", "SP0660"),
        ("1023-0", "SP0660"),
    ] {
        f.refused(&format!("order {order}"), code, |s| all(s, &|m| m["order"] = order.into()));
    }
    f.refused("in one weight only", "SP0661", |s| s[0]["how"]["reorder"]["moves"][0]["order"] = "0-1023".into());
    f.refused("along the other dimension", "SP0661", |s| all(s, &|m| m["places"][0]["dim"] = 7.into()));
    f.refused("in a part", "SP0661", |s| all(s, &|m| m["places"][0]["end"] = 512.into()));
    f.refused("far beyond", "SP0661", |s| all(s, &|m| m["places"][0]["end"] = (1u64 << 60).into()));
    f.refused("in steps", "SP0661", |s| all(s, &|m| m["places"][0]["inner"] = 3.into()));
    f.refused("in steps of nothing", "SP0661", |s| all(s, &|m| m["places"][0]["inner"] = 0.into()));
    f.refused("nowhere", "SP0661", |s| all(s, &|m| m["places"] = serde_json::json!([])));
    f.refused("half of it", "SP0661", |s| drop(s.remove(0)));
    f.refused("none of it", "SP0661", |s| s.clear());
    f.refused("another rule", "SP0661", |s| s[0]["rule"] = "split-residual R".into());
}
