//! Data and weights, bound to a program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{B, Folder, W, failed, session};
use serde_json::Value;
use spc::driver::{Options, check, run_file};

fn run(f: &Folder, options: Options) -> Value {
    let (r, _) = session(options, |s| run_file(s, &f.path("net.sp"), None, None, true));
    serde_json::from_str(&r.unwrap().text).unwrap()
}

fn run_code(f: &Folder) -> (Vec<String>, u8) {
    failed(session(Options::default(), |s| run_file(s, &f.path("net.sp"), None, None, true)).0)
}

#[test]
fn a_job_computes_on_the_rows_of_its_split_in_their_order() {
    let f = Folder::new();
    let v = run(&f, Options::default());
    assert_eq!((v["rows"].as_u64(), v["function"].as_str()), (Some(3), Some("f")));
    // The labels are 1, 1 and 0. Half of the weights are removed: the first row keeps
    // 4 and -3, the second 3 and 4.
    assert_eq!((v["accuracy"]["dense"].as_f64(), v["accuracy"]["sparse"].as_f64()), (Some(1.0), Some(2.0 / 3.0)));
    let cosine = |a: [f64; 2], b: [f64; 2]| (a[0] * b[0] + a[1] * b[1]) / (a[0].hypot(a[1]) * b[0].hypot(b[1]));
    let dense = [[1.0, 1.25], [-2.5, -0.75], [4.5, -3.75]];
    let sparse = [[0.5, 1.25], [-2.5, -2.75], [4.5, -2.75]];
    let close = |v: &Value, want: f64| assert!((v.as_f64().unwrap() - want).abs() < 1e-6, "{v} is not {want}");
    let least = (0..3).map(|i| cosine(dense[i], sparse[i])).fold(2.0, f64::min);
    close(&v["cosine"]["least"], least);
    for (p, (i, j)) in v["pairs"].as_array().unwrap().iter().zip([(0, 1), (0, 2), (1, 2)]) {
        assert_eq!(p["rows"], serde_json::json!([i, j]));
        close(&p["dense"], cosine(dense[i], dense[j]));
        close(&p["sparse"], cosine(sparse[i], sparse[j]));
    }
    assert_eq!(v["layers"][0]["weight"], "m.w");
    assert_eq!(v["layers"][1]["bytes"]["dense"], 8);
}

#[test]
fn more_rows_than_the_axis_holds_are_computed_in_parts() {
    let f = Folder::new();
    let whole = run(&f, Options::default());
    f.edit("axis B = 1..8", "axis B = 1..2");
    let parts = run(&f, Options::default());
    for key in ["accuracy", "cosine", "pairs", "rows"] {
        assert_eq!(whole[key], parts[key], "{key}");
    }
    assert_eq!(parts["batch"], 1);
}

#[test]
fn splits_are_disjoint_and_ordered() {
    let f = Folder::new();
    // `rest` is what neither the list nor the range names: rows 2 and 4.
    f.edit(
        "call: f(d.test.x)  report: [accuracy(d.test.label)",
        "call: f(d.train.x)  report: [accuracy(d.train.label)",
    );
    assert_eq!(run(&f, Options::default())["rows"], 2);
    f.edit("f(d.train.x)  report: [accuracy(d.train.label)", "f(d.x)  report: [accuracy(d.label)");
    assert_eq!(run(&f, Options::default())["rows"], 5);
    f.edit("first = 0..2", "first = 0..6");
    f.edit("f(d.x)  report: [accuracy(d.label)", "f(d.first.x)  report: [accuracy(d.first.label)");
    assert_eq!(run_code(&f), (vec!["SP0408".into()], 4));
}

#[test]
fn overrides_take_the_place_of_named_files() {
    let f = Folder::new();
    f.text("other.csv", "0,0,0,2,1\n0,0,0,2,1\n0,0,0,2,1\n0,0,0,2,1\n");
    let zero = [0.0; 8];
    f.weights("other.safetensors", &[("w", &[2, 4], &zero), ("b", &[2], &[0.0, 1.0])]);
    let mut o = Options::default();
    o.data.insert("d".into(), f.path("other.csv"));
    o.binds.insert("m".into(), f.path("other.safetensors"));
    let v = run(&f, o);
    assert_eq!(v["accuracy"]["dense"], 1.0);
    let mut o = Options::default();
    o.binds.insert("net".into(), f.path("other.safetensors"));
    assert_eq!(failed(session(o, |s| check(s, &f.path("net.sp"), &[])).0), (vec!["SP0101".into()], 2));
    let o = Options { texts: vec!["a text".into()], ..Options::default() };
    assert_eq!(failed(session(o, |s| run_file(s, &f.path("net.sp"), None, None, true)).0), (vec!["SP0107".into()], 2));
}

