//! The command line from outside: results, exit codes, messages, and that bad input leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[path = "commands/arch.rs"]
mod arch;
#[path = "commands/data.rs"]
mod data;
#[path = "commands/edges.rs"]
mod edges;
#[path = "commands/quantised.rs"]
mod quantised;
mod support;
#[path = "commands/tools.rs"]
mod tools;

use safetensors::tensor::{Dtype, TensorView, serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::spc::{Ran, listing, spc};
use support::{Rng, root};
use tempfile::TempDir;

fn top() -> PathBuf {
    root().parent().unwrap().to_path_buf()
}

const NET: &str = "\
use std.nn
use std.patterns.nm
axis B = 1..64
model net from safetensors \"net.safetensors\" {
  axes { I = 16, N = 32, O = 4 }
  w1: f32[N, I]  b1: f32[N]
  w2: f32[O, N]
}
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(nn.relu(nn.linear(x, net.w1, net.b1)), net.w2) }
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
require half: nm(2, 4) on net.w2
target t = cpu(threads: 1) { B = 48 }
";

type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The weights of `NET`, and one tensor that it does not declare.
fn weights() -> Stored {
    let mut rng = Rng(3);
    let mut out = Stored::new();
    for (name, shape) in [("w1", vec![32, 16]), ("b1", vec![32]), ("w2", vec![4, 32])] {
        let n = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..n).map(|_| rng.float()).collect();
        out.insert(name.into(), (Dtype::F32, shape, bytes(&values)));
    }
    let ids: Vec<u8> = (0..3i64).flat_map(i64::to_le_bytes).collect();
    out.insert("extra.ids".into(), (Dtype::I64, vec![3], ids));
    out
}

fn file(stored: &Stored) -> Vec<u8> {
    let views = stored.iter().map(|(n, (t, s, b))| (n.clone(), TensorView::new(*t, s.clone(), b).unwrap()));
    let meta = [("source".to_string(), "test".to_string())].into_iter().collect();
    serialize(views, Some(meta)).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// A folder with `net.sp` and `net.safetensors`.
fn folder(text: &str, stored: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), text).unwrap();
    std::fs::write(dir.path().join("net.safetensors"), stored).unwrap();
    dir
}

fn good() -> TempDir {
    folder(NET, &file(&weights()))
}

fn ok(r: Ran) -> Ran {
    assert_eq!(r.code, 0, "stdout:\n{}\nstderr:\n{}", r.stdout, r.stderr);
    r
}

/// The run ends with this exit code and names this diagnostic; nothing but `files` is in the folder afterwards.
fn refused(dir: &Path, args: &[&str], exit: i32, code: &str) -> Ran {
    let before = listing(dir);
    let r = spc(dir, args);
    assert_eq!(r.code, exit, "{args:?}\nstdout:\n{}\nstderr:\n{}", r.stdout, r.stderr);
    assert!(r.stderr.contains(code), "{args:?}: no {code} in\n{}", r.stderr);
    assert_eq!(listing(dir), before, "{args:?} left something behind");
    r
}

/// A constraint that cannot be carried out is never left out in silence.
#[test]
fn links_of_data_are_checked_and_never_run() {
    let links = "\
data graph from npz \"graph.npz\" { axes { V = 5 } link: relation[V, V] }
require edges: keep 50% of pairs(graph.link, undirected) per model by random(1)
";
    let dir = folder(&format!("{NET}{links}"), &file(&weights()));
    let r = ok(spc(dir.path(), ["check", "net.sp"]));
    assert_eq!((r.stdout.as_str(), r.stderr.as_str()), ("", ""));
    std::fs::write(dir.path().join("g.safetensors"), file(&weights())).unwrap();
    let step =
        ["step", "net.sp", "--weights", "net.safetensors", "--grads", "g.safetensors", "--step", "0", "--of", "4"];
    let step = [&step[..], &["--lr", "0.1", "--out", "out"]].concat();
    refused(dir.path(), &step, 1, "SP0006");
    refused(dir.path(), &["export", "net.sp", "--out", "out.safetensors"], 1, "SP0006");
    refused(dir.path(), &["compile", "net.sp", "--out", "out"], 1, "SP0006");
}

#[test]
fn check_is_silent_on_a_sound_program() {
    let dir = good();
    let r = ok(spc(dir.path(), ["check", "net.sp"]));
    assert_eq!((r.stdout.as_str(), r.stderr.as_str()), ("", ""));
}

