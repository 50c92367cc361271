//! `spc inspect`, and packed files: what is written is listed, proved whole, read by numpy, bound again; what is damaged is
//! refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod support;
#[path = "inspect/whole.rs"]
mod whole;

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use spc::driver::{DiskWorld, Failure, Options, Session, inspect_file};
use spc_formats::{Array, Layout, pack, validate};
use spc_io::{Safetensors, Stored, Values};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::Command;
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
require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1
require half: nm(1, 4) on net.w2
target t = cpu(threads: 1) { B = 48 }
";

fn floats(rng: &mut Rng, n: usize) -> Vec<f32> {
    (0..n).map(|_| rng.float()).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("net.sp"), NET).unwrap();
    let mut rng = Rng(5);
    let all: Vec<(&str, Vec<usize>, Vec<u8>)> = [("w1", vec![512, 128]), ("b1", vec![512]), ("w2", vec![64, 512])]
        .into_iter()
        .map(|(n, s)| (n, s.clone(), bytes(&floats(&mut rng, s.iter().product()))))
        .collect();
    let views = all.iter().map(|(n, s, b)| (*n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    let meta = [("format".to_string(), "pt".to_string())].into_iter().collect();
    std::fs::write(dir.path().join("net.safetensors"), serialize(views, Some(meta)).unwrap()).unwrap();
    dir
}

fn ok(r: Ran) -> Ran {
    assert_eq!(r.code, 0, "stdout:\n{}\nstderr:\n{}", r.stdout, r.stderr);
    r
}

fn inspect(dir: &Path, file: &str) -> Value {
    serde_json::from_str(&ok(spc(dir, ["inspect", file, "--json"])).stdout).unwrap()
}

fn named<'a>(v: &'a Value, list: &str, key: &str, name: &str) -> &'a Value {
    v[list].as_array().unwrap().iter().find(|t| t[key] == name).unwrap_or_else(|| panic!("no {name} in {v:#}"))
}

/// Runs the reader of the documents; false, said aloud, where there is no numpy.
fn numpy(dir: &Path, args: &[&str]) -> bool {
    python(dir, &root().join("../docs/packed.py"), args)
}

fn python(dir: &Path, script: &Path, args: &[&str]) -> bool {
    let has = Command::new("python3").args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success());
    if !has {
        spc_base::skipped("no python3 with numpy, so nothing independent reads the packed file");
        return false;
    }
    let out = Command::new("python3").arg(script).args(args).current_dir(dir).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    true
}

fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let t = spc_io::read_npy(path).unwrap();
    (t.shape().to_vec(), t.as_f32().unwrap().to_vec())
}

#[test]
fn patterns_of_an_export_are_found() {
    let dir = folder();
    let d = dir.path();
    ok(spc(d, ["export", "net.sp", "-o", "zeros.safetensors"]));
    let r = ok(spc(d, ["inspect", "zeros.safetensors"]));
    for words in ["w1", "512 x 128", "75.0 %", "blocks of 16 x 1", "1:4", "3 tensors, 0 packed"] {
        assert!(r.stdout.contains(words), "{words} is not in\n{}", r.stdout);
    }
    let v = inspect(d, "zeros.safetensors");
    let w1 = named(&v, "tensors", "name", "w1");
    assert_eq!((&w1["present"], &w1["matrix"]["block"]), (&json!(16384), &json!([16, 1])));
    let w2 = named(&v, "tensors", "name", "w2");
    assert_eq!((&w2["matrix"]["n_of_m"], &w2["matrix"]["block"]), (&json!([[1, 4]]), &json!([1, 1])));
    assert_eq!(named(&v, "tensors", "name", "b1")["present"], 512);
    assert_eq!(v["metadata"]["format"], "pt");
    // Masks of the same have the same pattern, whatever their type.
    ok(spc(d, ["export", "net.sp", "--emit=masks", "-o", "masks.safetensors"]));
    let masks = inspect(d, "masks.safetensors");
    let mask = named(&masks, "tensors", "name", "w1");
    assert_eq!((&mask["dtype"], &mask["matrix"]), (&json!("BOOL"), &w1["matrix"]));
}

