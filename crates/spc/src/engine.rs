//! A planned function made ready to run on this machine.
use crate::failure::Res;
use crate::plan::{PackedSet, Planned};
use crate::weights::WeightSet;
use spc_interp::Value;
use spc_ir::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

pub type Inputs = BTreeMap<String, Value<f32>>;
pub type Outputs = Vec<(String, Value<f32>)>;

/// Time of the steps that compute one node.
#[derive(Clone, Debug)]
pub struct StepTime {
    pub node: Option<NodeId>,
    pub time: Duration,
}

pub struct Engine {
    planned: Planned,
    weights: WeightSet,
}

impl Engine {
    pub fn new(planned: &Planned, _packed: &PackedSet, weights: &WeightSet, _threads: usize) -> Res<Engine> {
        Ok(Engine { planned: planned.clone(), weights: weights.clone() })
    }

    pub fn call(&self, inputs: &Inputs) -> Res<Outputs> {
        let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
        let syms = spc_interp::bind_syms(&self.planned.graph, &shapes)?;
        Ok(spc_interp::run::<f32>(&self.planned.graph, &syms, inputs, &self.weights)?)
    }

    pub fn timed(&self, inputs: &Inputs, now: &dyn Fn() -> Duration) -> Res<Vec<StepTime>> {
        let start = now();
        self.call(inputs)?;
        Ok(vec![StepTime { node: None, time: now() - start }])
    }
}
