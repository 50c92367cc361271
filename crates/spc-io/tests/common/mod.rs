//! Helpers of the corruption tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err, dead_code)]
use spc_base::Diagnostic;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A file of these bytes in a folder of its own, removed on drop.
pub struct Scratch {
    dir: TempDir,
    name: &'static str,
}

impl Scratch {
    pub fn new(name: &'static str) -> Scratch {
        Scratch { dir: tempfile::tempdir().unwrap(), name }
    }

    pub fn with(name: &'static str, bytes: &[u8]) -> Scratch {
        let scratch = Scratch::new(name);
        scratch.put(bytes);
        scratch
    }

    pub fn put(&self, bytes: &[u8]) -> &Scratch {
        std::fs::write(self.path(), bytes).unwrap();
        self
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Reads every prefix of `good` that is shorter than it: each must be refused with a complete diagnostic.
pub fn every_truncation<T>(good: &[u8], name: &'static str, read: impl Fn(&Path) -> Result<T, Diagnostic>) {
    let scratch = Scratch::new(name);
    assert!(read(&scratch.put(good).path()).is_ok(), "the whole file must be good");
    for n in 0..good.len() {
        match read(&scratch.put(&good[..n]).path()) {
            Ok(_) => panic!("cut after {n} of {} bytes and not noticed", good.len()),
            Err(d) => complete(&d),
        }
    }
}

/// Reads the file with each byte damaged in several ways. Returns how many of the damaged files were refused.
pub fn every_flip<T>(good: &[u8], name: &'static str, read: impl Fn(&Path) -> Result<T, Diagnostic>) -> usize {
    let scratch = Scratch::new(name);
    let mut refused = 0;
    for at in 0..good.len() {
        for mask in [0x01, 0x04, 0x10, 0x20, 0x80, 0xff] {
            let mut bad = good.to_vec();
            bad[at] ^= mask;
            if let Err(d) = read(&scratch.put(&bad).path()) {
                complete(&d);
                refused += 1;
            }
        }
    }
    refused
}

/// A diagnostic of the 04xx group, without a span, that says something.
pub fn complete(d: &Diagnostic) {
    assert!((401..=410).contains(&d.code.0), "{d}");
    assert!(d.primary.is_none() && d.is_error(), "{d}");
    assert!(d.message.contains('`') && d.message.len() > 12, "{d}");
}
