//! The predicted time of one linear by itself, with facts of another weight in the place of its own: what decides which changes
//! of a weight are worth a whole search.
use crate::cost::Prices;
use crate::machine::Machine;
use crate::model::Model;
use crate::{Options, WeightFacts};
use spc_base::Bug;
use spc_formats::Layout;
use spc_ir::{Act, Graph, NodeId};
use std::collections::BTreeMap;

/// A graph whose linears are priced one by one.
pub struct Alone<'a> {
    model: Model<'a>,
    machine: Machine<'a>,
}

impl<'a> Alone<'a> {
    /// # Errors
    /// As [`crate::choose`].
    pub fn new(
        graph: &'a Graph,
        facts: &BTreeMap<String, WeightFacts>,
        machine: impl Into<Machine<'a>>,
        tuned_for: &BTreeMap<String, u64>,
    ) -> Result<Alone<'a>, Bug> {
        let machine = machine.into();
        Ok(Alone { model: Model::new(graph, facts, tuned_for)?.on(machine), machine })
    }

    /// The least time of `linear` over the layouts of `facts`, and the layout; nothing where none has a kernel. What is fused
    /// into it and conversions of activations are not counted.
    pub fn least(&self, linear: NodeId, facts: &WeightFacts) -> Result<Option<(u64, Layout)>, Bug> {
        let measured = Options::default().measured;
        let prices = Prices { model: &self.model, machine: self.machine, syms: &self.model.syms, measured: &measured };
        let rounded = match self.model.graph.inputs(linear).first() {
            Some(x) => self.model.graph.rounded(*x)?.is_some(),
            None => false,
        };
        let mut best: Option<(u64, Layout)> = None;
        for (layout, found) in &facts.candidates {
            let Ok(found) = found else { continue };
            if layout.needs_integers() && !rounded {
                continue;
            }
            for act in [Act::Rm, Act::Fm].into_iter().filter(|a| self.machine.has(*layout, *a)) {
                let ps = prices.linear(linear, *layout, found, act, None)?;
                if best.is_none_or(|(b, _)| ps < b) {
                    best = Some((ps, *layout));
                }
            }
        }
        Ok(best)
    }

    /// The number of tokens that it is priced for.
    pub fn tokens(&self, linear: NodeId) -> Result<u64, Bug> {
        let shape = self.model.graph.ty(linear)?.shape(&self.model.syms);
        let leading = shape.as_ref().and_then(|s| s.split_last()).map(|(_, l)| l.to_vec()).unwrap_or_default();
        Ok(leading.iter().fold(1u64, |n, d| n.saturating_mul(*d as u64)))
    }

    /// The time of adding two products of `linear` and writing the sum.
    pub fn sum(&self, linear: NodeId) -> Result<u64, Bug> {
        let shape = self.model.graph.ty(linear)?.shape(&self.model.syms);
        let elements = shape.map_or(0, |s| s.iter().fold(1u128, |n, d| n.saturating_mul(*d as u128)));
        Ok(u64::try_from(self.machine.stream_ps(elements.saturating_mul(2))).unwrap_or(u64::MAX / 4))
    }
}