#[test]
fn packed_weights_are_listed_read_by_numpy_and_bound_again() {
    let dir = folder();
    let d = dir.path();
    let r = ok(spc(d, ["export", "net.sp", "--emit=packed", "--target", "t", "-o", "packed.safetensors"]));
    assert!(r.stdout.contains("2 weights packed") && r.stdout.contains("1 tensors as they are"), "{}", r.stdout);
    ok(spc(d, ["export", "net.sp", "-o", "zeros.safetensors"]));
    let v = inspect(d, "packed.safetensors");
    let w1 = named(&v, "packed", "weight", "w1");
    assert_eq!((&w1["layout"], &w1["shape"], &w1["present"]), (&json!("vx1(16)"), &json!([512, 128]), &json!(16384)));
    assert_eq!(v["tensors"].as_array().unwrap().len(), 1, "arrays of packed weights are no tensors of their own");
    let text = ok(spc(d, ["inspect", "packed.safetensors"])).stdout;
    assert!(text.contains("vx1(16) (whole)") && text.contains("1 tensors, 2 packed"), "{text}");
    let size = |f: &str| std::fs::metadata(d.join(f)).unwrap().len();
    assert!(size("packed.safetensors") * 2 < size("zeros.safetensors"));
    // The layouts are those of the plan.
    let plan = ok(spc(d, ["compile", "net.sp", "--target", "t", "--emit=plan"])).stdout;
    std::fs::write(d.join("plan.json"), &plan).unwrap();
    ok(spc(
        d,
        ["export", "net.sp", "--emit=packed", "--target", "t", "--plan", "plan.json", "-o", "again.safetensors"],
    ));
    let read = |f: &str| std::fs::read(d.join(f)).unwrap();
    assert_eq!(read("packed.safetensors"), read("again.safetensors"));
    // It is a weight file like any other.
    let bound = ["--bind", "net=packed.safetensors"];
    ok(spc(d, [&["verify", "net.sp"][..], &bound].concat()));
    ok(spc(d, [&["check", "net.sp"][..], &bound].concat()));
    for out in ["a", "b"] {
        let from = if out == "a" { "net=zeros.safetensors" } else { "net=packed.safetensors" };
        ok(spc(d, ["compile", "net.sp", "--bind", from, "-o", out]));
    }
    assert_eq!(read("a/weights.safetensors"), read("b/weights.safetensors"));
    let r = spc(d, [&["export", "net.sp", "-o", "x.safetensors"][..], &bound].concat());
    assert!(r.code == 1 && r.stderr.contains("SP0006"), "{}", r.stderr);
    // numpy reads what we wrote, from both kinds of files.
    if numpy(d, &["packed.safetensors", "w1.npy", "w2.npy", "b1.npy"]) {
        let zeros = spc_io::WeightFile::open(&d.join("zeros.safetensors")).unwrap();
        for name in ["w1", "w2", "b1"] {
            let (shape, values) = npy(&d.join(format!("{name}.npy")));
            assert_eq!(
                (&shape, values.as_slice()),
                (&zeros.header().get(name).unwrap().shape, &*zeros.f32(name).unwrap())
            );
        }
        assert!(numpy(d, &["a/weights.safetensors", "net.w1.npy"]));
        assert_eq!(npy(&d.join("net.w1.npy")).1.as_slice(), &*zeros.f32("w1").unwrap());
    }
}

