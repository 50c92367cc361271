//! Whole files into memory, gzip or plain, never more than a bound.
use crate::error::{malformed, unreadable};
use flate2::read::MultiGzDecoder;
use spc_base::Diagnostic;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most bytes that one data file may hold, counted after decompression.
pub const MAX_BYTES: u64 = 1 << 30;

/// The bytes of a file. Errors: SP0401; SP0402 beyond `limit`.
pub fn read_plain(path: &Path, limit: u64) -> Result<Vec<u8>, Diagnostic> {
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(path, &e))?;
    if bytes.len() as u64 > limit {
        return Err(malformed(path, format!("larger than the {limit} bytes that data files may have")));
    }
    Ok(bytes)
}

/// The bytes of a file, decompressed where it starts as gzip does. Errors: SP0401; SP0402 for damage and beyond
/// `limit`.
pub fn read_gzip(path: &Path, limit: u64) -> Result<Vec<u8>, Diagnostic> {
    let stored = read_plain(path, limit)?;
    if !stored.starts_with(&[0x1f, 0x8b]) {
        return Ok(stored);
    }
    let mut bytes = Vec::new();
    let mut decoder = MultiGzDecoder::new(&stored[..]).take(limit + 1);
    decoder.read_to_end(&mut bytes).map_err(|e| malformed(path, format!("damaged gzip data: {e}")))?;
    if bytes.len() as u64 > limit {
        return Err(malformed(path, format!("decompresses to more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use spc_base::codes;
    use std::io::Write;

    #[test]
    fn sizes_are_bounded_before_and_after_decompression() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.gz");
        let mut gz = GzEncoder::new(Vec::new(), Compression::best());
        gz.write_all(&vec![b'7'; 100_000]).unwrap();
        let stored = gz.finish().unwrap();
        assert!(stored.len() < 1000);
        std::fs::write(&path, &stored).unwrap();
        assert_eq!(read_gzip(&path, 100_000).unwrap().len(), 100_000);
        assert_eq!(read_gzip(&path, 99_999).unwrap_err().code, codes::BAD_FILE);
        assert_eq!(read_plain(&path, stored.len() as u64 - 1).unwrap_err().code, codes::BAD_FILE);
        for n in 2..stored.len() {
            std::fs::write(&path, &stored[..n]).unwrap();
            assert_eq!(read_gzip(&path, 100_000).unwrap_err().code, codes::BAD_FILE, "cut at {n}");
        }
    }
}
