//! Dials, sweeps of them, and averages of weight files.
use super::*;

/// A net whose answer is right as long as its two largest weights of each row are there.
fn dialled() -> TempDir {
    let text = "use std.nn\naxis B = 1..64\nconst left = dial(50%)\nconst first = dial(2)\n\
        data d from npz \"d.npz\" { x: f32[I]  label: i32 = field(\"label\") }\n\
        model net from safetensors \"net.safetensors\" { axes { I = 8, O = 2 } w: f32[O, I] }\n\
        fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, net.w) }\n\
        require r: keep left of elements per (out) by abs\n\
        run test { call: f(d.x)  report: [accuracy(d.label), time] }\n\
        run far { call: f(d.x)  report: [cosine] }\n\
        run dull { call: f(d.x)  report: [size] }\n\
        target t = cpu(threads: 1)\n";
    let mut stored = Stored::new();
    // Row 0 looks at inputs 0 and 1, row 1 at 2 and 3; the rest is small.
    let w: Vec<f32> = (0..16)
        .map(|i| match i {
            0 => 4.0,
            1 => 3.0,
            10 => 4.0,
            11 => 3.0,
            i => 0.001 * (1.0 + i as f32),
        })
        .collect();
    stored.insert("w".into(), (Dtype::F32, vec![2, 8], bytes(&w)));
    let dir = folder(text, &file(&stored));
    // Of the four rows, the first two need the largest weight, the others the second one.
    let mut x = vec![0.0f32; 32];
    for (row, at) in [0, 2, 1, 3].into_iter().enumerate() {
        x[row * 8 + at] = 1.0;
        x[row * 8 + 7] = 0.01;
    }
    let tensor = |t: spc_io::Tensor| t;
    let x = tensor(spc_io::Tensor::new(vec![4, 8], x).unwrap());
    let label = spc_io::Tensor::new(vec![4], vec![0i32, 1, 0, 1]).unwrap();
    spc_io::write_npz(&dir.path().join("d.npz"), &[("x", &x), ("label", &label)]).unwrap();
    dir
}

#[test]
fn a_dial_has_the_value_that_is_set() {
    let dir = dialled();
    let zeros = |args: &[&str]| {
        let mut all = vec!["export", "net.sp", "-o", "out.safetensors"];
        all.extend(args);
        ok(spc(dir.path(), all));
        let out = std::fs::read(dir.path().join("out.safetensors")).unwrap();
        std::fs::remove_file(dir.path().join("out.safetensors")).unwrap();
        let out = safetensors::SafeTensors::deserialize(&out).unwrap();
        floats(out.tensor("w").unwrap().data()).iter().filter(|v| **v == 0.0).count()
    };
    assert_eq!(zeros(&[]), 8);
    assert_eq!(zeros(&["--set", "left=25%"]), 12);
    assert_eq!(zeros(&["--set", "left=12.5%", "--set", "first=-3.5"]), 14);
    let core = ok(spc(dir.path(), ["check", "net.sp", "--emit=core", "--set", "left=25%"]));
    assert!(core.stdout.contains("25%"), "{}", core.stdout);
    for (set, code) in [
        ("right=1", "SP0101"),
        ("left=1", "SP0107"),
        ("first=1%", "SP0107"),
        ("first=1 + 1", "SP0107"),
        ("first=2\nconst more = 3", "SP0107"),
        ("first=dial(3)", "SP0107"),
    ] {
        refused(dir.path(), &["check", "net.sp", "--set", set], 2, code);
    }
    assert_eq!(spc(dir.path(), ["check", "net.sp", "--set", "left=1%", "--set", "left=2%"]).code, 2);
}