#[test]
fn check_prints_its_stages() {
    let dir = good();
    let r = ok(spc(dir.path(), ["check", "net.sp", "--emit=ast,core,ir"]));
    assert!(r.stdout.contains("keep 2 of 4 of elements per tile(in: 4) by abs"), "{}", r.stdout);
    assert!(r.stdout.contains("graph \"f\" {"), "{}", r.stdout);
}

#[test]
fn check_warns_where_the_weight_file_is_missing() {
    let dir = good();
    std::fs::remove_file(dir.path().join("net.safetensors")).unwrap();
    let r = ok(spc(dir.path(), ["check", "net.sp"]));
    assert!(r.stderr.contains("SP0407"), "{}", r.stderr);
    for command in ["explain", "verify", "compile"] {
        refused(dir.path(), &[command, "net.sp"], 4, "SP0401");
    }
}

#[test]
fn messages_as_json_have_spans() {
    let dir = folder("axis B = 1..4\nfn f(x: f32[B]) -> y: f32[B] { y = x + z }\n", b"");
    let r = spc(dir.path(), ["check", "net.sp", "--message-format", "json"]);
    assert_eq!(r.code, 1);
    let v: serde_json::Value = serde_json::from_str(r.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(v["code"]["code"], "SP0101", "{v}");
    assert_eq!(v["level"], "error");
    assert_eq!(v["spans"][0]["line_start"], 2);
    let r = spc(dir.path(), ["check", "net.sp", "--message-format", "short"]);
    assert!(r.stderr.starts_with("net.sp:2:40: error[SP0101]"), "{}", r.stderr);
}

#[test]
fn compile_writes_a_whole_folder_that_runs_and_verifies() {
    let dir = good();
    ok(spc(dir.path(), ["compile", "net.sp", "--target", "t", "-o", "out"]));
    let files = listing(&dir.path().join("out"));
    for f in ["manifest.json", "plan.json", "weights.safetensors"] {
        assert!(files.iter().any(|x| x == f), "{files:?}");
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["format"], 1, "{manifest}");
    ok(spc(dir.path(), ["verify", "out"]));

    // The folder alone computes what the program computes.
    let x: Vec<f32> = (0..5 * 16).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = ndarray::Array2::from_shape_vec((5, 16), x).unwrap().into_dyn();
    spc_io::write_npy(
        &dir.path().join("x.npy"),
        &spc_io::Tensor::new(vec![5, 16], x.as_slice().unwrap().to_vec()).unwrap(),
    )
    .unwrap();
    ok(spc(dir.path(), ["run", "net.sp", "--fn", "f", "--in", "x=x.npy", "--out", "y=a.npy"]));
    ok(spc(dir.path(), ["run", "out", "--fn", "f", "--in", "x=x.npy", "--out", "y=b.npy"]));
    let (a, b) = (std::fs::read(dir.path().join("a.npy")).unwrap(), std::fs::read(dir.path().join("b.npy")).unwrap());
    assert_eq!(a, b);
}

#[test]
fn the_same_input_compiles_to_the_same_bytes() {
    let dir = good();
    for out in ["a", "b"] {
        ok(spc(dir.path(), ["compile", "net.sp", "-o", out]));
    }
    for f in listing(&dir.path().join("a")) {
        let read = |o: &str| std::fs::read(dir.path().join(o).join(&f)).unwrap();
        assert_eq!(read("a"), read("b"), "{f}");
    }
}

#[test]
fn a_changed_folder_is_refused() {
    for name in ["plan.json", "weights.safetensors", "manifest.json"] {
        let dir = good();
        ok(spc(dir.path(), ["compile", "net.sp", "-o", "out"]));
        let path = dir.path().join("out").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let r = spc(dir.path(), ["verify", "out"]);
        assert_eq!(r.code, 4, "{name}: {}", r.stderr);
        assert!(r.stderr.contains("SP060") || r.stderr.contains("SP0402"), "{name}: {}", r.stderr);
        std::fs::remove_file(&path).unwrap();
        let r = spc(dir.path(), ["verify", "out"]);
        assert_eq!(r.code, 4, "{name} missing: {}", r.stderr);
    }
}

#[test]
fn a_plan_of_another_program_is_refused() {
    let dir = good();
    ok(spc(dir.path(), ["compile", "net.sp", "-o", "out"]));
    let other = NET.replace("nn.relu", "nn.gelu");
    std::fs::write(dir.path().join("net.sp"), other).unwrap();
    ok(spc(dir.path(), ["compile", "net.sp", "-o", "other"]));
    // The other program's plan, with the manifest made to agree with it.
    let (out, other) = (dir.path().join("out"), dir.path().join("other"));
    let read = |p: &Path, f: &str| std::fs::read_to_string(p.join(f)).unwrap();
    let (old, new) = (read(&out, "plan.json"), read(&other, "plan.json"));
    assert_ne!(old, new);
    let sums = |m: &str| -> serde_json::Value { serde_json::from_str::<serde_json::Value>(m).unwrap() };
    let find = |v: &serde_json::Value| v["files"]["plan.json"].as_str().map(str::to_string);
    let (a, b) = (find(&sums(&read(&out, "manifest.json"))), find(&sums(&read(&other, "manifest.json"))));
    let (a, b) = (a.expect("the manifest has the plan's hash"), b.unwrap());
    std::fs::write(out.join("plan.json"), new).unwrap();
    std::fs::write(out.join("manifest.json"), read(&out, "manifest.json").replace(&a, &b)).unwrap();
    let r = spc(dir.path(), ["verify", "out"]);
    assert_eq!(r.code, 4, "{}", r.stderr);
    assert!(r.stderr.contains("SP0603"), "{}", r.stderr);
}

#[test]
fn cuda_text_is_written_without_a_gpu() {
    let dir = good();
    let r = ok(spc(dir.path(), ["compile", "net.sp", "--target", "cuda", "-o", "gpu"]));
    let files = listing(&dir.path().join("gpu"));
    for f in ["kernels.cu", "manifest.json", "plan.json", "weights.safetensors"] {
        assert!(files.iter().any(|x| x == f), "{files:?}");
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("gpu/manifest.json")).unwrap()).unwrap();
    if manifest.to_string().contains("\"images\":[]") {
        assert!(r.stderr.contains("SP0604"), "{}", r.stderr);
    }
    let text = std::fs::read_to_string(dir.path().join("gpu/kernels.cu")).unwrap();
    assert_eq!(text.matches("extern \"C\" __global__").count(), 2, "one kernel a linear");
}

