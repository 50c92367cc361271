//! Constraints: from a sentence to numbers. Selectors become tensors, `in` and `out` become dimensions, tiles sizes,
//! schedules their value at one moment.
mod amount;
mod clauses;
mod cost;
mod group;
mod links;
mod order;
mod quantize;
mod scope;
mod score;
mod select;
mod tile;

pub use order::{by_weight, check_order};
pub use quantize::check_twice;
pub use select::tensors_below;

use crate::cx::{Cx, Res, Stop};
use crate::group::{self as slices, Coupled};
use crate::model::Axes;
use crate::module::{Data, Model, ModelTensor};
use crate::roles::Roles;
use crate::scope::Names;
use crate::time;
use amount::Wanted;
use group::Kind;
use scope::Over;
use spc_base::{Diagnostic, codes};
use spc_ir::method::{Moment, Unit};
use spc_ir::{Amount, Cost, Cover, DType, Graph, Keep, Member, Scope, Score, Tail};
use spc_syntax::ast::{self, AmountKind, By, Expr, ExprKind, Ident, Sentence, ShareOf};
use std::collections::BTreeMap;
use tile::shape;

pub struct Resolver<'a> {
    pub names: &'a Names<'a>,
    pub axes: &'a Axes,
    pub models: &'a [Model],
    pub data: &'a [Data],
    pub roles: &'a Roles,
    pub graphs: &'a BTreeMap<String, Graph>,
    pub coupled: &'a Coupled<'a>,
    /// Schedules have the value of this moment.
    pub moment: Moment,
}

/// A sentence whose tensors are known: what its members share.
struct Common {
    tail: Tail,
    then: bool,
}

