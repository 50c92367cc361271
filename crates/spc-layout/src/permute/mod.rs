//! Search for an order of an axis in which a pattern keeps more: positions that lie in one group compete, so the search deals
//! them to groups anew.
//!
//! For N:M along an axis the problem and the move of exchanging two positions are those of Pool and Yu (*Channel Permutations
//! for N:M Sparsity*, NeurIPS 2021). The move here is larger: take one position out of every group and deal all of these back
//! at once, best of all ways. With the others fixed, what a group gains from one position does not depend on the other groups,
//! so the best deal is an assignment problem and is solved exactly ([`assign`]). The kept score never falls.
//!
//! The search is a function of its input alone: rounds are counted, choices come from a fixed generator, ties go to the lower
//! index.
mod assign;
mod gain;

pub use gain::{Keeps, Term};

use assign::best_assignment;
use spc_base::Bug;

/// Bounds of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Most rounds; each deals one position of every group.
    pub rounds: usize,
    /// Most groups that are dealt together; the work of a deal grows with its cube.
    pub together: usize,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { rounds: 32, together: 192 }
    }
}

/// An order and what it is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Position p of the axis receives what stood at `order[p]`.
    pub order: Vec<u32>,
    /// Sum of the scores kept in the order given, and in this one.
    pub before: f64,
    pub after: f64,
    /// Sum of all scores.
    pub all: f64,
    pub rounds: usize,
}

impl Order {
    /// How much more is kept, as a share of what was kept.
    pub fn gain(&self) -> f64 {
        if self.before > 0.0 { self.after / self.before - 1.0 } else { 0.0 }
    }
}

/// An order of an axis of `size` positions, cut into groups of `group` neighbours, that keeps at least as much as the order
/// given. Where positions stand inside a group never matters, and groups keep their places. All terms are over this axis.
///
/// # Errors
/// When the group does not divide the axis or a term does not fit it.
pub fn best_order(size: usize, group: usize, terms: &[Term], effort: Effort) -> Result<Order, Bug> {
    if group == 0 || size == 0 || !size.is_multiple_of(group) || size > u32::MAX as usize {
        return Err(Bug::new(format!("an axis of {size} in groups of {group}")));
    }
    if terms.iter().any(|t| !t.fits(size, group)) {
        return Err(Bug::new("scores do not fit their axis"));
    }
    let kept = |order: &[u32]| terms.iter().map(|t| t.kept(order, group)).sum::<f64>();
    let mut order: Vec<u32> = (0..size as u32).collect();
    let before = kept(&order);
    let mut found =
        Order { order: Vec::new(), before, after: before, all: terms.iter().map(Term::all).sum(), rounds: 0 };
    let mut random = Generator(0x5eed);
    let mut idle = 0;
    // Rounds without a gain after which the search ends: every pair of places of two groups had its turn.
    let patience = group.saturating_mul(group).clamp(8, 64);
    while group > 1 && size > group && found.rounds < effort.rounds && idle < patience {
        let next = deal(&order, group, terms, found.rounds, effort.together.max(2), &mut random)?;
        let worth = kept(&next);
        // Gains are computed in f32; what is compared is not.
        if worth > found.after {
            idle = if worth > found.after * (1.0 + 1e-6) { 0 } else { idle + 1 };
            (order, found.after) = (next, worth);
        } else {
            idle += 1;
        }
        found.rounds += 1;
    }
    found.order = order;
    Ok(found)
}

/// One round: a position of every group is taken out, and all are dealt back.
fn deal(
    order: &[u32],
    group: usize,
    terms: &[Term],
    round: usize,
    together: usize,
    random: &mut Generator,
) -> Result<Vec<u32>, Bug> {
    let groups = order.len() / group;
    let mut shuffled: Vec<usize> = (0..groups).collect();
    if groups > together {
        for i in (1..groups).rev() {
            shuffled.swap(i, random.below(i + 1));
        }
    }
    // The first rounds take every pair of places of two neighbours in turn, later ones any.
    let systematic = round < group.saturating_mul(group);
    let place = |g: usize| if systematic { (round + g * (round / group)) % group } else { random.below(group) };
    let places: Vec<usize> = (0..groups).map(place).collect();
    let thresholds: Vec<f32> = terms.iter().map(|t| t.threshold(order, group)).collect();
    let mut next = order.to_vec();
    for part in shuffled.chunks(together) {
        let slots: Vec<usize> = part.iter().map(|g| g * group + places[*g]).collect();
        let mut gains = vec![0f32; slots.len() * slots.len()];
        for (t, threshold) in terms.iter().zip(&thresholds) {
            t.add_gains(order, group, &slots, *threshold, &mut gains);
        }
        for (slot, taken) in slots.iter().zip(best_assignment(slots.len(), &gains)?) {
            next[*slot] = order[slots[taken]];
        }
    }
    Ok(next)
}

