//! Time from a keystroke to its diagnostics.
//!
//!     cargo bench -p spc-lsp --bench keystrokes [-- FILE.sp]
//!
//! Types a word into the middle of a program and removes it again, one character at a time, and waits for the diagnostics
//! of each. Without a file the program is made here: 500 lines with a model, functions, groups and constraints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
use lsp_server::{Connection, Message, Notification, Request};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A program of exactly `lines` lines that has no errors.
fn program(lines: usize) -> String {
    let mut t = String::from("edition 1\nuse std.nn\nuse std.patterns.nm\n\naxis B = 1..64, T = 1..128\n\n");
    t += "model net {\n  axes { D = 256, F = 512, H = 8, C = 32, L = 4 }\n";
    t += "  layer[l: L] {\n    wq: f32[(H C), D]   wk: f32[(H C), D]   wv: f32[(H C), D]   wo: f32[D, (H C)]\n";
    t += "    bq: f32[(H C)]      bk: f32[(H C)]      bv: f32[(H C)]      bo: f32[D]\n";
    t += "    up: f32[F, D]       down: f32[D, F]     n1: f32[D]          n2: f32[D]\n  }\n}\n";
    let constraint = "require nm24: nm(2, 4) on net.layer.*.{up}\n";
    let mut n = 0;
    while t.lines().count() + 17 < lines {
        write!(
            t,
            "
/// Block {n}, with the residual stream in `x`.
fn block{n}(x: f32[B, T, D], real: bool[B, T]) -> y: f32[B, T, D] {{
  for l in L {{
    p = net.layer[l]
    a = nn.attention(nn.rmsnorm(x, p.n1), p, keys: real)
    x = x + a
    h[b, t, f] = p.up[f, d] * x[b, t, d]
    h = nn.relu(h)
    o[b, t, d] = p.down[d, f] * h[b, t, f]
    x = nn.rmsnorm(x + o, p.n2)
  }}
  s[b, t] = sum(x[b, t, d]^2 over d)
  y[b, t, d] = x[b, t, d] / sqrt(s[b, t] + 1)
}}
"
        )
        .unwrap();
        n += 1;
    }
    t += constraint;
    while t.lines().count() < lines {
        t += "// end\n";
    }
    t
}

fn main() {
    // Cargo passes `--bench`.
    let file = std::env::args().skip(1).find(|a| !a.starts_with("--"));
    let text = file.map_or_else(|| program(500), |f| std::fs::read_to_string(f).unwrap());
    let (server, client) = Connection::memory();
    std::thread::spawn(move || spc_lsp::run(&server, &spc_lsp::NoFiles));
    let send = |m: Message| client.sender.send(m).unwrap();
    let note = |method: &str, p: Value| send(Notification::new(method.into(), p).into());
    let uri = "file:///bench.sp";
    // The answer: how many diagnostics there are.
    let wait = |version: i32| loop {
        if let Message::Notification(n) = client.receiver.recv().unwrap()
            && n.params["version"] == version
        {
            break n.params["diagnostics"].as_array().unwrap().len();
        }
    };
    send(Request::new(1.into(), "initialize".into(), json!({ "capabilities": {} })).into());
    let item = json!({ "uri": uri, "languageId": "sp", "version": 0, "text": text });
    note("textDocument/didOpen", json!({ "textDocument": item }));
    let found = wait(0);
    println!("{} lines, {} bytes, {found} diagnostics", text.lines().count(), text.len());

    // Behind the last `x = ` of the middle: every other keystroke leaves the line broken.
    let line = text.lines().count() / 2;
    let line = (line..).find(|n| text.lines().nth(*n).is_none_or(|l| l.contains(" = "))).unwrap();
    let column = text.lines().nth(line).unwrap_or_default().encode_utf16().count();
    let word = " + nn.relu(x) * 2";
    let mut times: Vec<(Duration, usize)> = Vec::new();
    let mut version = 0;
    for _ in 0..5 {
        let typed = word.chars().enumerate().map(|(i, c)| (i, i, c.to_string()));
        let removed = (0..word.len()).rev().map(|i| (i, i + 1, String::new()));
        for (from, to, new) in typed.chain(removed) {
            version += 1;
            let at = |c: usize| json!({ "line": line, "character": column + c });
            let change = json!({ "range": { "start": at(from), "end": at(to) }, "text": new });
            let document = json!({ "uri": uri, "version": version });
            let start = Instant::now();
            note("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
            let found = wait(version);
            times.push((start.elapsed(), found));
        }
    }
    let broken = times.iter().filter(|t| t.1 > found).count();
    let mut sorted: Vec<Duration> = times.iter().map(|t| t.0).collect();
    sorted.sort();
    let at = |share: usize| sorted[(sorted.len() - 1) * share / 100].as_secs_f64() * 1e3;
    println!("{} keystrokes, {broken} of them leave the text broken", times.len());
    println!("keystroke to diagnostics: median {:.1} ms, 95 % {:.1} ms, worst {:.1} ms", at(50), at(95), at(100));
}
