//! The session around the answers: starting, ending, edits, and what clients send by mistake.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod common;

use common::{Client, PROGRAM, URI, words};
use lsp_server::{Message, Notification, Request};
use serde_json::{Value, json};

const INVALID_PARAMS: i32 = -32602;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const NOT_INITIALIZED: i32 = -32002;

#[test]
fn a_session_starts_and_ends_in_order() {
    let mut c = Client::raw();
    let (code, _) = c.request("textDocument/hover", json!({})).unwrap_err();
    assert_eq!(code, NOT_INITIALIZED);
    assert_eq!(c.request("shutdown", Value::Null).unwrap_err().0, NOT_INITIALIZED);
    let answer = c.request("initialize", json!({ "capabilities": {} })).unwrap();
    assert_eq!(answer["serverInfo"]["name"], "spc");
    assert_eq!(answer["capabilities"]["positionEncoding"], "utf-16");
    assert_eq!(c.request("initialize", json!({ "capabilities": {} })).unwrap_err().0, INVALID_REQUEST);
    c.notify("initialized", json!({}));
    assert_eq!(c.request("shutdown", Value::Null).unwrap(), Value::Null);
    assert_eq!(c.request("textDocument/hover", json!({})).unwrap_err().0, INVALID_REQUEST);
    assert!(c.exit());
}

#[test]
fn exit_without_shutdown_is_no_clean_end() {
    assert!(!Client::new().exit());
    assert!(!Client::raw().exit());
}

#[test]
fn wrong_requests_are_answered_and_the_session_goes_on() {
    let mut c = Client::with(PROGRAM);
    assert_eq!(c.request("textDocument/nonsense", json!({})).unwrap_err().0, METHOD_NOT_FOUND);
    assert_eq!(c.request("workspace/symbol", json!({ "query": "" })).unwrap_err().0, METHOD_NOT_FOUND);
    for bad in [Value::Null, json!({}), json!([]), json!({ "textDocument": 3, "position": "x" })] {
        assert_eq!(c.request("textDocument/hover", bad).unwrap_err().0, INVALID_PARAMS);
    }
    let at = json!({ "textDocument": { "uri": URI }, "position": { "line": -1, "character": 0 } });
    assert_eq!(c.request("textDocument/hover", at).unwrap_err().0, INVALID_PARAMS);
    for method in ["didOpen", "didChange", "didSave", "didClose"] {
        c.notify(&format!("textDocument/{method}"), json!({ "textDocument": 3 }));
    }
    c.notify("nonsense", Value::Null);
    c.notify("$/setTrace", json!({ "value": "off" }));
    assert!(!c.ask_at("hover", "mlp", 0).unwrap().is_null());
    assert!(c.shut_down());
}

#[test]
fn an_unknown_file_is_an_error_and_a_place_out_of_range_is_not() {
    let mut c = Client::with(PROGRAM);
    let p = json!({ "textDocument": { "uri": "file:///no/such.sp" }, "position": { "line": 0, "character": 0 } });
    let (code, why) = c.request("textDocument/hover", p).unwrap_err();
    assert_eq!((code, why.as_str()), (INVALID_PARAMS, "`file:///no/such.sp` is not open"));
    for (line, character) in [(0, 999), (999, 0), (u32::MAX, u32::MAX)] {
        let at = json!({ "line": line, "character": character });
        assert_eq!(c.ask("hover", json!({ "position": at })).unwrap(), Value::Null);
        assert_eq!(c.ask("definition", json!({ "position": at })).unwrap(), json!([]));
        c.ask("completion", json!({ "position": at })).unwrap();
    }
}

#[test]
fn positions_count_utf16_units() {
    let mut c = Client::with(PROGRAM);
    // Before `b1` in its line stand an accent (two bytes, one unit) and a face (four bytes, two units).
    let line = PROGRAM.lines().position(|l| l.contains("b1: f32")).unwrap();
    let text = PROGRAM.lines().nth(line).unwrap();
    let column = text[..text.find("b1").unwrap()].encode_utf16().count();
    assert_eq!(column + 3, text.find("b1").unwrap());
    let answer = c.ask("hover", json!({ "position": { "line": line, "character": column } })).unwrap();
    assert_eq!(words(PROGRAM, &answer["range"]), "b1");
    assert_eq!(answer["range"]["start"]["character"], column);
    // A rename of what stands behind them hits the words.
    let rename = json!({ "position": { "line": line, "character": column }, "newName": "c" });
    let edits = c.ask("rename", rename).unwrap();
    let named: Vec<String> =
        edits["changes"][URI].as_array().unwrap().iter().map(|e| words(PROGRAM, &e["range"])).collect();
    assert_eq!(named, ["b1", "b1", "b1", ""]);
}

