//! Takes expressions apart into what depends on a channel only and the rest.
use super::recipe::usable;
use crate::{BinFn, ScalarExpr, UnFn};

fn is_const(e: &ScalarExpr, c: f64) -> bool {
    matches!(e, ScalarExpr::Const(v) if *v == c)
}

/// `a * b`, without factors of 1.
pub(super) fn times(a: ScalarExpr, b: ScalarExpr) -> ScalarExpr {
    if is_const(&a, 1.0) {
        return b;
    }
    if is_const(&b, 1.0) { a } else { ScalarExpr::bin(BinFn::Mul, a, b) }
}

/// `a + b`, without terms of 0.
pub(super) fn plus(a: ScalarExpr, b: ScalarExpr) -> ScalarExpr {
    if is_const(&a, 0.0) {
        return b;
    }
    if is_const(&b, 0.0) { a } else { ScalarExpr::bin(BinFn::Add, a, b) }
}

fn negative(e: ScalarExpr) -> ScalarExpr {
    if is_const(&e, 0.0) { e } else { ScalarExpr::un(UnFn::Neg, e) }
}

/// Whether an expression is one of channels only: its arguments are, and a recipe can hold it.
pub(super) fn of_channel(e: &ScalarExpr, channel: &dyn Fn(u8) -> bool) -> bool {
    usable(e) && (0..e.arity()).all(|a| e.uses(a as u8) == 0 || channel(a as u8))
}

fn names_some(e: &ScalarExpr) -> bool {
    (0..e.arity()).any(|a| e.uses(a as u8) > 0)
}

/// An expression as `rest * gain + shift` with a gain and a shift of channels only.
pub(super) struct Gained {
    pub rest: ScalarExpr,
    pub gain: ScalarExpr,
    pub shift: ScalarExpr,
}

/// Takes the shift off the outside of an expression and the gain out of its product.
pub(super) fn gained(e: &ScalarExpr, channel: &dyn Fn(u8) -> bool) -> Gained {
    let named = |e: &ScalarExpr| of_channel(e, channel) && names_some(e);
    let (mut e, mut shift) = (e, ScalarExpr::Const(0.0));
    loop {
        match e {
            ScalarExpr::Bin(BinFn::Add, l, r) if named(r) => (e, shift) = (l, plus((**r).clone(), shift)),
            ScalarExpr::Bin(BinFn::Add, l, r) if named(l) => (e, shift) = (r, plus((**l).clone(), shift)),
            ScalarExpr::Bin(BinFn::Sub, l, r) if named(r) => (e, shift) = (l, plus(negative((**r).clone()), shift)),
            _ => break,
        }
    }
    fn split(e: &ScalarExpr, named: &dyn Fn(&ScalarExpr) -> bool) -> (ScalarExpr, ScalarExpr) {
        let one = || ScalarExpr::Const(1.0);
        match e {
            _ if named(e) => (one(), e.clone()),
            ScalarExpr::Bin(BinFn::Mul, l, r) => {
                let ((a, g), (b, h)) = (split(l, named), split(r, named));
                (times(a, b), times(g, h))
            }
            ScalarExpr::Bin(BinFn::Div, l, r) => {
                let ((a, g), (b, h)) = (split(l, named), split(r, named));
                let over = |a: ScalarExpr, b: ScalarExpr| {
                    if is_const(&b, 1.0) { a } else { ScalarExpr::bin(BinFn::Div, a, b) }
                };
                (over(a, b), over(g, h))
            }
            ScalarExpr::Un(UnFn::Neg, a) => {
                let (a, g) = split(a, named);
                (ScalarExpr::un(UnFn::Neg, a), g)
            }
            _ => (e.clone(), one()),
        }
    }
    let (rest, gain) = split(e, &named);
    Gained { rest, gain, shift }
}

/// An expression in which `y * scale + shift` stands for argument `y`, as far out as `scale` and `shift` are of channels only.
pub(super) struct Scaled {
    pub rest: ScalarExpr,
    pub scale: ScalarExpr,
    pub shift: ScalarExpr,
}