#[test]
fn export_keeps_names_and_writes_exact_zeros() {
    let dir = good();
    ok(spc(dir.path(), ["export", "net.sp", "--emit=safetensors", "-o", "sparse.safetensors"]));
    let data = std::fs::read(dir.path().join("sparse.safetensors")).unwrap();
    let (_, meta) = safetensors::SafeTensors::read_metadata(&data).unwrap();
    assert_eq!(meta.metadata().as_ref().unwrap()["source"], "test", "the file's metadata is kept");
    let out = safetensors::SafeTensors::deserialize(&data).unwrap();
    let source = weights();
    let mut names: Vec<&str> = out.names().into_iter().collect();
    names.sort_unstable();
    assert_eq!(names, source.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, (dtype, shape, old)) in &source {
        let t = out.tensor(name).unwrap();
        assert_eq!((t.dtype(), t.shape()), (*dtype, shape.as_slice()), "{name}");
        if !name.starts_with('w') {
            assert_eq!(t.data(), old, "{name} is passed through");
            continue;
        }
        let (old, new) = (floats(old), floats(t.data()));
        for (a, b) in old.iter().zip(&new) {
            assert!(b.to_bits() == 0 || a.to_bits() == b.to_bits(), "{name}: {a} became {b}");
        }
        let zeros = new.iter().filter(|v| **v == 0.0).count();
        let expected = if name == "w1" { old.len() * 3 / 4 } else { old.len() / 2 };
        assert_eq!(zeros, expected, "{name}");
    }
    // Exporting the result again changes nothing.
    std::fs::write(dir.path().join("net.safetensors"), &data).unwrap();
    let r = ok(spc(dir.path(), ["export", "net.sp", "--emit=safetensors", "-o", "again.safetensors"]));
    assert!(r.stderr.contains("SP0307"), "a constraint that removes nothing is reported: {}", r.stderr);
    assert_eq!(std::fs::read(dir.path().join("again.safetensors")).unwrap(), data);
}

#[test]
fn verify_passes_and_explain_gives_reasons() {
    let dir = good();
    ok(spc(dir.path(), ["verify", "net.sp"]));
    let r = ok(spc(dir.path(), ["explain", "net.sp"]));
    for word in ["net.w1", "net.w2", "dense(16)", "vx1(16)", "csr"] {
        assert!(r.stdout.contains(word), "no {word} in\n{}", r.stdout);
    }
    let r = ok(spc(dir.path(), ["explain", "net.sp", "--json"]));
    serde_json::from_str::<serde_json::Value>(&r.stdout).unwrap();
    let r = ok(spc(dir.path(), ["explain", "SP0201"]));
    assert!(r.stdout.contains("nominal"), "{}", r.stdout);
}

