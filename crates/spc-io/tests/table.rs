//! csv, plain and gzip.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err)]
mod common;

use common::{Scratch, complete, every_flip, every_truncation};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use spc_base::{Diagnostic, codes};
use spc_io::{Table, Tensor, read_csv, read_row_list, rest_of_rows};
use std::io::Write;
use std::path::Path;

fn table(text: &[u8]) -> Result<Table, Diagnostic> {
    read_csv(&Scratch::with("t.csv", text).path())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn numbers(path: &Path) -> Result<(Tensor, Tensor), Diagnostic> {
    let t = read_csv(path)?;
    Ok((t.f32_columns(0..2)?, t.i32_column(2)?))
}

#[test]
fn columns_become_tensors() {
    let t = table(b"1.5,-2,7,true\n 3e2 ,\"4\",-8,0\n").unwrap();
    assert_eq!((t.rows(), t.columns()), (2, 4));
    let image = t.f32_columns(0..2).unwrap();
    assert_eq!((image.shape(), image.as_f32().unwrap()), (&[2, 2][..], &[1.5, -2.0, 300.0, 4.0][..]));
    let label = t.i32_column(2).unwrap();
    assert_eq!((label.shape(), label.as_i32().unwrap()), (&[2][..], &[7, -8][..]));
    assert_eq!(t.bool_column(3).unwrap().as_bool().unwrap(), [true, false]);
    assert_eq!(t.f32_column(2).unwrap().shape(), [2]);
}

#[test]
fn a_bad_cell_is_named_by_row_and_column() {
    let t = table(b"1,2,3\n4,five,6.5\n7,8,9\n").unwrap();
    let d = t.f32_columns(0..2).unwrap_err();
    complete(&d);
    assert_eq!(d.code, codes::DATA);
    assert!(d.message.contains("row 1, column 1: `five`"), "{d}");
    assert!(t.i32_column(2).unwrap_err().message.contains("row 1, column 2: `6.5`"));
    for cell in ["", "nan", "inf", "-infinity", "1e39", "0x10", "1_000", "2147483648"] {
        let t = table(format!("{cell},0\n").as_bytes()).unwrap();
        assert_eq!(t.i32_column(0).unwrap_err().code, codes::DATA, "{cell}");
        assert_eq!(t.f32_column(0).is_ok(), cell == "2147483648", "{cell}");
    }
}

#[test]
fn columns_and_rows_that_are_not_there() {
    let t = table(b"1,2\n3,4\n").unwrap();
    for range in [2..3, 0..3, 1..1] {
        assert_eq!(t.f32_columns(range).unwrap_err().code, codes::DATA);
    }
    assert_eq!(t.i32_column(usize::MAX).unwrap_err().code, codes::DATA);
    let d = table(b"1,2\n3,4,5\n").unwrap_err();
    assert_eq!(d.code, codes::BAD_FILE);
    assert!(d.message.contains("row 1 has 3 columns, row 0 has 2"), "{d}");
    assert_eq!(table(b"").unwrap_err().code, codes::BAD_FILE);
    assert_eq!(table(b"\n\n").unwrap_err().code, codes::BAD_FILE);
    assert_eq!(read_csv(Path::new("no/such.csv")).unwrap_err().code, codes::NO_FILE);
}

#[test]
fn damage_is_refused_or_harmless() {
    let text = b"1,2,3\n4,5.25,-6\n70,8e1,9\n";
    assert!(every_flip(text, "t.csv", numbers) > 50);
    let gz = gzip(text);
    // Without its two magic bytes the file is text, and no text of numbers.
    every_truncation(&gz, "t.csv.gz", numbers);
    assert!(every_flip(&gz, "t.csv.gz", numbers) > 3 * gz.len());
}

#[test]
fn the_digits_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits");
    let t = read_csv(&folder.join("digits.csv.gz")).unwrap();
    assert_eq!((t.rows(), t.columns()), (1797, 65));
    let image = t.f32_columns(0..64).unwrap();
    assert!(image.as_f32().unwrap().iter().all(|v| (0.0..=16.0).contains(v)));
    let test = read_row_list(&folder.join("test_rows.txt"), t.rows()).unwrap();
    assert_eq!(test.len(), 360);
    assert!(test.is_sorted());
    assert_eq!(rest_of_rows(&test, t.rows()).len(), 1437);
    // Stratified: each digit has its share of the test rows, give or take one.
    let label = t.i32_column(64).unwrap();
    for digit in 0..10 {
        let share = |rows: &[i32]| rows.iter().filter(|&&d| d == digit).count() as f64;
        let expected = share(label.as_i32().unwrap()) * 360.0 / 1797.0;
        let found = share(label.take_rows(&test).unwrap().as_i32().unwrap());
        assert!((found - expected).abs() < 1.0, "digit {digit}: {found} of {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn numbers_written_as_text_come_back(rows in proptest::collection::vec((any::<f32>(), any::<i32>()), 1..20), zip: bool) {
        prop_assume!(rows.iter().all(|(x, _)| x.is_finite()));
        let text: String = rows.iter().map(|(x, i)| format!("{x},{i}\r\n")).collect();
        let bytes = if zip { gzip(text.as_bytes()) } else { text.into_bytes() };
        let t = table(&bytes).unwrap();
        let (x, i): (Vec<f32>, Vec<i32>) = rows.into_iter().unzip();
        let (floats, ints) = (t.f32_column(0).unwrap(), t.i32_column(1).unwrap());
        prop_assert_eq!(floats.as_f32().unwrap(), &x[..]);
        prop_assert_eq!(ints.as_i32().unwrap(), &i[..]);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(d) = numbers(&Scratch::with("t.csv", &bytes).path()) { complete(&d); }
    }
}
