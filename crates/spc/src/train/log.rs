//! What a run does to its weights, a line of JSON at a time.
use super::Plan;
use super::finish::finish;
use super::state::State;
use serde_json::{Map, Value, json};
use spc_interp::method::{MethodError, Observed};

/// Remembers what lines are compared with.
#[derive(Clone, Debug)]
pub struct Log {
    start: Vec<Vec<f32>>,
    before: Vec<Vec<bool>>,
    ever: Vec<Vec<bool>>,
}

fn present(v: &[f32]) -> Vec<bool> {
    v.iter().map(|x| *x != 0.0).collect()
}

fn share(n: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { n as f64 / of as f64 }
}

impl Plan {
    /// Slices in the order of the plan's tensors.
    fn ordered<'a>(&self, given: &[(&str, &'a [f32])]) -> Result<Vec<&'a [f32]>, MethodError> {
        let mut out = Vec::new();
        for t in &self.core.tensors {
            let found = given.iter().find(|(n, _)| *n == t.name);
            let (_, v) = found.ok_or_else(|| MethodError::Missing { weight: t.name.clone() })?;
            if v.len() != t.len {
                return Err(MethodError::Length { what: t.name.clone(), want: t.len, got: v.len() });
            }
            out.push(*v);
        }
        Ok(out)
    }

    pub fn log(&self, params: &[(&str, &[f32])]) -> Result<Log, MethodError> {
        let params = self.ordered(params)?;
        let there: Vec<Vec<bool>> = params.iter().map(|v| present(v)).collect();
        Ok(Log { start: params.iter().map(|v| v.to_vec()).collect(), before: there.clone(), ever: there })
    }

    /// How far the weights behind what the program reads are from their projection on all constraints, relative to them.
    fn distances(&self, state: &State, params: &[&[f32]]) -> Result<Vec<f64>, MethodError> {
        let (dense, held): (Vec<Vec<f32>>, Vec<Vec<f32>>) = match &state.reference {
            Some(u) if state.done < self.core.steps => {
                let of = |t: &spc_interp::method::Tensors<f32>| -> Vec<Vec<f32>> {
                    self.core.tensors.iter().map(|x| t.get(&x.name).cloned().unwrap_or_default()).collect()
                };
                (of(u.weights()), of(&u.finish()?))
            }
            Some(_) => return Ok(vec![0.0; params.len()]),
            None => {
                let own = |(t, p): (usize, &&[f32])| match state.floats.get(&super::work::Ref::Dense(t)) {
                    // After the last step the parameters are the weights.
                    Some(d) if state.done < self.core.steps => d.clone(),
                    _ => p.to_vec(),
                };
                let dense: Vec<Vec<f32>> = params.iter().enumerate().map(own).collect();
                let mut held = dense.clone();
                finish(&self.core, state, &mut held, None)?;
                (dense, held)
            }
        };
        let one = |(w, p): (&Vec<f32>, &Vec<f32>)| {
            let sum = |f: &dyn Fn(f64, f64) -> f64| {
                w.iter().zip(p).map(|(w, p)| f(f64::from(*w), f64::from(*p))).sum::<f64>()
            };
            let size = sum(&|w, _| w * w);
            if size == 0.0 { 0.0 } else { (sum(&|w, p| (w - p) * (w - p)) / size).sqrt() }
        };
        Ok(dense.iter().zip(&held).map(one).collect())
    }

    /// The line of the step before `state.done`.
    pub fn line(
        &self,
        log: &mut Log,
        params: &[(&str, &[f32])],
        state: &State,
        seen: &[Observed],
    ) -> Result<String, MethodError> {
        self.fits(state)?;
        let params = self.ordered(params)?;
        if log.start.len() != params.len() || log.start.iter().zip(&params).any(|(a, b)| a.len() != b.len()) {
            return Err(MethodError::State { name: "the log".into(), problem: "is of another plan".into() });
        }
        let distances = self.distances(state, &params)?;
        let mut weights = Map::new();
        for (t, v) in params.iter().enumerate() {
            let (n, now) = (v.len(), present(v));
            let flips = now.iter().zip(&log.before[t]).filter(|(a, b)| a != b).count();
            log.ever[t].iter_mut().zip(&now).for_each(|(e, p)| *e |= *p);
            let same = v.iter().zip(&log.start[t]).filter(|(a, b)| a == b).count();
            let line = json!({
                "density": share(now.iter().filter(|p| **p).count(), n),
                "flips": share(flips, n),
                "ever": share(log.ever[t].iter().filter(|p| **p).count(), n),
                "unchanged": share(same, n),
                "distance": distances[t],
            });
            weights.insert(self.core.tensors[t].name.clone(), line);
            log.before[t] = now;
        }
        let observed: Map<String, Value> =
            seen.iter().map(|o| (format!("{}.{}", o.rule, o.name), json!(o.value))).collect();
        Ok(json!({ "step": state.done, "weights": weights, "observed": observed }).to_string())
    }
}