#[test]
fn data_that_does_not_fit_is_refused_with_a_code() {
    for (name, text, code) in [
        ("d.csv", "1,2,3,4\n", "SP0408"),
        ("d.csv", "1,2,3,4,x\n2,2,2,2,2\n", "SP0408"),
        ("d.csv", "1,2,3,4,0\n1,2,3\n", "SP0402"),
        ("rows.txt", "7\n", "SP0408"),
        ("rows.txt", "one\n", "SP0402"),
        ("rows.txt", "", "SP0408"),
    ] {
        let f = Folder::new();
        f.text(name, text);
        assert_eq!(run_code(&f), (vec![code.into()], 4), "{name}: {text:?}");
    }
    let f = Folder::new();
    std::fs::remove_file(f.path("d.csv")).unwrap();
    assert_eq!(run_code(&f), (vec!["SP0401".into()], 4));
}

#[test]
fn weights_that_do_not_fit_are_refused_with_a_code() {
    let f = Folder::new();
    let mut nan = W;
    nan[5] = f32::NAN;
    for (code, list) in [
        ("SP0403", vec![("w", &[2usize, 4][..], &W[..])]),
        ("SP0404", vec![("w", &[4, 2][..], &W[..]), ("b", &[2][..], &B[..])]),
        ("SP0406", vec![("w", &[2, 4][..], &nan[..]), ("b", &[2][..], &B[..])]),
    ] {
        f.weights("m.safetensors", &list);
        assert_eq!(run_code(&f), (vec![code.into()], 4));
    }
    // The header says enough for `check`, but for what the numbers are.
    let checked = session(Options::default(), |s| check(s, &f.path("net.sp"), &[]));
    assert_eq!(checked, (Ok(String::new()), vec![]));
    f.weights("m.safetensors", &[("w", &[2, 4], &W), ("b", &[1, 2], &B)]);
    assert_eq!(failed(session(Options::default(), |s| check(s, &f.path("net.sp"), &[])).0), (vec!["SP0404".into()], 4));
    // A file that is not there: a warning for `check`, an error for all else.
    std::fs::remove_file(f.path("m.safetensors")).unwrap();
    let (r, warnings) = session(Options::default(), |s| check(s, &f.path("net.sp"), &[]));
    assert_eq!((r, warnings), (Ok(String::new()), vec!["SP0407".into()]));
    assert_eq!(run_code(&f), (vec!["SP0401".into()], 4));
}

#[test]
fn npz_members_are_read_by_name() {
    let f = Folder::new();
    let x = spc_io::Tensor::new(vec![2, 4], vec![0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]).unwrap();
    let label = spc_io::Tensor::new(vec![2], vec![1i32, 0]).unwrap();
    spc_io::write_npz(&f.path("d.npz"), &[("x", &x), ("answer", &label)]).unwrap();
    f.edit("from csv \"d.csv\"", "from npz \"d.npz\"");
    f.edit("x: f32[I] = columns(0..4) / 2", "x: f32[I]");
    f.edit("label: i32 = column(4)", "label: i32 = field(\"answer\")");
    f.edit("rows(\"rows.txt\")", "0..2");
    let v = run(&f, Options::default());
    assert_eq!((v["rows"].as_u64(), v["accuracy"]["dense"].as_f64()), (Some(2), Some(1.0)));
    f.edit("field(\"answer\")", "field(\"x\")");
    assert_eq!(run_code(&f), (vec!["SP0408".into()], 4));
}

#[test]
fn an_expectation_that_does_not_hold_is_found_after_the_report() {
    let f = Folder::new();
    f.edit(
        "run test",
        "expect accuracy(f, d.test) >= 90%\nexpect sparsity(m.w) >= 50%\nexpect size(m) <= 10 bytes\nrun test",
    );
    let (r, _) = session(Options::default(), |s| run_file(s, &f.path("net.sp"), None, None, false));
    let done = r.unwrap();
    assert!(
        done.text.contains("accuracy") && done.text.contains("FAILS") && done.text.contains("holds"),
        "{}",
        done.text
    );
    let texts: Vec<&str> = done.findings.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("accuracy(f, d.test) >= 90%, found 66.7 %"), "{texts:?}");
    assert!(done.findings.iter().all(|d| d.code.name() == "SP0501"));
    assert_eq!(spc::driver::exit_code(&done.findings), 3);
}

#[test]
fn labels_are_classes_of_the_result() {
    for (label, row) in [("2", "0"), ("-1", "0")] {
        let f = Folder::new();
        f.text("d.csv", &format!("2,0,0,0,0\n0,2,0,0,1\n0,0,2,0,1\n0,0,0,2,{label}\n2,2,2,2,0\n"));
        let (r, _) = session(Options::default(), |s| run_file(s, &f.path("net.sp"), None, None, true));
        let failure = r.unwrap_err();
        assert_eq!(failure.exit_code(), 4);
        let d = &failure.diagnostics()[0];
        assert_eq!(d.code.name(), "SP0408");
        assert!(d.message.contains(&format!("row {row} is {label}")), "{}", d.message);
    }
}

#[test]
fn a_function_needs_sizes_only_of_the_axes_it_has() {
    let f = Folder::new();
    f.edit("axis B = 1..8", "axis B = 1..8, T = 1..5");
    assert_eq!(run(&f, Options::default())["rows"], 3);
}
