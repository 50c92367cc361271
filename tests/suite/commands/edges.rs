//! Layers of one element and without a present one in everything that changes the structure of a program: folds, merged linears, orders, splits.
use super::*;

/// A norm and a batch-norm that fold, linears that merge, an axis that may move.
const TEXT: &str = "\
use std.nn
axis B = 1..4
model m from safetensors \"m.safetensors\" {
  axes { D = 1, F = 1 }
  norm: f32[D]  shift: f32[D]
  gate: f32[F, D]  up: f32[F, D]
  down: f32[D, F]  mu: f32[D]  var: f32[D]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  h = nn.layernorm(x, m.norm, m.shift)
  z = nn.linear(nn.silu(nn.linear(h, m.gate)) * nn.linear(h, m.up), m.down)
  y[b, d] = (z[b, d] - m.mu[d]) / sqrt(m.var[d] + 0.01) * 0.5
}
target t = cpu(threads: 1) { B = 1 }
";

/// A folder with weights of these sizes; of those that `zero` names every element is zero.
fn sized((d, f): (usize, usize), zero: &str) -> TempDir {
    let mut rng = Rng(5);
    let mut stored = Stored::new();
    let shapes = [
        ("norm", vec![d]),
        ("shift", vec![d]),
        ("gate", vec![f, d]),
        ("up", vec![f, d]),
        ("down", vec![d, f]),
        ("mu", vec![d]),
        ("var", vec![d]),
    ];
    for (name, shape) in shapes {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> =
            (0..n).map(|_| if zero.split(' ').any(|z| z == name) { 0.0 } else { rng.float() + 1.5 }).collect();
        stored.insert(name.into(), (Dtype::F32, shape, bytes(&values)));
    }
    let dir = folder(&TEXT.replace("D = 1, F = 1", &format!("D = {d}, F = {f}")), &[]);
    std::fs::write(dir.path().join("m.safetensors"), file(&stored)).unwrap();
    dir
}

#[test]
fn layers_of_one_element_and_of_zeros_go_through_every_change_of_structure() {
    let mut found = std::collections::BTreeSet::new();
    for size in [(1, 1), (1, 17), (33, 1), (2, 2), (2, 8)] {
        for zero in ["", "norm", "gate", "down var", "gate up down"] {
            let dir = sized(size, zero);
            let d = dir.path();
            ok(spc(d, ["compile", "net.sp", "--target", "t", "--isa", "clif", "-o", "out"]));
            for args in [&["verify", "out"][..], &["verify", "net.sp", "--target", "t"], &["explain", "net.sp"]] {
                let r = ok(spc(d, args));
                assert!(r.stderr.is_empty(), "{size:?} {zero}: {}", r.stderr);
            }
            let text = std::fs::read_to_string(d.join("out/plan.json")).unwrap();
            let again = ["compile", "net.sp", "--target", "t", "--plan", "out/plan.json", "--emit=plan"];
            assert_eq!(ok(spc(d, again)).stdout, text, "{size:?} {zero}");
            let v: serde_json::Value = serde_json::from_str(&text).unwrap();
            let steps = v["functions"][0]["structure"].as_array().cloned().unwrap_or_default();
            found.extend(
                steps.iter().filter(|s| s["made"].is_string()).map(|s| s["rule"].as_str().unwrap().to_string()),
            );
        }
    }
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["fold-batch-norm R", "fold-norm R", "merge-siblings B"]);
}

#[test]
fn an_axis_of_no_positions_is_refused() {
    let dir = sized((1, 1), "");
    std::fs::write(dir.path().join("net.sp"), TEXT.replace("F = 1", "F = 0")).unwrap();
    refused(dir.path(), &["compile", "net.sp", "-o", "out"], 1, "SP0203");
}
