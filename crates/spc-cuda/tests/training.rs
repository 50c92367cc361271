//! Training updates under g++ and as PTX, against loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
mod support;

use spc_cuda::nvrtc::images;
use spc_cuda::{ParamKind, Update, UpdateModule, threshold_state, updates};
use spc_formats::{Array, Layout, Packed, pack, validate};
use spc_ir::{DType, ScalarExpr};
use spc_ptx::{Launch, Memory, Module, Schedule, launch};
use support::{Argument, Job, Program, f32_bytes, have_gxx, u32_bytes};

/// Ties, both zeros, small and large numbers.
fn weights(n: usize, seed: usize) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let v = ((i * 7919 + seed * 104_729) % 1013) as f32 / 500.0 - 1.0;
            [v, -v, 0.5, v * 1e-3, -0.0, v, v * 40.0][(i * 31 + seed) % 7]
        })
        .collect()
}

fn module() -> UpdateModule {
    let e = |t: &str| ScalarExpr::parse(t).unwrap();
    let (f, b) = (DType::F32, DType::Bool);
    updates(&[
        Update::Elements {
            name: "momentum".into(),
            arrays: vec![f, f, f, b],
            numbers: 2,
            results: vec![
                (f, e("(sub a0 (mul a4 (add a2 (mul a5 a1))))")),
                (f, e("(add a2 (mul a5 a1))")),
                (b, e("(and a3 (gt a0 0))")),
            ],
        },
        Update::Nm { name: "two_of_four".into(), n: 2, m: 4 },
        Update::Nm { name: "three_of_eight".into(), n: 3, m: 8 },
        Update::Nm { name: "eight_of_32".into(), n: 8, m: 32 },
        Update::Nm { name: "one_of_two".into(), n: 1, m: 2 },
        Update::Pack24 { name: "pack_odd".into(), outputs: 45, inputs: 70 },
        Update::Pack24 { name: "pack".into(), outputs: 64, inputs: 96 },
        Update::GroupNorm { name: "columns".into(), outputs: 37, inputs: 70, rows: 16, cols: 1 },
        Update::GroupNorm { name: "blocks".into(), outputs: 32, inputs: 64, rows: 4, cols: 4 },
        Update::GroupNorm { name: "rows".into(), outputs: 9, inputs: 300, rows: 2, cols: 300 },
        Update::Greatest { name: "greatest".into() },
    ])
    .unwrap()
}

/// Runs a kernel for N; gives its written buffers.
type Run<'a> = &'a dyn Fn(&str, u64, Vec<Argument>) -> Vec<Vec<u8>>;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn magnitude(v: f32) -> u32 {
    v.to_bits() & 0x7fff_ffff
}

fn elements(run: Run<'_>) {
    for n in [1usize, 3, 4, 511, 1030] {
        let (w, g, m) = (weights(n, 1), weights(n, 2), weights(n, 3));
        let mask: Vec<u8> = (0..n).map(|i| u8::from(i % 3 != 0)).collect();
        let out = run(
            "momentum",
            n as u64,
            vec![
                Argument::In(f32_bytes(&w)),
                Argument::In(f32_bytes(&g)),
                Argument::In(f32_bytes(&m)),
                Argument::In(mask.clone()),
                Argument::Out(4 * n as u64),
                Argument::Out(4 * n as u64),
                Argument::Out(n as u64),
                Argument::In(f32_bytes(&[0.1, 0.9])),
                Argument::Int(n as i32),
            ],
        );
        for i in 0..n {
            let next = m[i] + 0.9 * g[i];
            assert_eq!(floats(&out[1])[i], next);
            assert_eq!(floats(&out[0])[i], w[i] - 0.1 * next);
            assert_eq!(out[2][i] == 1, mask[i] == 1 && w[i] > 0.0);
        }
    }
}

