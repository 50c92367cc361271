//! The projection against a second, plainer definition of it, and its laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_interp::{Broken, CheckError, ProjectError, project, verify_requires};
use spc_ir::{Amount, Cover, Floor, Keep, Member, Require, Scope, Score, Tail};
use std::collections::BTreeMap;

type W = BTreeMap<String, Vec<f32>>;

fn member(name: &str, shape: &[u64], group: &[u64], scope: &[u64]) -> Member {
    Member::tile(name, shape, group, scope, &name.chars().take(1).collect::<String>())
}

fn keep(amount: Amount, scope: Scope, members: Vec<Member>) -> Keep {
    Keep::new(amount, scope, members)
}

fn require(keeps: Vec<Keep>) -> Vec<Require> {
    vec![Require { name: "r".into(), keeps }]
}

fn weights(list: &[(&str, &[f32])]) -> W {
    list.iter().map(|(n, v)| (n.to_string(), v.to_vec())).collect()
}

fn bits(w: &W) -> BTreeMap<&String, Vec<u32>> {
    w.iter().map(|(n, v)| (n, v.iter().map(|x| x.to_bits()).collect())).collect()
}

const TWO_OF_FOUR: Amount = Amount::OutOf { n: 2, m: 4 };

#[test]
fn two_of_four_with_ties_to_the_lower_index() {
    let r = require(vec![keep(TWO_OF_FOUR, Scope::Tile, vec![member("w", &[2, 8], &[1, 1], &[1, 4])])]);
    #[rustfmt::skip]
    let mut w = weights(&[("w", &[1., -1., 1., -1.,  0.1, 3., -0.0, -5.,
                                  0., 0., 7., 0.,    -2., 2., 3., 2.])]);
    let report = project(&r, &mut w).unwrap();
    #[rustfmt::skip]
    assert_eq!(w["w"], [1., -1., 0., 0.,  0., 3., 0., -5.,
                        0., 0., 7., 0.,   -2., 0., 3., 0.]);
    assert!(w["w"].iter().all(|v| *v != 0.0 || v.to_bits() == 0));
    assert_eq!((report[0].groups, report[0].kept, report[0].zeroed), (16, 7, 5));
}

#[test]
fn shares_are_exact_and_never_nothing() {
    let m = || vec![member("w", &[10], &[1], &[10])];
    let count = |num, den| {
        let mut w = weights(&[("w", &[1., 2., 3., 4., 5., 6., 7., 8., 9., 10.])]);
        project(&require(vec![keep(Amount::Share { num, den }, Scope::Tensor, m())]), &mut w).unwrap()[0].kept
    };
    assert_eq!((count(1, 10), count(3, 10), count(31, 100), count(1, 1_000_000)), (1, 3, 4, 1));
    assert_eq!((count(0, 1), count(1, 1), count(7, 1), count(u64::MAX, u64::MAX)), (1, 10, 10, 10));
}

#[test]
fn blocks_by_norm_and_multiples() {
    // Columns of two rows; squares decide between the first and the second.
    #[rustfmt::skip]
    let start = weights(&[("w", &[3., 2.5, 1., 0., 9.,
                                  0., 2.5, 1., 0., 9.])]);
    let run = |score, multiple| {
        let mut w = start.clone();
        let mut k = keep(Amount::Count(2), Scope::Tensor, vec![member("w", &[2, 5], &[2, 1], &[2, 5])]);
        (k.score, k.multiple) = (score, multiple);
        project(&require(vec![k]), &mut w).unwrap();
        (0..5).map(|i| w["w"][i] != 0.0).collect::<Vec<_>>()
    };
    assert_eq!(run(Score::Abs, 1), [true, false, false, false, true]);
    assert_eq!(run(Score::Norm1, 1), [false, true, false, false, true]);
    assert_eq!(run(Score::Norm2, 1), [false, true, false, false, true]);
    assert_eq!(run(Score::Abs, 3), [true, true, false, false, true]);
    assert_eq!(run(Score::Abs, 100), [true, true, true, false, true]);
}

