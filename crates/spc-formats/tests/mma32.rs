//! Blocks in the order of tensor cores: nothing is lost, the order is the one of the PTX ISA, damaged data is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_formats::{Array, Layout, pack, stats, validate};

fn bits(w: &[f32]) -> Vec<u32> {
    w.iter().map(|x| if *x == 0.0 { 0 } else { x.to_bits() }).collect()
}

fn words<'a>(p: &'a spc_formats::Packed, name: &str) -> &'a [u32] {
    let Some(Array::U32(a)) = p.array(name) else { panic!("no {name}") };
    a
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn packing_loses_nothing(rows in 0usize..140, cols in 0usize..75, r in 0usize..3, percent in 0u64..4, seed in any::<u64>()) {
        let r = [32u32, 64, 128][r];
        let mut s = seed | 1;
        let mut next = || { s ^= s << 13; s ^= s >> 7; s ^= s << 17; s >> 20 };
        let w: Vec<f32> = (0..rows * cols)
            .map(|_| if next() % 100 < percent { f32::from_bits((next() as u32) << 16) } else { 0.0 })
            .collect();
        let layout = Layout::Mma32 { r };
        let packed = pack(&layout, rows, cols, &w).unwrap();
        prop_assert_eq!(stats(&layout, rows, cols, &w).unwrap().stored_bytes, packed.bytes());
        // Lane by lane, as the PTX ISA describes `mma.m16n8k16` of bf16.
        let (values, per) = (words(&packed, "values"), r as usize * 16);
        let ptr = words(&packed, "ptr").to_vec();
        for b in 0..ptr.len() - 1 {
            for i in ptr[b] as usize..ptr[b + 1] as usize {
                let left = words(&packed, "idx")[i] as usize * 32;
                for part in 0..r as usize / 8 {
                    for lane in 0..32 {
                        for reg in 0..4 {
                            for h in 0..2 {
                                let row = b * r as usize + part / 2 * 16 + lane / 4 + 8 * (reg % 2);
                                let col = left + part % 2 * 16 + 2 * (lane % 4) + h + 8 * (reg / 2);
                                let word = values[i * per + (part * 32 + lane) * 4 + reg];
                                let got = f32::from_bits(if h == 0 { word << 16 } else { word & 0xffff_0000 });
                                let want = if row < rows && col < cols { w[row * cols + col] } else { 0.0 };
                                prop_assert_eq!(bits(&[got]), bits(&[want]));
                            }
                        }
                    }
                }
            }
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
fn damaged_data_and_other_sizes_are_refused() {
    let good = pack(&Layout::Mma32 { r: 32 }, 5, 40, &[1.5; 200]).unwrap();
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
    assert!(damage("ptr", &|a| a[1] = 9).contains("end"));
    assert!(damage("idx", &|a| a[1] = 0).contains("ascend"));
    assert!(damage("idx", &|a| a[1] = 2).contains("out of range"));
    assert!(damage("values", &|a| a[20 * 4] = 1 << 16).contains("padding"), "row 5 of 5");
    assert!("mma32(48)".parse::<Layout>().is_err() && "mma32".parse::<Layout>().is_err());
    assert_eq!("mma32(64)".parse(), Ok(Layout::Mma32 { r: 64 }));
    assert!(pack(&Layout::Mma32 { r: 32 }, 1, 1, &[0.1]).is_err());
}