#[test]
fn a_sweep_finds_the_sparsest_value_that_holds() {
    let dir = dialled();
    let json = |args: &[&str]| -> serde_json::Value {
        let mut all = vec!["sweep", "net.sp", "--json", "--over"];
        all.extend(args);
        serde_json::from_str(&ok(spc(dir.path(), all)).stdout).unwrap()
    };
    let out = json(&["left=12.5%..37.5%:12.5%", "test"]);
    let points = out["points"].as_array().unwrap();
    assert_eq!(points.len(), 3);
    for (k, p) in points.iter().enumerate() {
        let share = 0.125 * (k + 1) as f64;
        assert_eq!(p["density"], share, "{p}");
        assert_eq!(p["accuracy"], if k == 0 { 0.75 } else { 1.0 }, "{p}");
    }
    assert_eq!((out["metric"].as_str(), out["knee"]["value"].as_str()), (Some("accuracy"), Some("25%")));
    // Of a tie the first class wins, so a quarter is lost.
    let quarter = json(&["left=12.5%,50%", "test", "--tolerance", "25%"]);
    assert_eq!((quarter["points"][0]["drop"].as_f64(), quarter["knee"]["value"].as_str()), (Some(0.25), Some("12.5%")));
    let cosine = json(&["left=87.5%,12.5%", "far", "--tolerance", "0.1%"]);
    assert_eq!(cosine["knee"]["value"], "87.5%");
    assert!(cosine["points"][1]["cosine"].as_f64().unwrap() < 0.9);
    let text = ok(spc(dir.path(), ["sweep", "net.sp", "test", "--over", "left=12.5%,25%"])).stdout;
    assert!(text.contains("Knee: `left = 25%`") && text.contains("weights left"), "{text}");
    let none = ok(spc(dir.path(), ["sweep", "net.sp", "test", "--over", "left=12.5%"])).stdout;
    assert!(none.contains("No value keeps"), "{none}");
    refused(dir.path(), &["sweep", "net.sp", "dull", "--over", "left=50%"], 2, "SP0506");
    refused(dir.path(), &["sweep", "net.sp", "test", "--over", "wrong=50%"], 2, "SP0101");
    assert_eq!(spc(dir.path(), ["sweep", "net.sp", "test", "--over", "left=9%..1%:1%"]).code, 2);
}

fn soup(dir: &Path, name: &str, f: impl Fn(usize) -> f32, more: f32) {
    let mut stored = Stored::new();
    let values: Vec<f32> = (0..8).map(|i| if i % 2 == 0 { 0.0 } else { f(i) }).collect();
    stored.insert("w".into(), (Dtype::F32, vec![2, 4], bytes(&values)));
    stored.insert("b".into(), (Dtype::F32, vec![2], bytes(&[0.0, more])));
    let wide: Vec<u8> = values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect();
    stored.insert("half".into(), (Dtype::BF16, vec![2, 4], wide));
    stored.insert("steps".into(), (Dtype::I64, vec![1], 7i64.to_le_bytes().to_vec()));
    std::fs::write(dir.join(name), file(&stored)).unwrap();
}

