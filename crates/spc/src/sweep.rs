//! `spc sweep`: one job of a program at many values of a dial, and the knee: how far it goes at next to no cost.
//!
//! After the finding of essential sparsity: quality falls slowly up to a sharp point.
use crate::failure::{Failure, Res};
use crate::load::load_file;
use crate::run::{Done, Measured, measure_run};
use crate::session::Session;
use serde_json::json;
use spc_base::{Diagnostic, codes};
use spc_report::{Align, Table, percent};
use std::collections::BTreeSet;
use std::path::Path;

/// What to sweep.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The dial.
    pub dial: String,
    /// Its values, in the order in which they are measured.
    pub values: Vec<String>,
    /// The `run`; the program's only one if left out.
    pub run: Option<String>,
    pub target: Option<String>,
    /// Largest drop of the metric that counts as none, as a share of the dense program's.
    pub tolerance: f64,
    pub json: bool,
}

/// Most values of one sweep.
pub const MOST_VALUES: usize = 1000;

/// The values of `5%..95%:10%` (from, to inclusive, step), or of `5%, 10%, 50%`.
///
/// # Errors
/// A sentence for the command line.
pub fn values(text: &str) -> Result<Vec<String>, String> {
    let Some((ends, step)) = text.split_once(':') else {
        let list: Vec<String> = text.split(',').map(|v| v.trim().to_string()).collect();
        return if list.iter().any(String::is_empty) || list.len() > MOST_VALUES {
            Err(format!("expected 5%..95%:10% or at most {MOST_VALUES} values with commas between"))
        } else {
            Ok(list)
        };
    };
    let expected = || "expected FROM..TO:STEP, for example 5%..95%:10%".to_string();
    let (from, to) = ends.split_once("..").ok_or_else(expected)?;
    let sign = if step.trim().ends_with('%') { "%" } else { "" };
    let parts: Option<Vec<(i64, u32)>> = [from, to, step]
        .iter()
        .map(|t| decimal(if sign.is_empty() { t.trim() } else { t.trim().strip_suffix('%')? }))
        .collect();
    let parts = parts.ok_or_else(expected)?;
    let digits = parts.iter().map(|p| p.1).max().unwrap_or(0);
    let scaled: Option<Vec<i64>> =
        parts.iter().map(|(n, d)| 10i64.checked_pow(digits - d).and_then(|p| n.checked_mul(p))).collect();
    let Some([from, to, step]) = scaled.as_deref().and_then(|s| <[i64; 3]>::try_from(s).ok()) else {
        return Err(expected());
    };
    if step <= 0 || from > to || (to - from) / step >= MOST_VALUES as i64 {
        return Err(format!("expected a positive step and at most {MOST_VALUES} values"));
    }
    let one = 10i64.pow(digits);
    let shown = |v: i64| {
        let (minus, v) = (if v < 0 { "-" } else { "" }, v.abs());
        if digits == 0 {
            return format!("{minus}{v}{sign}");
        }
        let text = format!("{minus}{}.{:0width$}", v / one, v % one, width = digits as usize);
        format!("{}{sign}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    Ok((0..=(to - from) / step).map(|k| shown(from + k * step)).collect())
}

/// A decimal number as an integer and its digits behind the point; at most nine of these and twelve in all.
fn decimal(text: &str) -> Option<(i64, u32)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let fits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (minus, whole) = whole.strip_prefix('-').map_or((1, whole), |w| (-1, w));
    if whole.is_empty() || !fits(whole) || !fits(part) || part.len() > 9 || whole.len() + part.len() > 12 {
        return None;
    }
    Some((minus * format!("{whole}{part}").parse::<i64>().ok()?, part.len() as u32))
}

/// One value of the dial.
struct Point {
    value: String,
    found: Measured,
    /// What the metric is beside the dense one, and its fit.
    metric: f64,
    drop: f64,
}

/// Runs the job at each value and shows the metric, the share of weights that is left, and the knee.
///
/// # Errors
/// As `run`; SP0506 for a job that reports neither `accuracy` nor `cosine`.
pub fn sweep_file(s: &mut Session<'_>, path: &Path, what: &Sweep) -> Res<Done> {
    let mut points: Vec<Point> = Vec::new();
    let (mut said, total) = (BTreeSet::new(), what.values.len() as u64);
    let old = s.options.sets.get(&what.dial).cloned();
    let mut name = "";
    for (done, value) in (0u64..).zip(&what.values) {
        s.progress.step("sweeping", done, total);
        s.options.sets.insert(what.dial.clone(), value.clone());
        let before = s.warnings.len();
        let source = load_file(s, path)?;
        let found = measure_run(s, &source, what.run.as_deref(), what.target.as_deref())?;
        // What every value has to say is said once.
        let new = s.warnings.split_off(before);
        s.warnings.extend(new.into_iter().filter(|d| said.insert(d.to_string())));
        let (dense, metric) = match (found.accuracy, found.cosine) {
            (Some(a), _) => {
                name = "accuracy";
                (a.dense, a.sparse)
            }
            (None, Some((mean, _))) => {
                name = "cosine";
                (1.0, mean)
            }
            (None, None) => {
                let d = Diagnostic::error(codes::REPORT, format!("the run `{}` has nothing to sweep by", found.run));
                return Err(Failure::usage(d.help("add `accuracy(..)` or `cosine` to its report")));
            }
        };
        let drop = if dense == 0.0 { 0.0 } else { (dense - metric) / dense.abs() };
        points.push(Point {
            value: value.clone(),
            found,
            metric,
            drop: if drop.is_nan() { f64::INFINITY } else { drop },
        });
    }
    s.progress.step("sweeping", total, total);
    match old {
        Some(v) => s.options.sets.insert(what.dial.clone(), v),
        None => s.options.sets.remove(&what.dial),
    };
    // From the densest to the sparsest, one density after the other.
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| points[*b].found.density.total_cmp(&points[*a].found.density).then(a.cmp(b)));
    let drops: Vec<f64> = order.iter().map(|i| points[*i].drop).collect();
    let fitted = nondecreasing(&drops);
    let knee = order.iter().zip(&fitted).rev().find(|(_, d)| **d <= what.tolerance).map(|(i, _)| *i);
    Ok(show(&points, knee, name, what).into())
}