/// A file with one packed matrix in each of these layouts, and the matrices.
fn every_layout(path: &Path) -> BTreeMap<String, (usize, usize, Vec<f32>)> {
    let sizes = [(1, 1), (5, 7), (33, 20), (48, 66), (3, 0), (0, 4), (3, 150)];
    let mut layouts: Vec<Layout> =
        ["dense(16)", "dense(3)", "vx1(16)", "vx1(3)", "csr"].map(|l| l.parse().unwrap()).to_vec();
    layouts.extend(
        [
            "nm(2,4)",
            "nm(1,3)",
            "nm16(2,4)",
            "nm16(1,3)",
            "nm16(4,8)",
            "nm16(9,16)",
            "csr16",
            "bitmap",
            "vnm16(16,8)",
            "vnm16(32,5)",
            "mma24",
            "mma24_f16",
            "mma32_f16(32)",
            "mma1_f16(64)",
            "vnm_f16(32,8)",
            "mma32(32)",
            "mma32(64)",
            "mma1(16)",
            "mma1(64)",
            "vnm(32,8)",
            "vnm(64,5)",
            "bsr(4,4)",
            "bsr(3,5)",
            "i8(16)",
            "i8(32)",
            "i8nm(2,4)",
            "i8nm(3,7)",
            "i8nm(1,16)",
            "i4nm(2,4,32,32)",
            "i4nm(1,4,16,32)",
            "i4nm(4,8,64,16)",
            "i8csr(4)",
            "i8csr(8)",
            "dense_bf16(16)",
            "vx1_f16(4)",
            "bsr_bf16(4,4)",
            "nm16_f16(2,4)",
            "q4(16,16)",
            "q4(64,32)",
            "q8(32,16)",
            "kept4(16,32)",
            "kept4(32,16)",
            "kept8(16,16)",
        ]
        .map(|l| l.parse::<Layout>().unwrap()),
    );
    let mut rng = Rng(9);
    let (mut list, mut arrays, mut out) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (rows, cols) in sizes {
        for l in &layouts {
            let base = if let Layout::Half { of, .. } = *l { of.layout() } else { *l };
            let at = |i: usize, j: usize| match base {
                Layout::Bsr { r, c } => {
                    let (bi, bj) = (i / r as usize, j / c as usize);
                    // Never both of the last two blocks: a partial one overlaps its neighbour.
                    (bi * 3 + bj * 5) % 4 == 0 && (bj + 1) * c as usize <= cols
                }
                Layout::Nm { n, m } | Layout::Nm16 { n, m } => (j + i) % (m as usize) < n as usize,
                // The first of a row gives its scale.
                Layout::I8Nm { n, m } | Layout::I4Nm { n, m, .. } => j % (m as usize) < n as usize,
                Layout::Mma24 => (j + i) % 4 < 2,
                Layout::Vnm { v, m } | Layout::Vnm16 { v, m } => {
                    // Four columns of a group, of which a row has two.
                    let (place, first) = (j % m as usize, i / v as usize % 2);
                    (first..first + 4).contains(&place) && (place + i) % 4 < 2
                }
                _ => (i * 7 + j * 3) % 5 < 2,
            };
            let mut values: Vec<f32> = floats(&mut rng, rows * cols);
            for (e, v) in values.iter_mut().enumerate() {
                let (i, j) = (e / cols.max(1), e % cols.max(1));
                let code = (*v * 100.0).round() * 0.5;
                *v = if let Layout::Groups { bits, group, .. } = *l {
                    // The first of a group gives its scale; two groups of three are present.
                    let (top, g) = (if bits == 4 { 7.0 } else { 127.0 }, j / group as usize);
                    let code = if j % group as usize == 0 { top } else { (*v * top).round() };
                    if (i + g) % 3 < 2 { code * (1 + g) as f32 / 8.0 } else { 0.0 }
                } else if !at(i, j) {
                    0.0
                } else if l.needs_integers() {
                    code
                } else {
                    *v
                };
            }
            if let Layout::Half { form, .. } = *l {
                values
                    .iter_mut()
                    .for_each(|v| *v = if form.narrow(*v).is_none() { (*v * 64.0).round() / 64.0 } else { *v });
            }
            if l.needs_tensor_cores() && *l == l.with_bf16() {
                // What has eight bits is bf16, too.
                values.iter_mut().for_each(|v| *v = f32::from_bits(v.to_bits() & 0xffff_0000));
            }
            if let Layout::I4Nm { group, .. } = *l {
                // The first of a group gives its scale.
                let (row, group) = (cols.max(1), group as usize);
                for part in values.chunks_mut(row).flat_map(|r| r.chunks_mut(group)) {
                    part.iter_mut().filter(|v| **v != 0.0).for_each(|v| *v = (*v / 50.0 * 6.0).round() * 0.25);
                    part[0] = 1.75;
                }
            } else if l.needs_integers() {
                // The greatest code of a row gives its scale.
                values.chunks_mut(cols.max(1)).for_each(|r| r[0] = 63.5);
            }
            let Ok(packed) = pack(l, rows, cols, &values) else { continue };
            let name = format!("{l} {rows}x{cols}");
            list.push(json!({ "weight": name, "layout": l.to_string(), "rows": rows, "cols": cols, "prefix": name }));
            for (array, data) in validate(packed).unwrap().into_packed().arrays {
                arrays.push((format!("{name}.{array}"), data));
            }
            out.insert(name, (rows, cols, values));
        }
    }
    let shapes: Vec<[usize; 1]> = arrays.iter().map(|(_, a)| [a.len()]).collect();
    let all: Vec<Stored<'_>> = arrays
        .iter()
        .zip(&shapes)
        .map(|((name, array), shape)| {
            let values = match array {
                Array::F32(v) => Values::F32(v),
                Array::U32(v) => Values::U32(v),
                Array::U8(v) => Values::U8(v),
            };
            Stored { name, shape, values }
        })
        .collect();
    let metadata = BTreeMap::from([("layouts".to_string(), Value::from(list).to_string())]);
    Safetensors::new(&all, &metadata, 8).unwrap().write_file(path).unwrap();
    out
}

