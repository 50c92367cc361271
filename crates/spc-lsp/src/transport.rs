//! Messages over standard input and output. Unlike the scaffold's own transport this one outlives malformed messages:
//! they are answered with an error, and reading goes on.
use crate::{Host, run};
use lsp_server::{Connection, ErrorCode, Message, Notification};
use serde_json::{Value, json};
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Mutex};

/// Longest message that is read; longer ones are passed over.
const LONGEST: usize = 64 << 20;

/// One frame of the input.
#[derive(Debug, PartialEq)]
enum Frame {
    Text(Vec<u8>),
    /// It cannot be used, for this reason.
    Bad(&'static str),
    End,
}

/// Reads one frame. Header lines that make no sense are passed over.
fn frame(input: &mut impl BufRead) -> io::Result<Frame> {
    let mut length: Option<u64> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without end cannot fill the memory.
        let n = input.by_ref().take(64 << 10).read_until(b'\n', &mut line)?;
        if n == 0 {
            return Ok(Frame::End);
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if text.is_empty() {
            match length {
                Some(_) => break,
                None => continue,
            }
        }
        if let Some((name, value)) = text.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
            if length.is_none() {
                return Ok(Frame::Bad("the length of the message is no number"));
            }
        }
    }
    let length = length.unwrap_or_default();
    if length > LONGEST as u64 {
        let passed = io::copy(&mut input.by_ref().take(length), &mut io::sink())?;
        return Ok(if passed < length { Frame::End } else { Frame::Bad("the message is too long") });
    }
    let mut body = Vec::new();
    input.by_ref().take(length).read_to_end(&mut body)?;
    Ok(if (body.len() as u64) < length { Frame::End } else { Frame::Text(body) })
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    write!(out, "Content-Length: {}\r\n\r\n{text}", text.len())?;
    out.flush()
}

/// The answer to a message that is none.
fn refusal(id: Value, code: ErrorCode, why: &str) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code as i32, "message": why } }).to_string()
}

/// What a frame's text is, or the answer to send back.
fn message(body: &[u8]) -> Result<Message, Option<String>> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return Err(Some(refusal(Value::Null, ErrorCode::ParseError, "the message is not JSON")));
    };
    let id = value.get("id").filter(|id| id.is_number() || id.is_string()).cloned();
    serde_json::from_value::<Message>(value).map_err(|_| {
        let id = id.unwrap_or(Value::Null);
        Some(refusal(id, ErrorCode::InvalidRequest, "the message is neither request, notification nor response"))
    })
}

/// Serves one client over standard input and output until it says `exit` or closes the input. True when the client said
/// `shutdown` before.
pub fn serve(host: &dyn Host) -> io::Result<bool> {
    let (server, client) = Connection::memory();
    let out = Arc::new(Mutex::new(io::stdout()));
    let send = |out: &Mutex<io::Stdout>, text: &str| match out.lock() {
        Ok(mut out) => write(&mut *out, text),
        Err(_) => Err(io::Error::other("another thread failed while writing")),
    };
    let Connection { sender, receiver } = client;
    let errors = Arc::clone(&out);
    // Not joined: it may wait for input for ever, and ends with the process.
    std::thread::Builder::new().name("reader".into()).spawn(move || {
        let mut input = io::stdin().lock();
        let exit = || Message::Notification(Notification::new("exit".into(), Value::Null));
        loop {
            let sent = match frame(&mut input) {
                Ok(Frame::Text(body)) => match message(&body) {
                    Ok(m) => sender.send(m).is_ok(),
                    Err(answer) => answer.is_none_or(|text| send(&errors, &text).is_ok()),
                },
                Ok(Frame::Bad(why)) => send(&errors, &refusal(Value::Null, ErrorCode::ParseError, why)).is_ok(),
                Ok(Frame::End) | Err(_) => {
                    let _ = sender.send(exit());
                    return;
                }
            };
            if !sent {
                let _ = sender.send(exit());
                return;
            }
        }
    })?;
    let writer = std::thread::Builder::new().name("writer".into()).spawn(move || {
        for m in receiver {
            let Ok(Value::Object(mut body)) = serde_json::to_value(&m) else { continue };
            body.insert("jsonrpc".into(), "2.0".into());
            let sent = match out.lock() {
                Ok(mut out) => write(&mut *out, &Value::Object(body).to_string()),
                Err(_) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    })?;
    let clean = run(&server, host);
    drop(server);
    let _ = writer.join();
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Frame> {
        let mut input = text.as_bytes();
        let mut out = Vec::new();
        loop {
            match frame(&mut input) {
                Ok(Frame::End) | Err(_) => return out,
                Ok(f) => out.push(f),
            }
        }
    }

    #[test]
    fn frames_are_read_and_bad_ones_are_passed_over() {
        let text = |t: &str| Frame::Text(t.as_bytes().to_vec());
        assert_eq!(all("Content-Length: 2\r\n\r\n{}"), [text("{}")]);
        assert_eq!(all("content-length:2\nX-Y: z\n\n{}Content-Length: 1\r\n\r\n1"), [text("{}"), text("1")]);
        assert_eq!(all("noise\r\n\r\nContent-Length: 2\r\n\r\n{}"), [text("{}")]);
        let bad = Frame::Bad("the length of the message is no number");
        assert_eq!(all("Content-Length: x\r\n\r\nContent-Length: 1\r\n\r\n1"), [bad, text("1")]);
        assert_eq!(all("Content-Length: 9\r\n\r\n{}"), []);
    }

    #[test]
    fn what_is_no_message_is_answered() {
        for (body, id) in [("{", "null"), ("[]", "null"), ("{\"id\":7,\"method\":3}", "7"), ("7", "null")] {
            let Err(Some(answer)) = message(body.as_bytes()) else { unreachable!("{body} was taken") };
            assert!(answer.contains(&format!("\"id\":{id}")), "{answer}");
        }
        assert!(message(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"}").is_ok());
    }
}
