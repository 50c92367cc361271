//! safetensors: round trips, agreement with the reference library, damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err)]
mod common;

use common::{Scratch, complete, every_flip, every_truncation};
use proptest::prelude::*;
use spc_base::{Diagnostic, codes};
use spc_io::{Safetensors, Stored, StoredType, Tensor, Values, WeightFile, read_header};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that a compiler would read of a file.
fn read_all(path: &Path) -> Result<Vec<Tensor>, Diagnostic> {
    let header = read_header(path);
    let file = WeightFile::open(path);
    assert_eq!(header.is_ok(), file.is_ok(), "the header alone and the file must agree");
    let (header, file) = (header?, file?);
    assert_eq!(&header, file.header());
    let mut tensors = Vec::new();
    for t in header.tensors() {
        assert_eq!(file.bytes(&t.name)?.len() as u64, t.end - t.start);
        tensors.push(file.tensor(&t.name)?);
    }
    Ok(tensors)
}

fn small() -> Vec<u8> {
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    let stored = [
        Stored { name: "w", shape: &[2, 3], values: Values::F32(&[1.0, -2.5, 3.0, 0.0, -0.0, 1e-40]) },
        Stored { name: "i", shape: &[2], values: Values::I32(&[i32::MIN, 7]) },
        Stored { name: "b", shape: &[3], values: Values::Bool(&[true, false, true]) },
        Stored { name: "h", shape: &[1], values: Values::Raw(StoredType::F16, &[0x00, 0x3c]) },
        Stored { name: "none", shape: &[0, 4], values: Values::F32(&[]) },
    ];
    let mut bytes = Vec::new();
    let file = Safetensors::new(&stored, &metadata, 8).unwrap();
    file.write(&mut bytes).unwrap();
    assert_eq!(bytes.len(), file.length());
    bytes
}

/// `u64` length, this text, and zeros.
fn raw(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn stored_types_come_back_as_computing_types() {
    let scratch = Scratch::with("w.safetensors", &small());
    let file = WeightFile::open(&scratch.path()).unwrap();
    let w = file.f32("w").unwrap();
    assert!(w.is_mapped(), "aligned f32 must not be copied");
    let bits: Vec<u32> = w.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [1.0f32, -2.5, 3.0, 0.0, -0.0, 1e-40].map(f32::to_bits));
    assert_eq!(file.tensor("w").unwrap().shape(), [2, 3]);
    assert_eq!(file.i32("i").unwrap(), [i32::MIN, 7]);
    assert_eq!(file.bool("b").unwrap(), [true, false, true]);
    assert_eq!(*file.f32("h").unwrap(), [1.0]);
    assert_eq!(file.tensor("none").unwrap().shape(), [0, 4]);
    assert_eq!(file.header().metadata()["format"], "pt");
    // The numbers outlive the file object and the name of the file.
    drop(file);
    std::fs::remove_file(scratch.path()).unwrap();
    assert_eq!(w[2], 3.0);
}

#[test]
fn every_widening_and_every_refusal() {
    let le16 = |v: u16| v.to_le_bytes().to_vec();
    type Case = (StoredType, Vec<u8>, Option<f32>, Option<i32>);
    let cases: [Case; 13] = [
        (StoredType::F32, 1.5f32.to_le_bytes().to_vec(), Some(1.5), None),
        (StoredType::F16, le16(0xc000), Some(-2.0), None),
        (StoredType::BF16, le16(0x4040), Some(3.0), None),
        (StoredType::F64, 1.5f64.to_le_bytes().to_vec(), None, None),
        (StoredType::I32, (-5i32).to_le_bytes().to_vec(), None, Some(-5)),
        (StoredType::I16, le16(-3i16 as u16), None, Some(-3)),
        (StoredType::U16, le16(65535), None, Some(65535)),
        (StoredType::I8, vec![0x80], None, Some(-128)),
        (StoredType::U8, vec![200], None, Some(200)),
        (StoredType::I64, vec![1; 8], None, None),
        (StoredType::U64, vec![1; 8], None, None),
        (StoredType::U32, vec![1; 4], None, None),
        (StoredType::BOOL, vec![1], None, None),
    ];
    for (dtype, bytes, float, int) in cases {
        let scratch = Scratch::new("w");
        let stored = [Stored { name: "x", shape: &[1], values: Values::Raw(dtype, &bytes) }];
        Safetensors::new(&stored, &BTreeMap::new(), 0).unwrap().write_file(&scratch.path()).unwrap();
        let file = WeightFile::open(&scratch.path()).unwrap();
        match file.f32("x") {
            Ok(v) => assert_eq!(Some(v[0]), float, "{dtype}"),
            Err(d) => assert_eq!((d.code, float), (codes::DTYPE, None), "{dtype}"),
        }
        match file.i32("x") {
            Ok(v) => assert_eq!(Some(v[0]), int, "{dtype}"),
            Err(d) => assert_eq!((d.code, int), (codes::DTYPE, None), "{dtype}"),
        }
        assert_eq!(file.u32("x").is_ok(), dtype == StoredType::U32);
        assert_eq!(file.bool("x").is_ok(), dtype == StoredType::BOOL);
        assert_eq!(file.bytes("x").unwrap(), bytes);
    }
}

