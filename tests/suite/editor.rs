//! `spc lsp` as an editor starts it: a real process, messages over its standard input and output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use support::spc::spc_command;

struct Editor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Editor {
    fn start(cache: &Path) -> Editor {
        let mut command = spc_command();
        command.arg("lsp").env("XDG_CACHE_HOME", cache);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Editor { child, input, output }
    }

    fn raw(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn send(&mut self, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        let text = message.to_string();
        self.raw(&format!("Content-Length: {}\r\n\r\n{text}", text.len()));
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server closed its output");
            match line.trim().split_once(": ") {
                Some(("Content-Length", n)) => length = n.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        let v: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(v["jsonrpc"], "2.0");
        v
    }

    fn ask(&mut self, id: i32, method: &str, params: Value) -> Value {
        self.send(json!({ "id": id, "method": method, "params": params }));
        loop {
            let v = self.receive();
            if v["id"] == id && v["method"].is_null() {
                return v;
            }
        }
    }

    fn initialize(&mut self) {
        let publish = json!({ "codeDescriptionSupport": true });
        let capabilities = json!({ "textDocument": { "publishDiagnostics": publish } });
        let answer =
            self.ask(1, "initialize", json!({ "processId": null, "rootUri": null, "capabilities": capabilities }));
        assert_eq!(answer["result"]["serverInfo"]["name"], "spc");
        self.send(json!({ "method": "initialized", "params": {} }));
    }

    fn end(mut self) -> i32 {
        drop(self.input);
        self.child.wait().unwrap().code().unwrap()
    }
}

fn open(uri: &str, text: &str) -> Value {
    let item = json!({ "uri": uri, "languageId": "sp", "version": 1, "text": text });
    json!({ "method": "textDocument/didOpen", "params": { "textDocument": item } })
}

/// The path behind a `file:` address without escapes.
fn path(uri: &Value) -> std::path::PathBuf {
    uri.as_str().unwrap().strip_prefix("file://").unwrap().into()
}

#[test]
fn an_editing_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut e = Editor::start(&dir.path().join("cache"));
    e.initialize();
    let uri = format!("file://{}/a.sp", dir.path().display());
    let text = "use std.nn\naxis B = 1..4\nfn f(x: f32[B]) -> y: f32[B] { y = nn.rely(x) }\n";
    e.send(open(&uri, text));
    let d = e.receive();
    assert_eq!(d["method"], "textDocument/publishDiagnostics");
    let first = &d["params"]["diagnostics"][0];
    let page = std::fs::read_to_string(path(&first["codeDescription"]["href"])).unwrap();
    assert!(page.starts_with(&format!("# {}: ", first["code"].as_str().unwrap())), "the link leads to a page");
    let column = text.lines().nth(2).unwrap().find("rely").unwrap();
    let range =
        json!({ "start": { "line": 2, "character": column + 3 }, "end": { "line": 2, "character": column + 4 } });
    let change = json!({ "range": range, "text": "u" });
    let document = json!({ "uri": uri, "version": 2 });
    e.send(json!({
        "method": "textDocument/didChange", "params": { "textDocument": document, "contentChanges": [change] },
    }));
    let d = e.receive();
    assert_eq!((&d["params"]["version"], &d["params"]["diagnostics"]), (&json!(2), &json!([])));
    // A definition in the standard library is a file that can be opened, and that answers in turn.
    let at = json!({ "textDocument": { "uri": uri }, "position": { "line": 2, "character": column } });
    let found = e.ask(7, "textDocument/definition", at)["result"][0].clone();
    let file = path(&found["uri"]);
    assert!(file.ends_with("std/nn/pointwise.sp"), "{file:?}");
    let library = std::fs::read_to_string(&file).unwrap();
    let line = found["range"]["start"]["line"].as_u64().unwrap() as usize;
    assert!(library.lines().nth(line).unwrap().starts_with("fn relu"));
    e.send(open(found["uri"].as_str().unwrap(), &library));
    assert_eq!(e.receive()["params"]["diagnostics"], json!([]));
    assert_eq!(e.ask(8, "shutdown", Value::Null)["result"], Value::Null);
    e.send(json!({ "method": "exit" }));
    assert_eq!(e.end(), 0);
}

#[test]
fn malformed_messages_do_not_end_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let mut e = Editor::start(dir.path());
    e.initialize();
    let bad = [
        "Content-Length: 5\r\n\r\n{\"id\"",
        "Content-Length: 2\r\n\r\n[]",
        "Content-Length: 4\r\n\r\n\u{e9}\u{e9}",
        "Content-Length: nine\r\n\r\n",
        "Content-Type: x\r\nContent-Length: 13\r\n\r\n{\"method\": 3}",
    ];
    for text in bad {
        e.raw(text);
        let answer = e.receive();
        assert_eq!(answer["id"], Value::Null, "{text:?}: {answer}");
        assert!(answer["error"]["code"].as_i64().unwrap() < 0);
    }
    e.raw("Content-Length: 15\r\n\r\n{\"id\":9,\"x\":[]}");
    assert_eq!(e.receive()["id"], 9);
    e.raw("noise without a header\r\n\r\n");
    assert_eq!(e.ask(3, "shutdown", Value::Null)["result"], Value::Null);
    e.send(json!({ "method": "exit" }));
    assert_eq!(e.end(), 0);
}

#[test]
fn a_client_that_goes_away_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut e = Editor::start(dir.path());
    e.initialize();
    assert_eq!(e.end(), 1);
    assert_eq!(Editor::start(dir.path()).end(), 1);
}