#[test]
fn edits_behind_other_characters_land_where_they_should() {
    let mut c = Client::with(PROGRAM);
    c.edit("b1: f32[N]", "b1: f32[Q]");
    assert_eq!(c.newest(), ["16:35 SP0202 there is no axis `Q`"]);
    c.edit("Q]", "N]");
    assert_eq!(c.newest(), Vec::<String>::new());
    // Several changes in one message, each on the text that the one before left; and a whole text.
    c.edit("é😀\"", "\"");
    c.edit("= \"\"", "= \"é😀\"");
    assert_eq!(c.newest(), Vec::<String>::new());
    let answer = c.ask_at("hover", "b1: f32", 0).unwrap();
    assert_eq!(words(&c.text, &answer["range"]), "b1");
    c.text = "axis B = 1..2\n".into();
    let text = c.text.clone();
    c.change(json!({ "text": text }));
    assert!(!c.ask_at("hover", "B", 0).unwrap().is_null());
}

#[test]
fn diagnostics_follow_the_newest_text() {
    let mut c = Client::new();
    c.open(PROGRAM);
    assert_eq!(c.newest(), Vec::<String>::new());
    c.edit("nn.relu(nn", "nn.rely(nn");
    assert_eq!(c.newest().len(), 1);
    // Broken and repaired in the same breath: what is said last is about the last text.
    for _ in 0..5 {
        c.edit("nn.rely(nn", "nn.rel(((");
        c.edit("nn.rel(((", "nn.relu(nn");
        c.edit("nn.relu(nn", "nn.rely(nn");
    }
    c.edit("nn.rely(nn", "nn.relu(nn");
    assert_eq!(c.newest(), Vec::<String>::new());
    // A request sees the text as of now, without waiting for diagnostics.
    c.edit("h = nn.relu", "hidden = nn.relu");
    let answer = c.ask_at("hover", "hidden", 0).unwrap();
    assert!(answer["contents"]["value"].as_str().unwrap().contains("hidden: f32[B, N]"));
}

#[test]
fn three_broken_items_are_three_diagnostics_and_the_rest_is_checked() {
    let mut c = Client::new();
    let text = PROGRAM
        .replace("axis B = 1..512", "axis B = 1..512\ngroup = 3\nconst 5\n")
        .replace("require nm24: nm(2, 4) on mlp.w1", "require nm24: nm(2, 4) onn mlp.w1")
        .replace("h = h + nn.linear(", "h = h + nn.lineer(");
    c.open(&text);
    let found = c.newest();
    let syntax = found.iter().filter(|d| d.contains("SP0001")).count();
    assert_eq!(syntax, 3, "{found:?}");
    // The unknown function is said too: no broken item could define it.
    assert!(found.iter().any(|d| d.contains("lineer")), "{found:?}");
}

#[test]
fn what_a_broken_item_would_define_is_not_called_unknown() {
    let mut c = Client::new();
    c.open(&PROGRAM.replace("w1: f32[N, I] =", "w1 f32[N, I] ="));
    let found = c.newest();
    assert!(found.iter().all(|d| d.contains("SP0001")), "{found:?}");
    assert_eq!(found.len(), 1);
}