fn masks(run: Run<'_>) {
    for (name, n, m) in [("two_of_four", 2, 4), ("three_of_eight", 3, 8), ("eight_of_32", 8, 32), ("one_of_two", 1, 2)]
    {
        for count in [m, 8 * m, 131 * m + 1, 40 * m - 1] {
            let mut w = weights(count, m);
            w[count / 2] = f32::NAN;
            w[count / 3] = f32::NEG_INFINITY;
            let groups = count.div_ceil(m);
            let out = run(
                name,
                groups as u64,
                vec![
                    Argument::In(f32_bytes(&w)),
                    Argument::Out(count as u64),
                    Argument::Out(4 * count as u64),
                    Argument::Int(groups as i32),
                    Argument::Int(count as i32),
                ],
            );
            let kept = floats(&out[1]);
            for (g, group) in w.chunks(m).enumerate() {
                let mut order: Vec<usize> = (0..group.len()).collect();
                order.sort_by_key(|i| (std::cmp::Reverse(magnitude(group[*i])), *i));
                for (rank, i) in order.into_iter().enumerate() {
                    let (at, keeps) = (g * m + i, rank < n);
                    assert_eq!(out[0][at], u8::from(keeps), "{name}: {at} of {count}");
                    assert!(kept[at].to_bits() == if keeps { w[at].to_bits() } else { 0 }, "{name}: {at}");
                }
            }
        }
    }
}

fn packs(run: Run<'_>) {
    for (name, o, k) in [("pack_odd", 45usize, 70usize), ("pack", 64, 96)] {
        let w = weights(o * k, 5);
        let tiles = o.div_ceil(32) * k.div_ceil(32);
        let out = run(
            name,
            tiles as u64,
            vec![
                Argument::In(f32_bytes(&w)),
                Argument::Out(tiles as u64 * 1024),
                Argument::Out(tiles as u64 * 128),
                Argument::Int(tiles as i32),
            ],
        );
        // The packer's words for the same choice, rounded.
        let mut chosen = w.clone();
        for group in chosen.chunks_mut(k).flat_map(|row| row.chunks_mut(4)) {
            let mut order: Vec<usize> = (0..group.len()).collect();
            order.sort_by_key(|i| (std::cmp::Reverse(magnitude(group[*i])), *i));
            order.into_iter().skip(2).for_each(|i| group[i] = 0.0);
        }
        spc_round(&mut chosen);
        let want = pack(&Layout::Mma24, o, k, &chosen).unwrap();
        let arrays = vec![("values", Array::U32(words(&out[0]))), ("meta", Array::U32(words(&out[1])))];
        let got = validate(Packed { layout: Layout::Mma24, rows: o, cols: k, arrays }).unwrap();
        assert!(got.unpack().unwrap() == validate(want).unwrap().unpack().unwrap(), "{name}");
    }
}

fn spc_round(w: &mut [f32]) {
    for v in w {
        let bits = v.to_bits();
        *v = f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000);
    }
}

fn norms(run: Run<'_>) {
    for (name, o, k, r, c) in [("columns", 37, 70, 16, 1), ("blocks", 32, 64, 4, 4), ("rows", 9, 300, 2, 300)] {
        let w = weights(o * k, 8);
        let (tau, tiles) = (1.5f32, c <= 32);
        let units = o.div_ceil(r) * if tiles { k.div_ceil(32) } else { 1 };
        let mut arguments =
            vec![Argument::In(f32_bytes(&w)), Argument::Out(4 * (o * k) as u64), Argument::In(f32_bytes(&[tau]))];
        if tiles {
            arguments.push(Argument::Int(units as i32));
        }
        let got = floats(&run(name, units as u64, arguments)[0]);
        let (mut zero, mut scaled) = (0, 0);
        for (row, col) in (0..o).step_by(r).flat_map(|i| (0..k).step_by(c).map(move |j| (i, j))) {
            let group: Vec<usize> =
                (row..(row + r).min(o)).flat_map(|i| (col..(col + c).min(k)).map(move |j| i * k + j)).collect();
            let norm = group.iter().map(|i| f64::from(w[*i]).powi(2)).sum::<f64>().sqrt();
            let by = (1.0 - f64::from(tau) / norm).max(0.0);
            if by == 0.0 {
                zero += 1
            } else {
                scaled += 1
            }
            for i in group {
                let want = f64::from(w[i]) * by;
                assert!(
                    (f64::from(got[i]) - want).abs() <= 2e-6 * f64::from(w[i].abs()),
                    "{name}: {i}: {} {want}",
                    got[i]
                );
            }
        }
        assert!(scaled > 0 && (zero > 0 || name != "columns"), "{name}: {zero} {scaled}");
    }
}