/// splitmix64.
struct Generator(u64);

impl Generator {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(seed: u64, n: usize) -> Vec<f32> {
        let mut r = Generator(seed);
        (0..n).map(|_| r.below(64) as f32 * 0.125).collect()
    }

    /// All ways of dealing 6 positions to groups.
    fn exhaustive(size: usize, group: usize, terms: &[Term]) -> f64 {
        fn go(prefix: &mut Vec<u32>, size: usize, best: &mut f64, worth: &dyn Fn(&[u32]) -> f64) {
            if prefix.len() == size {
                *best = best.max(worth(prefix));
            }
            for p in 0..size as u32 {
                if !prefix.contains(&p) {
                    prefix.push(p);
                    go(prefix, size, best, worth);
                    prefix.pop();
                }
            }
        }
        let mut best = 0.0;
        go(&mut Vec::new(), size, &mut best, &|o| terms.iter().map(|t| t.kept(o, group)).sum());
        best
    }

    #[test]
    fn orders_are_permutations_that_keep_as_claimed_and_never_less() {
        for seed in 0..60 {
            let (group, groups) = ([2, 3, 4, 8][seed as usize % 4], 1 + seed as usize % 7);
            let (size, rows) = (group * groups, 1 + seed as usize % 5);
            let keeps = if seed % 3 == 0 { Keeps::Groups(1 + rows * groups / 3) } else { Keeps::OutOf(1 + group / 3) };
            let terms = [Term { rows, scores: scores(seed, size * rows), keeps }];
            let effort = Effort { rounds: 20, together: 2 + seed as usize % 4 };
            let found = best_order(size, group, &terms, effort).unwrap();
            let mut sorted = found.order.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..size as u32), "seed {seed}: {:?}", found.order);
            assert_eq!(found.after, terms[0].kept(&found.order, group), "seed {seed}");
            assert!(found.after >= found.before && found.after <= found.all, "seed {seed}: {found:?}");
            assert_eq!(found, best_order(size, group, &terms, effort).unwrap());
        }
    }

    /// Near the best of all orders, and the best most times.
    #[test]
    fn small_axes_against_all_orders() {
        let mut best = 0;
        for seed in 0..40u64 {
            let keeps = if seed % 4 == 3 { Keeps::Groups(3) } else { Keeps::OutOf(1) };
            let terms = [Term { rows: 3, scores: scores(seed, 18), keeps }];
            let group = if seed % 2 == 0 { 3 } else { 2 };
            let found = best_order(6, group, &terms, Effort::default()).unwrap();
            let most = exhaustive(6, group, &terms);
            assert!(found.after <= most && found.after >= 0.9 * most, "seed {seed}: {found:?}, best {most}");
            best += usize::from(found.after == most);
        }
        assert!(best >= 28, "{best} of 40");
    }

    /// Large scores that all lie in one group fall apart into one for each.
    #[test]
    fn large_scores_are_spread() {
        let scores = [9.0, 9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let terms = [Term { rows: 1, scores: scores.into(), keeps: Keeps::OutOf(1) }];
        let found = best_order(16, 4, &terms, Effort::default()).unwrap();
        assert_eq!((found.before, found.after, found.all), (10.0, 36.0, 40.0));
    }

    /// Rows that are large in the same places come to lie in the same blocks.
    #[test]
    fn blocks_gather_what_belongs_together() {
        // Two kinds of positions: kind 0 is large in row 0, kind 1 in row 1; they alternate.
        let scores: Vec<f32> = (0..8).flat_map(|p| if p % 2 == 0 { [5.0, 0.0] } else { [0.0, 5.0] }).collect();
        let terms = [Term { rows: 2, scores, keeps: Keeps::Groups(2) }];
        let found = best_order(8, 4, &terms, Effort::default()).unwrap();
        assert_eq!((found.before, found.after, found.all), (20.0, 40.0, 40.0));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let term = |rows, n, keeps| Term { rows, scores: vec![1.0; n], keeps };
        let e = Effort::default();
        assert!(best_order(7, 2, &[], e).is_err());
        assert!(best_order(0, 2, &[], e).is_err());
        assert!(best_order(8, 4, &[term(3, 8, Keeps::OutOf(2))], e).is_err());
        assert!(best_order(8, 4, &[term(1, 8, Keeps::OutOf(0))], e).is_err());
        let one = best_order(4, 4, &[term(1, 4, Keeps::OutOf(2))], e).unwrap();
        assert_eq!((one.order, one.rounds), (vec![0, 1, 2, 3], 0));
    }
}
