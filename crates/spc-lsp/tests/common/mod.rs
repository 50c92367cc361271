//! A client that follows a script, over a connection in memory.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use lsp_server::{Connection, Message, Notification, Request, RequestId};
use serde_json::{Value, json};
use spc_lsp::{Diagnostic, Host, Lines, Stored};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pages lie below `/cache`; every weight file has the tensors of [`PROGRAM`]'s model and one more.
pub struct Fake;

impl Host for Fake {
    fn stored(&self, path: &Path) -> Option<Result<Vec<Stored>, Diagnostic>> {
        if path.ends_with("none.safetensors") {
            let code = spc_base::codes::NO_FILE;
            return Some(Err(Diagnostic::error(code, "there is no such file")));
        }
        let tensor = |name: &str, shape: &[u64]| Stored { name: name.into(), dtype: "F32".into(), shape: shape.into() };
        Some(Ok(vec![
            tensor("é😀", &[256, 64]),
            tensor("b1", &[256]),
            tensor("w2", &[10, 256]),
            tensor("block.0.gate.weight", &[256, 64]),
            tensor("block.1.gate.weight", &[256, 64]),
            tensor("block.0.up.weight", &[256, 64]),
            tensor("spare", &[3]),
        ]))
    }

    fn page(&self, name: &str, _: &str) -> Option<PathBuf> {
        Some(Path::new("/cache").join(name))
    }
}

pub const URI: &str = "file:///work/caf%C3%A9/net.sp";

/// Uses every part that answers are about. Columns after the accents and the face differ in bytes and in UTF-16.
pub const PROGRAM: &str = "\
//! Réseau: é and 😀 before words.
edition 1
use std.nn
use std.patterns.nm

axis B = 1..512

data digits from csv \"digits.csv\" {
  axes { I = 64, O = 10 }
  image: f32[I] = columns(0..64) / 16
  label: i32    = column(64)
  split { test = rows(\"rows.txt\"), train = rest }
}

model mlp from safetensors \"net.safetensors\" {
  axes { I = 64, N = 256, O = 10, L = 2 }
  w1: f32[N, I] = \"é😀\"    b1: f32[N]
  w2: f32[O, N] = \"w2\"
  block[l: L] = \"block.{l}\" { gate: f32[N, I] = \"gate.weight\" }
}

/// One row of scores for each image.
fn classify(image: f32[B, I]) -> logits: f32[B, O] {
  h = nn.relu(nn.linear(image, mlp.w1, mlp.b1))  // é😀
  logits[b, o] = mlp.w2[o, n] * h[b, n]
}

fn entry(image: f32[B, I]) -> y: f32[B, O] {
  // é😀
  h = nn.relu(nn.linear(image, mlp.w1, mlp.b1))
  for l in L {
    p = mlp.block[l]
    h = h + nn.linear(image, p.gate)
  }
  y[b, o] = mlp.w2[o, n] * h[b, n]
}

group unit = slices(N) of mlp
require half: keep 50% of unit per model by norm2
require nm24: nm(2, 4) on mlp.w1
require cols: keep 25% of tile(out: 2, in: 1) per tensor by norm2 on mlp.w2

run test { call: entry(digits.test.image)   report: [accuracy(digits.test.label), size] }

target laptop = cpu(threads: 1) { B = 360 }

expect sparsity(mlp.w1) >= 50%
";

pub struct Client {
    connection: Connection,
    server: Option<JoinHandle<bool>>,
    next: i32,
    version: i32,
    /// Diagnostics that came before they were asked for.
    early: VecDeque<Value>,
    /// The text as the server has it.
    pub text: String,
}

impl Client {
    /// A server that is not initialised.
    pub fn raw() -> Client {
        let (server, connection) = Connection::memory();
        let server = std::thread::spawn(move || spc_lsp::run(&server, &Fake));
        Client { connection, server: Some(server), next: 0, version: 0, early: VecDeque::new(), text: String::new() }
    }

    pub fn new() -> Client {
        let mut c = Client::raw();
        let capabilities = json!({ "textDocument": {
            "completion": { "completionItem": { "snippetSupport": true } },
            "publishDiagnostics": { "codeDescriptionSupport": true, "relatedInformation": true },
        } });
        c.request("initialize", json!({ "processId": null, "rootUri": null, "capabilities": capabilities })).unwrap();
        c.notify("initialized", json!({}));
        c
    }

    /// With a text open; its first diagnostics are passed over.
    pub fn with(text: &str) -> Client {
        let mut c = Client::new();
        c.open(text);
        c.diagnostics();
        c
    }

