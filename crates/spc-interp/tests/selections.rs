//! What each way of choosing means, by counting: a weight stays by how many others come before it. Nothing here sorts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_interp::{project, verify_requires};
use spc_ir::{Amount, Cost, Floor, Keep, Member, Require, Scope, Score};
use std::collections::BTreeMap;

type W = BTreeMap<String, Vec<f32>>;

const NAMES: [&str; 3] = ["a1", "a2", "b1"];

/// Single weights of three matrices in two layers, `across` of a row in each chunk of a scope or floor.
#[derive(Clone, Debug)]
struct Case {
    amount: Amount,
    scope: Scope,
    floor: Option<(u64, Scope)>,
    rows: usize,
    across: usize,
    chunks: usize,
    costs: [u64; 3],
    values: Vec<f32>,
}

fn cases() -> impl Strategy<Value = Case> {
    let scope = || prop_oneof![Just(Scope::Tile), Just(Scope::Tensor), Just(Scope::Layer), Just(Scope::Model)];
    let amount = prop_oneof![
        (0u64..9).prop_map(Amount::Count),
        (1u64..8, 1u64..8).prop_map(|(a, b)| Amount::Share { num: a.min(b), den: a.max(b) }),
        (0u8..9).prop_map(|t| Amount::Above(f64::from(t) / 2.0)),
        (1u64..8, 1u64..8).prop_map(|(a, b)| Amount::Budget { num: a.min(b), den: a.max(b), of: Cost::Params }),
    ];
    let floor = prop::option::of((1u64..4, scope()));
    // Ties are many, zeros of both signs are there.
    let value = prop_oneof![3 => (-4i8..5).prop_map(|x| f32::from(x) / 2.0), 1 => Just(-0.0f32), 1 => -3f32..3.0];
    let costs = [0u64..4, 1u64..4, 1u64..4];
    (amount, scope(), floor, 1usize..4, 1usize..6, 1usize..3, costs).prop_flat_map(
        move |(amount, scope, floor, rows, across, chunks, costs)| {
            let n = NAMES.len() * rows * across * chunks;
            let case = move |values| Case { amount, scope, floor, rows, across, chunks, costs, values };
            prop::collection::vec(value.clone(), n).prop_map(case)
        },
    )
}

impl Case {
    fn size(&self) -> usize {
        self.rows * self.across * self.chunks
    }

    fn keep(&self) -> Keep {
        let shape = [self.rows as u64, (self.across * self.chunks) as u64];
        let member = |(n, cost): (&&str, &u64)| Member {
            cost: *cost,
            ..Member::tile(*n, &shape, &[1, 1], &[1, self.across as u64], &n[..1])
        };
        let floor = self.floor.map(|(count, scope)| Floor { count, share: None, scope });
        Keep { floor, ..Keep::new(self.amount, self.scope, NAMES.iter().zip(&self.costs).map(member).collect()) }
    }

    fn weights(&self) -> W {
        NAMES.iter().map(|n| n.to_string()).zip(self.values.chunks(self.size()).map(<[f32]>::to_vec)).collect()
    }

    /// A number for the scope that weight `i` of all lies in.
    fn home(&self, scope: Scope, i: usize) -> usize {
        match scope {
            Scope::Tile => i / self.across,
            Scope::Tensor => i / self.size(),
            Scope::Layer => usize::from(i / self.size() == 2),
            Scope::Model => 0,
        }
    }

