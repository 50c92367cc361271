//! Rewrite rules as named data: a left and a right pattern, an exactness class, and a function that decides whether the rule
//! holds here and computes extra bindings. No rule builds terms by hand, so every union is an instance of two patterns and
//! can be proved again.
use crate::facts::{EGraph, Fact, Facts, Known};
use crate::lang::{In, Lay, Nn, V};
use egg::{Applier, Id, Pattern, PatternAst, Rewrite, Runner, SimpleScheduler, StopReason, Subst, Symbol, Var};
use spc_base::Bug;
use std::time::Duration;

/// What a rule promises about results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exactness {
    /// The same bits.
    Bitwise,
    /// The same sums in another order.
    Reassociates,
}

impl Exactness {
    pub fn letter(self) -> char {
        match self {
            Exactness::Bitwise => 'B',
            Exactness::Reassociates => 'R',
        }
    }
}

/// Structure and fusion run before demands are seeded, lowering after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Structure,
    Fuse,
    Lower,
}

/// Meaning of a pattern variable.
pub(crate) type Look<'a> = &'a dyn Fn(&str) -> Fact;
/// Extra bindings of `?w` (a layout) or `?s` (a linear on offer), one for each way the rule applies. A rule without extra
/// variables gives `None` once.
pub(crate) type Ways = Vec<Option<u32>>;

#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub name: &'static str,
    pub stage: Stage,
    pub class: Exactness,
    pub lhs: &'static str,
    pub rhs: &'static str,
    pub ways: fn(&Known, Look<'_>) -> Ways,
}

fn always(_: &Known, _: Look<'_>) -> Ways {
    vec![None]
}

fn when(holds: bool) -> Ways {
    if holds { vec![None] } else { Vec::new() }
}

/// The pointwise node may join the linear: the model found that nothing else reads it.
fn fusable(k: &Known, look: Look<'_>) -> Ways {
    let (Fact::Node(m), Fact::Node(n)) = (look("?m"), look("?n")) else { return Vec::new() };
    when(k.fuses.get(m as usize).is_some_and(|l| l.contains(&n)))
}

/// The same for a pointwise node that reads other values, too.
fn joinable(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(m) = look("?m") else { return Vec::new() };
    if k.several.get(m as usize) == Some(&true) { fusable(k, look) } else { Vec::new() }
}

fn joinable_folded(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(m) = look("?m") else { return Vec::new() };
    if k.several.get(m as usize) == Some(&true) { fusable_folded(k, look) } else { Vec::new() }
}

/// A pointwise node runs in either order of activations, but for those that read numbers for each feature.
fn runs(k: &Known, look: Look<'_>) -> Ways {
    let (Fact::Node(n), Fact::In(l)) = (look("?n"), look("?l")) else { return Vec::new() };
    when(l == In::Rm || k.by_row.get(n as usize) == Some(&false))
}

fn convertible(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Value(v) = look("?x") else { return Vec::new() };
    when(k.matrix.get(v as usize) == Some(&true))
}

fn unfolds(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    when(k.unfolds.get(n as usize) == Some(&true))
}

fn turns(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    when(k.turns.get(n as usize) == Some(&true))
}

/// The linears on offer of which this one may be a part.
fn mergeable(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    k.merged.get(n as usize).into_iter().flatten().copied().map(Some).collect()
}

/// The values that one rule allows in the place of this one.
fn folded(k: &Known, look: Look<'_>, rule: &str) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    let mine = k.folds.get(n as usize).into_iter().flatten();
    mine.filter(|(r, _)| *r == rule).map(|(_, s)| Some(*s)).collect()
}

/// A value that others may be named by.
fn named(k: &Known, look: Look<'_>) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    when(k.named.get(n as usize) == Some(&true))
}

/// The pointwise node may join the linear that takes the place of what it reads: nothing else would read that.
fn fusable_folded(k: &Known, look: Look<'_>) -> Ways {
    let (Fact::Node(m), Fact::Node(n), Fact::Node(s)) = (look("?m"), look("?n"), look("?s")) else { return Vec::new() };
    when(k.fuses_folded.get(m as usize).is_some_and(|l| l.contains(&(n, s))))
}

/// Every usable layout of one kind for this linear.
fn of_kind(k: &Known, look: Look<'_>, kind: &str) -> Ways {
    let Fact::Node(n) = look("?n") else { return Vec::new() };
    let usable = k.layouts.get(n as usize).into_iter().flatten().copied();
    usable.filter(|l| k.kinds.get(*l as usize) == Some(&kind)).map(Some).collect()
}

