//! Windows and joined values.
//!
//! A window is not computed until something needs it in memory: windows over several dimensions, and transposes of them, are
//! then one kernel in the order that the reader wants. Where every place is known to lie inside, it is a view.
use super::ops::shape_bug;
use super::value::{Value, View};
use super::{Scheduler, overflow};
use crate::extent::Extent;
use crate::program::{Amount, Role, StepArg};
use crate::templates::{
    MapSpec, Operand, Part, Term, UnfoldSpec, WindowSpec, channels_first, contiguous, map, unfold, window,
};
use spc_base::Bug;
use spc_ir::{DType, NodeId, ScalarExpr, Size};

/// Elements of a buffer at affine places.
#[derive(Clone, Debug)]
pub(super) struct Places {
    buffer: usize,
    dims: Vec<Extent>,
    strides: Vec<Extent>,
    /// Elements of the buffer before the first.
    base: u64,
    terms: Vec<Term>,
}

impl Places {
    /// The same with dimension `perm[j]` as dimension j.
    pub fn permuted(&self, perm: &[u32]) -> Option<Places> {
        fn pick<T: Clone>(list: &[T], perm: &[u32]) -> Option<Vec<T>> {
            perm.iter().map(|p| list.get(*p as usize).cloned()).collect()
        }
        let terms = self.terms.iter().map(|t| Some(Term { coeff: pick(&t.coeff, perm)?, ..t.clone() }));
        Some(Places {
            buffer: self.buffer,
            dims: pick(&self.dims, perm)?,
            strides: pick(&self.strides, perm)?,
            base: self.base,
            terms: terms.collect::<Option<_>>()?,
        })
    }

    /// The strides, if every place is known to lie inside and the first one is the start of the buffer.
    fn view(&self) -> Option<View> {
        let mut strides = self.strides.clone();
        for t in &self.terms {
            let mut last = 0u64;
            for (d, c) in t.coeff.iter().enumerate().filter(|(_, c)| **c != 0) {
                let c = u64::try_from(*c).ok()?;
                last = last.checked_add(c.checked_mul(self.dims.get(d)?.known()?.checked_sub(1)?)?)?;
                // Only one of several terms can give a dimension its stride.
                strides.get(d).filter(|s| s.is_zero())?;
                strides[d] = t.stride.times(&Extent::fixed(c))?;
            }
            (t.offset == 0 && last < t.size.known()?).then_some(())?;
        }
        Some(View { buffer: self.buffer, dims: self.dims.clone(), strides, offset: self.base })
    }
}

