//! The whole of checking: names, axes, models, data, functions, constraints, jobs, in this order.
use crate::calls;
use crate::consts::Consts;
use crate::cx::{Cx, Res};
use crate::elab::{self, Program};
use crate::front::ABSENT;
use crate::group::{self, Coupled};
use crate::jobs::Jobs;
use crate::library::Library;
use crate::memory::{Gave, Memory, Open};
use crate::module::{Data, Model, Module, Require};
use crate::require::{self, Resolver};
use crate::roles::{self, Roles};
use crate::runtime::{self, RunTime};
use crate::scope::Names;
use crate::{data, init, method, model, pattern, time};
use spc_base::{Diagnostic, Limits, Span, codes, has_errors};
use spc_ir::Graph;
use spc_ir::method::{Moment, Rules};
use spc_syntax::ast::{self, Ast, ItemKind};
use std::collections::{BTreeMap, BTreeSet};

/// What checking gives: the module, the graph of every entry function that could be elaborated, and the diagnostics.
#[derive(Clone, Debug)]
pub struct Checked {
    pub module: Module,
    /// By function name, before any pass. Each carries the constraints on the weights it reads.
    pub graphs: BTreeMap<String, Graph>,
    /// The dense meaning of the functions on whose values a constraint acts; for all others it is the same graph.
    pub dense: BTreeMap<String, Graph>,
    /// Types of the values that statements of the root file assign, by the span of the name.
    pub types: BTreeMap<Span, spc_ir::Type>,
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    pub fn has_errors(&self) -> bool {
        has_errors(&self.diagnostics)
    }
}

/// Checks a root file against the standard library. `text` is its source, for quoting words.
pub fn check(ast: &Ast, text: &str, lib: &Library, limits: &Limits) -> Checked {
    check_at(ast, text, lib, limits, Moment::END)
}

/// As [`check`], with schedules at another moment of the run than its end.
pub fn check_at(ast: &Ast, text: &str, lib: &Library, limits: &Limits, moment: Moment) -> Checked {
    check_knowing(ast, text, lib, limits, moment, None)
}

