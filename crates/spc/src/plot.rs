//! `spc plot`: the lines of a run as a picture.
use crate::failure::Res;
use crate::run::Done;
use crate::session::Session;
use serde_json::Value;
use spc_base::{Diagnostic, codes};
use spc_report::{Panel, plot};
use std::path::Path;

/// Most bytes of a run's lines.
const MOST: u64 = 1 << 30;
/// Most lines in a panel; where there are more, the least, mean and greatest stand for them.
const CURVES: usize = 10;

/// What is shown of every weight, with its caption.
const OF_WEIGHTS: [(&str, &str); 5] = [
    ("density", "density"),
    ("flips", "flips: share of weights that came or went since the line before"),
    ("ever", "share of weights that were ever there (in-time over-parameterisation)"),
    ("unchanged", "share of weights that are as they began"),
    ("distance", "distance to the constraints, relative"),
];

type Curve = (String, Vec<(f64, f64)>);

fn add(list: &mut Vec<Curve>, name: &str, at: f64, y: f64) {
    match list.iter_mut().find(|(n, _)| n == name) {
        Some((_, points)) => points.push((at, y)),
        None => list.push((name.to_string(), vec![(at, y)])),
    }
}

/// Least, mean and greatest of many curves.
fn summed(list: &[Curve]) -> Vec<Curve> {
    let mut at: std::collections::BTreeMap<u64, Vec<f64>> = std::collections::BTreeMap::new();
    for (x, y) in list.iter().flat_map(|(_, p)| p) {
        at.entry(*x as u64).or_default().push(*y);
    }
    let of = |name: &str, f: &dyn Fn(&[f64]) -> f64| {
        (format!("{name} of {}", list.len()), at.iter().map(|(x, y)| (*x as f64, f(y))).collect())
    };
    vec![
        of("least", &|y| y.iter().copied().fold(f64::INFINITY, f64::min)),
        of("mean", &|y| y.iter().sum::<f64>() / y.len() as f64),
        of("greatest", &|y| y.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
    ]
}

/// Panels from lines of JSON; the number of the first line that is none, and why.
pub(crate) fn panels(text: &str) -> Result<Vec<Panel>, (usize, String)> {
    let mut of_weights: Vec<Vec<Curve>> = vec![Vec::new(); OF_WEIGHTS.len()];
    let mut observed: Vec<Curve> = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |why: &str| (i + 1, why.to_string());
        let v: Value = serde_json::from_str(line).map_err(|e| (i + 1, e.to_string()))?;
        let step = v.get("step").and_then(Value::as_u64).ok_or_else(|| wrong("it has no step"))? as f64;
        let weights = v.get("weights").and_then(Value::as_object).ok_or_else(|| wrong("it has no weights"))?;
        for (name, w) in weights {
            for ((key, _), list) in OF_WEIGHTS.iter().zip(&mut of_weights) {
                if let Some(y) = w.get(*key).and_then(Value::as_f64) {
                    add(list, name, step, y);
                }
            }
        }
        for (name, y) in v.get("observed").and_then(Value::as_object).into_iter().flatten() {
            if let Some(y) = y.as_f64() {
                add(&mut observed, name, step, y);
            }
        }
    }
    let mut out = Vec::new();
    for ((_, caption), list) in OF_WEIGHTS.iter().zip(of_weights) {
        if !list.is_empty() {
            let curves = if list.len() > CURVES { summed(&list) } else { list };
            out.push(Panel { title: (*caption).to_string(), curves });
        }
    }
    out.extend(observed.into_iter().map(|c| Panel { title: c.0.clone(), curves: vec![c] }));
    Ok(out)
}

/// Draws the lines of a run.
///
/// # Errors
/// SP0401 and SP0402 where the lines cannot be read, SP0409 where the picture cannot be written.
pub fn plot_file(s: &mut Session<'_>, path: &Path, out: &Path) -> Res<Done> {
    let bytes = s.world.read(path, MOST)?;
    let malformed = |what: String| Diagnostic::error(codes::BAD_FILE, format!("`{}`: {what}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8 text".into()))?;
    let panels = panels(&text).map_err(|(line, why)| malformed(format!("line {line}: {why}")))?;
    if panels.is_empty() {
        return Err(malformed("it has no lines".into()).into());
    }
    s.world.write(out, plot(&panels)?.as_bytes())?;
    Ok(format!("wrote {}\n", out.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_panels() {
        let text = r#"{"step":1,"weights":{"a":{"density":0.5,"flips":0.1},"b":{"density":1}},"observed":{"r.sad":3}}

{"step":2,"weights":{"a":{"density":0.25,"flips":0}},"observed":{"r.sad":null}}"#;
        let p = panels(text).unwrap();
        assert_eq!(p.iter().map(|p| p.curves.len()).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(p[0].curves[0], ("a".to_string(), vec![(1.0, 0.5), (2.0, 0.25)]));
        assert_eq!(p[2].title, "r.sad");
        for (bad, line) in [("{}", 1), ("\n{\"step\":1}", 2), ("no", 1)] {
            assert_eq!(panels(bad).unwrap_err().0, line);
        }
        let many: Vec<String> = (0..12).map(|i| format!(r#""w{i}":{{"density":0.{i}}}"#)).collect();
        let p = panels(&format!(r#"{{"step":1,"weights":{{{}}}}}"#, many.join(","))).unwrap();
        assert_eq!(p[0].curves[0], ("least of 12".to_string(), vec![(1.0, 0.0)]));
    }
}