#[test]
fn slices_are_projected_verified_exported_and_explained() {
    let head = NET.split("require cols").next().unwrap();
    let text = format!(
        "{head}group neuron = slices(N) of net\nrequire half: keep 50% of neuron per model by norm2 multiple 8\n\
         target t = cpu(threads: 1) {{ B = 48 }}\n"
    );
    let dir = folder(&text, &file(&weights()));
    ok(spc(dir.path(), ["verify", "net.sp"]));
    let r = ok(spc(dir.path(), ["explain", "net.sp"]));
    for words in ["half         32    16", "32: net.w1[N, :], net.b1[N], net.w2[:, N]", "the values f32[B, N]"] {
        assert!(r.stdout.contains(words), "no {words} in\n{}", r.stdout);
    }
    ok(spc(dir.path(), ["export", "net.sp", "--emit=safetensors", "-o", "out.safetensors"]));
    let data = std::fs::read(dir.path().join("out.safetensors")).unwrap();
    let out = safetensors::SafeTensors::deserialize(&data).unwrap();
    let values = |n: &str| floats(out.tensor(n).unwrap().data());
    let (w1, b1, w2) = (values("w1"), values("b1"), values("w2"));
    let gone = |n: usize| {
        let zero = |v: &[f32]| v.iter().filter(|x| **x == 0.0).count();
        let column: Vec<f32> = w2.iter().skip(n).step_by(32).copied().collect();
        [zero(&w1[n * 16..][..16]) == 16, b1[n] == 0.0, zero(&column) == 4]
    };
    let all: Vec<[bool; 3]> = (0..32).map(gone).collect();
    assert!(all.iter().all(|g| g.iter().all(|x| *x == g[0])), "a neuron goes whole: {all:?}");
    assert_eq!(all.iter().filter(|g| g[0]).count(), 16);
}

#[test]
fn compile_prints_plan_clif_and_cuda() {
    let dir = good();
    for (stage, word) in [("plan", "\"linears\""), ("clif", "function"), ("cuda", "__global__"), ("ir", "graph \"f\"")]
    {
        let r = ok(spc(dir.path(), ["compile", "net.sp", &format!("--emit={stage}")]));
        assert!(r.stdout.contains(word), "{stage}: {}", r.stdout);
    }
}

#[test]
fn wrong_usage_is_exit_code_two() {
    let dir = good();
    assert_eq!(spc(dir.path(), ["chekc", "net.sp"]).code, 2);
    assert_eq!(spc(dir.path(), ["compile", "net.sp", "--target", "laptop"]).code, 2);
    assert_eq!(spc(dir.path(), ["run", "net.sp"]).code, 2, "there is no run in the file");
    assert_eq!(spc(dir.path(), ["run", "net.sp", "--bind", "nett=x"]).code, 2);
}

#[test]
fn an_expectation_that_fails_is_exit_code_three() {
    let dir = folder(&format!("{NET}expect sparsity(net.w1) >= 90%\n"), &file(&weights()));
    let r = refused(dir.path(), &["verify", "net.sp"], 3, "SP0501");
    assert!(r.stderr.contains("sparsity(net.w1)"), "{}", r.stderr);
}

/// `verify FILE` looks at what would be exported; a weight file that the caller binds is checked as it is.
#[test]
fn verify_names_tensor_row_and_group_of_a_broken_constraint() {
    let dir = good();
    ok(spc(dir.path(), ["compile", "net.sp", "-o", "out"]));
    ok(spc(dir.path(), ["verify", "out"]));
    let r = spc(dir.path(), ["verify", "net.sp", "--bind", "net=net.safetensors"]);
    assert_eq!(r.code, 3, "{}", r.stderr);
    for word in ["SP0502", "net.w1", "row", "group"] {
        assert!(r.stderr.contains(word), "no {word} in {}", r.stderr);
    }
}

// ---- bad input

#[test]
fn a_missing_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &["check", "none.sp"], 4, "SP0401");
}