#[test]
fn an_average_has_the_zeros_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    soup(at, "a.safetensors", |i| i as f32, 1.0);
    soup(at, "b.safetensors", |i| -3.0 * i as f32, 0.0);
    soup(at, "c.safetensors", |i| if i == 3 { 0.0 } else { 1.0 }, 0.0);
    let average = |args: &[&str]| {
        let mut all = vec!["average", "-o", "out.safetensors"];
        all.extend(args);
        let said = ok(spc(at, all)).stdout;
        let out = std::fs::read(at.join("out.safetensors")).unwrap();
        std::fs::remove_file(at.join("out.safetensors")).unwrap();
        let out = safetensors::SafeTensors::deserialize(&out).unwrap();
        assert_eq!(out.tensor("steps").unwrap().data(), 7i64.to_le_bytes());
        let w = floats(out.tensor("w").unwrap().data());
        let half = out.tensor("half").unwrap().data().to_vec();
        (w, floats(out.tensor("b").unwrap().data()), half, said)
    };
    let (w, b, half, said) = average(&["a.safetensors", "b.safetensors"]);
    assert_eq!(w, [0.0, -1.0, 0.0, -3.0, 0.0, -5.0, 0.0, -7.0]);
    assert_eq!(b, [0.0, 0.5], "a zero of one axis is no mask");
    let widened: Vec<f32> =
        half.chunks(2).map(|c| f32::from_bits(u32::from(u16::from_le_bytes([c[0], c[1]])) << 16)).collect();
    assert_eq!(widened, w);
    assert!(said.contains("8 of 16 weights in 2 tensors are 0 (50"), "{said}");
    // The average of a model with itself is the model, and shares weigh.
    assert_eq!(average(&["a.safetensors", "a.safetensors", "a.safetensors"]).0[7], 7.0);
    let (w, ..) = average(&["a.safetensors", "b.safetensors", "--shares", "0.75,0.25"]);
    assert_eq!(w[1], 0.0, "1 * 0.75 - 3 * 0.25: a zero by chance is a zero");
    assert_eq!(average(&["b.safetensors", "a.safetensors"]).0, average(&["a.safetensors", "b.safetensors"]).0);
    refused(at, &["average", "a.safetensors", "c.safetensors", "-o", "out.safetensors"], 4, "SP0411");
    assert!(!at.join("out.safetensors").exists());
    let (any, ..) = average(&["a.safetensors", "c.safetensors", "--zeros", "any"]);
    assert_eq!((any[3], any[5]), (0.0, 3.0));
    let (all, .., said) = average(&["a.safetensors", "c.safetensors", "--zeros", "all"]);
    assert_eq!((all[3], all[5]), (1.5, 3.0));
    assert!(said.contains("the files have 8 to 10"), "{said}");
}

#[test]
fn files_that_do_not_fit_have_no_average() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    soup(at, "a.safetensors", |i| i as f32, 1.0);
    let other = |name: &str, change: &dyn Fn(&mut Stored)| {
        let mut s = Stored::new();
        s.insert("w".into(), (Dtype::F32, vec![2, 4], bytes(&[0.0, 1.0, 0.0, 3.0, 0.0, 5.0, 0.0, 7.0])));
        s.insert("b".into(), (Dtype::F32, vec![2], bytes(&[0.0, 1.0])));
        let wide: Vec<u8> = (0..8).flat_map(|i| if i % 2 == 0 { [0, 0] } else { [0x80, 0x3f] }).collect();
        s.insert("half".into(), (Dtype::BF16, vec![2, 4], wide));
        s.insert("steps".into(), (Dtype::I64, vec![1], 7i64.to_le_bytes().to_vec()));
        change(&mut s);
        std::fs::write(at.join(name), file(&s)).unwrap();
    };
    let with = |change: &dyn Fn(&mut Stored), code: &str| {
        other("b.safetensors", change);
        refused(at, &["average", "a.safetensors", "b.safetensors", "-o", "out.safetensors"], 4, code);
        assert!(!at.join("out.safetensors").exists(), "{code}");
    };
    with(&|s| _ = s.remove("b"), "SP0403");
    with(&|s| _ = s.insert("more".into(), (Dtype::F32, vec![1], bytes(&[1.0]))), "SP0403");
    with(&|s| _ = s.insert("b".into(), (Dtype::F32, vec![1, 2], bytes(&[1.0, 2.0]))), "SP0404");
    with(&|s| _ = s.insert("b".into(), (Dtype::I32, vec![2], bytes(&[1.0, 2.0]))), "SP0405");
    with(&|s| _ = s.insert("steps".into(), (Dtype::I64, vec![1], 8i64.to_le_bytes().to_vec())), "SP0405");
    with(&|s| _ = s.insert("b".into(), (Dtype::F32, vec![2], bytes(&[1.0, f32::NAN]))), "SP0406");
    other("b.safetensors", &|_| {});
    let both = ["average", "a.safetensors", "b.safetensors", "-o"];
    let run = |more: &[&str]| {
        refused(at, &[&both[..], more].concat(), 2, if more[0] == "a.safetensors" { "SP0409" } else { "SP0107" })
    };
    run(&["a.safetensors"]);
    run(&["out.safetensors", "--shares", "1"]);
    run(&["out.safetensors", "--shares", "0.5,0.6"]);
    run(&["out.safetensors", "--shares=-0.5,1.5"]);
    refused(at, &["average", "a.safetensors", "none.safetensors", "-o", "out.safetensors"], 4, "SP0401");
    assert_eq!(spc(at, ["average", "a.safetensors", "-o", "out.safetensors"]).code, 2);
}

