//! How the tensors of a model without a file begin: `kaiming()`, `zeros()`.
use crate::cx::{Cx, Res};
use crate::module::{Init, Model};
use crate::roles::Roles;
use spc_base::codes;
use spc_ir::{DType, Dim};
use spc_syntax::ast::{Expr, ExprKind};

const NAMES: [&str; 5] = ["kaiming", "glorot", "zeros", "ones", "normal"];

fn product<'d>(dims: impl IntoIterator<Item = &'d Dim>) -> u64 {
    dims.into_iter().map(|d| d.size.fixed().unwrap_or(1)).fold(1, u64::saturating_mul)
}

/// An initialiser. Until the functions are known, all axes but the first count as inputs.
pub fn init(cx: &mut Cx, e: &Expr, dtype: DType, dims: &[Dim]) -> Res<Init> {
    let ExprKind::Call { callee, args } = &e.kind else {
        let text = "the tensor of a model without a file begins with an initialiser";
        return cx.err(codes::WRONG_KIND, e.span, text, "expected for example `kaiming()` or `zeros()`");
    };
    let name = callee.as_name().map(|n| n.as_str()).unwrap_or_default();
    if !NAMES.contains(&name) {
        return cx.unknown(callee.span, "initialiser", name, NAMES);
    }
    let mut std = None;
    for a in args {
        let number = match &a.value.kind {
            ExprKind::Num(n) if n.value > 0.0 => Some(n.value),
            _ => None,
        };
        match (name, a.label.as_ref().map(|l| l.as_str()), number) {
            ("normal", None | Some("std"), Some(n)) if a.is_plain() && std.is_none() => std = Some(n),
            ("normal", None | Some("std"), None) => {
                return cx.err(codes::ARGUMENT, a.span, "`std` is a number above 0", "expected `normal(std: 0.02)`");
            }
            _ => return cx.err(codes::ARGUMENT, a.span, format!("`{name}` has no such argument"), "surplus"),
        }
    }
    if dtype != DType::F32 && !matches!(name, "zeros" | "ones") {
        let text = format!("`{name}` fills f32 tensors, not {dtype}");
        return cx.err(codes::TYPE, e.span, text, "expected `zeros()` or `ones()`");
    }
    let first = dims.first().and_then(|d| d.size.fixed()).unwrap_or(1);
    let rest = product(dims.iter().skip(1));
    Ok(match name {
        "zeros" => Init::Zeros,
        "ones" => Init::Ones,
        "kaiming" => Init::Kaiming { fan_in: rest },
        "glorot" => Init::Glorot { fan_in: rest, fan_out: first },
        _ => match std {
            Some(std) => Init::Normal { std },
            None => return cx.err(codes::ARGUMENT, e.span, "`normal` needs `std`", "expected `normal(std: 0.02)`"),
        },
    })
}

/// Replaces the guess by what the functions say: inputs are the axes that a product sums over, outputs those it keeps.
pub fn fans(models: &mut [Model], roles: &Roles) {
    for t in models.iter_mut().flat_map(|m| &mut m.tensors) {
        let Some(uses) = roles.get(&t.path).filter(|u| u.iter().any(|r| r.summed && !r.kept)) else { continue };
        let of = |summed: bool| {
            product(t.dims.iter().zip(uses).filter(|(_, r)| r.summed == summed && r.kept != summed).map(|(d, _)| d))
        };
        match &mut t.init {
            Some(Init::Kaiming { fan_in }) => *fan_in = of(true),
            Some(Init::Glorot { fan_in, fan_out }) => (*fan_in, *fan_out) = (of(true), of(false)),
            _ => {}
        }
    }
}
