//! Where the value of a node lies.
use super::places::Places;
use super::{Scheduler, overflow};
use crate::extent::Extent;
use crate::program::{Amount, Role, StepArg};
use crate::templates::{
    MapSpec, Operand, collapse, feature_blocks, map, part_to_feature_major, to_feature_major, to_row_major,
};
use spc_base::Bug;
use spc_ir::{DType, NodeId, ScalarExpr};

/// A row-major value in a buffer, seen through strides (in elements).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub buffer: usize,
    pub dims: Vec<Extent>,
    pub strides: Vec<Extent>,
    /// Elements of the buffer before the first of the value.
    pub offset: u64,
}

impl View {
    /// True if the elements lie one after the other in row-major order from the start of the buffer.
    pub fn is_contiguous(&self) -> bool {
        if self.offset != 0 {
            return false;
        }
        let (mut dims, mut strides) = (self.dims.clone(), self.strides.clone());
        collapse(&mut dims, &mut [&mut strides]);
        match strides.as_slice() {
            [] => true,
            [one] => one.is_one(),
            _ => false,
        }
    }
}

impl View {
    /// The view and the length of a row of its buffer, if it is a range of the features of a value `[.., row]` that lies
    /// without gaps, and not all of them.
    pub fn row(self, features: usize) -> Option<(View, usize)> {
        let (mut dims, mut strides) = (self.dims.clone(), self.strides.clone());
        let (own, step) = (dims.pop()?, strides.pop()?);
        collapse(&mut dims, &mut [&mut strides]);
        let row = match strides.as_slice() {
            [one] => usize::try_from(one.known()?).ok()?,
            _ => return None,
        };
        let inside = usize::try_from(self.offset).ok()?.checked_add(features)? <= row;
        (own.known() == Some(features as u64) && step.is_one() && inside && row > features).then_some((self, row))
    }
}

/// The order of rounded integers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integers {
    /// Tiles of 12 tokens, the last one narrower.
    Tiles,
    /// Each token in a row of its own.
    Rows,
    /// Whole tiles of 16 tokens, for tile registers.
    Tiles16,
}

/// The forms in which a value is there. At least one is, once its node was scheduled.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    pub view: Option<View>,
    /// Buffer of the feature-major form.
    pub feature_major: Option<usize>,
    /// A scalar known now.
    pub literal: Option<(f64, DType)>,
    /// Name and size of a weight that is read as it is stored.
    pub weight: Option<(String, Amount)>,
    /// The value whose rounding this is, over that many features; made when something reads it.
    pub rounds: Option<(NodeId, usize)>,
    /// Where a window lies that nothing has read yet.
    pub places: Option<Places>,
    /// Buffers of the rounded integers and of their scales, by [`Integers`].
    pub integers: [Option<(usize, usize)>; 3],
}

impl Value {
    pub fn of(view: View) -> Value {
        Value { view: Some(view), ..Value::default() }
    }
}

