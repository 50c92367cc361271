//! Proxes of tiles in the metric of an optimiser: machine code against bisection in f64 and against the interpreter of the
//! loop IR.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{Call, Isa, Pool, Slot, Sweeps};
use spc_ir::{BinFn, DType, ScalarExpr as S};
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::update::{Chain, Grid, IOTA, Kind, MetricWork as M, Node, NodeId, Pass, metric_pass};

fn unit(s: &mut u64) -> f64 {
    *s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*s >> 11) as f64 / (1u64 << 53) as f64
}

fn bytes(v: &[f32]) -> Vec<u8> {
    v.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The pass in the interpreter, on buffers of exactly the sizes that it may touch.
fn interpreted(p: &Pass, n: usize, arrays: &[&[f32]], numbers: &[f32]) -> Vec<Vec<u8>> {
    let mut buffers: Vec<Vec<u8>> = arrays.iter().map(|a| bytes(a)).collect();
    let words: Vec<f32> = (0..IOTA).map(|i| i as f32).chain(numbers.iter().copied()).collect();
    buffers.push(bytes(&words));
    buffers.push(vec![0; 4 * p.folds]);
    let mut args: Vec<Arg> = (0..buffers.len()).map(Arg::buffer).collect();
    args.extend([Arg::Int(0), Arg::Int((n / p.unit) as i64), Arg::Int(n as i64)]);
    run(&p.kernel, &args, &mut buffers).unwrap();
    buffers.truncate(arrays.len());
    buffers
}

/// The norm of the minimiser by bisection, which knows nothing of slopes.
fn root(pairs: &[(f64, f64)], cut: f64) -> f64 {
    let sum = |r: f64| pairs.iter().map(|(d, v)| (d * v / (d * r + cut)).powi(2)).sum::<f64>();
    if sum(0.0) <= 1.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, pairs.iter().map(|(_, v)| v * v).sum::<f64>().sqrt());
    for _ in 0..300 {
        let middle = low + (high - low) / 2.0;
        if sum(middle) > 1.0 { low = middle } else { high = middle }
    }
    high
}

/// Half the step length over the mean of d leaves a norm: `max(norm - cut / mean, 0)`.
fn soft() -> (Chain, NodeId) {
    let mut c = Chain::default();
    c.array(Kind::F32);
    c.array(Kind::F32);
    let (x, d, t) = (c.node(Node::Array(0)), c.node(Node::Array(1)), c.node(Node::Number(0)));
    let cut = S::bin(BinFn::Sub, S::Arg(0), S::bin(BinFn::Div, S::Arg(2), S::Arg(1)));
    let y = c.map(S::bin(BinFn::Max, cut, S::Const(0.0)), vec![x, d, t], DType::F32);
    (c, y)
}

struct Case {
    g: Grid,
    strips: usize,
    w: Vec<f32>,
    d: Vec<f32>,
}

impl Case {
    fn group(&self, i: usize) -> usize {
        let g = self.g;
        (i / g.cols / g.rows) * (g.cols / g.tile) + i % g.cols / g.tile
    }

    fn groups(&self) -> Vec<Vec<(f64, f64)>> {
        let mut out = vec![Vec::new(); self.strips * (self.g.cols / self.g.tile)];
        for (i, (w, d)) in self.w.iter().zip(&self.d).enumerate() {
            out[self.group(i)].push((f64::from(*d), f64::from(w.abs())));
        }
        out
    }

    /// Numbers of groups as a side array.
    fn side(&self, lanes: usize, of: &[f64]) -> Vec<f32> {
        let (entries, across) = (self.g.entries(lanes), self.g.cols / self.g.tile);
        let spread = entries / across;
        let mut out = vec![0f32; entries * self.strips];
        for (j, x) in of.iter().enumerate() {
            let at = j / across * entries + self.g.entry(j % across, lanes);
            out[at..at + spread].fill(*x as f32);
        }
        out
    }
}

