//! Choosing among run-time values: the operators behind `keep AMOUNT of GROUP per SCOPE by SCORE` on values.
use crate::Amount;

/// Keeps the best groups of each scope. The operand is the score, one number a group; the dimensions listed run over the
/// groups of a scope, the others over scopes. With `among`, a second operand (bool, of the same shape) says which groups
/// there are to choose from.
///
/// The order in a scope: higher score, then lower place (row-major over `dims`). `-0` and `0` are one score.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Ascending, at least one.
    pub dims: Vec<u32>,
    /// Of G groups to choose from, [`Amount::OutOf`] keeps `ceil(n G / m)`, at most n.
    pub amount: Amount,
    /// The number kept is rounded up to this multiple, as far as there are groups.
    pub multiple: u64,
    /// That many groups with the lowest places are kept whatever their score; they count toward the amount.
    pub first: u64,
    /// The same at the other end.
    pub last: u64,
    pub among: bool,
    /// The words of the program that the scores belong to, for messages.
    pub name: String,
}

impl Top {
    /// How many groups of a scope are kept, of `groups` to choose from; `above` of them have a score above the threshold.
    /// What is always kept may be more.
    pub fn kept(&self, groups: u64, above: u64) -> u64 {
        let share = |n: u64, m: u64| {
            let n = u128::from(groups) * u128::from(n);
            u64::try_from(n.div_ceil(u128::from(m.max(1)))).unwrap_or(u64::MAX)
        };
        let n = match self.amount {
            Amount::Count(n) => n,
            Amount::OutOf { n, m } => share(n, m).min(n),
            Amount::Share { num, den } => share(num, den).max(1),
            Amount::Above(_) => above,
            // All groups cost the same.
            Amount::Budget { num, den, .. } => {
                let n = u128::from(groups) * u128::from(num) / u128::from(den.max(1));
                u64::try_from(n).unwrap_or(u64::MAX)
            }
        };
        let multiple = self.multiple.max(1);
        n.div_ceil(multiple).saturating_mul(multiple).max(self.first.saturating_add(self.last)).min(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(amount: Amount, multiple: u64, first: u64, last: u64) -> Top {
        Top { dims: vec![0], amount, multiple, first, last, among: false, name: String::new() }
    }

    #[test]
    fn amounts() {
        let kept = |a, m, first, last, groups| top(a, m, first, last).kept(groups, 5);
        assert_eq!(kept(Amount::Count(3), 1, 0, 0, 7), 3);
        assert_eq!(kept(Amount::Count(3), 1, 0, 0, 2), 2);
        assert_eq!(kept(Amount::Count(3), 4, 0, 0, 7), 4);
        assert_eq!(kept(Amount::Share { num: 1, den: 16 }, 1, 0, 0, 33), 3);
        assert_eq!(kept(Amount::Share { num: 1, den: 16 }, 1, 0, 0, 0), 0);
        assert_eq!(kept(Amount::Share { num: 1, den: 16 }, 1, 1, 4, 16), 5);
        assert_eq!(kept(Amount::Share { num: 1, den: 16 }, 1, 1, 4, 3), 3);
        assert_eq!(kept(Amount::OutOf { n: 2, m: 4 }, 1, 0, 0, 4), 2);
        assert_eq!(kept(Amount::OutOf { n: 2, m: 4 }, 1, 0, 0, 3), 2);
        assert_eq!(kept(Amount::OutOf { n: 2, m: 4 }, 1, 0, 0, 1), 1);
        assert_eq!(kept(Amount::Above(0.0), 1, 0, 0, 9), 5);
        assert_eq!(kept(Amount::Budget { num: 1, den: 2, of: crate::Cost::Flops }, 1, 0, 0, 9), 4);
        assert_eq!(kept(Amount::Count(u64::MAX), u64::MAX, 0, u64::MAX, 9), 9);
    }
}
