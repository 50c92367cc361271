//! Passes of training updates: by the interpreter of the loop IR, which checks every access, by machine code, and by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use spc_cpu::{Call, Isa, Pool, Slot, Sweeps};
use spc_ir::{BinFn, DType, ScalarExpr as S, UnFn};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::update::{Chain, Fold, FoldKind, Grid, IOTA, Kind, Node, Pass, Work, group_pass, nm_in_place, nm_pass};

struct Rng(u64);

impl Rng {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// Many ties and zeros of both signs.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        let one = |r: &mut Rng| match r.draw() % 8 {
            0 => 0.0,
            1 => -0.0,
            2..=4 => (r.draw() % 9) as f32 / 4.0 - 1.0,
            _ => r.draw() as f32 / (1u64 << 30) as f32 - 1.0,
        };
        (0..n).map(|_| one(self)).collect()
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|i| i.is_available())
}

/// The pass in the interpreter, on buffers of exactly the sizes that it may touch.
fn interpreted(p: &Pass, n: usize, arrays: &[Vec<u8>], numbers: &[f32]) -> (Vec<Vec<u8>>, Vec<f32>) {
    let mut buffers = arrays.to_vec();
    let mut words: Vec<f32> = (0..IOTA).map(|i| i as f32).collect();
    words.extend_from_slice(numbers);
    buffers.push(words.iter().flat_map(|x| x.to_le_bytes()).collect());
    buffers.push(vec![0; 4 * p.folds]);
    let mut args: Vec<Arg> = (0..buffers.len()).map(Arg::buffer).collect();
    args.extend([Arg::Int(0), Arg::Int((n / p.unit) as i64), Arg::Int(n as i64)]);
    run(&p.kernel, &args, &mut buffers).unwrap();
    let folds = buffers.pop().unwrap();
    buffers.pop();
    (buffers, floats(&folds))
}

fn bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats(b: &[u8]) -> Vec<f32> {
    b.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// The N of every M: greatest magnitude, then the lower index.
fn chosen(w: &[f32], n: usize, m: usize) -> Vec<u8> {
    let mut out = vec![0; w.len()];
    for (g, group) in w.chunks(m).enumerate() {
        let mut order: Vec<usize> = (0..group.len()).collect();
        order.sort_by(|a, b| group[*b].abs().total_cmp(&group[*a].abs()).then(a.cmp(b)));
        order.iter().take(n).for_each(|i| out[g * m + i] = 1);
    }
    out
}

#[test]
fn n_of_m_is_that_of_a_sort_on_every_executor() {
    let mut r = Rng(1);
    for isa in isas() {
        for m in [2usize, 4, 8, 16, 32] {
            let p = nm_pass(m, 0, true, isa.lanes()).unwrap();
            let place = nm_in_place(m, 0, isa.lanes()).unwrap();
            let sweeps = Sweeps::new(vec![p.clone(), place.clone()], isa).unwrap();
            for groups in [1usize, 2, 3, 7, 40, 5000 / m] {
                let n = m * groups;
                let w = r.floats(n);
                for keep in [0, 1, m / 2, m - 1, m] {
                    let (mut mask, mut view) = (vec![9u8; n], vec![9f32; n]);
                    let mut slots = [Slot::Read(&w), Slot::Bytes(&mut mask), Slot::F32(&mut view)];
                    let call = Call { pass: 0, slots: vec![0, 1, 2] };
                    sweeps.run(n, &mut slots, &[keep as f32], &[call], &Pool::new(1)).unwrap();
                    let want = chosen(&w, keep, m);
                    assert_eq!(mask, want, "{keep} of {m}, {groups} groups, {isa:?}");
                    for i in 0..n {
                        let x = if want[i] == 1 { w[i] } else { 0.0 };
                        assert_eq!(view[i].to_bits(), x.to_bits());
                    }
                    let mut own = w.clone();
                    let call = Call { pass: 1, slots: vec![0] };
                    sweeps.run(n, &mut [Slot::F32(&mut own)], &[keep as f32], &[call], &Pool::new(1)).unwrap();
                    let plus: Vec<f32> = view.iter().map(|x| x + 0.0).collect();
                    assert_eq!(bytes(&own), bytes(&plus), "{keep} of {m} in place, {groups} groups, {isa:?}");
                    if n.is_multiple_of(p.unit) && n < 400 {
                        let (out, _) = interpreted(&place, n, &[bytes(&w)], &[keep as f32]);
                        assert_eq!(out[0], bytes(&plus));
                        let arrays = [bytes(&w), vec![0; n], vec![0; 4 * n]];
                        let (out, _) = interpreted(&p, n, &arrays, &[keep as f32]);
                        assert_eq!(out[1], want);
                    }
                }
            }
        }
    }
}

#[test]
fn weights_that_are_no_numbers_are_seen() {
    for isa in isas() {
        let p = nm_pass(4, 0, false, isa.lanes()).unwrap();
        let sweeps = Sweeps::new(vec![p], isa).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            for n in [4usize, 64, 100] {
                let mut w = vec![1.0; n];
                let call = [Call { pass: 0, slots: vec![0, 1] }];
                for at in [None, Some(n - 1)] {
                    at.into_iter().for_each(|i| w[i] = bad);
                    let mut mask = vec![0u8; n];
                    let folds =
                        sweeps.run(n, &mut [Slot::Read(&w), Slot::Bytes(&mut mask)], &[2.0], &call, &Pool::new(1));
                    let finite = folds.unwrap().iter().flatten().all(|x| x.is_finite());
                    assert_eq!(finite, at.is_none());
                }
            }
        }
    }
}

