//! Where the axes of values come from: the input or the weight that brought each of them, for messages.
use super::Elab;
use super::value::Val;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{Dim, Graph, NodeId};
use std::collections::BTreeMap;

/// What brought an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub span: Span,
    /// ``the input `x` ``
    pub what: String,
}

/// Number of a [`Source`].
pub(super) type From = Option<usize>;

/// The source of each dimension of each value.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    sources: Vec<Source>,
    of: BTreeMap<NodeId, Vec<From>>,
}

impl Origins {
    /// All axes of a value come from here.
    pub fn set(&mut self, node: NodeId, g: &Graph, span: Span, what: String) {
        let rank = g.ty(node).map_or(0, spc_ir::Type::rank);
        self.sources.push(Source { span, what });
        self.of.insert(node, vec![Some(self.sources.len() - 1); rank]);
    }

    /// Each axis of a result comes from where the first operand that has it took it.
    pub fn follow(&mut self, node: NodeId, g: &Graph, operands: &[NodeId]) {
        let Ok(ty) = g.ty(node) else { return };
        let find = |d: &Dim| {
            operands.iter().find_map(|o| {
                let at = g.ty(*o).ok()?.dims.iter().position(|e| e == d)?;
                self.of.get(o)?.get(at).copied().flatten()
            })
        };
        let list = ty.dims.iter().map(find).collect();
        self.of.insert(node, list);
    }

    pub fn get(&self, node: NodeId, dim: usize) -> From {
        self.of.get(&node)?.get(dim).copied().flatten()
    }

    fn source(&self, from: From) -> Option<&Source> {
        self.sources.get(from?)
    }
}

impl Elab<'_, '_> {
    /// Says where each of these axes comes from: what brought it, else where it is declared.
    pub(super) fn with_origins(&self, mut d: Diagnostic, axes: &[(&Dim, From)]) -> Diagnostic {
        for (dim, from) in axes {
            let label = match self.origins.source(*from) {
                Some(s) => Some((s.span, format!("`{}` comes from {} here", dim.axis, s.what))),
                None => self.p.axes.get(&dim.axis).map(|a| (a.span, format!("`{}` is declared here", dim.axis))),
            };
            if let Some((span, text)) = label
                && !d.secondary.iter().any(|l| l.span == span && l.text == text)
            {
                d = d.also(span, text);
            }
        }
        d
    }

    /// Adds to what was reported since about an operator's operands what each of them is, and where.
    pub(super) fn show_operands(&mut self, reported: usize, operands: [(Span, &Val); 2]) {
        let words = operands.map(|(span, v)| match v {
            Val::Tensor(t) => (span, self.ty(t.node).map_or("a tensor".to_string(), |t| t.dtype.to_string())),
            v => (span, self.kind(v).to_string()),
        });
        for d in self.cx.diags.iter_mut().skip(reported) {
            let Some(here) = d.primary.as_mut().filter(|l| l.text == "here" && d.code == codes::TYPE) else { continue };
            here.text.clear();
            for (span, word) in &words {
                d.secondary.push(spc_base::Label { span: *span, text: word.clone() });
            }
        }
        // What is no number at all is marked itself.
        let wrong =
            operands.iter().find(|(_, v)| !matches!(v, Val::Num(_) | Val::Static(_) | Val::Bool(_) | Val::Tensor(_)));
        if let Some((span, _)) = wrong {
            for d in self.cx.diags.iter_mut().skip(reported).filter(|d| d.code == codes::WRONG_KIND) {
                d.primary.iter_mut().for_each(|l| l.span = *span);
            }
        }
    }
}
