//! 2:4 in the order of tensor cores: nothing is lost, the order is the one of the PTX ISA, damaged data is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{Array, Form, Layout, Packed, pack, stats, validate};

fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |n| {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) % n
    }
}

/// At most two weights of four, all bf16 numbers, with NaN, infinities, subnormal numbers and both zeros.
fn weights(rows: usize, cols: usize, seed: u64) -> Vec<f32> {
    let mut r = noise(seed);
    let mut w = vec![0.0f32; rows * cols];
    for row in w.chunks_mut(cols.max(1)) {
        for group in row.chunks_mut(4) {
            for _ in 0..r(3) {
                let at = r(group.len() as u64) as usize;
                group[at] = match r(16) {
                    0 => f32::NAN,
                    1 => f32::INFINITY,
                    2 => f32::from_bits(0x0001_0000),
                    3 => -0.0,
                    _ => f32::from_bits(((r(4000) as f32 - 1999.5) * 0.01).to_bits() & 0xffff_0000),
                };
            }
        }
    }
    w
}

fn bits(w: &[f32]) -> Vec<u32> {
    w.iter().map(|x| if *x == 0.0 { 0 } else { x.to_bits() }).collect()
}

fn words<'a>(p: &'a Packed, name: &str) -> &'a [u32] {
    let Some(Array::U32(a)) = p.array(name) else { panic!("no {name}") };
    a
}

