//! `examples/embed-c`: a C program with compiled functions in it computes what `spc run` computes. Skipped with a message where
//! there is no C compiler.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::root;
use support::spc::{listing, spc, spc_command};

fn top() -> PathBuf {
    root().parent().unwrap().to_path_buf()
}

fn has_cc() -> bool {
    let found = Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        spc_base::skipped("no C compiler");
    }
    found
}

/// Compiles `digits.c` as the Makefile says, with the object, or with the shared library.
fn build(dir: &Path, code: &str) -> PathBuf {
    let to = dir.join(format!("digits-{code}"));
    let out = Command::new("cc")
        .args(["-O1", "-std=c11", "-D_DEFAULT_SOURCE", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(dir.join("build"))
        .arg(top().join("examples/embed-c/digits.c"))
        .arg(dir.join("build").join(code))
        .arg(format!("-Wl,-rpath,{}", dir.join("build").display()))
        .args(["-lpthread", "-o"])
        .arg(&to)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    to
}

fn rows() -> String {
    let file = std::fs::File::open(top().join("examples/digits/digits.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn run(program: &Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_string();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let out = child.wait_with_output().unwrap();
    let _ = writer.join();
    assert!(out.status.success(), "{:?}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// A float as C's `%a` writes it.
fn hexadecimal(text: &str) -> f32 {
    let (sign, rest) = text.strip_prefix('-').map_or((1.0, text), |r| (-1.0, r));
    let rest = rest.strip_prefix("0x").unwrap();
    let (digits, power) = rest.split_once('p').unwrap();
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let value = i64::from_str_radix(&format!("{whole}{part}"), 16).unwrap() as f64;
    (sign * value * 2f64.powi(power.parse::<i32>().unwrap() - 4 * part.len() as i32)) as f32
}

#[test]
fn a_c_program_computes_what_spc_computes() {
    if !has_cc() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let digits = top().join("examples/digits/digits.sp");
    let r = spc(
        dir.path(),
        ["compile".as_ref(), digits.as_os_str(), "--emit=obj,header,shared".as_ref(), "-o".as_ref(), "build".as_ref()],
    );
    assert_eq!(r.code, 0, "{}", r.stderr);
    let weights = dir.path().join("build/digits.weights");
    let text = rows();
    let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();

    // All scores of some rows, against `spc run` in the same batches: the last rows of other sizes go through other kernels,
    // whose sums are in another order.
    const BATCH: usize = 128;
    let some = &lines[..200];
    let floats: Vec<Vec<f32>> =
        some.iter().map(|l| l.split(',').map(|x| x.trim().parse().unwrap()).collect()).collect();
    let mut want: Vec<f32> = Vec::new();
    for rows in floats.chunks(BATCH) {
        let image = ndarray::Array2::from_shape_fn((rows.len(), 64), |(i, k)| rows[i][k] / 16.0);
        write_npy(&dir.path().join("x.npy"), &image);
        let r = spc(
            dir.path(),
            ["run", digits.to_str().unwrap(), "--fn", "classify", "--in", "image=x.npy", "--out", "logits=y.npy"],
        );
        assert_eq!(r.code, 0, "{}", r.stderr);
        let bytes = std::fs::read(dir.path().join("y.npy")).unwrap();
        let values = bytes[bytes.len() - rows.len() * 40..].chunks_exact(4);
        want.extend(values.map(|c| f32::from_le_bytes(c.try_into().unwrap())));
    }
    for code in ["digits.o", "digits.so"] {
        let program = build(dir.path(), code);
        let printed = run(&program, &[weights.to_str().unwrap(), "print"], &some.join("\n"));
        let got: Vec<f32> = printed.split_whitespace().map(hexadecimal).collect();
        assert_eq!(got.len(), want.len());
        let off = got.iter().zip(&want).position(|(g, w)| g.to_bits() != w.to_bits());
        assert_eq!(off, None, "{code}: {:?} {:?}", &got[..10], &want[..10]);
        let said = run(&program, &[weights.to_str().unwrap()], &text);
        let right: usize = said.split(' ').next().unwrap().parse().unwrap();
        assert!(right * 100 >= lines.len() * 95 && said.ends_with(&format!("of {} right\n", lines.len())), "{said}");
    }
    // Another file is not taken for the weights.
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let out = Command::new(dir.path().join("digits-digits.o")).arg(&weights).stdin(Stdio::null()).output().unwrap();
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("status 5"), "{out:?}");
}

fn write_npy(path: &Path, x: &ndarray::Array2<f32>) {
    let head = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", x.nrows(), x.ncols());
    let head = format!("{head:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.bytes());
    bytes.extend(x.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
}

const SCALE: &str = "axis B = 1..8\naxis I = 4\nfn f(x: f32[B, I]) -> y: f32[B, I] { y = x * 2 }\n";

#[test]
fn an_object_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.sp"), SCALE).unwrap();
    let fails = |command: &mut Command, codes: &[&str], exit: i32| {
        let out = command.current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(exit), "{text}");
        assert!(codes.iter().all(|c| text.contains(c)), "{text}");
        assert_eq!(listing(dir.path()), ["a.sp"], "{text}");
    };
    let compile = |args: &[&str]| {
        let mut c = spc_command();
        c.args(["compile", "a.sp"]).args(args);
        c
    };
    fails(compile(&["--emit=shared", "-o", "out"]).env("CC", "/none/cc"), &["SP0630", "/none/cc", "help"], 4);
    fails(compile(&["--emit=shared", "-o", "out"]).env("CC", "false"), &["SP0630"], 4);
    fails(&mut compile(&["--emit=obj", "--target", "cuda", "-o", "out"]), &["SP0631", "not a CPU"], 4);
    fails(&mut compile(&["--emit=obj"]), &["SP0107", "-o DIR"], 2);
    // A header is text.
    let out = compile(&["--emit=header"]).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success() && text.contains("int32_t a_f(const void *weights, int64_t B, const float *x, float *y"),
        "{text}"
    );
    // With the weights inside there is no file of them; the folder can be loaded as any other.
    let out =
        compile(&["--emit=obj,header,asm", "--embed-weights", "-o", "out"]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success());
    let files = listing(&dir.path().join("out"));
    assert!(files.contains(&"a.o".to_string()) && !files.contains(&"a.weights".to_string()), "{files:?}");
    let asm = std::fs::read_to_string(dir.path().join("out/kernels.s")).unwrap();
    assert!(asm.contains("; loop, depth 1:") && asm.contains("a round reads"), "{asm}");
    assert_eq!(spc(dir.path(), ["verify", "out"]).code, 0);
}
