//! Constraints: from a sentence to numbers. Selectors become tensors, `in` and `out` become dimensions, tiles sizes.
use crate::cx::{Cx, Res};
use crate::model::Axes;
use crate::module::{Member, Model, ModelTensor};
use crate::roles::Roles;
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Amount, DType, Floor, Keep, Scope, Score, Tail};
use spc_syntax::ast::{self, AmountKind, Arg, Expr, ExprKind, GroupRef, IdxKind, ScopeKind, Sentence, ShareOf};

pub struct Resolver<'a> {
    pub names: &'a Names<'a>,
    pub axes: &'a Axes,
    pub models: &'a [Model],
    pub roles: &'a Roles,
}

/// A tile as written: axis words and sizes.
struct TileSpec<'e> {
    args: &'e [Arg],
    span: Span,
}

impl Resolver<'_> {
    /// All sentences of one constraint, each with the tensors it acts on.
    pub fn keeps(&self, cx: &mut Cx, s: &Sentence) -> Res<Vec<Keep>> {
        let tensors = self.targets(cx, s)?;
        let mut out = Vec::new();
        let mut next = Some(s);
        while let Some(s) = next {
            out.push(self.keep(cx, s, &tensors, !out.is_empty())?);
            next = s.then.as_deref();
        }
        Ok(out)
    }

    /// One sentence; `then` says that it counts only among what the one before kept.
    fn keep(&self, cx: &mut Cx, s: &Sentence, tensors: &[&ModelTensor], then: bool) -> Res<Keep> {
        let c = &s.clauses;
        let later = [
            (c.at.as_ref().map(|c| c.span), "`at`"),
            (c.every.as_ref().map(|c| c.span), "`every`"),
            (c.via.as_ref().map(|c| c.span), "`via`"),
            (c.always.as_ref().map(|c| c.span), "`always`"),
            (c.on_overlap.as_ref().map(|c| c.span), "`on_overlap`"),
            (c.by.as_ref().filter(|b| b.joint).map(|b| b.span), "`by joint`"),
        ];
        for (span, what) in later {
            if let Some(span) = span {
                return cx.not_yet(span, what);
            }
        }
        let group = self.group_tile(cx, &s.group)?;
        let amount = self.amount(cx, &s.amount)?;
        let (scope, scope_tile) = self.scope(cx, c.per.as_ref().map(|p| &p.scope), s.span)?;
        let score = match c.by.as_ref().and_then(|b| b.score.as_ref()) {
            Some(e) => self.score(cx, e)?,
            None if group.is_none() => Score::Abs,
            None => Score::Norm2,
        };
        let tail = match c.tail.as_ref().map(|t| t.value) {
            None => Tail::Exact,
            Some(ast::Tail::Pad) => Tail::Pad,
            Some(ast::Tail::Ragged) => Tail::Ragged,
        };
        let multiple = match &c.multiple {
            Some(m) => self.positive(cx, &m.value)?,
            None => 1,
        };
        let floor = match &c.floor {
            Some(f) => {
                let (scope, tile) = self.scope(cx, Some(&f.scope), f.span)?;
                if tile.is_some() {
                    return cx.not_yet(f.span, "a floor per tile");
                }
                Some(Floor { count: self.positive(cx, &f.amount)?, share: None, scope })
            }
            None => None,
        };
        let mut members = Vec::new();
        for t in tensors {
            members.push(self.member(cx, t, group.as_ref(), scope_tile.as_ref(), tail, (&amount, then), s)?);
        }
        Ok(Keep { score, floor, multiple, tail, ..Keep::new(amount, scope, members) })
    }

    #[allow(clippy::too_many_arguments)]
    fn member(
        &self,
        cx: &mut Cx,
        t: &ModelTensor,
        group: Option<&TileSpec<'_>>,
        scope: Option<&TileSpec<'_>>,
        tail: Tail,
        (amount, then): (&Amount, bool),
        s: &Sentence,
    ) -> Res<spc_ir::Member> {
        let shape: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
        let g = match group {
            Some(spec) => self.tile(cx, t, &shape, spec)?,
            None => vec![1; shape.len()],
        };
        let sc = match scope {
            Some(spec) => self.tile(cx, t, &shape, spec)?,
            None => shape.clone(),
        };
        if tail == Tail::Exact {
            for (tile, spec) in [(&g, group), (&sc, scope)] {
                let Some(spec) = spec else { continue };
                for ((size, n), d) in shape.iter().zip(tile).zip(&t.dims) {
                    if size % n != 0 {
                        return cx.report(
                            Diagnostic::error(codes::TILE, format!("a tile of {n} does not divide axis `{}`", d.axis))
                                .at(spec.span, format!("{size} is not a multiple of {n}"))
                                .also(t.span, format!("`{}` is declared here", t.path))
                                .help("add `pad` or `ragged`, or choose a size that divides"),
                        );
                    }
                }
            }
        }
        if sc.iter().zip(&g).any(|(a, b)| a % b != 0) && tail == Tail::Exact {
            return cx.err(codes::TILE, s.span, "the groups do not divide the scope", "group and scope do not fit");
        }
        if let (Amount::OutOf { n, m }, false) = (amount, then) {
            let inside: u64 = sc.iter().zip(&g).map(|(a, b)| a.div_ceil(*b)).product();
            if inside != *m {
                return cx.report(
                    Diagnostic::error(codes::AMOUNT, format!("`{n} of {m}` needs scopes of exactly {m} groups"))
                        .at(s.amount.span, format!("a scope of `{}` holds {inside}", t.path))
                        .help(format!("say the scope: `per tile(in: {m})`")),
                );
            }
        }
        Ok(spc_ir::Member::tile(&t.path, &shape, &g, &sc, &t.layer))
    }

    /// Tile sizes per stored dimension. Axes that are not named have size 1; `all` is the whole axis.
    fn tile(&self, cx: &mut Cx, t: &ModelTensor, shape: &[u64], spec: &TileSpec<'_>) -> Res<Vec<u64>> {
        let mut out = vec![1u64; shape.len()];
        for a in spec.args {
            let Some(axis) = &a.label else {
                return cx.err(codes::ARGUMENT, a.span, "a tile names its axes", "expected `tile(in: 4)`");
            };
            let dims = self.dims_of(cx, t, axis)?;
            let whole = a.value.as_name().is_some_and(|n| n.as_str() == "all");
            if dims.len() > 1 && !whole {
                let text = format!("`{}` has several `{}` axes", t.path, axis.name);
                return cx.err(codes::ROLE, axis.span, text, "name the axis");
            }
            for d in dims {
                out[d] = if whole { shape[d] } else { self.positive(cx, &a.value)? };
            }
        }
        Ok(out)
    }

    fn dims_of(&self, cx: &mut Cx, t: &ModelTensor, axis: &ast::Ident) -> Res<Vec<usize>> {
        let role = match axis.as_str() {
            "in" => true,
            "out" => false,
            name => {
                let found: Vec<usize> =
                    t.dims.iter().enumerate().filter(|(_, d)| d.axis == name).map(|(i, _)| i).collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                if self.axes.contains_key(name) {
                    let axes = t.dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ");
                    let d = Diagnostic::error(codes::UNKNOWN_AXIS, format!("`{}` has no axis `{name}`", t.path))
                        .at(axis.span, format!("its axes are [{axes}]"))
                        .also(t.span, "declared here");
                    return cx.report(d);
                }
                return crate::model::unknown_axis(cx, self.axes, axis);
            }
        };
        let Some(roles) = self.roles.get(&t.path) else {
            return cx.report(
                Diagnostic::error(
                    codes::ROLE,
                    format!("no product reads `{}`, so it has no `{}` axis", t.path, axis.name),
                )
                .at(axis.span, "which axis is meant?")
                .also(t.span, "declared here")
                .help("name the axis, or leave the tensor out with `except`"),
            );
        };
        let mut out = Vec::new();
        for (i, r) in roles.iter().enumerate() {
            if r.summed && r.kept {
                return cx.report(
                    Diagnostic::error(
                        codes::ROLE,
                        format!("axis `{}` of `{}` is both summed and kept", t.dims[i].axis, t.path),
                    )
                    .at(axis.span, "which axis is meant?")
                    .help("name the axis"),
                );
            }
            if r.summed == role {
                out.push(i);
            }
        }
        Ok(out)
    }

    fn positive(&self, cx: &mut Cx, e: &Expr) -> Res<u64> {
        match e.as_int() {
            Some(n) if n > 0 => Ok(n),
            _ => cx.err(codes::WRONG_KIND, e.span, "a positive whole number is needed here", "not a positive number"),
        }
    }

    fn amount(&self, cx: &mut Cx, a: &ast::Amount) -> Res<Amount> {
        let nothing = |cx: &mut Cx, what: &str| {
            cx.err(codes::KEEPS_NOTHING, a.span, format!("this keeps {what}"), "an amount between is meant")
        };
        match &a.kind {
            AmountKind::Plain(e) => match &e.kind {
                ExprKind::Pct(p) => {
                    if p.num == 0 {
                        return nothing(cx, "nothing");
                    }
                    if p.num >= p.den {
                        return nothing(cx, "everything");
                    }
                    Ok(Amount::Share { num: p.num, den: p.den })
                }
                ExprKind::Num(n) => match n.int {
                    Some(0) => nothing(cx, "nothing"),
                    Some(n) => Ok(Amount::Count(n)),
                    None => self.bare_ratio(cx, e),
                },
                ExprKind::Binary { .. } => self.bare_ratio(cx, e),
                ExprKind::Call { .. } => cx.not_yet(e.span, "a schedule as an amount"),
                _ => cx.err(codes::AMOUNT, e.span, "this is no amount", "expected `25%`, `20` or `2 of 4`"),
            },
            AmountKind::Of { part, of } => {
                let ShareOf::Count(m) = of else { return cx.not_yet(of.span(), "a budget") };
                match (part.as_int(), m.int) {
                    (Some(0), _) => nothing(cx, "nothing"),
                    (Some(n), Some(m)) if n == m => nothing(cx, "everything"),
                    (Some(n), Some(m)) if n < m => Ok(Amount::OutOf { n, m }),
                    _ => {
                        let text = "`n of m` takes two whole numbers, n below m";
                        cx.err(codes::AMOUNT, a.span, text, "expected for example `2 of 4`")
                    }
                }
            }
            AmountKind::Above(e) => match &e.kind {
                ExprKind::Num(n) => Ok(Amount::Above(n.value)),
                _ => cx.err(codes::AMOUNT, e.span, "`above` takes a number", "not a number"),
            },
        }
    }

    fn bare_ratio<T>(&self, cx: &mut Cx, e: &Expr) -> Res<T> {
        cx.report(
            Diagnostic::error(codes::BARE_RATIO, "a bare ratio is ambiguous")
                .at(e.span, "kept or removed?")
                .help("say what is kept: `40%` or `2 of 4`"),
        )
    }

    /// The group as a tile; `None` is single elements.
    fn group_tile<'e>(&'e self, cx: &mut Cx, g: &'e GroupRef) -> Res<Option<TileSpec<'e>>> {
        match &g.group.kind {
            ExprKind::Name(n) if n.as_str() == "elements" => Ok(None),
            ExprKind::Name(n) => match self.names.group(&n.name) {
                Some(item) if item.binder.is_empty() && item.cost.is_none() && item.energy.is_none() => {
                    if item.group.group.as_name().is_some_and(|m| m.as_str() != "elements") {
                        return cx.not_yet(g.group.span, "a group of a group");
                    }
                    self.group_tile(cx, &item.group)
                }
                Some(_) => cx.not_yet(g.group.span, "an indexed or weighted group"),
                None if matches!(n.as_str(), "tensors") => cx.not_yet(n.span, "`tensors` as a group"),
                None => {
                    let known: Vec<&str> = ["elements"].into_iter().chain(self.names.known()).collect();
                    cx.unknown(n.span, "group", &n.name, known)
                }
            },
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "tile") => {
                Ok(Some(TileSpec { args, span: g.group.span }))
            }
            _ => cx.not_yet(g.group.span, "this group"),
        }
    }

    fn scope<'e>(&self, cx: &mut Cx, s: Option<&'e ast::Scope>, span: Span) -> Res<(Scope, Option<TileSpec<'e>>)> {
        let Some(s) = s else {
            return cx.report(
                Diagnostic::error(codes::AMOUNT, "the sentence does not say over which set the amount is counted")
                    .at(span, "no `per`")
                    .help("add `per tensor`, `per layer`, `per model` or `per tile(in: 4)`"),
            );
        };
        Ok(match &s.kind {
            ScopeKind::Tensor => (Scope::Tensor, None),
            ScopeKind::Layer => (Scope::Layer, None),
            ScopeKind::Model => (Scope::Model, None),
            ScopeKind::Expr(e) => match &e.kind {
                ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "tile") => {
                    (Scope::Tile, Some(TileSpec { args, span: e.span }))
                }
                _ => return cx.not_yet(e.span, "this scope"),
            },
        })
    }

    fn score(&self, cx: &mut Cx, e: &Expr) -> Res<Score> {
        match &e.kind {
            ExprKind::Name(n) => match n.as_str() {
                "abs" => Ok(Score::Abs),
                "norm1" => Ok(Score::Norm1),
                "norm2" => Ok(Score::Norm2),
                other => cx.unknown(n.span, "score", other, ["abs", "norm1", "norm2", "random"]),
            },
            ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "random") => {
                match args.as_slice() {
                    [a] => match a.value.as_int() {
                        Some(seed) => Ok(Score::Random(seed)),
                        None => cx.err(codes::ARGUMENT, a.span, "`random` takes a seed", "not a whole number"),
                    },
                    _ => cx.err(codes::ARGUMENT, e.span, "`random` takes a seed", "expected `random(7)`"),
                }
            }
            _ => cx.not_yet(e.span, "this score"),
        }
    }

    /// The tensors that a sentence acts on, in declared order.
    fn targets(&self, cx: &mut Cx, s: &Sentence) -> Res<Vec<&ModelTensor>> {
        let group_of = || match s.group.group.as_name() {
            Some(n) => self.names.group(&n.name).and_then(|g| g.group.of.as_ref()),
            None => None,
        };
        // A selector at the end of `keep .. then keep ..` stands in the last sentence and is meant for all.
        let chain = || std::iter::successors(Some(s), |s| s.then.as_deref());
        let written = chain().find_map(|s| s.clauses.on.as_ref()).map(|c| &c.value);
        let on = written.or(s.group.of.as_ref()).or_else(group_of);
        let mut chosen: Vec<(usize, usize)> = Vec::new();
        match on {
            Some(e) => chosen.extend(self.select(cx, e)?),
            None => {
                for (m, model) in self.models.iter().enumerate() {
                    chosen.extend((0..model.tensors.len()).filter(|t| self.prunable(m, *t)).map(|t| (m, t)));
                }
            }
        }
        if let Some(except) = chain().find_map(|s| s.clauses.except.as_ref()) {
            let out = self.select(cx, &except.value)?;
            chosen.retain(|c| !out.contains(c));
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

    /// What a wildcard means: f32, two or more axes, read by a product.
    fn prunable(&self, m: usize, t: usize) -> bool {
        let t = &self.models[m].tensors[t];
        t.dtype == DType::F32 && t.dims.len() >= 2 && self.roles.contains_key(&t.path)
    }

    /// Tensors under a selector: those named are taken as they are, those under a wildcard if they are prunable.
    pub fn select(&self, cx: &mut Cx, e: &Expr) -> Res<Vec<(usize, usize)>> {
        let mut out = Vec::new();
        for (m, member) in self.walk(cx, e)? {
            let exact = matches!(member, Member::Tensor(_));
            let mut all = Vec::new();
            tensors_below(member, &mut all);
            out.extend(all.into_iter().filter(|t| exact || self.prunable(m, *t)).map(|t| (m, t)));
        }
        Ok(out)
    }

    fn walk(&self, cx: &mut Cx, e: &Expr) -> Res<Vec<(usize, &Member)>> {
        match &e.kind {
            ExprKind::Name(n) => match self.models.iter().position(|m| m.name == n.name) {
                Some(m) => Ok(vec![(m, &self.models[m].root)]),
                None => {
                    let known: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
                    cx.unknown(n.span, "model", &n.name, known)
                }
            },
            ExprKind::Member { base, name } => self.children(cx, base, std::slice::from_ref(name)),
            ExprKind::Pick { base, names } => self.children(cx, base, names),
            ExprKind::Star { base } => {
                let mut out = Vec::new();
                for (m, member) in self.walk(cx, base)? {
                    match member {
                        Member::Record(map) => {
                            for child in map.values() {
                                // A tensor reached by `*` counts as under a wildcard.
                                match child {
                                    Member::Tensor(t) if !self.prunable(m, *t) => {}
                                    _ => out.push((m, child)),
                                }
                            }
                        }
                        Member::Family { items, .. } => out.extend(items.iter().map(|i| (m, i))),
                        Member::Tensor(_) => {}
                    }
                }
                Ok(out)
            }
            ExprKind::Index { base, idx } => {
                let mut out = Vec::new();
                for (m, member) in self.walk(cx, base)? {
                    let Member::Family { items, .. } = member else {
                        return cx.err(codes::WRONG_KIND, e.span, "only a repeated group is indexed", "not repeated");
                    };
                    match idx.as_slice() {
                        [ast::Idx { kind: IdxKind::Expr(i), .. }] => match i.as_int() {
                            Some(n) => match items.get(n as usize) {
                                Some(item) => out.push((m, item)),
                                None => return cx.err(codes::INDEX, i.span, "the index is out of range", "here"),
                            },
                            None => out.extend(items.iter().map(|i| (m, i))),
                        },
                        _ => return cx.err(codes::RANK, e.span, "one index is needed", "here"),
                    }
                }
                Ok(out)
            }
            _ => cx.err(codes::WRONG_KIND, e.span, "this selects no tensors", "expected `net.layer.*.{a, b}`"),
        }
    }

    fn children(&self, cx: &mut Cx, base: &Expr, names: &[ast::Ident]) -> Res<Vec<(usize, &Member)>> {
        let mut out = Vec::new();
        for (m, member) in self.walk(cx, base)? {
            let Member::Record(map) = member else {
                let help = matches!(member, Member::Family { .. });
                let mut d = Diagnostic::error(codes::UNKNOWN_MEMBER, "this has no members")
                    .at(base.span, "not a group of named tensors");
                if help {
                    d = d.help("a repeated group is taken whole by `.*`, or by index: `layer.*.up`");
                }
                return cx.report(d);
            };
            for n in names {
                match map.get(&n.name) {
                    Some(child) => out.push((m, child)),
                    None => {
                        let mut d = Diagnostic::error(
                            codes::NOTHING_MATCHED,
                            format!("no tensor `{}` is declared here", n.name),
                        )
                        .at(n.span, "matches nothing");
                        if let Some(near) = crate::cx::closest(&n.name, map.keys().map(String::as_str)) {
                            d = d.help(format!("did you mean `{near}`?")).fix(n.span, near);
                        }
                        return cx.report(d);
                    }
                }
            }
        }
        Ok(out)
    }
}

fn tensors_below(m: &Member, out: &mut Vec<usize>) {
    match m {
        Member::Tensor(t) => out.push(*t),
        Member::Record(map) => map.values().for_each(|c| tensors_below(c, out)),
        Member::Family { items, .. } => items.iter().for_each(|c| tensors_below(c, out)),
    }
}
