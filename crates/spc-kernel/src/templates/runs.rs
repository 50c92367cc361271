//! Copies of many runs of f32 elements that lie at even distances.
use crate::ir::{Addr, Builder, Cmp, IBin, LoadKind, Op, StoreKind, Val};

/// Gets pointers, and a number of elements where a vector is not whole.
type Body<'a> = dyn FnMut(&mut Builder, &[Val], Option<Val>) + 'a;

/// One dimension along which runs are repeated: how often, and the bytes from one to the next.
#[derive(Clone)]
pub(super) struct Line {
    pub rounds: Val,
    pub x: Val,
    pub y: Val,
}

/// The same number as a value of its own. What was computed far outside a loop may lie on the stack there; this one lives as
/// long as the loop and has a register.
pub(super) fn near(b: &mut Builder, v: Val) -> Val {
    let zero = b.int(0);
    b.iadd(v, zero)
}

/// Runs of `count` elements (none if negative), one for each position of a nest of dimensions.
pub(super) struct Lines {
    pub count: Val,
    pub nest: Vec<Line>,
}

impl Lines {
    /// Copies each run of `x` to `y`: a vector of every run, then the next vector of every run, so that the loop over the runs
    /// holds one load and one store.
    pub fn copy(&self, b: &mut Builder, x: Val, y: Val) {
        self.vectors(b, &[x, y], &mut |b, s, n| {
            self.each(b, s[0], s[1], &mut |b, x, y| match n {
                None => {
                    let v = b.load(LoadKind::VF32, Addr::new(x));
                    b.store(StoreKind::VF32, Addr::new(y), v);
                }
                Some(n) => {
                    let v = b.load_tail(Addr::new(x), n);
                    b.store_tail(Addr::new(y), v, n);
                }
            });
        });
    }

    /// Clears each run at `y`.
    pub fn zeros(&self, b: &mut Builder, y: Val) {
        let nest = self.nest.iter().map(|l| Line { x: l.y, ..l.clone() }).collect();
        let own = Lines { count: self.count, nest };
        self.vectors(b, &[y], &mut |b, s, n| {
            let zero = b.vfloat(0.0);
            own.each(b, s[0], s[0], &mut |b, _, y| match n {
                None => b.store(StoreKind::VF32, Addr::new(y), zero),
                Some(n) => b.store_tail(Addr::new(y), zero, n),
            });
        });
    }

    /// Calls `body` for the first vector of every run, the next, and so on, with a number of elements where it is not whole.
    fn vectors(&self, b: &mut Builder, ptrs: &[Val], body: &mut Body<'_>) {
        let lanes = b.lanes();
        let zero = b.int(0);
        let some = b.ibin(IBin::Max, self.count, zero);
        let full = b.op(Op::Shr(some, lanes.trailing_zeros() as u8));
        let ends = b.repeat(full, ptrs, |b, _, s| {
            body(b, s, None);
            s.iter().map(|p| b.ptr_off(*p, 4 * lanes as i32)).collect()
        });
        if lanes == 1 {
            return;
        }
        let done = b.scale(full, lanes as i64);
        let left = b.isub(some, done);
        let more = b.icmp(Cmp::Gt, left, zero);
        b.when(more, |b| body(b, &ends, Some(left)));
    }

    /// Calls `body` with the pointers of every position of the nest.
    pub fn each(&self, b: &mut Builder, x: Val, y: Val, body: &mut dyn FnMut(&mut Builder, Val, Val)) {
        fn go(b: &mut Builder, nest: &[Line], x: Val, y: Val, body: &mut dyn FnMut(&mut Builder, Val, Val)) {
            let Some((line, rest)) = nest.split_first() else { return body(b, x, y) };
            let (rounds, dx, dy) = (near(b, line.rounds), near(b, line.x), near(b, line.y));
            b.repeat(rounds, &[x, y], |b, _, s| {
                go(b, rest, s[0], s[1], body);
                vec![b.ptr_add(s[0], dx), b.ptr_add(s[1], dy)]
            });
        }
        go(b, &self.nest, x, y, body);
    }
}