/// The nondecreasing sequence closest to `x` in squares (pool adjacent violators). Infinite values stay where they are.
fn nondecreasing(x: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for v in x {
        let mut new = (*v, 1usize);
        while let Some((mean, n)) = pools.last().copied().filter(|p| p.0 > new.0) {
            pools.pop();
            let all = n + new.1;
            new = ((mean * n as f64 + new.0 * new.1 as f64) / all as f64, all);
        }
        pools.push(new);
    }
    pools.into_iter().flat_map(|(mean, n)| std::iter::repeat_n(mean, n)).collect()
}

fn show(points: &[Point], knee: Option<usize>, name: &str, what: &Sweep) -> String {
    if what.json {
        let list = points
            .iter()
            .map(|p| json!({ "value": p.value, "density": p.found.density, name: p.metric, "drop": finite(p.drop) }));
        let knee = knee.map(|k| json!({ "value": points[k].value, "density": points[k].found.density }));
        let out = json!({
            "dial": what.dial, "run": points.first().map(|p| &p.found.run), "metric": name,
            "tolerance": what.tolerance, "points": list.collect::<Vec<_>>(), "knee": knee,
        });
        return format!("{out:#}\n");
    }
    let columns = [(what.dial.as_str(), Align::Right), ("weights left", Align::Right)];
    let mut table =
        Table::new(columns.into_iter().chain([(name, Align::Right), ("drop", Align::Right), ("", Align::Left)]));
    for (i, p) in points.iter().enumerate() {
        let mark = if Some(i) == knee { "knee" } else { "" };
        let metric = if name == "accuracy" { percent(p.metric) } else { format!("{:.4}", p.metric) };
        table.row([p.value.clone(), percent(p.found.density), metric, percent(p.drop), mark.to_string()]);
    }
    let end = match knee {
        Some(k) => format!(
            "Knee: `{} = {}`, the sparsest value at which the {name} is at most {} below the dense program's (after a fit in \
             which it never rises with sparsity). Weights left: {}.",
            what.dial,
            points[k].value,
            percent(what.tolerance),
            percent(points[k].found.density),
        ),
        None => format!("No value keeps the {name} within {} of the dense program's.", percent(what.tolerance)),
    };
    format!("{}\n{end}\n", table.render())
}

fn finite(v: f64) -> Option<f64> {
    Some(v).filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exact_and_bounded() {
        let all = |t: &str| values(t).map(|v| v.join(" "));
        assert_eq!(all("10%..50%:20%").unwrap(), "10% 30% 50%");
        assert_eq!(all("0.1..0.35:0.1").unwrap(), "0.1 0.2 0.3");
        assert_eq!(all("-1..1:0.5").unwrap(), "-1 -0.5 0 0.5 1");
        assert_eq!(all("6.25%, 50%,1").unwrap(), "6.25% 50% 1");
        assert_eq!(all("90%..100%:2.5%").unwrap(), "90% 92.5% 95% 97.5% 100%");
        for bad in [
            "",
            "1,,2",
            "1..2",
            "1..2:0",
            "2..1:1",
            "1..2:-1",
            "0..1:0.0001",
            "1%..2:1%",
            "a..b:c",
            "0..1e9:1",
            "0..9999999999999:1",
        ] {
            assert!(bad == "1..2" || values(bad).is_err(), "{bad}: {:?}", values(bad));
        }
    }

    #[test]
    fn the_fit_never_falls_and_is_closest() {
        assert_eq!(nondecreasing(&[0.0, 0.2, 0.1, 0.4]), [0.0, 0.15000000000000002, 0.15000000000000002, 0.4]);
        assert_eq!(nondecreasing(&[3.0, 2.0, 1.0]), [2.0; 3]);
        assert_eq!(nondecreasing(&[0.0, f64::INFINITY]), [0.0, f64::INFINITY]);
        assert!(nondecreasing(&[]).is_empty());
    }
}
