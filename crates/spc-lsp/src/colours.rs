//! Semantic tokens: what each name is, for editors that colour by meaning. Words, numbers and comments are the grammar's.
use crate::analysis::{Analysis, Shared};
use lsp_types::{SemanticToken, SemanticTokenModifier, SemanticTokenType, SemanticTokensLegend};
use spc_sema::index::{BUILTINS, Class, DefKind, To, Use};

const TYPES: [SemanticTokenType; 9] = [
    SemanticTokenType::NAMESPACE,
    SemanticTokenType::TYPE,
    SemanticTokenType::CLASS,
    SemanticTokenType::TYPE_PARAMETER,
    SemanticTokenType::PARAMETER,
    SemanticTokenType::VARIABLE,
    SemanticTokenType::PROPERTY,
    SemanticTokenType::FUNCTION,
    SemanticTokenType::MACRO,
];

pub fn legend() -> SemanticTokensLegend {
    SemanticTokensLegend {
        token_types: TYPES.to_vec(),
        token_modifiers: vec![
            SemanticTokenModifier::DECLARATION,
            SemanticTokenModifier::DEFAULT_LIBRARY,
            SemanticTokenModifier::READONLY,
        ],
    }
}

/// Index into [`TYPES`] and modifier bits.
fn class(a: &Analysis, shared: &Shared, u: &Use) -> Option<(u32, u32)> {
    let declares = u32::from(u.writes);
    Some(match &u.to {
        To::Module(_) => (0, 2),
        To::Builtin(b) => match BUILTINS.get(*b)?.class {
            Class::Type => (1, 2),
            Class::Function => (7, 2),
            Class::Role => (3, 2),
            _ => (5, 2 | 4),
        },
        To::Def(p) => {
            let kind = match a.def(*p, shared)?.kind {
                DefKind::Item("fn" | "score" | "schedule" | "mask") | DefKind::Hook => 7,
                DefKind::Item("pattern" | "penalty" | "update") => 8,
                DefKind::Item("model" | "data" | "group") => 2,
                DefKind::Item(_) | DefKind::Local | DefKind::State | DefKind::Result | DefKind::Phase => 5,
                DefKind::Axis | DefKind::AxisParam => 3,
                DefKind::Param => 4,
                DefKind::Index => 5,
                DefKind::Family
                | DefKind::Tensor
                | DefKind::Alias
                | DefKind::Column
                | DefKind::Part
                | DefKind::Member => 6,
            };
            (kind, declares | if p.file == a.index.file { 0 } else { 2 })
        }
    })
}

pub fn tokens(a: &Analysis, shared: &Shared) -> Vec<SemanticToken> {
    let mut out = Vec::new();
    let (mut line, mut column) = (0, 0);
    for u in &a.index.uses {
        let Some((token_type, token_modifiers_bitset)) = class(a, shared, u) else { continue };
        let r = a.range(u.span);
        let before = (r.start.line, r.start.character) < (line, column);
        if r.start.line != r.end.line || r.end.character <= r.start.character || before {
            continue;
        }
        let delta_line = r.start.line - line;
        let delta_start = if delta_line == 0 { r.start.character - column } else { r.start.character };
        (line, column) = (r.start.line, r.start.character);
        let length = r.end.character - r.start.character;
        out.push(SemanticToken { delta_line, delta_start, length, token_type, token_modifiers_bitset });
    }
    out
}
