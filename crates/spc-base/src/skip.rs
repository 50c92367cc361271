//! Tests that cannot run on a machine say so.
use std::io::Write;

/// Writes `what` as a line to the error stream, past what hides the output of passing tests: a test that lacks a tool must be seen to.
pub fn skipped(what: &str) {
    let line = format!("\nSKIPPED: {what}\n");
    // Nobody to tell is no error.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
