//! Steps that round activations to 8 bits.
use super::Scheduler;
use super::value::{Integers, Value, View};
use crate::extent::Extent;
use crate::program::{Amount, Role, StepArg};
use crate::templates::{SCRATCH, round_in_place, round_rows, round_tokens, round_tokens16, row_bytes};
use spc_base::Bug;
use spc_ir::{DType, NodeId};

impl Scheduler<'_> {
    /// A rounded value. Nothing is computed until something reads it, as floats or as integers.
    pub(super) fn round(&self, node: NodeId, last: usize) -> Result<Value, Bug> {
        let dims = self.dims(node)?;
        let split = dims.len().checked_sub(last).ok_or_else(|| Bug::new("rounded dimensions are out of range"))?;
        let features = Extent::product(&dims[split..]).and_then(|e| usize::try_from(e.known()?).ok());
        let features = features.ok_or_else(|| Bug::new(format!("{node} rounds over a size that is not known")))?;
        Ok(Value { rounds: Some((self.operand(node, 0)?, features)), ..Value::default() })
    }

    /// Tokens of a value of that many features each.
    fn tokens(&self, node: NodeId, features: usize) -> Result<Extent, Bug> {
        let (mut dims, mut inside) = (self.dims(node)?, Extent::fixed(1));
        while inside.known() != Some(features as u64) {
            let d = dims.pop().ok_or_else(|| Bug::new(format!("{node} has other features")))?;
            inside = inside.times(&d).ok_or_else(super::overflow)?;
        }
        Extent::product(&dims).ok_or_else(super::overflow)
    }

    pub(super) fn round_in_place(&mut self, node: NodeId, from: NodeId, features: usize) -> Result<View, Bug> {
        let x = self.contiguous(from)?;
        let dims = self.dims(node)?;
        let y = self.fresh(Role::Temp, DType::F32, &dims)?;
        let range = Amount::exact(self.tokens(node, features)?);
        let bound = [("x", StepArg::Buffer(x.buffer)), ("y", StepArg::Buffer(y.buffer))];
        self.step(node, round_in_place(features, self.lanes)?, range, &bound)?;
        Ok(y)
    }

    /// Buffers of the integers and of the scales of the tokens of `from`, rounded for the node `reader`, in that
    /// order. Made once.
    pub(super) fn integers(
        &mut self,
        reader: NodeId,
        from: NodeId,
        features: usize,
        order: Integers,
    ) -> Result<(usize, usize), Bug> {
        if let Some(made) = self.value(from)?.integers[order as usize] {
            return Ok(made);
        }
        let x = self.contiguous(from)?;
        let n = self.tokens(from, features)?;
        let padded = |per: u64| Amount { per, of: n.clone(), pad: true };
        let bytes = if order == Integers::Rows { row_bytes(features) } else { 4 * features.div_ceil(4) };
        let q = self.buffer(Role::Temp, padded(bytes as u64));
        let scales = self.buffer(Role::Temp, padded(4));
        let mut bound =
            vec![("x", StepArg::Buffer(x.buffer)), ("q", StepArg::Buffer(q)), ("scales", StepArg::Buffer(scales))];
        let kernel = match order {
            Integers::Rows => round_rows(features, self.lanes)?,
            Integers::Tiles | Integers::Tiles16 => {
                bound.push(("n", StepArg::Amount(Amount::exact(n.clone()))));
                if order == Integers::Tiles16 {
                    round_tokens16(features, self.lanes)?
                } else {
                    let scratch = self.buffer(Role::Temp, padded(SCRATCH as u64));
                    bound.push(("scratch", StepArg::Buffer(scratch)));
                    round_tokens(features, self.lanes)?
                }
            }
        };
        self.step(reader, kernel, Amount::exact(n), &bound)?;
        if let Some(v) = self.values.get_mut(&from) {
            v.integers[order as usize] = Some((q, scales));
        }
        Ok((q, scales))
    }
}
