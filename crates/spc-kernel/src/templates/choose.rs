//! Choices among run-time scores: which groups of a scope are kept, the place of each in the order, the greatest.
//!
//! Scores lie as `[scopes, groups]`; a kernel computes the scopes `lo..hi`. The order is that of [`spc_ir::Top`]: higher
//! score, then lower place; `-0` and `0` are one score. The i32 at `status` becomes [`UNORDERED`] for a NaN among the scores
//! and [`EMPTY`] where one of no groups is wanted; results are then not defined.
use super::nest::Sizes;
use crate::extent::Extent;
use crate::ir::{Addr, Builder, Cmp, IBin, Kernel, LBin, LoadKind, Op, RedFn, StoreKind, Ty, Val};
use spc_base::Bug;
use spc_ir::{Amount, Top};

/// What `status` says of a NaN among scores.
pub const UNORDERED: u8 = 2;
/// What `status` says of a choice of one among none.
pub const EMPTY: u8 = 3;

/// Counts and factors of amounts are at most this, so that products of them fit.
const MOST: u64 = 1 << 31;

/// Whether [`top`] can compute an amount.
pub fn countable(amount: Amount) -> bool {
    match amount {
        Amount::Count(_) | Amount::Above(_) => true,
        Amount::OutOf { n, m } => n <= MOST && m <= MOST,
        Amount::Share { num, den } | Amount::Budget { num, den, .. } => num <= MOST && den <= MOST,
    }
}

/// What a choice is made among: so many scopes of so many groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreSpec {
    pub scopes: Extent,
    pub groups: Extent,
    pub lanes: usize,
}

/// Keys of the least and of the greatest score: the bits of a float, those of a negative one turned round.
const LEAST: i64 = -0x7f80_0001;
const GREATEST: i64 = 0x7f80_0000;

/// `y[s][g]` says whether a group is kept.
///
/// Parameters: `score`, `among` (bool, of the same shape) if there is one, `y` (bool), `rest` (as large as `score`, for own
/// use), `status`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn top(spec: &ScoreSpec, t: &Top) -> Result<Kernel, Bug> {
    if !countable(t.amount) {
        return Err(Bug::new("a choice of an amount that does not fit"));
    }
    let mut b = Builder::new("top", spec.lanes);
    let score = b.param("score", Ty::CPtr);
    let among = t.among.then(|| b.param("among", Ty::CPtr));
    let (y, rest) = (b.param("y", Ty::Ptr), b.param("rest", Ty::Ptr));
    scopes(b, spec, |b, first, groups, status| {
        let score = at(b, score, first, 4);
        let (y, rest) = (at(b, y, first, 1), at(b, rest, first, 4));
        let among = among.map(|p| at(b, p, first, 1));
        let (zero, one, yes) = (b.int(0), b.int(1), b.op(Op::Bool(true)));
        let number = |b: &mut Builder, c: Val| b.select(c, one, zero);
        let there = |b: &mut Builder, i: Val| match among {
            Some(p) => b.load(LoadKind::Bool, Addr::indexed(p, i, 1)),
            None => yes,
        };
        // How many there are, how many of them above the threshold, how many NaN.
        let limit = b.float(match t.amount {
            Amount::Above(limit) => below(limit),
            _ => 0.0,
        });
        let counted = b.repeat(groups, &[zero, zero, zero], |b, i, s| {
            let (x, here) = (b.load(LoadKind::F32, Addr::indexed(score, i, 4)), there(b, i));
            let (over, bad) = (b.fcmp(Cmp::Gt, x, limit), b.fcmp(Cmp::Ne, x, x));
            let (over, bad) = (b.logic(LBin::And, over, here), b.logic(LBin::And, bad, here));
            let more = [number(b, here), number(b, over), number(b, bad)];
            s.iter().zip(more).map(|(s, n)| b.iadd(*s, n)).collect()
        });
        let (count, above) = (counted[0], counted[1]);
        let bad = b.icmp(Cmp::Gt, counted[2], zero);
        set(b, bad, status, UNORDERED);
        let kept = kept(b, t, count, above);
        let clamp = |b: &mut Builder, n: u64| {
            let n = b.int(n.min(MOST) as i64);
            b.ibin(IBin::Min, n, count)
        };
        let (start, end) = (clamp(b, t.first), clamp(b, t.last));
        let end = b.isub(count, end);
        let always = |b: &mut Builder, k: Val| {
            let (early, late) = (b.icmp(Cmp::Lt, k, start), b.icmp(Cmp::Ge, k, end));
            b.logic(LBin::Or, early, late)
        };
        // The scores that have to compete, one after the other: number of those there so far, and of those competing.
        let listed = b.repeat(groups, &[zero, zero], |b, i, s| {
            let (x, here) = (b.load(LoadKind::F32, Addr::indexed(score, i, 4)), there(b, i));
            b.store(StoreKind::F32, Addr::indexed(rest, s[1], 4), x);
            let sure = always(b, s[0]);
            let open = b.op(Op::Not(sure));
            let open = b.logic(LBin::And, open, here);
            let (here, open) = (number(b, here), number(b, open));
            vec![b.iadd(s[0], here), b.iadd(s[1], open)]
        });
        let open = listed[1];
        let sure = b.isub(count, open);
        let wanted = b.isub(kept, sure);
        let wanted = b.ibin(IBin::Max, wanted, zero);
        // The greatest key that so many scores reach.
        let (low, high, rounds) = (b.int(LEAST), b.int(GREATEST + 1), b.int(32));
        let ends = b.repeat(rounds, &[low, high], |b, _, s| {
            let sum = b.iadd(s[0], s[1]);
            let middle = b.op(Op::Shr(sum, 1));
            let limit = of_key(b, middle);
            let reached = reaching(b, rest, open, limit, Cmp::Ge);
            let enough = b.icmp(Cmp::Ge, reached, wanted);
            vec![b.select(enough, middle, s[0]), b.select(enough, s[1], middle)]
        });
        let limit = of_key(b, ends[0]);
        let over = reaching(b, rest, open, limit, Cmp::Gt);
        let ties = b.isub(wanted, over);
        b.repeat(groups, &[zero, ties], |b, i, s| {
            let (x, here) = (b.load(LoadKind::F32, Addr::indexed(score, i, 4)), there(b, i));
            let sure = always(b, s[0]);
            let over = b.fcmp(Cmp::Gt, x, limit);
            let won = b.logic(LBin::Or, sure, over);
            let (tie, left) = (b.fcmp(Cmp::Eq, x, limit), b.icmp(Cmp::Gt, s[1], zero));
            let tie = b.logic(LBin::And, tie, left);
            let open = b.op(Op::Not(sure));
            let tie = b.logic(LBin::And, tie, open);
            let tie = b.logic(LBin::And, tie, here);
            let won = b.logic(LBin::Or, won, tie);
            let won = b.logic(LBin::And, won, here);
            b.store(StoreKind::Bool, Addr::indexed(y, i, 1), won);
            let (here, tie) = (number(b, here), number(b, tie));
            vec![b.iadd(s[0], here), b.isub(s[1], tie)]
        });
    })
}