#[test]
fn a_broken_file_still_answers() {
    let mut c = Client::with(PROGRAM);
    c.edit("  h = nn.relu(nn.linear(image, mlp.w1, mlp.b1))\n", "  h = nn.relu(nn.linear(image, mlp.\n");
    for (needle, what) in [("mlp.\n", "model mlp"), ("image, mlp.\n", "image: f32[B, I]"), ("gate)", "gate: f32[N, I]")]
    {
        let answer = c.ask_at("hover", needle, 0).unwrap();
        assert!(answer["contents"]["value"].as_str().unwrap_or_default().contains(what), "{needle}: {answer}");
    }
    let at = common::position(&c.text, c.find("mlp.\n", 0) + 4);
    let answer = c.ask("completion", json!({ "position": at })).unwrap();
    let labels: Vec<&str> = answer.as_array().unwrap().iter().map(|i| i["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["w1", "b1", "w2", "block", "*"]);
    assert!(c.ask("documentSymbol", json!({})).unwrap().as_array().unwrap().len() > 8);
    assert!(!c.ask("foldingRange", json!({})).unwrap().as_array().unwrap().is_empty());
}

#[test]
fn a_closed_file_loses_its_diagnostics() {
    let mut c = Client::new();
    c.open("nonsense\n");
    assert_eq!(c.newest().len(), 1);
    c.notify("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(c.diagnostics()["diagnostics"], json!([]));
    assert_eq!(c.ask("foldingRange", json!({})).unwrap_err().0, INVALID_PARAMS);
    c.open("axis B = 1..2\n");
    assert_eq!(c.newest(), Vec::<String>::new());
}

#[test]
fn files_without_a_path_work() {
    let mut c = Client::new();
    let item = json!({ "uri": "untitled:Untitled-1", "languageId": "sp", "version": 3, "text": PROGRAM });
    c.notify("textDocument/didOpen", json!({ "textDocument": item }));
    let d = c.diagnostics();
    assert_eq!((&d["version"], &d["diagnostics"]), (&json!(3), &json!([])));
}

#[test]
fn a_request_can_be_taken_back() {
    // Everything is sent before the server starts, so it finds the cancellation behind the request.
    let (server, client) = lsp_server::Connection::memory();
    let note = |method: &str, p: Value| client.sender.send(Notification::new(method.into(), p).into()).unwrap();
    let ask =
        |id: i32, method: &str, p: Value| client.sender.send(Request::new(id.into(), method.into(), p).into()).unwrap();
    ask(1, "initialize", json!({ "capabilities": {} }));
    let item = json!({ "uri": URI, "languageId": "sp", "version": 1, "text": PROGRAM });
    note("textDocument/didOpen", json!({ "textDocument": item }));
    let at = json!({ "textDocument": { "uri": URI }, "position": { "line": 1, "character": 0 } });
    ask(2, "textDocument/hover", at.clone());
    ask(3, "textDocument/hover", at);
    note("$/cancelRequest", json!({ "id": 2 }));
    ask(4, "shutdown", Value::Null);
    note("exit", Value::Null);
    assert!(spc_lsp::run(&server, &spc_lsp::NoFiles));
    let answers: Vec<(String, bool)> = client
        .receiver
        .try_iter()
        .filter_map(|m| match m {
            Message::Response(r) => Some((r.id.to_string(), r.response_result.is_ok())),
            _ => None,
        })
        .collect();
    let wanted = [("1", true), ("2", false), ("3", true), ("4", true)].map(|(id, ok)| (id.to_string(), ok));
    assert_eq!(answers, wanted);
}

/// Newer text makes checking older text needless: of many edits in the queue only the last is checked.
#[test]
fn queued_edits_are_checked_once() {
    let (server, client) = lsp_server::Connection::memory();
    let note = |method: &str, p: Value| client.sender.send(Notification::new(method.into(), p).into()).unwrap();
    let ask = |id: i32, method: &str, p: Value| {
        client.sender.send(Request::new(id.into(), method.into(), p).into()).unwrap();
    };
    ask(1, "initialize", json!({ "capabilities": {} }));
    let item = json!({ "uri": URI, "languageId": "sp", "version": 0, "text": "" });
    note("textDocument/didOpen", json!({ "textDocument": item }));
    for version in 1..=40 {
        let document = json!({ "uri": URI, "version": version });
        let at = json!({ "line": version - 1, "character": 0 });
        let change = json!({ "range": { "start": at, "end": at }, "text": format!("axis A{version} = {version}\n") });
        note("textDocument/didChange", json!({ "textDocument": document, "contentChanges": [change] }));
    }
    let server = std::thread::spawn(move || spc_lsp::run(&server, &spc_lsp::NoFiles));
    let mut versions = Vec::new();
    while versions.last() != Some(&40) {
        if let Message::Notification(n) = client.receiver.recv().unwrap() {
            versions.push(n.params["version"].as_i64().unwrap());
        }
    }
    assert_eq!(versions, [40]);
    note("exit", Value::Null);
    assert!(!server.join().unwrap());
}
