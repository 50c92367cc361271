//! `quantize NAME: net.* except net.fc to int8(per: tile(in: all)) at end`: which tensors are stored in fewer bits, and over
//! which tiles one scale holds.
use super::Resolver;
use super::tile::{TileSpec, shape};
use crate::cx::{Cx, Res};
use crate::module::{Quantize, QuantizeTensor, StoredAs};
use spc_base::{Diagnostic, Span, codes};
use spc_ir::{DType, Tail};
use spc_syntax::ast::{Arg, Expr, ExprKind, QuantizeItem};

pub const FORMS: [&str; 4] = ["int8", "int4", "f16", "bf16"];

impl Resolver<'_> {
    pub fn quantize(&self, cx: &mut Cx, q: &QuantizeItem, span: Span, name: String) -> Res<Quantize> {
        let c = &q.clauses;
        let other = [
            c.per.as_ref().map(|x| x.span),
            c.floor.as_ref().map(|x| x.span),
            c.by.as_ref().map(|x| x.span),
            c.on.as_ref().map(|x| x.span),
            c.every.as_ref().map(|x| x.span),
            c.via.as_ref().map(|x| x.span),
            c.always.as_ref().map(|x| x.span),
            c.multiple.as_ref().map(|x| x.span),
            c.on_overlap.as_ref().map(|x| x.span),
        ];
        if let Some(span) = other.into_iter().flatten().next() {
            let text = "`quantize` takes `at`, and `pad` or `ragged` for its tiles";
            return cx.report(
                Diagnostic::error(codes::WRONG_KIND, text)
                    .at(span, "has no meaning here")
                    .help("the tile of one scale stands in the form: `to int8(per: tile(in: all))`"),
            );
        }
        if let Some(at) = &c.at {
            self.time(cx, &at.value)?;
        }
        let (form, args): (&Expr, &[Arg]) = match &q.to.kind {
            ExprKind::Call { callee, args } => (callee, args),
            _ => (&q.to, &[]),
        };
        let to = match form.as_name().map(|n| n.as_str()) {
            Some("int8") => StoredAs::Int { bits: 8 },
            Some("int4") => StoredAs::Int { bits: 4 },
            Some("f16") => StoredAs::F16,
            Some("bf16") => StoredAs::Bf16,
            Some(name) => return cx.unknown(form.span, "form of storage", name, FORMS),
            None => return cx.err(codes::WRONG_KIND, form.span, "this is no form of storage", "expected `int8(..)`"),
        };
        let (args, inputs) = flag(cx, to, &INPUTS, args.iter().collect())?;
        let (args, half_scales) = flag(cx, to, &SCALE, args)?;
        let per = self.scale_tile(cx, to, &q.to, &args)?;
        let tensors = self.quantized(cx, q)?;
        let tail = if c.tail.is_some() { Tail::Ragged } else { Tail::Exact };
        let mut out = Vec::new();
        for (m, t) in tensors {
            let t = &self.models[m].tensors[t];
            let tile = match &per {
                Some(spec) => {
                    let tile = self.tile(cx, t, spec)?;
                    self.divides(cx, t, &tile, spec.span, tail)?;
                    tile
                }
                None => shape(t),
            };
            out.push(QuantizeTensor { weight: t.path.clone(), shape: shape(t), tile });
        }
        Ok(Quantize { name, to, tensors: out, inputs, half_scales, span })
    }

    /// The tile over which one scale holds; none: the whole tensor.
    fn scale_tile<'e>(&self, cx: &mut Cx, to: StoredAs, e: &Expr, args: &[&'e Arg]) -> Res<Option<TileSpec<'e>>> {
        let float = matches!(to, StoredAs::F16 | StoredAs::Bf16);
        match args {
            [] => Ok(None),
            [a] if float => cx.err(codes::ARGUMENT, a.span, "a float form has no scales", "takes no argument"),
            [a] if a.label.as_ref().is_some_and(|l| l.as_str() == "per") => match &a.value.kind {
                ExprKind::Name(n) if n.as_str() == "tensor" => Ok(None),
                ExprKind::Call { callee, args } if callee.as_name().is_some_and(|n| n.as_str() == "tile") => {
                    Ok(Some(TileSpec { args, span: a.value.span }))
                }
                _ => {
                    let text = "one scale holds per tile or per tensor";
                    cx.err(codes::WRONG_KIND, a.value.span, text, "expected for example `tile(in: all)`")
                }
            },
            _ => cx.err(
                codes::ARGUMENT,
                e.span,
                "a form takes `per`, `scale` and `inputs`",
                "expected for example `int8(per: tensor)`",
            ),
        }
    }

    /// Every f32 tensor that is named; under a wildcard those that a product reads.
    fn quantized(&self, cx: &mut Cx, q: &QuantizeItem) -> Res<Vec<(usize, usize)>> {
        let mut chosen = self.select(cx, &q.what.what)?;
        if let Some(e) = &q.what.except {
            let out = self.select(cx, e)?;
            chosen.retain(|c| !out.contains(c));
        }
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            let d = Diagnostic::error(codes::NOTHING_MATCHED, "nothing is quantised");
            return cx.report(d.at(q.what.span, "nothing here takes part in a product"));
        }
        for (m, t) in &chosen {
            let t = &self.models[*m].tensors[*t];
            if t.dtype != DType::F32 {
                let text = format!("`{}` is {}, and only f32 weights can be quantised", t.path, t.dtype);
                return cx.err(codes::TYPE, q.what.span, text, "named here");
            }
        }
        Ok(chosen)
    }
}

