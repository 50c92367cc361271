//! Slices, pairs, budgets and joint choices against a selection by brute force.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_interp::{CheckError, ProjectError, project, project_with, verify_requires};
use spc_ir::{
    Amount, Cost, Cover, Floor, Keep, Member, Overlap, Part, Require, ScalarExpr, Scope, Score, Slices, Tail,
};
use std::collections::{BTreeMap, BTreeSet};

type W = BTreeMap<String, Vec<f32>>;

fn require(keeps: Vec<Keep>) -> Vec<Require> {
    vec![Require { name: "r".into(), keeps }]
}

fn at(mut e: u64, shape: &[u64]) -> Vec<u64> {
    let mut out = vec![0; shape.len()];
    for (a, n) in out.iter_mut().zip(shape).rev() {
        *a = e % n;
        e /= n;
    }
    out
}

/// Groups of an element by the definition: (space, number).
fn of(k: &Keep, member: usize, e: u64) -> BTreeSet<(u64, u64)> {
    let m = &k.members[member];
    let pos = at(e, &m.shape);
    match &m.cover {
        Cover::Tile(t) => {
            let n = pos.iter().zip(t).zip(&m.shape).fold(0, |n, ((p, t), s)| n * s.div_ceil(*t) + p / t);
            BTreeSet::from([(1000 + member as u64, n)])
        }
        Cover::Pairs { undirected } => {
            let (i, j) = if *undirected { (pos[0].max(pos[1]), pos[0].min(pos[1])) } else { (pos[0], pos[1]) };
            BTreeSet::from([(1000 + member as u64, i * 1000 + j)])
        }
        Cover::Slices(s) => {
            let places = s.parts.iter().filter_map(|p| {
                let i = pos[p.dim as usize];
                (p.start..p.end).contains(&i).then(|| (i - p.start) / p.inner % p.size)
            });
            places.map(|i| (u64::from(s.family), i / s.by)).collect()
        }
    }
}

/// A group, as its space and its number there, with its elements as (member, element).
type Listed = ((u64, u64), Vec<(usize, u64)>);

/// All groups in order.
fn groups(k: &Keep) -> Vec<Listed> {
    let mut order: Vec<u64> = Vec::new();
    let mut map: BTreeMap<(u64, u64), Vec<(usize, u64)>> = BTreeMap::new();
    for (i, m) in k.members.iter().enumerate() {
        let space = match &m.cover {
            Cover::Slices(s) => u64::from(s.family),
            _ => 1000 + i as u64,
        };
        if !order.contains(&space) {
            order.push(space);
        }
        for e in 0..m.shape.iter().product() {
            for g in of(k, i, e) {
                map.entry(g).or_default().push((i, e));
            }
        }
    }
    let mut list: Vec<_> = map.into_iter().collect();
    list.sort_by_key(|((space, n), _)| (order.iter().position(|o| o == space), *n));
    list
}

fn layer(k: &Keep, g: &[(usize, u64)]) -> String {
    k.members[g.iter().map(|x| x.0).min().unwrap()].layer.clone()
}

/// Families of slices over tensors of two layers: rows of `up`, columns of `down` behind an offset, a bias, in which groups
/// of the axis have an inner stride.
fn families() -> impl Strategy<Value = Keep> {
    let amount = prop_oneof![
        (0u64..7).prop_map(Amount::Count),
        (1u64..8, 1u64..8).prop_map(|(a, b)| Amount::Share { num: a.min(b), den: a.max(b) }),
        (1u64..8, 1u64..8).prop_map(|(a, b)| Amount::Budget { num: a.min(b), den: a.max(b), of: Cost::Params }),
    ];
    let scope = prop_oneof![Just(Scope::Layer), Just(Scope::Model)];
    let score = prop_oneof![Just(Score::Abs), Just(Score::Norm1), Just(Score::Norm2)];
    let floor =
        prop::option::of((1u64..3, scope.clone()).prop_map(|(count, scope)| Floor { count, share: None, scope }));
    (1u64..5, 1u64..3, 1u64..4, 0u64..3, amount, scope, score, floor, 1u64..4, 1u64..4).prop_map(
        |(size, inner, by, offset, amount, scope, score, floor, multiple, width)| {
            let part = |dim, start| Part { dim, start, end: start + size * inner, inner, size };
            let slices = |family, parts| Slices { family, by, parts };
            let mut members = Vec::new();
            for l in 0..2u32 {
                let name = |n: &str| format!("{n}{l}");
                let long = size * inner;
                let layer = format!("l{l}");
                members.push(Member::slices(name("up"), &[long, width], slices(l, vec![part(0, 0)]), &layer));
                members.push(Member::slices(name("b"), &[long], slices(l, vec![part(0, 0)]), &layer));
                let shape = [width, long + offset];
                members.push(Member::slices(name("down"), &shape, slices(l, vec![part(1, offset)]), &layer));
            }
            for m in &mut members {
                m.cost = width;
            }
            Keep { score, floor, multiple, tail: Tail::Ragged, ..Keep::new(amount, scope, members) }
        },
    )
}

