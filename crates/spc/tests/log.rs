//! Lines of a run against counts by hand, and their picture.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use spc::driver::{DiskWorld, Session, plot_file};
use spc::{Compiler, Optimiser};
use std::collections::BTreeSet;

const TEXT: &str = "
use std.updates.sr_ste
axis B = 1..8
model net { axes { I = 8, O = 2 } w: f32[O, I]  b: f32[O] }
fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] + net.b[o] }
require half: keep 2 of 4 of elements per tile(in: 4) on net.w via sr_ste(lambda: 0.1)
";

fn number(v: &Value, weight: &str, key: &str) -> f64 {
    v["weights"][weight][key].as_f64().unwrap_or_else(|| panic!("{weight} {key}: {v}"))
}

#[test]
fn lines_say_what_happened() {
    let plan = Compiler::new().compile_str(TEXT).unwrap().update_plan(Optimiser::SGD, 5).unwrap();
    let mut w: Vec<f32> = (0..16).map(|i| if i % 3 == 0 { 1.0 } else { 0.5 + 0.01 * i as f32 }).collect();
    let mut b = vec![0.25f32, 0.0];
    let mut state = plan.start(&mut [("net.w", &mut w), ("net.b", &mut b)]).unwrap();
    let mut log = plan.log(&[("net.w", &w), ("net.b", &b)]).unwrap();
    let first = w.clone();
    let mut before: Vec<bool> = w.iter().map(|x| *x != 0.0).collect();
    let mut ever: BTreeSet<usize> = (0..16).filter(|i| before[*i]).collect();
    let mut flipped = 0.0;
    for step in 0..5u64 {
        // Drives what is there to zero, so that others take its place.
        let g: Vec<f32> = w.iter().map(|x| x * 0.6).collect();
        let seen = plan
            .update(
                step,
                &mut [("net.w", &mut w), ("net.b", &mut b)],
                &[("net.w", &g), ("net.b", &[0.0, 1.0])],
                0.5,
                &mut state,
            )
            .unwrap();
        let line = plan.log_line(&mut log, &[("net.w", &w), ("net.b", &b)], &state, &seen).unwrap();
        assert!(!line.contains('\n'));
        let v: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(v["step"], step + 1);
        let now: Vec<bool> = w.iter().map(|x| *x != 0.0).collect();
        let flips = now.iter().zip(&before).filter(|(a, b)| a != b).count() as f64 / 16.0;
        ever.extend((0..16).filter(|i| now[*i]));
        let same = w.iter().zip(&first).filter(|(a, b)| a == b).count() as f64 / 16.0;
        assert_eq!(number(&v, "net.w", "density"), 0.5);
        assert_eq!(number(&v, "net.w", "flips"), flips);
        assert_eq!(number(&v, "net.w", "ever"), ever.len() as f64 / 16.0);
        assert_eq!(number(&v, "net.w", "unchanged"), same);
        assert_eq!(number(&v, "net.b", "density"), if step < 5 { 1.0 } else { 0.5 });
        assert_eq!(number(&v, "net.b", "unchanged"), 0.5);
        let far = number(&v, "net.w", "distance");
        assert!(if step < 4 { far > 0.01 && far < 1.0 } else { far == 0.0 }, "step {step}: {far}");
        assert_eq!(number(&v, "net.b", "distance"), 0.0);
        assert_eq!(v["observed"].as_object().unwrap().len(), seen.len());
        assert!(!seen.is_empty());
        flipped += flips;
        before = now;
    }
    assert!(flipped > 0.0 && ever.len() > 8, "masks have moved");
    let e = plan.log_line(&mut log, &[("net.w", &w)], &state, &[]).unwrap_err();
    assert_eq!(e.codes(), ["SP0403"]);
}

#[test]
fn pictures_are_written_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (run, out) = (dir.path().join("run.jsonl"), dir.path().join("run.svg"));
    let world = DiskWorld::default();
    let mut s = Session::new(&world, spc::driver::Options::default());
    std::fs::write(&run, "{\"step\":1,\"weights\":{\"net.w\":{\"density\":0.5}}}\n{\"step\":2,\"weights\":{\"net.w\":{\"density\":0.4}}}\n").unwrap();
    plot_file(&mut s, &run, &out).unwrap();
    let svg = std::fs::read_to_string(&out).unwrap();
    assert!(svg.contains("<svg") && svg.contains("density") && svg.contains("polyline"), "{svg}");
    for (text, words) in [("", "no lines"), ("{\"step\":1}\n", "line 1: it has no weights"), ("{}\nx", "line 1")] {
        std::fs::write(&run, text).unwrap();
        let f = plot_file(&mut s, &run, &out).err().unwrap();
        assert!(format!("{f:?}").contains("Code(402)") && format!("{f:?}").contains(words), "{f:?}");
    }
    assert_eq!(std::fs::read_to_string(&out).unwrap(), svg, "what was there stays");
}