impl Resolver<'_> {
    /// All sentences of one constraint, each with the tensors it acts on. The default score is written into the sentence.
    pub fn keeps(&self, cx: &mut Cx, s: &mut Sentence) -> Res<Vec<Keep>> {
        self.check_clauses(cx, s)?;
        // `keep 50% of neuron of net`: reading the file has said that a group stands where a cost would.
        if let AmountKind::Of { of: ShareOf::Name(n), .. } = &s.amount.kind
            && self.names.group(&n.name).is_some()
        {
            return Err(Stop);
        }
        self.default_scores(cx, s)?;
        let mut out: Vec<Keep> = Vec::new();
        // Selectors at the end of `keep .. then keep ..` stand in the last sentence and are meant for all.
        let chain = || std::iter::successors(Some(&*s), |s| s.then.as_deref());
        let on = chain().find_map(|s| s.clauses.on.as_ref()).map(|c| &c.value);
        let except = chain().find_map(|s| s.clauses.except.as_ref()).map(|c| &c.value);
        for part in chain() {
            let weights: Vec<String> = out.iter().flat_map(|k| &k.members).map(|m| m.weight.clone()).collect();
            let keep = self.keep(cx, part, (on, except), out.first().map(|_| weights.as_slice()))?;
            if let (true, Some(first)) = (out.last().is_some_and(|k| k.joint), out.last()) {
                joint_fits(cx, part, first, &keep)?;
            }
            out.push(keep);
        }
        Ok(out)
    }

    /// Writes the score that is taken where none is written: `abs` for elements, `norm2` for all other groups. A joint
    /// choice has one score, that of what it leads to.
    fn default_scores(&self, cx: &mut Cx, s: &mut Sentence) -> Res<()> {
        let kind = self.kind(cx, &s.group)?;
        let default = if matches!(kind.kind, Kind::Elements) { "abs" } else { "norm2" };
        let span = s.span;
        let name = |name: &str| Expr { kind: ExprKind::Name(Ident { name: name.into(), span }), span };
        let mut joint = None;
        match &mut s.clauses.by {
            None => s.clauses.by = Some(By { joint: false, score: Some(name(default)), span }),
            Some(by) if by.joint => joint = Some(by.score.clone()),
            Some(_) => {}
        }
        let Some(then) = &mut s.then else { return Ok(()) };
        if let Some(Some(score)) = &joint
            && then.clauses.by.is_none()
        {
            then.clauses.by = Some(By { joint: false, score: Some(score.clone()), span });
        }
        self.default_scores(cx, then)?;
        if let (Some(None), Some(by)) = (joint, &mut s.clauses.by) {
            by.score = then.clauses.by.as_ref().and_then(|b| b.score.clone());
        }
        Ok(())
    }

    /// One sentence. `before` has the weights that the sentence before it acts on, when it follows `then`.
    fn keep(
        &self,
        cx: &mut Cx,
        s: &Sentence,
        (on, except): (Option<&Expr>, Option<&Expr>),
        before: Option<&[String]>,
    ) -> Res<Keep> {
        let c = &s.clauses;
        let found = self.kind(cx, &s.group)?;
        let tail = match c.tail.as_ref().map(|t| t.value) {
            None => Tail::Exact,
            Some(ast::Tail::Pad) => Tail::Pad,
            Some(ast::Tail::Ragged) => Tail::Ragged,
        };
        let common = Common { tail, then: before.is_some() };
        let over = self.scope(cx, c.per.as_ref().map(|p| &p.scope), s.span)?;
        let wanted = self.amount(cx, &s.amount)?;
        let by = c.by.as_ref();
        let joint = by.is_some_and(|b| b.joint);
        let score = match by.and_then(|b| b.score.as_ref()) {
            Some(e) => self.score(cx, e)?,
            None => Score::Norm2,
        };
        let multiple = match &c.multiple {
            Some(m) => self.positive(cx, &m.value)?,
            None => 1,
        };
        let mut members = match &found.kind {
            Kind::Slices(found) => self.slices_of(cx, found, s, (on, except), tail, &over)?,
            Kind::Pairs(e, undirected) => self.pairs_of(cx, e, *undirected, s, &over)?,
            Kind::Elements | Kind::Tile(_) | Kind::Tensors => {
                let tensors = self.targets(cx, s, on.or(found.of), except, before)?;
                let mut members = Vec::new();
                for t in tensors {
                    members.push(self.member(cx, t, &found.kind, &over, &common, (&wanted, s))?);
                }
                members
            }
        };
        let floor = match &c.floor {
            Some(f) => Some(self.floor(cx, f, &found.kind, &mut members, tail)?),
            None => None,
        };
        let amount = self.spread(cx, wanted, &mut members, &over, s)?;
        if let Amount::Budget { of, .. } = amount {
            self.price(cx, &mut members, of)?;
        }
        let overlap = slices::overlap(cx, c.on_overlap.as_ref().or(found.on_overlap))?;
        slices::check_overlap(cx, &s.group, &members, overlap)?;
        let keep = Keep { score, joint, floor, multiple, tail, overlap, ..Keep::new(amount, over.scope, members) };
        self.amount_fits(cx, s, &keep, common.then)?;
        Ok(keep)
    }

    fn member(
        &self,
        cx: &mut Cx,
        t: &ModelTensor,
        kind: &Kind<'_>,
        over: &Over<'_>,
        common: &Common,
        (wanted, s): (&Wanted, &Sentence),
    ) -> Res<Member> {
        cx.spend(1, s.span)?;
        let (shape, tail) = (shape(t), common.tail);
        let group = match kind {
            Kind::Tile(spec) => {
                let tile = self.tile(cx, t, spec)?;
                self.divides(cx, t, &tile, spec.span, tail)?;
                tile
            }
            Kind::Tensors => shape.clone(),
            _ => vec![1; shape.len()],
        };
        let (scope, span) = match &over.tile {
            Some(scope::Tiles::Tile(spec)) => (self.tile(cx, t, spec)?, spec.span),
            Some(scope::Tiles::Axes(axes, span)) => (self.slab(cx, t, axes)?, *span),
            None => (shape.clone(), s.span),
        };
        self.divides(cx, t, &scope, span, tail)?;
        if scope.iter().zip(&group).any(|(a, b)| a % b != 0) && tail == Tail::Exact {
            return cx.report(
                Diagnostic::error(codes::TILE, "the groups do not divide the scope")
                    .at(span, "group and scope do not fit")
                    .also(t.span, format!("`{}` is declared here", t.path))
                    .note(format!("a group of {group:?} in a scope of {scope:?}")),
            );
        }
        if let (Wanted::All(Amount::OutOf { n, m }), false) = (wanted, common.then) {
            let inside = scope.iter().zip(&group).try_fold(1u64, |n, (a, b)| n.checked_mul(a.div_ceil(*b)));
            if inside != Some(*m) {
                let held = inside.map_or("too many".to_string(), |n| n.to_string());
                return cx.report(
                    Diagnostic::error(codes::AMOUNT, format!("`{n} of {m}` needs scopes of exactly {m} groups"))
                        .at(s.amount.span, format!("a scope of `{}` holds {held}", t.path))
                        .help(format!("say the scope: `per tile(in: {m})`")),
                );
            }
        }
        Ok(Member::tile(&t.path, &shape, &group, &scope, &t.layer))
    }

    /// The tensors that a sentence acts on, in declared order.
    fn targets(
        &self,
        cx: &mut Cx,
        s: &Sentence,
        on: Option<&Expr>,
        except: Option<&Expr>,
        before: Option<&[String]>,
    ) -> Res<Vec<&ModelTensor>> {
        let mut chosen: Vec<(usize, usize)> = Vec::new();
        match on {
            Some(e) => chosen.extend(self.select(cx, e)?),
            None => {
                for (m, model) in self.models.iter().enumerate() {
                    chosen.extend((0..model.tensors.len()).filter(|t| self.prunable(m, *t)).map(|t| (m, t)));
                }
            }
        }
        if let Some(except) = except {
            let out = self.select(cx, except)?;
            chosen.retain(|c| !out.contains(c));
        }
        if let Some(before) = before {
            chosen.retain(|(m, t)| self.prunable(*m, *t) || on.is_some());
            chosen.retain(|(m, t)| before.contains(&self.models[*m].tensors[*t].path));
        }
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            let span = on.map_or(s.span, |e| e.span);
            return cx.report(
                Diagnostic::error(codes::NOTHING_MATCHED, "the constraint matches no tensor")
                    .at(span, "nothing here takes part in a product")
                    .help("a wildcard takes f32 tensors of two or more axes that a product reads"),
            );
        }
        for (m, t) in &chosen {
            let tensor = &self.models[*m].tensors[*t];
            if tensor.dtype != DType::F32 {
                let span = on.map_or(s.span, |e| e.span);
                let text = format!("`{}` is {}, and only f32 weights can be constrained", tensor.path, tensor.dtype);
                return cx.err(codes::TYPE, span, text, "named here");
            }
        }
        Ok(chosen.into_iter().map(|(m, t)| &self.models[m].tensors[t]).collect())
    }

    /// A positive whole number, written or from a constant.
    pub fn positive(&self, cx: &mut Cx, e: &Expr) -> Res<u64> {
        let n = match &e.kind {
            ExprKind::Num(n) => n.int,
            ExprKind::Name(_) | ExprKind::Binary { .. } | ExprKind::Call { .. } | ExprKind::Index { .. } => {
                let q = time::at(cx, self.names, e, self.moment)?;
                let whole = q.unit == Unit::Number && q.value.fract() == 0.0 && q.value < 9e15;
                whole.then_some(q.value as u64)
            }
            _ => None,
        };
        match n {
            Some(n) if n > 0 => Ok(n),
            _ => cx.err(codes::WRONG_KIND, e.span, "a positive whole number is needed here", "not a positive number"),
        }
    }

    /// Sets what one element of each member costs.
    pub(crate) fn price(&self, cx: &mut Cx, members: &mut [Member], of: Cost) -> Res<()> {
        for m in members.iter_mut() {
            m.cost = match of {
                Cost::Params => 1,
                Cost::Bytes => 4,
                Cost::Flops => cost::flops(cx, self.graphs, &m.weight)?,
            };
        }
        Ok(())
    }
}

