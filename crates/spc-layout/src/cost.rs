//! Prices of everything that a plan may contain, in picoseconds. What a linear's kernel takes is in `kernel`; weights are
//! read at the rate of the memory level that holds all weights of the graph when dense (a plan that fits a nearer level is
//! underrated).
use crate::kernel::Shape;
use crate::machine::Machine;
use crate::model::{Model, Moves};
use spc_base::Bug;
use spc_formats::{CostFacts, Layout};
use spc_ir::structure::read_in_place;
use spc_ir::{Act, BinFn, Measured, NodeId, Op, ScalarExpr, UnFn};

/// Prices of everything that a plan may contain, for one table and one binding of the free axes.
pub(crate) struct Prices<'a> {
    pub model: &'a Model<'a>,
    pub machine: Machine<'a>,
    /// Sizes of the free axes; those of the model or others.
    pub syms: &'a [u64],
    /// Times of kernels that were measured at the sizes of the model.
    pub measured: &'a [Measured],
}

/// Tokens of a tile of the feature-major layout.
const TILE: u128 = 48;

/// Cheap operations on single elements that take as long as what a run of a copy takes beside its elements.
const RUN: u128 = 512;

/// A layout must be predicted to save this share (of 100) of the dense kernel's time, about what predictions are wrong by; else it is
/// priced as if it took that much more, so that what else it saves (conversions) has to outweigh that.
const DOUBT: u64 = 10;

/// The same where it would not save [`DOUBT`] with weights in the nearest memory that holds them: then the gain rests on how fast
/// memory is, the least certain of what a prediction is made of.
const FAR_DOUBT: u64 = 25;

fn clamp(x: u128) -> u64 {
    u64::try_from(x).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}

