//! Amounts: counts, shares, budgets, thresholds, and schedules by their value at one moment.
use super::Resolver;
use super::scope::Over;
use crate::cx::{Cx, Res};
use crate::time;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::method::{Quantity, Ratio, Unit};
use spc_ir::{Amount, Cost, Cover, Keep, Member, Scope};
use spc_syntax::ast::{self, AmountKind, Arg, BinaryOp, Expr, ExprKind, Sentence, ShareOf};

/// An amount before it is known over which tensors.
pub enum Wanted {
    All(Amount),
    /// The Erdos-Renyi rule: a share of all, spread over tensors by their shapes.
    Erk {
        density: Ratio,
        power: f64,
        span: Span,
    },
}

/// What `ceil` of a share that no fraction gives is computed with.
const FINE: u64 = 1_000_000_000_000;

impl Resolver<'_> {
    pub fn amount(&self, cx: &mut Cx, a: &ast::Amount) -> Res<Wanted> {
        let amount = match &a.kind {
            AmountKind::Plain(e) => match &e.kind {
                ExprKind::Num(n) if n.int.is_none() => return bare_ratio(cx, e),
                // Only names the groups that an update works on.
                ExprKind::Name(n) if n.as_str() == "all" => Amount::Share { num: 1, den: 1 },
                ExprKind::Binary { op: BinaryOp::Div, lhs, rhs, .. } if is_number(lhs) && is_number(rhs) => {
                    return bare_ratio(cx, e);
                }
                ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "erk_density") => {
                    return self.erk(cx, e, args);
                }
                _ => self.plain(cx, a, e)?,
            },
            AmountKind::Of { part, of: ShareOf::Count(m) } => self.out_of(cx, a, part, m.int)?,
            AmountKind::Of { part, of: ShareOf::Name(n) } => {
                let Some(of) = Cost::from_name(n.as_str()) else {
                    let known = Cost::ALL.iter().map(|c| c.name());
                    return cx.unknown(n.span, "cost", &n.name, known);
                };
                let q = self.value(cx, part)?;
                match (q.unit, self.share(cx, part.span, &q)?) {
                    (Unit::Share, Some((num, den))) => {
                        self.between(cx, a.span, num == 0, num >= den)?;
                        Amount::Budget { num, den, of }
                    }
                    _ => {
                        let text = "a budget is a percentage";
                        return cx.err(codes::AMOUNT, part.span, text, "expected for example `40% of flops`");
                    }
                }
            }
            AmountKind::Above(e) => {
                let q = self.value(cx, e)?;
                if q.unit != Unit::Number {
                    return cx.err(codes::AMOUNT, e.span, "`above` takes a number", "not a number");
                }
                Amount::Above(q.value)
            }
        };
        Ok(Wanted::All(amount))
    }

    /// A value at the moment that is asked for; a schedule that was tighter before is worth a warning.
    fn value(&self, cx: &mut Cx, e: &Expr) -> Res<Quantity> {
        let s = time::lower(cx, self.names, e)?;
        if !s.expr.is_constant() {
            time::warn_loosened(cx, &s, e.span);
        }
        time::value(cx, &s, self.moment, e.span)
    }

    /// A share as a fraction; exact where it was computed exactly, else to twelve digits.
    fn share(&self, cx: &mut Cx, span: Span, q: &Quantity) -> Res<Option<(u64, u64)>> {
        if q.unit != Unit::Share {
            return Ok(None);
        }
        if !(0.0..=1.0).contains(&q.value) {
            return cx.err(codes::AMOUNT, span, "a share lies between 0% and 100%", format!("is {}%", q.value * 100.0));
        }
        let exact = q.exact.and_then(|r| Some((u64::try_from(r.num()).ok()?, u64::try_from(r.den()).ok()?)));
        Ok(Some(exact.unwrap_or(((q.value * FINE as f64).round() as u64, FINE))))
    }

    fn plain(&self, cx: &mut Cx, a: &ast::Amount, e: &Expr) -> Res<Amount> {
        let q = self.value(cx, e)?;
        if let Some((num, den)) = self.share(cx, e.span, &q)? {
            self.between(cx, a.span, num == 0, num >= den)?;
            return Ok(Amount::Share { num, den });
        }
        match whole(&q) {
            Some(n) => {
                self.between(cx, a.span, n == 0, false)?;
                Ok(Amount::Count(n))
            }
            None => cx.err(codes::AMOUNT, e.span, "this is no amount", "expected `25%`, `20` or `2 of 4`"),
        }
    }

    fn out_of(&self, cx: &mut Cx, a: &ast::Amount, part: &Expr, m: Option<u64>) -> Res<Amount> {
        let n = match part.as_int() {
            Some(n) => Some(n),
            None => whole(&self.value(cx, part)?),
        };
        match (n, m) {
            (Some(n), Some(m)) if n <= m && m > 0 => {
                self.between(cx, a.span, n == 0, n == m)?;
                Ok(Amount::OutOf { n, m })
            }
            _ => {
                let text = "`n of m` takes two whole numbers, n below m";
                cx.err(codes::AMOUNT, a.span, text, "expected for example `2 of 4`")
            }
        }
    }

    fn at_end(&self) -> bool {
        self.moment.progress == Ratio::ONE
    }

    /// Refuses nothing and, at the end of the run, everything.
    fn between(&self, cx: &mut Cx, span: Span, nothing: bool, everything: bool) -> Res<()> {
        let what = match (nothing, everything && self.at_end()) {
            (true, _) => "nothing",
            (_, true) => "everything",
            _ => return Ok(()),
        };
        cx.err(codes::KEEPS_NOTHING, span, format!("this keeps {what}"), "an amount between is meant")
    }

    /// `erk_density(5%)`, `erk_density(5%, power: 0.5)`.
    fn erk(&self, cx: &mut Cx, e: &Expr, args: &[Arg]) -> Res<Wanted> {
        let (mut density, mut power) = (None, 1.0);
        for (i, a) in args.iter().enumerate() {
            match (a.label.as_ref().map(|l| l.as_str()), i) {
                (Some("density") | None, 0) => density = Some((self.value(cx, &a.value)?, a.span)),
                (Some("power"), _) | (None, 1) => power = self.value(cx, &a.value)?.value,
                _ => return cx.err(codes::ARGUMENT, a.span, "`erk_density` has no such parameter", "unknown"),
            }
        }
        match density {
            Some((Quantity { exact: Some(r), unit: Unit::Share, .. }, _)) if r > Ratio::ZERO && r <= Ratio::ONE => {
                Ok(Wanted::Erk { density: r, power, span: e.span })
            }
            Some((_, span)) => cx.err(codes::AMOUNT, span, "a density is a percentage", "expected for example `5%`"),
            None => cx.err(codes::ARGUMENT, e.span, "`erk_density` needs a density", "expected `erk_density(5%)`"),
        }
    }

    /// The amount of the sentence; amounts of single members are set where they differ.
    pub fn spread(
        &self,
        cx: &mut Cx,
        wanted: Wanted,
        members: &mut [Member],
        over: &Over<'_>,
        s: &Sentence,
    ) -> Res<Amount> {
        let (density, power, span) = match wanted {
            Wanted::All(a) => return Ok(a),
            Wanted::Erk { density, power, span } => (density, power, span),
        };
        let counts: Option<Vec<u64>> = members.iter().map(groups_of).collect();
        let tiles = members.iter().all(|m| m.group().is_some());
        let (Some(counts), Scope::Tensor, true) = (counts, over.scope, tiles) else {
            let at = s.clauses.per.as_ref().map_or(s.span, |p| p.scope.span);
            let d = Diagnostic::error(codes::AMOUNT, "densities by shape are counted per tensor");
            return cx.report(d.at(at, "expected `per tensor`").also(span, "a density for every tensor"));
        };
        let shapes: Vec<&[u64]> = members.iter().map(|m| m.shape.as_slice()).collect();
        let Some(kept) = erk_counts(&shapes, &counts, density, power) else {
            return cx.err(codes::AMOUNT, span, "this power gives no densities", "expected a number near 1");
        };
        for (m, n) in members.iter_mut().zip(&kept) {
            m.amount = Some(Amount::Count(*n));
        }
        Ok(Amount::Share { num: density.num().unsigned_abs(), den: density.den().unsigned_abs() })
    }

    /// Refuses an amount that keeps everything wherever it is counted, and a floor above a count.
    pub fn amount_fits(&self, cx: &mut Cx, s: &Sentence, k: &Keep, then: bool) -> Res<()> {
        let (Amount::Count(n), false) = (k.amount, then || !self.at_end()) else { return Ok(()) };
        let mut scopes: Vec<(String, u64)> = Vec::new();
        let mut families: Vec<u32> = Vec::new();
        for m in &k.members {
            if let Cover::Slices(x) = &m.cover {
                if families.contains(&x.family) {
                    continue;
                }
                families.push(x.family);
            }
            let groups = match (k.scope, m.group()) {
                (Scope::Tile, Some(g)) => {
                    m.scope.iter().zip(&m.shape).zip(g).map(|((s, n), g)| s.min(n).div_ceil(*g)).product()
                }
                _ => groups_of(m).unwrap_or(u64::MAX),
            };
            let key = match k.scope {
                Scope::Tile | Scope::Tensor => m.weight.clone(),
                Scope::Layer => m.layer.clone(),
                Scope::Model => String::new(),
            };
            match scopes.iter_mut().find(|x| x.0 == key) {
                Some(x) => x.1 = x.1.saturating_add(groups),
                None => scopes.push((key, groups)),
            }
        }
        let most = scopes.iter().map(|x| x.1).max().unwrap_or(0);
        if n >= most {
            return cx.err(
                codes::KEEPS_NOTHING,
                s.amount.span,
                "this keeps everything",
                format!("no scope holds more than {most} groups"),
            );
        }
        if let (Some(f), Some(floor)) = (k.floor, &s.clauses.floor)
            && f.scope == k.scope
            && f.share.is_none()
            && f.count > n
        {
            let text = format!("the floor keeps {} groups where the amount keeps {n}", f.count);
            let d = Diagnostic::error(codes::CONFLICT, text).at(floor.span, "at least this many");
            return cx.report(d.also(s.amount.span, "at most this many"));
        }
        Ok(())
    }
}

