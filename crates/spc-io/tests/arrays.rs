//! npy and npz: round trips, agreement with ndarray-npy, damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err)]
mod common;

use common::{Scratch, complete, every_flip, every_truncation};
use flate2::{Compression, Crc, write::DeflateEncoder};
use ndarray::{Array2, ArrayD, Dimension, IxDyn, ShapeBuilder};
use ndarray_npy::{NpzReader, NpzWriter, WriteNpyExt};
use proptest::prelude::*;
use spc_base::{Diagnostic, codes};
use spc_io::{Npz, Tensor, TensorData, read_npy, write_npy, write_npz};
use std::io::{Cursor, Write};
use std::path::Path;

fn npy(tensor: &Tensor) -> Vec<u8> {
    let scratch = Scratch::new("x.npy");
    write_npy(&scratch.path(), tensor).unwrap();
    scratch.bytes()
}

fn read_bytes(bytes: &[u8]) -> Result<Tensor, Diagnostic> {
    read_npy(&Scratch::with("x.npy", bytes).path())
}

/// An npy file of this type and shape around `data`.
fn framed(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(text.len() as u16).to_le_bytes()[..], text.as_bytes(), data].concat()
}

fn read_npz(path: &Path) -> Result<Vec<Tensor>, Diagnostic> {
    let npz = Npz::open(path)?;
    npz.names().map(|name| npz.tensor(name)).collect()
}

fn sample() -> Tensor {
    Tensor::new(vec![2, 3], vec![1.0f32, 2.0, 3.0, -4.0, f32::INFINITY, 1e-40]).unwrap()
}

#[test]
fn types_that_widen_and_types_that_do_not() {
    let good: [(&str, &[u8], TensorData); 9] = [
        ("<f4", &[0, 0, 0xc0, 0x3f], vec![1.5f32].into()),
        (">f4", &[0x3f, 0xc0, 0, 0], vec![1.5f32].into()),
        ("<f2", &[0, 0xc0], vec![-2.0f32].into()),
        ("<i4", &[0xfe, 0xff, 0xff, 0xff], vec![-2].into()),
        (">i2", &[0xff, 0xfe], vec![-2].into()),
        ("<u2", &[0xff, 0xff], vec![65535].into()),
        ("|i1", &[0xff], vec![-1].into()),
        ("|u1", &[0xff], vec![255].into()),
        ("|b1", &[1], vec![true].into()),
    ];
    for (descr, data, expected) in good {
        let t = read_bytes(&framed(descr, "(1,)", data)).unwrap();
        assert_eq!((t.shape(), t.data()), (&[1][..], &expected), "{descr}");
    }
    for descr in ["<f8", "<i8", "<u4", "<c8", "<U3", "|O", "", "f4", "?"] {
        let d = read_bytes(&framed(descr, "(1,)", &[0; 8])).unwrap_err();
        complete(&d);
        assert_eq!(d.code, codes::DTYPE, "{descr}");
    }
    assert!(read_bytes(&framed("<f8", "(1,)", &[0; 8])).unwrap_err().help[0].contains("float32"));
    assert!(read_bytes(&framed("<i8", "(1,)", &[0; 8])).unwrap_err().help[0].contains("int32"));
}

#[test]
fn shapes_and_bytes_must_fit() {
    for shape in ["(3,)", "(1,)", "()", "(0,)", "(1099511627776,)", "(4294967296, 4294967296)", "(2, 0)"] {
        let d = read_bytes(&framed("<f4", shape, &[0; 8])).unwrap_err();
        complete(&d);
        assert_eq!(d.code, codes::BAD_FILE, "{shape}");
    }
    assert_eq!(read_bytes(&framed("<f4", "(2, 1)", &[0; 8])).unwrap().shape(), [2, 1]);
    assert_eq!(read_bytes(&framed("<f4", "()", &[0; 4])).unwrap().shape(), [0usize; 0]);
    assert_eq!(read_bytes(&framed("|b1", "(2,)", &[0, 2])).unwrap_err().code, codes::BAD_FILE);
}

#[test]
fn damaged_npy_is_refused_or_harmless() {
    let good = npy(&sample());
    every_truncation(&good, "x.npy", read_npy);
    assert!(every_flip(&good, "x.npy", read_npy) > 100);
    assert_eq!(read_npy(Path::new("no/such.npy")).unwrap_err().code, codes::NO_FILE);
}

#[test]
fn our_npz_is_read_by_others_and_by_us() {
    let t = sample();
    let i = Tensor::new(vec![3], vec![1, 2, 3]).unwrap();
    let scratch = Scratch::new("a.npz");
    write_npz(&scratch.path(), &[("y", &t), ("ids", &i)]).unwrap();
    let first = scratch.bytes();
    let mut theirs = NpzReader::new(Cursor::new(&first)).unwrap();
    assert_eq!(theirs.names().unwrap(), ["y", "ids"]);
    let y: Array2<f32> = theirs.by_name("y").unwrap();
    assert_eq!(y.as_slice().unwrap(), t.as_f32().unwrap());
    let ours = Npz::open(&scratch.path()).unwrap();
    assert_eq!(ours.names().collect::<Vec<_>>(), ["ids", "y"]);
    assert_eq!(ours.tensor("y").unwrap(), t);
    assert_eq!(ours.tensor("ids").unwrap(), i);
    let d = ours.tensor("z").unwrap_err();
    assert_eq!(d.code, codes::DATA);
    assert!(d.notes[0].contains("`ids`, `y`"), "{:?}", d.notes);
    write_npz(&scratch.path(), &[("y", &t), ("ids", &i)]).unwrap();
    assert_eq!(scratch.bytes(), first);
}

