//! What `spc bench` prints.
use super::{FunctionReport, LayerReport, Report};
use spc_base::Bug;
use spc_bench::Bound;
use spc_bench::stats::{Ratio, Verdict};
use spc_report::{Align, Table, bytes, percent, seconds, times};

pub fn json(r: &Report) -> Result<String, Bug> {
    let text = serde_json::to_string_pretty(r).map_err(|e| Bug::new(format!("a report that is no JSON: {e}")))?;
    Ok(text + "\n")
}

/// What may be said of a ratio.
fn verdict(r: &Ratio) -> String {
    match r.verdict {
        Verdict::Faster => "faster".into(),
        Verdict::Slower => "SLOWER".into(),
        Verdict::NoDifference => "no difference".into(),
    }
}

fn interval(r: &Ratio) -> String {
    if r.high.is_finite() { format!("{:.2}-{:.2}", r.low, r.high) } else { "too few pairs".into() }
}

fn spread(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

pub fn table(r: &Report) -> String {
    let threads = if r.threads == 1 { "1 thread".to_string() } else { format!("{} threads", r.threads) };
    let mut out = format!("{}, {threads}, peer {}\n", r.isa, r.peer);
    out += &format!("measured limits: {:.1} GFLOP/s", r.roofline.gflop_per_s);
    for read in &r.roofline.reads {
        out += &format!(", {:.1} GB/s from {}", read.gb_per_s, bytes(read.bytes));
    }
    out += "\n";
    for f in &r.functions {
        out += "\n";
        out += &function(f);
    }
    out
}

fn function(f: &FunctionReport) -> String {
    use Align::{Left, Right};
    let sizes: Vec<String> = f.sizes.iter().map(|(n, v)| format!("{n} = {v}")).collect();
    let mut out =
        format!("{} at {}\n", f.function, if sizes.is_empty() { "its size".into() } else { sizes.join(", ") });
    let mut t = Table::new([
        ("layer", Left),
        ("shape", Right),
        ("layout", Left),
        ("stored", Right),
        ("dense best", Right),
        ("", Left),
        ("ours", Right),
        ("spread", Right),
        ("ratio", Right),
        ("99 %", Left),
        ("verdict", Left),
        ("of limit", Right),
        ("best", Right),
        ("", Left),
    ]);
    for l in &f.layers {
        t.row(layer(l));
    }
    let w = &f.whole;
    t.row([
        "whole".to_string(),
        String::new(),
        String::new(),
        bytes(w.stored_bytes),
        seconds(w.dense.seconds),
        "dense".into(),
        seconds(w.ours.seconds),
        spread(w.ours.spread),
        times(w.ratio.median),
        interval(&w.ratio),
        verdict(&w.ratio),
    ]);
    out += &t.render();
    out
}

fn layer(l: &LayerReport) -> [String; 14] {
    let c = &l.cell;
    let name = if l.alike.is_empty() { l.weight.clone() } else { format!("{} and {} alike", l.weight, l.alike.len()) };
    let best = if c.best == "dense" { (c.dense, l.dense_layout.clone()) } else { (c.peer, "peer".to_string()) };
    let bound = match c.bound {
        Bound::Compute => "multiply-adds".to_string(),
        Bound::Read(n) => format!("reads of {}", bytes(n)),
    };
    [
        name,
        format!("{}x{}", l.rows, l.cols),
        l.layout.clone(),
        bytes(l.stored_bytes),
        seconds(best.0.seconds),
        best.1,
        seconds(c.ours.seconds),
        spread(c.ours.spread),
        times(c.ratio.median),
        interval(&c.ratio),
        verdict(&c.ratio),
        percent(c.share),
        percent(c.best_share),
        bound,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(median: f64, low: f64, high: f64, verdict: Verdict) -> Ratio {
        Ratio { median, low, high, pairs: 61, verdict }
    }

    #[test]
    fn words_follow_the_verdict_and_not_the_ratio() {
        let r = ratio(1.04, 0.97, 1.1, Verdict::NoDifference);
        assert_eq!((verdict(&r).as_str(), interval(&r).as_str()), ("no difference", "0.97-1.10"));
        assert_eq!(verdict(&ratio(0.9, 0.88, 0.92, Verdict::Slower)), "SLOWER");
        assert_eq!(interval(&ratio(2.0, 0.0, f64::INFINITY, Verdict::NoDifference)), "too few pairs");
        assert_eq!(spread(0.034), "3 %");
    }
}
