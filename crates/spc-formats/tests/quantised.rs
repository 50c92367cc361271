//! Layouts of quantised weights: packing loses nothing, the facts tell the truth, corrupted data is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{Array, Layout, Packed, QUANTIZED_CANDIDATES, pack, stats, validate};

/// Multiples of one scale a row, about `percent` of them present; the scale holds for the row's greatest value.
fn quantised(rows: usize, cols: usize, percent: u64, top: i64, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) % n
    };
    let mut w = vec![0.0f32; rows * cols];
    for row in w.chunks_mut(cols.max(1)) {
        let scale = (1 + below(1000)) as f32 / 7777.0;
        for v in row.iter_mut() {
            if below(100) < percent {
                *v = (below(2 * top as u64 + 1) as i64 - top) as f32 * scale;
            }
        }
        let most = row.iter_mut().find(|v| **v != 0.0);
        most.into_iter().for_each(|v| *v = top as f32 * scale);
    }
    w
}

fn round_trip(layout: &Layout, rows: usize, cols: usize, w: &[f32]) -> Packed {
    let facts = stats(layout, rows, cols, w).unwrap();
    let packed = pack(layout, rows, cols, w).unwrap();
    assert_eq!(facts.stored_bytes, packed.bytes(), "{layout} {rows} x {cols}");
    assert_eq!(facts.present, w.iter().filter(|x| **x != 0.0).count() as u64);
    let checked = validate(packed.clone()).unwrap_or_else(|e| panic!("{layout} {rows} x {cols}: {e}"));
    assert_eq!(checked.unpack().unwrap(), w, "{layout} {rows} x {cols}");
    for (at, v) in w.iter().enumerate() {
        assert_eq!(checked.get(at / cols, at % cols), Some(*v));
    }
    packed
}

#[test]
fn nothing_is_lost() {
    for layout in QUANTIZED_CANDIDATES {
        for (rows, cols) in [(1, 1), (1, 9), (9, 1), (16, 4), (17, 33), (33, 65), (40, 130)] {
            for percent in [5, 50, 100] {
                let w = quantised(rows, cols, percent, 127, percent + 1);
                if w.iter().any(|v| *v != 0.0) {
                    round_trip(layout, rows, cols, &w);
                }
            }
        }
    }
}

#[test]
fn weights_that_are_no_multiples_are_refused() {
    let mut w = quantised(20, 24, 80, 127, 3);
    w[5 * 24 + 3] = 0.1234567;
    for layout in QUANTIZED_CANDIDATES {
        assert!(pack(layout, 20, 24, &w).is_err() && stats(layout, 20, 24, &w).is_err());
    }
}

#[test]
fn byte_format_is_as_documented() {
    // 2 x 5, scale 0.5: the fifth input is alone in its block.
    let w = [63.5, 0.0, -0.5, 0.0, 1.0, 0.0, 63.5, 0.0, 0.0, 0.0];
    let p = pack(&Layout::I8 { r: 16 }, 2, 5, &w).unwrap();
    let Some(Array::U8(codes)) = p.array("codes") else { panic!() };
    assert_eq!(codes.len(), 2 * 16 * 4);
    assert_eq!(codes[..8], [127, 0, 0xff, 0, 0, 127, 0, 0]);
    assert_eq!(codes[64..68], [2, 0, 0, 0]);
    assert_eq!(p.array("idx"), Some(&Array::U32(vec![0, 1])));
    let Some(Array::U32(start)) = p.array("start") else { panic!() };
    assert_eq!(start[..3], [(-128i32 * 128) as u32, (-128i32 * 127) as u32, 0]);
}

/// One array is changed in one place.
fn changed(p: &Packed, array: usize, at: usize, by: u8) -> Packed {
    let mut p = p.clone();
    match &mut p.arrays[array].1 {
        Array::U8(a) => a[at] ^= by,
        Array::U32(a) => a[at] ^= u32::from(by) << (8 * (at % 4)),
        Array::F32(a) => a[at] = f32::from_bits(a[at].to_bits() ^ (u32::from(by) << (8 * (at % 4)))),
    }
    p
}

proptest! {
    /// Whatever is changed: refused, or every access stays inside.
    #[test]
    fn changed_bytes_never_panic(seed in 1u64..500, array in 0usize..5, at in any::<prop::sample::Index>(), by in 1u8..=255) {
        for layout in QUANTIZED_CANDIDATES {
            let w = quantised(19, 21, 40, 127, seed);
            let p = round_trip(layout, 19, 21, &w);
            let array = array % p.arrays.len();
            let bad = changed(&p, array, at.index(p.arrays[array].1.len()), by);
            if let Ok(v) = validate(bad) {
                prop_assert!(v.unpack().is_ok());
                prop_assert!(array == p.arrays.len() - 1 || p.arrays[array].0 == "idx", "{} was not refused", p.arrays[array].0);
            }
        }
    }
}

#[test]
fn lies_about_sums_scales_and_lengths_are_refused() {
    for layout in QUANTIZED_CANDIDATES {
        let w = quantised(20, 24, 60, 127, 9);
        let p = round_trip(layout, 20, 24, &w);
        #[allow(clippy::type_complexity)]
        let refused = |change: &dyn Fn(&mut Vec<(&'static str, Array)>)| {
            let mut bad = p.clone();
            change(&mut bad.arrays);
            validate(bad).is_err()
        };
        for i in 0..p.arrays.len() {
            assert!(refused(&|a| drop(a.remove(i))));
            assert!(refused(&|a| match &mut a[i].1 {
                Array::U8(v) => v.push(0),
                Array::U32(v) => v.push(0),
                Array::F32(v) => v.push(0.0),
            }));
        }
        for bad in [f32::NAN, f32::INFINITY, -1.0, 1e-44, 0.0] {
            assert!(
                refused(&|a| if let Array::F32(v) = &mut a[4].1 {
                    v[0] = bad
                }),
                "scale {bad}"
            );
        }
        assert!(
            refused(&|a| if let Array::F32(v) = &mut a[4].1 {
                v[20] = 1.0
            }),
            "scale of a padding row"
        );
        assert!(
            refused(&|a| if let Array::U8(v) = &mut a[2].1 {
                v[0] = 0x80
            }),
            "-128"
        );
    }
}