    /// Which of all weights stay, by the definition.
    fn kept(&self) -> Vec<bool> {
        let (v, n) = (&self.values, self.values.len());
        let cost = |i: usize| self.costs[i / self.size()];
        let budget = matches!(self.amount, Amount::Budget { .. });
        let rank = |i: usize| {
            let x = f64::from(v[i].abs());
            match (x == 0.0, budget, cost(i)) {
                (true, ..) => -1.0,
                (_, false, _) => x,
                (.., 0) => f64::INFINITY,
                (.., c) => x / c as f64,
            }
        };
        let before = |j: usize, i: usize| rank(j) > rank(i) || (rank(j) == rank(i) && j < i);
        let same = |j: usize, i: usize| self.home(self.scope, j) == self.home(self.scope, i);
        let must = |i: usize| {
            let Some((least, f)) = self.floor else { return false };
            let near = |j: &usize| same(*j, i) && self.home(f, *j) == self.home(f, i) && before(*j, i);
            ((0..n).filter(near).count() as u64) < least
        };
        (0..n)
            .map(|i| {
                let scope = || (0..n).filter(|j| same(*j, i));
                let floors = scope().filter(|j| must(*j)).count() as u64;
                if must(i) {
                    return true;
                }
                if let Amount::Budget { num, den, .. } = self.amount {
                    // The first that does not fit ends it: so does everything before it have to fit.
                    let limit = num * scope().map(cost).sum::<u64>() / den;
                    let spent: u64 = scope().filter(|j| must(*j) || before(*j, i) || *j == i).map(cost).sum();
                    return v[i] != 0.0 && spent <= limit;
                }
                let amount = match self.amount {
                    Amount::Count(n) => n,
                    Amount::Share { num, den } => (num * scope().count() as u64).div_ceil(den).max(1),
                    Amount::Above(t) => scope().filter(|j| must(*j) || rank(*j) > t).count() as u64,
                    _ => unreachable!(),
                };
                let earlier = scope().filter(|j| !must(*j) && before(*j, i)).count() as u64;
                earlier < amount.max(floors) - floors
            })
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Counts, shares (quantiles), thresholds and knapsacks, in chunks, tensors, layers and models, with floors filled first.
    #[test]
    fn every_way_of_choosing_is_its_definition(c in cases()) {
        let r = vec![Require { name: "r".into(), keeps: vec![c.keep()] }];
        let mut w = c.weights();
        project(&r, &mut w).unwrap();
        let got: Vec<u32> = NAMES.iter().flat_map(|n| &w[*n]).map(|x| x.to_bits()).collect();
        let want: Vec<u32> =
            c.values.iter().zip(c.kept()).map(|(x, k)| if k && *x != 0.0 { x.to_bits() } else { 0 }).collect();
        prop_assert_eq!(got, want);
        verify_requires(&r, &w).unwrap();
    }

    /// A random choice keeps exactly its number in each scope, whatever the values are, and another seed gives another one.
    #[test]
    fn random_choices_are_exact_and_blind(c in cases(), seed in any::<u64>()) {
        let n = c.values.len() as u64;
        let k = Keep { score: Score::Random(seed), ..Keep { floor: None, ..c.keep() } };
        let k = Keep { amount: Amount::Share { num: 1, den: 3 }, ..k };
        let r = |k: &Keep| vec![Require { name: "r".into(), keeps: vec![k.clone()] }];
        let masks = |w: &W| NAMES.iter().flat_map(|n| &w[*n]).map(|x| *x != 0.0).collect::<Vec<bool>>();
        let (mut ones, mut other) = (c.weights(), c.weights());
        ones.values_mut().flatten().for_each(|x| *x = 1.0);
        other.values_mut().flatten().for_each(|x| *x = if *x == 0.0 { 5.0 } else { *x });
        project(&r(&k), &mut ones).unwrap();
        project(&r(&k), &mut other).unwrap();
        prop_assert_eq!(masks(&ones), masks(&other));
        let mut scopes: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for (i, there) in masks(&ones).into_iter().enumerate() {
            let s = scopes.entry(c.home(c.scope, i)).or_default();
            *s = (s.0 + 1, s.1 + u64::from(there));
        }
        prop_assert!(scopes.values().all(|(all, kept)| *kept == all.div_ceil(3)), "{:?}", scopes);
        prop_assert!(n >= 3);
    }
}

/// Over many seeds each weight is chosen about as often: within five deviations of a third.
#[test]
fn random_choices_are_fair() {
    let (n, seeds) = (30usize, 3000u64);
    let mut times = vec![0u64; n];
    for seed in 0..seeds {
        let m = Member::tile("w", &[n as u64], &[1], &[n as u64], "");
        let k = Keep::new(Amount::Count(10), Scope::Tensor, vec![m]);
        let mut w: W = BTreeMap::from([("w".into(), vec![1.0; n])]);
        project(&[Require { name: "r".into(), keeps: vec![Keep { score: Score::Random(seed), ..k }] }], &mut w)
            .unwrap();
        w["w"].iter().zip(&mut times).for_each(|(x, t)| *t += u64::from(*x != 0.0));
    }
    let deviation = (seeds as f64 * (1.0 / 3.0) * (2.0 / 3.0)).sqrt();
    for (i, t) in times.iter().enumerate() {
        assert!((*t as f64 - seeds as f64 / 3.0).abs() < 5.0 * deviation, "{i}: {t} of {seeds}");
    }
    assert_eq!(times.iter().sum::<u64>(), 10 * seeds);
}