impl Scheduler<'_> {
    pub(super) fn window(&mut self, node: NodeId, dim: usize, coeff: &[i64], offset: i64) -> Result<Value, Bug> {
        let operand = self.operand(node, 0)?;
        let pending = self.value(operand)?.places.clone();
        let from = match pending {
            Some(p) => p,
            None => {
                let v = self.row_major(operand)?;
                Places { buffer: v.buffer, dims: v.dims, strides: v.strides, base: v.offset, terms: Vec::new() }
            }
        };
        // A dimension that several places share already is read from memory.
        let own = from.terms.iter().any(|t| t.coeff.get(dim).is_some_and(|c| *c != 0));
        let from = if own {
            let v = self.row_major(operand)?;
            Places { buffer: v.buffer, dims: v.dims, strides: v.strides, base: v.offset, terms: Vec::new() }
        } else {
            from
        };
        let (size, stride) = (from.dims.get(dim).cloned(), from.strides.get(dim).cloned());
        let (size, stride) = (size.ok_or_else(|| shape_bug(node))?, stride.ok_or_else(|| shape_bug(node))?);
        let mut strides = from.strides;
        strides.splice(dim..=dim, vec![Extent::fixed(0); coeff.len()]);
        let mut terms = from.terms;
        for t in &mut terms {
            t.coeff.splice(dim..=dim, vec![0; coeff.len()]);
        }
        let mut own = vec![0; strides.len()];
        own.get_mut(dim..dim + coeff.len()).ok_or_else(|| shape_bug(node))?.copy_from_slice(coeff);
        terms.push(Term { size, stride, offset, coeff: own });
        let places = Places { buffer: from.buffer, dims: self.dims(node)?, strides, base: from.base, terms };
        Ok(match places.view() {
            Some(v) => Value::of(v),
            None => Value { places: Some(places), ..Value::default() },
        })
    }

    /// The elements of a window in memory, in order.
    pub(super) fn read_places(&mut self, node: NodeId, p: &Places, role: Role) -> Result<View, Bug> {
        let dtype = self.dtype(node)?;
        let spec = WindowSpec {
            name: format!("window_{dtype}"),
            dtype,
            dims: p.dims.clone(),
            strides: p.strides.clone(),
            base: p.base,
            terms: p.terms.clone(),
            lanes: self.lanes,
        };
        let (kernel, range) = window(&spec)?;
        let to = self.fresh(role, dtype, &p.dims)?;
        let bound = [("x", StepArg::Buffer(p.buffer)), ("y", StepArg::Buffer(to.buffer))];
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(to)
    }

    /// A matrix of windows, feature-major: written as such from where the windows lie. `dim` is the first of the dimensions
    /// that become features.
    pub(super) fn unfold(&mut self, node: NodeId, dim: usize) -> Result<Value, Bug> {
        let operand = self.operand(node, 0)?;
        let value = self.value(operand)?;
        let pending = value.places.clone().filter(|_| value.view.is_none());
        let p = match pending {
            Some(p) => p,
            None => {
                let v = self.row_major(operand)?;
                Places { buffer: v.buffer, dims: v.dims, strides: v.strides, base: v.offset, terms: Vec::new() }
            }
        };
        let dtype = self.dtype(node)?;
        let window = WindowSpec {
            name: "unfold_fm".into(),
            dtype,
            dims: p.dims,
            strides: p.strides,
            base: p.base,
            terms: p.terms,
            lanes: self.lanes,
        };
        let kernel = unfold(&UnfoldSpec { window, tokens: dim })?;
        let (tokens, _) = self.matrix(node)?;
        let to = self.fresh_feature_major(node)?;
        let padded = Amount { per: 1, of: tokens.clone(), pad: true };
        let bound = [
            ("x", StepArg::Buffer(p.buffer)),
            ("y", StepArg::Buffer(to)),
            ("n", StepArg::Amount(Amount::exact(tokens))),
            ("np", StepArg::Amount(padded.clone())),
        ];
        self.step(node, kernel, padded, &bound)?;
        Ok(Value { feature_major: Some(to), ..Value::default() })
    }

    /// A feature-major matrix with its features at place `at` of the result.
    pub(super) fn channels(&mut self, node: NodeId, from: NodeId, at: usize) -> Result<Value, Bug> {
        let buffer = self.feature_major(from)?;
        let (tokens, features) = self.matrix(from)?;
        let dims = self.dims(node)?;
        let inner = dims.get(at + 1..).ok_or_else(|| shape_bug(node))?;
        let inner = Extent::product(inner).ok_or_else(overflow)?;
        let to = self.fresh(Role::Temp, DType::F32, &dims)?;
        let bound = [
            ("x", StepArg::Buffer(buffer)),
            ("y", StepArg::Buffer(to.buffer)),
            ("n", StepArg::Amount(Amount::exact(tokens.clone()))),
            ("np", StepArg::Amount(Amount { per: 1, of: tokens, pad: true })),
        ];
        let range = Amount::exact(Extent::fixed(features as u64));
        self.step(node, channels_first(features, &inner, self.lanes)?, range, &bound)?;
        Ok(Value::of(to))
    }

    /// A view of short runs as a copy that the kernel of windows makes: it counts no dimension by division.
    pub(super) fn short_runs(&self, v: &View) -> Option<Places> {
        let real: Vec<usize> = (0..v.dims.len()).filter(|d| !v.dims[*d].is_one()).collect();
        let run = v.dims.get(*real.last()?)?.known()?;
        let places = Places {
            buffer: v.buffer,
            dims: v.dims.clone(),
            strides: v.strides.clone(),
            base: v.offset,
            terms: Vec::new(),
        };
        (real.len() > 2 && run < 2 * self.lanes.max(4) as u64).then_some(places)
    }

    pub(super) fn concat(&mut self, node: NodeId, dim: usize) -> Result<Value, Bug> {
        let (dims, dtype) = (self.dims(node)?, self.dtype(node)?);
        let to = self.fresh(Role::Temp, dtype, &dims)?;
        let strides = contiguous(&dims)?;
        let inner = strides.get(dim).cloned().ok_or_else(|| shape_bug(node))?;
        let mut before = Vec::new();
        for operand in self.graph.inputs(node) {
            let view = self.row_major(operand)?;
            let along = view.dims.get(dim).cloned().ok_or_else(|| shape_bug(node))?;
            let expr = ScalarExpr::Arg(0);
            let spec = MapSpec {
                name: "join".into(),
                expr: &expr,
                dtype,
                dims: view.dims.clone(),
                args: vec![Operand { dtype, strides: view.strides.clone(), offset: view.offset }],
                to: Some(Part { before: before.clone(), strides: strides.clone() }),
                lanes: self.lanes,
            };
            let (kernel, range) = map(&spec)?;
            let bound = [("a0", StepArg::Buffer(view.buffer)), ("y", StepArg::Buffer(to.buffer))];
            self.step(node, kernel, Amount::exact(range), &bound)?;
            before.push(along.times(&inner).ok_or_else(overflow)?);
        }
        Ok(Value::of(to))
    }

    /// The size of an axis as a scalar.
    pub(super) fn size(&mut self, node: NodeId, size: Size) -> Result<Value, Bug> {
        if let Some(n) = size.fixed() {
            return Ok(Value { literal: Some((n as f64, self.dtype(node)?)), ..Value::default() });
        }
        let dtype = self.dtype(node)?;
        let view = self.fresh(Role::Temp, dtype, &[])?;
        let kernel = crate::templates::extent(&Extent::from(size))?;
        let one = Amount::exact(Extent::fixed(1));
        self.step(node, kernel, one, &[("y", StepArg::Buffer(view.buffer))])?;
        Ok(Value::of(view))
    }
}
