//! Plans that change the structure: an export has the weights of the model all the same, and numpy puts together again what a
//! compiled folder stores of them.
use super::*;
use support::weights::{Named, blocks, of};

const TWO: &str = "\
use std.nn
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 256, F = 1024 }
  up: f32[F, D]  bu: f32[F]
  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] { y = nn.linear(nn.gelu(nn.linear(x, m.up, m.bu)), m.down) }
target t = cpu(threads: 1) { B = 1 }
";

/// A gated layer of 1:4 after a norm: as it stands gate and up are one kernel, and the norm is in them.
const GATED: &str = "\
use std.nn
use std.patterns.nm
axis B = 1..64
model m from safetensors \"m.safetensors\" {
  axes { D = 64, F = 128 }
  norm: f32[D]  gate: f32[F, D]  up: f32[F, D]  down: f32[D, F]
}
fn f(x: f32[B, D]) -> y: f32[B, D] {
  h = nn.rmsnorm(x, m.norm)
  y = nn.linear(nn.silu(nn.linear(h, m.gate)) * nn.linear(h, m.up), m.down)
}
require q: nm(1, 4) on m.{gate, up, down}
target t = cpu(threads: 1) { B = 1 }
";

/// Exports, reads, binds and compiles, and compares all weights with the plain export. `rules` are those of the plan; how many
/// weights of the export are packed.
fn stays(dir: &TempDir, rules: &[&str], weights: &[Named], packed: usize) {
    let d = dir.path();
    let on = ["--target", "t"];
    let plan = ok(spc(d, [&["compile", "net.sp", "--emit=plan"][..], &on].concat())).stdout;
    std::fs::write(d.join("plan.json"), &plan).unwrap();
    let v: Value = serde_json::from_str(&plan).unwrap();
    let found: Vec<&str> = v["functions"][0]["rules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(rules.iter().all(|r| found.contains(r)), "{found:?}");
    ok(spc(d, ["export", "net.sp", "-o", "zeros.safetensors"]));
    let zeros = spc_io::WeightFile::open(&d.join("zeros.safetensors")).unwrap();
    for (file, more) in [("free.safetensors", &[][..]), ("planned.safetensors", &["--plan", "plan.json"])] {
        let export = ["export", "net.sp", "--emit=packed", "-o", file];
        let r = ok(spc(d, [&export[..], &on, more].concat()));
        assert!(r.stdout.contains(&format!("{packed} weights packed")), "{file}: {}", r.stdout);
        let v = inspect(d, file);
        let mut shapes: BTreeMap<String, Value> = BTreeMap::new();
        for (list, name) in [("packed", "weight"), ("tensors", "name")] {
            for t in v[list].as_array().unwrap() {
                let twice = shapes.insert(t[name].as_str().unwrap().into(), t["shape"].clone());
                assert_eq!(twice, None, "{v:#}");
            }
        }
        let declared: BTreeMap<String, Value> = weights.iter().map(|(n, s, _)| (n.to_string(), json!(s))).collect();
        assert_eq!(shapes, declared, "{file}");
        // The same program comes of it, byte for byte.
        for (out, from) in [("a", "m=zeros.safetensors"), ("b", &format!("m={file}"))] {
            ok(spc(d, [&["compile", "net.sp", "--bind", from, "-o", out][..], &on].concat()));
        }
        for part in ["weights.safetensors", "plan.json", "program.ir"] {
            let read = |folder: &str| std::fs::read(d.join(folder).join(part)).unwrap();
            assert!(read("a") == read("b"), "{file}: {part}");
        }
        let names: Vec<String> = weights.iter().map(|(n, ..)| format!("{n}.npy")).collect();
        let args: Vec<&str> = std::iter::once(file).chain(names.iter().map(String::as_str)).collect();
        if !numpy(d, &args) {
            return;
        }
        for (name, shape, _) in weights {
            let (found, values) = npy(&d.join(format!("{name}.npy")));
            assert_eq!(&found, shape, "{file}: {name}");
            assert!(values == *zeros.f32(name).unwrap(), "{file}: {name}");
        }
    }
    // Of the folder those that are no products.
    let folded = |n: &str| rules.contains(&"fold-norm R") && ["norm", "gate", "up"].contains(&n);
    for (name, shape, _) in weights.iter().filter(|(n, ..)| !folded(n)) {
        assert!(numpy(d, &["b", &format!("m.{name}.npy")]));
        let (found, values) = npy(&d.join(format!("m.{name}.npy")));
        assert_eq!(&found, shape, "{name}");
        assert!(values == *zeros.f32(name).unwrap(), "{name}");
    }
}

#[test]
fn split_weights_are_exported_whole() {
    let (d, f, mut rng) = (2048, 256, Rng(1));
    let (up, down) = (blocks(&mut rng, (f, d), 20, 10), blocks(&mut rng, (d, f), 20, 10));
    let text = TWO.replace("D = 256", "D = 2048").replace("F = 1024", "F = 256");
    let weights = [("up", vec![f, d], up), ("bu", vec![f], floats(&mut rng, f)), ("down", vec![d, f], down)];
    stays(&of(&text, &weights), &["split-residual R"], &weights, 2);
}

/// The rows of blocks lie apart: row i of the blocks is row 5 i.
#[test]
fn weights_of_an_axis_in_another_order_are_exported_in_the_order_of_the_model() {
    let (d, f, mut rng) = (256, 1024, Rng(2));
    let up = blocks(&mut rng, (f, d), 25, 0);
    let rows = (0..f).flat_map(|i| up[(i * 205 % f) * d..][..d].to_vec()).collect();
    let (bu, down) = (floats(&mut rng, f), floats(&mut rng, d * f));
    let weights = [("up", vec![f, d], rows), ("bu", vec![f], bu), ("down", vec![d, f], down)];
    stays(&of(TWO, &weights), &["reorder-axis R"], &weights, 1);
}

#[test]
fn folded_and_merged_weights_are_exported_apart() {
    let mut rng = Rng(7);
    let shapes = [("norm", vec![64]), ("gate", vec![128, 64]), ("up", vec![128, 64]), ("down", vec![64, 128])];
    let weights = shapes.map(|(n, s)| {
        let values = (0..s.iter().product::<usize>()).map(|_| rng.float() + 2.0).collect();
        (n, s, values)
    });
    stays(&of(GATED, &weights), &["fold-norm R", "merge-siblings B"], &weights, 3);
}

/// A quarter of the neurons has no weights: they are left out of the program, not of the export.
#[test]
fn dead_positions_are_exported() {
    let (d, f, mut rng) = (64, 256, Rng(9));
    let mut up = blocks(&mut rng, (f, d), 30, 0);
    let (mut bu, mut down) = (floats(&mut rng, f), blocks(&mut rng, (d, f), 30, 0));
    for dead in (0..f).filter(|i| i / 16 % 4 == 1) {
        up[dead * d..][..d].fill(0.0);
        bu[dead] = 0.0;
        (0..d).for_each(|o| down[o * f + dead] = 0.0);
    }
    let text = TWO.replace("D = 256", "D = 64").replace("F = 1024", "F = 256").replace("gelu", "relu");
    let weights = [("up", vec![f, d], up), ("bu", vec![f], bu), ("down", vec![d, f], down)];
    stays(&of(&text, &weights), &["cut-dead F"], &weights, 2);
}