#[test]
fn a_truncated_weight_file_is_refused() {
    let whole = file(&weights());
    for n in [0, 7, 8, 40, whole.len() / 2, whole.len() - 1] {
        let dir = folder(NET, &whole[..n]);
        refused(dir.path(), &["check", "net.sp"], 4, "SP0402");
        refused(dir.path(), &["compile", "net.sp", "-o", "out"], 4, "SP0402");
        refused(dir.path(), &["export", "net.sp", "--emit=safetensors", "-o", "o.safetensors"], 4, "SP0402");
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused() {
    let mut whole = file(&weights());
    whole[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    refused(folder(NET, &whole).path(), &["compile", "net.sp", "-o", "out"], 4, "SP0402");
    let text = format!("{{\"w1\":{{\"dtype\":\"F32\",\"shape\":[32,16],\"data_offsets\":[0,{}]}}}}", u64::MAX);
    let mut lying = (text.len() as u64).to_le_bytes().to_vec();
    lying.extend(text.bytes());
    refused(folder(NET, &lying).path(), &["compile", "net.sp", "-o", "out"], 4, "SP0402");
}

#[test]
fn a_missing_tensor_is_refused_with_the_closest_name() {
    let mut stored = weights();
    let w1 = stored.remove("w1").unwrap();
    stored.insert("w1x".into(), w1);
    let dir = folder(NET, &file(&stored));
    let r = refused(dir.path(), &["check", "net.sp"], 4, "SP0403");
    assert!(r.stderr.contains("net.sp:6"), "{}", r.stderr);
    refused(dir.path(), &["compile", "net.sp", "-o", "out"], 4, "SP0403");
}

#[test]
fn a_wrong_shape_is_refused() {
    let mut stored = weights();
    stored.get_mut("w1").unwrap().1 = vec![16, 32];
    refused(folder(NET, &file(&stored)).path(), &["compile", "net.sp", "-o", "out"], 4, "SP0404");
}

#[test]
fn a_type_that_does_not_convert_is_refused() {
    let mut stored = weights();
    let b1 = stored.get_mut("b1").unwrap();
    *b1 = (Dtype::F64, vec![32], vec![0; 256]);
    refused(folder(NET, &file(&stored)).path(), &["compile", "net.sp", "-o", "out"], 4, "SP0405");
}

#[test]
fn a_type_that_widens_is_converted() {
    let mut stored = weights();
    let half: Vec<u8> = (0..32u16).flat_map(|i| (0x3c00u16 + i).to_le_bytes()).collect();
    stored.insert("b1".into(), (Dtype::F16, vec![32], half));
    ok(spc(folder(NET, &file(&stored)).path(), ["verify", "net.sp"]));
}

#[test]
fn nan_and_infinity_in_weights_are_refused() {
    for (bad, index, place) in [(f32::NAN, 37, "[2, 5]"), (f32::INFINITY, 500, "[31, 4]")] {
        let mut stored = weights();
        let w1 = &mut stored.get_mut("w1").unwrap().2;
        w1[index * 4..index * 4 + 4].copy_from_slice(&bad.to_le_bytes());
        let dir = folder(NET, &file(&stored));
        for args in [&["compile", "net.sp", "-o", "out"][..], &["export", "net.sp", "--emit=safetensors", "-o", "o"]] {
            let r = refused(dir.path(), args, 4, "SP0406");
            assert!(r.stderr.contains("w1") && r.stderr.contains(place), "{}", r.stderr);
        }
    }
}

#[test]
fn wrong_programs_are_exit_code_one() {
    let cases = [
        (NET.replace("f32[N, I]", "f32[N, Q]"), "SP0202"),
        (NET.replace("nm(2, 4) on net.w2", "nm(2, 3) on net.w2"), "SP0301"),
        (NET.replace("on net.w1\n", "on net.{w9}\n"), "SP0302"),
        (NET.replace("axis B", "axes B"), "SP0001"),
    ];
    for (text, code) in cases {
        let dir = folder(&text, &file(&weights()));
        for args in [&["check", "net.sp"][..], &["compile", "net.sp", "-o", "out"]] {
            refused(dir.path(), args, 1, code);
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("fn f(x) = {}x{}\n", "(".repeat(10_000), ")".repeat(10_000));
    refused(folder(&deep, b"").path(), &["check", "net.sp"], 1, "SP0003");
}

#[test]
fn megabytes_of_noise_are_refused() {
    let mut rng = Rng(11);
    let noise: Vec<u8> = (0..20 << 17).flat_map(|_| rng.bits().to_le_bytes()).collect();
    assert_eq!(noise.len(), 20 << 20);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), noise).unwrap();
    let r = spc(dir.path(), ["check", "net.sp"]);
    assert_eq!(r.code, 1, "{}", r.stderr);
    assert!(r.stderr.contains("SP000"), "{}", r.stderr);
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let dir = good();
    let write = |name: &str, shape: &[usize]| {
        let t = spc_io::Tensor::new(shape.to_vec(), vec![0.5f32; shape.iter().product()]).unwrap();
        spc_io::write_npy(&dir.path().join(name), &t).unwrap();
    };
    write("narrow.npy", &[5, 15]);
    write("long.npy", &[65, 16]);
    write("flat.npy", &[16]);
    for f in ["narrow.npy", "long.npy", "flat.npy"] {
        refused(
            dir.path(),
            &["run", "net.sp", "--fn", "f", "--in", &format!("x={f}"), "--out", "y=y.npy"],
            4,
            "SP0504",
        );
    }
    refused(dir.path(), &["run", "net.sp", "--fn", "f", "--out", "y=y.npy"], 4, "SP0504");
    refused(dir.path(), &["run", "net.sp", "--fn", "f", "--in", "z=flat.npy", "--out", "y=y.npy"], 4, "SP0504");
    refused(dir.path(), &["run", "net.sp", "--fn", "f", "--in", "x=none.npy", "--out", "y=y.npy"], 4, "SP0401");
}

#[test]
fn ids_out_of_range_are_refused() {
    let text = "axis B = 1..8\nmodel net from safetensors \"net.safetensors\" { axes { V = 32 } b1: f32[V] }\n\
                fn f(ids: i32[B]) -> y: f32[B] { y[b] = net.b1[ids[b]] }\n";
    let dir = folder(text, &file(&weights()));
    for (name, ids) in [("low.npy", [-1, 0]), ("high.npy", [31, 32])] {
        let t = spc_io::Tensor::new(vec![2], ids.to_vec()).unwrap();
        spc_io::write_npy(&dir.path().join(name), &t).unwrap();
        refused(
            dir.path(),
            &["run", "net.sp", "--fn", "f", "--in", &format!("ids={name}"), "--out", "y=y.npy"],
            4,
            "SP0505",
        );
    }
}

// ---- data

#[test]
fn a_run_reads_npy() {
    let text = format!(
        "{NET}data d from npy \"x.npy\" {{ x: f32[I] }}\nrun r {{ call: f(d.x) report: [cosine, pairs, size, time] }}\n"
    );
    let dir = folder(&text, &file(&weights()));
    let x: Vec<f32> = (0..70 * 16).map(|i| (i as f32 * 0.7).cos()).collect();
    spc_io::write_npy(&dir.path().join("x.npy"), &spc_io::Tensor::new(vec![70, 16], x).unwrap()).unwrap();
    // 70 rows, while B holds at most 64: computed in parts.
    let r = ok(spc(dir.path(), ["run", "net.sp"]));
    for word in ["70 rows", "cosine", "pair", "net.w1", "vx1(16)"] {
        assert!(r.stdout.contains(word), "no {word} in\n{}", r.stdout);
    }
    let threads = |n: &str| {
        ok(spc(dir.path(), ["run", "net.sp", "--fn", "f", "--in", "x=y.npy", "--out", "y=o.npy", "--threads", n]))
    };
    std::fs::copy(dir.path().join("x.npy"), dir.path().join("y.npy")).unwrap();
    assert_eq!(
        spc(dir.path(), ["run", "net.sp", "--fn", "f", "--in", "x=y.npy"]).code,
        4,
        "70 rows are more than B has"
    );
    let t = spc_io::Tensor::new(vec![48, 16], vec![0.25f32; 48 * 16]).unwrap();
    spc_io::write_npy(&dir.path().join("y.npy"), &t).unwrap();
    let outputs: Vec<Vec<u8>> = ["1", "2", "5"]
        .iter()
        .map(|n| {
            threads(n);
            std::fs::read(dir.path().join("o.npy")).unwrap()
        })
        .collect();
    assert!(outputs.windows(2).all(|w| w[0] == w[1]), "the number of threads changes the result");
}

/// A WordPiece tokenizer of a few words.
fn tokenizer() -> serde_json::Value {
    let special = |id: &str, n: u64| serde_json::json!({"id": id, "ids": [n], "tokens": [id]});
    let token = |id: &str| serde_json::json!({"SpecialToken": {"id": id, "type_id": 0}});
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "decoder": null,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [],
            "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)}
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "the": 4, "cat": 5, "##s": 6, "sat": 7, ".": 8}
        }
    })
}