#[test]
fn numpy_reads_every_layout_at_odd_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let all = every_layout(&d.join("all.safetensors"));
    let kinds: std::collections::BTreeSet<&str> = all.keys().filter_map(|n| n.split(['(', ' ']).next()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [
            "bitmap",
            "bsr",
            "bsr_bf16",
            "csr",
            "csr16",
            "dense",
            "dense_bf16",
            "i4nm",
            "i8",
            "i8csr",
            "i8nm",
            "kept4",
            "kept8",
            "mma1",
            "mma1_f16",
            "mma24",
            "mma24_f16",
            "mma32",
            "mma32_f16",
            "nm",
            "nm16",
            "nm16_f16",
            "q4",
            "q8",
            "vnm",
            "vnm16",
            "vnm_f16",
            "vx1",
            "vx1_f16"
        ]
    );
    assert!(all.len() >= 75, "{}", all.len());
    let v = inspect(d, "all.safetensors");
    assert_eq!(v["packed"].as_array().unwrap().len(), all.len());
    let files: Vec<String> = all.keys().map(|n| format!("{n}.npy")).collect();
    let args: Vec<&str> = std::iter::once("all.safetensors").chain(files.iter().map(String::as_str)).collect();
    if !numpy(d, &args) {
        return;
    }
    for (name, (rows, cols, values)) in &all {
        let (shape, found) = npy(&d.join(format!("{name}.npy")));
        assert_eq!((shape, &found), (vec![*rows, *cols], values), "{name}");
    }
}

