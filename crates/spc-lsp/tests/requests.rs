//! Every kind of request on one program, answers as snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Client, PROGRAM, URI, pretty, words};
use serde_json::{Value, json};
use std::fmt::Write;

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn the_program_is_sound() {
    let mut c = Client::new();
    c.open(PROGRAM);
    assert_eq!(c.newest(), Vec::<String>::new());
    assert!(c.shut_down());
}

#[test]
fn hover() {
    let mut c = Client::with(PROGRAM);
    let places = [
        ("std.nn", 0),
        ("nn\n", 0),
        ("nm\n", 0),
        ("B = 1", 0),
        ("digits from", 0),
        ("I = 64", 0),
        ("image: f32[I]", 0),
        ("label: i32", 0),
        ("test = rows", 0),
        ("mlp from", 0),
        ("N = 256", 0),
        ("w1: f32", 0),
        ("b1: f32", 0),
        ("w2: f32", 0),
        ("block[l", 0),
        ("l: L] =", 0),
        ("gate: f32", 0),
        ("classify", 0),
        ("image: f32[B", 0),
        ("logits: f32", 0),
        ("h = nn.relu", 0),
        ("relu(", 0),
        ("linear(", 0),
        ("b1))", 0),
        ("o] = mlp", 0),
        ("n] * h", 0),
        ("h[b, n]", 0),
        ("l in L", 0),
        ("L {", 0),
        ("p = mlp.block", 0),
        ("gate)", 0),
        ("nm24", 0),
        ("nm(2, 4)", 0),
        ("cols", 0),
        ("tile", 0),
        ("in: 1", 0),
        ("tensor by", 0),
        ("norm2", 0),
        ("unit =", 0),
        ("half", 0),
        ("test {", 0),
        ("entry(digits", 0),
        ("test.image", 0),
        ("accuracy", 0),
        ("laptop", 0),
        ("B = 360", 0),
        ("sparsity", 0),
        ("keep", 0),
        ("// é", 0),
        (" = ", 0),
    ];
    let mut out = String::new();
    for (needle, nth) in places {
        let answer = c.ask_at("hover", needle, nth).unwrap();
        let value = answer["contents"]["value"].as_str().unwrap_or("nothing");
        // The library may gain names.
        let value = value.split("standard module:").next().unwrap();
        let on = if answer.is_null() { String::new() } else { words(&c.text, &answer["range"]) };
        writeln!(out, "==== {:?} `{on}`\n{value}\n", needle.trim()).unwrap();
    }
    snapshot("hover", &out);
}

/// Locations with their words and lines. Of the library, only where an item is declared: it may gain uses.
fn places(c: &Client, list: &Value) -> String {
    let mut out = String::new();
    for l in list.as_array().unwrap() {
        let (uri, line) = (l["uri"].as_str().unwrap(), l["range"]["start"]["line"].as_u64().unwrap());
        if uri == URI {
            let text = c.text.lines().nth(line as usize).unwrap().trim();
            writeln!(out, "  {line}: `{}` in `{text}`", words(&c.text, &l["range"])).unwrap();
        } else {
            let path = uri.strip_prefix("file:///cache/").unwrap();
            let file = spc_stdlib::FILES.iter().find(|f| f.path == path).unwrap();
            let text = file.text.lines().nth(line as usize).unwrap();
            let words = words(file.text, &l["range"]);
            if words.is_empty() {
                writeln!(out, "  {path}").unwrap();
            } else if ["fn", "pattern"].iter().any(|w| text.starts_with(&format!("{w} {words}("))) {
                writeln!(out, "  {path}: `{words}` in `{}`", text.split('(').next().unwrap()).unwrap();
            }
        }
    }
    out
}

#[test]
fn definition_references_highlight() {
    let mut c = Client::with(PROGRAM);
    let list = [
        "mlp.w1, mlp.b1",
        "w1, mlp",
        "I]",
        "linear(",
        "nn.relu",
        "nm(2",
        "h[b, n]",
        "b, n]",
        "gate)",
        "L {",
        "entry(d",
        "test.image",
        "image)",
        "in: 1",
        "digits.test",
        "B = 360",
        "f32",
    ];
    let mut out = String::new();
    for needle in list {
        writeln!(out, "==== {needle:?}").unwrap();
        for method in ["definition", "references"] {
            let answer = c.ask_at(method, needle, 0).unwrap();
            write!(out, "{method}\n{}", places(&c, &answer)).unwrap();
        }
        let marks = c.ask_at("documentHighlight", needle, 0).unwrap();
        let writes = marks.as_array().unwrap().iter().filter(|m| m["kind"] == 3).count();
        writeln!(out, "highlight: {} of them {writes} written", marks.as_array().unwrap().len()).unwrap();
    }
    snapshot("navigation", &out);
}