impl Prices<'_> {
    fn elements(&self, node: NodeId) -> Result<u128, Bug> {
        let ty = self.model.graph.ty(node)?;
        let size =
            |d: &spc_ir::Dim| d.size.bind(self.syms).ok_or_else(|| Bug::new(format!("{node}: a size is not bound")));
        ty.dims.iter().try_fold(1u128, |n, d| Ok(n.saturating_mul(u128::from(size(d)?))))
    }

    /// Tokens and features of a matrix: the product of the leading axes, and the last axis.
    fn tokens(&self, node: NodeId) -> Result<(u128, u128), Bug> {
        let features = self.model.graph.ty(node)?.dims.last().and_then(|d| d.size.fixed());
        let features = u128::from(features.ok_or_else(|| Bug::new(format!("{node} is no matrix")))?);
        let all = self.elements(node)?;
        // A matrix without features still has its tokens, but nothing is done with them.
        Ok((all.checked_div(features).unwrap_or(0), features))
    }

    fn padded(&self, tokens: u128, act: Act) -> u128 {
        u128::from(self.machine.padded(clamp(tokens), act))
    }

    /// Cheap operations of an expression, and calls of functions.
    fn expression(e: &ScalarExpr) -> (u128, u128) {
        let own = match e {
            ScalarExpr::Arg(_) | ScalarExpr::Const(_) => (0, 0),
            ScalarExpr::Un(UnFn::Neg | UnFn::Abs | UnFn::Not | UnFn::Sqrt | UnFn::Floor, _) => (1, 0),
            ScalarExpr::Un(..) | ScalarExpr::Bin(BinFn::Pow | BinFn::Div, ..) => (0, 1),
            ScalarExpr::Bin(..) | ScalarExpr::Select(..) | ScalarExpr::Cast(..) => (1, 0),
        };
        let add = |a: (u128, u128), b: (u128, u128)| (a.0.saturating_add(b.0), a.1.saturating_add(b.1));
        e.children().into_iter().map(Self::expression).fold(own, add)
    }

    fn stream(&self, elements: u128) -> u128 {
        self.machine.stream_ps(elements)
    }

    /// One linear: kernel of `layout` that reads and writes `act`, with `epilogue` (a pointwise node) fused if given.
    pub fn linear(
        &self,
        linear: NodeId,
        layout: Layout,
        facts: &CostFacts,
        act: Act,
        epilogue: Option<NodeId>,
    ) -> Result<u64, Bug> {
        let (tokens, outputs) = self.tokens(linear)?;
        let x = self.model.graph.inputs(linear);
        let x = x.first().ok_or_else(|| Bug::new(format!("{linear}: a linear without an input")))?;
        let (_, inputs) = self.tokens(*x)?;
        let shape = Shape {
            tokens: clamp(tokens),
            inputs: clamp(inputs),
            outputs: clamp(outputs),
            resident: self.model.weight_bytes,
        };
        let mut kernel = self.machine.kernel_ps(layout, facts, act, shape);
        let (all, bytes) = (shape.inputs.saturating_mul(shape.outputs), facts.stored_bytes);
        if !matches!(layout, Layout::Dense { .. })
            && let Some(f) = self.dense(linear).map(|f| CostFacts { multiplies: all, ..*f })
        {
            let dense = self.machine.kernel_ps(Layout::DENSE, &f, act, shape);
            // What leaves nothing out is never cheaper than dense, whatever noise is in a table: it does the same, and reads an
            // index. What leaves something out and saves less than a prediction is sure of is no reason to leave dense; what
            // stores everything in fewer bits is smaller in any case.
            let whole = facts.multiplies >= all;
            let nothing = whole && bytes >= all.saturating_mul(4);
            let saves = |own: u64, dense: u64, share: u64| own.saturating_mul(100) <= dense.saturating_mul(100 - share);
            let near = |layout, facts: &CostFacts| {
                self.machine.kernel_ps(layout, facts, act, Shape { resident: facts.stored_bytes, ..shape })
            };
            let anywhere = self.machine.is_gpu() || saves(near(layout, facts), near(Layout::DENSE, &f), DOUBT);
            if nothing || (!whole && !saves(kernel, dense, if anywhere { DOUBT } else { FAR_DOUBT })) {
                kernel =
                    kernel.max(dense.saturating_add(1)).max(clamp(u128::from(dense) * u128::from(100 + DOUBT) / 100));
            }
        }
        let elements = self.padded(tokens, act).saturating_mul(outputs);
        let mut finish = 0u128;
        if let Op::Linear { act: Some(e), .. } = &self.model.graph.node(linear)?.op {
            finish = self.machine.pointwise_ps(elements, Self::expression(e));
        }
        if let Some(m) = epilogue
            && let Op::Map { expr, .. } = &self.model.graph.node(m)?.op
        {
            finish = finish.saturating_add(self.machine.pointwise_ps(elements, Self::expression(expr)));
            // What it reads of the result's shape, but for the sum.
            let shape = self.model.graph.ty(m)?.sizes();
            let mut whole = self.model.graph.inputs(m);
            whole.sort_unstable();
            whole.dedup();
            let mut read = 0u128;
            for operand in whole {
                read += u128::from(self.model.graph.ty(operand)?.sizes() == shape);
            }
            let stream = self.stream(elements.saturating_mul(read.saturating_sub(1)));
            finish = finish.saturating_add(stream.saturating_sub(self.stream(0)));
        }
        Ok(clamp(u128::from(kernel).saturating_add(finish)))
    }

    /// The facts of the dense layout of a linear, if it is a candidate.
    fn dense(&self, linear: NodeId) -> Option<&CostFacts> {
        let value = self.model.values.iter().position(|v| v.node == Some(linear))?;
        let at = self.model.layouts.iter().position(|l| *l == Layout::DENSE)?;
        self.model.as_linear(value)?.facts(at as u32)
    }

    /// As [`Prices::linear`], with the measured time of the kernel where there is one for these sizes. It was measured with
    /// what is fused into it.
    pub fn planned(
        &self,
        linear: NodeId,
        layout: Layout,
        facts: &CostFacts,
        act: Act,
        epilogue: Option<NodeId>,
    ) -> Result<u64, Bug> {
        if self.syms == self.model.syms.as_slice()
            && !self.measured.is_empty()
            && let Some(ps) = self.time_of(linear, layout, act)
        {
            return Ok(ps);
        }
        self.linear(linear, layout, facts, act, epilogue)
    }

    /// The measured time of a kernel, if it was measured.
    pub fn time_of(&self, linear: NodeId, layout: Layout, act: Act) -> Option<u64> {
        let same = |m: &&Measured| m.node == linear && m.act == act && m.layout.parse() == Ok(layout);
        self.measured.iter().find(same).map(|m| m.ps)
    }

    /// Whether a kernel may be used: where some of a linear's were measured, only those may.
    pub fn may(&self, linear: NodeId, layout: Layout, act: Act) -> bool {
        !self.measured.iter().any(|m| m.node == linear) || self.time_of(linear, layout, act).is_some()
    }

    /// A pointwise node in `act`.
    pub fn map(&self, node: NodeId, act: Act) -> Result<u64, Bug> {
        let Op::Map { expr, at } = &self.model.graph.node(node)?.op else {
            return Err(Bug::new(format!("{node} is not pointwise")));
        };
        let (tokens, features) = self.tokens(node)?;
        let elements = self.padded(tokens, act).saturating_mul(features);
        let full = at.iter().filter(|p| !p.is_empty()).count() as u128 + 1;
        let work = self.machine.pointwise_ps(elements, Self::expression(expr));
        Ok(clamp(self.stream(elements.saturating_mul(full)).saturating_add(work)))
    }

    /// Any other node. The same in every plan, so it only has to be of the right size.
    pub fn opaque(&self, node: NodeId) -> Result<u64, Bug> {
        let n = self.model.graph.node(node)?;
        let mut elements = self.elements(node)?;
        for i in self.model.graph.inputs(node) {
            elements = elements.saturating_add(self.elements(i)?);
        }
        Ok(clamp(match &n.op {
            Op::Input { .. } | Op::Weight { .. } | Op::Const { .. } | Op::Split { .. } | Op::Merge { .. } => 0,
            Op::Map { expr, .. } => {
                let work = self.machine.pointwise_ps(self.elements(node)?, Self::expression(expr));
                self.stream(elements).saturating_add(work)
            }
            Op::Gather { .. } => self.stream(self.elements(node)?.saturating_mul(2)),
            Op::Contract { lhs, rhs, out } => {
                let mut work = self.elements(node)?;
                let inputs = self.model.graph.inputs(node);
                for (labels, i) in [lhs, rhs].into_iter().zip(inputs).take(1) {
                    for (l, d) in labels.iter().zip(&self.model.graph.ty(i)?.dims) {
                        if !out.contains(l) {
                            work = work.saturating_mul(u128::from(d.size.bind(self.syms).unwrap_or(1)));
                        }
                    }
                }
                self.stream(elements).saturating_add(self.machine.contract_ps(work))
            }
            _ => self.stream(elements),
        }))
    }

    /// An operator that may also write ([`Moves::Unfold`]) or read ([`Moves::Channels`]) a feature-major matrix, when it does so
    /// (`act` is `Fm`) or not. Others cost what [`Prices::opaque`] says.
    ///
    /// A kernel that copies runs takes a while for each of them, however short it is. Feature-major, runs are those of tokens
    /// in a tile; row-major, those of the last dimension that becomes features. A transpose that finds its operand row-major
    /// is left to its readers, which take its elements one by one: no less than turning squares takes.
    pub fn moved(&self, value: usize, act: Act) -> Result<u64, Bug> {
        let node = self.model.node(value)?;
        let own = self.opaque(node)?;
        let Some(moves) = self.model.values.get(value).and_then(|v| v.moves) else { return Ok(own) };
        let from = self.model.graph.inputs(node);
        let from = *from.first().ok_or_else(|| Bug::new(format!("{node} has no operand")))?;
        let last = |n: usize| -> Result<u128, Bug> {
            let dims = &self.model.graph.ty(from)?.dims;
            let size = dims.len().checked_sub(n).and_then(|d| dims.get(d)?.size.bind(self.syms));
            Ok(size.map_or(1, |n| u128::from(n.max(1))))
        };
        let more = match (moves, act) {
            (Moves::Channels, Act::Fm) => 0,
            (Moves::Channels, Act::Rm) => u128::from(self.convert(from)?),
            (Moves::Unfold, act) => {
                let (tokens, features) = self.tokens(node)?;
                let run = match (act, &self.model.graph.node(node)?.op) {
                    (Act::Fm, Op::Merge { count, .. }) => last(*count as usize + 1)?.min(TILE),
                    _ => last(1)?,
                };
                let runs = self.padded(tokens, act).saturating_mul(features) / run.max(1);
                self.machine.pointwise_ps(runs, (RUN, 0))
            }
        };
        Ok(clamp(u128::from(own).saturating_add(more)))
    }

    /// A range of a linear's features, read by what reads `node`: nothing where it is read in place, else a copy. On a CPU every
    /// reader of what may be merged reads in place.
    pub fn part(&self, node: NodeId) -> Result<u64, Bug> {
        if !self.machine.is_gpu() || read_in_place(self.model.graph, node)? {
            return Ok(0);
        }
        Ok(clamp(self.stream(self.elements(node)?.saturating_mul(2))))
    }

    /// Writing a value a second time in the other layout.
    pub fn convert(&self, node: NodeId) -> Result<u64, Bug> {
        let (tokens, features) = self.tokens(node)?;
        let elements = tokens.saturating_add(self.padded(tokens, Act::Fm)).saturating_mul(features);
        Ok(clamp(self.machine.convert_ps(elements)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CostTable;
    use crate::testing::{F, Net, Zeros};
    use std::collections::BTreeMap;

    /// Table in which every price can be done in the head: 1 ps a multiply-add and token, 1 byte a nanosecond.
    fn simple() -> CostTable {
        let r = crate::Rates::flat(1_000, 0, 0, 0);
        let mut t = CostTable::clif_x86_64_v1();
        (t.dense_rm, t.dense_fm, t.vx1, t.bsr, t.nm, t.csr) = (r, r, r, r, r, r);
        (t.lists_rm, t.nm16, t.csr16, t.vnm16, t.bitmap) = (r, r, r, r, r);
        t.levels = vec![crate::Level { up_to_bytes: 0, bytes_per_us: 1_000_000_000 }];
        (t.activation_bytes_per_us, t.convert_bytes_per_us) = (1_000, 1_000);
        (t.launch_ps, t.element_ps, t.call_ps) = (7, 3, 11);
        t
    }

    fn with<T>(b: u64, table: &CostTable, f: impl FnOnce(&Prices<'_>, &[NodeId]) -> T) -> T {
        let mut net = Net::new();
        let y = net.linear(net.x, Zeros::None);
        let z = net.exp(y);
        let x = net.x;
        let net = net.output(z);
        let model = Model::new(&net.g, &net.facts, &BTreeMap::from([("B".to_string(), b)])).unwrap();
        f(&Prices { model: &model, machine: table.into(), syms: &model.syms, measured: &[] }, &[x, y, z])
    }

    fn dense(multiplies: u64) -> CostFacts {
        let (stored_bytes, present) = (4 * multiplies, multiplies);
        CostFacts { present, stored_bytes, multiplies, activation_loads: 0, row_blocks: 0, units: 0 }
    }

    #[test]
    fn a_linear_pays_compute_traffic_launch_and_epilogue() {
        let table = simple();
        with(20, &table, |p, n| {
            let price = |act, epilogue| p.linear(n[1], Layout::DENSE, &dense(1024), act, epilogue).unwrap();
            let bytes_ps = |tokens: u64| tokens * 2 * F * 4 * 1000;
            assert_eq!(price(Act::Rm, None), 20 * 1024 + bytes_ps(20) + 7);
            // Feature-major work is padded to 32 tokens.
            assert_eq!(price(Act::Fm, None), 32 * 1024 + bytes_ps(32) + 7);
            assert_eq!(price(Act::Rm, Some(n[2])), price(Act::Rm, None) + 20 * F * 11);
            assert_eq!(p.map(n[2], Act::Rm).unwrap(), bytes_ps(20) + 7 + 20 * F * 11);
            assert_eq!(p.map(n[2], Act::Fm).unwrap(), bytes_ps(32) + 7 + 32 * F * 11);
            assert_eq!(p.convert(n[1]).unwrap(), (20 + 32) * F * 4 * 1000 + 7);
            assert_eq!(p.opaque(n[0]).unwrap(), 0);
        });
    }

    #[test]
    fn what_saves_less_than_is_certain_costs_more_than_dense() {
        // A picosecond for each byte of activations, so that multiplies are most of the time.
        let table = CostTable { activation_bytes_per_us: 1_000_000, ..simple() };
        let moved = 16 * 2 * F * 4;
        with(16, &table, |p, n| {
            let price = |layout: &str, multiplies: u64| {
                let facts = CostFacts { stored_bytes: 0, ..dense(multiplies) };
                p.linear(n[1], layout.parse().unwrap(), &facts, Act::Fm, None).unwrap()
            };
            let full = price("dense(16)", F * F);
            let mut littles = 0;
            for share in [99, 96, 90, 50] {
                let own = full - 16 * (F * F - F * F * share / 100);
                let little = own * 100 > full * 90;
                littles += u32::from(little);
                assert_eq!(price("csr", F * F * share / 100), if little { full * 110 / 100 } else { own }, "{share} %");
            }
            assert!((1..4).contains(&littles), "{littles}");
            assert_eq!(price("csr", 2 * F * F), 2 * (full - 7 - moved) + 7 + moved);
        });
    }

    #[test]
    fn an_epilogue_pays_for_what_it_reads_and_for_no_launch() {
        let table = simple();
        let mut net = Net::new();
        let y = net.linear(net.x, Zeros::None);
        let z = net.plus(net.x, y);
        let net = net.output(z);
        let model = Model::new(&net.g, &net.facts, &BTreeMap::from([("B".to_string(), 20)])).unwrap();
        let p = Prices { model: &model, machine: (&table).into(), syms: &model.syms, measured: &[] };
        let price = |epilogue| p.linear(y, Layout::DENSE, &dense(1024), Act::Rm, epilogue).unwrap();
        // A read of the residual and an addition for each element; by itself two reads, a write, and a launch.
        assert_eq!(price(Some(z)), price(None) + 20 * F * (4 * 1000 + 3));
        assert_eq!(p.map(z, Act::Rm).unwrap(), 20 * F * (3 * 4 * 1000 + 3) + 7);
    }

    #[test]
    fn windows_cost_their_runs_and_images_what_turning_takes() {
        let table = simple();
        let mut net = Net::new();
        let (x, w) = (net.x, net.windows(net.x));
        let t = net.g.add(Op::Transpose { perm: vec![1, 0] }, &[x]).unwrap();
        let net = net.output(w).output(t);
        let at = |b: u64, node: NodeId, act| {
            let model = Model::new(&net.g, &net.facts, &BTreeMap::from([("B".to_string(), b)])).unwrap();
            let p = Prices { model: &model, machine: (&table).into(), syms: &model.syms, measured: &[] };
            let value = model.values.iter().position(|v| v.node == Some(node)).unwrap();
            (p.moved(value, act).unwrap(), p.opaque(node).unwrap(), p.convert(x).unwrap())
        };
        // Row-major runs of 2, feature-major runs of 20 tokens (32 with pads) or, in 100 tokens (112), of 48.
        let run = 512 * 3;
        for (b, padded, tokens) in [(20, 32, 20), (100, 112, 48)] {
            let (rm, fm) = (at(b, w, Act::Rm), at(b, w, Act::Fm));
            assert_eq!((rm.0 - rm.1, fm.0 - fm.1), (b * F / 2 * run, padded * F / tokens * run));
        }
        let (rm, fm) = (at(20, t, Act::Rm), at(20, t, Act::Fm));
        assert_eq!((rm.0, fm.0), (rm.1 + rm.2, fm.1));
    }

    #[test]
    fn few_tokens_wait_for_the_weights() {
        let mut table = simple();
        table.levels = vec![crate::Level { up_to_bytes: 0, bytes_per_us: 1_000 }];
        let price = |b| {
            with(b, &table, |p, n| p.linear(n[1], Layout::DENSE, &dense(1024), Act::Rm, None).unwrap())
                - b * 2 * F * 4 * 1000
                - 7
        };
        assert_eq!((price(1), price(2)), (4096 * 1000, 4096 * 1000), "bytes decide");
        table.dense_rm.mul_fs = 1_000_000_000;
        let price = with(2, &table, |p, n| p.linear(n[1], Layout::DENSE, &dense(1024), Act::Rm, None).unwrap());
        assert_eq!(price, 2 * 1024 * 1_000_000 + 2 * 2 * F * 4 * 1000 + 7, "compute decides");
    }

    #[test]
    fn sizes_beyond_reason_saturate() {
        let mut table = simple();
        table.vx1.mul_fs = u64::MAX;
        with(1024, &table, |p, n| {
            let huge = CostFacts { multiplies: u64::MAX, stored_bytes: u64::MAX, ..dense(1) };
            let price = p.linear(n[1], Layout::Vx1 { v: 4 }, &huge, Act::Fm, None).unwrap();
            assert_eq!(price, u64::MAX / 4);
        });
    }
}
