//! Packed weights with changed bytes: refused, or read by kernels without leaving their buffers. The interpreter checks every
//! access.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_formats::{Array, Layout, Packed, Validated, pack, validate};
use spc_ir::{Act, Convert, Graph, Plan};
use spc_kernel::ir::random::Rng;
use spc_kernel::templates::cases::LAYOUTS;
use spc_kernel::{PackedPort, Slice, Sources, interpret, schedule};

struct One(Validated);

impl Sources for One {
    fn weight(&self, _: &str) -> Option<&[f32]> {
        None
    }

    fn packed(&self, _: &PackedPort) -> Option<&Validated> {
        Some(&self.0)
    }
}

/// `y = w x` with a weight of 21 x 19, of rounded inputs where the layout reads integers.
fn graph(layout: Layout) -> Graph {
    if layout.needs_integers() {
        let text = "graph \"f\" {\n  sym B = 1..64\n  %0 = input \"x\" : f32[B=?B, K=19]\n  %1 = round 1 (%0) : f32[B=?B, K=19]\n  \
                    %2 = weight \"w\" : f32[O=21, K=19]\n  %3 = linear (%1, %2) : f32[B=?B, O=21]\n  output \"y\" = %3\n}\n";
        return Graph::parse(text).unwrap();
    }
    let text = "graph \"f\" {\n  sym B = 1..64\n  %0 = input \"x\" : f32[B=?B, K=19]\n  %1 = weight \"w\" : f32[O=21, K=19]\n  \
                %2 = linear (%0, %1) : f32[B=?B, O=21]\n  output \"y\" = %2\n}\n";
    Graph::parse(text).unwrap()
}

/// A few bits turned, or the array cut short or made longer.
fn damaged(rng: &mut Rng, array: &mut Array) {
    let words = |rng: &mut Rng, v: u32| v ^ (1 << rng.below(32));
    let n = array_len(array);
    match rng.below(8) {
        0 if n > 0 => truncate(array, rng.below(n)),
        1 => extend(array),
        _ if n == 0 => {}
        _ => {
            for _ in 0..1 + rng.below(3) {
                let i = rng.below(n);
                match array {
                    Array::F32(v) => v[i] = f32::from_bits(words(rng, v[i].to_bits())),
                    Array::U32(v) => v[i] = words(rng, v[i]),
                    Array::U8(v) => v[i] ^= 1 << rng.below(8),
                }
            }
        }
    }
}

fn array_len(a: &Array) -> usize {
    match a {
        Array::F32(v) => v.len(),
        Array::U32(v) => v.len(),
        Array::U8(v) => v.len(),
    }
}

fn truncate(a: &mut Array, n: usize) {
    match a {
        Array::F32(v) => v.truncate(n),
        Array::U32(v) => v.truncate(n),
        Array::U8(v) => v.truncate(n),
    }
}

fn extend(a: &mut Array) {
    match a {
        Array::F32(v) => v.push(1.0),
        Array::U32(v) => v.push(1),
        Array::U8(v) => v.push(1),
    }
}

#[test]
fn damaged_weights_are_refused_or_stay_inside() {
    let mut rng = Rng::new(5);
    let (mut refused, mut ran) = (0, 0);
    let own = ["bsr(4,3)", "nm(3,5)", "vnm16(16,5)", "nm16(3,5)"];
    for name in LAYOUTS.iter().copied().chain(own) {
        let layout: Layout = name.parse().unwrap();
        let g = graph(layout);
        // One of the first two of a few inputs, or both; small whole numbers, the greatest code in each group of codes.
        let period = match layout {
            Layout::Vnm16 { m, .. } => m as usize,
            _ if name.ends_with(",5)") => 5,
            _ => 4,
        };
        let kept = if name.contains("(1,4") { 1 } else { 2 };
        let top =
            if name.contains('4') && name.starts_with(['i', 'q', 'k']) && !name.starts_with("i8") { 7 } else { 127 };
        let value = |i: usize| if (i % 19).is_multiple_of(16) { top as f32 } else { (1 + i % 7) as f32 };
        // The last, partial block of columns of these holds nothing where the one before does.
        let last = if matches!(layout, Layout::Bsr { .. }) || name.starts_with("bsr_") { 16 } else { 19 };
        let there = |i: usize| i % 19 % period < kept && i % 19 < last;
        let w: Vec<f32> = (0..21 * 19).map(|i| if there(i) { value(i) } else { 0.0 }).collect();
        let good: Packed = pack(&layout, 21, 19, &w).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        for round in 0..20 {
            let mut bad = good.clone();
            let which = rng.below(bad.arrays.len());
            damaged(&mut rng, &mut bad.arrays[which].1);
            let Ok(valid) = validate(bad) else {
                refused += 1;
                continue;
            };
            let mut plan = Plan::all_dense(&g, "cpu", name).unwrap();
            if layout.feature_major() && (!layout.row_major() || round % 2 == 0) {
                let l = &mut plan.linears[0];
                (l.x, l.y) = (Act::Fm, Act::Fm);
                let (x, y) = (g.inputs(l.node)[0], l.node);
                plan.values.insert(y, Act::Fm);
                plan.converts = vec![
                    Convert { node: x, to: Act::Fm, predicted_ps: 0 },
                    Convert { node: y, to: Act::Rm, predicted_ps: 0 },
                ];
            }
            let lanes = [4, 8, 16][round % 3];
            let program = schedule(&g, &plan, lanes).unwrap();
            let x = vec![1.0; 3 * 19];
            let y = interpret(&program, &One(valid), &[3], &[Slice::F32(&x)]);
            assert!(y.is_ok(), "{name} round {round}: {:?}", y.err());
            ran += 1;
        }
    }
    assert!(refused > 60 && ran > 60, "{refused} refused, {ran} ran");
}