fn weights(k: &Keep, seed: u64) -> W {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Small whole numbers, so that ties are many; some zeros of both signs.
        match (state >> 33) % 9 {
            0 => 0.0,
            1 => -0.0,
            n => (n as f32 - 5.0) * 0.5,
        }
    };
    let list = k.members.iter().map(|m| (m.weight.clone(), (0..m.shape.iter().product()).map(|_| next()).collect()));
    list.collect()
}

/// The projection of one sentence by its definition.
fn by_hand(k: &Keep, w: &W) -> W {
    let all = groups(k);
    let value = |x: &(usize, u64)| f64::from(w[&k.members[x.0].weight][x.1 as usize]).abs();
    let present = |g: &[(usize, u64)]| g.iter().any(|x| value(x) != 0.0);
    let score = |g: &[(usize, u64)]| {
        let v = g.iter().map(value).filter(|v| *v != 0.0);
        match k.score {
            Score::Abs => v.fold(0.0, f64::max),
            Score::Norm1 => v.sum::<f64>(),
            _ => v.map(|v| v * v).sum::<f64>(),
        }
    };
    let cost = |g: &[(usize, u64)]| g.iter().map(|x| k.members[x.0].cost).sum::<u64>();
    let budget = matches!(k.amount, Amount::Budget { .. });
    let rank = |g: &[(usize, u64)]| {
        let s = score(g);
        if !budget { s } else { (if k.score == Score::Norm2 { s.sqrt() } else { s }) / cost(g) as f64 }
    };
    let mut scopes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, (_, g)) in all.iter().enumerate() {
        scopes.entry(if k.scope == Scope::Layer { layer(k, g) } else { String::new() }).or_default().push(i);
    }
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for list in scopes.values() {
        let mut order = list.clone();
        order.sort_by(|a, b| {
            let (a, b) = (&all[*a].1, &all[*b].1);
            present(b).cmp(&present(a)).then(rank(b).total_cmp(&rank(a)))
        });
        let mut must: Vec<usize> = Vec::new();
        let mut taken: BTreeMap<String, u64> = BTreeMap::new();
        for i in &order {
            let Some(f) = k.floor else { break };
            let key = if f.scope == Scope::Layer { layer(k, &all[*i].1) } else { String::new() };
            let n = taken.entry(key).or_default();
            if *n < f.count {
                *n += 1;
                must.push(*i);
            }
        }
        let total = list.len() as u64;
        if let Amount::Budget { num, den, .. } = k.amount {
            let limit = num * list.iter().map(|i| cost(&all[*i].1)).sum::<u64>() / den;
            let mut spent: u64 = must.iter().map(|i| cost(&all[*i].1)).sum();
            let mut free = Vec::new();
            for i in order.iter().filter(|i| !must.contains(i) && present(&all[**i].1)) {
                if spent + cost(&all[*i].1) > limit {
                    break;
                }
                spent += cost(&all[*i].1);
                free.push(*i);
            }
            while !((must.len() + free.len()) as u64).is_multiple_of(k.multiple) && free.pop().is_some() {}
            kept.extend(must.into_iter().chain(free));
            continue;
        }
        let n = match k.amount {
            Amount::Count(n) => n,
            Amount::Share { num, den } => (num * total).div_ceil(den).max(1),
            _ => unreachable!(),
        };
        let n = n.max(must.len() as u64).div_ceil(k.multiple) * k.multiple;
        let rest: Vec<usize> = order.iter().copied().filter(|i| !must.contains(i)).collect();
        let free = (n as usize).saturating_sub(must.len()).min(rest.len());
        kept.extend(must.into_iter().chain(rest[..free].iter().copied()));
    }
    let mut out = w.clone();
    // A sum of one part for each group: what lies in a kept group stays, whatever else it lies in.
    let held: BTreeSet<(usize, u64)> = match k.overlap {
        Some(Overlap::Latent) => kept.iter().flat_map(|i| all[*i].1.iter().copied()).collect(),
        _ => BTreeSet::new(),
    };
    for (_, (_, g)) in all.iter().enumerate().filter(|(i, _)| !kept.contains(i)) {
        for x in g.iter().filter(|x| !held.contains(x)) {
            out.get_mut(&k.members[x.0].weight).unwrap()[x.1 as usize] = 0.0;
        }
    }
    out.values_mut().flatten().for_each(|v| *v += 0.0);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Every group of a family goes whole, through offsets and strides; counts, budgets, floors and multiples by hand.
    #[test]
    fn slices_are_chosen_whole(k in families(), seed in any::<u64>()) {
        let r = require(vec![k.clone()]);
        let start = weights(&k, seed);
        let mut w = start.clone();
        project(&r, &mut w).unwrap();
        prop_assert_eq!(&w, &by_hand(&k, &start));
        verify_requires(&r, &w).unwrap();
        // What no part covers is never touched.
        for (i, m) in k.members.iter().enumerate() {
            for e in (0..m.shape.iter().product()).filter(|e| of(&k, i, *e).is_empty()) {
                prop_assert_eq!(start[&m.weight][e as usize], w[&m.weight][e as usize]);
            }
        }
        // Never more than the budget, counted again, unless the floors alone are.
        if let Amount::Budget { num, den, .. } = k.amount {
            let mut scopes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for (_, g) in groups(&k) {
                let cost: u64 = g.iter().map(|x| k.members[x.0].cost).sum();
                let key = if k.scope == Scope::Layer { layer(&k, &g) } else { String::new() };
                let x = scopes.entry(key).or_default();
                x.0 += cost;
                x.1 += if g.iter().any(|x| w[&k.members[x.0].weight][x.1 as usize] != 0.0) { cost } else { 0 };
            }
            if k.floor.is_none() {
                prop_assert!(scopes.values().all(|(all, kept)| kept * den <= all * num));
            }
        }
        let mut twice = w.clone();
        project(&r, &mut twice).unwrap();
        prop_assert_eq!(twice, w);
    }

    /// Random scores depend on the number of the group alone.
    #[test]
    fn random_scores_keep_the_amount(k in families(), seed in any::<u64>()) {
        let k = Keep { score: Score::Random(seed), ..k };
        let r = require(vec![k.clone()]);
        let mut w = weights(&k, seed);
        w.values_mut().flatten().for_each(|v| *v = 1.0);
        let report = project(&r, &mut w).unwrap();
        verify_requires(&r, &w).unwrap();
        let present = groups(&k).iter().filter(|(_, g)| g.iter().any(|x| w[&k.members[x.0].weight][x.1 as usize] != 0.0)).count();
        prop_assert_eq!(report[0].kept, present as u64);
    }

    /// An element of a square matrix whose two axes are one stays when both of its groups are kept.
    #[test]
    fn crossing_slices_need_a_policy(n in 1u64..5, keep in 1u64..4, seed in any::<u64>(), policy in 0usize..3) {
        let parts = vec![Part::whole(0, n), Part::whole(1, n)];
        let m = Member::slices("w", &[n, n], Slices { family: 0, by: 1, parts }, "");
        let mut k = Keep::new(Amount::Count(keep), Scope::Model, vec![m]);
        let mut w = weights(&k, seed);
        let before = w.clone();
        if n > 1 {
            let refused = project(&require(vec![k.clone()]), &mut w);
            prop_assert!(matches!(refused, Err(ProjectError::Overlap { .. })), "no policy");
        }
        k.overlap = Some([Overlap::Sum, Overlap::Latent, Overlap::Tree][policy]);
        let r = require(vec![k.clone()]);
        project(&r, &mut w).unwrap();
        prop_assert_eq!(&w, &by_hand(&k, &before));
        verify_requires(&r, &w).unwrap();
        let mut twice = w.clone();
        project(&r, &mut twice).unwrap();
        prop_assert_eq!(twice, w);
    }

    /// (i, j) and (j, i) stay or leave together.
    #[test]
    fn undirected_pairs_leave_together(n in 1u64..6, keep in 1u64..8, seed in any::<u64>()) {
        let m = Member { cover: Cover::Pairs { undirected: true }, ..Member::tile("w", &[n, n], &[1, 1], &[n, n], "") };
        let k = Keep { score: Score::Norm1, ..Keep::new(Amount::Count(keep), Scope::Model, vec![m]) };
        let start = weights(&k, seed);
        let mut w = start.clone();
        let r = require(vec![k.clone()]);
        project(&r, &mut w).unwrap();
        prop_assert_eq!(&w, &by_hand(&k, &start));
        for i in 0..n as usize {
            for j in 0..i {
                let (a, b) = (i * n as usize + j, j * n as usize + i);
                let (a0, b0) = (start["w"][a] != 0.0, start["w"][b] != 0.0);
                prop_assert!(!(a0 && b0) || (w["w"][a] != 0.0) == (w["w"][b] != 0.0));
            }
        }
        verify_requires(&r, &w).unwrap();
    }

    /// V:N:M by joint: no other choice of columns keeps more, by trying them all.
    #[test]
    fn a_joint_choice_is_the_best(
        (v, m, n) in (1u64..4, 4u64..7, 1u64..4), norm2 in any::<bool>(),
        all in prop::collection::vec(prop_oneof![(-4i8..5).prop_map(f32::from), -1f32..1.0], 3 * 6 * 2),
    ) {
        let score = if norm2 { Score::Norm2 } else { Score::Abs };
        let shape = [v, 2 * m];
        let tile = |group: [u64; 2], scope: [u64; 2]| vec![Member::tile("w", &shape, &group, &scope, "")];
        let first = Keep { joint: true, score: score.clone(), ..Keep::new(Amount::OutOf { n: 4, m }, Scope::Tile, tile([v, 1], [v, m])) };
        let then = Keep { score, ..Keep::new(Amount::OutOf { n, m: 4 }, Scope::Tile, tile([1, 1], [1, m])) };
        let r = require(vec![first, then]);
        let start: W = BTreeMap::from([("w".to_string(), all[..(v * 2 * m) as usize].to_vec())]);
        let mut w = start.clone();
        project(&r, &mut w).unwrap();
        verify_requires(&r, &w).unwrap();
        let value = |x: f32| { let a = f64::from(x).abs(); if norm2 { a * a } else { a } };
        for block in 0..2u64 {
            let cell = |w: &W, row: u64, c: u64| w["w"][(row * 2 * m + block * m + c) as usize];
            let kept: f64 = (0..v).flat_map(|row| (0..m).map(move |c| (row, c))).map(|(row, c)| value(cell(&w, row, c))).sum();
            let mut best = 0.0f64;
            for mask in (0u64..1 << m).filter(|x| x.count_ones() == 4) {
                let mut sum = 0.0;
                for row in 0..v {
                    let mut list: Vec<f64> = (0..m).filter(|c| mask >> c & 1 == 1).map(|c| value(cell(&start, row, c))).collect();
                    list.sort_by(|a, b| b.total_cmp(a));
                    sum += list.iter().take(n as usize).sum::<f64>();
                }
                best = best.max(sum);
            }
            prop_assert!((kept - best).abs() <= 1e-9 * best.max(1.0), "kept {kept}, best {best}");
            let columns = (0..m).filter(|c| (0..v).any(|row| cell(&w, row, *c) != 0.0)).count();
            prop_assert!(columns <= 4);
        }
        let mut twice = w.clone();
        project(&r, &mut twice).unwrap();
        prop_assert_eq!(twice, w);
    }
}

