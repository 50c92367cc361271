//! Measuring several things in turns.
use spc_base::Bug;
use std::time::Duration;

/// Tells the time since some fixed moment.
pub type Clock<'a> = &'a dyn Fn() -> Duration;

/// Something that can be run once; it tells the seconds that count.
pub type Contestant<'a> = Box<dyn FnMut() -> Result<f64, Bug> + 'a>;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Rounds wanted.
    pub pairs: usize,
    /// After this many seconds it ends with fewer rounds.
    pub seconds: f64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { pairs: 61, seconds: 3.0 }
    }
}

/// Fewest rounds that are measured, whatever they take.
const FEWEST: usize = 5;

/// Runs every contestant once a round, each round beginning with another one, so that no place in the order is always the
/// same one's. Times by contestant, then by round. The first round warms caches and is not counted.
pub fn rounds(list: &mut [Contestant<'_>], budget: Budget, now: Clock<'_>) -> Result<Vec<Vec<f64>>, Bug> {
    for c in list.iter_mut() {
        c()?;
    }
    let begin = now();
    let mut out = vec![Vec::new(); list.len()];
    for round in 0..budget.pairs.max(1) {
        if round >= FEWEST && now().saturating_sub(begin).as_secs_f64() > budget.seconds {
            break;
        }
        let n = list.len();
        for i in 0..n {
            let at = (i + round) % n;
            out[at].push(list[at]()?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn everyone_runs_once_a_round_and_begins_in_turn() {
        let order = RefCell::new(Vec::new());
        let mut list: Vec<Contestant<'_>> = Vec::new();
        for i in 0..3usize {
            let order = &order;
            list.push(Box::new(move || {
                order.borrow_mut().push(i);
                Ok(i as f64)
            }));
        }
        let times = rounds(&mut list, Budget { pairs: 4, seconds: 1e9 }, &|| Duration::ZERO).unwrap();
        assert_eq!(times, vec![vec![0.0; 4], vec![1.0; 4], vec![2.0; 4]]);
        drop(list);
        assert_eq!(order.into_inner(), [0, 1, 2, 0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]);
    }

    #[test]
    fn time_ends_the_rounds_but_not_below_a_few() {
        let clock = RefCell::new(0u64);
        let now = || {
            *clock.borrow_mut() += 1;
            Duration::from_secs(*clock.borrow())
        };
        let mut list: Vec<Contestant<'_>> = vec![Box::new(|| Ok(1.0))];
        let times = rounds(&mut list, Budget { pairs: 100, seconds: 10.0 }, &now).unwrap();
        assert_eq!(times[0].len(), FEWEST + 10);
        let times = rounds(&mut list, Budget { pairs: 100, seconds: 0.0 }, &now).unwrap();
        assert_eq!(times[0].len(), FEWEST);
        let mut list: Vec<Contestant<'_>> = vec![Box::new(|| Err(Bug::new("no")))];
        assert!(rounds(&mut list, Budget::default(), &now).is_err());
    }
}
