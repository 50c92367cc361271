//! Groups: from the words of a `group` item or a sentence to slices of weights.
//!
//! `slices(F) of net.layer[l]` is the coupled set of each instance of F that the selection carries (`slices`), refused with
//! the operator that makes removing a slice something else than setting it to zero (`refuse`). `wq@(H: h) & wo@(H: h)` is a
//! set that the program spells out (`join`). Elements, tiles, pairs and groups of run-time values are resolved elsewhere.
mod item;
mod join;
mod names;
mod refuse;
mod report;
mod slices;

pub use item::{check_items, weight_of};
pub use names::member_text;
pub use report::{AxisOrder, NamedSet, Refused, axis_orders, coupled_sets, sets_of};

use crate::cx::{Cx, Res};
use crate::require::Resolver;
use crate::scope::Names;
use spc_base::{Diagnostic, codes};
use spc_ir::couple::Coupling;
use spc_ir::{Cover, Graph, Member, Overlap, Part, Tail};
use spc_syntax::ast::{BinaryOp, Clause, Expr, ExprKind, GroupItem, GroupRef, Ident, ItemKind};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// The coupled sets of all entry functions together, computed when a group first asks.
#[derive(Debug)]
pub struct Coupled<'a> {
    pub graphs: Vec<&'a Graph>,
    coupling: OnceCell<Option<Coupling>>,
}

impl<'a> Coupled<'a> {
    /// Of these functions, those that are called from outside: what an inner one gives is no output of the program.
    pub fn new(graphs: &'a BTreeMap<String, Graph>, roots: &BTreeSet<&str>) -> Coupled<'a> {
        let outer = graphs.iter().filter(|(n, _)| roots.contains(n.as_str()));
        Coupled { graphs: outer.map(|(_, g)| g).collect(), coupling: OnceCell::new() }
    }

    pub fn get(&self, cx: &mut Cx, span: spc_base::Span) -> Res<&Coupling> {
        match self.coupling.get_or_init(|| Coupling::of(&self.graphs).ok()) {
            Some(c) => Ok(c),
            None => cx.err(codes::TYPE, span, "the axes of this program cannot be coupled", "needed here"),
        }
    }
}

/// A group with the names of `group` items looked through.
#[derive(Clone, Debug)]
pub struct Found<'e> {
    /// `elements`, `tile(..)`, `slices(..)` and so on; never the name of an item.
    pub expr: &'e Expr,
    /// The selection: the outermost `of`.
    pub of: Option<&'e Expr>,
    /// The items on the way, outermost first.
    pub items: Vec<&'e GroupItem>,
}

impl<'e> Found<'e> {
    fn first<T>(&self, f: impl Fn(&'e GroupItem) -> Option<T>) -> Option<T> {
        self.items.iter().find_map(|i| f(i))
    }

    /// `on_overlap` of the outermost item that has one.
    pub fn on_overlap(&self) -> Option<&'e Clause<Ident>> {
        self.first(|i| i.on_overlap.as_ref())
    }
}

/// Looks through names of groups.
pub fn look<'e>(cx: &mut Cx, names: &Names<'e>, g: &'e GroupRef) -> Res<Found<'e>> {
    let mut found = Found { expr: &g.group, of: g.of.as_ref(), items: Vec::new() };
    while let ExprKind::Name(n) = &found.expr.kind {
        let Some(item) = names.group(&n.name) else { break };
        if found.items.iter().any(|i| std::ptr::eq(*i, item)) {
            return cx.report(
                Diagnostic::error(codes::RECURSION, format!("group `{}` is made of itself", n.name))
                    .at(n.span, "used here")
                    .also(item.name.span, "the group"),
            );
        }
        found.items.push(item);
        found.expr = &item.group.group;
        found.of = found.of.or(item.group.of.as_ref());
    }
    Ok(found)
}

/// Whether an expression is resolved by this module.
pub fn is_slices(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Call { callee, .. } => callee.as_name().is_some_and(|n| n.as_str() == "slices"),
        ExprKind::Slice { .. } => true,
        ExprKind::Binary { op: BinaryOp::Join, .. } => true,
        _ => false,
    }
}

impl Resolver<'_> {
    /// The members of all families that a group of slices stands for. `on` replaces the group's own selection.
    pub fn slice_members(
        &self,
        cx: &mut Cx,
        found: &Found<'_>,
        on: Option<&Expr>,
        except: Option<&Expr>,
        tail: Tail,
    ) -> Res<Vec<Member>> {
        match &found.expr.kind {
            ExprKind::Call { .. } => self.slices(cx, found, on, except, tail),
            _ => match except {
                Some(e) => cx.not_yet(e.span, "`except` with slices that are joined"),
                None => self.join(cx, found, on),
            },
        }
    }

    /// Whether a selection names a value of a function, not weights.
    pub fn is_run_time(&self, e: &Expr) -> bool {
        join::root(e)
            .is_some_and(|n| matches!(self.names.items.get(n.as_str()).map(|i| &i.kind), Some(ItemKind::Fn(_))))
    }
}

/// The words after `on_overlap`.
pub fn overlap(cx: &mut Cx, clause: Option<&Clause<Ident>>) -> Res<Option<Overlap>> {
    let Some(c) = clause else { return Ok(None) };
    match c.value.as_str() {
        "sum" => Ok(Some(Overlap::Sum)),
        "latent" => Ok(Some(Overlap::Latent)),
        "tree" => Ok(Some(Overlap::Tree)),
        other => cx.unknown(c.value.span, "way to treat overlap", other, ["sum", "latent", "tree"]),
    }
}

/// Reports an element that lies in several groups when nothing is said of overlap.
pub fn check_overlap(cx: &mut Cx, g: &GroupRef, members: &[Member], overlap: Option<Overlap>) -> Res<()> {
    let Some((weight, dims)) = crossing(members).filter(|_| matches!(overlap, None | Some(Overlap::Tree))) else {
        return Ok(());
    };
    if overlap == Some(Overlap::Tree) {
        // Of two slices that share elements here, neither holds the other.
        let d = Diagnostic::error(codes::OVERLAP, "`on_overlap tree` is for groups that lie one inside the other")
            .at(g.span, format!("slices cross in `{weight}`"))
            .help("with `sum` an element stays when all of its slices are kept, with `latent` when one of them is");
        return cx.report(d);
    }
    let d = Diagnostic::error(codes::OVERLAP, format!("elements of `{weight}` lie in several groups"));
    let how = if dims.0 == dims.1 { "slices meet in one axis" } else { "slices along two axes cross there" };
    cx.report(d.at(g.span, how).help(
        "with `on_overlap sum` an element stays when all of its slices are kept, with `latent` when one of them is",
    ))
}

/// A weight in which parts of different families, or several parts of one, share elements; and their dimensions.
fn crossing(members: &[Member]) -> Option<(&str, (u32, u32))> {
    let mut seen: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for m in members {
        let Cover::Slices(s) = &m.cover else { continue };
        let before = seen.entry(m.weight.as_str()).or_default();
        for p in &s.parts {
            let meets = |q: &&Part| q.dim != p.dim || (q.start < p.end && p.start < q.end);
            if let Some(q) = before.iter().find(meets) {
                return Some((m.weight.as_str(), (q.dim, p.dim)));
            }
            before.push(*p);
        }
    }
    None
}