/// The function in the document, which has no more lines than a page.
#[test]
fn the_short_reader_of_the_document_reads_what_it_says() {
    let dir = folder();
    let d = dir.path();
    let text = std::fs::read_to_string(root().join("../docs/packed.md")).unwrap();
    let block = text.split("```python\n").nth(1).and_then(|t| t.split("```").next()).expect("a block of Python");
    assert!(block.lines().count() <= 32, "{} lines", block.lines().count());
    let call = "import sys\nfor name in sys.argv[2:]:\n    np.save(name + \".npy\", read(sys.argv[1], name))\n";
    std::fs::write(d.join("read.py"), format!("{block}\n{call}")).unwrap();
    let all = every_layout(&d.join("all.safetensors"));
    let known = ["dense(", "vx1(", "bsr(", "nm(", "csr "];
    let mine: Vec<&str> = all.keys().filter(|n| known.iter().any(|k| n.starts_with(k))).map(String::as_str).collect();
    for k in known {
        assert!(mine.iter().filter(|n| n.starts_with(k)).count() >= 4, "{k} {mine:?}");
    }
    ok(spc(d, ["export", "net.sp", "--emit=packed", "--target", "t", "-o", "packed.safetensors"]));
    ok(spc(d, ["export", "net.sp", "-o", "zeros.safetensors"]));
    let script = d.join("read.py");
    if !python(d, &script, &["packed.safetensors", "w1"]) {
        return;
    }
    let zeros = spc_io::WeightFile::open(&d.join("zeros.safetensors")).unwrap();
    assert_eq!(npy(&d.join("w1.npy")), (vec![512, 128], zeros.f32("w1").unwrap().to_vec()));
    assert!(python(d, &script, &[&["all.safetensors"][..], &mine].concat()));
    for name in mine {
        let (rows, cols, values) = &all[name];
        assert_eq!(npy(&d.join(format!("{name}.npy"))), (vec![*rows, *cols], values.clone()), "{name}");
    }
}

#[test]
fn what_is_not_whole_is_named() {
    let dir = folder();
    let d = dir.path();
    ok(spc(d, ["export", "net.sp", "--emit=packed", "--target", "t", "-o", "packed.safetensors"]));
    let good = std::fs::read(d.join("packed.safetensors")).unwrap();
    let wrong = |change: &dyn Fn(&mut Vec<u8>), words: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(d.join("bad.safetensors"), bytes).unwrap();
        let before = listing(d);
        let r = spc(d, ["inspect", "bad.safetensors"]);
        assert!(
            r.code == 4 && r.stderr.contains("SP0402") && r.stderr.contains(words),
            "{words}: {}\n{}",
            r.code,
            r.stderr
        );
        let r = spc(d, ["verify", "net.sp", "--bind", "net=bad.safetensors"]);
        assert!([1, 4].contains(&r.code) && r.stderr.contains("[SP04"), "{words}: {}\n{}", r.code, r.stderr);
        assert_eq!(listing(d), before);
    };
    let at = |b: &[u8], text: &str| b.windows(text.len()).position(|w| w == text.as_bytes()).unwrap();
    let put = |b: &mut Vec<u8>, old: &str, new: &str| {
        assert_eq!(old.len(), new.len());
        let i = at(b, old);
        b[i..i + new.len()].copy_from_slice(new.as_bytes());
    };
    let head = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let text = String::from_utf8(good[8..head].to_vec()).unwrap();
    let header: Value = serde_json::from_str(&text).unwrap();
    let place = |name: &str| head + header[name]["data_offsets"][0].as_u64().unwrap() as usize;
    wrong(&|b| put(b, "vx1(16)", "vx1(17)"), "`w1` in vx1(17)");
    wrong(&|b| put(b, "vx1(16)", "xv1(16)"), "is not a storage layout");
    wrong(&|b| put(b, "\\\"rows\\\":512", "\\\"rows\\\":511"), "a padding row is not zero");
    wrong(&|b| put(b, "\\\"rows\\\":512", "\\\"lows\\\":512"), "missing field `rows`");
    wrong(&|b| b[place("w1.ptr")] = 1, "`ptr` does not start at 0");
    wrong(&|b| b[place("w1.idx") + 3] = 1, "out of range");
    wrong(&|b| put(b, "\"w1.idx\"", "\"w1.odx\""), "w1.idx");
    let entry = json!({ "weight": "w", "layout": "csr", "rows": 0, "cols": 0, "prefix": "w" });
    let metadata = BTreeMap::from([("layouts".to_string(), json!([entry, entry]).to_string())]);
    Safetensors::new(&[], &metadata, 8).unwrap().write_file(&d.join("bad.safetensors")).unwrap();
    assert!(spc(d, ["inspect", "bad.safetensors"]).stderr.contains("`w` is listed twice as csr"));
    for (bytes, code) in [(&b"12345"[..], "SP0402"), (&b""[..], "SP0402")] {
        std::fs::write(d.join("bad.safetensors"), bytes).unwrap();
        assert!(spc(d, ["inspect", "bad.safetensors"]).stderr.contains(code));
    }
    assert_eq!(spc(d, ["inspect", "nothing.safetensors"]).code, 4);
}