/// `y[s][g]` is the place of a group in the order of its scope, as i32; 0 is the best.
///
/// Parameters: `score`, `y`, `status`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn rank(spec: &ScoreSpec) -> Result<Kernel, Bug> {
    let mut b = Builder::new("rank", spec.lanes);
    let (score, y) = (b.param("score", Ty::CPtr), b.param("y", Ty::Ptr));
    scopes(b, spec, |b, first, groups, status| {
        let (score, y) = (at(b, score, first, 4), at(b, y, first, 4));
        b.repeat(groups, &[], |b, i, _| {
            let here = at(b, score, i, 4);
            let x = b.load(LoadKind::F32, Addr::new(here));
            let bad = b.fcmp(Cmp::Ne, x, x);
            set(b, bad, status, UNORDERED);
            // Those before win a tie.
            let left = b.isub(groups, i);
            let (before, after) = (reaching(b, score, i, x, Cmp::Ge), reaching(b, here, left, x, Cmp::Gt));
            let place = b.iadd(before, after);
            b.store(StoreKind::I32, Addr::indexed(y, i, 4), place);
            Vec::new()
        });
    })
}

/// `y[s]` is the place of the greatest group of a scope, as i32; the lowest of several.
///
/// Parameters: `score`, `y`, `status`, the sizes of free axes `s<id>`, `lo`, `hi`.
pub fn argmax(spec: &ScoreSpec) -> Result<Kernel, Bug> {
    let mut b = Builder::new("argmax", spec.lanes);
    let (score, y) = (b.param("score", Ty::CPtr), b.param("y", Ty::Ptr));
    let wide = spec.groups.clone();
    scopes_of(b, spec, &wide, |b, s, groups, status| {
        let first = b.imul(s, groups);
        let score = at(b, score, first, 4);
        let (zero, one, least) = (b.int(0), b.int(1), b.float(f32::NEG_INFINITY));
        let found = b.repeat(groups, &[least, zero, zero], |b, i, s| {
            let x = b.load(LoadKind::F32, Addr::indexed(score, i, 4));
            let (over, bad) = (b.fcmp(Cmp::Gt, x, s[0]), b.fcmp(Cmp::Ne, x, x));
            let bad = b.select(bad, one, s[2]);
            vec![b.select(over, x, s[0]), b.select(over, i, s[1]), bad]
        });
        b.store(StoreKind::I32, Addr::indexed(y, s, 4), found[1]);
        let bad = b.icmp(Cmp::Gt, found[2], zero);
        set(b, bad, status, UNORDERED);
        let none = b.icmp(Cmp::Le, groups, zero);
        set(b, none, status, EMPTY);
    })
}

