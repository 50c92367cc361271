//! A job's report as one table, and as JSON.
use super::{Beside, JobReport, Layer};
use serde_json::{Value, json};
use spc_report::{Align, Table, bytes, percent, seconds, times};
use std::time::Duration;

/// Name of the row that sums what is no linear.
const REST: &str = "(rest)";

fn name(l: &Layer) -> &str {
    l.weight.as_deref().unwrap_or(REST)
}

fn ratio(dense: f64, sparse: f64) -> String {
    if dense > 0.0 && sparse > 0.0 { times(dense / sparse) } else { String::new() }
}

pub fn table(r: &JobReport) -> String {
    use Align::{Left, Right};
    let mut t = Table::new([
        ("report", Left),
        ("of", Left),
        ("dense", Right),
        ("sparse", Right),
        ("gain", Right),
        ("layout", Left),
        ("why dense", Left),
    ]);
    if let Some(a) = r.accuracy {
        let points = format!("{:+.2} points", (a.sparse - a.dense) * 100.0);
        t.row(["accuracy".into(), format!("{} rows", r.rows), percent(a.dense), percent(a.sparse), points]);
    }
    if let Some((mean, least)) = r.cosine {
        t.row(["cosine".into(), "mean of rows".into(), String::new(), format!("{mean:.4}")]);
        t.row(["cosine".into(), "least of rows".into(), String::new(), format!("{least:.4}")]);
    }
    for p in &r.pairs {
        let of = format!("rows {} and {}", p.rows.0 + 1, p.rows.1 + 1);
        t.row(["pair".into(), of, format!("{:.4}", p.cosine.dense), format!("{:.4}", p.cosine.sparse)]);
    }
    let why = |l: &Layer| l.why.clone().unwrap_or_default();
    if r.size {
        let mut total = Beside { dense: 0u64, sparse: 0 };
        for l in &r.layers {
            let b = l.bytes;
            (total.dense, total.sparse) = (total.dense.saturating_add(b.dense), total.sparse.saturating_add(b.sparse));
            let gain = if l.weight.is_some() { ratio(b.dense as f64, b.sparse as f64) } else { String::new() };
            t.row(["size".into(), name(l).into(), bytes(b.dense), bytes(b.sparse), gain, l.layout.clone(), why(l)]);
        }
        let gain = ratio(total.dense as f64, total.sparse as f64);
        t.row(["size".into(), "total".into(), bytes(total.dense), bytes(total.sparse), gain]);
    }
    if r.time {
        let mut total = Beside { dense: 0.0, sparse: 0.0 };
        for l in &r.layers {
            let Some(time) = l.time else { continue };
            let (d, p) = (time.dense.as_secs_f64(), time.sparse.as_secs_f64());
            (total.dense, total.sparse) = (total.dense + d, total.sparse + p);
            let why = if r.size { String::new() } else { why(l) };
            let show = |s: f64| if s > 0.0 { seconds(s) } else { String::new() };
            t.row(["time".into(), name(l).into(), show(d), show(p), ratio(d, p), l.layout.clone(), why]);
        }
        let gain = ratio(total.dense, total.sparse);
        t.row(["time".into(), "total".into(), seconds(total.dense), seconds(total.sparse), gain]);
    }
    for e in &r.expects {
        let verdict = if e.failure.is_none() { "holds" } else { "FAILS" };
        t.row(["expect".into(), e.text.clone(), String::new(), e.shown.clone(), verdict.to_string()]);
    }
    let threads = if r.threads == 1 { "1 thread".to_string() } else { format!("{} threads", r.threads) };
    let head = format!(
        "run {}: {} on {} rows, batch {}, target {}, {threads}\n",
        r.run, r.function, r.rows, r.batch, r.target
    );
    head + &t.render()
}

pub fn json(r: &JobReport) -> String {
    let shares = |b: Option<Beside<f64>>| b.map(|b| json!({ "dense": b.dense, "sparse": b.sparse }));
    let time = |t: Option<Beside<Duration>>| {
        t.map(|t| json!({ "dense": t.dense.as_secs_f64(), "sparse": t.sparse.as_secs_f64() }))
    };
    let layers: Vec<Value> = r
        .layers
        .iter()
        .map(|l| {
            json!({
                "weight": l.weight,
                "layout": l.weight.as_ref().map(|_| &l.layout),
                "why_dense": l.why,
                "bytes": { "dense": l.bytes.dense, "sparse": l.bytes.sparse },
                "seconds": time(l.time),
            })
        })
        .collect();
    let pairs: Vec<Value> = r
        .pairs
        .iter()
        .map(|p| json!({ "rows": [p.rows.0, p.rows.1], "dense": p.cosine.dense, "sparse": p.cosine.sparse }))
        .collect();
    let expects: Vec<Value> =
        r.expects.iter().map(|e| json!({ "text": e.text, "value": e.value, "holds": e.failure.is_none() })).collect();
    let object = json!({
        "run": r.run,
        "function": r.function,
        "target": r.target,
        "threads": r.threads,
        "rows": r.rows,
        "batch": r.batch,
        "accuracy": shares(r.accuracy),
        "cosine": r.cosine.map(|(mean, least)| json!({ "mean": mean, "least": least })),
        "pairs": pairs,
        "layers": layers,
        "expects": expects,
    });
    format!("{object:#}\n")
}
