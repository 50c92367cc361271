//! `slices(F)` and `slices(F by 64)`: the coupled set of every instance of an axis in a selection.
use super::names::{Within, axes_of};
use super::{Found, refuse};
use crate::cx::{Cx, Res};
use crate::module::{AxisSize, Member as Tree, ModelTensor};
use crate::require::Resolver;
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::couple::{At, Carrier, CoupledSet, Coupling, Family, NoAxis, Place};
use spc_ir::{Member, Part, Slices, Tail};
use spc_syntax::ast::{Arg, Expr, ExprKind, Ident, ItemKind};
use std::collections::BTreeMap;

/// The words of `slices(F by 64)`.
struct Words<'e> {
    axis: &'e Ident,
    by: u64,
    span: Span,
}

/// An axis where a tensor of the selection carries it.
struct Hit<'m> {
    tensor: &'m ModelTensor,
    dim: u32,
    within: Within,
}

impl Resolver<'_> {
    /// The members of all families that `slices(..)` stands for, in order of the selection.
    pub fn slices(
        &self,
        cx: &mut Cx,
        found: &Found<'_>,
        on: Option<&Expr>,
        except: Option<&Expr>,
        tail: Tail,
    ) -> Res<Vec<Member>> {
        let words = self.words(cx, found.expr)?;
        let selected = self.selected(cx, on.or(found.of), except)?;
        let hits = self.hits(cx, &words, &selected)?;
        let coupling = self.coupled.get(cx, words.span)?;
        let mut families: Vec<Family> = Vec::new();
        let mut unread = None;
        for hit in &hits {
            cx.spend(1 + families.len() as u64 / 64, words.span)?;
            let by = words.by;
            let n = hit.within.size;
            if n % by != 0 && tail == Tail::Exact {
                let d =
                    Diagnostic::error(codes::TILE, format!("slices of {by} do not divide axis `{}`", hit.within.axis));
                return cx.report(
                    d.at(words.span, format!("{n} is not a multiple of {by}"))
                        .also(hit.tensor.span, format!("`{}` is declared here", hit.tensor.path))
                        .help("add `pad` or `ragged`, or choose a size that divides"),
                );
            }
            match instances(coupling, hit, by) {
                Ok(list) => families.extend(list.into_iter().filter(|f| !families.contains(f)).collect::<Vec<_>>()),
                Err(NoAxis::Unread) => unread = unread.or(Some(hit)),
                Err(why) => return self.no_axis(cx, &words, hit, &why),
            }
        }
        if families.is_empty() {
            let Some(hit) = unread else { return self.no_carrier(cx, &words) };
            return cx.report(
                Diagnostic::error(codes::UNREAD, format!("no function reads a weight with axis `{}`", words.axis.name))
                    .at(words.axis.span, "what belongs to a slice follows from the functions")
                    .also(hit.tensor.span, format!("`{}` is declared here", hit.tensor.path)),
            );
        }
        let places: BTreeMap<&str, usize> = selected.iter().enumerate().map(|(i, t)| (t.path.as_str(), i)).collect();
        let mut out = Vec::new();
        for (number, f) in (0u32..).zip(&families) {
            let set = coupling.sets.get(f.set).ok_or(crate::cx::Stop)?;
            cx.spend(set.members.len() as u64, words.span)?;
            self.stays_inside(cx, &words, set, &places, on.or(found.of))?;
            if let Some(r) = set.refusals.first() {
                return refuse::refuse(cx, &self.coupled.graphs, words.axis.span, &words.axis.name, r);
            }
            if set.size % f.by != 0 && tail == Tail::Exact {
                let text = format!("slices of {} do not divide each part of axis `{}`", words.by, words.axis.name);
                let d = Diagnostic::error(codes::TILE, text);
                return cx.report(
                    d.at(words.span, format!("it is joined from others, one of {}", set.size))
                        .help("add `pad` or `ragged`, or choose a size that divides"),
                );
            }
            let mut members: Vec<_> =
                set.members.iter().filter_map(|m| Some((*places.get(m.weight.as_str())?, m))).collect();
            members.sort_by_key(|(place, _)| *place);
            out.extend(
                members.into_iter().filter_map(|(i, m)| Some(member(selected.get(i)?, set.size, m, *f, number))),
            );
        }
        Ok(out)
    }

    fn words<'e>(&self, cx: &mut Cx, e: &'e Expr) -> Res<Words<'e>> {
        let ExprKind::Call { args, .. } = &e.kind else {
            return cx.err(codes::WRONG_KIND, e.span, "this is no group", "expected `slices(F)`");
        };
        let one = |a: &Arg| {
            a.label.is_none() && a.over.is_empty() && a.guard.is_none() && a.within.is_none() && a.per.is_none()
        };
        match args.as_slice() {
            [a] if one(a) => {
                let Some(axis) = a.value.as_name() else {
                    return cx.err(
                        codes::ARGUMENT,
                        a.span,
                        "`slices` takes an axis",
                        "expected for example `slices(F)`",
                    );
                };
                let by = match &a.by {
                    Some(n) => self.positive(cx, n)?,
                    None => 1,
                };
                Ok(Words { axis, by, span: e.span })
            }
            _ => {
                cx.err(codes::ARGUMENT, e.span, "`slices` takes one axis", "expected `slices(F)` or `slices(F by 64)`")
            }
        }
    }

    /// Tensors of the selection in declared order; all without one.
    pub(super) fn selected(&self, cx: &mut Cx, on: Option<&Expr>, except: Option<&Expr>) -> Res<Vec<&ModelTensor>> {
        let mut chosen = match on {
            Some(e) => self.below(cx, e)?,
            None => self
                .models
                .iter()
                .enumerate()
                .flat_map(|(m, model)| (0..model.tensors.len()).map(move |t| (m, t)))
                .collect(),
        };
        if let Some(e) = except {
            let out = self.below(cx, e)?;
            chosen.retain(|c| !out.contains(c));
        }
        chosen.sort_unstable();
        chosen.dedup();
        let all: Vec<&ModelTensor> =
            chosen.into_iter().filter_map(|(m, t)| self.models.get(m)?.tensors.get(t)).collect();
        if let (true, Some(e)) = (all.is_empty(), on) {
            return cx.err(codes::NOTHING_MATCHED, e.span, "the selection holds no tensor", "matches nothing");
        }
        Ok(all)
    }

    fn below(&self, cx: &mut Cx, e: &Expr) -> Res<Vec<(usize, usize)>> {
        let mut out = Vec::new();
        for (m, tree) in self.walk(cx, e)? {
            let mut all = Vec::new();
            crate::require::tensors_below(tree, &mut all);
            out.extend(all.into_iter().map(|t| (m, t)));
        }
        Ok(out)
    }

    fn hits<'m>(&self, cx: &mut Cx, words: &Words<'_>, selected: &[&'m ModelTensor]) -> Res<Vec<Hit<'m>>> {
        let mut hits = Vec::new();
        let name = words.axis.as_str();
        for t in selected {
            if matches!(name, "in" | "out") {
                for d in self.dims_of(cx, t, words.axis)? {
                    let Some(dim) = t.dims.get(d) else { continue };
                    let within = Within { axis: dim.axis.clone(), size: dim.size.fixed().unwrap_or(0), inner: 1 };
                    hits.push(Hit { tensor: t, dim: d as u32, within });
                }
                continue;
            }
            for (dim, d) in (0u32..).zip(&t.dims) {
                let parts = axes_of(d, self.axes);
                if parts.is_empty() {
                    continue;
                }
                hits.extend(parts.into_iter().filter(|w| w.axis == name).map(|within| Hit { tensor: t, dim, within }));
            }
        }
        if hits.is_empty() { self.no_carrier(cx, words) } else { Ok(hits) }
    }

    /// No tensor of the selection is declared with the axis.
    fn no_carrier<T>(&self, cx: &mut Cx, words: &Words<'_>) -> Res<T> {
        let name = &words.axis.name;
        let span = words.axis.span;
        let repeats = |t: &Tree| families(t).contains(name);
        let d = |label: &str| {
            Diagnostic::error(codes::NO_CARRIER, format!("no weight of the selection carries axis `{name}`"))
                .at(span, label.to_string())
        };
        if let Some(m) = self.models.iter().find(|m| repeats(&m.root)) {
            let d = d("this axis numbers repetitions").also(m.span, "they are declared here");
            return cx.report(d.help("say what is chosen in each repetition, for example `slices(F) of net.layer[l]`"));
        }
        match self.axes.get(name).map(|a| (a.size, a.span)) {
            Some((AxisSize::Range(..), at)) => {
                cx.report(d("each call binds its size, and weights have fixed sizes").also(at, "declared here"))
            }
            Some((_, at)) => {
                let mut d = d("no tensor that is selected has this axis").also(at, "declared here");
                let holders = self.models.iter().flat_map(|m| &m.tensors);
                let holder = holders
                    .into_iter()
                    .find(|t| t.dims.iter().any(|d| axes_of(d, self.axes).iter().any(|w| w.axis == *name)));
                if let Some(t) = holder {
                    d = d.also(t.span, format!("`{}` has it, but is not selected", t.path));
                }
                cx.report(d)
            }
            None if is_computed_size(self.names, name) => {
                let d = d("this size is computed from others")
                    .note("a derived axis is compared by its value and is never a group");
                cx.report(d)
            }
            None => crate::model::unknown_axis(cx, self.axes, words.axis),
        }
    }

    fn no_axis<T>(&self, cx: &mut Cx, words: &Words<'_>, hit: &Hit<'_>, why: &NoAxis) -> Res<T> {
        let name = &hit.within.axis;
        let text = format!("axis `{name}` of `{}` is taken apart, so its slices do not stay whole", hit.tensor.path);
        let d = Diagnostic::error(codes::TAKEN_APART, text).at(words.axis.span, "slices along this axis");
        let d = match why {
            NoAxis::Split(Some(at)) => {
                let source = refuse::source(&self.coupled.graphs, *at);
                refuse::point(d, source, format!("a part of `{name}` is an axis of its own here"))
            }
            _ => d.note("the functions cut the dimension at other places"),
        };
        cx.report(d.also(hit.tensor.span, "declared here").help("choose the axis that stays whole, or `by` its size"))
    }

    /// A set whose members lie outside of the selection would change more than was said.
    fn stays_inside(
        &self,
        cx: &mut Cx,
        words: &Words<'_>,
        set: &CoupledSet,
        places: &BTreeMap<&str, usize>,
        on: Option<&Expr>,
    ) -> Res<()> {
        let names = set.members.iter().map(|m| m.weight.as_str());
        let outside: Vec<&str> = names.filter(|w| !places.contains_key(w)).collect();
        let Some(out) = outside.first() else { return Ok(()) };
        let name = &words.axis.name;
        let readers = self.coupled.graphs.iter().enumerate().filter_map(|(graph, g)| {
            let node = g.weights().into_iter().find(|(n, _)| n == out)?.1;
            Some(At { graph, node: g.readers(node).first().copied()? })
        });
        let reader = readers.into_iter().next();
        let span = on.map_or(words.span, |e| e.span);
        let d = Diagnostic::error(codes::LEAVES, format!("axis `{name}` leaves the selection"))
            .at(words.axis.span, "slices along this axis")
            .also(span, "selected here");
        let d = match reader.and_then(|at| refuse::source(&self.coupled.graphs, at)) {
            Some(s) => refuse::point(d, Some(s), format!("`{name}` goes on here: `{out}` carries it too")),
            None => d.note(format!("`{out}` carries it too")),
        };
        let more = outside.len().saturating_sub(1);
        let others = if more > 0 { format!(" and {more} more") } else { String::new() };
        cx.report(d.help(format!("the set holds `{out}`{others}; select all of it, or another axis")))
    }
}

