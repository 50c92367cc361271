//! The whole of checking: names, axes, models, data, functions, constraints, jobs, in this order.
use crate::cx::{Cx, Res};
use crate::elab::{self, Program};
use crate::front::ABSENT;
use crate::jobs::Jobs;
use crate::library::Library;
use crate::module::{Module, Require};
use crate::require::Resolver;
use crate::roles::{self, Roles};
use crate::scope::Names;
use crate::{method, model, pattern, time};
use spc_base::{Diagnostic, Limits, Span, codes, has_errors};
use spc_ir::Graph;
use spc_ir::method::Rules;
use spc_syntax::ast::{self, Ast, ItemKind};
use std::collections::BTreeMap;

/// What checking gives: the module, the graph of every entry function that could be elaborated, and the diagnostics.
#[derive(Clone, Debug)]
pub struct Checked {
    pub module: Module,
    /// By function name, before any pass. Each carries the constraints on the weights it reads.
    pub graphs: BTreeMap<String, Graph>,
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
    let mut cx = Cx::default();
    let names = Names::collect(&mut cx, ast, lib);
    let axes = model::collect_axes(&mut cx, ast);
    // A second definition leaves the first one in place.
    let named = !cx.diags.iter().any(|d| d.is_error() && d.code != codes::DUPLICATE);
    refuse_later_items(&mut cx, ast);
    time::check_schedules(&mut cx, &names, ast);
    method::check_methods(&mut cx, &names, ast);

    let (mut models, mut data) = (Vec::new(), Vec::new());
    let mut whole = true;
    for item in &ast.items {
        match &item.kind {
            ItemKind::Model(m) => match model::model(&mut cx, &axes, m, item.span) {
                Ok(m) => models.push(m),
                Err(_) => whole = false,
            },
            ItemKind::Data(d) => data.extend(model::data(&mut cx, &axes, d, item.span).ok()),
            _ => {}
        }
    }

    let functions = ast.items.iter().filter_map(|i| if let ItemKind::Fn(f) = &i.kind { Some(f) } else { None });
    let functions: Vec<(&ast::FnItem, bool)> = functions.map(|f| (f, signature(&mut cx, f).is_ok())).collect();

    // Names, axes or a model that are broken would make every function that reads them look broken too.
    let sound = named && whole;
    let program = Program { names: &names, axes: &axes, models: &models, limits: *limits };
    let (mut graphs, mut entries) = (BTreeMap::new(), Vec::new());
    for (f, known) in functions.into_iter().filter(|(f, _)| sound && elab::is_entry(f)) {
        entries.push(f.name.name.clone());
        if known && let Ok(g) = elab::elaborate(&mut cx, &program, f) {
            graphs.insert(f.name.name.clone(), g);
        }
    }
    let complete = sound && graphs.len() == entries.len();

    let mut roles = Roles::new();
    for g in graphs.values() {
        if let Err(bug) = roles::collect(g, &mut roles) {
            cx.diags.push(Diagnostic::error(codes::TYPE, bug.to_string()));
        }
    }
    let resolver = Resolver { names: &names, axes: &axes, models: &models, roles: &roles };
    let mut core = ast.clone();
    let (mut requires, mut updates) = (Vec::new(), Vec::new());
    for (item, out) in ast.items.iter().zip(&mut core.items) {
        let ItemKind::Require(r) = &item.kind else { continue };
        let Ok(sentence) = pattern::expand(&mut cx, &names, &r.what) else { continue };
        out.kind = ItemKind::Require(ast::RequireItem {
            name: r.name.clone(),
            what: ast::Require::Sentence(sentence.clone()),
        });
        let taken = |n: &str| requires.iter().any(|r: &Require| r.name == n) || names.items.contains_key(n);
        let name = match &r.name {
            Some(n) => n.name.clone(),
            None => (requires.len() + 1..).map(|i| format!("require{i}")).find(|n| !taken(n)).unwrap_or_default(),
        };
        // The second of two that share a name was reported.
        if r.name.is_some() && requires.iter().any(|r| r.name == name) {
            continue;
        }
        if !sound {
            continue;
        }
        let Ok((plain, update)) = method::rules::without_via(&mut cx, &resolver, &sentence) else { continue };
        let before = cx.diags.len();
        let keeps = resolver.keeps(&mut cx, &plain);
        if !complete {
            // What the missing functions would have read is not known.
            drop_absent(&mut cx, before);
        } else if let Ok(keeps) = keeps {
            requires.push(Require { name, sentence, keeps, span: item.span });
            updates.push(update);
        }
    }
    for g in graphs.values_mut() {
        attach(g, &requires);
    }