#[test]
fn data_off_its_alignment_is_copied_and_equal() {
    // A header of odd length, as other writers are free to make.
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    for pad in 0..4 {
        let mut bytes = raw(&format!("{header}{}", " ".repeat(pad)), 0);
        bytes.extend([1.5f32, -4.0].iter().flat_map(|v| v.to_le_bytes()));
        let scratch = Scratch::with("w", &bytes);
        let w = WeightFile::open(&scratch.path()).unwrap().f32("w").unwrap();
        assert_eq!(w.is_mapped(), (8 + header.len() + pad).is_multiple_of(4));
        assert_eq!(*w, [1.5, -4.0]);
    }
}

#[test]
fn a_missing_tensor_is_named_with_its_neighbours() {
    let stored =
        ["layer.0.up", "layer.0.down", "norm"].map(|name| Stored { name, shape: &[], values: Values::F32(&[0.0]) });
    let scratch = Scratch::new("m.safetensors");
    Safetensors::new(&stored, &BTreeMap::new(), 0).unwrap().write_file(&scratch.path()).unwrap();
    let header = read_header(&scratch.path()).unwrap();
    let d = header.get("layer.0.upp").unwrap_err();
    assert_eq!(d.code, codes::NO_TENSOR);
    assert!(d.help[0].contains("`layer.0.up`") && !d.help[0].contains("norm"), "{:?}", d.help);
    assert!(header.get("zzzzzzzzzzzzzzz").unwrap_err().help.is_empty());
}

#[test]
fn headers_that_lie_are_refused() {
    let one = |dtype: &str, shape: &str, from: &str, to: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{a}}},"b":{{"dtype":"F32","shape":[2],"data_offsets":{b}}}}}"#
        )
    };
    let files = [
        ("a hole", raw(&two("[0,8]", "[12,20]"), 20)),
        ("an overlap", raw(&two("[0,8]", "[4,12]"), 12)),
        ("not at the start", raw(&one("F32", "[2]", "4", "12"), 12)),
        ("backwards", raw(&one("F32", "[2]", "8", "0"), 8)),
        ("more bytes than the file", raw(&one("F32", "[1000000000]", "0", "4000000000"), 64)),
        ("fewer bytes than the file", raw(&one("F32", "[2]", "0", "8"), 9)),
        ("shape and bytes differ", raw(&one("F32", "[3]", "0", "8"), 8)),
        ("a product that overflows", raw(&one("F32", "[4294967296,4294967296,16]", "0", "8"), 8)),
        ("a negative size", raw(&one("F32", "[-2]", "0", "8"), 8)),
        ("an unknown type", raw(&one("F31", "[2]", "0", "8"), 8)),
        ("half a byte", raw(&one("F4", "[1]", "0", "1"), 1)),
        ("nesting", raw(&"[".repeat(100_000), 0)),
        ("an open string", raw("{\"w", 0)),
        ("not UTF-8", [&2u64.to_le_bytes()[..], b"\xff\xfe"].concat()),
        ("no object", raw("7", 0)),
        ("a length of everything", u64::MAX.to_le_bytes().to_vec()),
        ("a length past the end", [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat()),
        ("nothing", Vec::new()),
        ("seven bytes", vec![0; 7]),
        ("an empty header", raw("", 0)),
        ("zeros", vec![0; 4096]),
        ("other text", b"PK\x03\x04 this is an archive of something".to_vec()),
    ];
    for (what, bytes) in files {
        let scratch = Scratch::with("w.safetensors", &bytes);
        match read_all(&scratch.path()) {
            Ok(_) => panic!("{what} was accepted"),
            Err(d) => {
                complete(&d);
                assert_eq!(d.code, codes::BAD_FILE, "{what}: {d}");
            }
        }
    }
    assert!(read_all(&Scratch::with("w", &raw("{}", 0)).path()).unwrap().is_empty());
}

#[test]
fn what_is_not_a_file_is_refused() {
    let scratch = Scratch::new("w");
    let folder = scratch.path().parent().unwrap().to_path_buf();
    for path in [scratch.path(), folder, "/dev/zero".into()] {
        let d = read_all(&path).unwrap_err();
        complete(&d);
        assert_eq!(d.code, codes::NO_FILE);
    }
}

#[test]
fn truncation_at_every_length_is_noticed() {
    every_truncation(&small(), "w.safetensors", read_all);
}

