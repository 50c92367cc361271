//! `file:` addresses and paths.
use lsp_types::Uri;
use std::path::{Path, PathBuf};

/// The path of a `file:` address; `None` for any other.
pub fn to_path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    // An empty host or `localhost`.
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let path = decode(rest.split(['?', '#']).next()?)?;
    if !path.starts_with('/') {
        return None;
    }
    // `/c:/x` is a path with a drive.
    let drive = path.as_bytes().get(2) == Some(&b':') && path.as_bytes().get(1).is_some_and(u8::is_ascii_alphabetic);
    Some(PathBuf::from(if drive { path.get(1..)? } else { &path }))
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// The address of a path; `None` where the path is not UTF-8 text.
pub fn of_path(path: &Path) -> Option<Uri> {
    let mut out = String::from("file://");
    let text = path.to_str()?.replace('\\', "/");
    if !text.starts_with('/') {
        out.push('/');
    }
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(b));
        } else {
            out += &format!("%{b:02X}");
        }
    }
    out.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive() {
        for p in ["/a/b.sp", "/with space/\u{e9}#%?.sp"] {
            let uri = of_path(Path::new(p)).map(|u| u.as_str().to_string()).unwrap_or_default();
            assert_eq!(to_path(&uri), Some(PathBuf::from(p)), "{uri}");
        }
        assert_eq!(to_path("file:///c%3A/x.sp"), Some(PathBuf::from("c:/x.sp")));
        for bad in ["untitled:Untitled-1", "file://host/x", "file:///%zz", "file:///%e", ""] {
            assert_eq!(to_path(bad), None, "{bad}");
        }
    }
}
