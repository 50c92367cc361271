//! What a folder's manifest says of the steps of a run on a GPU.
use super::gpu::{GpuArgument, GpuUpdates, numbers};
use super::number::Number;
use serde_json::{Value, json};
use spc_base::Bug;
use spc_interp::method::Optimiser;

/// Changes of a number that are listed; of more, the API gives it.
const MOST_CHANGES: usize = 4096;

impl GpuUpdates {
    /// `optimizer`, `steps`, `weights`, `arrays`, `kernels`, `do` (from each of some steps on: launches and numbers), `observers` and
    /// `host` (rules that are left out).
    pub fn manifest(&self) -> Result<Value, Bug> {
        let core = self.core();
        let bug = |e: serde_json::Error| Bug::new(format!("the manifest of updates: {e}"));
        let optimizer = match core.optimiser {
            Optimiser::Sgd { momentum, weight_decay } => {
                json!({"name": "sgd", "momentum": momentum, "weight_decay": weight_decay})
            }
            Optimiser::AdamW { beta1, beta2, eps, weight_decay } => {
                json!({"name": "adamw", "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay})
            }
            Optimiser::Outside { .. } => return Err(Bug::new("an optimiser of the caller's on a GPU")),
        };
        let array = |i: usize| self.arrays.get(i).map_or("", |a| a.name.as_str());
        let argument = |a: &GpuArgument| match a {
            GpuArgument::Array(i) => json!({"array": array(*i)}),
            GpuArgument::Numbers => json!("numbers"),
            GpuArgument::Fault => json!("fault"),
            GpuArgument::Count => json!("count"),
        };
        let mut list = Vec::new();
        for (from, to, launches, defs) in self.parts() {
            let launches: Vec<Value> = launches
                .iter()
                .map(|l| {
                    let given: Vec<Value> = l.arguments.iter().map(argument).collect();
                    json!({"kernel": l.kernel, "count": l.count, "arguments": given})
                })
                .collect();
            let all: Vec<Option<u64>> = match (from, to) {
                (Some(a), Some(b)) => (a..b).map(Some).collect(),
                _ => vec![None],
            };
            let numbers = self.numbers(defs, &all)?;
            let when = from.map_or_else(|| json!("start"), |s| json!(s));
            list.push(json!({"from": when, "launches": launches, "numbers": numbers}));
        }
        let arrays: Vec<Value> = self
            .arrays
            .iter()
            .map(|a| {
                let dtype = if a.truth { "bool" } else { "f32" };
                json!({"name": a.name, "weight": a.weight, "len": a.len, "dtype": dtype})
            })
            .collect();
        let host: Vec<Value> =
            self.left_out.iter().map(|l| json!({"rule": l.rule, "weights": l.weights, "reason": l.reason})).collect();
        Ok(json!({
            "optimizer": optimizer,
            "steps": core.steps,
            "weights": self.weights().collect::<Vec<_>>(),
            "arrays": arrays,
            "kernels": serde_json::to_value(self.kernels()).map_err(bug)?,
            "do": list,
            "observers": self.observers,
            "host": host,
        }))
    }

    /// How each number is made: from rates by formulas, others as a list of steps and the values from there on.
    fn numbers(&self, defs: &[Number], steps: &[Option<u64>]) -> Result<Vec<Value>, Bug> {
        let core = self.core();
        let rates = vec![0.0; core.tensors.len()];
        let mut with_rates: Vec<bool> = Vec::new();
        for d in defs {
            with_rates.push(match d {
                Number::Rate(_) => true,
                Number::Expr(_, args) => args.iter().any(|a| with_rates.get(*a).copied().unwrap_or(false)),
                _ => false,
            });
        }
        let mut lists: Vec<Option<Vec<(u64, f32)>>> = with_rates.iter().map(|w| (!w).then(Vec::new)).collect();
        for step in steps {
            let values = numbers(core, defs, *step, &rates)?;
            for (list, v) in lists.iter_mut().zip(values) {
                let Some(own) = list else { continue };
                if own.last().is_none_or(|(_, old)| old.to_bits() != v.to_bits()) {
                    own.push((step.unwrap_or(0), v));
                }
                if own.len() > MOST_CHANGES {
                    *list = None;
                }
            }
        }
        let mut out = Vec::new();
        for ((d, list), with_rates) in defs.iter().zip(lists).zip(with_rates) {
            out.push(match (d, list) {
                (Number::Rate(t), _) => {
                    let name = core.tensors.get(*t).map(|t| t.name.as_str());
                    json!({"rate": name.ok_or_else(|| Bug::new("a rate of no weight"))?})
                }
                (Number::Expr(e, args), _) if with_rates => json!({"expr": e.to_string(), "of": args}),
                (_, Some(list)) => match list[..] {
                    [(_, v)] => json!({"value": v}),
                    _ => json!({"values": list}),
                },
                (Number::Correction(beta), None) => json!({"one_minus_power_of": beta}),
                (_, None) => json!({"values": null}),
            });
        }
        Ok(out)
    }
}
