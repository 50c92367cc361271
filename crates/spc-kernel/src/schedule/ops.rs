//! Steps and views of all operators but linears.
use super::value::{Value, View};
use super::{Scheduler, overflow};
use crate::extent::Extent;
use crate::program::{Amount, Role, StepArg};
use crate::templates::{Factor, Fold, GatherSpec, MapSpec, Operand, ReduceSpec, gather, iota, map, reduce};
use spc_base::Bug;
use spc_ir::{Act, DType, Dim, NodeId, ReduceFn, ScalarExpr, channels_of, is_unfolded};

pub(super) fn shape_bug(node: NodeId) -> Bug {
    Bug::new(format!("{node}: positions do not fit the operands"))
}

/// Strides along `rank` output positions of a view whose dimension j lies at position `at[j]`; 0 where it repeats.
fn placed(view: &View, at: &[u32], rank: usize) -> Option<Vec<Extent>> {
    let mut out = vec![Extent::fixed(0); rank];
    for (s, p) in view.strides.iter().zip(at) {
        *out.get_mut(*p as usize)? = s.clone();
    }
    (view.strides.len() == at.len()).then_some(out)
}

impl Scheduler<'_> {
    pub(super) fn iota(&mut self, node: NodeId) -> Result<Value, Bug> {
        let dims = self.dims(node)?;
        let view = self.fresh(Role::Temp, DType::I32, &dims)?;
        let range = Extent::product(&dims).ok_or_else(overflow)?;
        self.step(node, iota()?, Amount::exact(range), &[("y", StepArg::Buffer(view.buffer))])?;
        Ok(Value::of(view))
    }

    pub(super) fn map(&mut self, node: NodeId, expr: &ScalarExpr, at: &[Vec<u32>]) -> Result<Value, Bug> {
        // Literals become part of the expression; the other operands are renumbered.
        let inputs = self.graph.inputs(node);
        let mut kept: Vec<(NodeId, &Vec<u32>)> = Vec::new();
        let mut new: Vec<ScalarExpr> = Vec::new();
        for (input, places) in inputs.iter().zip(at) {
            new.push(match self.value(*input)?.literal {
                Some((c, t @ (DType::F32 | DType::Bool))) => ScalarExpr::cast(t, ScalarExpr::Const(c)),
                _ => {
                    let n = u8::try_from(kept.len()).map_err(|_| shape_bug(node))?;
                    kept.push((*input, places));
                    ScalarExpr::Arg(n)
                }
            });
        }
        let expr = expr.substitute(&|n| new.get(usize::from(n)).cloned().unwrap_or(ScalarExpr::Arg(n)));
        if self.plan.values.get(&node) == Some(&Act::Fm) {
            return self.map_feature_major(node, &expr, &kept);
        }
        let (dims, dtype) = (self.dims(node)?, self.dtype(node)?);
        let mut args = Vec::new();
        let mut bound = Vec::new();
        for (i, (input, places)) in kept.iter().enumerate() {
            let view = self.row_major(*input)?;
            let strides = placed(&view, places, dims.len()).ok_or_else(|| shape_bug(node))?;
            args.push(Operand { dtype: self.dtype(*input)?, strides, offset: view.offset });
            bound.push((format!("a{i}"), StepArg::Buffer(view.buffer)));
        }
        let view = self.fresh(Role::Temp, dtype, &dims)?;
        bound.push(("y".into(), StepArg::Buffer(view.buffer)));
        let spec = MapSpec { name: "map".into(), expr: &expr, dtype, dims, args, to: None, lanes: self.lanes };
        let (kernel, range) = map(&spec)?;
        let bound: Vec<(&str, StepArg)> = bound.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(Value::of(view))
    }

    /// All operands are feature-major values of the same shape, or scalars: one flat loop, pads included.
    fn map_feature_major(
        &mut self,
        node: NodeId,
        expr: &ScalarExpr,
        operands: &[(NodeId, &Vec<u32>)],
    ) -> Result<Value, Bug> {
        let (tokens, features) = self.matrix(node)?;
        let shape = self.graph.ty(node)?.sizes();
        let mut args = Vec::new();
        let mut bound = Vec::new();
        for (i, (input, places)) in operands.iter().enumerate() {
            let ty = self.graph.ty(*input)?;
            let scalar = ty.rank() == 0;
            if !scalar && (ty.sizes() != shape || !places.iter().copied().eq(0..shape.len() as u32)) {
                return Err(Bug::new(format!("{node} cannot be feature-major")));
            }
            let dtype = ty.dtype;
            let buffer = if scalar { self.contiguous(*input)?.buffer } else { self.feature_major(*input)? };
            args.push(Operand { dtype, strides: vec![Extent::fixed(u64::from(!scalar))], offset: 0 });
            bound.push((format!("a{i}"), StepArg::Buffer(buffer)));
        }
        let buffer = self.fresh_feature_major(node)?;
        bound.push(("y".into(), StepArg::Buffer(buffer)));
        // The size of the only dimension is the range; what stands here is not read.
        let dims = vec![Extent::fixed(features as u64 * 16)];
        let spec = MapSpec { name: "map".into(), expr, dtype: DType::F32, dims, args, to: None, lanes: self.lanes };
        let (kernel, _) = map(&spec)?;
        let bound: Vec<(&str, StepArg)> = bound.iter().map(|(n, a)| (n.as_str(), a.clone())).collect();
        let range = Amount { per: features as u64, of: tokens, pad: true };
        self.step(node, kernel, range, &bound)?;
        Ok(Value { feature_major: Some(buffer), ..Value::default() })
    }

    pub(super) fn broadcast(&mut self, node: NodeId, rank: usize, at: &[u32]) -> Result<Value, Bug> {
        let view = self.row_major(self.operand(node, 0)?)?;
        let strides = placed(&view, at, rank).ok_or_else(|| shape_bug(node))?;
        Ok(Value::of(View { buffer: view.buffer, dims: self.dims(node)?, strides, offset: view.offset }))
    }

    pub(super) fn contract(&mut self, node: NodeId, lhs: &[u32], rhs: &[u32], out: &[u32]) -> Result<Value, Bug> {
        let (a, b) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let (va, vb) = (self.row_major(a)?, self.row_major(b)?);
        let summed: Vec<u32> = lhs.iter().copied().filter(|l| !out.contains(l)).collect();
        let strides = |v: &View, labels: &[u32], wanted: &[u32]| -> Vec<Extent> {
            let one = |l: &u32| labels.iter().position(|m| m == l).and_then(|i| v.strides.get(i).cloned());
            wanted.iter().map(|l| one(l).unwrap_or_else(|| Extent::fixed(0))).collect()
        };
        let factor = |v: &View, labels: &[u32]| {
            let (out, red) = (strides(v, labels, out), strides(v, labels, &summed));
            Factor { out, red, offset: v.offset }
        };
        let size = |l: &u32| lhs.iter().position(|m| m == l).and_then(|i| va.dims.get(i).cloned());
        let red = summed.iter().map(size).collect::<Option<Vec<Extent>>>().ok_or_else(|| shape_bug(node))?;
        let dims = self.dims(node)?;
        let spec = ReduceSpec {
            name: "contract".into(),
            f: Fold::Sum,
            out: dims,
            red,
            factors: vec![factor(&va, lhs), factor(&vb, rhs)],
            lanes: self.lanes,
        };
        self.reduction(node, &spec, &[va.buffer, vb.buffer])
    }

    pub(super) fn reduce(&mut self, node: NodeId, f: ReduceFn, removed: &[u32]) -> Result<Value, Bug> {
        match f {
            ReduceFn::ArgMax => return self.argmax(node, removed),
            ReduceFn::Any | ReduceFn::All => return self.truth(node, f, removed),
            _ => {}
        }
        let view = self.row_major(self.operand(node, 0)?)?;
        let fold = Fold::of(f).ok_or_else(|| Bug::new(format!("{node}: no reduction of that name")))?;
        self.fold(node, f, fold, &view, removed)
    }

    /// A reduction of an f32 value; `f` is what the program calls it.
    pub(super) fn fold(
        &mut self,
        node: NodeId,
        f: ReduceFn,
        fold: Fold,
        view: &View,
        removed: &[u32],
    ) -> Result<Value, Bug> {
        let gone = |d: usize| removed.contains(&(d as u32));
        let pick = |list: &[Extent], red: bool| -> Vec<Extent> {
            list.iter().enumerate().filter(|(d, _)| gone(*d) == red).map(|(_, e)| e.clone()).collect()
        };
        let spec = ReduceSpec {
            name: format!("reduce_{}", f.name()),
            f: fold,
            out: pick(&view.dims, false),
            red: pick(&view.dims, true),
            factors: vec![Factor {
                out: pick(&view.strides, false),
                red: pick(&view.strides, true),
                offset: view.offset,
            }],
            lanes: self.lanes,
        };
        self.reduction(node, &spec, &[view.buffer])
    }

    fn reduction(&mut self, node: NodeId, spec: &ReduceSpec, buffers: &[usize]) -> Result<Value, Bug> {
        let (kernel, range) = reduce(spec)?;
        let view = self.fresh(Role::Temp, DType::F32, &spec.out)?;
        let mut bound = vec![("y", StepArg::Buffer(view.buffer))];
        bound.extend(["a0", "a1"].into_iter().zip(buffers).map(|(n, b)| (n, StepArg::Buffer(*b))));
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(Value::of(view))
    }

    pub(super) fn gather(&mut self, node: NodeId, dim: u32) -> Result<Value, Bug> {
        let (table, ids) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let (vt, vi) = (self.contiguous(table)?, self.contiguous(ids)?);
        let (before, rest) = vt.dims.split_at_checked(dim as usize).ok_or_else(|| shape_bug(node))?;
        let (rows, after) = rest.split_first().ok_or_else(|| shape_bug(node))?;
        let dtype = self.dtype(table)?;
        let spec = GatherSpec {
            name: format!("gather_{dtype}"),
            dtype,
            before: Extent::product(before).ok_or_else(overflow)?,
            rows: rows.clone(),
            after: Extent::product(after).ok_or_else(overflow)?,
            ids: Extent::product(&vi.dims).ok_or_else(overflow)?,
            lanes: self.lanes,
        };
        let (kernel, range) = gather(&spec)?;
        let dims = self.dims(node)?;
        let view = self.fresh(Role::Temp, dtype, &dims)?;
        let status = self.buffer(Role::Status(node), Amount::exact(Extent::fixed(4)));
        let bound = [
            ("table", StepArg::Buffer(vt.buffer)),
            ("ids", StepArg::Buffer(vi.buffer)),
            ("y", StepArg::Buffer(view.buffer)),
            ("status", StepArg::Buffer(status)),
        ];
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(Value::of(view))
    }

    /// The features of a linear from `first` on, where they lie.
    pub(super) fn part(&mut self, node: NodeId, of: NodeId, first: u64) -> Result<Value, Bug> {
        let view = self.row_major(of)?;
        let (dims, strides) = (self.dims(node)?, view.strides);
        // The last stride of what a kernel wrote is 1.
        let offset = view.offset.checked_add(first).ok_or_else(overflow)?;
        Ok(Value::of(View { buffer: view.buffer, dims, strides, offset }))
    }

    pub(super) fn transpose(&mut self, node: NodeId, perm: &[u32]) -> Result<Value, Bug> {
        if let Some((from, at)) = channels_of(self.graph, node)?
            && self.value(from)?.feature_major.is_some()
        {
            return self.channels(node, from, at);
        }
        let operand = self.value(self.operand(node, 0)?)?;
        if let (None, Some(places)) = (&operand.view, &operand.places) {
            let turned = places.permuted(perm).ok_or_else(|| shape_bug(node))?;
            return Ok(Value { places: Some(turned), ..Value::default() });
        }
        let view = self.row_major(self.operand(node, 0)?)?;
        let strides = perm.iter().map(|p| view.strides.get(*p as usize).cloned()).collect::<Option<Vec<Extent>>>();
        let strides = strides.ok_or_else(|| shape_bug(node))?;
        Ok(Value::of(View { buffer: view.buffer, dims: self.dims(node)?, strides, offset: view.offset }))
    }

    pub(super) fn split(&mut self, node: NodeId, dim: u32, into: &[Dim]) -> Result<Value, Bug> {
        let view = self.row_major(self.operand(node, 0)?)?;
        let at = dim as usize;
        let mut stride = view.strides.get(at).cloned().ok_or_else(|| shape_bug(node))?;
        let mut parts = Vec::with_capacity(into.len());
        for d in into.iter().rev() {
            parts.push(stride.clone());
            stride = stride.times(&Extent::from(d.size)).ok_or_else(overflow)?;
        }
        parts.reverse();
        let mut strides = view.strides.clone();
        strides.splice(at..=at, parts);
        Ok(Value::of(View { buffer: view.buffer, dims: self.dims(node)?, strides, offset: view.offset }))
    }

    pub(super) fn merge(&mut self, node: NodeId, dim: u32, count: u32) -> Result<Value, Bug> {
        if self.plan.values.get(&node) == Some(&Act::Fm) {
            if !is_unfolded(self.graph, node)? {
                return Err(Bug::new(format!("{node} cannot be feature-major")));
            }
            return self.unfold(node, dim as usize);
        }
        let operand = self.operand(node, 0)?;
        let (from, to) = (dim as usize, dim as usize + count as usize);
        let merged = |v: &View| -> Option<Extent> {
            let (dims, strides) = (v.dims.get(from..to)?, v.strides.get(from..to)?);
            // Dimensions of size 1 may have any stride.
            let real: Vec<usize> = (0..dims.len()).filter(|d| !dims[*d].is_one()).collect();
            let joins = |w: &[usize]| strides[w[1]].times(&dims[w[1]]).is_some_and(|s| s == strides[w[0]]);
            if !real.windows(2).all(joins) {
                return None;
            }
            Some(real.last().map_or_else(|| Extent::fixed(1), |d| strides[*d].clone()))
        };
        let mut view = self.row_major(operand)?;
        if merged(&view).is_none() {
            view = self.contiguous(operand)?;
        }
        let stride = merged(&view).ok_or_else(|| shape_bug(node))?;
        let mut strides = view.strides.clone();
        strides.splice(from..to, [stride]);
        Ok(Value::of(View { buffer: view.buffer, dims: self.dims(node)?, strides, offset: view.offset }))
    }
}
