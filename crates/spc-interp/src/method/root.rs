//! Roots of nondecreasing functions.

/// One part of a sum: `factor * clip(slope * t + offset, low, high)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clip {
    pub factor: f64,
    pub slope: f64,
    pub offset: f64,
    pub low: f64,
    pub high: f64,
}

/// A rising part with the points at which it begins and ends to rise.
struct Part {
    clip: Clip,
    begin: f64,
    end: f64,
}

fn clipped(c: &Clip, x: f64) -> f64 {
    x.max(c.low).min(c.high)
}

/// The t in `from..to` where the sum is `less`; where it never gets there, the smallest t at which it is greatest; `from`
/// where it is above everywhere. None when a part falls.
///
/// Parts are sorted into lower, rising and upper by comparing their breakpoints, never by accumulated sums, and the sums of
/// a bracket are made afresh; so nothing cancels on a plateau.
pub(crate) fn of_clips(clips: &[Clip], less: f64, from: f64, to: f64) -> Option<f64> {
    let (mut parts, mut still) = (Vec::new(), 0.0);
    for c in clips {
        let mut c = *c;
        if c.slope < 0.0 {
            // The same part, turned round.
            c = Clip { factor: -c.factor, slope: -c.slope, offset: -c.offset, low: -c.high, high: -c.low };
        }
        if c.slope == 0.0 || c.factor == 0.0 {
            still += if c.factor == 0.0 { 0.0 } else { c.factor * clipped(&c, c.offset) };
            continue;
        }
        if c.factor < 0.0 {
            return None;
        }
        parts.push(Part { clip: c, begin: (c.low - c.offset) / c.slope, end: (c.high - c.offset) / c.slope });
    }
    let at = |t: f64| {
        let one = |p: &Part| {
            let c = &p.clip;
            c.factor
                * if t <= p.begin {
                    c.low
                } else if t >= p.end {
                    c.high
                } else {
                    clipped(c, c.slope * t + c.offset)
                }
        };
        still + parts.iter().map(one).sum::<f64>()
    };
    // The greatest value is reached where the last part ends.
    let last = parts.iter().map(|p| p.end).fold(from, f64::max).min(to);
    if at(from) >= less {
        return Some(from);
    }
    if last.is_finite() && at(last) < less {
        return Some(last);
    }
    let mut points: Vec<f64> = parts.iter().flat_map(|p| [p.begin, p.end]).filter(|t| *t > from && *t < last).collect();
    points.push(from);
    points.push(last);
    points.sort_unstable_by(f64::total_cmp);
    points.dedup();
    // The first point at which the sum is there.
    let right = points.partition_point(|t| t.is_finite() && at(*t) < less);
    let (Some(a), Some(b)) = (right.checked_sub(1).and_then(|i| points.get(i)), points.get(right)) else {
        return Some(last);
    };
    let (mut rest, mut slope) = (still, 0.0);
    for p in &parts {
        let c = &p.clip;
        if p.end <= *a {
            rest += c.factor * c.high;
        } else if p.begin >= *b {
            rest += c.factor * c.low;
        } else {
            rest += c.factor * c.offset;
            slope += c.factor * c.slope;
        }
    }
    let t = (less - rest) / slope;
    Some(if t.is_nan() { *b } else { t.max(*a).min(*b) })
}

