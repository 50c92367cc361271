//! A function checked by itself: its axis parameters get sizes that stand for any, its records tensors of their own.
use super::value::{Frame, Func, Val, index_label};
use super::{Elab, Program, is_static_type, is_tensor_type};
use crate::consts::Consts;
use crate::cx::{Cx, Res, Stop};
use crate::library::Library;
use crate::model::Axes;
use crate::scope::{Names, Origin};
use spc_base::{Diagnostic, FileId, Limits, codes};
use spc_ir::{Dim, Op, Type};
use spc_syntax::ast::{self, DimKind, FnItem, ItemKind, MaskItem, TypeKind};
use std::collections::BTreeMap;

/// Sizes of axis parameters, in order of appearance. Even, so that halves exist; falling, so that a window fits into the
/// axis before it.
const FIRST_SIZE: u64 = 96;
const STEP: u64 = 4;
const LEAST_SIZE: u64 = 4;

/// Types of parameters whose values this file can make up.
fn known_kind(name: &str) -> bool {
    is_tensor_type(name) || is_static_type(name) || matches!(name, "mask" | "fn")
}

fn can_stand_alone(ty: &ast::Type) -> bool {
    match &ty.kind {
        TypeKind::Named { name, .. } => known_kind(name.as_str()),
        TypeKind::Record(members) => members.iter().all(|m| can_stand_alone(&m.ty)),
        TypeKind::Like { .. } => false,
    }
}

/// Checks a function that no entry function reaches. Functions with parameters of other kinds are left to their callers.
pub(crate) fn check_alone(cx: &mut Cx, p: &Program<'_>, origin: Origin, f: &FnItem) -> Res<()> {
    if !f.sig.params.iter().filter_map(|p| p.ty.as_ref()).all(can_stand_alone) {
        return Ok(());
    }
    let before = cx.diags.len();
    let mut e = Elab::new(cx, p, origin.clone(), &f.name.name);
    e.alone = true;
    let done = e.run_alone(origin, f);
    if e.sized {
        // Whether computed sizes fit together is for the calls to say: here they come from sizes that were made up.
        let mut at = 0;
        cx.diags.retain(|d| {
            at += 1;
            at <= before || !matches!(d.code, codes::AXIS_SIZE | codes::AXIS_MISMATCH)
        });
        return Ok(());
    }
    if done.is_err() || cx.diags[before..].iter().any(Diagnostic::is_error) { Err(Stop) } else { Ok(()) }
}

/// Checks a mask that no function reaches, on indices of its own.
pub(crate) fn check_mask_alone(cx: &mut Cx, p: &Program<'_>, origin: Origin, m: &MaskItem) -> Res<()> {
    if !m.params.iter().filter_map(|p| p.ty.as_ref()).all(can_stand_alone) {
        return Ok(());
    }
    let mut e = Elab::new(cx, p, origin.clone(), &m.name.name);
    e.alone = true;
    let mut frame = if origin.is_none() { e.root_frame() } else { Frame::default() };
    frame.origin = origin;
    let mut sizes = Sizes { next: FIRST_SIZE, made: BTreeMap::new() };
    e.ix.on = true;
    for p in &m.params {
        let v = match &p.ty {
            Some(ty) => e.stand_in(&mut frame, &mut sizes, &p.name.name, ty)?,
            None => {
                let l = index_label(&p.name.name);
                e.ix.dims.insert(l.clone(), (sizes.dim(&p.name.name), p.span));
                Val::Index(l)
            }
        };
        frame.env.insert(p.name.name.clone(), v);
    }
    e.mask_value(&mut frame, m).map(|_| ())
}

/// Checks every function and mask of the library by itself: module, function, and what is wrong with it.
pub fn check_library(lib: &Library, limits: &Limits) -> Vec<(String, String, Vec<Diagnostic>)> {
    let (empty, _) = spc_syntax::parse("", FileId(0), limits);
    let mut out = Vec::new();
    for module in lib.modules() {
        for item in lib.items(module) {
            let mut cx = Cx::default();
            let names = Names::collect(&mut cx, &empty, lib);
            let consts = Consts::collect(&mut cx, &names);
            let axes = Axes::new();
            let p = Program::new(&names, &axes, &[], &consts, *limits);
            let origin = Some(module.to_string());
            let name = match &item.kind {
                ItemKind::Fn(f) => {
                    let _ = check_alone(&mut cx, &p, origin, f);
                    &f.name
                }
                ItemKind::Mask(m) => {
                    let _ = check_mask_alone(&mut cx, &p, origin, m);
                    &m.name
                }
                _ => continue,
            };
            out.push((module.to_string(), name.name.clone(), cx.diags));
        }
    }
    out
}

