//! What is said to flip a choice does flip it: sizes, density and multiples are tried for real.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ir::{DType, Dim, Graph, Op, Plan, Sym, SymId, Type};
use spc_layout::{CostTable, Options, WeightFacts, choose};
use std::collections::BTreeMap;

/// A third of the tiles of 16 x 1, spread evenly, times `share`.
fn weights(rows: usize, cols: usize, share: f64) -> Vec<f32> {
    let kept = |i: usize| {
        let h = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11;
        (h as f64 / (1u64 << 53) as f64) < share
    };
    (0..rows * cols).map(|i| if kept(i / cols / 16 * cols + i % cols) { 1.0 + i as f32 } else { 0.0 }).collect()
}

fn plan(rows: usize, cols: usize, share: f64, b: u64) -> Plan {
    let mut g = Graph::new("f");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 1024 });
    let ty = Type::new(DType::F32, vec![Dim::free("B", SymId(0)), Dim::fixed("K", cols as u64)]);
    let x = g.add(Op::Input { name: "x".into(), ty }, &[]).unwrap();
    let ty = Type::new(DType::F32, vec![Dim::fixed("O", rows as u64), Dim::fixed("K", cols as u64)]);
    let w = g.add(Op::Weight { name: "w".into(), ty }, &[]).unwrap();
    let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    g.outputs.push(("y".into(), y));
    let facts = WeightFacts::of(rows, cols, &weights(rows, cols, share), &[]).unwrap();
    let facts = BTreeMap::from([("w".to_string(), facts)]);
    let tuned = BTreeMap::from([("B".to_string(), b)]);
    choose(&g, &facts, &CostTable::wide_x86_64_v1(), &tuned, &Options::default()).unwrap()
}

#[test]
fn other_sizes_flip_the_choice_to_what_was_said() {
    let mut tried = 0;
    for (share, b) in [(0.3, 1), (0.3, 64), (0.9, 512), (0.05, 8)] {
        let p = plan(256, 192, share, b);
        for flip in &p.why[0].flips {
            let Some((size, layout)) = flip.strip_prefix("B = ").and_then(|f| f.split_once(": ")) else { continue };
            let other = plan(256, 192, share, size.parse().unwrap());
            assert_eq!(other.linears[0].layout, layout, "{flip}");
            assert_ne!(layout, p.linears[0].layout);
            tried += 1;
        }
    }
    assert!(tried > 0, "no size flips any choice");
}

#[test]
fn another_density_flips_the_choice() {
    let mut tried = 0;
    for (share, b) in [(0.3, 48), (0.3, 8), (0.5, 256), (0.12, 1)] {
        let p = plan(512, 256, share, b);
        let winner = &p.linears[0].layout;
        for flip in &p.why[0].flips {
            let Some((factor, _)) = flip.strip_prefix("stored x").and_then(|f| f.split_once(": ")) else { continue };
            let factor: f64 = factor.parse().unwrap();
            // A tenth beyond the point, and a tenth before it: tiles are drawn, so that shares are not exact.
            let (beyond, before) =
                if factor > 1.0 { (factor * 1.1, factor / 1.1) } else { (factor / 1.1, factor * 1.1) };
            if share * beyond > 1.0 || (before - 1.0) * (factor - 1.0) < 0.0 {
                continue;
            }
            assert_ne!(plan(512, 256, share * beyond, b).linears[0].layout, *winner, "{flip} of {share} at {b}");
            assert_eq!(plan(512, 256, share * before, b).linears[0].layout, *winner, "{flip} of {share} at {b}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no density flips any choice");
}

#[test]
fn the_multiple_that_is_said_to_allow_a_layout_does() {
    let p = plan(64, 70, 0.3, 48);
    let flip = p.why[0].flips.iter().find(|f| f.starts_with("a multiple of ")).unwrap();
    let (multiple, layouts) = flip["a multiple of ".len()..].split_once(" inputs allows ").unwrap();
    let cols = 70usize.next_multiple_of(multiple.parse().unwrap());
    let other = plan(64, cols, 0.3, 48);
    for layout in layouts.split(", ") {
        let refused = |p: &Plan| p.why[0].candidates.iter().find(|c| c.layout == layout).unwrap().refused.clone();
        assert!(refused(&p).is_some() && refused(&other).is_none(), "{layout}: {:?}", refused(&other));
    }
}