/// The same for any nondecreasing function, by bisection down to neighbouring floats.
pub(crate) fn bisect<E>(from: f64, to: f64, f: &mut dyn FnMut(f64) -> Result<f64, E>) -> Result<f64, E> {
    let first = f(from)?;
    if first >= 0.0 {
        return Ok(from);
    }
    // A finite right end: the first power of two beyond which nothing changes the sign.
    let mut right = if to.is_finite() { to } else { (from.abs() + 1.0) * 2.0 };
    while !to.is_finite() && right < 1e300 && f(right)? < 0.0 {
        right = from + (right - from) * 4.0;
    }
    let goal = f(right)?.min(0.0);
    if first >= goal {
        return Ok(from);
    }
    let (mut a, mut b) = (from, right);
    // From 1e300 down to the least positive float are 2071 halvings.
    for _ in 0..2200 {
        let middle = a + (b - a) / 2.0;
        if middle <= a || middle >= b {
            break;
        }
        if f(middle)? >= goal { b = middle } else { a = middle }
    }
    Ok(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(factor: f64, slope: f64, offset: f64, low: f64, high: f64) -> Clip {
        Clip { factor, slope, offset, low, high }
    }

    #[test]
    fn sums_of_clips() {
        let two = [clip(1.0, 1.0, 0.0, 0.0, 1.0), clip(1.0, 0.5, 0.0, 0.0, 1.0)];
        assert_eq!(of_clips(&two, 0.75, 0.0, f64::INFINITY), Some(0.5));
        assert_eq!(of_clips(&two, 1.75, 0.0, f64::INFINITY), Some(1.5));
        // Never there: where the last part ends.
        assert_eq!(of_clips(&two, 5.0, 0.0, f64::INFINITY), Some(2.0));
        assert_eq!(of_clips(&two, 2.0, 0.0, f64::INFINITY), Some(2.0));
        assert_eq!(of_clips(&two, 0.0, 0.0, f64::INFINITY), Some(0.0));
        assert_eq!(of_clips(&two, 5.0, 0.0, 1.5), Some(1.5));
        assert_eq!(of_clips(&[], 1.0, 0.0, f64::INFINITY), Some(0.0));
        assert_eq!(of_clips(&[clip(1.0, 0.0, 0.5, 0.0, 1.0)], 1.0, 0.0, f64::INFINITY), Some(0.0));
        // min(1, t): no lower bound.
        assert_eq!(of_clips(&[clip(3.0, 1.0, 0.0, f64::NEG_INFINITY, 1.0)], 1.5, 0.0, f64::INFINITY), Some(0.5));
        assert_eq!(
            of_clips(&[clip(1.0, 2.0, 1.0, f64::NEG_INFINITY, f64::INFINITY)], 5.0, 0.0, f64::INFINITY),
            Some(2.0)
        );
        assert_eq!(of_clips(&[clip(-1.0, 1.0, 0.0, 0.0, 1.0)], 1.0, 0.0, 1.0), None);
        assert_eq!(of_clips(&[clip(-1.0, -1.0, 0.0, -1.0, 0.0)], 0.25, 0.0, f64::INFINITY), Some(0.25));
    }

    #[test]
    fn a_plateau_does_not_spoil_the_root() {
        // Between 1 and 1e9 the sum is exactly 2.
        let c = [clip(2.0, 1.0, 0.0, 0.0, 1.0), clip(1.0, 1e-9, -1.0, 0.0, 1.0)];
        assert_eq!(of_clips(&c, 2.0, 0.0, f64::INFINITY), Some(1.0));
        let t = of_clips(&c, 2.0 + 1e-12, 0.0, f64::INFINITY).unwrap();
        assert!((1e9..1.01e9).contains(&t), "{t}");
    }

    #[test]
    fn bisection_agrees_and_finds_the_first_of_the_greatest() {
        let ok = |f: fn(f64) -> f64, from, to| bisect::<()>(from, to, &mut |t| Ok(f(t))).unwrap();
        assert_eq!(ok(|t| t * t - 2.0, 0.0, f64::INFINITY), 2f64.sqrt());
        // Exact near 1: with `- 3.0` the floats just below 1 give -2 too, and the first of them is the root.
        assert_eq!(ok(|t| t.min(1.0) - 1.5, 0.0, f64::INFINITY), 1.0);
        assert_eq!(ok(|t| t.min(1.0) - 3.0, 0.0, f64::INFINITY), 1.0 - f64::EPSILON);
        assert_eq!(ok(|t| t - 3.0, 5.0, 9.0), 5.0);
        assert_eq!(ok(|t| t - 9.5, 0.0, 9.0), 9.0);
        // As with clips: nothing rises, so the first point is the one.
        assert_eq!(ok(|_| -1.0, 0.0, f64::INFINITY), 0.0);
        assert_eq!(ok(|t| if t > 0.0 { 0.0 } else { -1.0 }, 0.0, 1e300), f64::from_bits(1));
    }
}
