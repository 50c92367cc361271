//! Items and members as an outline, and what can be folded.
use crate::analysis::Analysis;
use lsp_types::{DocumentSymbol, FoldingRange, FoldingRangeKind, SymbolKind};
use spc_base::Span;
use spc_sema::index::{Def, DefId, DefKind, TokenKind, tokens};
use spc_syntax::ast::ItemKind;

pub fn symbol_kind(kind: DefKind) -> SymbolKind {
    match kind {
        DefKind::Item("fn" | "score" | "schedule" | "mask") => SymbolKind::FUNCTION,
        DefKind::Item("model" | "data") => SymbolKind::CLASS,
        DefKind::Item("const") => SymbolKind::CONSTANT,
        DefKind::Item("pattern" | "penalty" | "update") => SymbolKind::INTERFACE,
        DefKind::Item("require" | "penalize" | "quantize" | "expect") => SymbolKind::PROPERTY,
        DefKind::Item("group") => SymbolKind::STRUCT,
        DefKind::Item(_) => SymbolKind::EVENT,
        DefKind::Axis | DefKind::AxisParam => SymbolKind::TYPE_PARAMETER,
        DefKind::Family => SymbolKind::ARRAY,
        DefKind::Tensor | DefKind::Alias | DefKind::Column | DefKind::Member => SymbolKind::FIELD,
        DefKind::Part => SymbolKind::ENUM_MEMBER,
        DefKind::Hook => SymbolKind::METHOD,
        _ => SymbolKind::VARIABLE,
    }
}

fn shown_below(kind: DefKind) -> bool {
    matches!(
        kind,
        DefKind::Family
            | DefKind::Tensor
            | DefKind::Alias
            | DefKind::Column
            | DefKind::Part
            | DefKind::Hook
            | DefKind::Phase
    )
}

// The protocol's type has a field that it calls deprecated and that must be filled.
#[allow(deprecated)]
fn symbol(a: &Analysis, name: &str, detail: String, kind: SymbolKind, whole: Span, own: Span) -> DocumentSymbol {
    DocumentSymbol {
        name: name.to_string(),
        detail: Some(detail).filter(|d| !d.is_empty()),
        kind,
        tags: None,
        deprecated: None,
        range: a.range(whole),
        selection_range: a.range(own),
        children: None,
    }
}

fn of_def(a: &Analysis, id: DefId, def: &Def, depth: usize) -> DocumentSymbol {
    let detail = match def.kind {
        DefKind::Item(word) => word.to_string(),
        _ => def.detail.clone(),
    };
    let inside = def.whole.start <= def.span.start && def.span.end <= def.whole.end;
    let whole = if inside { def.whole } else { def.span };
    let mut s = symbol(a, &def.name, detail, symbol_kind(def.kind), whole, def.span);
    if depth < 8 {
        let below = a.index.children(id).into_iter().filter_map(|c| Some((c, a.index.def(c)?)));
        let list: Vec<DocumentSymbol> =
            below.filter(|(_, d)| shown_below(d.kind)).map(|(c, d)| of_def(a, c, d, depth + 1)).collect();
        s.children = (!list.is_empty()).then_some(list);
    }
    s
}

/// Items in order of the text. Items without a name are called by their words.
pub fn symbols(a: &Analysis) -> Vec<DocumentSymbol> {
    let mut out: Vec<DocumentSymbol> = Vec::new();
    for (id, d) in a.index.defs.iter().enumerate() {
        let top = matches!(d.kind, DefKind::Item(_)) || (d.kind == DefKind::Axis && d.parent.is_none());
        if top {
            out.push(of_def(a, id, d, 0));
        }
    }
    for item in &a.ast.items {
        if item.kind.name().is_none()
            && !matches!(item.kind, ItemKind::Axis(_) | ItemKind::Edition(_) | ItemKind::Use(_))
        {
            let text = a.text.get(item.span.start as usize..item.span.end as usize).unwrap_or_default();
            let line = text.lines().next().unwrap_or_default();
            let mut name: String = line.chars().take(60).collect();
            if name.len() < line.len() {
                name += " ..";
            }
            let kind = symbol_kind(DefKind::Item(item.kind.word()));
            out.push(symbol(a, &name, String::new(), kind, item.span, item.span));
        }
    }
    out.sort_by_key(|s| (s.range.start, s.range.end));
    out
}

/// Brackets over several lines, runs of comments, and items over several lines.
pub fn folding(a: &Analysis) -> Vec<FoldingRange> {
    let list = tokens(&a.text, a.index.file, 0, a.text.len());
    let line = |offset: u32| a.lines.line(offset as usize);
    let mut ranges: Vec<(usize, usize, Option<FoldingRangeKind>)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut comment: Option<(usize, usize)> = None;
    for t in &list {
        let at = line(t.span.start);
        if t.kind == TokenKind::Comment && a.lines.start(at, &a.text) == t.span.start as usize {
            comment = match comment {
                Some((from, to)) if to + 1 == at => Some((from, at)),
                other => {
                    ranges.extend(other.map(|(f, t)| (f, t, Some(FoldingRangeKind::Comment))));
                    Some((at, at))
                }
            };
            continue;
        }
        ranges.extend(comment.take().map(|(f, t)| (f, t, Some(FoldingRangeKind::Comment))));
        if t.kind == TokenKind::Mark {
            match t.text {
                "{" | "(" | "[" => open.push(at),
                "}" | ")" | "]" => {
                    // The closing line stays in sight.
                    if let Some(from) = open.pop() {
                        ranges.push((from, at.saturating_sub(1), None));
                    }
                }
                _ => {}
            }
        }
    }
    ranges.extend(comment.map(|(f, t)| (f, t, Some(FoldingRangeKind::Comment))));
    ranges.retain(|(f, t, _)| f < t);
    // Of ranges that start in one line, editors take one: the outermost bracket's.
    ranges.sort_by_key(|(f, t, _)| (*f, std::cmp::Reverse(*t)));
    ranges.dedup_by_key(|(f, _, _)| *f);
    for item in &a.ast.items {
        let (from, to) = (line(item.span.start), line(item.span.end.saturating_sub(1)));
        if from < to
            && let Err(at) = ranges.binary_search_by_key(&from, |r| r.0)
        {
            ranges.insert(at, (from, to, None));
        }
    }
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ranges
        .into_iter()
        .map(|(f, t, kind)| FoldingRange {
            start_line: number(f),
            end_line: number(t),
            kind,
            ..FoldingRange::default()
        })
        .collect()
}