/// Whether a joint choice leads to something it can be scored by.
fn joint_fits(cx: &mut Cx, s: &Sentence, first: &Keep, next: &Keep) -> Res<()> {
    let plain = matches!(next.amount, Amount::Count(_) | Amount::OutOf { .. }) && next.floor.is_none();
    if !plain || next.multiple != 1 || first.floor.is_some() {
        let text = "after `by joint` the next sentence keeps a plain count";
        return cx.err(
            codes::AMOUNT,
            s.amount.span,
            text,
            "expected for example `2 of 4`, without `min` or `multiple`",
        );
    }
    if first.score != next.score {
        let span = s.clauses.by.as_ref().map_or(s.span, |b| b.span);
        let text = "both sentences of a joint choice have one score";
        return cx.err(codes::CONFLICT, span, text, "another score than after `joint`");
    }
    let inside = first.members.iter().zip(&next.members).all(|(a, b)| {
        let fits = |outer: &[u64], inner: &[u64]| outer.iter().zip(inner).all(|(o, i)| o % i == 0);
        match (&a.cover, &b.cover) {
            (Cover::Tile(x), Cover::Tile(y)) => a.weight == b.weight && fits(x, y) && fits(&a.scope, &b.scope),
            _ => false,
        }
    });
    let tiles = first.scope == Scope::Tile && next.scope == Scope::Tile;
    if !inside || !tiles || first.members.len() != next.members.len() {
        let text = "after `by joint` groups and scopes lie inside those before `then`";
        return cx.err(codes::TILE, s.span, text, "these tiles do not");
    }
    Ok(())
}

/// The words of an expression, as the program has them.
pub(crate) fn words(e: &Expr) -> String {
    spc_syntax::print_expr(e).split_whitespace().collect::<Vec<_>>().join(" ")
}