impl Elab<'_, '_> {
    fn run_alone(&mut self, origin: Origin, f: &FnItem) -> Res<()> {
        let mut frame = if origin.is_none() { self.root_frame() } else { Frame::default() };
        frame.origin = origin;
        let mut sizes = Sizes { next: FIRST_SIZE, made: BTreeMap::new() };
        for p in &f.sig.params {
            let v = match &p.ty {
                None => {
                    let dim = self.own_axis(&mut frame, &mut sizes, "X");
                    Some(self.made_up(p.span, &p.name.name, spc_ir::DType::F32, vec![dim])?)
                }
                Some(_) if p.default.is_some() && p.ty.as_ref().is_some_and(|t| !is_tensor(t)) => None,
                Some(ty) => Some(self.stand_in(&mut frame, &mut sizes, &p.name.name, ty)?),
            };
            if let Some(v) = v {
                frame.env.insert(p.name.name.clone(), v);
            }
        }
        self.defaults(&mut frame, f)?;
        self.computed_sizes(&mut frame, f)?;
        self.body(f, &mut frame).map(|_| ())
    }

    /// A value for a parameter of this type.
    fn stand_in(&mut self, frame: &mut Frame, sizes: &mut Sizes, name: &str, ty: &ast::Type) -> Res<Val> {
        match &ty.kind {
            TypeKind::Record(members) => {
                let mut map = BTreeMap::new();
                for m in members {
                    let v = self.stand_in(frame, sizes, &format!("{name}.{}", m.name.name), &m.ty)?;
                    map.insert(m.name.name.clone(), v);
                }
                Ok(Val::Record(map))
            }
            TypeKind::Named { name: kind, shape, .. } => match kind.as_str() {
                "int" => Ok(Val::Num(2.0)),
                "pct" | "amount" => Ok(Val::Num(0.5)),
                "mask" => Ok(Val::Func(Func::All)),
                "fn" => self.cx.not_yet(ty.span, "a function parameter without a default"),
                _ => {
                    let dtype = super::param_dtype(self.cx, kind)?;
                    let mut dims = Vec::new();
                    for d in shape.iter().flatten() {
                        match &d.kind {
                            DimKind::Axis(a) => dims.push(self.own_axis(frame, sizes, &a.name)),
                            DimKind::Size(n) => dims.push(crate::model::sized(self.cx, *n, d.span)?),
                            DimKind::Rest => {
                                let dim = self.own_axis(frame, sizes, "leading");
                                frame.rest = Some(vec![dim.clone()]);
                                dims.push(dim);
                            }
                            DimKind::Composite(parts) => {
                                let parts: Vec<Dim> =
                                    parts.iter().map(|a| self.own_axis(frame, sizes, &a.name)).collect();
                                let c = crate::model::composite(&parts);
                                self.composites.insert(c.axis.clone(), parts);
                                dims.push(c);
                            }
                        }
                    }
                    if kind.as_str() == "cache" {
                        return self.made_up_cache(ty.span, name, &dims);
                    }
                    self.made_up(ty.span, name, dtype, dims)
                }
            },
            TypeKind::Like { .. } => Err(Stop),
        }
    }

    fn made_up(&mut self, span: spc_base::Span, name: &str, dtype: spc_ir::DType, dims: Vec<Dim>) -> Res<Val> {
        crate::model::check_extent(self.cx, &dims, span)?;
        let node = self.add(span, Op::Input { name: name.to_string(), ty: Type::new(dtype, dims) }, &[])?;
        self.origins.set(node, &self.g, span, format!("the parameter `{name}`"));
        self.whole(node)
    }

    /// An axis of the signature: the file's, else one of its own.
    fn own_axis(&mut self, frame: &mut Frame, sizes: &mut Sizes, name: &str) -> Dim {
        if let Some(d) = frame.axes.get(name) {
            return d.clone();
        }
        let d = sizes.dim(name);
        if name != "leading" {
            frame.axes.insert(name.to_string(), d.clone());
        }
        d
    }
}

fn is_tensor(ty: &ast::Type) -> bool {
    matches!(&ty.kind, TypeKind::Named { name, shape, .. } if is_tensor_type(name.as_str()) && shape.is_some())
}

struct Sizes {
    next: u64,
    made: BTreeMap<String, Dim>,
}

impl Sizes {
    fn dim(&mut self, name: &str) -> Dim {
        if let Some(d) = self.made.get(name) {
            return d.clone();
        }
        // A window is odd as a rule, so that it has a middle.
        let odd = u64::from(matches!(name, "K" | "Kh" | "Kw"));
        let d = Dim::fixed(name, self.next - odd);
        self.next = self.next.saturating_sub(STEP).max(LEAST_SIZE);
        self.made.insert(name.to_string(), d.clone());
        d
    }
}
