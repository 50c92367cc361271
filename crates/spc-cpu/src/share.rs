//! How the range of a step is cut into parts, and who runs them.
use crate::pool::Pool;
use spc_kernel::{Program, Role, Step, StepArg};

/// Threads that run the parts of a step: those of a [`Pool`], or of a caller who has some already.
pub trait Threads: Sync {
    /// Number of threads that work at the same time, the calling one among them.
    fn count(&self) -> usize;

    /// Calls `task` once for each part in `0..parts`, on any threads and in any order, and returns when all calls have
    /// returned.
    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync));
}

impl Threads for Pool {
    fn count(&self) -> usize {
        self.threads()
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        Pool::run(self, parts, task);
    }
}

/// Where part `i` of `parts` of the range `0..n` begins. With `stored`, the numbers of stored elements before each index and
/// at the end (n + 1 of them), parts hold about as many stored elements each, where each index counts for one more;
/// without, as many indices. Cuts ascend from 0 to n.
pub(crate) fn cut(n: usize, i: usize, parts: usize, stored: Option<&[u32]>) -> usize {
    if i >= parts {
        return n;
    }
    let share = |all: u128| (all * i as u128 / parts as u128) as u64;
    match stored {
        Some(s) if s.len() == n + 1 => {
            let weight = |r: usize| u64::from(s[r]) + r as u64;
            let want = share(weight(n).into());
            let (mut from, mut to) = (0, n);
            while from < to {
                let middle = from + (to - from) / 2;
                if weight(middle) < want { from = middle + 1 } else { to = middle }
            }
            from
        }
        _ => share(n as u128) as usize,
    }
}

/// The buffer that counts the stored elements before each index of a step's range, if there is one.
pub(crate) fn counts(p: &Program, s: &Step) -> Option<usize> {
    s.args.iter().find_map(|a| match a {
        StepArg::Buffer(b) => matches!(p.buffers().get(*b)?.role, Role::Packed { array: "ptr", .. }).then_some(*b),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_range_once_and_hold_about_as_much() {
        // Nearly all is stored in the first rows, and many rows are empty.
        let mut stored = vec![0u32];
        for r in 0..200u32 {
            stored.push(stored[r as usize] + if r < 10 { 500 } else { u32::from(r % 9 == 0) });
        }
        for counts in [Some(&stored[..]), None] {
            for parts in [1, 2, 3, 7, 64, 300] {
                let cuts: Vec<usize> = (0..=parts).map(|i| cut(200, i, parts, counts)).collect();
                assert!(cuts.is_sorted() && cuts[0] == 0 && cuts[parts] == 200, "{cuts:?}");
                if let (Some(s), 2..=7) = (counts, parts) {
                    let most = cuts.windows(2).map(|w| s[w[1]] - s[w[0]]).max().unwrap();
                    assert!(u64::from(most) <= u64::from(s[200]) / parts as u64 + 501 + 200, "{cuts:?}");
                }
            }
        }
        assert_eq!(cut(0, 0, 3, Some(&[0])), 0);
        // Counts that do not fit the range are not looked at.
        assert_eq!(cut(10, 1, 2, Some(&[0, 1])), 5);
    }
}
