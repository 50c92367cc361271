//! Gathered columns in the order of tensor cores: nothing is lost, the order is the one of the PTX ISA, damaged data is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{Array, Layout, Packed, pack, stats, validate};

fn bits(w: &[f32]) -> Vec<u32> {
    w.iter().map(|x| if *x == 0.0 { 0 } else { x.to_bits() }).collect()
}

fn words<'a>(p: &'a Packed, name: &str) -> &'a [u32] {
    let Some(Array::U32(a)) = p.array(name) else { panic!("no {name}") };
    a
}

fn noise(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut s = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |n| {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) % n
    }
}

/// Any bf16 number, NaN and infinities included.
fn weight(r: &mut impl FnMut(u64) -> u64) -> f32 {
    f32::from_bits((r(1 << 16) as u32) << 16)
}

/// Adds the weights of a block of `mma.m16n8k16` fragments, read lane by lane as the PTX ISA describes them, to `out`.
fn dense(out: &mut [f32], width: usize, values: &[u32], (top, columns): (usize, &[u32]), r: usize) {
    for part in 0..r / 8 {
        for lane in 0..32 {
            for reg in 0..4 {
                for h in 0..2 {
                    let row = top + part / 2 * 16 + lane / 4 + 8 * (reg % 2);
                    let col = columns[part % 2 * 16 + 2 * (lane % 4) + h + 8 * (reg / 2)] as usize;
                    let word = values[(part * 32 + lane) * 4 + reg];
                    let w = f32::from_bits(if h == 0 { word << 16 } else { word & 0xffff_0000 });
                    if w != 0.0 {
                        assert!(col < width && out[row * width + col] == 0.0);
                        out[row * width + col] = w;
                    }
                }
            }
        }
    }
}