#[test]
fn column_sums_do_not_find_the_joint_choice() {
    // Two rows, one kept in each: column 0 has the greatest sum, columns 1 and 2 together keep more.
    let shape = [2, 3];
    let tile = |group: [u64; 2], scope: [u64; 2]| vec![Member::tile("w", &shape, &group, &scope, "")];
    let first = |joint, score| Keep { joint, score, ..Keep::new(Amount::Count(2), Scope::Tile, tile([2, 1], [2, 3])) };
    let then = || Keep::new(Amount::Count(1), Scope::Tile, tile([1, 1], [1, 3]));
    let run = |k| {
        let mut w: W = BTreeMap::from([("w".to_string(), vec![6., 7., 0., 6., 0., 7.])]);
        project(&require(vec![k, then()]), &mut w).unwrap();
        w["w"].clone()
    };
    assert_eq!(run(first(true, Score::Abs)), [0., 7., 0., 0., 0., 7.]);
    assert_eq!(run(first(false, Score::Norm1)), [0., 7., 0., 6., 0., 0.]);
}

#[test]
fn scores_of_gradients() {
    let expr = ScalarExpr::parse("(abs (mul a0 a1))").unwrap();
    let m = Member::tile("w", &[4], &[1], &[4], "");
    let k = Keep { score: Score::Map(expr), ..Keep::new(Amount::Count(2), Scope::Tensor, vec![m]) };
    let r = require(vec![k.clone()]);
    let start: W = BTreeMap::from([("w".to_string(), vec![1., 2., 3., 4.])]);
    let grads: W = BTreeMap::from([("w".to_string(), vec![9., -9., 1., 0.])]);
    let mut w = start.clone();
    project_with(&r, &mut w, Some(&grads)).unwrap();
    assert_eq!(w["w"], [1., 2., 0., 0.]);
    verify_requires(&r, &w).unwrap();
    let mut w = start.clone();
    assert!(matches!(project(&r, &mut w), Err(ProjectError::NeedsGradients { .. })));
    let short: W = BTreeMap::from([("w".to_string(), vec![1.])]);
    assert!(matches!(
        project_with(&r, &mut w, Some(&short)),
        Err(ProjectError::GradientLength { want: 4, got: 1, .. })
    ));
    for bad in [f32::NAN, f32::INFINITY] {
        let grads: W = BTreeMap::from([("w".to_string(), vec![1., bad, 1., 1.])]);
        let e = project_with(&r, &mut w, Some(&grads)).unwrap_err();
        assert!(matches!(e, ProjectError::ScoreNotFinite { index: 1, .. }), "{e}");
    }
    let data = require(vec![Keep { score: Score::Data("wanda(calib)".into()), ..k }]);
    assert!(matches!(project(&data, &mut w), Err(ProjectError::NeedsData { .. })));
    assert_eq!(w, start);
    // Counting needs no score.
    assert!(matches!(verify_requires(&data, &w), Err(CheckError::Broken(_))));
}

