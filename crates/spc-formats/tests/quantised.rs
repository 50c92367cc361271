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

/// The same with what `layout` cannot hold left out.
fn held(layout: &Layout, cols: usize, w: Vec<f32>) -> Vec<f32> {
    if let Layout::I8Nm { n, m } = layout { kept_of((*n, *m), cols, w) } else { w }
}

fn kept_of((n, m): (u32, u32), cols: usize, mut w: Vec<f32>) -> Vec<f32> {
    for group in w.chunks_mut(cols.max(1)).flat_map(|row| row.chunks_mut(m as usize)) {
        // A whole short group is refused, as by `nm`.
        let most = (n as usize).min(group.len().saturating_sub(usize::from(group.len() < n as usize)));
        group.iter_mut().filter(|v| **v != 0.0).skip(most).for_each(|v| *v = 0.0);
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
                let w = held(layout, cols, quantised(rows, cols, percent, 127, percent + 1));
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

#[test]
fn steps_of_four_are_as_documented() {
    // 2:4 of 2 x 10, scale 0.5: two groups fill a step, and the last two inputs are in the second.
    let w = [63.5, 0.0, 0.0, -0.5, 0.0, 0.0, 1.0, 1.5, -2.0, 0.0, 0.0, 0.0, 63.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let p = pack(&"i8nm(2,4)".parse().unwrap(), 2, 10, &w).unwrap();
    let Some(Array::U8(codes)) = p.array("codes") else { panic!() };
    assert_eq!(codes.len(), 2 * 16 * 4);
    assert_eq!((&codes[..8], &codes[64..68]), (&[127, 0xff, 2, 3, 127, 0, 0, 0][..], &[0xfc, 0, 0, 0][..]));
    let Some(Array::U32(idx)) = p.array("idx") else { panic!() };
    // Positions 0, 3, 2, 3 of the first step and 0 of the second; of the second row 2.
    assert_eq!((idx.len(), idx[0], idx[1], idx[2]), (16, 0x0302_0300, 2, 0));
    // The last group has two inputs: there is a position 1, and none from 2 on.
    let last = |position: u8| validate(changed(&p, 0, 0, position << 2));
    assert!(p.arrays[0].0 == "idx" && last(1).is_ok() && last(2).is_err() && last(3).is_err());
    // The first step reaches to the input 64 of the second row, whose window begins at 1: four of its five, then the last.
    let mut w = vec![0.0f32; 2 * 70];
    (w[3], w[69]) = (127.0, 1.0);
    [1, 5, 6, 60, 64].iter().for_each(|c| w[70 + c] = 2.0);
    w[70 + 64] = 127.0;
    let p = pack(&Layout::I8Csr { c: 4 }, 2, 70, &w).unwrap();
    assert_eq!((p.array("ptr"), p.array("idx")), (Some(&Array::U32(vec![0, 2])), Some(&Array::U32(vec![1, 64]))));
    // A place past the window is refused, though the matrix has that input.
    let far = p.arrays.iter().position(|a| a.0 == "places").unwrap();
    assert!(validate(changed(&p, far, 0, 2 ^ 64)).is_err() && validate(changed(&p, far, 0, 2 ^ 63)).is_ok());
    let Some(Array::U8(places)) = p.array("places") else { panic!() };
    assert_eq!((&places[..8], &places[64..72]), (&[2, 0, 0, 0, 0, 4, 5, 59][..], &[5, 0, 0, 0, 0, 0, 0, 0][..]));
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
    fn changed_bytes_never_panic(seed in 1u64..500, array in 0usize..6, at in any::<prop::sample::Index>(), by in 1u8..=255) {
        for layout in QUANTIZED_CANDIDATES {
            let w = held(layout, 21, quantised(19, 21, 40, 127, seed));
            let p = round_trip(layout, 19, 21, &w);
            let array = array % p.arrays.len();
            let bad = changed(&p, array, at.index(p.arrays[array].1.len()), by);
            if let Ok(v) = validate(bad) {
                prop_assert!(v.unpack().is_ok());
                let name = p.arrays[array].0;
                prop_assert!(["scale", "idx", "places"].contains(&name), "{name} of {layout} was not refused");
            }
        }
    }
}

#[test]
fn lies_about_sums_scales_and_lengths_are_refused() {
    for layout in QUANTIZED_CANDIDATES {
        let w = held(layout, 24, quantised(20, 24, 60, 127, 9));
        let p = round_trip(layout, 20, 24, &w);
        let place = |name: &str| p.arrays.iter().position(|a| a.0 == name).unwrap();
        let (codes, scale) = (place("codes"), place("scale"));
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
                refused(&|a| if let Array::F32(v) = &mut a[scale].1 {
                    v[0] = bad
                }),
                "scale {bad}"
            );
        }
        assert!(
            refused(&|a| if let Array::F32(v) = &mut a[scale].1 {
                v[20] = 1.0
            }),
            "scale of a padding row"
        );
        assert!(
            refused(&|a| if let Array::U8(v) = &mut a[codes].1 {
                v[0] = 0x80
            }),
            "-128"
        );
    }
}

#[test]
fn kept_codes_of_four_bits_lose_nothing() {
    let mut held = 0;
    for text in ["i4nm(2,4,32,16)", "i4nm(1,4,16,32)", "i4nm(4,8,64,16)", "i4nm(3,4,16,16)", "i4nm(5,16,64,32)"] {
        let layout: Layout = text.parse().unwrap();
        assert_eq!(layout.to_string(), text);
        let Layout::I4Nm { n, m, group, scale } = layout else { panic!() };
        for (rows, cols) in [(1, 1), (3, 65), (18, 64), (33, 200), (7, 97)] {
            let w = in_groups(rows, cols, (4, group as usize), scale == 16, 70, 3 + cols as u64);
            let w = kept_of((n, m), cols, w);
            if stats(&layout, rows, cols, &w).is_err() {
                // By chance larger groups have a scale of more bits, or a short group is whole.
                continue;
            }
            held += 1;
            let p = round_trip(&layout, rows, cols, &w);
            for array in 0..p.arrays.len() {
                for at in (0..p.arrays[array].1.len()).step_by(7) {
                    if let Ok(v) = validate(changed(&p, array, at, 1 << (at % 8))) {
                        assert!(v.unpack().is_ok());
                    }
                }
                let mut cut = p.clone();
                match &mut cut.arrays[array].1 {
                    Array::U8(v) => drop(v.pop()),
                    Array::U32(v) => drop(v.pop()),
                    Array::F32(v) => drop(v.pop()),
                }
                assert!(validate(cut).is_err());
            }
        }
    }
    assert!(held > 15, "{held}");
    for text in ["i4nm(2,4,20,16)", "i4nm(2,4,32,8)", "i4nm(1,5,16,16)", "i4nm(1,8,16,16)", "i4nm(2,4,32)"] {
        assert!(text.parse::<Layout>().is_err(), "{text}");
    }
}

/// Every layout of groups.
fn grouped() -> Vec<Layout> {
    let all = ["q4", "q8", "kept4", "kept8"].into_iter().flat_map(|k| [16, 32, 64].map(|g| (k, g)));
    all.flat_map(|(k, g)| [16, 32].map(|s| format!("{k}({g},{s})").parse().unwrap())).collect()
}

/// Multiples of one scale for each `group` inputs, which is an f16 number if `half`; about `percent` of the groups present.
fn in_groups(rows: usize, cols: usize, (bits, group): (u32, usize), half: bool, percent: u64, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |n: u64| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) % n
    };
    let top = if bits == 4 { 7i64 } else { 127 };
    let mut w = vec![0.0f32; rows * cols];
    for row in w.chunks_mut(cols.max(1)) {
        for g in row.chunks_mut(group) {
            let scale = (1 + below(1000)) as f32 / if half { 1024.0 } else { 7777.0 };
            if below(100) < percent {
                g.iter_mut().for_each(|v| *v = (below(2 * top as u64 + 1) as i64 - top) as f32 * scale);
                g[0] = top as f32 * scale;
            }
        }
    }
    w
}