/// As [`check_at`], with what is known of an earlier version of the text. The memory then knows this one.
pub fn check_knowing(
    ast: &Ast,
    text: &str,
    lib: &Library,
    limits: &Limits,
    moment: Moment,
    memory: Option<&mut Memory>,
) -> Checked {
    let mut cx = Cx::default();
    let names = Names::collect(&mut cx, ast, lib);
    let axes = model::collect_axes(&mut cx, ast);
    // A second definition leaves the first one in place.
    let named = !cx.diags.iter().any(|d| d.is_error() && d.code != codes::DUPLICATE);
    refuse_later_items(&mut cx, ast);
    time::check_schedules(&mut cx, &names, ast);
    method::check_methods(&mut cx, &names, ast);

    let (mut models, mut sources) = (Vec::new(), Vec::new());
    let mut whole = true;
    for item in &ast.items {
        if let ItemKind::Model(m) = &item.kind {
            match model::model(&mut cx, &axes, m, item.span) {
                // A second one of a name was reported; the first is meant everywhere.
                Ok(m) if models.iter().any(|first: &Model| first.name == m.name) => {}
                Ok(m) => models.push(m),
                Err(_) => whole = false,
            }
        }
    }
    let named_models: Vec<&str> = ast
        .items
        .iter()
        .filter_map(|i| if let ItemKind::Model(m) = &i.kind { Some(m.name.as_str()) } else { None })
        .collect();
    for item in &ast.items {
        if let ItemKind::Data(d) = &item.kind {
            let d = data::data(&mut cx, &axes, &named_models, d, item.span).ok();
            sources.extend(d.filter(|d| sources.iter().all(|first: &Data| first.name != d.name)));
        }
    }

    let consts = Consts::collect(&mut cx, &names);
    let functions = ast.items.iter().filter_map(|i| if let ItemKind::Fn(f) = &i.kind { Some(f) } else { None });
    let functions: Vec<(&ast::FnItem, bool)> = functions.map(|f| (f, signature(&mut cx, &axes, f).is_ok())).collect();

    // Names, axes or a model that are broken would make every function that reads them look broken too.
    let sound = named && whole;
    let program = Program::new(&names, &axes, &models, &consts, *limits);
    let mut memory = memory.filter(|_| sound).map(|m| m.open(&program, &names, ast, text));
    let (mut graphs, mut entries) = (BTreeMap::new(), Vec::new());
    for (f, known) in functions.into_iter().filter(|(f, _)| sound && elab::is_entry(f, &axes)) {
        entries.push(f.name.name.clone());
        if known && let Ok(g) = entry_graph(&mut cx, &program, f, memory.as_mut()) {
            graphs.insert(f.name.name.clone(), g);
        }
    }
    if let Some(m) = memory {
        m.close(&entries);
    }
    if sound {
        unreached(&mut cx, &program, ast, text);
    }
    for item in ast.items.iter().filter(|_| sound) {
        if let ItemKind::Mask(m) = &item.kind
            && !cx.reached.contains(&m.name.name)
        {
            let _ = elab::check_mask_alone(&mut cx, &program, None, m);
        }
        if let ItemKind::Score(s) = &item.kind
            && !cx.reached.contains(&s.name.name)
            && elab::is_value_score(s)
        {
            let f = ast::FnItem { name: s.name.clone(), sig: s.sig.clone() };
            let _ = elab::check_alone(&mut cx, &program, None, &f);
        }
    }
    let complete = sound && graphs.len() == entries.len();

    let mut roles = Roles::new();
    for g in graphs.values() {
        if let Err(bug) = roles::collect(g, &mut roles) {
            cx.diags.push(Diagnostic::error(codes::TYPE, bug.to_string()));
        }
    }
    let moment = time::length(ast).map_or(moment, |n| moment.of(n));
    let elaborated = graphs.clone();
    let coupled = Coupled::new(&elaborated, &calls::roots(ast));
    let resolver = Resolver {
        names: &names,
        axes: &axes,
        models: &models,
        data: &sources,
        roles: &roles,
        graphs: &elaborated,
        coupled: &coupled,
        moment,
    };
    let mut core = ast.clone();
    let (mut requires, mut updates) = (Vec::new(), Vec::new());
    let mut required: BTreeSet<String> = BTreeSet::new();
    let mut run_time: Vec<RunTime> = Vec::new();
    let mut links = Vec::new();
    for (item, out) in ast.items.iter().zip(&mut core.items) {
        let ItemKind::Require(r) = &item.kind else { continue };
        let Ok(mut sentence) = pattern::expand(&mut cx, &names, &r.what) else { continue };
        let core_item = |sentence: &ast::Sentence| {
            ItemKind::Require(ast::RequireItem { name: r.name.clone(), what: ast::Require::Sentence(sentence.clone()) })
        };
        out.kind = core_item(&sentence);
        let taken = |n: &str| required.contains(n) || names.items.contains_key(n);
        let name = match &r.name {
            Some(n) => n.name.clone(),
            None => (requires.len() + 1..).map(|i| format!("require{i}")).find(|n| !taken(n)).unwrap_or_default(),
        };
        // The second of two that share a name was reported.
        if r.name.is_some() && required.contains(&name) {
            continue;
        }
        if !sound {
            continue;
        }
        match runtime::run_time(&mut cx, &names, &name, &sentence, item.span) {
            Ok(None) => {}
            Ok(Some(r)) => {
                run_time.push(r);
                continue;
            }
            Err(_) => continue,
        }
        match resolver.link_choice(&mut cx, &sentence, &name, item.span) {
            Ok(None) => {}
            Ok(Some(l)) => {
                links.push(l);
                continue;
            }
            Err(_) => continue,
        }
        let Ok(update) = method::rules::update_of(&mut cx, &names, &sentence) else { continue };
        let before = cx.diags.len();
        let keeps = resolver.keeps(&mut cx, &mut sentence);
        out.kind = core_item(&sentence);
        if !complete {
            // What the missing functions would have read is not known.
            drop_absent(&mut cx, before);
        } else if let Ok(keeps) = keeps {
            required.insert(name.clone());
            requires.push(Require { name, sentence, keeps, span: item.span });
            updates.push(update);
        }
    }
    require::check_order(&mut cx, &requires);
    let mut quantizes = Vec::new();
    for item in ast.items.iter().filter(|_| complete) {
        let ItemKind::Quantize(q) = &item.kind else { continue };
        let number = quantizes.len() + 1;
        let name = q.name.as_ref().map_or_else(|| format!("quantize{number}"), |n| n.name.clone());
        quantizes.extend(resolver.quantize(&mut cx, q, item.span, name).ok());
    }
    require::check_twice(&mut cx, &quantizes);
    let groups = if complete { group::check_items(&mut cx, &resolver, ast) } else { Vec::new() };
    let mut dense = if complete && !run_time.is_empty() {
        runtime::choices(&mut cx, &program, ast, &run_time, moment, &mut graphs)
    } else {
        BTreeMap::new()
    };
    attach(graphs.values_mut().chain(dense.values_mut()), &requires);

    let trains = method::train::trains(&mut cx, &names, ast);
    for (name, _, span) in trains.iter().flat_map(|t| &t.phases).flat_map(|p| &p.vias) {
        if run_time.iter().any(|r| r.name == *name) {
            let text = format!("`{name}` chooses among values of a call, and only weights have an update");
            let _: Res<()> = cx.err(codes::WRONG_KIND, *span, text, "this cannot be said here");
        }
    }
    let before = cx.diags.len();
    let rules = if sound {
        method::rules::rules(&mut cx, &resolver, ast, &requires, &updates, &trains)
    } else {
        Rules::default()
    };
    if !complete {
        drop_absent(&mut cx, before);
    }

    let (mut runs, mut targets, mut plans, mut expects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    {
        let jobs =
            Jobs { names: &names, axes: &axes, models: &models, data: &sources, consts: &consts, graphs: &graphs };
        for item in &ast.items {
            match &item.kind {
                ItemKind::Run(r) if sound => runs.extend(jobs.run(&mut cx, r, item.span).ok()),
                ItemKind::Target(t) => targets.extend(jobs.target(&mut cx, t, item.span).ok()),
                ItemKind::Plan(p) if sound => plans.extend(jobs.plan(&mut cx, p, &resolver, item.span).ok()),
                ItemKind::Expect(e) if sound => {
                    expects.extend(jobs.expect(&mut cx, e, &resolver).ok());
                }
                _ => {}
            }
        }
    }

    // What a file holds that is not read yet is not known, so nothing can be said to be missing from it.
    let open: Vec<&str> = models.iter().filter(|m| m.open).map(|m| m.name.as_str()).collect();
    cx.diags.retain(|d| {
        let at = d.primary.as_ref().map(|l| l.span);
        let words = at.and_then(|s| text.get(s.start as usize..s.end as usize)).unwrap_or_default();
        d.code != codes::NOTHING_MATCHED || !open.contains(&words.split('.').next().unwrap_or_default())
    });
    cx.diags.truncate(limits.diagnostics);
    let consts = consts.listed(ast);
    let choices = run_time.into_iter().map(RunTime::listed).collect();
    let ast = ast.clone();
    init::fans(&mut models, &roles);
    let module = Module {
        axes,
        consts,
        models,
        data: sources,
        groups,
        requires,
        choices,
        links,
        quantizes,
        runs,
        targets,
        plans,
        expects,
        trains,
        rules,
        entries,
        core,
        ast,
    };
    Checked { module, graphs, dense, types: cx.types, diagnostics: cx.diags }
}

/// The graph of an entry function: the one that is known, else a new one.
fn entry_graph(cx: &mut Cx, p: &Program<'_>, f: &ast::FnItem, memory: Option<&mut Open<'_, '_>>) -> Res<Graph> {
    if let Some(gave) = memory.as_ref().and_then(|m| m.recall(f))
        && !cx.is_full()
        && cx.can_spend(gave.work)
    {
        return Ok(cx.add(gave));
    }
    let mut part = cx.part();
    let graph = elab::elaborate(&mut part, p, f);
    if let (Ok(graph), [], Some(memory)) = (&graph, part.diags.as_slice(), memory) {
        let (types, reached, work) = (part.types.clone(), part.reached.clone(), cx.spent_in(&part));
        memory.keep(f, Gave { graph: graph.clone(), types, reached, work });
    }
    cx.join(part);
    graph
}

/// Drops the diagnostics after the first `from` that only say that something does not exist.
fn drop_absent(cx: &mut Cx, from: usize) {
    let mut at = 0;
    cx.diags.retain(|d| {
        at += 1;
        at <= from || !ABSENT.contains(&d.code)
    });
}

/// What can be said of a function without a call: distinct names and known types. A misspelt type would otherwise make
/// an entry function one that nobody calls.
fn signature(cx: &mut Cx, axes: &model::Axes, f: &ast::FnItem) -> Res<()> {
    let results = f.sig.results.iter().flat_map(|r| &r.list);
    let lists = [
        ("parameter", f.sig.params.iter().map(|p| &p.name).collect::<Vec<_>>()),
        ("result", results.clone().map(|r| &r.name).collect()),
    ];
    for (what, names) in lists {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for n in names {
            if let Some(first) = seen.insert(n.as_str(), n.span) {
                let text = format!("the {what} `{}` is declared twice", n.name);
                let d = Diagnostic::error(codes::DUPLICATE, text).at(n.span, "declared again here");
                return cx.report(d.also(first, "first declared here"));
            }
        }
    }
    axis_parameters(cx, axes, f);
    if elab::is_entry(f, axes) {
        return Ok(());
    }
    for ty in f.sig.params.iter().filter_map(|p| p.ty.as_ref()).chain(results.filter_map(|r| r.ty.as_ref())) {
        known_type(cx, ty)?;
    }
    Ok(())
}

/// Checks the functions that no entry function reaches, callers before those that they call.
fn unreached(cx: &mut Cx, program: &Program<'_>, ast: &Ast, text: &str) {
    let functions: Vec<(&ast::FnItem, Span)> =
        ast.items.iter().filter_map(|i| if let ItemKind::Fn(f) = &i.kind { Some((f, i.span)) } else { None }).collect();
    if functions.iter().all(|(f, _)| cx.reached.contains(&f.name.name)) {
        return;
    }
    // Words are enough: a function that is taken for a called one is looked at in the second round.
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for (f, span) in &functions {
        let body = text.get(span.start as usize..span.end as usize).unwrap_or_default();
        let words = body.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        named.extend(words.filter(|w| *w != f.name.name));
    }
    for first in [true, false] {
        for (f, _) in &functions {
            if cx.reached.contains(&f.name.name) || first == named.contains(f.name.as_str()) {
                continue;
            }
            if !first && has_errors(&cx.diags) {
                return;
            }
            outside(cx, program, f);
            let _ = elab::check_alone(cx, program, None, f);
        }
    }
}

/// A function of tensors that only an undeclared axis keeps from being called from outside.
fn outside(cx: &mut Cx, program: &Program<'_>, f: &ast::FnItem) {
    let tensor = |p: &ast::Param| {
        matches!(p.ty.as_ref().map(|t| &t.kind),
            Some(ast::TypeKind::Named { name, shape: Some(_), .. }) if elab::is_tensor_type(name.as_str()))
    };
    let Some((axis, span)) = elab::undeclared(f, program.axes).filter(|(a, _)| *a != "..") else { return };
    let warned = cx.diags.iter().filter(|d| d.code == codes::AXIS_PARAMETER).filter_map(|d| d.primary.as_ref());
    let again =
        warned.map(|l| l.span).any(|s| s.file == span.file && s.start >= f.name.span.start && s.start <= span.start);
    if f.sig.params.iter().all(tensor) && !f.sig.params.is_empty() && !again {
        let text = format!("`{}` cannot be called from outside: its axis `{axis}` is not declared", f.name.name);
        cx.diags.push(
            Diagnostic::warning(codes::AXIS_PARAMETER, text)
                .at(span, "an axis parameter, and no function brings an axis for it")
                .help(format!("declare it: `axis {axis} = 1..512` if each call binds its size")),
        );
    }
}

/// Types of parameters that are no tensors of the language's own types.
fn is_kind(name: &str) -> bool {
    elab::is_static_type(name) || matches!(name, "relation" | "mask" | "fn" | "cache" | "data" | "score" | "schedule")
}

/// An axis parameter that may be a misspelt axis: it occurs once in the signature, or is one edit from a declared axis.
fn axis_parameters(cx: &mut Cx, axes: &model::Axes, f: &ast::FnItem) {
    let mut uses: BTreeMap<&str, (Span, usize)> = BTreeMap::new();
    let results = f.sig.results.iter().flat_map(|r| &r.list).filter_map(|r| r.ty.as_ref());
    for ty in f.sig.params.iter().filter_map(|p| p.ty.as_ref()).chain(results) {
        count_axes(ty, &mut uses);
    }
    let computed: Vec<&str> = f.sig.sizes.iter().map(|s| s.name.as_str()).collect();
    let mut text = Vec::new();
    for s in f.sig.sizes.iter().filter_map(|s| s.value.as_ref()) {
        words(s, &mut text);
    }
    for (name, (span, count)) in uses {
        if axes.contains_key(name) || computed.contains(&name) {
            continue;
        }
        let near = crate::cx::closest(name, axes.keys().map(String::as_str)).filter(|n| spc_base::one_edit(name, n));
        if near.is_none() && (count > 1 || text.contains(&name)) {
            continue;
        }
        let mut d =
            Diagnostic::warning(codes::AXIS_PARAMETER, format!("`{name}` is no axis of this file, so any axis fits"))
                .at(span, if count == 1 { "an axis parameter that occurs once" } else { "an axis parameter" });
        d = match near {
            Some(near) => d.help(format!("did you mean `{near}`?")).fix(span, near),
            None => d.help(format!("declare it if it is meant to be one axis: `axis {name} = 1..512`")),
        };
        cx.diags.push(d);
    }
}

fn count_axes<'t>(ty: &'t ast::Type, uses: &mut BTreeMap<&'t str, (Span, usize)>) {
    match &ty.kind {
        ast::TypeKind::Named { shape, mask_axes, .. } => {
            for d in shape.iter().flatten() {
                let names: &[ast::Ident] = match &d.kind {
                    ast::DimKind::Axis(a) => std::slice::from_ref(a),
                    ast::DimKind::Composite(parts) => parts,
                    ast::DimKind::Size(_) | ast::DimKind::Rest => &[],
                };
                names.iter().for_each(|a| uses.entry(a.as_str()).or_insert((a.span, 0)).1 += 1);
            }
            mask_axes.iter().for_each(|a| uses.entry(a.as_str()).or_insert((a.span, 0)).1 += 1);
        }
        ast::TypeKind::Record(members) => members.iter().for_each(|m| count_axes(&m.ty, uses)),
        ast::TypeKind::Like { .. } => {}
    }
}