/// y = max(|x| - t, 0) with the sign where a mask is true; sum of y, count of the mask.
fn shrink() -> Chain {
    let mut c = Chain::default();
    let (x, m, y) = (c.array(Kind::F32), c.array(Kind::Bytes), c.array(Kind::F32));
    let (xn, mn, t) = (c.node(Node::Array(x)), c.node(Node::Array(m)), c.node(Node::Number(0)));
    let short = S::bin(BinFn::Max, S::bin(BinFn::Sub, S::un(UnFn::Abs, S::Arg(0)), S::Arg(1)), S::Const(0.0));
    let v = c.map(S::select(S::Arg(2), short, S::Arg(0)), vec![xn, t, mn], DType::F32);
    c.store(y, v);
    let not = c.map(S::un(UnFn::Not, S::Arg(0)), vec![mn], DType::Bool);
    c.store(m, not);
    c.folds.push(Fold { kind: FoldKind::Sum, value: v, guard: Some(mn) });
    c.folds.push(Fold { kind: FoldKind::Count, value: mn, guard: None });
    c.folds.push(Fold { kind: FoldKind::Min, value: v, guard: None });
    c
}

#[test]
fn chains_compute_entry_by_entry_with_tails_and_threads() {
    let mut r = Rng(2);
    for isa in isas() {
        let p = shrink().pass("shrink", isa.lanes()).unwrap();
        let sweeps = Sweeps::new(vec![p.clone()], isa).unwrap();
        for n in [0usize, 1, 3, 15, 16, 17, 100, 1000, 70_000] {
            let x = r.floats(n);
            let mask: Vec<u8> = (0..n).map(|_| u8::from(r.draw().is_multiple_of(3))).collect();
            let want: Vec<f32> =
                x.iter().zip(&mask).map(|(x, m)| if *m == 1 { (x.abs() - 0.25).max(0.0) } else { *x }).collect();
            let mut last: Option<Vec<Vec<f32>>> = None;
            for threads in [1, 3] {
                let (mut m, mut y) = (mask.clone(), vec![7f32; n]);
                let mut slots = [Slot::Read(&x), Slot::Bytes(&mut m), Slot::F32(&mut y)];
                let call = Call { pass: 0, slots: vec![0, 1, 2] };
                let folds = sweeps.run(n, &mut slots, &[0.25], &[call], &Pool::new(threads)).unwrap();
                assert!(y.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()), "{n} {isa:?}");
                assert!(m.iter().zip(&mask).all(|(a, b)| *a == 1 - *b));
                let part = |k: usize| folds[0].iter().skip(k).step_by(3).copied();
                let sum: f64 = want.iter().zip(&mask).filter(|(_, m)| **m == 1).map(|(y, _)| f64::from(*y)).sum();
                assert!((part(0).map(f64::from).sum::<f64>() - sum).abs() <= 1e-3 * (1.0 + sum.abs()));
                assert_eq!(part(1).sum::<f32>(), mask.iter().map(|m| f32::from(*m)).sum::<f32>());
                assert_eq!(part(2).fold(f32::INFINITY, f32::min), want.iter().copied().fold(f32::INFINITY, f32::min));
                if let Some(last) = &last {
                    assert_eq!(*last, folds);
                }
                last = Some(folds);
            }
            if n > 0 && n.is_multiple_of(p.unit) && n < 1000 {
                let (out, _) = interpreted(&p, n, &[bytes(&x), mask.clone(), vec![0; 4 * n]], &[0.25]);
                assert_eq!(floats(&out[2]), want);
            }
        }
    }
}