/// A group with a NaN becomes NaN, one with an infinity keeps its place, one of zeros stays.
fn norms_of_strange_numbers(run: Run<'_>) {
    let (o, k) = (32usize, 64usize);
    let mut w = vec![2.0f32; o * k];
    (w[0], w[5], w[8]) = (f32::NAN, f32::INFINITY, 0.0);
    (0..4).for_each(|row| w[row * k + 12..][..4].fill(0.0));
    let units = o / 4 * (k / 32);
    let arguments = vec![
        Argument::In(f32_bytes(&w)),
        Argument::Out(4 * (o * k) as u64),
        Argument::In(f32_bytes(&[1.5])),
        Argument::Int(units as i32),
    ];
    let got = floats(&run("blocks", units as u64, arguments)[0]);
    assert!((0..4).all(|i| got[i].is_nan() && got[3 * k + i].is_nan()), "one NaN");
    assert!(got[5] == f32::INFINITY && got[4] == 2.0, "one infinity: {:?}", &got[4..8]);
    assert!(got[8] == 0.0 && got[9] > 0.0 && got[9] < 2.0 && got[12..16].iter().all(|v| v.to_bits() == 0));
}

fn greatest(run: Run<'_>) {
    let of = |n: usize, f: fn(usize) -> f32| (0..n).map(f).collect::<Vec<f32>>();
    // Magnitudes that differ in their last bit, or not at all: the place decides, to its own last bit.
    let last_bit = of(3000, |i| f32::from_bits(0x3f00_0000 | (i % 3 == 0) as u32 | ((i % 2) as u32) << 31));
    let equal = of(3000, |_| -0.25);
    let strange = of(200, |i| [f32::NAN, f32::INFINITY, 1.0, -f32::NAN, f32::NEG_INFINITY, 0.0, -0.0, 1e-45][i % 8]);
    let mut cases = [(1000usize, 100u32), (5000, 2499), (5000, 4999), (64, 64), (64, 100), (64, 0), (9000, 1)]
        .map(|(n, keep)| (weights(n, 9), keep))
        .to_vec();
    cases.extend([999u32, 1000, 1001, 2047].map(|keep| (last_bit.clone(), keep)));
    cases.extend([1u32, 1023, 1024, 1025, 2048].map(|keep| (equal.clone(), keep)));
    cases.extend([24u32, 25, 49, 51, 126, 199].map(|keep| (strange.clone(), keep)));
    for (w, keep) in cases {
        let n = w.len();
        let (mut state, mut counts) = (threshold_state(keep).to_vec(), vec![0u32; 2048]);
        for digit in 0..6 {
            let out = run(
                "greatest_histogram",
                n as u64,
                vec![
                    Argument::In(f32_bytes(&w)),
                    Argument::In(u32_bytes(&state)),
                    Argument::InOut(u32_bytes(&counts)),
                    Argument::Int(digit),
                    Argument::Int(n as i32),
                ],
            );
            counts = words(&out[0]);
            let out = run(
                "greatest_select",
                1,
                vec![Argument::InOut(u32_bytes(&state)), Argument::InOut(u32_bytes(&counts)), Argument::Int(digit)],
            );
            (state, counts) = (words(&out[0]), words(&out[1]));
            assert!(counts.iter().all(|c| *c == 0));
        }
        let arguments = vec![
            Argument::In(f32_bytes(&w)),
            Argument::In(u32_bytes(&state)),
            Argument::Out(n as u64),
            Argument::Int(n as i32),
        ];
        let mask = run("greatest_mask", n as u64, arguments).remove(0);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(magnitude(w[*i])), *i));
        for (rank, i) in order.into_iter().enumerate() {
            assert_eq!(mask[i], u8::from(rank < keep as usize), "{i}, rank {rank} of {n}, {keep} kept");
        }
    }
}