fn facts_of(layout: &Layout) -> (u32, usize, bool) {
    let Layout::Groups { bits, group, scale, .. } = *layout else { panic!() };
    (bits, group as usize, scale == 16)
}

#[test]
fn groups_lose_nothing() {
    let (mut held, mut all) = (0, 0);
    for layout in grouped() {
        let (bits, group, half) = facts_of(&layout);
        for (rows, cols) in [(1, 1), (3, 65), (2, 64), (5, 200), (7, 97), (2, 16)] {
            for percent in [20, 60, 100] {
                let w = in_groups(rows, cols, (bits, group), half, percent, percent + cols as u64);
                all += 1;
                // By chance larger groups have a scale of more bits, which is found first.
                if stats(&layout, rows, cols, &w).is_ok() {
                    held += 1;
                    round_trip(&layout, rows, cols, &w);
                }
            }
        }
    }
    assert!(held * 10 > all * 8, "{held} of {all}");
}

#[test]
fn what_groups_cannot_hold_is_refused() {
    let no = |layout: &str, cols: usize, w: &[f32]| {
        let layout: Layout = layout.parse().unwrap();
        let (a, b) = (pack(&layout, w.len() / cols, cols, w), stats(&layout, w.len() / cols, cols, w));
        assert_eq!(a.as_ref().unwrap_err(), &b.unwrap_err());
        a.unwrap_err().0
    };
    let w = in_groups(4, 128, (8, 16), false, 100, 1);
    assert!(no("q4(16,32)", 128, &w).contains("more than 4 bits"));
    assert!(no("q8(16,16)", 128, &w).contains("no f16"));
    assert!(no("q8(32,32)", 128, &w).contains("a scale holds for 16 inputs"));
    let mut one = w.clone();
    one[5] = f32::NAN;
    assert!(no("kept8(16,32)", 128, &one).contains("whole multiples"));
    one[5] = 0.1234567;
    assert!(no("kept8(16,32)", 128, &one).contains("whole multiples"));
    // 256 groups in a row are left out.
    let mut far = vec![0.0; 257 * 16 + 16];
    far[256 * 16] = 7.0;
    far[257 * 16] = 7.0;
    assert!(no("kept4(16,16)", far.len(), &far).contains("leaves out 256 groups"));
    far[0] = 7.0;
    round_trip(&"kept4(16,16)".parse().unwrap(), 1, far.len(), &far);
}

