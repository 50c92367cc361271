//! Tiles: from axis words and sizes to numbers per dimension.
use super::Resolver;
use crate::cx::{Cx, Res};
use crate::module::ModelTensor;
use spc_base::{Diagnostic, Span, codes};
use spc_ir::Tail;
use spc_syntax::ast::{self, Arg};

/// A tile as written: axis words and sizes.
#[derive(Clone, Copy)]
pub struct TileSpec<'e> {
    pub args: &'e [Arg],
    pub span: Span,
}

/// The sizes of a tensor's dimensions.
pub fn shape(t: &ModelTensor) -> Vec<u64> {
    t.dims.iter().map(|d| d.size.fixed().unwrap_or(0)).collect()
}

impl Resolver<'_> {
    /// Refuses tiles that do not divide their axes, unless something is said of the rest.
    pub fn divides(&self, cx: &mut Cx, t: &ModelTensor, tile: &[u64], span: Span, tail: Tail) -> Res<()> {
        if tail != Tail::Exact {
            return Ok(());
        }
        for ((size, n), d) in shape(t).iter().zip(tile).zip(&t.dims) {
            if size % n != 0 {
                return cx.report(
                    Diagnostic::error(codes::TILE, format!("a tile of {n} does not divide axis `{}`", d.axis))
                        .at(span, format!("{size} is not a multiple of {n}"))
                        .also(t.span, format!("`{}` is declared here", t.path))
                        .help("add `pad` or `ragged`, or choose a size that divides"),
                );
            }
        }
        Ok(())
    }

    /// Sizes of the tile in which the named axes have size 1 and all others are whole: `per D`.
    pub fn slab(&self, cx: &mut Cx, t: &ModelTensor, axes: &[&ast::Ident]) -> Res<Vec<u64>> {
        let mut out = shape(t);
        for axis in axes {
            for d in self.dims_of(cx, t, axis)? {
                out[d] = 1;
            }
        }
        Ok(out)
    }

    /// Tile sizes per stored dimension. Axes that are not named have size 1; `all` is the whole axis.
    pub fn tile(&self, cx: &mut Cx, t: &ModelTensor, spec: &TileSpec<'_>) -> Res<Vec<u64>> {
        let shape = shape(t);
        let mut out = vec![1u64; shape.len()];
        for a in spec.args {
            let Some(axis) = &a.label else {
                return cx.err(codes::ARGUMENT, a.span, "a tile names its axes", "expected `tile(in: 4)`");
            };
            let dims = self.dims_of(cx, t, axis)?;
            let whole = a.value.as_name().is_some_and(|n| n.as_str() == "all");
            if dims.len() > 1 && !whole {
                let text = format!("`{}` has several `{}` axes", t.path, axis.name);
                return cx.err(codes::ROLE, axis.span, text, "name the axis");
            }
            for d in dims {
                out[d] = if whole { shape[d] } else { self.positive(cx, &a.value)? };
            }
        }
        Ok(out)
    }

    pub fn dims_of(&self, cx: &mut Cx, t: &ModelTensor, axis: &ast::Ident) -> Res<Vec<usize>> {
        let role = match axis.as_str() {
            "in" => true,
            "out" => false,
            name => {
                let found: Vec<usize> =
                    t.dims.iter().enumerate().filter(|(_, d)| d.axis == name).map(|(i, _)| i).collect();
                if !found.is_empty() {
                    return Ok(found);
                }
                if self.axes.contains_key(name) {
                    let axes = t.dims.iter().map(|d| d.axis.clone()).collect::<Vec<_>>().join(", ");
                    let d = Diagnostic::error(codes::UNKNOWN_AXIS, format!("`{}` has no axis `{name}`", t.path))
                        .at(axis.span, format!("its axes are [{axes}]"))
                        .also(t.span, "declared here");
                    return cx.report(d);
                }
                return crate::model::unknown_axis(cx, self.axes, axis);
            }
        };
        let Some(roles) = self.roles.get(&t.path) else {
            return cx.report(
                Diagnostic::error(
                    codes::ROLE,
                    format!("no product reads `{}`, so it has no `{}` axis", t.path, axis.name),
                )
                .at(axis.span, "which axis is meant?")
                .also(t.span, "declared here")
                .help("name the axis, or leave the tensor out with `except`"),
            );
        };
        let mut out = Vec::new();
        for (i, r) in roles.iter().enumerate() {
            if r.summed && r.kept {
                return cx.report(
                    Diagnostic::error(
                        codes::ROLE,
                        format!("axis `{}` of `{}` is both summed and kept", t.dims[i].axis, t.path),
                    )
                    .at(axis.span, "which axis is meant?")
                    .help("name the axis"),
                );
            }
            if r.summed == role {
                out.push(i);
            }
        }
        Ok(out)
    }
}