#[test]
fn a_run_reads_text_through_a_tokenizer() {
    let text = "\
use std.nn
axis B = 1..8, T = 1..16
model net from safetensors \"net.safetensors\" { axes { V = 32, D = 16 } w1: f32[V, D] }
fn f(ids: i32[B, T], real: bool[B, T]) -> y: f32[B, D] { y = nn.mean_pool(nn.embedding(ids, net.w1), real) }
data d from text \"lines.txt\" { ids, real = wordpiece(\"tokenizer.json\", length: 6) }
run r { call: f(d.ids, d.real) report: [pairs] }
";
    let dir = folder(text, &file(&weights()));
    std::fs::write(dir.path().join("lines.txt"), "The cats sat.\nThe cat\n").unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer().to_string()).unwrap();
    let r = ok(spc(dir.path(), ["run", "net.sp"]));
    assert!(r.stdout.contains("2 rows"), "{}", r.stdout);
    let same = ok(spc(dir.path(), ["run", "net.sp", "--text", "the cat", "--text", "The  CAT", "--text", "sat"]));
    assert!(same.stdout.contains("3 rows"), "{}", same.stdout);
    let row = same.stdout.lines().find(|l| l.contains("rows 1 and 2")).unwrap().to_string();
    assert!(row.contains("1.0000"), "equal texts have cosine 1: {row}");
    std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    refused(dir.path(), &["run", "net.sp"], 4, "SP0410");
    std::fs::remove_file(dir.path().join("lines.txt")).unwrap();
    refused(dir.path(), &["run", "net.sp"], 4, "SP04");
}