#[test]
fn scopes_floors_and_thresholds() {
    let start = weights(&[("a1", &[9., 8., 7., 6.]), ("a2", &[5., 4., 3., 2.]), ("b1", &[1.5, 1., 0.5, 0.25])]);
    let run = |amount, scope, floor| {
        let mut w = start.clone();
        let list = ["a1", "a2", "b1"].map(|n| member(n, &[4], &[1], &[2]));
        let k = Keep { floor, ..keep(amount, scope, list.into()) };
        project(&require(vec![k]), &mut w).unwrap();
        w.values().map(|v| v.iter().filter(|x| **x != 0.0).count()).collect::<Vec<_>>()
    };
    assert_eq!(run(Amount::Count(5), Scope::Model, None), [4, 1, 0]);
    assert_eq!(run(Amount::Count(5), Scope::Layer, None), [4, 1, 4]);
    assert_eq!(run(Amount::Count(3), Scope::Tensor, None), [3, 3, 3]);
    assert_eq!(run(Amount::Count(1), Scope::Tile, None), [2, 2, 2]);
    assert_eq!(run(Amount::Above(4.5), Scope::Model, None), [4, 1, 0]);
    assert_eq!(run(Amount::Above(9.0), Scope::Model, None), [0, 0, 0]);
    let floor = |count, scope| Some(Floor { count, share: None, scope });
    assert_eq!(run(Amount::Count(6), Scope::Model, floor(1, Scope::Tensor)), [4, 1, 1]);
    assert_eq!(run(Amount::Count(1), Scope::Model, floor(1, Scope::Tensor)), [1, 1, 1]);
    assert_eq!(run(Amount::Count(0), Scope::Model, floor(1, Scope::Layer)), [1, 0, 1]);
    assert_eq!(run(Amount::Count(7), Scope::Model, floor(1, Scope::Tile)), [3, 2, 2]);
    assert_eq!(run(Amount::Count(2), Scope::Tensor, floor(9, Scope::Tensor)), [4, 4, 4]);
}

#[test]
fn edges_pad_and_ragged() {
    let run = |amount, tail| {
        let mut w = weights(&[("w", &[1., 2., 3., 4., 5., 6., 7.])]);
        let k = Keep { tail, ..keep(amount, Scope::Tile, vec![member("w", &[7], &[1], &[4])]) };
        project(&require(vec![k]), &mut w).map(|_| w["w"][4..].iter().filter(|v| **v != 0.0).count())
    };
    assert_eq!(run(Amount::OutOf { n: 3, m: 4 }, Tail::Pad), Ok(3));
    assert_eq!(run(Amount::OutOf { n: 2, m: 4 }, Tail::Ragged), Ok(2));
    assert_eq!(run(Amount::OutOf { n: 1, m: 4 }, Tail::Ragged), Ok(1));
    assert_eq!(run(Amount::Count(1), Tail::Ragged), Ok(1));
    assert_eq!(run(Amount::Share { num: 1, den: 2 }, Tail::Pad), Ok(2));
    assert_eq!(run(Amount::Share { num: 1, den: 3 }, Tail::Ragged), Ok(1));
    let mut w = weights(&[("w", &[1., 2., 3., 4., 5., 6.])]);
    let short = member("w", &[6], &[1], &[4]);
    let k = Keep { tail: Tail::Ragged, ..keep(Amount::Count(2), Scope::Tile, vec![short]) };
    project(&require(vec![k]), &mut w).unwrap();
    assert_eq!(w["w"], [0., 0., 3., 4., 0., 6.]);
    assert!(matches!(run(TWO_OF_FOUR, Tail::Exact), Err(ProjectError::Tile { .. })));
    assert!(matches!(run(Amount::OutOf { n: 1, m: 3 }, Tail::Pad), Err(ProjectError::Scope { groups: 4, m: 3, .. })));
}

