//! Compiled folders, exported weights, verification and the embedding API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{B, Folder, NET, W, failed, names, session};
use ndarray::{Array2, array};
use spc::driver::{Compile, Emit, Options, Stage, Verify, compile_file, export_file, verify_path};
use spc::{Compiler, Program};
use spc_io::WeightFile;

fn compile(f: &Folder, emit: &[Stage]) -> String {
    let what = Compile { out: Some(f.path("out")), emit: emit.to_vec(), ..Compile::default() };
    session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap().text
}

fn load(f: &Folder) -> Result<Program, spc::Error> {
    Compiler::new().load(f.path("out"))
}

fn x() -> Array2<f32> {
    array![[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
}

/// What the constraint leaves of the weights: the first row 4 and -3, the second 3 and 4.
fn expected() -> Array2<f32> {
    array![[-2.0 + 0.5, 25.0 - 2.75], [3.0 + 0.5, 4.0 - 2.75], [1.0 + 0.5, 7.0 - 2.75]]
}

#[test]
fn a_folder_holds_what_the_manifest_says_and_computes_the_same() {
    let f = Folder::new();
    let text = compile(&f, &[Stage::Clif, Stage::Core]);
    assert!(text.contains("m.w") && text.contains("wrote"), "{text}");
    let files = ["core.sp", "kernels.clif", "manifest.json", "plan.json", "program.ir", "weights.safetensors"];
    assert_eq!(names(&f.path("out")), files);
    let program = load(&f).unwrap();
    assert_eq!(program.functions().collect::<Vec<_>>(), ["f"]);
    assert_eq!(program.inputs("f"), [("x".to_string(), "f32[B=?B, I=4]".to_string())]);
    let y = program.call("f", &[("x", &x())]).unwrap();
    assert_eq!(y.f32("y").unwrap(), expected().into_dyn());
    assert!(y.i32("y").is_none() && y.f32("z").is_none());
    // Again over itself, and the same bytes both times.
    let before = std::fs::read(f.path("out/manifest.json")).unwrap();
    compile(&f, &[Stage::Clif, Stage::Core]);
    assert_eq!(std::fs::read(f.path("out/manifest.json")).unwrap(), before);
    let done = session(Options::default(), |s| verify_path(s, &f.path("out"), &Verify::default())).0.unwrap();
    assert!(done.findings.is_empty() && done.text.contains("half"), "{}", done.text);
}

#[test]
fn a_folder_that_was_touched_is_refused() {
    let f = Folder::new();
    for name in ["plan.json", "program.ir", "weights.safetensors"] {
        compile(&f, &[]);
        let path = f.path("out").join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let e = load(&f).unwrap_err();
        assert_eq!((e.codes(), e.exit_code()), (&["SP0602".to_string()][..], 4), "{name}: {e}");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(load(&f).unwrap_err().codes(), ["SP0602"], "{name}");
    }
    compile(&f, &[]);
    for (from, to) in [("\"format\": 1", "\"format\": 2"), ("\"format\"", "\"fromat\""), ("plan.json", "../plan.json")]
    {
        let path = f.path("out/manifest.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace(from, to)).unwrap();
        assert_eq!(load(&f).unwrap_err().codes(), ["SP0602"], "{to}");
        std::fs::write(&path, text).unwrap();
    }
    assert!(load(&f).is_ok());
    assert_eq!(Compiler::new().load(f.path("none")).unwrap_err().codes(), ["SP0602"]);
}

/// Every file with a bit turned here and there, and the manifest made to agree: refused, or a program that answers. Never a
/// panic, and never an internal error.
#[test]
fn turned_bits_are_refused_or_harmless() {
    let f = Folder::new();
    compile(&f, &[]);
    let manifest = std::fs::read_to_string(f.path("out/manifest.json")).unwrap();
    let (mut refused, mut answered) = (0, 0);
    for name in ["plan.json", "program.ir", "weights.safetensors", "manifest.json"] {
        let path = f.path("out").join(name);
        let good = std::fs::read(&path).unwrap();
        let old = spc_io::sha256_hex(&good);
        for turn in 0..60usize {
            let mut bytes = good.clone();
            let at = (turn * 7919 + turn * turn * 31) % bytes.len();
            bytes[at] ^= 1 << (turn % 8);
            if turn % 10 == 9 {
                bytes.truncate(at);
            }
            std::fs::write(&path, &bytes).unwrap();
            if name != "manifest.json" {
                let agreed = manifest.replace(&old, &spc_io::sha256_hex(&bytes));
                std::fs::write(f.path("out/manifest.json"), agreed).unwrap();
            }
            match load(&f) {
                Err(e) => {
                    assert!(e.exit_code() != 101, "{name} turn {turn}: {e}");
                    refused += 1;
                }
                Ok(program) => {
                    let answer = program.call("f", &[("x", &x())]);
                    let bug = answer.as_ref().err().is_some_and(|e| e.exit_code() == 101);
                    assert!(!bug, "{name} turn {turn}: {:?}", answer.err().map(|e| e.to_string()));
                    answered += 1;
                }
            }
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::write(f.path("out/manifest.json"), &manifest).unwrap();
    }
    assert!(refused > 60 && answered > 5, "{refused} refused, {answered} answered");
}

#[test]
fn a_program_takes_the_plan_of_another_one_like_it() {
    let f = Folder::new();
    let first = Compiler::new().compile_file(f.path("net.sp")).unwrap().build().unwrap();
    f.text("plan.json", first.plan());
    let again = || Compiler::new().plan_file(f.path("plan.json")).compile_file(f.path("net.sp")).unwrap();
    let second = again().build().unwrap();
    assert_eq!(second.plan(), first.plan());
    assert_eq!(second.call("f", &[("x", &x())]).unwrap().f32("y").unwrap(), expected().into_dyn());
    compile(&f, &[]);
    assert_eq!(load(&f).unwrap().plan(), first.plan());
    // Weights with more zeros than the constraint leaves.
    let zero = Array2::<f32>::zeros((2, 4));
    let e = again().bind("m.w", zero).unwrap().build().unwrap_err();
    assert_eq!(e.codes(), ["SP0661"], "{e}");
    f.text("plan.json", &first.plan().replacen("dense", "dance", 1));
    assert_eq!(again().build().unwrap_err().codes(), ["SP0660"]);
}

#[test]
fn a_plan_for_another_program_is_stale() {
    let f = Folder::new();
    compile(&f, &[]);
    // A plan that belongs to another graph, with a manifest that vouches for it.
    let replace = |name: &str, from: &str, to: &str| {
        let path = f.path("out").join(name);
        let old = std::fs::read_to_string(&path).unwrap();
        assert!(old.contains(from), "{from} is not in {name}");
        let new = old.replace(from, to);
        std::fs::write(&path, &new).unwrap();
        let manifest = std::fs::read_to_string(f.path("out/manifest.json")).unwrap();
        let hash = |t: &str| spc_io::sha256_hex(t.as_bytes());
        std::fs::write(f.path("out/manifest.json"), manifest.replace(&hash(&old), &hash(&new))).unwrap();
    };
    replace("program.ir", "sym B = 1..8", "sym B = 1..9");
    let e = load(&f).unwrap_err();
    assert_eq!((e.codes(), e.exit_code()), (&["SP0603".to_string()][..], 4), "{e}");
}

#[test]
fn other_folders_are_not_written_over() {
    let f = Folder::new();
    std::fs::create_dir(f.path("out")).unwrap();
    std::fs::write(f.path("out/thesis.tex"), "years of work").unwrap();
    let what = Compile { out: Some(f.path("out")), ..Compile::default() };
    let r = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0;
    assert_eq!(failed(r), (vec!["SP0409".into()], 4));
    assert_eq!(names(&f.path("out")), ["thesis.tex"]);
    // A folder of ours with somebody else's file in it is no longer ours alone.
    let mine = Compile { out: Some(f.path("mine")), ..Compile::default() };
    let again = || session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &mine)).0;
    assert!(again().is_ok() && again().is_ok());
    std::fs::create_dir(f.path("mine/notes")).unwrap();
    std::fs::write(f.path("mine/notes/thesis.tex"), "years of work").unwrap();
    assert_eq!(failed(again()), (vec!["SP0409".into()], 4));
    assert!(f.path("mine/notes/thesis.tex").exists());
    // A failure before writing leaves nothing, not even an empty folder.
    f.text("m.safetensors", "short");
    let what = Compile { out: Some(f.path("new")), ..Compile::default() };
    let r = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0;
    assert_eq!(failed(r), (vec!["SP0402".into()], 4));
    assert!(!f.path("new").exists() && !f.names().iter().any(|n| n.starts_with(".spc")), "{:?}", f.names());
}

#[test]
fn cuda_folders_hold_the_text_of_every_operator() {
    let f = Folder::new();
    let body =
        "h = nn.linear(nn.relu(x), m.w, m.b)\n  best[b] = argmax(h[b, o] over o)\n  y[b, o] = h[b, o] * float(best[b])";
    f.edit("y = nn.linear(x, m.w, m.b)", body);
    let what = Compile { out: Some(f.path("out")), target: Some("cuda".into()), ..Compile::default() };
    let (r, warnings) = session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what));
    let text = r.unwrap().text;
    assert!(!text.contains("on the host"), "{text}");
    assert!(warnings.iter().all(|w| w == "SP0604" || w == "SP0308"), "{warnings:?}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(f.path("out/manifest.json")).unwrap()).unwrap();
    let kernels = manifest["kernels"].as_array().unwrap();
    assert_eq!(kernels.iter().filter(|k| k["name"].as_str().unwrap().starts_with("linear_")).count(), 1, "{kernels:?}");
    assert_eq!(manifest["host"].as_array().unwrap().len(), 0, "{manifest}");
    assert!(manifest["files"]["kernels.cu"].is_string());
    assert!(std::fs::read_to_string(f.path("out/kernels.cu")).unwrap().contains("__global__"));
}

#[test]
fn an_exported_file_differs_in_its_zeros_only() {
    let f = Folder::new();
    let spare = [7.0f32, f32::NAN];
    f.weights("m.safetensors", &[("w", &[2, 4], &W), ("spare", &[2], &spare), ("b", &[2], &B)]);
    let out = f.path("sparse.safetensors");
    let r = session(Options::default(), |s| export_file(s, &f.path("net.sp"), None, Emit::Zeros, &out)).0;
    assert!(r.unwrap().text.contains("4 elements set to zero"));
    let (old, new) = (WeightFile::open(&f.path("m.safetensors")).unwrap(), WeightFile::open(&out).unwrap());
    assert_eq!(old.header().metadata(), new.header().metadata());
    let list = |w: &WeightFile| -> Vec<_> {
        w.header().tensors().iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect()
    };
    assert_eq!(list(&old), list(&new));
    assert_eq!(new.f32("w").unwrap()[..], [4.0, -3.0, 0.0, 0.0, 0.0, 0.0, 3.0, 4.0]);
    for name in ["spare", "b"] {
        assert_eq!(old.bytes(name).unwrap(), new.bytes(name).unwrap(), "{name}");
    }
    // The export satisfies the constraint as it is; the original does not, and its first offence is named.
    let verify = |file: &str| {
        let mut o = Options::default();
        o.binds.insert("m".into(), f.path(file));
        session(o, |s| verify_path(s, &f.path("net.sp"), &Verify::default())).0
    };
    assert!(verify("sparse.safetensors").is_ok());
    let failure = verify("m.safetensors").unwrap_err();
    assert_eq!(failure.exit_code(), 3);
    let d = &failure.diagnostics()[0];
    assert!(d.code.name() == "SP0502" && d.notes[0] == "tensor `m.w`, row 0, group 2", "{d:?}");
}

#[test]
fn an_export_does_not_take_the_place_of_its_inputs() {
    let f = Folder::new();
    std::fs::create_dir(f.path("sub")).unwrap();
    for (out, input) in
        [("m.safetensors", "m.safetensors"), ("sub/../m.safetensors", "m.safetensors"), ("net.sp", "net.sp")]
    {
        let before = std::fs::read(f.path(input)).unwrap();
        let r = session(Options::default(), |s| export_file(s, &f.path("net.sp"), None, Emit::Zeros, &f.path(out))).0;
        assert_eq!(failed(r), (vec!["SP0409".into()], 4), "{out}");
        assert_eq!(std::fs::read(f.path(input)).unwrap(), before, "{out}");
    }
}

#[test]
fn the_api_binds_arrays_and_calls_by_name() {
    let text = NET.replace("from safetensors \"m.safetensors\" ", "");
    let text = text.split("data d").next().unwrap().to_string() + "model" + text.split("model").nth(1).unwrap();
    let text = text.split("run test").next().unwrap();
    let checked = || Compiler::new().compile_str(text).unwrap();
    assert_eq!(checked().weights(), [("m.w", vec![2, 4]), ("m.b", vec![2])]);
    let w = Array2::from_shape_vec((2, 4), W.to_vec()).unwrap();
    let both = |threads| {
        let c = Compiler::new().threads(threads).compile_str(text).unwrap();
        c.bind("m.w", w.view()).unwrap().bind("m.b", array![0.5, -2.75]).unwrap().build().unwrap()
    };
    // An array in another order of memory is the same array.
    let column_major = x().reversed_axes().as_standard_layout().into_owned().reversed_axes();
    assert!(!column_major.is_standard_layout());
    for threads in [1, 2, 3] {
        let y = both(threads).call("f", &[("x", &column_major)]).unwrap();
        assert_eq!(y.f32("y").unwrap(), expected().into_dyn());
    }
    let c = Compiler::new().dense().compile_str(text).unwrap();
    let dense = c.bind("m.w", w.view()).unwrap().bind("m.b", array![0.5, -2.75]).unwrap().build().unwrap();
    let y = dense.call("f", &[("x", &array![[0.0f32, 0.0, 1.0, 0.0]])]).unwrap();
    assert_eq!(y.f32("y").unwrap(), array![[1.5f32, 0.25]].into_dyn());
    let code = |e: spc::Error| e.codes().first().cloned().unwrap_or_default();
    assert_eq!(code(checked().bind("m.q", w.view()).unwrap_err()), "SP0101");
    assert_eq!(code(checked().bind("m.w", w.t()).unwrap_err()), "SP0404");
    assert_eq!(code(checked().bind("m.b", array![f32::INFINITY, 0.0]).unwrap_err()), "SP0406");
    assert_eq!(code(checked().bind("m.w", w.view()).unwrap().build().unwrap_err()), "SP0403");
    assert_eq!(code(Compiler::new().compile_str("fn f(").unwrap_err()), "SP0001");
    // Without a GPU a program for one runs on the CPU.
    let on_gpu = Compiler::new().target("cuda").compile_str(text).unwrap();
    let on_gpu = on_gpu.bind("m.w", w.view()).unwrap().bind("m.b", array![0.5, -2.75]).unwrap().build().unwrap();
    assert_eq!(on_gpu.call("f", &[("x", &x())]).unwrap().f32("y").unwrap(), expected().into_dyn());
    let program = both(1);
    assert_eq!(code(program.call("g", &[]).unwrap_err()), "SP0101");
    assert_eq!(code(program.call("f", &[]).unwrap_err()), "SP0504");
    assert_eq!(code(program.call("f", &[("x", &array![[1i32, 2, 3, 4]])]).unwrap_err()), "SP0504");
    assert_eq!(code(program.call("f", &[("x", &array![1.0f32, 2.0])]).unwrap_err()), "SP0504");
    assert_eq!(code(program.call("f", &[("x", &Array2::<f32>::zeros((9, 4)))]).unwrap_err()), "SP0504");
    assert_eq!(code(program.call("f", &[("x", &x()), ("x", &x())]).unwrap_err()), "SP0504");
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&program);
}

#[test]
fn sizes_beyond_the_memory_are_refused_without_a_crash() {
    let f = Folder::new();
    f.text("big.sp", "axis K = 100000000000\nfn f(x: f32[K]) -> y: f32[K] { y = x + 1 }");
    let r = session(Options::default(), |s| verify_path(s, &f.path("big.sp"), &Verify::default())).0;
    assert_eq!(failed(r), (vec!["SP0504".into()], 4));
    // Inputs that fit, and a result of 2^46 elements that does not.
    let outer = "axis K = 8388608, J = 8388608\nfn f(x: f32[K], z: f32[J]) -> y: f32[K, J] { y[k, j] = x[k] + z[j] }";
    let program = Compiler::new().compile_str(outer).unwrap().build().unwrap();
    let zero = ndarray::Array1::<f32>::zeros(8_388_608);
    let e = program.call("f", &[("x", &zero), ("z", &zero)]).unwrap_err();
    assert_eq!((e.codes(), e.exit_code()), (&["SP0504".to_string()][..], 4), "{e}");
}