/// The launch of a kernel of the module.
fn job(m: &UpdateModule, name: &str, n: u64, arguments: Vec<Argument>) -> Job {
    let k = m.kernels.iter().find(|k| k.name == name).unwrap();
    assert_eq!(k.params.len(), arguments.len());
    let (grid, block, shared_bytes) = (k.grid.blocks(n).unwrap(), k.block, k.shared_bytes);
    Job { kernel: name.into(), grid, block, shared_bytes, arguments }
}

#[test]
fn updates_agree_with_loops_under_gxx() {
    if !have_gxx() {
        return;
    }
    let m = module();
    let kernels: Vec<_> = m
        .kernels
        .iter()
        .map(|k| (k.name.clone(), k.params.iter().map(|p| ParamKind::c_type(p.kind)).collect()))
        .collect();
    let program = Program::new(&m.text, &kernels);
    let run = |name: &str, n: u64, arguments: Vec<Argument>| {
        let sizes: Vec<usize> = arguments.iter().filter_map(Argument::written).collect();
        let mut bytes = program.bytes(&[job(&m, name, n, arguments)]);
        sizes.into_iter().map(|n| bytes.drain(..n).collect()).collect()
    };
    [elements, masks, packs, norms, norms_of_strange_numbers, greatest].iter().for_each(|f| f(&run));
}

#[test]
fn updates_agree_with_loops_as_ptx() {
    let m = module();
    let Some(built) = images(&m.text, &["compute_80"]).unwrap() else {
        assert!(std::env::var_os("SPC_NEEDS_NVRTC").is_none());
        spc_base::skipped("NO NVRTC: THE PTX OF UPDATES IS NOT TESTED");
        return;
    };
    let ptx = Module::parse(std::str::from_utf8(&built.images[0].bytes).unwrap()).unwrap();
    let run = |name: &str, n: u64, arguments: Vec<Argument>| {
        let job = job(&m, name, n, arguments);
        let mut first: Option<Vec<Vec<u8>>> = None;
        for schedule in Schedule::ALL {
            let (mut memory, mut given, mut written) = (Memory::default(), Vec::new(), Vec::new());
            for a in &job.arguments {
                given.push(match a {
                    Argument::In(bytes) => memory.alloc(bytes.clone()).unwrap(),
                    Argument::InOut(bytes) => memory.alloc(bytes.clone()).unwrap(),
                    Argument::Out(bytes) => memory.alloc(vec![0xff; *bytes as usize]).unwrap(),
                    Argument::Int(n) => u64::from(*n as u32),
                });
                if let Some(bytes) = a.written() {
                    written.push((given[given.len() - 1], bytes as u64));
                }
            }
            let (grid, block, shared_bytes) = (job.grid, job.block, job.shared_bytes);
            let how = Launch { grid, block, shared_bytes, arguments: &given, schedule };
            let kernel = ptx.kernel(name).unwrap();
            let c = launch(kernel, &how, &mut memory).unwrap_or_else(|f| panic!("{f}"));
            let (load, store) = c.sector_ratios();
            // One pass over the weights, all bytes of a sector in use; `pack_odd` and odd counts have short rows.
            if ["pack", "blocks"].contains(&name) {
                assert!(load <= 1.1 && store <= 1.1, "{name}: {load:.2} {store:.2}");
                assert_eq!(c.bank_conflicts, 0, "{name}");
            }
            let out: Vec<Vec<u8>> = written.iter().map(|(at, n)| memory.read(*at, 0..*n).unwrap().to_vec()).collect();
            assert!(first.get_or_insert_with(|| out.clone()) == &out, "{name}: {schedule:?} gives another result");
        }
        first.unwrap()
    };
    [elements, masks, packs, norms, norms_of_strange_numbers, greatest].iter().for_each(|f| f(&run));
}
