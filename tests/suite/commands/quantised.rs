//! What is quantised, from the plan to the file.
use super::*;

/// Weights and activations of 8 bits: the plan stores integers, the compiled program agrees with the interpreter, and the
/// exported file holds integers and scales whose products are the rounded weights.
#[test]
fn quantised_linears_are_integers_from_plan_to_file() {
    let text = NET.to_string()
        + "quantize ints: net.w1 to int8(per: tile(in: all), inputs: int8)\nquantize narrow: net.w2 to bf16\n";
    let dir = folder(&text, &file(&weights()));
    let r = ok(spc(dir.path(), ["verify", "net.sp"]));
    assert!(r.stdout.contains("2 linears within the bound"), "{}", r.stdout);
    let r = ok(spc(dir.path(), ["explain", "net.sp"]));
    let line = "quantize ints: to int8 net.w1 (a scale per 1 x 16), inputs of their products to int8";
    assert!(r.stdout.lines().any(|l| l == line), "{}", r.stdout);
    assert!(r.stdout.contains("i8(16)") && r.stdout.contains("i8(32)"), "{}", r.stdout);
    ok(spc(dir.path(), ["compile", "net.sp", "-o", "out"]));
    ok(spc(dir.path(), ["verify", "out"]));

    ok(spc(dir.path(), ["export", "net.sp", "-o", "q.safetensors"]));
    let data = std::fs::read(dir.path().join("q.safetensors")).unwrap();
    let out = safetensors::SafeTensors::deserialize(&data).unwrap();
    let (w, s) = (out.tensor("w1").unwrap(), out.tensor("w1.scale").unwrap());
    assert_eq!((w.dtype(), s.dtype()), (safetensors::Dtype::I8, safetensors::Dtype::F32));
    let (rows, cols) = (w.shape()[0], w.shape()[1]);
    assert_eq!(s.shape(), [rows, 1]);
    let old = floats(&weights()["w1"].2);
    let scales = floats(s.data());
    for (i, code) in w.data().iter().enumerate() {
        let value = f32::from(*code as i8) * scales[i / cols];
        let row = &old[i / cols * cols..][..cols];
        let kept = w.data()[i / cols * cols..][..cols].iter().zip(row).filter(|(c, _)| **c != 0);
        let most = kept.map(|(_, v)| v.abs()).fold(0.0f32, f32::max);
        // Absent, or within half a step of the original.
        assert!(*code == 0 || (value - old[i]).abs() <= 0.51 * most / 127.0, "{i}: {value} for {}", old[i]);
    }
    assert!(w.data().iter().any(|c| *c == 127 || *c == 129));
    assert_eq!(out.tensor("w2").unwrap().dtype(), safetensors::Dtype::BF16);
}

/// Zeros that are no blocks in 8 bits: N of M and single weights, chosen for one token, agreeing with the interpreter in every
/// instruction set, whole in a packed file.
#[test]
fn integers_of_rows_from_plan_to_packed_file() {
    let text = "use std.nn
use std.patterns.nm
axis B = 1..40
model net from safetensors \"net.safetensors\" { axes { I = 1024, N = 512, O = 300 } w1: f32[N, I]  w2: f32[O, N] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1)), net.w2) }
require few: keep 8% of elements per tensor on net.w1
require half: nm(2, 4) on net.w2
quantize ints: net.{w1, w2} to int8(per: tile(in: all), inputs: int8)
target t = cpu(threads: 1) { B = 1 }
";
    let mut rng = Rng(6);
    let mut stored = Stored::new();
    for (name, shape) in [("w1", [512, 1024]), ("w2", [300, 512])] {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.float()).collect();
        stored.insert(name.into(), (Dtype::F32, shape.to_vec(), bytes(&values)));
    }
    let dir = folder(text, &file(&stored));
    let r = ok(spc(dir.path(), ["explain", "net.sp"]));
    for (w, layout) in [("w1", ": i8csr("), ("w2", ": i8nm(2,4)")] {
        let line = |l: &str| l.starts_with(&format!("net.{w} ")) && l.contains(layout);
        assert!(r.stdout.lines().any(line), "{w} {layout}: {}", r.stdout);
    }
    ok(spc(dir.path(), ["verify", "net.sp"]));
    ok(spc(dir.path(), ["verify", "net.sp", "--isa", "clif"]));
    ok(spc(dir.path(), ["export", "net.sp", "--emit=packed", "-o", "p.safetensors"]));
    let r = ok(spc(dir.path(), ["inspect", "p.safetensors"]));
    for layout in ["i8csr(4) (whole)", "i8nm(2,4) (whole)"] {
        assert!(r.stdout.contains(layout), "{layout}: {}", r.stdout);
    }
}