#[test]
fn definitions_in_a_file_of_the_library() {
    let mut c = Client::new();
    let text = spc_stdlib::FILES.iter().find(|f| f.path == "std/nn/linear.sp").unwrap().text;
    let uri = "file:///cache/std/nn/linear.sp";
    let item = json!({ "uri": uri, "languageId": "sp", "version": 1, "text": text });
    c.notify("textDocument/didOpen", json!({ "textDocument": item }));
    assert_eq!(c.diagnostics()["diagnostics"], json!([]), "the library is not checked as a program");
    let at = common::position(text, text.find("w[o, i]").unwrap());
    let p = json!({ "textDocument": { "uri": uri }, "position": at });
    let found = c.request("textDocument/definition", p.clone()).unwrap();
    assert_eq!(words(text, &found[0]["range"]), "w");
    assert_eq!(found[0]["uri"], uri);
    let mut rename = p;
    rename["newName"] = json!("v");
    assert!(c.request("textDocument/rename", rename).unwrap_err().1.contains("standard library"));
}

/// Names of the library that are shown; it may gain others.
const SHOWN: [&str; 10] =
    ["sr_ste", "mcp", "nn", "patterns", "linear", "attention", "relu", "nm", "nm_shared", "blocks"];

/// Labels of the answer, with details where there are some.
fn labels(answer: &Value, most: usize) -> String {
    let library = |i: &Value| {
        let (name, detail) = (i["label"].as_str().unwrap(), i["detail"].as_str().unwrap_or_default());
        let module = i["kind"] == 9;
        let item = ["fn ", "pattern ", "mask ", "score ", "schedule ", "penalty ", "update "]
            .iter()
            .any(|w| detail.starts_with(w));
        (module || (item && !PROGRAM.contains(detail))) && !SHOWN.contains(&name)
    };
    let list: Vec<&Value> = answer.as_array().unwrap().iter().filter(|i| !library(i)).collect();
    let mut out = String::new();
    for i in list.iter().take(most) {
        write!(out, "  {}", i["label"].as_str().unwrap()).unwrap();
        if let Some(d) = i["detail"].as_str().filter(|_| i["kind"] != 9) {
            write!(out, "    | {d}").unwrap();
        }
        if !i["additionalTextEdits"].is_null() {
            write!(out, "    + {:?}", i["additionalTextEdits"][0]["newText"].as_str().unwrap()).unwrap();
        }
        out.push('\n');
    }
    if list.len() > most {
        writeln!(out, "  .. {} in all", list.len()).unwrap();
    }
    out
}

