//! Steps of choices among run-time values, and of reductions to other types than f32.
use super::ops::shape_bug;
use super::value::{Value, View};
use super::{Scheduler, overflow};
use crate::extent::Extent;
use crate::ir::Kernel;
use crate::program::{Amount, Role, StepArg};
use crate::templates::{Fold, MapSpec, Operand, ScoreSpec, argmax, contiguous, map, rank, top};
use spc_base::Bug;
use spc_ir::{DType, NodeId, ReduceFn, ScalarExpr, Top};

/// Scores as `[scopes, groups]`: which dimension of the value each one is, and the sizes.
struct Scores {
    order: Vec<usize>,
    dims: Vec<Extent>,
    spec: ScoreSpec,
}

impl Scheduler<'_> {
    fn scores(&self, node: NodeId, groups: &[u32]) -> Result<Scores, Bug> {
        let dims = self.dims(node)?;
        let inside = |d: &usize| groups.contains(&(*d as u32));
        let (inner, outer): (Vec<usize>, Vec<usize>) = (0..dims.len()).partition(inside);
        let size = |list: &[usize]| Extent::product(list.iter().map(|d| &dims[*d])).ok_or_else(overflow);
        let spec = ScoreSpec { scopes: size(&outer)?, groups: size(&inner)?, lanes: self.lanes };
        let order: Vec<usize> = outer.into_iter().chain(inner).collect();
        let dims = order.iter().map(|d| dims[*d].clone()).collect();
        Ok(Scores { order, dims, spec })
    }

    /// The buffer of a value with its dimensions in this order, without gaps.
    fn in_order(&mut self, node: NodeId, s: &Scores) -> Result<usize, Bug> {
        let view = self.row_major(node)?;
        let strides = s.order.iter().map(|d| view.strides.get(*d).cloned()).collect::<Option<Vec<_>>>();
        let strides = strides.ok_or_else(|| shape_bug(node))?;
        let turned = View { buffer: view.buffer, dims: s.dims.clone(), strides, offset: view.offset };
        if turned.is_contiguous() { Ok(turned.buffer) } else { Ok(self.copy(node, &turned, Role::Temp)?.buffer) }
    }

    /// A buffer for a result of the shape of the scores, and the result as the graph sees it.
    fn result(&mut self, node: NodeId, s: &Scores) -> Result<View, Bug> {
        let dtype = self.dtype(node)?;
        let made = self.fresh(Role::Temp, dtype, &s.dims)?;
        let own = contiguous(&s.dims)?;
        let mut strides = own.clone();
        for (d, stride) in s.order.iter().zip(own) {
            strides[*d] = stride;
        }
        Ok(View { buffer: made.buffer, dims: self.dims(node)?, strides, offset: made.offset })
    }

    fn chosen(&mut self, node: NodeId, s: &Scores, kernel: Kernel, bound: &[(&str, StepArg)]) -> Result<(), Bug> {
        let status = self.buffer(Role::Status(node), Amount::exact(Extent::fixed(4)));
        let mut all = bound.to_vec();
        all.push(("status", StepArg::Buffer(status)));
        self.step(node, kernel, Amount::exact(s.spec.scopes.clone()), &all)
    }

    pub(super) fn top(&mut self, node: NodeId, t: &Top) -> Result<Value, Bug> {
        let operand = self.operand(node, 0)?;
        let s = self.scores(operand, &t.dims)?;
        let kernel = top(&s.spec, t)?;
        let mut bound = vec![("score", StepArg::Buffer(self.in_order(operand, &s)?))];
        if t.among {
            let among = self.operand(node, 1)?;
            bound.push(("among", StepArg::Buffer(self.in_order(among, &s)?)));
        }
        let y = self.result(node, &s)?;
        let rest = self.fresh(Role::Temp, DType::F32, &s.dims)?;
        bound.push(("y", StepArg::Buffer(y.buffer)));
        bound.push(("rest", StepArg::Buffer(rest.buffer)));
        self.chosen(node, &s, kernel, &bound)?;
        Ok(Value::of(y))
    }

    pub(super) fn rank(&mut self, node: NodeId, dims: &[u32]) -> Result<Value, Bug> {
        let operand = self.operand(node, 0)?;
        let s = self.scores(operand, dims)?;
        let kernel = rank(&s.spec)?;
        let score = self.in_order(operand, &s)?;
        let y = self.result(node, &s)?;
        self.chosen(node, &s, kernel, &[("score", StepArg::Buffer(score)), ("y", StepArg::Buffer(y.buffer))])?;
        Ok(Value::of(y))
    }

    pub(super) fn argmax(&mut self, node: NodeId, dims: &[u32]) -> Result<Value, Bug> {
        let operand = self.operand(node, 0)?;
        let s = self.scores(operand, dims)?;
        let kernel = argmax(&s.spec)?;
        let score = self.in_order(operand, &s)?;
        let dims = self.dims(node)?;
        let y = self.fresh(Role::Temp, DType::I32, &dims)?;
        self.chosen(node, &s, kernel, &[("score", StepArg::Buffer(score)), ("y", StepArg::Buffer(y.buffer))])?;
        Ok(Value::of(y))
    }

    /// A reduction of truth values, as the greatest or the least of 0 and 1.
    pub(super) fn truth(&mut self, node: NodeId, f: ReduceFn, removed: &[u32]) -> Result<Value, Bug> {
        let view = self.row_major(self.operand(node, 0)?)?;
        let number = ScalarExpr::parse("(f32 a0)").map_err(Bug::new)?;
        let numbers = self.pointwise(node, &number, (DType::Bool, DType::F32), &view)?;
        let fold = if f == ReduceFn::Any { Fold::Max } else { Fold::Min };
        let folded = self.fold(node, f, fold, &numbers, removed)?;
        let folded = folded.view.ok_or_else(|| shape_bug(node))?;
        let truth = ScalarExpr::parse("(gt a0 0.5)").map_err(Bug::new)?;
        Ok(Value::of(self.pointwise(node, &truth, (DType::F32, DType::Bool), &folded)?))
    }

    fn pointwise(
        &mut self,
        node: NodeId,
        expr: &ScalarExpr,
        (from, to): (DType, DType),
        x: &View,
    ) -> Result<View, Bug> {
        let y = self.fresh(Role::Temp, to, &x.dims)?;
        let args = vec![Operand { dtype: from, strides: x.strides.clone(), offset: x.offset }];
        let dims = x.dims.clone();
        let spec = MapSpec { name: "map".into(), expr, dtype: to, dims, args, to: None, lanes: self.lanes };
        let (kernel, range) = map(&spec)?;
        let bound = [("a0", StepArg::Buffer(x.buffer)), ("y", StepArg::Buffer(y.buffer))];
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(y)
    }
}