#[test]
fn bytes_of_groups_are_as_documented() {
    // Two rows of three groups of 16: the second group of the first row is empty, the second row keeps one.
    let mut w = vec![0.0f32; 2 * 40];
    (w[0], w[1], w[15], w[32], w[39]) = (3.5, -0.5, 1.0, 7.0, -3.0);
    (w[40 + 16], w[40 + 31]) = (-7.0, 2.0);
    let p = pack(&"kept4(16,16)".parse().unwrap(), 2, 40, &w).unwrap();
    assert_eq!(p.array("ptr"), Some(&Array::U32(vec![0, 1, 2])));
    // The group that fills the second unit is the fourth, past the last.
    assert_eq!(p.array("skip"), Some(&Array::U8(vec![0, 1, 1, 1])));
    let Some(Array::U8(codes)) = p.array("codes") else { panic!() };
    assert_eq!((codes.len(), codes[0], codes[1], codes[7], codes[15]), (32, 0x77, 0x0f, 0xd0, 0x02));
    assert_eq!((codes[16], codes[31]), (0x09, 0x02));
    // Halves: 0.5, 1, 1, and nothing.
    assert_eq!(p.array("scale"), Some(&Array::U8(vec![0, 0x38, 0, 0x3c, 0, 0x3c, 0, 0])));
    let p = pack(&"q4(32,32)".parse().unwrap(), 1, 40, &[&[1.0; 16][..], &[-7.0; 16], &[0.25; 8]].concat()).unwrap();
    let Some(Array::U8(codes)) = p.array("codes") else { panic!() };
    assert_eq!((codes.len(), codes[0], codes[15], codes[16], codes[24]), (32, 0x91, 0x91, 0x07, 0));
    assert_eq!(p.array("scale"), Some(&Array::F32(vec![1.0, 0.25 / 7.0])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// A changed byte is refused, or what it makes is a matrix of the same shape that every function agrees on.
    #[test]
    fn changed_groups_are_refused_or_whole(at in 0usize..5, place in any::<prop::sample::Index>(), by in 1u8.., which in 0usize..24) {
        let layout = grouped()[which];
        let (bits, group, half) = facts_of(&layout);
        let w = in_groups(5, 150, (bits, group), half, 60, 11);
        let p = pack(&layout, 5, 150, &w).unwrap();
        let at = at % p.arrays.len();
        let p = changed(&p, at, place.index(p.arrays[at].1.len()), by);
        if let Ok(v) = validate(p) {
            let all = v.unpack().unwrap();
            prop_assert_eq!(all.len(), 5 * 150);
            for (i, w) in all.iter().enumerate() {
                prop_assert_eq!(v.get(i / 150, i % 150).unwrap().to_bits(), w.to_bits());
            }
        }
    }
}

#[test]
fn halves_lose_nothing_and_take_nothing_else() {
    let texts = ["dense", "vx1", "bsr", "nm16"].into_iter().flat_map(|k| ["bf16", "f16"].map(|f| (k, f)));
    for (kind, form) in texts {
        let parameters = match kind {
            "dense" => "16",
            "vx1" => "4",
            "bsr" => "4,3",
            _ => "2,4",
        };
        let layout: Layout = format!("{kind}_{form}({parameters})").parse().unwrap();
        assert_eq!(layout.to_string(), format!("{kind}_{form}({parameters})"));
        let Layout::Half { of, .. } = layout else { panic!() };
        for (rows, cols) in [(2, 4), (5, 24), (33, 48), (18, 12)] {
            let value = |i: usize| if (i % cols) % 4 < 2 { (i % 23) as f32 / 8.0 - 1.0 } else { 0.0 };
            let mut w: Vec<f32> = (0..rows * cols).map(value).collect();
            w[0] = f32::NEG_INFINITY;
            let p = round_trip(&layout, rows, cols, &w);
            let wide = pack(&of.layout(), rows, cols, &w).unwrap();
            assert_eq!(wide.bytes() - p.bytes(), wide.array("values").unwrap().bytes() / 2);
            for bad in [1.0 + 2f32.powi(-11), 1.0 + 2f32.powi(-20), 3e-30] {
                w[cols] = bad;
                let refused = pack(&layout, rows, cols, &w).is_err();
                assert!(refused || rows == 1 || form == "bf16" && bad.to_bits() & 0xffff == 0, "{layout} {bad}");
                if rows == 1 {
                    break;
                }
            }
            let mut cut = p.clone();
            if let Some((_, Array::U8(v))) = cut.arrays.last_mut() {
                v.pop();
            }
            assert!(validate(cut).is_err());
        }
    }
    for text in ["dense_f16", "csr_f16", "i8_bf16(16)", "dense_f32(16)", "q4_f16(32,16)", "_f16(16)", "vx1_bf16(0)"] {
        assert!(text.parse::<Layout>().is_err(), "{text}");
    }
}
