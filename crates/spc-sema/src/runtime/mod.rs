//! Constraints on named values of functions: which they are, and what value each of them names.
use crate::cx::{Cx, Res};
use crate::elab::{self, Met, Program};
use crate::module::ValueChoice;
use crate::scope::Names;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Graph;
use spc_ir::method::Moment;
use spc_syntax::ast::{Ast, Bind, Expr, ExprKind, GroupRef, IdxKind, ItemKind, Sentence};
use std::collections::{BTreeMap, BTreeSet};

/// `keep AMOUNT of slices(E) of ffn.mix[l] per (B, T)`: the group is taken from the `group` item where one is named.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTime {
    /// Name of the constraint.
    pub name: String,
    pub sentence: Sentence,
    pub function: String,
    pub value: String,
    /// For each repetition around the value, outermost first; empty means all of them.
    pub index: Vec<IndexOf>,
    /// The constraint.
    pub span: Span,
    /// The words that name the value.
    pub value_span: Span,
}

/// Which index of a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexOf {
    Number(u64),
    /// Every one; the name stands for it in amounts.
    Binder(String),
}

impl RunTime {
    /// What the rest of the compiler knows of it.
    pub fn listed(self) -> ValueChoice {
        ValueChoice { name: self.name, function: self.function, value: self.value, span: self.span }
    }

    /// The words of the score, else the sentence.
    pub fn score_span(&self) -> Span {
        let by = self.sentence.clauses.by.as_ref().and_then(|b| b.score.as_ref());
        by.map_or(self.sentence.span, |e| e.span)
    }
}

/// `decode.kv`, `ffn.mix[l]`: a member of a function of the file, with its indices.
fn value_of<'e>(names: &Names<'_>, of: &'e Expr) -> Option<(&'e str, &'e str, &'e [spc_syntax::ast::Idx])> {
    let (base, idx) = match &of.kind {
        ExprKind::Index { base, idx } => (&**base, idx.as_slice()),
        _ => (of, [].as_slice()),
    };
    let ExprKind::Member { base, name } = &base.kind else { return None };
    let function = base.as_name()?;
    let is_fn = matches!(names.items.get(function.as_str()).map(|i| &i.kind), Some(ItemKind::Fn(_)));
    is_fn.then_some((function.as_str(), name.as_str(), idx))
}

/// The group of a sentence: written out, or that of the `group` item it names, with the item's indices.
fn group_of<'a>(names: &'a Names<'_>, s: &'a Sentence) -> (&'a GroupRef, &'a [Bind]) {
    match s.group.group.as_name().and_then(|n| names.group(n.as_str())) {
        Some(g) if s.group.of.is_none() => (&g.group, &g.binder),
        _ => (&s.group, &[]),
    }
}

/// The constraint, if its sentence is about a value of a function.
pub fn run_time(cx: &mut Cx, names: &Names<'_>, name: &str, s: &Sentence, span: Span) -> Res<Option<RunTime>> {
    let (group, binder) = group_of(names, s);
    let Some(of) = &group.of else { return Ok(None) };
    let Some((function, value, idx)) = value_of(names, of) else { return Ok(None) };
    let mut index = Vec::new();
    for i in idx {
        let IdxKind::Expr(e) = &i.kind else {
            return cx.err(codes::INDEX, i.span, "an index of a repetition is needed", "here");
        };
        index.push(match (e.as_int(), e.as_name()) {
            (Some(n), _) => IndexOf::Number(n),
            (_, Some(n)) if binder.iter().any(|b| b.index.name == n.name) || binder.is_empty() => {
                IndexOf::Binder(n.name.clone())
            }
            _ => {
                let text = "an index of a repetition is a number or an index of the group";
                let help = "name it in the group: `group expert[l, e: E] = slices(E) of ffn.mix[l]`";
                return cx.report(Diagnostic::error(codes::INDEX, text).at(i.span, "unknown here").help(help));
            }
        });
    }
    let mut sentence = s.clone();
    sentence.group = group.clone();
    // The value is known by now; what is left is the group's own words.
    sentence.group.of = None;
    Ok(Some(RunTime {
        name: name.to_string(),
        sentence,
        function: function.to_string(),
        value: value.to_string(),
        index,
        span,
        value_span: of.span,
    }))
}

/// Elaborates the functions again, with the constraints on their values. `graphs` gets the new ones; what comes back are the
/// dense ones of the functions that a constraint acts on.
pub fn choices(
    cx: &mut Cx,
    program: &Program<'_>,
    ast: &Ast,
    list: &[RunTime],
    moment: Moment,
    graphs: &mut BTreeMap<String, Graph>,
) -> BTreeMap<String, Graph> {
    let mut dense = BTreeMap::new();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut acted, mut spared) = (BTreeSet::new(), BTreeSet::new());
    let mut broken = false;
    for item in &ast.items {
        let ItemKind::Fn(f) = &item.kind else { continue };
        if !graphs.contains_key(f.name.as_str()) {
            continue;
        }
        let before = cx.diags.len();
        let mut met = Met::default();
        let g = elab::elaborate_with(cx, program, f, (list, moment), &mut met);
        // What the dense program has to say was said.
        let new = cx.diags.split_off(before);
        for d in new {
            if !cx.diags.contains(&d) {
                cx.diags.push(d);
            }
        }
        for (f, names) in met.known {
            known.entry(f).or_default().extend(names);
        }
        broken |= g.is_err();
        if let (Ok(g), false) = (g, met.acted.is_empty()) {
            dense.extend(graphs.insert(f.name.name.clone(), g).map(|d| (f.name.name.clone(), d)));
        }
        acted.extend(met.acted);
        spared.extend(met.spared);
    }
    for (i, r) in list.iter().enumerate().filter(|_| !broken) {
        if !acted.contains(&i) {
            let names: Vec<&str> = known.get(&r.function).into_iter().flatten().map(String::as_str).collect();
            let d = if names.contains(&r.value.as_str()) {
                let text = format!("`{}` acts on no value", r.name);
                Diagnostic::error(codes::NOTHING_MATCHED, text)
                    .at(r.value_span, "no repetition of the function has this index")
            } else {
                let mut d =
                    Diagnostic::error(codes::UNKNOWN_NAME, format!("`{}` has no value `{}`", r.function, r.value))
                        .at(r.value_span, "unknown here");
                if let Some(near) = crate::cx::closest(&r.value, names) {
                    d = d.help(format!("did you mean `{}.{near}`?", r.function));
                }
                d.note("a constraint names a parameter, or a value that a statement of the function assigns")
            };
            cx.diags.push(d);
        } else if !spared.contains(&i) {
            let text = format!(
                "nothing gets faster by `{}`: no reader of `{}` can leave out what is not chosen",
                r.name, r.value
            );
            cx.diags.push(
                Diagnostic::warning(codes::NOTHING_SPARED, text)
                    .at(r.value_span, "its readers see 0 where nothing is chosen")
                    .note("a softmax over the axis can leave it out, and a sum of products"),
            );
        }
    }
    dense
}
