//! SHA-256, as manifests print it.
use crate::error::unreadable;
use sha2::{Digest, Sha256};
use spc_base::Diagnostic;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The digest of a file, read in pieces. Errors: SP0401.
pub fn sha256_file(path: &Path) -> Result<String, Diagnostic> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut state = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut piece).map_err(|e| unreadable(path, &e))?;
        if n == 0 {
            return Ok(hex(&state.finalize()));
        }
        state.update(&piece[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_file_of_several_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(sha256_file(&path).unwrap(), sha256_hex(&bytes));
        assert_eq!(sha256_file(&dir.path().join("none")).unwrap_err().code, spc_base::codes::NO_FILE);
    }
}