/// A weight of a coupled set as a sentence takes it.
fn member(t: &ModelTensor, size: u64, m: &Carrier, f: Family, number: u32) -> Member {
    let shape: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
    let part = |p: &Place| Part { dim: p.dim, start: p.start, end: p.end, inner: p.inner, size };
    let slices = Slices { family: number, by: f.by, parts: m.places.iter().map(part).collect() };
    Member::slices(&t.path, &shape, slices, &t.layer)
}

/// The instances of an axis in groups of `by`. Where the axis is cut further inside, the groups may be what is outside of
/// the cut.
fn instances(c: &Coupling, hit: &Hit<'_>, by: u64) -> Result<Vec<Family>, NoAxis> {
    let (w, n) = (&hit.within, hit.within.size);
    let whole = c.axis(&hit.tensor.path, hit.dim, n, w.inner);
    match whole {
        Ok(list) => Ok(list.into_iter().map(|f| Family { by: f.by.saturating_mul(by), ..f }).collect()),
        Err(why) if by == 1 || n % by != 0 => Err(why),
        Err(why) => c.axis(&hit.tensor.path, hit.dim, n / by, w.inner.saturating_mul(by)).map_err(|_| why),
    }
}

/// Whether a signature computes a size of this name.
fn is_computed_size(names: &Names<'_>, name: &str) -> bool {
    names.items.values().any(|i| match &i.kind {
        ItemKind::Fn(f) => f.sig.sizes.iter().any(|s| s.name.name == *name),
        _ => false,
    })
}

/// Axes over which parts of a model repeat.
fn families(t: &Tree) -> Vec<String> {
    match t {
        Tree::Tensor(_) => Vec::new(),
        Tree::Record(map) => map.values().flat_map(families).collect(),
        Tree::Family { axis, items } => {
            let mut out = vec![axis.clone()];
            out.extend(items.first().map(families).unwrap_or_default());
            out
        }
    }
}