/// An argument of integer forms that has one value.
struct Flag {
    label: &'static str,
    value: &'static str,
    /// What is wrong with another value, and with a float form.
    other: &'static str,
    float: &'static str,
}

const INPUTS: Flag = Flag {
    label: "inputs",
    value: "int8",
    other: "inputs are rounded to `int8`",
    float: "a float form leaves the inputs of its products as they are",
};

const SCALE: Flag = Flag {
    label: "scale",
    value: "f16",
    other: "scales are f32 numbers, or rounded to `f16`",
    float: "a float form has no scales",
};

/// Takes a flag out of the arguments of a form: whether it is there, and the others.
fn flag<'e>(cx: &mut Cx, to: StoredAs, f: &Flag, args: Vec<&'e Arg>) -> Res<(Vec<&'e Arg>, bool)> {
    let (given, others): (Vec<&Arg>, Vec<&Arg>) =
        args.into_iter().partition(|a| a.label.as_ref().is_some_and(|l| l.as_str() == f.label));
    let Some(a) = given.first() else { return Ok((others, false)) };
    if let Some(again) = given.get(1) {
        let text = format!("`{}` is said twice", f.label);
        return cx.err(codes::ARGUMENT, again.span, text, "here again");
    }
    if matches!(to, StoredAs::F16 | StoredAs::Bf16) {
        return cx.err(codes::ARGUMENT, a.span, f.float, "only `int8` and `int4` take this");
    }
    if a.value.as_name().is_none_or(|n| n.as_str() != f.value) {
        return cx.err(codes::WRONG_KIND, a.value.span, f.other, format!("expected `{}`", f.value));
    }
    Ok((others, true))
}

/// Reports tensors that two items quantise.
pub fn check_twice(cx: &mut Cx, list: &[Quantize]) {
    for (i, later) in list.iter().enumerate() {
        for earlier in &list[..i] {
            let both = later.tensors.iter().find(|t| earlier.tensors.iter().any(|e| e.weight == t.weight));
            if let Some(t) = both {
                cx.diags.push(
                    Diagnostic::error(codes::CONFLICT, format!("`{}` is quantised twice", t.weight))
                        .at(later.span, "here again")
                        .also(earlier.span, "here first")
                        .help("leave it out of one of them with `except`"),
                );
            }
        }
    }
}