fn cases(mut f: impl FnMut(Isa, &Case, f32)) {
    let mut s = 5;
    for isa in Isa::ALL.into_iter().filter(|i| i.is_available()) {
        for (rows, cols, tile) in
            [(1, 16, 16), (1, 64, 1), (4, 36, 4), (16, 64, 16), (1, 7, 7), (3, 50, 50), (2, 64, 2)]
        {
            let (g, strips) = (Grid { rows, cols, tile }, 3);
            if !g.fits(isa.lanes()) {
                continue;
            }
            for spread in [0.0, 1.0, 8.0] {
                let n = rows * cols * strips;
                let d = (0..n).map(|_| 10f64.powf(-spread * unit(&mut s)) as f32).collect();
                let w = (0..n).map(|_| if unit(&mut s) < 0.1 { 0.0 } else { (unit(&mut s) - 0.5) as f32 }).collect();
                let c = Case { g, strips, w, d };
                // About half of the groups go.
                let sizes =
                    c.groups().iter().map(|g| g.iter().map(|(d, v)| (d * v).powi(2)).sum::<f64>().sqrt()).collect();
                let mut sizes: Vec<f64> = sizes;
                sizes.sort_by(f64::total_cmp);
                f(isa, &c, sizes[sizes.len() / 2] as f32 * 1.01);
            }
        }
    }
}

fn close(got: &[f32], c: &Case, cut: f32, what: &str) {
    let roots: Vec<f64> = c.groups().iter().map(|g| root(g, f64::from(cut))).collect();
    let gone = roots.iter().filter(|r| **r == 0.0).count();
    assert!(
        gone > 0 && (roots.len() == 1 || gone < roots.len()) || roots.len() < 4,
        "{what}: {gone} of {}",
        roots.len()
    );
    for (i, x) in got.iter().enumerate() {
        let (r, d, w) = (roots[c.group(i)], f64::from(c.d[i]), f64::from(c.w[i]));
        let want = w * d * r / (d * r + f64::from(cut));
        assert!((f64::from(*x) - want).abs() <= 2e-5 * w.abs().max(1e-30), "{what} {i}: {x} {want} of {w}");
        assert!(want != 0.0 || x.to_bits() == 0, "{what}: {x}");
    }
}

#[test]
fn tiles_shrink_to_their_root() {
    let pool = Pool::new(1);
    cases(|isa, c, cut| {
        let mut chain = Chain::default();
        let y = chain.node(Node::Number(0));
        let p = metric_pass(c.g, M::Shrink(&chain, y), isa.lanes()).unwrap();
        let sweeps = Sweeps::new(vec![p.clone()], isa).unwrap();
        let (n, mut got) = (c.w.len(), c.w.clone());
        let call = [Call { pass: 0, slots: vec![0, 1] }];
        let folds = sweeps.run(n, &mut [Slot::F32(&mut got), Slot::Read(&c.d)], &[cut], &call, &pool).unwrap();
        assert!(folds[0].iter().all(|x| x.is_finite()));
        close(&got, c, cut, &format!("{:?} {isa:?}", c.g));
        assert_eq!(bytes(&got), interpreted(&p, n, &[&c.w, &c.d], &[cut])[0], "{:?} {isa:?}", c.g);
        let mut same = c.w.clone();
        sweeps.run(n, &mut [Slot::F32(&mut same), Slot::Read(&c.d)], &[0.0], &call, &pool).unwrap();
        assert_eq!(bytes(&same), bytes(&c.w), "a cut of 0 changes nothing");
        let mut bad = c.w.clone();
        bad[n / 2] = f32::NAN;
        let folds = sweeps.run(n, &mut [Slot::F32(&mut bad), Slot::Read(&c.d)], &[cut], &call, &pool).unwrap();
        assert!(folds[0].iter().any(|x| !x.is_finite()), "{:?} {isa:?}: NaN is seen", c.g);
    });
}

#[test]
fn one_step_length_for_each_tile() {
    let pool = Pool::new(1);
    cases(|isa, c, cut| {
        let (chain, y) = soft();
        let p = metric_pass(c.g, M::Prox(&chain, y), isa.lanes()).unwrap();
        let sweeps = Sweeps::new(vec![p.clone()], isa).unwrap();
        let mut got = c.w.clone();
        let call = [Call { pass: 0, slots: vec![0, 1] }];
        sweeps.run(c.w.len(), &mut [Slot::F32(&mut got), Slot::Read(&c.d)], &[cut], &call, &pool).unwrap();
        let groups = c.groups();
        for (i, x) in got.iter().enumerate() {
            let g = &groups[c.group(i)];
            let mean = g.iter().map(|p| p.0).sum::<f64>() / g.len() as f64;
            let norm = g.iter().map(|p| p.1 * p.1).sum::<f64>().sqrt();
            let f = if norm > 0.0 { (norm - f64::from(cut) / mean).max(0.0) / norm } else { 0.0 };
            let want = f64::from(c.w[i]) * f;
            assert!((f64::from(*x) - want).abs() <= 2e-6, "{:?} {isa:?} {i}: {x} {want}", c.g);
        }
        assert_eq!(bytes(&got), interpreted(&p, c.w.len(), &[&c.w, &c.d], &[cut])[0], "{:?} {isa:?}", c.g);
    });
}

