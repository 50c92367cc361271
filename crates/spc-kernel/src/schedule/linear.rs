//! Steps of linears.
use super::Scheduler;
use super::value::{Integers, Value};
use crate::extent::Extent;
use crate::program::{Amount, PackedPort, Role, StepArg};
use crate::templates::{
    LinearSpec, ORDER, Tuning, beside_name, blocks8, few, groups, panel, pick8, rowblock_tuned, rowlist, tiles_pay,
    tiles8,
};
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::{Act, Beside, DType, Epilogue, NodeId, ScalarExpr};

impl Scheduler<'_> {
    /// A linear with its epilogue: what the kernel writes is the value of the epilogue's node, where there is one.
    pub(super) fn linear(&mut self, node: NodeId, bias: bool, act: Option<&ScalarExpr>) -> Result<(), Bug> {
        let fail = |e: String| Bug::new(format!("{node}: {e}"));
        let plan = *self.linears.get(&node).ok_or_else(|| fail("a linear without a plan".into()))?;
        let layout: Layout = plan.layout.parse().map_err(|e: spc_formats::Refusal| fail(e.0))?;
        let fused = plan.epilogue.map(|m| self.epilogue(node, m)).transpose()?;
        let act = act.or(fused.as_ref().map(|e| &e.expr));
        let read = fused.as_ref().map_or(&[][..], |e| &e.beside);
        let beside: Vec<Beside> = read.iter().map(|(_, kind)| *kind).collect();
        let (x, w) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let (rows, cols) = self.graph.ty(w)?.matrix().ok_or_else(|| fail("the weight is no matrix".into()))?;
        let (tokens, _) = self.matrix(x)?;
        let spec = LinearSpec { layout, rows, cols, bias, act, beside: &beside, lanes: self.lanes };

        let port = PackedPort { weight: plan.weight.clone(), layout, rows, cols };
        let tuning = Tuning::of(&spec, self.tuned(&tokens));
        let tiles = self.tiles && tiles_pay(&layout, self.tuned(&tokens));
        let blocking = tuning.blocks(&spec).filter(|_| plan.x == Act::Fm).or(tiles.then_some(ORDER));
        let mut bound: Vec<(&str, StepArg)> = self.packed_buffers(port, blocking);
        if bias {
            let b = self.operand(node, 2)?;
            bound.push(("bias", StepArg::Buffer(self.contiguous(b)?.buffer)));
        }
        for (i, (value, kind)) in read.iter().enumerate() {
            let buffer = match kind {
                Beside::Residual if plan.y == Act::Fm => self.feature_major(*value)?,
                _ => self.contiguous(*value)?.buffer,
            };
            let name = beside_name(i).ok_or_else(|| fail("an epilogue reads too much".into()))?;
            bound.push((name, StepArg::Buffer(buffer)));
        }
        let written = plan.epilogue.unwrap_or(node);
        let (kernel, value) = match (plan.x, plan.y) {
            (Act::Rm, Act::Rm) if layout.needs_integers() => {
                let from = self.graph.rounded(x)?.ok_or_else(|| fail(format!("{layout} reads no rounded value")))?;
                let order = match layout.needs_integer_rows() {
                    true => Integers::Rows,
                    false if tiles => Integers::Tiles16,
                    false => Integers::Tiles,
                };
                let (q, s) = self.integers(node, from, cols, order)?;
                bound.push(("q", StepArg::Buffer(q)));
                bound.push(("s", StepArg::Buffer(s)));
                bound.push(("n", StepArg::Amount(Amount::exact(tokens))));
                let dims = self.dims(written)?;
                let y = self.fresh(Role::Temp, DType::F32, &dims)?;
                bound.push(("y", StepArg::Buffer(y.buffer)));
                let kernel = match order {
                    Integers::Rows => pick8(&spec)?,
                    Integers::Tiles16 => tiles8(&spec)?,
                    Integers::Tiles => blocks8(&spec)?,
                };
                (kernel, Value::of(y))
            }
            (Act::Fm, Act::Fm) => {
                bound.push(("x", StepArg::Buffer(self.feature_major(x)?)));
                bound.push(("np", StepArg::Amount(Amount { per: 1, of: tokens, pad: true })));
                let y = self.fresh_feature_major(written)?;
                bound.push(("y", StepArg::Buffer(y)));
                (rowblock_tuned(&spec, tuning)?, Value { feature_major: Some(y), ..Value::default() })
            }
            (Act::Rm, Act::Rm) if layout.row_major() => {
                bound.push(("x", StepArg::Buffer(self.contiguous(x)?.buffer)));
                bound.push(("n", StepArg::Amount(Amount::exact(tokens))));
                let dims = self.dims(written)?;
                let y = self.fresh(Role::Temp, DType::F32, &dims)?;
                bound.push(("y", StepArg::Buffer(y.buffer)));
                let spec = LinearSpec { lanes: spec.panel_lanes(), ..spec };
                let kernel = match spec.base() {
                    Layout::Dense { .. } => panel(&spec)?,
                    Layout::Csr16 => rowlist(&spec)?,
                    Layout::Groups { .. } => groups(&spec)?,
                    _ => few(&spec)?,
                };
                (kernel, Value::of(y))
            }
            (Act::Rm, Act::Rm) => return Err(fail(format!("{layout} has no row-major kernel"))),
            _ => return Err(fail("no kernel changes the layout of activations on the way".into())),
        };
        let range = if plan.x == Act::Fm { tuning.range(&spec) } else { spec.blocks() };
        self.step(node, kernel, Amount::exact(Extent::fixed(range as u64)), &bound)?;
        self.values.insert(written, value);
        Ok(())
    }

    /// The number that the plan is tuned for.
    fn tuned(&self, n: &Extent) -> u64 {
        let size = |s: &spc_ir::Sym| self.plan.tuned_for.get(&s.name).copied().unwrap_or(1);
        let sizes: Vec<u64> = self.graph.syms.iter().map(size).collect();
        n.bind(&sizes).unwrap_or(u64::MAX)
    }

    /// What a map that runs in the kernel of a linear does.
    pub(super) fn epilogue(&self, linear: NodeId, map: NodeId) -> Result<Epilogue, Bug> {
        let found = Epilogue::fused(self.graph, linear, map)?;
        found.ok_or_else(|| Bug::new(format!("{map} cannot be the epilogue of {linear}")))
    }
}