#[test]
fn a_shrunk_file_is_compared_with_its_map() {
    let dir = folder();
    let d = dir.path();
    let text = NET.replace("require half: nm(1, 4) on net.w2", "").replace(
        "require cols: keep 25% of tile(out: 16, in: 1) per tensor on net.w1",
        "group unit[n: N] = slices(N) of net\nrequire lean: keep 75% of unit per model by norm2",
    );
    std::fs::write(d.join("net.sp"), text).unwrap();
    ok(spc(d, ["export", "net.sp", "--emit=shrunk", "-o", "small.safetensors"]));
    let r = ok(spc(d, ["inspect", "small.safetensors"]));
    assert!(r.stdout.contains("3 tensors smaller as `small.shrink.json` says"), "{}", r.stdout);
    let map = std::fs::read_to_string(d.join("small.shrink.json")).unwrap();
    let wrong = |text: &str, words: &str| {
        std::fs::write(d.join("small.shrink.json"), text).unwrap();
        let r = spc(d, ["inspect", "small.safetensors"]);
        assert!(r.code == 4 && r.stderr.contains(words), "{words}: {}\n{}", r.code, r.stderr);
    };
    let changed = |f: &dyn Fn(&mut Value)| {
        let mut v: Value = serde_json::from_str(&map).unwrap();
        f(&mut v);
        v.to_string()
    };
    wrong("{", "cannot be read");
    wrong(&changed(&|v| v["format"] = 2.into()), "format 2");
    wrong(&changed(&|v| v["tensors"]["w1"]["new_shape"][0] = 383.into()), "its map says [383, 128]");
    wrong(&changed(&|v| v["tensors"]["w1"]["old_shape"][0] = 300.into()), "keeps other positions");
    wrong(&changed(&|v| v["tensors"]["w1"]["kept"][0][1] = 0.into()), "keeps other positions");
    wrong(&changed(&|v| v["tensors"]["w1"]["kept"] = json!([])), "another number of dimensions");
    wrong(&changed(&|v| v["tensors"]["w9"] = v["tensors"]["w1"].clone()), "does not have it");
}

/// Any byte may be another: no panic, no bug, no hang; what is said to be whole is.
#[test]
fn a_flipped_byte_is_found_or_changes_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let good_path = dir.path().join("good.safetensors");
    every_layout(&good_path);
    let good = std::fs::read(&good_path).unwrap();
    let head = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let path = dir.path().join("bad.safetensors");
    let mut rng = Rng(21);
    let (mut refused, mut taken) = (0, 0);
    for case in 0..400 {
        let mut bytes = good.clone();
        // Half of them in the header.
        let at = if case % 2 == 0 { rng.below(head as u64) } else { rng.below(bytes.len() as u64) } as usize;
        bytes[at] ^= 1 << rng.below(8);
        if case % 10 == 0 {
            bytes.truncate(at);
        }
        std::fs::write(&path, &bytes).unwrap();
        let result = catch_unwind(|| {
            let world = DiskWorld::default();
            let mut s = Session::new(&world, Options::default());
            inspect_file(&mut s, &path, case % 3 == 0)
        });
        match result.unwrap_or_else(|_| panic!("byte {at} of case {case} makes it panic")) {
            Ok(done) if done.findings.is_empty() => taken += 1,
            Ok(_) => refused += 1,
            Err(Failure::Bug(b)) => panic!("byte {at} of case {case}: {b}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100 && taken > 50, "{refused} refused, {taken} taken");
}