/// Each scope: number of its first group, of its groups, and the pointer to the status.
fn scopes(b: Builder, spec: &ScoreSpec, body: impl FnMut(&mut Builder, Val, Val, Val)) -> Result<Kernel, Bug> {
    let mut body = body;
    scopes_of(b, spec, &spec.groups, |b, s, groups, status| {
        let first = b.imul(s, groups);
        body(b, first, groups, status);
    })
}

fn scopes_of(
    mut b: Builder,
    spec: &ScoreSpec,
    groups: &Extent,
    mut body: impl FnMut(&mut Builder, Val, Val, Val),
) -> Result<Kernel, Bug> {
    let status = b.param("status", Ty::Ptr);
    let sizes = Sizes::params(&mut b, [groups, &spec.scopes]);
    let (lo, hi) = (b.param("lo", Ty::I64), b.param("hi", Ty::I64));
    let groups = sizes.value(&mut b, groups)?;
    let count = b.isub(hi, lo);
    b.repeat(count, &[], |b, i, _| {
        let s = b.iadd(lo, i);
        body(b, s, groups, status);
        Vec::new()
    });
    b.finish()
}

fn at(b: &mut Builder, p: Val, i: Val, bytes: i64) -> Val {
    let skip = b.scale(i, bytes);
    b.ptr_add(p, skip)
}

fn set(b: &mut Builder, cond: Val, status: Val, what: u8) {
    b.when(cond, |b| {
        let what = b.int(i64::from(what));
        b.store(StoreKind::I32, Addr::new(status), what);
    });
}

/// The greatest f32 that is at most `limit`: what is above one is above the other.
fn below(limit: f64) -> f32 {
    let near = limit as f32;
    if f64::from(near) > limit { near.next_down() } else { near }
}

/// The score of a key.
fn of_key(b: &mut Builder, key: Val) -> Val {
    let (zero, ones) = (b.int(0), b.int(0x7fff_ffff));
    let (some, both) = (b.ibin(IBin::Or, key, ones), b.ibin(IBin::And, key, ones));
    let turned = b.isub(some, both);
    let negative = b.icmp(Cmp::Lt, key, zero);
    let bits = b.select(negative, turned, key);
    b.op(Op::FromBits(bits))
}

/// How many of the first `n` scores are so to `limit`.
fn reaching(b: &mut Builder, x: Val, n: Val, limit: Val, how: Cmp) -> Val {
    let lanes = b.lanes();
    let (zero, one) = (b.int(0), b.int(1));
    let (mut sum, mut done) = (zero, zero);
    if lanes > 1 {
        let full = b.op(Op::Shr(n, lanes.trailing_zeros() as u8));
        let (wide, ones, none) = (b.splat(limit), b.vint(1), b.vint(0));
        let counts = b.repeat(full, &[none], |b, i, s| {
            let at = b.scale(i, 4 * lanes as i64);
            let v = b.load(LoadKind::VF32, Addr::indexed(x, at, 1));
            let over = b.fcmp(how, v, wide);
            let more = b.select(over, ones, none);
            vec![b.iadd(s[0], more)]
        });
        sum = b.reduce(RedFn::Add, counts[0]);
        done = b.scale(full, lanes as i64);
    }
    let left = b.isub(n, done);
    b.repeat(left, &[sum], |b, i, s| {
        let i = b.iadd(done, i);
        let v = b.load(LoadKind::F32, Addr::indexed(x, i, 4));
        let over = b.fcmp(how, v, limit);
        let more = b.select(over, one, zero);
        vec![b.iadd(s[0], more)]
    })[0]
}

/// [`Top::kept`] of `groups` groups to choose from, `above` of them above the threshold.
fn kept(b: &mut Builder, t: &Top, groups: Val, above: Val) -> Val {
    let int = |b: &mut Builder, n: u64| b.int(n.min(MOST) as i64);
    let ceil = |b: &mut Builder, v: Val, by: u64| {
        let (more, by) = (int(b, by.max(1) - 1), int(b, by.max(1)));
        let up = b.iadd(v, more);
        b.ibin(IBin::Div, up, by)
    };
    let share = |b: &mut Builder, n: u64, m: u64| {
        let n = int(b, n);
        let all = b.imul(groups, n);
        ceil(b, all, m)
    };
    let n = match t.amount {
        Amount::Count(n) => int(b, n),
        Amount::OutOf { n, m } => {
            let (some, most) = (share(b, n, m), int(b, n));
            b.ibin(IBin::Min, some, most)
        }
        Amount::Share { num, den } => {
            let (some, one) = (share(b, num, den), b.int(1));
            b.ibin(IBin::Max, some, one)
        }
        Amount::Above(_) => above,
        Amount::Budget { num, den, .. } => {
            let (num, den) = (int(b, num), int(b, den.max(1)));
            let all = b.imul(groups, num);
            b.ibin(IBin::Div, all, den)
        }
    };
    let (multiple, least) = (t.multiple.clamp(1, MOST), int(b, t.first.saturating_add(t.last)));
    let n = ceil(b, n, multiple);
    let n = b.scale(n, multiple as i64);
    let n = b.ibin(IBin::Max, n, least);
    b.ibin(IBin::Min, n, groups)
}