#[test]
fn completion() {
    // `|` is the place; the line is added to the end of the program.
    let lines = [
        "|",
        "re|",
        "use |",
        "use std.|",
        "use std.nn.|",
        "use std.patterns.{nm, |",
        "require a: |",
        "require a: keep 2 of 4 of |",
        "require a: keep 20% of elements per |",
        "require a: keep 20% of elements per tensor by |",
        "require a: keep 20% of elements |",
        "require a: keep 20% of elements per tensor on mlp.w1 |",
        "require a: nm(2, 4) on |",
        "require a: nm(2, 4) on mlp.|",
        "require a: nm(2, 4) on mlp.block.*.|",
        "require a: nm(2, 4) on mlp.block.*.{|",
        "require a: nm(|",
        "require a: nm(2, m: 4, |",
        "require a: keep 1 of 4 of tile(|",
        "require a: keep 1 of 4 of elements per tile(|",
        "require a: nm(2, 4) via |",
        "group g = |",
        "group g = slices(|",
        "group g = slices(N) of |",
        "penalize p: 1e-3 * |",
        "fn g(x: |",
        "fn g(x: f32[|",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  y = |",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  z = x\n  y = nn.|",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  y = nn.linear(x, |",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  y = nn.linear(x, w: |",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  y[b, i] = x[|",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  y[b, i] = x[b, |",
        "fn g(x: f32[B, I]) -> y: f32[B, I] {\n  for l in L {\n    p = mlp.block[l]\n    y = p.|",
        "run r { |",
        "run r { call: |",
        "run r { call: entry(digits.|",
        "run r { call: entry(digits.test.|",
        "run r { call: entry(digits.test.image)  report: [|",
        "target t = |",
        "target t = cpu(threads: 1) { |",
        "expect |",
        "expect sparsity(mlp.|",
        "// require a: |",
        "model m {\n  w: f32[I] = |",
        "model m from safetensors \"x\" {\n  w: f32[|",
        "model m from safetensors \"x\" {\n  w: f32[I] = \"s|",
        "model m from safetensors \"x\" {\n  block[l: L] = \"block.{l}\" {\n    w: f32[I] = \"|",
    ];
    let mut out = String::new();
    for line in lines {
        let text = format!("{PROGRAM}\n{}", line.replace('|', ""));
        let mut c = Client::with(&text);
        let at = common::position(&text, PROGRAM.len() + 1 + line.find('|').unwrap());
        let answer = c.ask("completion", json!({ "position": at })).unwrap();
        writeln!(out, "==== {}\n{}", line.replace('\n', "\\n"), labels(&answer, 12)).unwrap();
    }
    snapshot("completion", &out);
}

#[test]
fn completion_inserts_snippets_and_imports() {
    let text = "edition 1\n\nrequire a: \n";
    let mut c = Client::with(text);
    let at = json!({ "line": 2, "character": 11 });
    let answer = c.ask("completion", json!({ "position": at })).unwrap();
    let nm = answer.as_array().unwrap().iter().find(|i| i["label"] == "nm").unwrap();
    assert_eq!(nm["additionalTextEdits"][0]["newText"], "use std.patterns.nm\n");
    assert_eq!(nm["additionalTextEdits"][0]["range"]["start"], json!({ "line": 1, "character": 0 }));
    let keep = answer.as_array().unwrap().iter().find(|i| i["label"] == "keep").unwrap();
    assert_eq!(keep["insertTextFormat"], 2);
}

#[test]
fn outline_and_folding() {
    let mut c = Client::with(PROGRAM);
    let symbols = c.ask("documentSymbol", json!({})).unwrap();
    fn show(list: &Value, depth: usize, out: &mut String) {
        for s in list.as_array().into_iter().flatten() {
            let (name, detail) = (s["name"].as_str().unwrap(), s["detail"].as_str().unwrap_or(""));
            let line = |k: &str| s[k]["start"]["line"].as_u64().unwrap();
            let end = s["range"]["end"]["line"].as_u64().unwrap();
            assert!(line("range") <= line("selectionRange"));
            writeln!(out, "{}{name} ({detail}) {}..{end}", "  ".repeat(depth), line("range")).unwrap();
            show(&s["children"], depth + 1, out);
        }
    }
    let mut out = String::new();
    show(&symbols, 0, &mut out);
    out += "---- folding\n";
    let folds = c.ask("foldingRange", json!({})).unwrap();
    for f in folds.as_array().unwrap() {
        let first = f["startLine"].as_u64().unwrap();
        let line = c.text.lines().nth(first as usize).unwrap();
        writeln!(out, "{first}..{} `{}`", f["endLine"], line.trim()).unwrap();
    }
    snapshot("outline", &out);
}

#[test]
fn formatting() {
    let mut c = Client::with(PROGRAM);
    assert_eq!(c.ask("formatting", json!({ "options": { "tabSize": 2, "insertSpaces": true } })).unwrap(), json!([]));
    c.edit("axis B = 1..512", "axis   B=1 .. 512");
    let edits = c.ask("formatting", json!({ "options": { "tabSize": 2, "insertSpaces": true } })).unwrap();
    assert_eq!(edits[0]["newText"], PROGRAM);
    c.edit("axis   B", "axis ) B");
    let broken = c.ask("formatting", json!({ "options": { "tabSize": 2, "insertSpaces": true } })).unwrap();
    assert_eq!(broken, Value::Null, "a text with errors stays as it is");
}

/// The text after edits, which do not overlap.
fn applied(text: &str, edits: &Value) -> String {
    let lines = spc_lsp::Lines::of(text);
    let offset = |p: &Value| lines.offset(text, serde_json::from_value(p.clone()).unwrap());
    let mut list: Vec<(usize, usize, &str)> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (offset(&e["range"]["start"]), offset(&e["range"]["end"]), e["newText"].as_str().unwrap()))
        .collect();
    list.sort();
    let mut out = text.to_string();
    for (a, b, new) in list.into_iter().rev() {
        out.replace_range(a..b, new);
    }
    out
}

#[test]
fn renaming() {
    let mut c = Client::with(PROGRAM);
    let mut out = String::new();
    let cases = [
        ("mlp from", "net"),
        ("I = 64", "Pixels"),
        ("h = nn", "hidden"),
        ("h = h + nn", "sum1"),
        ("w2: f32", "last"),
        ("b1: f32", "bias"),
        ("n] * h", "k"),
        ("nm24", "quarter"),
        ("entry(image", "forward2"),
    ];
    for (needle, new) in cases {
        let at = common::position(&c.text, c.find(needle, 0));
        let ready = c.ask("prepareRename", json!({ "position": at })).unwrap();
        assert!(!ready.is_null(), "{needle}");
        let edit = c.ask("rename", json!({ "position": at, "newName": new })).unwrap();
        let after = applied(PROGRAM, &edit["changes"][URI]);
        writeln!(out, "==== {needle:?} to {new}").unwrap();
        for (a, b) in PROGRAM.lines().zip(after.lines()).filter(|(a, b)| a != b) {
            writeln!(out, "- {}\n+ {}", a.trim(), b.trim()).unwrap();
        }
        let mut renamed = Client::new();
        renamed.open(&after);
        assert_eq!(renamed.newest(), Vec::<String>::new(), "{needle} renamed to {new} breaks the program");
    }
    out += "---- refused\n";
    for (needle, new) in [
        ("nm(2", "x"),
        ("relu", "x"),
        ("nn.relu", "x"),
        ("h = nn", "2x"),
        ("h = nn", "of"),
        ("h = nn", "image"),
        ("// é", "x"),
    ] {
        let at = common::position(&c.text, c.find(needle, 0));
        let (_, why) = c.ask("rename", json!({ "position": at, "newName": new })).unwrap_err();
        writeln!(out, "{needle:?} to {new}: {why}").unwrap();
    }
    snapshot("renaming", &out);
}

#[test]
fn quick_fixes() {
    let text =
        PROGRAM.replace("nn.relu(nn", "nn.rely(nn").replace("on mlp.w2", "on mlp.w9").replace("edition 1", "edition 2");
    let mut c = Client::with(&text);
    let whole = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 99, "character": 0 } });
    let none = json!({ "diagnostics": [] });
    let all = c.ask("codeAction", json!({ "range": whole, "context": none })).unwrap();
    let mut out = String::new();
    for a in all.as_array().unwrap() {
        writeln!(out, "{}: {}", a["kind"].as_str().unwrap(), a["title"].as_str().unwrap()).unwrap();
        for e in a["edit"]["changes"][URI].as_array().unwrap() {
            writeln!(out, "  `{}` -> {:?}", words(&text, &e["range"]), e["newText"].as_str().unwrap()).unwrap();
        }
    }
    let only = json!({ "diagnostics": [], "only": ["source.fixAll"] });
    let fixes = c.ask("codeAction", json!({ "range": whole, "context": only })).unwrap();
    assert!(fixes.as_array().unwrap().iter().all(|a| a["kind"] == "source.fixAll.spc"));
    let top = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 0 } });
    let elsewhere =
        c.ask("codeAction", json!({ "range": top, "context": { "diagnostics": [], "only": ["quickfix"] } }));
    assert_eq!(elsewhere.unwrap(), json!([]));
    snapshot("quick_fixes", &out);
}