#[test]
fn then_counts_inside_what_was_kept() {
    // V:N:M: 4 of 6 columns for two rows, then 2 of those 4 in each row.
    let first = Keep {
        score: Score::Norm1,
        ..keep(Amount::OutOf { n: 4, m: 6 }, Scope::Tile, vec![member("w", &[2, 6], &[2, 1], &[2, 6])])
    };
    let then = keep(TWO_OF_FOUR, Scope::Tile, vec![member("w", &[2, 6], &[1, 1], &[1, 6])]);
    let r = require(vec![first.clone(), then]);
    #[rustfmt::skip]
    let mut w = weights(&[("w", &[1., 9., 2., 3., 4., 0.,
                                  1., 1., 8., 3., 7., 0.])]);
    let report = project(&r, &mut w).unwrap();
    assert_eq!(w["w"], [0., 9., 0., 0., 4., 0., 0., 0., 8., 0., 7., 0.]);
    assert_eq!((report[1].groups, report[1].kept, report[1].zeroed), (8, 4, 4));
    verify_requires(&r, &w).unwrap();
    // Half of what was kept, not of everything.
    let half = keep(Amount::Share { num: 1, den: 2 }, Scope::Tensor, vec![member("w", &[2, 6], &[1, 1], &[1, 1])]);
    let mut w = weights(&[("w", &[1., 9., 2., 3., 4., 0., 1., 1., 8., 3., 7., 0.])]);
    assert_eq!(project(&require(vec![first, half]), &mut w).unwrap()[1].kept, 4);
    assert_eq!(w["w"].iter().filter(|v| **v != 0.0).count(), 4);
}

#[test]
fn later_constraints_choose_among_what_is_left() {
    let blocks = keep(Amount::Count(1), Scope::Tensor, vec![member("w", &[8], &[4], &[8])]);
    let fine = keep(TWO_OF_FOUR, Scope::Tile, vec![member("w", &[8], &[1], &[4])]);
    let r: Vec<Require> = [("a", blocks), ("b", fine)].map(|(n, k)| Require { name: n.into(), keeps: vec![k] }).into();
    let mut w = weights(&[("w", &[1., 2., 3., 9., 4., 5., 6., 7.])]);
    project(&r, &mut w).unwrap();
    assert_eq!(w["w"], [0., 0., 3., 9., 0., 0., 0., 0.]);
    verify_requires(&r, &w).unwrap();
}

#[test]
fn refusals_leave_the_weights_alone() {
    let k = |m| require(vec![keep(TWO_OF_FOUR, Scope::Tile, vec![m])]);
    let ok = k(member("w", &[4], &[1], &[4]));
    for (bad, index) in [(f32::NAN, 2), (f32::INFINITY, 0), (f32::NEG_INFINITY, 3)] {
        let mut w = weights(&[("w", &[1., 2., 3., 4.])]);
        w.get_mut("w").unwrap()[index] = bad;
        let before = w.clone();
        assert_eq!(project(&ok, &mut w), Err(ProjectError::NotFinite { weight: "w".into(), index }));
        assert_eq!(bits(&w), bits(&before));
        assert!(verify_requires(&ok, &w).is_err());
    }
    let mut w = weights(&[("w", &[1., 2., 3.])]);
    assert_eq!(project(&ok, &mut w), Err(ProjectError::Length { weight: "w".into(), want: 4, got: 3 }));
    assert!(matches!(project(&ok, &mut W::new()), Err(ProjectError::Missing { .. })));
    let three = k(member("w", &[3], &[1], &[4]));
    assert!(matches!(project(&three, &mut w), Err(ProjectError::Tile { .. })));
    let split = k(member("w", &[3], &[2], &[3]));
    assert!(matches!(project(&split, &mut w), Err(ProjectError::Tile { .. })));
    // The second constraint fails: the first has not acted either.
    let per_tensor = keep(TWO_OF_FOUR, Scope::Tensor, vec![member("w", &[3], &[1], &[1])]);
    let r = require(vec![keep(Amount::Count(1), Scope::Tensor, vec![member("w", &[3], &[1], &[1])]), per_tensor]);
    assert!(matches!(project(&r, &mut w), Err(ProjectError::Scope { groups: 1, m: 4, .. })));
    assert_eq!(w["w"], [1., 2., 3.]);
    assert!(matches!(
        project(&require(vec![Keep { multiple: 0, ..r[0].keeps[0].clone() }]), &mut w),
        Err(ProjectError::Bug(_))
    ));
}

#[test]
fn the_checker_names_tensor_row_and_group() {
    let members = vec![member("w0", &[3, 8], &[1, 1], &[1, 4]), member("w1", &[3, 8], &[1, 1], &[1, 4])];
    let r = require(vec![keep(TWO_OF_FOUR, Scope::Tile, members)]);
    let mut w = weights(&[("w0", &[1.0; 24]), ("w1", &[1.0; 24])]);
    project(&r, &mut w).unwrap();
    verify_requires(&r, &w).unwrap();
    w.get_mut("w1").unwrap()[2 * 8 + 7] = 1e-30;
    let Err(CheckError::Broken(Broken { require, weight, row, group, kept, allowed, message })) =
        verify_requires(&r, &w)
    else {
        panic!("a planted value was not found")
    };
    assert_eq!((require.as_str(), weight.as_str(), row, group, kept, allowed), ("r", "w1", 2, 23, 3, 2));
    assert!(message.contains("`w1`, row 2, group 23"), "{message}");
}