    let trains = method::train::trains(&mut cx, &names, ast);
    let before = cx.diags.len();
    let rules = if sound {
        method::rules::rules(&mut cx, &resolver, ast, &requires, &updates, &trains)
    } else {
        Rules::default()
    };
    if !complete {
        drop_absent(&mut cx, before);
    }

    let (mut runs, mut targets, mut expects) = (Vec::new(), Vec::new(), Vec::new());
    {
        let jobs = Jobs { names: &names, axes: &axes, models: &models, data: &data, graphs: &graphs };
        for item in &ast.items {
            match &item.kind {
                ItemKind::Run(r) if sound => runs.extend(jobs.run(&mut cx, r, item.span).ok()),
                ItemKind::Target(t) => targets.extend(jobs.target(&mut cx, t, item.span).ok()),
                ItemKind::Expect(e) if sound => {
                    if let Ok(mut e) = jobs.expect(&mut cx, e, &resolver) {
                        let words = text.get(e.span.start as usize..e.span.end as usize).unwrap_or_default();
                        e.text = words.split_whitespace().collect::<Vec<_>>().join(" ");
                        expects.push(e);
                    }
                }
                _ => {}
            }
        }
    }

    cx.diags.truncate(limits.diagnostics);
    let module =
        Module { axes, models, data, requires, runs, targets, expects, trains, rules, entries, core, ast: ast.clone() };
    Checked { module, graphs, types: cx.types, diagnostics: cx.diags }
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
fn signature(cx: &mut Cx, f: &ast::FnItem) -> Res<()> {
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
    if elab::is_entry(f) {
        return Ok(());
    }
    for ty in f.sig.params.iter().filter_map(|p| p.ty.as_ref()).chain(results.filter_map(|r| r.ty.as_ref())) {
        known_type(cx, ty)?;
    }
    Ok(())
}

fn known_type(cx: &mut Cx, ty: &ast::Type) -> Res<()> {
    match &ty.kind {
        ast::TypeKind::Named { name, .. } if name.as_str() != "int" => model::dtype(cx, name).map(|_| ()),
        ast::TypeKind::Record(members) => members.iter().try_for_each(|m| known_type(cx, &m.ty)),
        _ => Ok(()),
    }
}

/// Gives a graph the constraints on the weights it reads.
fn attach(g: &mut Graph, requires: &[Require]) {
    let weights: Vec<String> = g.weights().into_iter().map(|(n, _)| n).collect();
    for r in requires {
        let keeps: Vec<spc_ir::Keep> = r.keeps.clone();
        let touches = keeps.iter().flat_map(|k| &k.members).any(|m| weights.contains(&m.weight));
        if touches {
            g.requires.push(spc_ir::Require { name: r.name.clone(), keeps });
        }
    }
}

/// Items that parse but that this version cannot check.
fn refuse_later_items(cx: &mut Cx, ast: &Ast) {
    for item in &ast.items {
        let of_weights = matches!(&item.kind, ItemKind::Score(s) if method::scores_weights(s));
        let later = !of_weights
            && matches!(
                item.kind,
                ItemKind::Const(_) | ItemKind::Mask(_) | ItemKind::Score(_) | ItemKind::Quantize(_) | ItemKind::Plan(_)
            );
        if later {
            let word = item.kind.word();
            let mut span = item.span;
            span.end = span.end.min(span.start + word.len() as u32);
            let _ = cx.not_yet::<()>(span, &format!("`{word}`"));
        }
    }
}