/// The operand that the instruction multiplies with, read lane by lane as the PTX ISA describes `mma.sp.m16n8k32` of bf16.
fn expanded(p: &Packed) -> Vec<f32> {
    let (values, meta) = (words(p, "values"), words(p, "meta"));
    let (down, across) = (p.rows.div_ceil(32), p.cols.div_ceil(32));
    let mut out = vec![0.0f32; down * 32 * across * 32];
    for (tile, half) in (0..down * across).flat_map(|t| [(t, 0), (t, 1)]) {
        for lane in 0..32 {
            let (g, t) = (lane / 4, lane % 4);
            for reg in 0..4 {
                let word = values[((tile * 2 + half) * 32 + lane) * 4 + reg];
                // Selector 0 reads the metadata of lanes 0 and 1 of a quad, selector 1 that of lanes 2 and 3.
                let from = (lane & !3) + 2 * half + reg / 2;
                let code = meta[tile * 32 + from] >> (16 * (reg % 2) + 4 * t) & 15;
                let row = tile / across * 32 + 16 * half + g + 8 * (reg % 2);
                let col = tile % across * 32 + 16 * (reg / 2) + 4 * t;
                for (position, value) in [(code & 3, word & 0xffff), (code >> 2, word >> 16)] {
                    out[row * across * 32 + col + position as usize] += f32::from_bits(value << 16);
                }
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn packing_loses_nothing(rows in 0usize..70, cols in 0usize..75, seed in any::<u64>()) {
        let w = weights(rows, cols, seed);
        let packed = pack(&Layout::Mma24, rows, cols, &w).unwrap();
        let facts = stats(&Layout::Mma24, rows, cols, &w).unwrap();
        prop_assert_eq!(facts.stored_bytes, packed.bytes());
        prop_assert_eq!(facts.multiplies * 2, words(&packed, "values").len() as u64 * 4);
        let across = cols.div_ceil(32) * 32;
        let seen = expanded(&packed);
        for (at, v) in seen.iter().enumerate() {
            let (row, col) = (at / across, at % across);
            let want = if row < rows && col < cols { w[row * cols + col] } else { 0.0 };
            prop_assert!(v.to_bits() == want.to_bits() || (*v == 0.0 && want == 0.0), "{row} {col}: {v} {want}");
        }
        let valid = validate(packed).unwrap();
        prop_assert_eq!(bits(&valid.unpack().unwrap()), bits(&w));
        for row in 0..rows {
            for col in 0..cols {
                prop_assert_eq!(bits(&[valid.get(row, col).unwrap()]), bits(&[w[row * cols + col]]));
            }
        }
    }
}

#[test]
fn what_it_cannot_hold_is_refused() {
    let refusal = |w: &[f32]| pack(&Layout::Mma24, 1, w.len(), w).unwrap_err().0;
    assert_eq!(refusal(&[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), "row 0, group 1 keeps 3 of 4");
    assert_eq!(refusal(&[0.1]), "the weights are not all bf16 numbers");
    assert!(pack(&Layout::Mma24, 1, 5, &[0.5, 0.0, 2.0, 0.0, -3.0]).is_ok());
}

#[test]
fn damaged_data_is_refused() {
    let good = pack(&Layout::Mma24, 5, 9, &weights(5, 9, 7)).unwrap();
    let damage = |name: &str, f: &dyn Fn(&mut Vec<u32>)| {
        let mut p = good.clone();
        for (n, a) in &mut p.arrays {
            if let (true, Array::U32(a)) = (*n == name, a) {
                f(a);
            }
        }
        validate(p).unwrap_err()
    };
    assert!(validate(good.clone()).is_ok());
    assert!(damage("values", &|a| a.truncate(3)).contains("values"));
    assert!(damage("meta", &|a| a.push(0)).contains("meta"));
    assert!(damage("meta", &|a| a[0] = 0).contains("do not ascend"));
    assert!(damage("values", &|a| a[255] = 0x3f80).contains("padding is not zero"), "row 31 of 5");
    assert_eq!("mma24".parse(), Ok(Layout::Mma24));
    assert!("mma24()".parse::<Layout>().is_err() && "mma24(2)".parse::<Layout>().is_err());
}

/// With f16 numbers the arrays are those of bf16 numbers with the same bits.
#[test]
fn f16_numbers_take_the_places_of_bf16_numbers() {
    for name in ["mma24", "mma32(32)", "mma1(16)", "vnm(32,8)"] {
        let (head, tail) = name.split_once('(').map_or((name, String::new()), |(h, t)| (h, format!("({t}")));
        let (bf16, f16): (Layout, Layout) = (name.parse().unwrap(), format!("{head}_f16{tail}").parse().unwrap());
        assert_eq!((f16.to_string(), f16.with_bf16()), (format!("{head}_f16{tail}"), bf16));
        assert!(f16.needs_tensor_cores() && f16.for_many() == f16);
        let mut r = noise(3);
        for (rows, cols) in [(1, 1), (37, 70), (64, 64)] {
            let f16s: Vec<u16> = (0..rows * cols)
                .map(|i| {
                    let there = i % cols % 8 < 4 && (i % cols + i / cols) % 4 < 2;
                    // Subnormal, normal and infinite numbers.
                    if there { [1, 0x3c01, 0x83ff, 0x7bff, 0x7c00, 0xb555, 0x0400][r(7) as usize] } else { 0 }
                })
                .collect();
            let real: Vec<f32> = f16s.iter().map(|b| Form::F16.widen(*b)).collect();
            let same: Vec<f32> = f16s.iter().map(|b| f32::from_bits(u32::from(*b) << 16)).collect();
            let (a, b) = (pack(&f16, rows, cols, &real).unwrap(), pack(&bf16, rows, cols, &same).unwrap());
            assert_eq!(a.arrays, b.arrays, "{name} {rows} x {cols}");
            assert_eq!(validate(a).unwrap().unpack().unwrap(), real, "{name} {rows} x {cols}");
            assert_eq!(stats(&f16, rows, cols, &real).unwrap(), stats(&bf16, rows, cols, &same).unwrap());
        }
        assert!(
            pack(&f16, 1, 1, &[1.0 + 2f32.powi(-11)]).is_err() && pack(&bf16, 1, 1, &[1.0 + 2f32.powi(-10)]).is_err()
        );
    }
    for no in ["mma24_bf16", "mma24_f16(1)", "mma32_f16", "mma32_bf16(32)", "mma32_f16(16)", "vnm_f16(64)"] {
        assert!(no.parse::<Layout>().is_err(), "{no}");
    }
}