/// Halves every norm above 1, and sends others to 0.
fn halve() -> (Chain, usize) {
    let mut c = Chain::default();
    c.array(Kind::F32);
    let x = c.node(Node::Array(0));
    let above = S::bin(BinFn::Gt, S::Arg(0), S::Const(1.0));
    let half = S::bin(BinFn::Mul, S::Arg(0), S::Const(0.5));
    let y = c.map(S::select(above, half, S::Const(0.0)), vec![x], DType::F32);
    (c, y)
}

#[test]
fn tiles_have_their_norms_at_every_scale() {
    let mut r = Rng(3);
    let shapes = [(1, 40, 40, 3), (1, 7, 7, 5), (3, 16, 16, 2), (16, 64, 16, 3), (4, 32, 32, 2), (2, 48, 4, 3)];
    let more = [
        (5, 20, 1, 2),
        (4, 24, 2, 2),
        (1, 64, 8, 4),
        (8, 8, 8, 2),
        (1, 4096, 4096, 3),
        (101, 84, 1, 2),
        (66, 36, 4, 2),
        // Runs of whole vectors, in all numbers of them.
        (1, 4, 4, 11),
        (1, 8, 8, 50),
        (1, 16, 16, 37),
        (1, 24, 24, 19),
        (1, 32, 32, 21),
        (1, 64, 64, 35),
    ];
    for isa in isas() {
        for (rows, cols, tile, strips) in shapes.into_iter().chain(more) {
            let g = Grid { rows, cols, tile };
            if !g.fits(isa.lanes()) {
                continue;
            }
            let (chain, y) = halve();
            let prox = group_pass(g, Work::Prox(&chain, y), isa.lanes()).unwrap();
            let squares = group_pass(g, Work::Squares, isa.lanes()).unwrap();
            let scale = group_pass(g, Work::Scale, isa.lanes()).unwrap();
            let sweeps = Sweeps::new(vec![prox.clone(), squares.clone(), scale.clone()], isa).unwrap();
            let n = rows * cols * strips;
            for size in [1.0f32, 1e-25, 1e25] {
                let w: Vec<f32> = r.floats(n).iter().map(|x| x * size).collect();
                let group = |i: usize| ((i / cols / rows) * (cols / tile)) + i % cols / tile;
                let mut norms = vec![0f64; strips * (cols / tile)];
                w.iter().enumerate().for_each(|(i, x)| norms[group(i)] += f64::from(*x).powi(2));
                norms.iter_mut().for_each(|x| *x = x.sqrt());
                let mut got = w.clone();
                let call = [Call { pass: 0, slots: vec![0] }];
                let pool = Pool::new(1);
                let folds = sweeps.run(n, &mut [Slot::F32(&mut got)], &[], &call, &pool).unwrap();
                let top = folds[0].iter().copied().fold(0.0, f32::max);
                let best = norms.iter().copied().fold(0.0, f64::max);
                assert!((f64::from(top) - best).abs() <= 1e-5 * best, "{g:?} {isa:?} {size}: {top} {best}");
                for (i, x) in got.iter().enumerate() {
                    let norm = norms[group(i)];
                    if (norm - 1.0).abs() > 1e-5 {
                        let want = if norm > 1.0 { w[i] * 0.5 } else { 0.0 };
                        assert!((x - want).abs() <= 1e-6 * want.abs(), "{g:?} {isa:?} {size}: {x} {want}");
                        assert!(*x != 0.0 || x.is_sign_positive() || w[i].to_bits() == (-0f32).to_bits());
                    }
                }
                if n < 500 {
                    let (out, _) = interpreted(&prox, n, &[bytes(&w)], &[]);
                    assert_eq!(bytes(&got), out[0], "{g:?} {isa:?}");
                }
                if size == 1.0 {
                    let entries = g.entries(isa.lanes());
                    let mut side = vec![0f32; entries * strips];
                    let mut got = w.clone();
                    let call = [Call { pass: 1, slots: vec![0, 1] }];
                    sweeps.run(n, &mut [Slot::F32(&mut got), Slot::F32(&mut side)], &[], &call, &pool).unwrap();
                    for (j, norm) in norms.iter().enumerate() {
                        let (s, t) = (j / (cols / tile), j % (cols / tile));
                        let x = f64::from(side[s * entries + g.entry(t, isa.lanes())]).sqrt();
                        assert!((x - norm).abs() <= 1e-5 * norm, "{g:?} {isa:?}: {x} {norm}");
                    }
                    if n < 3000 {
                        let (out, _) = interpreted(&squares, n, &[bytes(&w), vec![0; 4 * side.len()]], &[]);
                        assert_eq!(out[1], bytes(&side), "{g:?} {isa:?}");
                    }
                    side.iter_mut().for_each(|x| *x = if *x > 1.0 { 0.5 } else { 0.0 });
                    let call = [Call { pass: 2, slots: vec![0, 1] }];
                    sweeps.run(n, &mut [Slot::F32(&mut got), Slot::Read(&side)], &[], &call, &pool).unwrap();
                    for (i, x) in got.iter().enumerate().filter(|(i, _)| (norms[group(*i)] - 1.0).abs() > 1e-5) {
                        assert_eq!(*x, if norms[group(i)] > 1.0 { w[i] * 0.5 } else { 0.0 });
                    }
                    if n < 3000 {
                        let (out, _) = interpreted(&scale, n, &[bytes(&w), bytes(&side)], &[]);
                        assert_eq!(out[0], bytes(&got), "{g:?} {isa:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn slots_that_do_not_fit_are_refused() {
    let p = shrink().pass("shrink", Isa::Clif.lanes()).unwrap();
    let sweeps = Sweeps::new(vec![p], Isa::Clif).unwrap();
    let (x, mut m, mut y) = (vec![0f32; 8], vec![0u8; 8], vec![0f32; 7]);
    let pool = Pool::new(1);
    let call = |slots: Vec<usize>| [Call { pass: 0, slots }];
    let numbers = [0.0];
    let mut slots = [Slot::Read(&x), Slot::Bytes(&mut m), Slot::F32(&mut y)];
    assert!(sweeps.run(8, &mut slots, &numbers, &call(vec![0, 1, 2]), &pool).is_err(), "too short");
    assert!(sweeps.run(7, &mut slots, &numbers, &call(vec![0, 1, 2]), &pool).is_ok());
    assert!(sweeps.run(7, &mut slots, &numbers, &call(vec![0, 1, 0]), &pool).is_err(), "not writable");
    assert!(sweeps.run(7, &mut slots, &numbers, &call(vec![2, 1, 2]), &pool).is_err(), "twice");
    assert!(sweeps.run(7, &mut slots, &numbers, &call(vec![0, 0, 2]), &pool).is_err(), "no bytes");
    assert!(sweeps.run(7, &mut slots, &[], &call(vec![0, 1, 2]), &pool).is_err(), "no number");
    assert!(sweeps.run(7, &mut slots, &numbers, &call(vec![0, 1]), &pool).is_err(), "too few");
}

/// Arrays that are only written pass the cache by where they are large: the same bits as in pieces that are not, at any address, with any
/// number of threads, and nothing beside them.
#[test]
fn large_arrays_are_written_as_small_ones_are() {
    let (n, piece) = ((1 << 22) + 52, 1 << 16);
    let mut r = Rng(4);
    let some = r.floats(1 << 18);
    let w: Vec<f32> = (0..n).map(|i| some[(i + i / 977) % some.len()]).collect();
    let isa = Isa::native();
    let sweeps = Sweeps::new(vec![nm_pass(4, 0, true, isa.lanes()).unwrap()], isa).unwrap();
    let call = [Call { pass: 0, slots: vec![0, 1, 2] }];
    let (mut mask, mut view) = (vec![9u8; n], vec![9f32; n]);
    for at in (0..n).step_by(piece) {
        let to = n.min(at + piece);
        let mut slots = [Slot::Read(&w[at..to]), Slot::Bytes(&mut mask[at..to]), Slot::F32(&mut view[at..to])];
        sweeps.run(to - at, &mut slots, &[2.0], &call, &Pool::new(1)).unwrap();
    }
    for (threads, shift) in [(1, 0), (3, 1)] {
        let (mut m, mut v) = (vec![7u8; n + 2], vec![7f32; n + 2]);
        let mut slots = [Slot::Read(&w), Slot::Bytes(&mut m[shift..n + shift]), Slot::F32(&mut v[shift..n + shift])];
        let folds = sweeps.run(n, &mut slots, &[2.0], &call, &Pool::new(threads)).unwrap();
        assert!(folds[0].iter().all(|x| x.is_finite()));
        assert!(m[shift..n + shift] == mask[..] && v[shift..n + shift] == view[..], "{threads}");
        assert!(m[..shift].iter().chain(&m[n + shift..]).all(|x| *x == 7));
        assert!(v[..shift].iter().chain(&v[n + shift..]).all(|x| *x == 7.0));
    }
}

/// Room is for what one pass writes and a later one reads.
#[test]
fn a_mask_in_room_is_read_by_the_next_pass() {
    let mut r = Rng(5);
    for isa in isas() {
        let mut c = Chain::default();
        let (w, m) = (c.array(Kind::F32), c.array(Kind::Bytes));
        let (x, mask) = (c.node(Node::Array(w)), c.node(Node::Array(m)));
        let y = c.map(S::select(S::Arg(0), S::Arg(1), S::Const(0.0)), vec![mask, x], DType::F32);
        c.store(w, y);
        let passes = vec![nm_pass(8, 0, false, isa.lanes()).unwrap(), c.pass("cut", isa.lanes()).unwrap()];
        let sweeps = Sweeps::new(passes, isa).unwrap();
        for n in [8usize, 800, 100_008] {
            let w = r.floats(n);
            let mut got = w.clone();
            let calls = [0, 1].map(|pass| Call { pass, slots: vec![0, 1] });
            sweeps.run(n, &mut [Slot::F32(&mut got), Slot::RoomBytes], &[3.0], &calls, &Pool::new(2)).unwrap();
            let want: Vec<f32> = w.iter().zip(chosen(&w, 3, 8)).map(|(x, m)| if m == 1 { *x } else { 0.0 }).collect();
            assert_eq!(bytes(&got), bytes(&want), "{n} {isa:?}");
            let second = [Call { pass: 1, slots: vec![0, 1] }];
            let e = sweeps.run(n, &mut [Slot::F32(&mut got), Slot::RoomBytes], &[3.0], &second, &Pool::new(2));
            assert!(e.unwrap_err().to_string().contains("read before it is written"));
        }
    }
}