// ---- the examples

#[test]
fn digits_runs_and_keeps_its_promises() {
    let r = ok(spc(&top(), ["run", "examples/digits/digits.sp", "--json"]));
    let v: serde_json::Value = serde_json::from_str(&r.stdout).unwrap();
    let find = |key: &str| -> f64 { v["accuracy"][key].as_f64().unwrap_or_else(|| panic!("no accuracy.{key} in {v}")) };
    let (dense, sparse) = (find("dense"), find("sparse"));
    assert!(dense >= 0.97, "dense accuracy {dense}");
    assert!(sparse >= dense - 0.015, "sparse accuracy {sparse}, dense {dense}");
}

#[test]
fn the_embedding_example_runs() {
    let out = std::process::Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "-p", "spc-embed-example"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!out.stdout.is_empty());
}

/// The dense MiniLM agrees with an independent implementation, and the compiled sparse one with the interpreter. The
/// model is fetched by `examples/minilm/get.sh`; without it this says so and passes.
#[test]
fn minilm_agrees_with_its_reference() {
    let folder = top().join("examples/minilm");
    if !folder.join("model.safetensors").exists() {
        spc_base::skipped("examples/minilm/model.safetensors is not there");
        return;
    }
    let reference: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let rows = |key: &str| -> Vec<Vec<f64>> {
        let list = reference[key].as_array().unwrap();
        list.iter().map(|r| r.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()).collect()
    };
    let (ids, real, want) = (rows("ids"), rows("real"), rows("sentence"));
    let shape = vec![ids.len(), ids[0].len()];
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<i32> = ids.concat().iter().map(|v| *v as i32).collect();
    let real: Vec<bool> = real.concat().iter().map(|v| *v != 0.0).collect();
    spc_io::write_npy(&dir.path().join("ids.npy"), &spc_io::Tensor::new(shape.clone(), ids).unwrap()).unwrap();
    spc_io::write_npy(&dir.path().join("real.npy"), &spc_io::Tensor::new(shape, real).unwrap()).unwrap();
    let program = std::fs::read_to_string(folder.join("minilm.sp")).unwrap();
    let dense: Vec<&str> = program.lines().filter(|l| !l.starts_with("require") && !l.starts_with("expect")).collect();
    std::fs::write(dir.path().join("dense.sp"), dense.join("\n")).unwrap();
    let bind = format!("mini={}", folder.join("model.safetensors").display());
    let inputs = ["--in", "ids=ids.npy", "--in", "real=real.npy", "--out", "sentence=y.npy"];
    ok(spc(dir.path(), ["run", "dense.sp", "--fn", "embed", "--bind", &bind].into_iter().chain(inputs)));
    let y = spc_io::read_npy(&dir.path().join("y.npy")).unwrap();
    let y = y.as_f32().unwrap();
    let worst = want.concat().iter().zip(y).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
    assert!(worst <= 1e-4, "dense MiniLM differs from the reference by {worst}");
    let r = ok(spc(&folder, ["verify", "minilm.sp"]));
    let error = r.stdout.split("greatest error ").nth(1).and_then(|t| t.split(',').next()).unwrap();
    assert!(error.parse::<f64>().unwrap() <= 1e-4, "{}", r.stdout);
}