/// Every usable layout of one kind that has a token-major kernel.
fn of_kind_rm(k: &Known, look: Look<'_>, kind: &str) -> Ways {
    let rm = |w: &Option<u32>| w.is_some_and(|l| k.acts.get(l as usize).is_some_and(|a| a[1]));
    of_kind(k, look, kind).into_iter().filter(rm).collect()
}

/// Every usable layout with values of 16 bits.
fn of_half(k: &Known, look: Look<'_>) -> Ways {
    let of = |base: &str| ["bf16", "f16"].map(|form| format!("{base}_{form}"));
    let kinds = ["dense", "vx1", "bsr", "nm16"].into_iter().flat_map(of);
    kinds.flat_map(|kind| of_kind_rm(k, look, &kind)).collect()
}

/// Every usable layout, on a GPU: what it has no kernel for was left out before.
fn on_gpu(k: &Known, look: Look<'_>) -> Ways {
    let (true, Fact::Node(n)) = (k.gpu, look("?n")) else { return Vec::new() };
    k.layouts.get(n as usize).into_iter().flatten().map(|l| Some(*l)).collect()
}

/// All rules. Kernels that exist: `dense` in both activation layouts, sparse layouts feature-major, and token-major those for
/// few tokens.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "merge-siblings",
        stage: Stage::Structure,
        class: Exactness::Bitwise,
        lhs: "(linear none ?n ?x)",
        rhs: "(part ?n (linear none ?s ?x))",
        ways: mergeable,
    },
    Rule {
        name: "name-linear",
        stage: Stage::Structure,
        class: Exactness::Bitwise,
        lhs: "(linear none ?n ?x)",
        rhs: "(ref ?n)",
        ways: named,
    },
    Rule {
        name: "name-map",
        stage: Stage::Structure,
        class: Exactness::Bitwise,
        lhs: "(map ?n ?xs ?as)",
        rhs: "(ref ?n)",
        ways: named,
    },
    Rule {
        name: "name-op",
        stage: Stage::Structure,
        class: Exactness::Bitwise,
        lhs: "(op ?n ?xs)",
        rhs: "(ref ?n)",
        ways: named,
    },
    Rule {
        name: "fold-norm",
        stage: Stage::Structure,
        class: Exactness::Reassociates,
        lhs: "(ref ?n)",
        rhs: "(same ?n (ref ?s))",
        ways: |k, look| folded(k, look, "fold-norm"),
    },
    Rule {
        name: "fold-batch-norm",
        stage: Stage::Structure,
        class: Exactness::Reassociates,
        lhs: "(ref ?n)",
        rhs: "(same ?n (ref ?s))",
        ways: |k, look| folded(k, look, "fold-batch-norm"),
    },
    Rule {
        name: "fold-constant",
        stage: Stage::Structure,
        class: Exactness::Reassociates,
        lhs: "(ref ?n)",
        rhs: "(same ?n (ref ?s))",
        ways: |k, look| folded(k, look, "fold-constant"),
    },
    Rule {
        name: "reorder-axis",
        stage: Stage::Structure,
        class: Exactness::Reassociates,
        lhs: "(ref ?n)",
        rhs: "(same ?n (ref ?s))",
        ways: |k, look| folded(k, look, "reorder-axis"),
    },
    Rule {
        name: "split-residual",
        stage: Stage::Structure,
        class: Exactness::Reassociates,
        lhs: "(ref ?n)",
        rhs: "(same ?n (ref ?s))",
        ways: |k, look| folded(k, look, "split-residual"),
    },
    Rule {
        name: "fuse-folded",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons (same ?n (linear none ?s ?x)) nil) nil)",
        rhs: "(linear ?m ?s ?x)",
        ways: fusable_folded,
    },
    Rule {
        name: "fuse-fun",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons (linear none ?n ?x) nil) nil)",
        rhs: "(linear ?m ?n ?x)",
        ways: fusable,
    },
    Rule {
        name: "join-first",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons (linear none ?n ?x) ?rs) ?as)",
        rhs: "(linear (with ?m ?rs ?as) ?n ?x)",
        ways: joinable,
    },
    Rule {
        name: "join-second",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons ?r (cons (linear none ?n ?x) nil)) ?as)",
        rhs: "(linear (with ?m (cons ?r nil) ?as) ?n ?x)",
        ways: joinable,
    },
    Rule {
        name: "join-first-folded",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons (same ?n (linear none ?s ?x)) ?rs) ?as)",
        rhs: "(linear (with ?m ?rs ?as) ?s ?x)",
        ways: joinable_folded,
    },
    Rule {
        name: "join-second-folded",
        stage: Stage::Fuse,
        class: Exactness::Bitwise,
        lhs: "(map ?m (cons ?r (cons (same ?n (linear none ?s ?x)) nil)) ?as)",
        rhs: "(linear (with ?m (cons ?r nil) ?as) ?s ?x)",
        ways: joinable_folded,
    },
    Rule {
        name: "k-dense-rm",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind(k, look, "dense"),
    },
    Rule {
        name: "k-dense-fm",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at fm (linear ?e ?n ?x))",
        rhs: "(k.mm fm ?w ?e ?n (at fm ?x))",
        ways: |k, look| of_kind(k, look, "dense"),
    },
    Rule {
        name: "k-vx1",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at fm (linear ?e ?n ?x))",
        rhs: "(k.mm fm ?w ?e ?n (at fm ?x))",
        ways: |k, look| of_kind(k, look, "vx1"),
    },
    Rule {
        name: "k-bsr",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at fm (linear ?e ?n ?x))",
        rhs: "(k.mm fm ?w ?e ?n (at fm ?x))",
        ways: |k, look| of_kind(k, look, "bsr"),
    },
    Rule {
        name: "k-nm",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at fm (linear ?e ?n ?x))",
        rhs: "(k.mm fm ?w ?e ?n (at fm ?x))",
        ways: |k, look| of_kind(k, look, "nm"),
    },
    Rule {
        name: "k-i8",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| {
            ["i8", "i8nm", "i8csr", "i4nm"].into_iter().flat_map(|kind| of_kind_rm(k, look, kind)).collect()
        },
    },
    Rule {
        name: "k-csr",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at fm (linear ?e ?n ?x))",
        rhs: "(k.mm fm ?w ?e ?n (at fm ?x))",
        ways: |k, look| of_kind(k, look, "csr"),
    },
    Rule {
        name: "k-vx1-rm",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "vx1"),
    },
    Rule {
        name: "k-bsr-rm",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "bsr"),
    },
    Rule {
        name: "k-nm16",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "nm16"),
    },
    Rule {
        name: "k-csr16",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "csr16"),
    },
    Rule {
        name: "k-vnm16",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "vnm16"),
    },
    Rule {
        name: "k-bitmap",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| of_kind_rm(k, look, "bitmap"),
    },
    Rule {
        name: "k-gpu",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: on_gpu,
    },
    Rule {
        name: "k-groups",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: |k, look| ["q4", "q8", "kept4", "kept8"].into_iter().flat_map(|kind| of_kind_rm(k, look, kind)).collect(),
    },
    Rule {
        name: "k-half",
        stage: Stage::Lower,
        class: Exactness::Reassociates,
        lhs: "(at rm (linear ?e ?n ?x))",
        rhs: "(k.mm rm ?w ?e ?n (at rm ?x))",
        ways: of_half,
    },
    Rule {
        name: "k-map",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at ?l (map ?n ?xs ?as))",
        rhs: "(k.map ?l ?n (at ?l ?xs) (at rm ?as))",
        ways: runs,
    },
    Rule {
        name: "k-op",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at rm (op ?n ?xs))",
        rhs: "(k.op ?n (at rm ?xs))",
        ways: always,
    },
    Rule {
        name: "k-unfold",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at fm (op ?n ?xs))",
        rhs: "(k.unfold ?n (at rm ?xs))",
        ways: unfolds,
    },
    Rule {
        name: "k-channels",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at rm (op ?n (cons ?x nil)))",
        rhs: "(k.channels ?n (at fm ?x))",
        ways: turns,
    },
    Rule {
        name: "k-part",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at rm (part ?n ?y))",
        rhs: "(k.part ?n (at rm ?y))",
        ways: always,
    },
    Rule {
        name: "k-same",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at ?l (same ?n ?y))",
        rhs: "(k.same ?n (at ?l ?y))",
        ways: always,
    },
    Rule {
        name: "k-cons",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at ?l (cons ?x ?xs))",
        rhs: "(k.cons (at ?l ?x) (at ?l ?xs))",
        ways: always,
    },
    Rule {
        name: "k-nil",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at ?l nil)",
        rhs: "k.nil",
        ways: always,
    },
    Rule {
        name: "cvt-rm",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at rm ?x)",
        rhs: "(k.cvt rm (at fm ?x))",
        ways: convertible,
    },
    Rule {
        name: "cvt-fm",
        stage: Stage::Lower,
        class: Exactness::Bitwise,
        lhs: "(at fm ?x)",
        rhs: "(k.cvt fm (at rm ?x))",
        ways: convertible,
    },
];