    pub fn open(&mut self, text: &str) {
        self.text = text.to_string();
        self.version += 1;
        let item = json!({ "uri": URI, "languageId": "sp", "version": self.version, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": item }));
    }

    pub fn notify(&self, method: &str, params: Value) {
        self.connection.sender.send(Notification::new(method.into(), params).into()).unwrap();
    }

    fn receive(&self) -> Message {
        self.connection.receiver.recv_timeout(Duration::from_secs(60)).expect("the server answers")
    }

    /// The result, or code and message of the error.
    pub fn request(&mut self, method: &str, params: Value) -> Result<Value, (i32, String)> {
        self.next += 1;
        let id = RequestId::from(self.next);
        self.connection.sender.send(Request::new(id.clone(), method.into(), params).into()).unwrap();
        loop {
            match self.receive() {
                Message::Response(r) => {
                    assert_eq!(r.id, id);
                    return r.response_result.map_err(|e| (e.code, e.message));
                }
                Message::Notification(n) => self.early.push_back(n.params),
                Message::Request(_) => panic!("the server asks for nothing"),
            }
        }
    }

    /// A request about the open text.
    pub fn ask(&mut self, method: &str, more: Value) -> Result<Value, (i32, String)> {
        let mut params = json!({ "textDocument": { "uri": URI } });
        for (k, v) in more.as_object().unwrap() {
            params[k] = v.clone();
        }
        self.request(&format!("textDocument/{method}"), params)
    }

    /// A request about the place where `needle` begins for the `nth` time, counted from 0.
    pub fn ask_at(&mut self, method: &str, needle: &str, nth: usize) -> Result<Value, (i32, String)> {
        let at = position(&self.text, self.find(needle, nth));
        self.ask(method, json!({ "position": at, "context": { "includeDeclaration": true } }))
    }

    pub fn find(&self, needle: &str, nth: usize) -> usize {
        self.text.match_indices(needle).nth(nth).unwrap_or_else(|| panic!("no `{needle}`")).0
    }

    /// The next diagnostics of the open text.
    pub fn diagnostics(&mut self) -> Value {
        if let Some(d) = self.early.pop_front() {
            return d;
        }
        loop {
            if let Message::Notification(n) = self.receive()
                && n.method == "textDocument/publishDiagnostics"
            {
                return n.params;
            }
        }
    }

    /// Diagnostics of the newest version, as one line each: `line:column CODE message`.
    pub fn newest(&mut self) -> Vec<String> {
        loop {
            let p = self.diagnostics();
            if p["version"] == self.version {
                return p["diagnostics"].as_array().unwrap().iter().map(brief).collect();
            }
        }
    }

    /// Replaces the first `old` by `new`, as an editor tells it.
    pub fn edit(&mut self, old: &str, new: &str) {
        let from = self.find(old, 0);
        self.replace(from, from + old.len(), new);
    }

    pub fn replace(&mut self, from: usize, to: usize, new: &str) {
        let range = json!({ "start": position(&self.text, from), "end": position(&self.text, to) });
        self.text.replace_range(from..to, new);
        self.change(json!({ "range": range, "text": new }));
    }

    pub fn change(&mut self, change: Value) {
        self.version += 1;
        let document = json!({ "uri": URI, "version": self.version });
        self.notify("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }

    /// Ends the session in order; true if the server agrees.
    pub fn shut_down(mut self) -> bool {
        self.request("shutdown", Value::Null).unwrap();
        self.exit()
    }

    pub fn exit(mut self) -> bool {
        self.notify("exit", Value::Null);
        self.server.take().unwrap().join().unwrap()
    }
}

pub fn position(text: &str, offset: usize) -> Value {
    serde_json::to_value(Lines::of(text).position(text, offset)).unwrap()
}

/// The words of a range.
pub fn words(text: &str, range: &Value) -> String {
    let lines = Lines::of(text);
    let at = |p: &Value| lines.offset(text, serde_json::from_value(p.clone()).unwrap());
    text[at(&range["start"])..at(&range["end"])].to_string()
}

pub fn brief(d: &Value) -> String {
    let start = &d["range"]["start"];
    let message = d["message"].as_str().unwrap().lines().next().unwrap();
    format!("{}:{} {} {message}", start["line"], start["character"], d["code"].as_str().unwrap())
}

pub fn pretty(v: &Value) -> String {
    serde_json::to_string_pretty(v).unwrap()
}
