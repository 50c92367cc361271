//! Shared libraries from object files, by the system's linker.
use spc_base::{Diagnostic, codes};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Longest message of a linker that is shown.
const MESSAGE: usize = 2000;

/// Links one object that needs nothing else, and gives the bytes of the library. `programs` are tried in order, with the
/// arguments that each takes before `-shared`; the first one that is there decides.
///
/// # Errors
/// SP0630 if none is there, or it refuses.
pub fn link_shared(object: &[u8], soname: &str, programs: &[(String, &[&str])]) -> Result<Vec<u8>, Diagnostic> {
    let fail = |text: String| Diagnostic::error(codes::NO_LINKER, format!("the shared library was not linked: {text}"));
    let dir = tempfile::tempdir().map_err(|e| fail(format!("no temporary folder: {e}")))?;
    let (from, to) = (dir.path().join("code.o"), dir.path().join("code.so"));
    fs::write(&from, object).map_err(|e| fail(e.to_string()))?;
    for (program, before) in programs {
        match link(program, before, soname, &from, &to) {
            Ok(None) => {}
            Ok(Some(Ok(()))) => return fs::read(&to).map_err(|e| fail(e.to_string())),
            Ok(Some(Err(text))) => return Err(fail(format!("`{program}` says: {text}"))),
            Err(e) => return Err(fail(format!("`{program}` cannot be run: {e}"))),
        }
    }
    let names: Vec<String> = programs.iter().map(|(p, _)| format!("`{p}`")).collect();
    Err(fail(format!("none of {} was found", names.join(", ")))
        .help("install a C compiler, name one in the environment variable `CC`, or emit `obj` and link it yourself"))
}

type Said = Result<(), String>;

/// Nothing if there is no such program.
fn link(program: &str, before: &[&str], soname: &str, from: &Path, to: &Path) -> std::io::Result<Option<Said>> {
    let mut command = Command::new(program);
    let soname = if before.is_empty() { format!("-soname={soname}") } else { format!("-Wl,-soname,{soname}") };
    command.args(before).args(["-shared", &soname, "-o"]).arg(to).arg(from);
    let out = match command.output() {
        Ok(out) => out,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if out.status.success() {
        return Ok(Some(Ok(())));
    }
    let mut text = String::from_utf8_lossy(&out.stderr).trim().to_string();
    if let Some((at, _)) = text.char_indices().nth(MESSAGE) {
        text.truncate(at);
    }
    Ok(Some(Err(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_linked_has_a_code() {
        let none = link_shared(b"x", "x.so", &[("no-such-linker".into(), &[])]).unwrap_err();
        assert_eq!(none.code, codes::NO_LINKER);
        assert!(none.message.contains("no-such-linker") && !none.help.is_empty(), "{none:?}");
        let refused = link_shared(b"no object", "x.so", &[("cc".into(), &["-nostdlib"])]).unwrap_err();
        assert_eq!(refused.code, codes::NO_LINKER);
    }
}