/// Takes what is done to argument `y` first, as long as it is linear. Nothing where `y` does not occur exactly once.
pub(super) fn scaled(e: &ScalarExpr, y: u8, channel: &dyn Fn(u8) -> bool) -> Option<Scaled> {
    fn go(e: &ScalarExpr, y: u8, channel: &dyn Fn(u8) -> bool) -> (Scaled, bool) {
        let start =
            || Scaled { rest: ScalarExpr::Arg(y), scale: ScalarExpr::Const(1.0), shift: ScalarExpr::Const(0.0) };
        let inside = |c: &ScalarExpr| c.uses(y) > 0;
        let outside = |s: Scaled, build: &dyn Fn(ScalarExpr) -> ScalarExpr| {
            let rest = build(s.rest);
            (Scaled { rest, ..s }, false)
        };
        match e {
            ScalarExpr::Arg(_) | ScalarExpr::Const(_) => (start(), true),
            ScalarExpr::Un(f, a) => match (f, go(a, y, channel)) {
                (UnFn::Neg, (s, true)) => (Scaled { scale: negative(s.scale), shift: negative(s.shift), ..s }, true),
                (f, (s, _)) => outside(s, &|r| ScalarExpr::un(*f, r)),
            },
            ScalarExpr::Cast(t, a) => outside(go(a, y, channel).0, &|r| ScalarExpr::cast(*t, r)),
            ScalarExpr::Bin(f, l, r) => {
                let left = inside(l);
                let (within, other) = if left { (l, r) } else { (r, l) };
                let (s, pure) = go(within, y, channel);
                let c = (**other).clone();
                if pure && of_channel(other, channel) {
                    let over = |a: ScalarExpr| ScalarExpr::bin(BinFn::Div, a, c.clone());
                    let zero = is_const(&s.shift, 0.0);
                    let by = |e: ScalarExpr| if is_const(&e, 0.0) { e } else { times(e, c.clone()) };
                    match (f, left) {
                        (BinFn::Add, _) => return (Scaled { shift: plus(s.shift, c), ..s }, true),
                        (BinFn::Sub, true) => return (Scaled { shift: plus(s.shift, negative(c)), ..s }, true),
                        (BinFn::Sub, false) => {
                            let shift = plus(c, negative(s.shift));
                            return (Scaled { scale: negative(s.scale), shift, rest: s.rest }, true);
                        }
                        (BinFn::Mul, _) => {
                            let (scale, shift) = (times(s.scale, c.clone()), by(s.shift));
                            return (Scaled { scale, shift, rest: s.rest }, true);
                        }
                        (BinFn::Div, true) => {
                            let shift = if zero { s.shift } else { over(s.shift) };
                            return (Scaled { scale: over(s.scale), shift, rest: s.rest }, true);
                        }
                        _ => {}
                    }
                }
                let build = |x: ScalarExpr| {
                    if left { ScalarExpr::bin(*f, x, c.clone()) } else { ScalarExpr::bin(*f, c.clone(), x) }
                };
                outside(s, &build)
            }
            ScalarExpr::Select(c, a, b) => {
                let at = [c, a, b].into_iter().position(|e| inside(e)).unwrap_or(0);
                let parts = [c, a, b];
                let s = go(parts[at], y, channel).0;
                let build = |x: ScalarExpr| {
                    let pick = |i: usize| if i == at { x.clone() } else { (*parts[i]).as_ref().clone() };
                    ScalarExpr::select(pick(0), pick(1), pick(2))
                };
                outside(s, &build)
            }
        }
    }
    if e.uses(y) != 1 {
        return None;
    }
    let (s, _) = go(e, y, channel);
    let none = is_const(&s.scale, 1.0) && is_const(&s.shift, 0.0);
    (!none && usable(&s.scale) && usable(&s.shift)).then_some(s)
}

/// Whether a factor changes nothing.
pub(super) fn is_one(e: &ScalarExpr) -> bool {
    is_const(e, 1.0)
}

/// Whether a term changes nothing.
pub(super) fn is_zero(e: &ScalarExpr) -> bool {
    is_const(e, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(t: &str) -> ScalarExpr {
        ScalarExpr::parse(t).unwrap()
    }

    #[test]
    fn gains_and_shifts_come_out_of_products() {
        let of = |t: &str| {
            let g = gained(&e(t), &|a| a >= 2);
            (g.rest.to_string(), g.gain.to_string(), g.shift.to_string())
        };
        let s = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(of("(mul (div a0 (sqrt a1)) a2)"), s("(div a0 (sqrt a1))", "a2", "0"));
        assert_eq!(of("(add (mul a0 a2) a3)"), s("a0", "a2", "a3"));
        assert_eq!(of("(sub (mul a2 (neg a0)) a3)"), s("(neg a0)", "a2", "(neg a3)"));
        assert_eq!(of("(div a0 (mul a2 a1))"), s("(div a0 a1)", "(div 1 a2)", "0"));
        // Not under a function, and a term inside is no factor.
        assert_eq!(of("(exp (mul a0 a2))"), s("(exp (mul a0 a2))", "1", "0"));
        assert_eq!(of("(mul (add a0 a2) a3)"), s("(add a0 a2)", "a3", "0"));
        // Literals stay where they are.
        assert_eq!(of("(mul (mul a0 2) a2)"), s("(mul a0 2)", "a2", "0"));
    }

    #[test]
    fn what_is_linear_comes_off_first() {
        let of = |t: &str| {
            scaled(&e(t), 0, &|a| a >= 2).map(|s| (s.rest.to_string(), s.scale.to_string(), s.shift.to_string()))
        };
        let s = |a: &str, b: &str, c: &str| Some((a.to_string(), b.to_string(), c.to_string()));
        assert_eq!(of("(max 0 (add (mul (sub a0 a2) a3) a4))"), s("(max 0 a0)", "a3", "(add (mul (neg a2) a3) a4)"));
        assert_eq!(of("(add a1 (mul a0 a2))"), s("(add a1 a0)", "a2", "0"));
        assert_eq!(of("(div (sub 1 a0) 2)"), s("a0", "(div (neg 1) 2)", "(div 1 2)"));
        assert_eq!(of("(div 1 a0)"), None, "not linear in it");
        assert_eq!(of("(mul a0 a0)"), None, "it occurs twice");
        assert_eq!(of("(mul a0 a1)"), None, "no channel");
        assert_eq!(of("(select (lt a1 0) (mul a0 a2) 0)"), s("(select (lt a1 0) a0 0)", "a2", "0"));
    }
}
