//! The diagnostics that files give rise to, each with the path in front.
use spc_base::{Diagnostic, codes};
use std::io;
use std::path::Path;

/// SP0401: the file cannot be opened or read.
pub fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(codes::NO_FILE, format!("cannot read `{}`: {}", path.display(), plain(error)))
}

/// SP0402: the bytes do not follow the format.
pub fn malformed(path: &Path, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(codes::BAD_FILE, format!("`{}`: {what}", path.display()))
}

/// SP0408: well-formed, but not what the program declares.
pub fn unfit(path: &Path, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(codes::DATA, format!("`{}`: {what}", path.display()))
}

/// SP0405: a stored type that does not widen exactly.
pub fn no_conversion(path: &Path, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(codes::DTYPE, format!("`{}`: {what}", path.display()))
}

/// SP0409: the output cannot be written.
pub fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::error(codes::WRITE, format!("cannot write `{}`: {}", path.display(), plain(error)))
}

/// SP0410: the tokenizer file is of no use.
pub fn tokenizer(path: &Path, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::error(codes::TOKENIZER, format!("`{}`: {what}", path.display()))
}

/// An operating system error in words, without the number that differs between systems.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}