/// Codes with a scale for each group, and 16-bit floats: chosen for one token, agreeing with the interpreter, whole in a packed
/// file.
#[test]
fn codes_and_halves_from_plan_to_packed_file() {
    let text = "use std.nn
axis B = 1..8
model net from safetensors \"net.safetensors\" { axes { I = 512, N = 512, O = 512 } w1: f32[N, I]  w2: f32[O, N]  w3: f32[O, O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.linear(nn.linear(x, net.w1), net.w2), net.w3) }
require half: keep 50% of tile(in: 32) per tensor by norm2 on net.w2
quantize codes: net.{w1, w2} to int4(per: tile(in: 32), scale: f16)
quantize narrow: net.w3 to FORM
target t = cpu(threads: 1) { B = 1 }
";
    let mut rng = Rng(4);
    let mut stored = Stored::new();
    for name in ["w1", "w2", "w3"] {
        let values: Vec<f32> = (0..512 * 512).map(|_| rng.float()).collect();
        stored.insert(name.into(), (Dtype::F32, vec![512, 512], bytes(&values)));
    }
    for form in ["bf16", "f16"] {
        let dir = folder(&text.replace("FORM", form), &file(&stored));
        let r = ok(spc(dir.path(), ["explain", "net.sp"]));
        let line = "quantize codes: to int4 net.w1 (a scale per 1 x 32), net.w2 (a scale per 1 x 32), scales in f16";
        let layouts = [": q4(32,16)".to_string(), ": kept4(32,16)".into(), format!("_{form}(16")];
        assert!(r.stdout.lines().any(|l| l == line), "{}", r.stdout);
        for (w, layout) in ["w1", "w2", "w3"].iter().zip(&layouts) {
            let line = |l: &str| l.starts_with(&format!("net.{w} ")) && l.contains(layout.as_str());
            assert!(r.stdout.lines().any(line), "{w} {layout}: {}", r.stdout);
        }
        ok(spc(dir.path(), ["verify", "net.sp"]));
        ok(spc(dir.path(), ["verify", "net.sp", "--isa", "clif"]));
        ok(spc(dir.path(), ["export", "net.sp", "--emit=packed", "-o", "p.safetensors"]));
        let r = ok(spc(dir.path(), ["inspect", "p.safetensors"]));
        for layout in ["q4(32,16) (whole)", "kept4(32,16) (whole)", &layouts[2]] {
            assert!(r.stdout.contains(layout), "{layout}: {}", r.stdout);
        }
    }
}

#[test]
fn explain_says_what_is_quantised() {
    let text =
        NET.to_string() + "quantize small: net.w1 to int8(per: tile(in: all))\nquantize half_as_wide: net.w2 to f16\n";
    let dir = folder(&text, &file(&weights()));
    let r = ok(spc(dir.path(), ["explain", "net.sp"]));
    for line in ["quantize small: to int8 net.w1 (a scale per 1 x 16)", "quantize half_as_wide: to f16 net.w2"] {
        assert!(r.stdout.lines().any(|l| l == line), "{}", r.stdout);
    }
}