/// A folder of library modules, by paths in it.
fn own_library(dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join("lib").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

const DOUBLED: &str = "\
use std.nn
use std.own
axis B = 1..4, I = 2
fn f(x: f32[B, I]) -> y: f32[B, I] { y = own.twice(nn.relu(x)) }
";

const OWN: &[(&str, &str)] = &[
    ("nn/relu.sp", "/// Keeps its sign.\nfn relu(x: float[..]) -> y: float[..] { y = -x }\n"),
    ("own/twice.sp", "/// Two of it.\nfn twice(x: float[..]) -> y: float[..] { y = 2 * x }\n"),
    ("README.md", "no module"),
    ("loose.sp", "no module either"),
];

#[test]
fn a_module_of_the_own_library_replaces_the_embedded_one() {
    let dir = folder(DOUBLED, &[]);
    own_library(dir.path(), OWN);
    let x = spc_io::Tensor::new(vec![1, 2], vec![1.0f32, -3.0]).unwrap();
    spc_io::write_npy(&dir.path().join("x.npy"), &x).unwrap();
    let call = ["run", "net.sp", "--fn", "f", "--in", "x=x.npy", "--out", "y=y.npy"];
    let y = || spc_io::read_npy(&dir.path().join("y.npy")).unwrap().as_f32().unwrap().to_vec();
    ok(spc(dir.path(), [&call[..], &["--std", "lib"]].concat()));
    assert_eq!(y(), [-2.0, 6.0]);
    let command = || {
        let mut command = support::spc::spc_command();
        command.current_dir(dir.path());
        command
    };
    ok(Ran::of(&command().args(["check", "net.sp"]).env("SPC_STD", "lib").output().unwrap()));
    // The option wins.
    let both = command().args(["check", "net.sp", "--std", "lib"]).env("SPC_STD", "nowhere").output().unwrap();
    ok(Ran::of(&both));
    let r = spc(dir.path(), ["check", "net.sp"]);
    assert_eq!(r.code, 1, "{}", r.stderr);
    // The rest of a replaced module is gone.
    std::fs::write(dir.path().join("net.sp"), DOUBLED.replace("nn.relu", "nn.gelu")).unwrap();
    let r = spc(dir.path(), ["check", "net.sp", "--std", "lib"]);
    assert_eq!(r.code, 1, "{}", r.stderr);
    assert!(r.stderr.contains("gelu"), "{}", r.stderr);
}

#[test]
fn a_broken_module_of_the_own_library_is_reported_in_its_file() {
    let dir = folder(DOUBLED, &[]);
    own_library(dir.path(), OWN);
    own_library(dir.path(), &[("own/twice.sp", "fn twice(x: float[..]) -> y: float[..] { y = 2 * }\n")]);
    let r = refused(dir.path(), &["check", "net.sp", "--std", "lib", "--message-format", "short"], 1, "SP0001");
    assert!(r.stderr.replace('\\', "/").starts_with("lib/own/twice.sp:1:"), "{}", r.stderr);
    // So is a mistake that is none of syntax.
    own_library(dir.path(), &[("own/twice.sp", "fn twice(x: float[..]) -> y: float[..] { y = 2 * z }\n")]);
    let r = refused(dir.path(), &["check", "net.sp", "--std", "lib"], 1, "SP0101");
    assert!(r.stderr.replace('\\', "/").contains("lib/own/twice.sp:1:"), "{}", r.stderr);
}

#[test]
fn an_own_library_that_is_not_there_is_an_error() {
    let dir = good();
    for command in [&["check", "net.sp"][..], &["verify", "net.sp"], &["lsp"], &["std"]] {
        let args = [command, &["--std", "nowhere"]].concat();
        let r = refused(dir.path(), &args, 4, "SP0401");
        assert!(r.stderr.contains("there is no such folder"), "{}", r.stderr);
    }
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let r = refused(dir.path(), &["check", "net.sp", "--std", "empty"], 4, "SP0401");
    assert!(r.stderr.contains("has no modules"), "{}", r.stderr);
}

#[test]
fn the_library_can_be_read() {
    let dir = good();
    let r = ok(spc(dir.path(), ["std"]));
    assert!(r.stdout.contains("std.nn\n"), "{}", r.stdout);
    assert!(r.stdout.lines().any(|l| l.starts_with("  embedding ") && l.ends_with("One row of `table` per id.")));
    let r = ok(spc(dir.path(), ["std", "nn.embedding"]));
    let want = "/// One row of `table` per id.\nfn embedding(ids: i32[..], table: float[V, D]) -> y: float[.., D] {\n  \
                y[.., d] = table[ids[..], d]\n}\n";
    assert_eq!(r.stdout, want);
    assert!(ok(spc(dir.path(), ["std", "std.nn"])).stdout.contains("fn linear("));
    own_library(dir.path(), OWN);
    let r = ok(spc(dir.path(), ["std", "own", "--std", "lib"]));
    assert_eq!(r.stdout, OWN[1].1);
    refused(dir.path(), &["std", "nn.lineal"], 2, "SP0101");
    refused(dir.path(), &["std", "nm"], 2, "SP0101");
}