impl Scheduler<'_> {
    /// The row-major form of a value, any strides.
    pub(super) fn row_major(&mut self, node: NodeId) -> Result<View, Bug> {
        let value = self.value(node)?.clone();
        if let Some(v) = value.view {
            return Ok(v);
        }
        let dims = self.dims(node)?;
        let view = if let Some((name, bytes)) = value.weight {
            let buffer = self.shared_buffer(Role::Weight(name), bytes);
            View { buffer, strides: crate::templates::contiguous(&dims)?, dims, offset: 0 }
        } else if let Some((c, dtype)) = value.literal {
            let view = self.fresh(Role::Temp, dtype, &dims)?;
            let expr = ScalarExpr::Const(c);
            let spec =
                MapSpec { name: "fill".into(), expr: &expr, dtype, dims, args: vec![], to: None, lanes: self.lanes };
            let (kernel, range) = map(&spec)?;
            self.step(node, kernel, Amount::exact(range), &[("y", StepArg::Buffer(view.buffer))])?;
            view
        } else if let Some(places) = value.places {
            self.read_places(node, &places, Role::Temp)?
        } else if let Some((from, features)) = value.rounds {
            self.round_in_place(node, from, features)?
        } else {
            return Err(Bug::new(format!("{node} is needed row-major and is not there")));
        };
        if let Some(v) = self.values.get_mut(&node) {
            v.view = Some(view.clone());
        }
        Ok(view)
    }

    /// The row-major form without gaps; a copy is made where strides have them.
    pub(super) fn contiguous(&mut self, node: NodeId) -> Result<View, Bug> {
        let view = self.row_major(node)?;
        if view.is_contiguous() {
            return Ok(view);
        }
        let copied = self.copy(node, &view, Role::Temp)?;
        if let Some(v) = self.values.get_mut(&node) {
            v.view = Some(copied.clone());
        }
        Ok(copied)
    }

    pub(super) fn copy(&mut self, node: NodeId, from: &View, role: Role) -> Result<View, Bug> {
        if let Some(places) = self.short_runs(from) {
            return self.read_places(node, &places, role);
        }
        let dtype = self.dtype(node)?;
        let to = self.fresh(role, dtype, &from.dims)?;
        let args = vec![Operand { dtype, strides: from.strides.clone(), offset: from.offset }];
        let expr = ScalarExpr::Arg(0);
        let dims = from.dims.clone();
        let spec = MapSpec { name: "copy".into(), expr: &expr, dtype, dims, args, to: None, lanes: self.lanes };
        let (kernel, range) = map(&spec)?;
        let bound = [("a0", StepArg::Buffer(from.buffer)), ("y", StepArg::Buffer(to.buffer))];
        self.step(node, kernel, Amount::exact(range), &bound)?;
        Ok(to)
    }

    pub(super) fn feature_major(&self, node: NodeId) -> Result<usize, Bug> {
        let there = self.value(node)?.feature_major;
        there.ok_or_else(|| Bug::new(format!("{node} is needed feature-major and is not there")))
    }

    /// Tokens and features of a value `[.., F]`.
    pub(super) fn matrix(&self, node: NodeId) -> Result<(Extent, usize), Bug> {
        let dims = self.dims(node)?;
        let split = dims.split_last().and_then(|(f, tokens)| {
            let features = usize::try_from(f.known()?).ok()?;
            Some((Extent::product(tokens)?, features))
        });
        split.ok_or_else(|| Bug::new(format!("{node} is no matrix of tokens and features")))
    }

    /// A buffer for a feature-major value.
    pub(super) fn fresh_feature_major(&mut self, node: NodeId) -> Result<usize, Bug> {
        let (tokens, features) = self.matrix(node)?;
        let per = (features as u64).checked_mul(4).ok_or_else(overflow)?;
        Ok(self.buffer(Role::Temp, Amount { per, of: tokens, pad: true }))
    }

    pub(super) fn add_feature_major(&mut self, node: NodeId) -> Result<(), Bug> {
        let (tokens, features) = self.matrix(node)?;
        let row = self.row_major(node)?.row(features);
        let (from, kernel) = match row {
            Some((view, row)) => {
                let offset = usize::try_from(view.offset).map_err(|_| overflow())?;
                (view, part_to_feature_major(features, offset, row, self.lanes)?)
            }
            None => (self.contiguous(node)?, to_feature_major(features, self.lanes)?),
        };
        let to = self.fresh_feature_major(node)?;
        let bound = [
            ("x", StepArg::Buffer(from.buffer)),
            ("y", StepArg::Buffer(to)),
            ("n", StepArg::Amount(Amount::exact(tokens.clone()))),
            ("np", StepArg::Amount(Amount { per: 1, of: tokens, pad: true })),
        ];
        let range = Amount::exact(Extent::fixed(feature_blocks(features, self.lanes) as u64));
        self.step(node, kernel, range, &bound)?;
        if let Some(v) = self.values.get_mut(&node) {
            v.feature_major = Some(to);
        }
        Ok(())
    }

    pub(super) fn add_row_major(&mut self, node: NodeId) -> Result<(), Bug> {
        let from = self.feature_major(node)?;
        let (tokens, features) = self.matrix(node)?;
        let dims = self.dims(node)?;
        let to = self.fresh(Role::Temp, DType::F32, &dims)?;
        let bound = [
            ("x", StepArg::Buffer(from)),
            ("y", StepArg::Buffer(to.buffer)),
            ("n", StepArg::Amount(Amount::exact(tokens.clone()))),
            ("np", StepArg::Amount(Amount { per: 1, of: tokens, pad: true })),
        ];
        let range = Amount::exact(Extent::fixed(feature_blocks(features, self.lanes) as u64));
        self.step(node, to_row_major(features, self.lanes)?, range, &bound)?;
        if let Some(v) = self.values.get_mut(&node) {
            v.view = Some(to);
        }
        Ok(())
    }
}