#[test]
fn a_floor_wins_over_a_budget_and_the_report_says_so() {
    let m = Member { cost: 10, ..Member::tile("w", &[4, 2], &[1, 2], &[4, 2], "") };
    let floor = |count| Some(Floor { count, share: None, scope: Scope::Tensor });
    let budget = Amount::Budget { num: 1, den: 4, of: Cost::Flops };
    let run = |count| {
        let k = Keep { floor: floor(count), ..Keep::new(budget, Scope::Model, vec![m.clone()]) };
        let mut w: W = BTreeMap::from([("w".to_string(), (1..9).map(|n| n as f32).collect())]);
        let report = project(&require(vec![k.clone()]), &mut w).unwrap();
        verify_requires(&require(vec![k]), &w).unwrap();
        (report[0].kept, report[0].over_budget)
    };
    assert_eq!((run(1), run(2), run(4)), ((1, 0), (2, 1), (4, 1)));
    // Without the floor's excuse, two groups are too many for a quarter.
    let k = Keep { floor: floor(1), ..Keep::new(budget, Scope::Model, vec![m]) };
    let w: W = BTreeMap::from([("w".to_string(), vec![1., 1., 1., 1., 0., 0., 0., 0.])]);
    let Err(CheckError::Broken(b)) = verify_requires(&require(vec![k]), &w) else { panic!("not found") };
    assert_eq!((b.kept, b.allowed, b.row), (40, 20, 1));
}