/// One random sentence on `names`, valid by construction.
fn sentence(names: &'static [&'static str]) -> impl Strategy<Value = Keep> {
    let dims = prop::collection::vec((1u64..4, 1u64..4, 0u64..4, 0u64..3), 1..3);
    let amount = prop_oneof![
        (0u64..6).prop_map(Amount::Count),
        (0u64..5).prop_map(|n| Amount::OutOf { n, m: 0 }),
        (1u64..8, 1u64..8).prop_map(|(a, b)| Amount::Share { num: a.min(b), den: a.max(b) }),
    ];
    let scope =
        prop_oneof![3 => Just(Scope::Tile), 1 => Just(Scope::Tensor), 1 => Just(Scope::Layer), 1 => Just(Scope::Model)];
    let score =
        prop_oneof![Just(Score::Abs), Just(Score::Norm1), Just(Score::Norm2), any::<u64>().prop_map(Score::Random)];
    let tail = prop_oneof![Just(Tail::Exact), Just(Tail::Pad), Just(Tail::Ragged)];
    let floor =
        prop::option::of((0u64..3, scope.clone()).prop_map(|(count, scope)| Floor { count, share: None, scope }));
    (dims, amount, scope, score, tail, floor, 1u64..4).prop_map(
        move |(dims, amount, scope, score, tail, floor, multiple)| {
            let (mut shape, mut group, mut tile, mut whole) = (vec![], vec![], vec![], 1);
            for (g, s, n, extra) in dims {
                whole *= s;
                group.push(g);
                tile.push(g * s);
                shape.push(g * s * n + if tail == Tail::Exact { 0 } else { extra });
            }
            let amount = match amount {
                // A count per tile is what `n of m` can be here; scopes of other kinds seldom have exactly m groups.
                Amount::OutOf { n, .. } if scope == Scope::Tile => Amount::OutOf { n: n.min(whole), m: whole },
                Amount::OutOf { n, .. } => Amount::Count(n),
                other => other,
            };
            let members = names.iter().map(|n| member(n, &shape, &group, &tile)).collect();
            Keep { score, floor, multiple, tail, ..Keep::new(amount, scope, members) }
        },
    )
}

/// Small integers, so that ties are many; zeros of both signs.
fn values(n: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![3 => (-4i8..5).prop_map(f32::from), 1 => Just(-0.0f32), 1 => -1f32..1.0];
    prop::collection::vec(value, n)
}

const NAMES: &[&str] = &["a1", "a2", "b1"];

fn case() -> impl Strategy<Value = (Keep, W)> {
    sentence(NAMES).prop_flat_map(|k| {
        let n = k.members[0].shape.iter().product::<u64>() as usize;
        let w = prop::collection::vec(values(n), NAMES.len());
        w.prop_map(move |w| (k.clone(), NAMES.iter().map(|n| n.to_string()).zip(w).collect()))
    })
}

/// The group, or the scope tile, of an element, as indices along each dimension.
fn cell(mut e: u64, shape: &[u64], tile: &[u64]) -> Vec<u64> {
    let mut at = vec![];
    for (n, t) in shape.iter().zip(tile).rev() {
        at.insert(0, e % n / t);
        e /= n;
    }
    at
}

/// Groups as (scope, floor scope, member, cell) with their elements.
type Key = (Vec<u64>, Vec<u64>, usize, Vec<u64>);

