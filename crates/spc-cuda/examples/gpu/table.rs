//! What was measured against what is wanted.
use std::collections::BTreeMap;
use std::fmt::Write;

/// Ours, its tokens (0: an update), the peer, and how many times as fast as the peer it should be.
const WANTED: [(&str, u32, &str, f64); 21] = [
    ("mma24", 1, "torch dense bf16, graph", 1.5),
    ("mma24", 16, "torch dense bf16, graph", 1.5),
    ("mma24", 64, "torch dense bf16, graph", 1.5),
    ("mma24", 1, "torch 2:4, eager", 3.0),
    ("mma24", 16, "torch 2:4, eager", 3.0),
    ("mma24", 64, "torch 2:4, eager", 3.0),
    ("mma24", 1024, "torch dense bf16, graph", 1.3),
    ("mma24", 8192, "torch dense bf16, graph", 1.3),
    ("mma24", 1024, "torch 2:4, graph", 1.0),
    ("mma24", 8192, "torch 2:4, graph", 1.0),
    ("vnm(64,8)", 1, "torch dense bf16, graph", 2.5),
    ("vnm(64,8)", 16, "torch dense bf16, graph", 2.5),
    ("vnm(64,8)", 64, "torch dense bf16, graph", 2.5),
    ("kept4(32,16)", 1, "torch dense bf16, graph", 4.0),
    ("kept4(32,16)", 1, "spc mma24", 2.35),
    ("kept4(32,16)", 1, "torch int4, graph", 1.3),
    ("mma32(64)", 1024, "torch dense bf16, graph", 2.0),
    ("mma32(64)", 1024, "torch BSR 64, graph", 1.3),
    ("pack24", 0, "spc copy", 1.2488),
    ("lasso_rows", 0, "spc copy", 0.8),
    ("lasso_16x16", 0, "spc copy", 0.8),
];

/// Microseconds and, of ours, TB/s, by who and how many tokens.
type Times = BTreeMap<(String, u32), (f64, Option<f64>)>;

fn times(text: &str) -> Times {
    let mut out = Times::new();
    for line in text.lines().filter(|l| l.starts_with("spc ") || l.starts_with("torch ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|w| *w == "tokens" || *w == "rows").filter(|at| *at > 1) else { continue };
        let (number, us) = (words[at - 1].parse(), words.get(at + 1).and_then(|w| w.parse().ok()));
        let rate = words.get(at + 3).and_then(|w| w.parse().ok());
        if let (Ok(number), Some(us)) = (number, us) {
            let tokens = if words[at] == "rows" { 0 } else { number };
            out.insert((words[..at - 1].join(" "), tokens), (us, rate));
        }
    }
    out
}

/// As Markdown. What was not measured is left open.
pub fn table(ours: &str, peers: &str) -> String {
    let all = times(&format!("{ours}\n{peers}"));
    let mut t = String::from(
        "| kernel | tokens | us | peer | us | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let get = |who: &str, tokens: u32| all.get(&(who.to_string(), tokens)).copied();
    for (name, tokens, peer, goal) in WANTED {
        let Some((us, _)) = get(&format!("spc {name}"), tokens) else { continue };
        let number = if tokens == 0 { String::new() } else { tokens.to_string() };
        let _ = match get(peer, tokens) {
            Some((other, _)) => {
                let (ratio, met) = (other / us, if other / us >= goal { "met" } else { "missed" });
                writeln!(t, "| {name} | {number} | {us:.1} | {peer} | {other:.1} | {ratio:.2} | {goal} | {met} |")
            }
            None => writeln!(t, "| {name} | {number} | {us:.1} | {peer} | | | {goal} | not measured |"),
        };
    }
    if let Some((_, Some(copy))) = get("spc copy", 0).filter(|(_, rate)| *rate > Some(0.0)) {
        for tokens in [1, 16, 64] {
            if let Some((us, Some(rate))) = get("spc mma24", tokens) {
                // A copy's bytes are read and written: reading alone is at most a little faster.
                let (share, met) = (rate / copy, if rate / copy >= 0.85 { "met" } else { "missed" });
                let _ = writeln!(
                    t,
                    "| mma24, weights alone | {tokens} | {us:.1} | spc copy, bytes a second | | {share:.2} | 0.85 | {met} |"
                );
            }
        }
    }
    t
}