#[test]
fn the_parts_of_a_root_over_several_tensors() {
    let pool = Pool::new(1);
    cases(|isa, c, cut| {
        let lanes = isa.lanes();
        let passes: Vec<Pass> =
            [M::Sums, M::Begin, M::Secular, M::Apply].map(|w| metric_pass(c.g, w, lanes).unwrap()).into();
        let sweeps = Sweeps::new(passes, isa).unwrap();
        let groups = c.groups();
        let n = c.w.len();
        let roots: Vec<f64> = groups.iter().map(|g| root(g, f64::from(cut))).collect();
        let (r, cuts) = (c.side(lanes, &roots), c.side(lanes, &vec![f64::from(cut); roots.len()]));
        let (mut a, mut b) = (vec![0f32; r.len()], vec![0f32; r.len()]);
        let check = |got: &[f32], want: Vec<f64>, what: &str| {
            let (across, entries) = (c.g.cols / c.g.tile, c.g.entries(lanes));
            for (j, want) in want.iter().enumerate() {
                let x = f64::from(got[j / across * entries + c.g.entry(j % across, lanes)]);
                assert!((x - want).abs() <= 1e-4 * want.abs(), "{what} {:?} {isa:?} {j}: {x} {want}", c.g);
            }
        };
        let sum = |g: &[(f64, f64)], f: &dyn Fn(f64, f64) -> f64| g.iter().map(|(d, v)| f(*d, *v)).sum::<f64>();
        let call = |pass: usize, slots: usize| [Call { pass, slots: (0..slots).collect() }];
        sweeps.run(n, &mut [Slot::Read(&c.d), Slot::F32(&mut a)], &[], &call(0, 2), &pool).unwrap();
        check(&a, groups.iter().map(|g| sum(g, &|d, _| d)).collect(), "sums");
        let mut slots = [Slot::Read(&c.w), Slot::Read(&c.d), Slot::Read(&cuts), Slot::F32(&mut a), Slot::F32(&mut b)];
        sweeps.run(n, &mut slots, &[], &call(1, 5), &pool).unwrap();
        let x = f64::from(cut);
        check(&a, groups.iter().map(|g| sum(g, &|d, v| (d * v / x).powi(2))).collect(), "begin");
        let least = |g: &Vec<(f64, f64)>| g.iter().map(|(d, v)| v - x / d).fold(0.0, f64::max);
        let wanted: Vec<f64> = groups.iter().map(least).collect();
        for (j, w) in wanted.iter().enumerate() {
            let (across, entries) = (c.g.cols / c.g.tile, c.g.entries(lanes));
            let got = f64::from(b[j / across * entries + c.g.entry(j % across, lanes)]);
            assert!((got - w).abs() <= 1e-5, "{got} {w}");
        }
        let mut slots = [
            Slot::Read(&c.w),
            Slot::Read(&c.d),
            Slot::Read(&r),
            Slot::Read(&cuts),
            Slot::F32(&mut a),
            Slot::F32(&mut b),
        ];
        sweeps.run(n, &mut slots, &[], &call(2, 6), &pool).unwrap();
        let at = |j: usize, k: i32| {
            let r = f64::from(roots[j] as f32);
            sum(&groups[j], &|d, v| (d * v / (d * r + x)).powi(2) * (d / (d * r + x)).powi(k))
        };
        check(&a, (0..groups.len()).map(|j| at(j, 0)).collect(), "sum");
        check(&b, (0..groups.len()).map(|j| at(j, 1)).collect(), "slope");
        let mut got = c.w.clone();
        let mut slots = [Slot::F32(&mut got), Slot::Read(&c.d), Slot::Read(&r), Slot::Read(&cuts)];
        sweeps.run(n, &mut slots, &[], &call(3, 4), &pool).unwrap();
        close(&got, c, cut, "apply");
    });
}
