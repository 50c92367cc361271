//! A model's declaration against the header of its weight file.
use crate::module::Model;
use spc_base::{Diagnostic, codes};
use spc_ir::DType;

/// One tensor as a weight file lists it. `dtype` is the file format's own word (`F32`, `BF16`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
}

/// Names, shapes and types of every declared tensor. Tensors that the file has beyond those are not looked at.
pub fn check_stored(model: &Model, stored: &[Stored]) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for t in &model.tensors {
        let Some(s) = stored.iter().find(|s| s.name == t.stored) else {
            let mut d = Diagnostic::error(codes::NO_TENSOR, format!("the weight file has no tensor `{}`", t.stored))
                .at(t.span, format!("declared as `{}`", t.path));
            if let Some(near) = crate::cx::closest(&t.stored, stored.iter().map(|s| s.name.as_str())) {
                d = d.help(format!("the file has `{near}`"));
                // A tensor of the same shape is what was meant.
                let sizes: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
                let alike = stored.iter().any(|s| s.name == near && s.shape == sizes);
                if let Some(at) = t.stored_span {
                    let text = if at.start == at.end { format!(" = \"{near}\"") } else { format!("\"{near}\"") };
                    d = if alike { d.fix(at, text) } else { d.guess(at, text) };
                }
            }
            out.push(d);
            continue;
        };
        let want: Vec<u64> = t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect();
        if want != s.shape {
            let axes = t.dims.iter().zip(&want).map(|(d, n)| format!("{}={n}", d.axis)).collect::<Vec<_>>();
            out.push(
                Diagnostic::error(codes::SHAPE, format!("`{}` has shape {:?} in the file", t.stored, s.shape))
                    .at(t.span, format!("declared as [{}]", axes.join(", "))),
            );
        }
        let fits = match t.dtype {
            DType::F32 => matches!(s.dtype.as_str(), "F32" | "F16" | "BF16"),
            DType::I32 => matches!(s.dtype.as_str(), "I32" | "I16" | "I8" | "U8" | "U16"),
            DType::Bool => s.dtype == "BOOL",
        };
        if !fits {
            out.push(
                Diagnostic::error(
                    codes::DTYPE,
                    format!("`{}` is stored as {}, which does not widen to {}", t.stored, s.dtype, t.dtype),
                )
                .at(t.span, format!("declared as {}", t.dtype)),
            );
        }
    }
    out
}