#[test]
fn their_npz_is_read_by_us() {
    let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
    let array = Array2::from_shape_vec((2, 3).f(), vec![1f32, 2., 3., 4., 5., 6.]).unwrap();
    writer.add_array("x", &array).unwrap();
    let scratch = Scratch::with("a.npz", writer.finish().unwrap().get_ref());
    let x = Npz::open(&scratch.path()).unwrap().tensor("x").unwrap();
    // Column by column in the file, row by row here.
    assert_eq!(x.as_f32().unwrap(), [1., 3., 5., 2., 4., 6.]);
}

/// An archive with one member, of which the directory may lie about the size.
fn archive(method: u16, stored: &[u8], crc: u32, size: u32) -> Vec<u8> {
    let mut fields: Vec<u8> = [20, 0, method, 0, 0].iter().flat_map(|v: &u16| v.to_le_bytes()).collect();
    fields.extend([crc, stored.len() as u32, size].iter().flat_map(|v| v.to_le_bytes()));
    fields.extend([5, 0, 0, 0]);
    let local = [b"PK\x03\x04", &fields[..], b"x.npy", stored].concat();
    let listing = [b"PK\x01\x02\x14\x00", &fields[..], &[0; 14], b"x.npy"].concat();
    let place = [(listing.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    [&local[..], &listing, b"PK\x05\x06", &[0, 0, 0, 0, 1, 0, 1, 0], &place, &[0, 0]].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn deflated_members_are_read_and_bounded() {
    let inner = npy(&sample());
    let good = archive(8, &deflated(&inner), crc(&inner), inner.len() as u32);
    assert_eq!(read_npz(&Scratch::with("a.npz", &good).path()).unwrap(), [sample()]);

    let bomb = deflated(&vec![0; 64 << 20]);
    for (what, bytes) in [
        ("larger than said", archive(8, &bomb, 0, 1000)),
        ("smaller than said", archive(8, &deflated(&inner), crc(&inner), 1 << 30)),
        ("over the bound", archive(8, &deflated(&inner), crc(&inner), u32::MAX)),
        ("another checksum", archive(8, &deflated(&inner), !crc(&inner), inner.len() as u32)),
        ("another method", archive(12, &inner, crc(&inner), inner.len() as u32)),
        ("not deflated", archive(8, &inner, crc(&inner), inner.len() as u32)),
    ] {
        let d = read_npz(&Scratch::with("a.npz", &bytes).path()).unwrap_err();
        complete(&d);
        assert_eq!(d.code, codes::BAD_FILE, "{what}: {d}");
    }
}

#[test]
fn damaged_npz_is_refused_or_harmless() {
    let inner = npy(&sample());
    for good in [
        archive(0, &inner, crc(&inner), inner.len() as u32),
        archive(8, &deflated(&inner), crc(&inner), inner.len() as u32),
    ] {
        every_truncation(&good, "a.npz", read_npz);
        assert!(every_flip(&good, "a.npz", read_npz) > 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn npy_round_trip(
        (shape, bits) in proptest::collection::vec(0..5usize, 0..5).prop_flat_map(|shape| {
            let n: usize = shape.iter().product();
            (Just(shape), proptest::collection::vec(any::<u32>(), n))
        }),
        kind in 0..3,
    ) {
        let data: TensorData = match kind {
            0 => bits.iter().map(|&b| f32::from_bits(b)).collect::<Vec<_>>().into(),
            1 => bits.iter().map(|&b| b as i32).collect::<Vec<_>>().into(),
            _ => bits.iter().map(|&b| b & 1 == 1).collect::<Vec<_>>().into(),
        };
        let scratch = Scratch::new("x.npy");
        write_npy(&scratch.path(), &Tensor::new(shape.clone(), data.clone()).unwrap()).unwrap();
        let back = read_npy(&scratch.path()).unwrap();
        prop_assert_eq!(back.shape(), &shape[..]);
        match (back.data(), &data) {
            // Bits, because NaN is not equal to itself.
            (TensorData::F32(a), TensorData::F32(b)) =>
                prop_assert!(a.iter().zip(b.iter()).all(|(a, b)| a.to_bits() == b.to_bits())),
            (a, b) => prop_assert_eq!(a, b),
        }
        // The same bytes as another writer's.
        if let TensorData::F32(v) = &data {
            let mut theirs = Vec::new();
            ArrayD::from_shape_vec(IxDyn(&shape), v.to_vec()).unwrap().write_npy(&mut theirs).unwrap();
            let ours = scratch.bytes();
            prop_assert_eq!(&theirs[theirs.len() - 4 * v.len()..], &ours[ours.len() - 4 * v.len()..]);
            prop_assert_eq!((ours.len() - 4 * v.len()) % 64, 0);
        }
    }

    #[test]
    fn column_order_becomes_row_order(shape in proptest::collection::vec(1..5usize, 1..5)) {
        let array = ArrayD::from_shape_fn(IxDyn(&shape).f(), |i| i.slice().iter().fold(0, |n, &x| 10 * n + x as i32));
        let scratch = Scratch::new("x.npy");
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).unwrap();
        let back = read_npy(&scratch.put(&bytes).path()).unwrap();
        prop_assert_eq!(back.shape(), &shape[..]);
        prop_assert_eq!(back.as_i32().unwrap(), array.iter().copied().collect::<Vec<_>>());
    }

    #[test]
    fn random_bytes_are_no_arrays(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let framed = [b"\x93NUMPY\x01\x00", &bytes[..]].concat();
        for file in [&bytes, &framed] {
            complete(&read_bytes(file).unwrap_err());
            complete(&read_npz(&Scratch::with("a.npz", file).path()).unwrap_err());
        }
    }
}