pub(crate) fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}

/// Makes a number a leaf.
type Leaf = fn(u32) -> Nn;

struct Apply {
    lhs: Pattern<Nn>,
    rhs: Pattern<Nn>,
    /// The variable that a way binds, and what it makes a number.
    extra: Option<(Var, Leaf)>,
    ways: fn(&Known, Look<'_>) -> Ways,
}

impl Applier<Nn, Facts> for Apply {
    fn apply_one(
        &self,
        eg: &mut EGraph,
        class: Id,
        subst: &Subst,
        _: Option<&PatternAst<Nn>>,
        rule: Symbol,
    ) -> Vec<Id> {
        let known = eg.analysis.known.clone();
        let ways = (self.ways)(&known, &|name| {
            let id = name.parse::<Var>().ok().and_then(|v| subst.get(v));
            id.map_or(Fact::Malformed, |id| eg[*id].data)
        });
        let mut changed = Vec::new();
        for way in ways {
            let mut s = subst.clone();
            if let (Some((var, leaf)), Some(number)) = (self.extra, way) {
                s.insert(var, eg.add(leaf(number)));
            }
            let (id, new) = if eg.are_explanations_enabled() {
                eg.union_instantiations(&self.lhs.ast, &self.rhs.ast, &s, rule)
            } else {
                let id = eg.add_instantiation(&self.rhs.ast, &s);
                let new = eg.union(class, id);
                (id, new)
            };
            if new {
                changed.push(id);
            }
        }
        changed
    }
}

pub(crate) type Rw = Rewrite<Nn, Facts>;

/// The rules of one stage, for the e-graph.
pub(crate) fn compile(stage: Stage) -> Result<Vec<Rw>, Bug> {
    let bug = |r: &Rule, e: String| Bug::new(format!("rule {}: {e}", r.name));
    let one = |r: &Rule| {
        let parse = |text: &str| text.parse::<Pattern<Nn>>().map_err(|e| bug(r, e.to_string()));
        let (lhs, rhs) = (parse(r.lhs)?, parse(r.rhs)?);
        let leaves: [(&str, Leaf); 2] = [("?w", |n| Nn::Lay(Lay(n))), ("?s", |n| Nn::V(V(n)))];
        let extra = leaves.into_iter().find(|(v, _)| r.rhs.contains(v) && !r.lhs.contains(v));
        let extra = extra.and_then(|(v, leaf)| Some((v.parse().ok()?, leaf)));
        let apply = Apply { lhs: lhs.clone(), rhs, extra, ways: r.ways };
        Rewrite::new(r.name, lhs, apply).map_err(|e| bug(r, e))
    };
    RULES.iter().filter(|r| r.stage == stage).map(one).collect()
}

/// Runs one stage to the end, or to a bound on nodes or iterations. Time never stops it, and every rule sees every match.
/// The second result says which bound was hit, if one was.
pub(crate) fn run(eg: EGraph, rules: &[Rw], nodes: usize, iterations: usize) -> (EGraph, Option<String>) {
    let runner = Runner::<Nn, Facts, ()>::new(eg.analysis.clone())
        .with_egraph(eg)
        .with_scheduler(SimpleScheduler)
        .with_node_limit(nodes)
        .with_iter_limit(iterations)
        .with_time_limit(Duration::MAX)
        .run(rules);
    let stop = match runner.stop_reason {
        Some(StopReason::Saturated) => None,
        Some(StopReason::NodeLimit(n)) => Some(format!("the limit of {n} nodes was reached")),
        Some(StopReason::IterationLimit(n)) => Some(format!("the limit of {n} iterations was reached")),
        other => Some(format!("the search stopped early: {other:?}")),
    };
    (runner.egraph, stop)
}