#[test]
fn damage_to_any_byte_is_refused_or_harmless() {
    let good = small();
    let refused = every_flip(&good, "w.safetensors", read_all);
    assert!(refused > good.len(), "most damage to a header is visible: {refused}");
}

#[test]
fn broken_requests_to_write_are_bugs() {
    let one = |name, shape, values| Stored { name, shape, values };
    let none = BTreeMap::new();
    let w = one("w", &[2][..], Values::F32(&[0.0, 1.0]));
    assert!(Safetensors::new(&[w, w], &none, 0).is_err());
    assert!(Safetensors::new(&[one("w", &[3], Values::F32(&[0.0]))], &none, 0).is_err());
    assert!(Safetensors::new(&[one("__metadata__", &[], Values::F32(&[0.0]))], &none, 0).is_err());
    assert!(Safetensors::new(&[one("w", &[usize::MAX, 2], Values::U8(&[]))], &none, 0).is_err());
    assert!(Safetensors::new(&[w], &none, 48).is_err());
}

/// A tensor to write: values of one of the types, and a shape that holds them.
#[derive(Clone, Debug)]
enum Owned {
    F32(Vec<f32>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
}

impl Owned {
    fn len(&self) -> usize {
        match self {
            Owned::F32(v) => v.len(),
            Owned::I32(v) => v.len(),
            Owned::U32(v) => v.len(),
            Owned::U8(v) => v.len(),
            Owned::Bool(v) => v.len(),
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Owned::F32(v) => Values::F32(v),
            Owned::I32(v) => Values::I32(v),
            Owned::U32(v) => Values::U32(v),
            Owned::U8(v) => Values::U8(v),
            Owned::Bool(v) => Values::Bool(v),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Owned::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Owned::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Owned::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Owned::U8(v) => v.clone(),
            Owned::Bool(v) => v.iter().map(|&x| u8::from(x)).collect(),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let n = 0..40usize;
    prop_oneof![
        proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), n.clone()).prop_map(Owned::F32),
        proptest::collection::vec(any::<i32>(), n.clone()).prop_map(Owned::I32),
        proptest::collection::vec(any::<u32>(), n.clone()).prop_map(Owned::U32),
        proptest::collection::vec(any::<u8>(), n.clone()).prop_map(Owned::U8),
        proptest::collection::vec(any::<bool>(), n).prop_map(Owned::Bool),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(
        tensors in proptest::collection::btree_map("\\PC{0,12}", owned(), 0..6),
        metadata in proptest::collection::btree_map("\\PC{0,6}", "\\PC{0,12}", 0..4),
        align in prop_oneof![Just(0usize), Just(64), Just(4096)],
    ) {
        let shapes: Vec<[usize; 2]> = tensors.values().map(|t| [t.len(), 1]).collect();
        let stored: Vec<Stored> = tensors.iter().zip(&shapes)
            .map(|((name, t), shape)| Stored { name, shape, values: t.values() }).collect();
        let scratch = Scratch::new("w.safetensors");
        let plan = Safetensors::new(&stored, &metadata, align).unwrap();
        plan.write_file(&scratch.path()).unwrap();
        let bytes = scratch.bytes();
        prop_assert_eq!(bytes.len(), plan.length());
        prop_assert_eq!(scratch.names().len(), 1);

        let file = WeightFile::open(&scratch.path()).unwrap();
        prop_assert_eq!(file.header().metadata(), &metadata);
        for (name, t) in &tensors {
            let found = file.header().get(name).unwrap();
            prop_assert_eq!(&found.shape, &[t.len(), 1]);
            prop_assert_eq!(found.start as usize % align.max(t.values().dtype().bits() / 8), 0);
            prop_assert_eq!(file.bytes(name).unwrap(), t.bytes());
            if let Owned::F32(_) = t {
                prop_assert!(file.f32(name).unwrap().is_mapped());
            }
        }
        // The reference library reads the same file, and holds what we hold.
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        prop_assert_eq!(theirs.len(), file.header().tensors().len());
        for (name, t) in &tensors {
            let bytes = t.bytes();
            prop_assert_eq!(theirs.tensor(name).unwrap().data(), &bytes[..]);
        }
        // The same request gives the same bytes.
        Safetensors::new(&stored, &metadata, align).unwrap().write_file(&scratch.path()).unwrap();
        prop_assert_eq!(scratch.bytes(), bytes);
    }

    #[test]
    fn random_bytes_are_no_weights(bytes in proptest::collection::vec(any::<u8>(), 0..400), claim in 0..500u64) {
        let scratch = Scratch::with("w", &bytes);
        if let Err(d) = read_all(&scratch.path()) { complete(&d); }
        // The same with a length that points into it.
        let framed = [&claim.to_le_bytes()[..], &bytes].concat();
        if let Err(d) = read_all(&scratch.put(&framed).path()) { complete(&d); }
    }
}