/// Names that occur in a computed size.
fn words<'e>(e: &'e ast::Expr, out: &mut Vec<&'e str>) {
    match &e.kind {
        ast::ExprKind::Name(n) => out.push(n.as_str()),
        ast::ExprKind::Unary { arg, .. } => words(arg, out),
        ast::ExprKind::Binary { lhs, rhs, .. } => {
            words(lhs, out);
            words(rhs, out);
        }
        _ => {}
    }
}

fn known_type(cx: &mut Cx, ty: &ast::Type) -> Res<()> {
    match &ty.kind {
        ast::TypeKind::Named { name, .. } if !is_kind(name.as_str()) => model::dtype(cx, name).map(|_| ()),
        ast::TypeKind::Record(members) => members.iter().try_for_each(|m| known_type(cx, &m.ty)),
        _ => Ok(()),
    }
}

/// Gives each graph the constraints on the weights it reads, in file order.
fn attach<'g>(graphs: impl Iterator<Item = &'g mut Graph>, requires: &[Require]) {
    let on = require::by_weight(requires);
    for g in graphs {
        let touching: BTreeSet<usize> =
            g.weights().iter().filter_map(|(n, _)| on.get(n.as_str())).flatten().copied().collect();
        g.requires.extend(
            touching
                .into_iter()
                .filter_map(|i| requires.get(i))
                .map(|r| spc_ir::Require { name: r.name.clone(), keeps: r.keeps.clone() }),
        );
    }
}

/// Items that parse but that this version cannot check.
fn refuse_later_items(cx: &mut Cx, ast: &Ast) {
    for item in &ast.items {
        if let ItemKind::Score(s) = &item.kind
            && (elab::is_value_score(s) || method::scores_weights(s))
        {
            continue;
        }
        let later = matches!(item.kind, ItemKind::Score(_));
        if later {
            let word = item.kind.word();
            let mut span = item.span;
            span.end = span.end.min(span.start + word.len() as u32);
            let _ = cx.not_yet::<()>(span, &format!("`{word}`"));
        }
    }
}
