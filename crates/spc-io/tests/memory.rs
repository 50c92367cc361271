//! Claimed sizes are not allocated. One test, so that no other thread of the process asks for memory meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err)]
mod common;

use common::{Scratch, complete};
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder},
};
use spc_io::{Npz, WeightFile, read_csv, read_header, read_npy};
use std::fs::OpenOptions;
use std::io::Write;

/// Largest size that this process's memory has had, in bytes; 0 where the system does not say. Counts memory that was
/// asked for and never touched.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// `u64` length, this text, nothing else.
fn header(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn npy(version: u8, length: &[u8], text: &str) -> Vec<u8> {
    [b"\x93NUMPY", &[version, 0][..], length, text.as_bytes()].concat()
}

/// An archive of one member of which the directory claims `size` bytes.
fn npz(method: u8, stored: &[u8], size: u32) -> Vec<u8> {
    let fields = [
        [20, 0, 0, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0].as_slice(),
        &(stored.len() as u32).to_le_bytes(),
        &size.to_le_bytes(),
    ]
    .concat();
    let local = [b"PK\x03\x04", &fields[..], &[5, 0, 0, 0], b"x.npy", stored].concat();
    let listing = [b"PK\x01\x02\x14\x00", &fields[..], &[5, 0, 0, 0], &[0; 14], b"x.npy"].concat();
    let place = [(listing.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    [&local[..], &listing, b"PK\x05\x06", &[0, 0, 0, 0, 1, 0, 1, 0], &place, &[0, 0]].concat()
}

#[test]
fn claimed_sizes_are_not_allocated() {
    let f4 = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    // A gzip file that lies about its length, in the four bytes at the end that say it.
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(b"1,2,3\n").unwrap();
    let mut gz = gz.finish().unwrap();
    let end = gz.len() - 4;
    gz[end..].fill(0xff);

    // 320 MiB of zeros in a few bytes.
    let mut bomb = DeflateEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..320 {
        bomb.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();

    let scratch = Scratch::new("file");
    let path = scratch.path();
    let before = peak();
    for claim in [1u64 << 32, 1 << 40, u64::MAX] {
        scratch.put(&[&claim.to_le_bytes()[..], b"{}"].concat());
        complete(&read_header(&path).unwrap_err());
        complete(&WeightFile::open(&path).unwrap_err());
    }
    scratch.put(&header(r#"{"w":{"dtype":"F32","shape":[4294967296],"data_offsets":[0,17179869184]}}"#));
    complete(&WeightFile::open(&path).unwrap_err());
    for bytes in [
        npy(2, &[0xff; 4], "{"),
        npy(1, &(f4("(4294967296,)").len() as u16).to_le_bytes(), &f4("(4294967296,)")),
        npy(1, &(f4("(65536, 65536, 4)").len() as u16).to_le_bytes(), &f4("(65536, 65536, 4)")),
    ] {
        complete(&read_npy(scratch.put(&bytes).path().as_path()).unwrap_err());
    }
    for (method, stored, size) in [(0, &[][..], u32::MAX), (8, &[], u32::MAX), (8, &[], 1 << 30), (8, &bomb, 1000)] {
        let npz = Npz::open(&scratch.put(&npz(method, stored, size)).path()).unwrap();
        complete(&npz.tensor("x").unwrap_err());
    }
    complete(&read_csv(&scratch.put(&gz).path()).unwrap_err());
    assert!(peak() - before < 256 << 20, "{} bytes were allocated", peak() - before);

    // The header alone of a sparse file of 8 GiB.
    let n = 2u64 << 30;
    scratch.put(&header(&format!(r#"{{"w":{{"dtype":"F32","shape":[{n}],"data_offsets":[0,{}]}}}}"#, 4 * n)));
    let length = scratch.bytes().len() as u64 + 4 * n;
    if OpenOptions::new().append(true).open(&path).unwrap().set_len(length).is_ok() {
        assert_eq!(read_header(&path).unwrap().tensors()[0].shape, [n as usize]);
        assert!(peak() - before < 256 << 20, "{} bytes were allocated", peak() - before);
    }
}
