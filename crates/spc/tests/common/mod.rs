//! Programs and files in a temporary folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(dead_code, reason = "each test file uses a part")]
pub mod train;

use ndarray::{Array2, ArrayD};
use spc::driver::{
    Compile, DiskWorld, Explain, Failure, Options, Session, Verify, compile_file, explain_file, verify_path,
};
use spc::{Compiler, Program};
use spc_io::{Safetensors, Stored, Values};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub struct Folder(pub tempfile::TempDir);

pub const NET: &str = "
edition 1
use std.nn
use std.patterns.nm
axis B = 1..8
data d from csv \"d.csv\" {
  axes { I = 4, O = 2 }
  x: f32[I] = columns(0..4) / 2
  label: i32 = column(4)
  split { test = rows(\"rows.txt\"), train = rest, first = 0..2 }
}
model m from safetensors \"m.safetensors\" {
  axes { I = 4, O = 2 }
  w: f32[O, I]  b: f32[O]
}
fn f(x: f32[B, I]) -> y: f32[B, O] { y = nn.linear(x, m.w, m.b) }
require half: nm(2, 4) on m.w
run test { call: f(d.test.x)  report: [accuracy(d.test.label), cosine, pairs, size, time] }
";

pub const W: [f32; 8] = [4.0, -3.0, 1.0, 0.5, -1.0, 2.0, 3.0, 4.0];
pub const B: [f32; 2] = [0.5, -2.75];

/// Numbers without a pattern, in -1..1.
pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(next).collect()
}

/// `net.sp` of a folder, ready to be called.
pub fn build(f: &Folder, c: Compiler) -> Program {
    c.compile_file(f.path("net.sp")).unwrap().build().unwrap()
}

/// Weights that the plan of the first function makes of others.
pub fn made(p: &Program) -> Vec<String> {
    let v: serde_json::Value = serde_json::from_str(p.plan()).unwrap();
    let list = v["functions"][0]["structure"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|s| s["made"].as_str().map(Into::into)).collect()
}

/// What `spc explain net.sp` says.
pub fn explained(f: &Folder) -> String {
    session(Options::default(), |s| explain_file(s, &f.path("net.sp"), &Explain::default())).0.unwrap().text
}

/// `f` of random inputs `x` of so many features and tokens.
pub fn result(p: &Program, features: usize, tokens: usize) -> ArrayD<f32> {
    let x = Array2::from_shape_vec((tokens, features), numbers(9, tokens * features)).unwrap();
    p.call("f", &[("x", &x)]).unwrap().f32("y").unwrap().to_owned()
}

/// A compiled folder and its plan file give the results of `p` for inputs of so many features, and both verify.
pub fn goes_round(f: &Folder, p: &Program, features: usize) {
    let what = Compile { out: Some(f.path("out")), ..Compile::default() };
    session(Options::default(), |s| compile_file(s, &f.path("net.sp"), &what)).0.unwrap();
    for path in ["out", "net.sp"] {
        let done = session(Options::default(), |s| verify_path(s, &f.path(path), &Verify::default())).0.unwrap();
        assert!(done.findings.is_empty(), "{}", done.text);
    }
    let loaded = Compiler::new().load(f.path("out")).unwrap();
    assert_eq!(result(&loaded, features, 5), result(p, features, 5));
    let again = build(f, Compiler::new().plan_file(f.path("out/plan.json")));
    assert_eq!((again.plan(), result(&again, features, 5)), (p.plan(), result(p, features, 5)));
}

impl Folder {
    /// The program above with its files: five rows of data, of which rows 3, 1 and 0 are the test split.
    pub fn new() -> Folder {
        let f = Folder(tempfile::tempdir().unwrap());
        f.text("net.sp", NET);
        f.text("d.csv", "2,0,0,0,0\n0,2,0,0,1\n0,0,2,0,1\n0,0,0,2,1\n2,2,2,2,0\n");
        f.text("rows.txt", "3\n1\n0\n");
        f.weights("m.safetensors", &[("w", &[2, 4], &W), ("b", &[2], &B)]);
        f
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Replaces words of the program.
    pub fn edit(&self, from: &str, to: &str) {
        let old = std::fs::read_to_string(self.path("net.sp")).unwrap();
        assert!(old.contains(from), "{from} is not in the program");
        self.text("net.sp", &old.replace(from, to));
    }

    pub fn weights(&self, name: &str, list: &[(&str, &[usize], &[f32])]) {
        let all: Vec<Stored> =
            list.iter().map(|(n, s, v)| Stored { name: n, shape: s, values: Values::F32(v) }).collect();
        let meta = BTreeMap::from([("made".to_string(), "by a test".to_string())]);
        Safetensors::new(&all, &meta, 8).unwrap().write_file(&self.path(name)).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        names(self.0.path())
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let mut v: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    v.sort();
    v
}

/// Does something in a fresh session.
pub fn session<T>(options: Options, f: impl FnOnce(&mut Session<'_>) -> T) -> (T, Vec<String>) {
    let world = DiskWorld::default();
    let mut s = Session::new(&world, options);
    let out = f(&mut s);
    let codes = s.warnings.iter().map(|d| d.code.name()).collect();
    (out, codes)
}

/// Codes of a failure's errors, and its exit code.
pub fn failed<T: std::fmt::Debug>(r: Result<T, Failure>) -> (Vec<String>, u8) {
    let f = r.expect_err("it should fail");
    let codes = f.diagnostics().iter().filter(|d| d.is_error()).map(|d| d.code.name()).collect();
    (codes, f.exit_code())
}
