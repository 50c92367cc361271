//! What is said when slices cannot be removed.
use crate::cx::{Cx, Res};
use spc_base::{Code, Diagnostic, Span, codes};
use spc_ir::couple::{At, Refusal, Why};
use spc_ir::{Graph, Source};

/// Where the operator of a node stands.
pub(super) fn source(graphs: &[&Graph], at: At) -> Option<Source> {
    graphs.get(at.graph)?.sources.get(&at.node).copied()
}

/// The code of a refusal, and what the operator does to `axis`.
pub(super) fn words(why: &Why, axis: &str) -> (Code, String) {
    let text = match why {
        Why::Output(name) => return (codes::OUTPUT_AXIS, format!("the output `{name}` carries `{axis}`")),
        Why::Input => format!("an input carries `{axis}`"),
        Why::Order => format!("the greatest, least or first over `{axis}` is taken here: a zero takes part in that"),
        Why::Reduction => format!("`{axis}` is summed here, and what a zero slice adds is not zero"),
        Why::Contraction => {
            format!("a product is summed over `{axis}` here, and neither factor is zero where the slice is")
        }
        Why::Mean => format!("an input takes part in this mean over `{axis}`"),
        Why::Index => format!("`{axis}` is read by an index here"),
        Why::Number => format!("the positions of `{axis}` are numbered here"),
        Why::Window => format!("a window reads several positions of `{axis}` here"),
        Why::Reshape => format!("`{axis}` is cut in two ways that do not fit each other here"),
        Why::Twice => format!("a value carries `{axis}` twice here"),
        Why::Scattered => format!("`{axis}` lies in too many pieces here"),
        Why::DType => format!("a tensor that is not f32 carries `{axis}`"),
    };
    (codes::NOT_REMOVABLE, text)
}

/// What stands against another order of the positions of `axis`.
pub(super) fn order_words(why: &Why, axis: &str) -> String {
    match why {
        Why::Order => format!("a place in an order over `{axis}` is asked for"),
        other => words(other, axis).1,
    }
}

/// Adds the place of an operator to a message: its own words, and the call in the root file that leads there.
pub(super) fn point(d: Diagnostic, source: Option<Source>, text: String) -> Diagnostic {
    match source {
        Some(s) if s.at.file == s.site.file => d.also(s.at, text),
        Some(s) => d.also(s.at, text).also(s.site, "in this call"),
        None => d.note(text),
    }
}

/// Reports why slices along `axis` (named at `span`) cannot be removed.
pub(super) fn refuse<T>(cx: &mut Cx, graphs: &[&Graph], span: Span, axis: &str, r: &Refusal) -> Res<T> {
    let (code, text) = words(&r.why, axis);
    let message = match code {
        codes::OUTPUT_AXIS => format!("axis `{axis}` reaches an output, so its slices cannot be removed"),
        _ => format!("removing a slice of axis `{axis}` is not the same as setting it to zero"),
    };
    let d = Diagnostic::error(code, message).at(span, "slices along this axis");
    let d = point(d, source(graphs, r.at), text);
    cx.report(match &r.why {
        Why::Output(_) => d.help("choose an axis inside of the function; an output's shape belongs to the caller"),
        _ => d.help("`tile(..)` sets parts of one tensor to zero without removing anything"),
    })
}