fn groups(k: &Keep) -> BTreeMap<Key, Vec<usize>> {
    let mut map: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (i, m) in k.members.iter().enumerate() {
        for e in 0..m.shape.iter().product::<u64>() {
            let scope = |s: Scope| match s {
                Scope::Tile => [vec![i as u64], cell(e, &m.shape, &m.scope)].concat(),
                Scope::Tensor => vec![i as u64],
                Scope::Layer => vec![m.layer.bytes().map(u64::from).sum()],
                Scope::Model => vec![],
            };
            let floor = k.floor.map_or(vec![], |f| scope(f.scope));
            map.entry((scope(k.scope), floor, i, cell(e, &m.shape, m.group().unwrap()))).or_default().push(e as usize);
        }
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every count by its definition; the best are kept; ties go to the lower index; bits are kept.
    #[test]
    fn one_sentence_means_what_it_says((k, before) in case()) {
        let mut w = before.clone();
        project(&require(vec![k.clone()]), &mut w).unwrap();
        for (name, v) in &w {
            for (a, b) in before[name].iter().zip(v) {
                prop_assert!(a.to_bits() == b.to_bits() || b.to_bits() == 0);
            }
        }
        let all = groups(&k);
        let whole: u64 = k.members[0].group().unwrap().iter().zip(&k.members[0].scope).map(|(g, s)| s.div_ceil(*g)).product();
        let mut scopes: BTreeMap<Vec<u64>, Vec<(Key, Vec<usize>)>> = BTreeMap::new();
        for (key, elements) in all {
            scopes.entry(key.0.clone()).or_default().push((key, elements));
        }
        for list in scopes.values() {
            let value = |w: &W, (key, es): &(Key, Vec<usize>)| -> Vec<f64> {
                es.iter().map(|e| f64::from(w[NAMES[key.2]][*e]).abs()).collect()
            };
            let present = |w: &W, g: &(Key, Vec<usize>)| value(w, g).iter().any(|v| *v != 0.0);
            let total = list.len() as u64;
            let full = if k.scope == Scope::Tile { whole } else { total };
            let ceil = |a: u64, b: u64| a.div_ceil(b);
            let amount = match (k.amount, k.tail) {
                (Amount::Count(n), Tail::Ragged) => ceil(n * total, full),
                (Amount::Count(n), _) => n,
                (Amount::OutOf { n, m }, Tail::Ragged) => ceil(n * total, m),
                (Amount::OutOf { n, .. }, _) => n,
                (Amount::Share { num, den }, Tail::Pad) => ceil(num * full, den).max(1),
                (Amount::Share { num, den }, _) => ceil(num * total, den).max(1),
                (Amount::Above(_) | Amount::Budget { .. }, _) => unreachable!(),
            };
            let mut floors: BTreeMap<&Vec<u64>, u64> = BTreeMap::new();
            for (key, _) in list {
                *floors.entry(&key.1).or_default() += 1;
            }
            let floor_count = k.floor.map_or(0, |f| f.count);
            let must: u64 = floors.values().map(|n| (*n).min(floor_count)).sum();
            let allowed = ceil(amount.max(must), k.multiple) * k.multiple;
            let had = list.iter().filter(|g| present(&before, g)).count() as u64;
            let kept = list.iter().filter(|g| present(&w, g)).count() as u64;
            prop_assert!(kept <= allowed);
            if k.floor.is_none() {
                prop_assert_eq!(kept, had.min(allowed));
            } else {
                // A floor may spend places on groups that hold nothing.
                prop_assert!(kept >= had.min(allowed).saturating_sub(must));
            }
            for f in floors.keys() {
                let inside = |w: &W| list.iter().filter(|g| g.0.1 == **f && present(w, g)).count() as u64;
                prop_assert!(inside(&w) >= inside(&before).min(floor_count));
            }
            let score = |g: &(Key, Vec<usize>)| {
                let v = value(&before, g);
                match k.score {
                    Score::Abs => v.iter().copied().fold(0.0, f64::max),
                    Score::Norm1 => v.iter().sum::<f64>(),
                    Score::Norm2 => v.iter().map(|x| x * x).sum::<f64>(),
                    Score::Random(_) | Score::Map(_) | Score::Inputs(..) | Score::Data(_) => 0.0,
                }
            };
            if matches!(k.score, Score::Random(_)) || k.floor.is_some() {
                continue;
            }
            // `list` is in the order of (member, cell) within a scope, which is the order of groups.
            for (i, a) in list.iter().enumerate().filter(|(_, g)| present(&before, g) && !present(&w, g)) {
                for (j, b) in list.iter().enumerate().filter(|(_, g)| present(&w, g)) {
                    prop_assert!(score(b) > score(a) || (score(b) == score(a) && j < i), "{:?} fell for {:?}", a, b);
                }
            }
        }
    }

    /// Twice is once, the checker accepts it, and whatever was kept is whole.
    #[test]
    fn chains_are_idempotent_and_pass_the_checker(
        (a, w) in case(), b in sentence(&["a1", "a2", "b1"]), c in sentence(&["a1", "a2", "b1"]),
        then in any::<bool>(),
    ) {
        // Other sentences act on the shapes of the first; tiles that do not fit are refused.
        let fit = |k: Keep| {
            let shape = &a.members[0].shape;
            let fix = |v: &[u64]| shape.iter().enumerate().map(|(i, _)| v.get(i).copied().unwrap_or(1)).collect();
            let members = k.members.iter().map(|m| Member { shape: shape.clone(), cover: Cover::Tile(fix(m.group().unwrap())), scope: fix(&m.scope), ..m.clone() });
            Keep { tail: if k.tail == Tail::Exact { Tail::Ragged } else { k.tail }, members: members.collect(), ..k }
        };
        let mut requires = vec![
            Require { name: "first".into(), keeps: vec![a.clone()] },
            Require { name: "second".into(), keeps: vec![fit(b)] },
            Require { name: "third".into(), keeps: vec![fit(c)] },
        ];
        if then {
            let second = requires.remove(1);
            requires[0].keeps.extend(second.keeps);
        }
        let mut once = w.clone();
        match project(&requires, &mut once) {
            Err(e) => prop_assert!(matches!(e, ProjectError::Tile { .. } | ProjectError::Scope { .. }), "{e}"),
            // How much a sentence after `then` keeps may depend on groups that became empty.
            Ok(_) if then => verify_requires(&requires, &once).unwrap(),
            Ok(_) => {
                let mut twice = once.clone();
                let report = project(&requires, &mut twice).unwrap();
                prop_assert_eq!(bits(&once), bits(&twice));
                prop_assert!(report.iter().all(|r| r.zeroed == 0));
                verify_requires(&requires, &once).unwrap();
            }
        }
    }

    /// Vector-wise N:M: 4 columns of each block of rows, then n of those 4 in each row.
    #[test]
    fn v_n_m(
        (v, m, n, blocks) in (1u64..4, 4u64..8, 1u64..4, (1u64..4, 1u64..3)),
        score in prop_oneof![Just(Score::Abs), Just(Score::Norm1), Just(Score::Norm2), Just(Score::Random(7))],
        all in values(9 * 14),
    ) {
        let shape = [v * blocks.0, m * blocks.1];
        let columns = Keep {
            score,
            ..keep(Amount::OutOf { n: 4, m }, Scope::Tile, vec![member("w", &shape, &[v, 1], &[v, m])])
        };
        let rows = keep(Amount::OutOf { n, m: 4 }, Scope::Tile, vec![member("w", &shape, &[1, 1], &[1, m])]);
        let r = require(vec![columns, rows]);
        let mut w = weights(&[("w", &all[..(shape[0] * shape[1]) as usize])]);
        project(&r, &mut w).unwrap();
        let k = shape[1] as usize;
        for row in w["w"].chunks(k) {
            for tile in row.chunks(m as usize) {
                prop_assert!(tile.iter().filter(|x| **x != 0.0).count() <= n as usize);
            }
        }
        verify_requires(&r, &w).unwrap();
        let mut twice = w.clone();
        project(&r, &mut twice).unwrap();
        prop_assert_eq!(bits(&w), bits(&twice));
    }

    /// One value more than allowed is found.
    #[test]
    fn a_planted_value_is_found((k, w) in case(), at in any::<prop::sample::Index>()) {
        let requires = require(vec![k.clone()]);
        let mut w = w;
        // Fill everything, so that every scope is full after the projection.
        w.values_mut().flatten().enumerate().for_each(|(i, v)| *v = 1.0 + (i % 7) as f32);
        let full: u64 = groups(&k).len() as u64;
        let report = project(&requires, &mut w).unwrap();
        prop_assert_eq!(report[0].groups, full);
        let zeros: Vec<(String, usize)> =
            w.iter().flat_map(|(n, v)| v.iter().enumerate().filter(|(_, x)| **x == 0.0).map(|(i, _)| (n.clone(), i))).collect();
        if zeros.is_empty() {
            return Ok(());
        }
        let (name, i) = at.get(&zeros).clone();
        w.get_mut(&name).unwrap()[i] = -1e-20;
        prop_assert!(matches!(verify_requires(&requires, &w), Err(CheckError::Broken(_))));
    }
}