#[test]
fn diagnostics_have_code_link_and_related_places() {
    let text = PROGRAM.replace("nn.linear(image, mlp.w1", "nn.linear(image, mlp.w2").replace("axis B", "axis N = 3, B");
    let mut c = Client::new();
    c.open(&text);
    snapshot("diagnostics", &pretty(&c.diagnostics()["diagnostics"]));
    // Weight files: a header that does not fit, and a file that is not there.
    c.open(&PROGRAM.replace("N = 256", "N = 128"));
    let mut out = c.newest().join("\n");
    c.open(&PROGRAM.replace("net.safetensors", "none.safetensors"));
    out = format!("{out}\n----\n{}", c.newest().join("\n"));
    snapshot("headers", &out);
}

#[test]
fn semantic_tokens() {
    let mut c = Client::with(PROGRAM);
    let answer = c.ask("semanticTokens/full", json!({})).unwrap();
    let data: Vec<u64> = answer["data"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
    assert_eq!(data.len() % 5, 0);
    let names = ["namespace", "type", "class", "axis", "parameter", "variable", "property", "function", "macro"];
    let (mut line, mut column) = (0u64, 0u64);
    let mut out = String::new();
    for t in data.chunks(5) {
        column = if t[0] == 0 { column + t[1] } else { t[1] };
        line += t[0];
        let range = json!({ "start": { "line": line, "character": column }, "end": { "line": line, "character": column + t[2] } });
        writeln!(out, "{line}:{column} `{}` {} {}", words(&c.text, &range), names[t[3] as usize], t[4]).unwrap();
    }
    snapshot("semantic_tokens", &out);
}