/// Three weights of 96 x 96 and biases, in 16 x 1 columns, and 16 rows of data, for a function of this body.
fn siblings(body: &str) -> TempDir {
    let text = format!(
        "use std.nn\naxis B = 1..64\ndata d from npy \"x.npy\" {{ x: f32[I] }}\n\
         model net from safetensors \"net.safetensors\" {{ axes {{ I = 96, O = 96, N = 40 }} a: f32[O, I]  b: f32[O, I]  c: f32[O, I]\n\
         p: f32[O]  q: f32[O]  r: f32[O] }}\n{body}\n\
         require r: keep 25% of tile(out: 16, in: 1) per tensor on net.{{a, b, c}}\n\
         run test {{ call: f(d.x)  report: [cosine, size, time] }}\ntarget t = cpu(threads: 1) {{ B = 16 }}\n"
    );
    let mut rng = Rng(9);
    let mut stored = Stored::new();
    for (name, shape) in [("a", vec![96, 96]), ("b", vec![96, 96]), ("c", vec![96, 96])] {
        let w: Vec<f32> = (0..96 * 96).map(|_| rng.float()).collect();
        stored.insert(name.into(), (Dtype::F32, shape, bytes(&w)));
    }
    for name in ["p", "q", "r"] {
        let w: Vec<f32> = (0..96).map(|_| rng.float()).collect();
        stored.insert(name.into(), (Dtype::F32, vec![96], bytes(&w)));
    }
    let dir = folder(&text, &file(&stored));
    let x: Vec<f32> = (0..16 * 96).map(|_| rng.float()).collect();
    spc_io::write_npy(&dir.path().join("x.npy"), &spc_io::Tensor::new(vec![16, 96], x).unwrap()).unwrap();
    dir
}

/// Linears that read one value are one in the sparse program and several in the dense one, with their biases.
#[test]
fn a_run_compares_merged_layers_with_what_they_are_made_of() {
    let dir = siblings(
        "fn f(x: f32[B, I]) -> y: f32[B, O] {\n\
         y = nn.linear(x, net.a, net.p) * nn.linear(x, net.b, net.q) + nn.linear(x, net.c, net.r)\n}",
    );
    let said = ok(spc(dir.path(), ["run", "net.sp"])).stdout;
    assert!(said.contains("net.{a,"), "{said}");
    // Three matrices and three biases of f32.
    assert!(said.lines().any(|l| l.contains("total") && l.contains("109.1 KiB")), "{said}");
}

/// What is read at affine places, joined or chosen from must be a product of its own; the plan says so, and stays right.
#[test]
fn products_that_are_read_at_places_are_not_merged() {
    let dir = siblings(
        "fn f(x: f32[B, I]) -> (y: f32[B, N], z: f32[B, O], best: i32[B]) {\n\
         u = nn.linear(x, net.a, net.p)\n  v = nn.linear(x, net.b, net.q)\n  w = nn.linear(x, net.c, net.r)\n\
         y[b, n] = v[b, 2 * n + 3] * w[b, 3 * n - 2] + u[b, n + 50]\n\
         z[b, o] = max(w[b, o - 1], v[b, o + 1])\n\
         best[b] = argmax(w[b, o] over o)\n}",
    );
    let said = ok(spc(dir.path(), ["explain", "net.sp"])).stdout;
    assert!(said.contains("its product is read by an operator that needs it in one piece"), "{said}");
    for isa in ["native", "clif"] {
        let said = ok(spc(dir.path(), ["verify", "net.sp", "--isa", isa])).stdout;
        assert!(said.contains("3 random calls"), "{said}");
    }
}