/// Groups of one tensor, edges included.
fn groups_of(m: &Member) -> Option<u64> {
    match &m.cover {
        Cover::Tile(g) => m.shape.iter().zip(g).try_fold(1u64, |n, (s, g)| n.checked_mul(s.div_ceil((*g).max(1)))),
        Cover::Slices(s) => Some(s.groups()),
        Cover::Pairs { undirected } => {
            let n = m.shape.first().copied().unwrap_or(0);
            let all = n.checked_mul(n)?;
            Some(if *undirected { (all + n) / 2 } else { all })
        }
    }
}

fn whole(q: &Quantity) -> Option<u64> {
    (q.unit == Unit::Number && q.value >= 0.0 && q.value < 9e15 && q.value.fract() == 0.0).then_some(q.value as u64)
}

fn is_number(e: &Expr) -> bool {
    matches!(e.kind, ExprKind::Num(_))
}

fn bare_ratio<T>(cx: &mut Cx, e: &Expr) -> Res<T> {
    cx.report(
        Diagnostic::error(codes::BARE_RATIO, "a bare ratio is ambiguous")
            .at(e.span, "kept or removed?")
            .help("say what is kept: `40%` or `2 of 4`"),
    )
}

/// How many groups each tensor keeps by the Erdos-Renyi rule (Evci et al. 2020, arXiv 1911.11134): in proportion to
/// (sum of its dimensions / product of its dimensions)^power, never more than it has, and in all ceil(density * groups).
/// Whole numbers by largest remainders, ties to the earlier tensor.
fn erk_counts(shapes: &[&[u64]], groups: &[u64], density: Ratio, power: f64) -> Option<Vec<u64>> {
    let all: u128 = groups.iter().map(|g| u128::from(*g)).sum();
    let (num, den) = (u128::from(density.num().unsigned_abs()), u128::from(density.den().unsigned_abs()));
    let total = u64::try_from(all.checked_mul(num)?.div_ceil(den)).ok()?;
    let raw: Vec<f64> = shapes
        .iter()
        .map(|s| {
            let (sum, product) = s.iter().fold((0.0, 1.0), |(a, b), d| (a + *d as f64, b * *d as f64));
            (sum / product).powf(power)
        })
        .collect();
    if raw.iter().any(|r| !r.is_finite() || *r <= 0.0) {
        return None;
    }
    // Tensors whose density would exceed 1 stay whole, and the others share what is left.
    let mut dense = vec![false; groups.len()];
    let scale = loop {
        let whole: u64 = groups.iter().zip(&dense).filter(|(_, d)| **d).map(|(g, _)| g).sum();
        let weight: f64 =
            groups.iter().zip(&raw).zip(&dense).filter(|(_, d)| !**d).map(|((g, r), _)| *g as f64 * r).sum();
        if weight == 0.0 {
            break 0.0;
        }
        let scale = total.saturating_sub(whole) as f64 / weight;
        let mut grown = false;
        for (d, r) in dense.iter_mut().zip(&raw).filter(|(d, _)| !**d) {
            if scale * r > 1.0 {
                (*d, grown) = (true, true);
            }
        }
        if !grown {
            break scale;
        }
    };
    let ideal: Vec<f64> = (0..groups.len())
        .map(|i| if dense[i] { groups[i] as f64 } else { (scale * raw[i] * groups[i] as f64).min(groups[i] as f64) })
        .collect();
    let mut kept: Vec<u64> = ideal.iter().map(|x| x.floor() as u64).collect();
    let mut order: Vec<usize> = (0..kept.len()).collect();
    order.sort_by(|a, b| ideal[*b].fract().total_cmp(&ideal[*a].fract()).then(a.cmp(b)));
    let mut left = total.saturating_sub(kept.iter().sum());
    while left > 0 {
        let before = left;
        for i in &order {
            if left > 0 && kept[*i] < groups[*i] {
                (kept[*i], left) = (kept[*i] + 1, left - 1);
            }
        }
        if left == before {
            break;
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_by_shape_add_up() {
        let share = |n, d| Ratio::new(n, d).unwrap();
        let shapes: [&[u64]; 3] = [&[10, 10], &[100, 100], &[2, 50]];
        let groups = [100, 10_000, 100];
        let kept = erk_counts(&shapes, &groups, share(1, 10), 1.0).unwrap();
        assert_eq!(kept.iter().sum::<u64>(), 1020);
        // raw 0.2, 0.02, 0.52: the last is dense at this scale, the others share 920.
        let (a, b): (f64, f64) = (0.2 * 100.0, 0.02 * 10_000.0);
        assert_eq!(kept, [(920.0 * a / (a + b)).round() as u64, (920.0 * b / (a + b)).round() as u64, 100]);
        // Power 0 is one density for all.
        assert_eq!(erk_counts(&shapes, &groups, share(1, 4), 0.0).unwrap(), [25, 2500, 25]);
        assert_eq!(erk_counts(&shapes, &groups, Ratio::ONE, 1.0).unwrap(), groups);
        assert_eq!(erk_counts(&[&[3, 3]], &[9], share(1, 1000), 1.0).unwrap(), [1]);
        assert!(erk_counts(&shapes, &groups, share(1, 2), f64::NAN).is_none());
    }
}