fn agree(packed: Packed, seen: &[f32], w: &[f32]) {
    let (rows, cols) = (packed.rows, packed.cols);
    assert_eq!(bits(&seen[..rows * cols]), bits(w));
    assert!(seen[rows * cols..].iter().all(|v| *v == 0.0), "padding");
    let valid = validate(packed).unwrap();
    assert_eq!(bits(&valid.unpack().unwrap()), bits(w));
    assert_eq!(w.len(), rows * cols);
    for (at, want) in w.iter().enumerate() {
        assert_eq!(bits(&[valid.get(at / cols, at % cols).unwrap()]), bits(&[*want]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn columns_lose_nothing(rows in 0usize..140, cols in 0usize..75, r in 0usize..4, percent in 0u64..5, seed in any::<u64>()) {
        let (r, mut next) = ([16u32, 32, 64, 128][r], noise(seed));
        let w: Vec<f32> = (0..rows * cols).map(|_| if next(100) < percent { weight(&mut next) } else { 0.0 }).collect();
        let layout = Layout::Mma1 { r };
        let packed = pack(&layout, rows, cols, &w).unwrap();
        let facts = stats(&layout, rows, cols, &w).unwrap();
        prop_assert_eq!((facts.stored_bytes, facts.multiplies), (packed.bytes(), words(&packed, "values").len() as u64 * 2));
        let (ptr, r) = (words(&packed, "ptr"), r as usize);
        let mut seen = vec![0.0; (ptr.len() - 1) * r * cols];
        for b in 0..ptr.len() - 1 {
            for i in ptr[b] as usize..ptr[b + 1] as usize {
                let values = &words(&packed, "values")[i * r * 16..];
                dense(&mut seen, cols, values, (b * r, &words(&packed, "idx")[i * 32..]), r);
            }
        }
        agree(packed, &seen, &w);
    }

    #[test]
    fn shared_columns_lose_nothing(rows in 0usize..140, cols in 0usize..75, v in 0usize..3, m in 5u32..18, seed in any::<u64>()) {
        let (v, mut next) = ([32usize, 64, 128][v], noise(seed));
        let (m, layout) = (m as usize, Layout::Vnm { v: v as u32, m });
        let mut w = vec![0.0f32; rows * cols];
        for (top, left) in (0..rows).step_by(v).flat_map(|r| (0..cols).step_by(m).map(move |c| (r, c))) {
            let chosen: Vec<usize> = (0..4).map(|_| left + next(m.min(cols - left) as u64) as usize).collect();
            for row in top..(top + v).min(rows) {
                for _ in 0..next(3) {
                    w[row * cols + chosen[next(4) as usize]] = weight(&mut next);
                }
            }
        }
        let packed = pack(&layout, rows, cols, &w).unwrap();
        prop_assert_eq!(stats(&layout, rows, cols, &w).unwrap().stored_bytes, packed.bytes());
        let (blocks, across) = (rows.div_ceil(v), cols.div_ceil(m).div_ceil(8));
        let mut seen = vec![0.0; blocks * v * cols];
        // Lane by lane, as the PTX ISA describes `mma.sp.m16n8k32` of bf16.
        for (part, tile, half) in (0..blocks * v / 32).flat_map(|p| (0..across * 2).map(move |t| (p, t / 2, t % 2))) {
            let at = part * across + tile;
            for (lane, reg) in (0..128).map(|i| (i / 4, i % 4)) {
                let word = words(&packed, "values")[((at * 2 + half) * 32 + lane) * 4 + reg];
                let from = (lane & !3) + 2 * half + reg / 2;
                let code = words(&packed, "meta")[at * 32 + from] >> (16 * (reg % 2) + 4 * (lane % 4)) & 15;
                let row = part * 32 + 16 * half + lane / 4 + 8 * (reg % 2);
                let columns = &words(&packed, "idx")[((part * 32 / v) * across + tile) * 32 + 16 * (reg / 2) + 4 * (lane % 4)..];
                prop_assert!(code & 3 < code >> 2);
                for (position, value) in [(code & 3, word << 16), (code >> 2, word & 0xffff_0000)] {
                    let (value, col) = (f32::from_bits(value), columns[position as usize] as usize);
                    if value != 0.0 {
                        prop_assert!(col < cols && seen[row * cols + col] == 0.0);
                        seen[row * cols + col] = value;
                    }
                }
            }
        }
        agree(packed, &seen, &w);
    }
}

#[test]
fn what_they_cannot_hold_is_refused() {
    let vnm = Layout::Vnm { v: 32, m: 8 };
    let refusal = |rows: usize, w: &[f32]| pack(&vnm, rows, w.len() / rows, w).unwrap_err().0;
    assert_eq!(refusal(1, &[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]), "row 0, group 0 keeps 3 of 8");
    let mut five = [0.0; 24];
    for i in [0, 1, 10, 11, 20] {
        five[i] = 1.0;
    }
    assert_eq!(refusal(3, &five), "rows 0..3, group 0 use 5 of 8 columns");
    assert_eq!(refusal(1, &[0.1]), "the weights are not all bf16 numbers");
    assert!(pack(&Layout::Mma1 { r: 16 }, 1, 1, &[0.1]).is_err());
    for bad in ["mma1(8)", "mma1", "vnm(64)", "vnm(48,8)", "vnm(64,4)", "vnm(64,300)"] {
        assert!(bad.parse::<Layout>().is_err(), "{bad}");
    }
    assert_eq!("vnm(64,8)".parse(), Ok(Layout::Vnm { v: 64, m: 8 }));
    assert_eq!("mma1(128)".parse(), Ok(Layout::Mma1 { r: 128 }));
}

fn damage(good: &Packed, name: &str, f: &dyn Fn(&mut Vec<u32>)) -> String {
    let mut p = good.clone();
    for (n, a) in &mut p.arrays {
        if let (true, Array::U32(a)) = (*n == name, a) {
            f(a);
        }
    }
    validate(p).unwrap_err()
}

#[test]
fn damaged_data_is_refused() {
    let good = pack(&Layout::Mma1 { r: 16 }, 5, 40, &[1.5; 200]).unwrap();
    assert!(damage(&good, "ptr", &|a| a[1] = 1).contains("does not end at 2"));
    assert!(damage(&good, "idx", &|a| a.truncate(63)).contains("does not end at 1"));
    assert!(damage(&good, "idx", &|a| a[3] = 41).contains("out of range"));
    assert!(damage(&good, "idx", &|a| a[3] = a[2]).contains("do not ascend"));
    assert!(damage(&good, "idx", &|a| a[3] = 40).contains("do not ascend"), "no column before the end");
    assert!(damage(&good, "idx", &|a| a[39] = 40).contains("padding is not zero"));
    assert!(damage(&good, "values", &|a| a[511] = 1).contains("padding is not zero"), "row 15 of 5");
    assert!(damage(&good, "values", &|a| a.truncate(9)).contains("values"));
    let mut w = vec![0.0; 5 * 20];
    (0..5).for_each(|row| w[row * 20 + 9] = 2.0);
    let good = pack(&Layout::Vnm { v: 32, m: 8 }, 5, 20, &w).unwrap();
    assert!(validate(good.clone()).is_ok());
    assert!(damage(&good, "idx", &|a| a[0] = 8).contains("do not ascend"));
    assert!(damage(&good, "idx", &|a| a[4] = 7).contains("does not belong to group 1"));
    assert!(damage(&good, "idx", &|a| a[12] = 21).contains("out of range"));
    assert!(damage(&good, "meta", &|a| a[0] = 0).contains("do not ascend"));
    assert!(damage(&good, "values", &|a| a[255] = 0x3f80).contains("padding is not zero"));
    assert!(damage(&good, "meta", &|a| a.push(0)).contains("meta"));
}
