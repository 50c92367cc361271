//! Projection of weights on every constraint, in place and without a run: one-shot pruning.
use super::choice::{self, Choice};
use super::core::Core;
use super::finish;
use super::pick::{bounds, greatest};
use super::run::spoiled;
use super::{Call, Plan, Slot, Sweeps};
use spc_base::Bug;
use spc_interp::method::{MethodError, constraint_at};
use spc_ir::method::{Does, Moment};
use spc_ir::{BinFn, DType, Keep, ScalarExpr as S, UnFn};
use spc_kernel::update::{Chain, Keys, Kind, Node, Pass, nm_in_place, pivot};
use std::sync::{Arc, PoisonError};

/// Weights of at least a magnitude, number 0, which is above 0; others become +0.
fn above(lanes: usize) -> Result<Pass, Bug> {
    let mut c = Chain::default();
    let w = c.array(Kind::F32);
    let (w, least) = (c.node(Node::Array(w)), c.node(Node::Number(0)));
    let there = S::bin(BinFn::Ge, S::un(UnFn::Abs, S::Arg(0)), S::Arg(1));
    let x = c.map(S::select(there, S::Arg(0), S::Const(0.0)), vec![w, least], DType::F32);
    c.store(0, x);
    c.pass("above", lanes)
}

/// The least magnitude that is not 0.
const TINY: f32 = f32::from_bits(1);

type Params<'a, 'b> = &'a mut [Option<&'b mut [f32]>];

impl Plan {
    /// Weights become as they are deployed at the end of a run that does not move them.
    pub fn project(&self, given: &mut [(&str, &mut [f32])]) -> Result<(), MethodError> {
        let mut params = self.params(given)?;
        for (i, rule) in self.core.rules.list.iter().enumerate() {
            let Does::Keep { require, amounts, .. } = &rule.does else { continue };
            let Some(r) = constraint_at(require, amounts, &Moment::END.of(self.core.steps))? else { continue };
            if choice::reads_gradients(&r) {
                let what = format!("a projection on `{}`, which ranks by gradients, without a run", rule.name);
                return Err(MethodError::NotYet { what });
            }
            let k = r.keeps.last().ok_or_else(|| Bug::new("a constraint without a sentence"))?;
            match (&self.core.info[i].choice, self.core.whole(i)) {
                (Choice::Nm(m), _) => self.project_nm(i, *m, k, &mut params)?,
                (_, Some(sets)) => sets.iter().try_for_each(|s| self.project_set(i, s, k, &mut params))?,
                _ => self.project_slowly(i, &mut params)?,
            }
        }
        Ok(())
    }

    /// The passes for groups of M, or for thresholds (M of 0).
    fn projector(&self, m: usize) -> Result<Arc<Sweeps>, Bug> {
        let mut all = self.projectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(s) = all.get(&m) {
            return Ok(Arc::clone(s));
        }
        let lanes = self.isa.lanes();
        let pass = if m == 0 { above(lanes)? } else { nm_in_place(m, 0, lanes)? };
        let s = Arc::new(Sweeps::new(vec![pass], self.isa)?);
        all.insert(m, Arc::clone(&s));
        Ok(s)
    }

    fn project_nm(&self, i: usize, m: usize, k: &Keep, params: Params<'_, '_>) -> Result<(), MethodError> {
        let sweeps = self.projector(m)?;
        let keep = choice::count(k, 0, m as u64)? as f32;
        for t in &self.core.info[i].members {
            let Some(w) = params.get_mut(*t).and_then(|p| p.as_deref_mut()) else { continue };
            let call = [Call { pass: 0, slots: vec![0] }];
            let tops = sweeps.run(self.core.tensors[*t].len, &mut [Slot::F32(w)], &[keep], &call, &self.pool)?;
            if tops.first().into_iter().flatten().any(|x| !x.is_finite()) {
                return Err(spoiled(&self.core, *t, w));
            }
        }
        Ok(())
    }

    fn project_set(&self, i: usize, set: &[usize], k: &Keep, params: Params<'_, '_>) -> Result<(), MethodError> {
        let members = &self.core.info[i].members;
        let tensors: Vec<usize> = set.iter().filter_map(|m| members.get(*m).copied()).collect();
        let groups: usize = tensors.iter().map(|t| self.core.tensors[*t].len).sum();
        let n = choice::count(k, set.first().copied().unwrap_or(0), groups as u64)? as usize;
        let parts: Vec<&[f32]> = tensors.iter().map(|t| params[*t].as_deref().unwrap_or_default()).collect();
        let found = match greatest(&parts, &vec![None; parts.len()], n, &self.pool) {
            Some(p) => Some(p),
            None => {
                pivot(&parts, &[], Keys::Magnitude, n).map_err(|(p, _)| spoiled(&self.core, tensors[p], parts[p]))?
            }
        };
        let sweeps = self.projector(0)?;
        for (j, t) in tensors.iter().enumerate() {
            let Some(w) = params.get_mut(*t).and_then(|p| p.as_deref_mut()) else { continue };
            let (least, place) = bounds(found.as_ref(), Keys::Magnitude, j, w.len(), -1.0);
            // Up to a place those that are equal stay, too; zeros are +0 either way.
            let least = least.max(TINY);
            let (equal, greater) = w.split_at_mut(place.min(w.len()));
            for (part, least) in [(equal, least), (greater, least.next_up())] {
                let (n, call) = (part.len(), [Call { pass: 0, slots: vec![0] }]);
                sweeps.run(n, &mut [Slot::F32(part)], &[least], &call, &self.pool)?;
            }
        }
        Ok(())
    }

    fn project_slowly(&self, i: usize, params: Params<'_, '_>) -> Result<(), MethodError> {
        let mut weights: Vec<Vec<f32>> = vec![Vec::new(); params.len()];
        for t in &self.core.info[i].members {
            weights[*t] = params[*t].as_deref().unwrap_or_default().to_vec();
        }
        finish::rule(&self.core, i, None, &mut weights, None)?;
        for t in &self.core.info[i].members {
            if let Some(p) = params.get_mut(*t).and_then(|p| p.as_deref_mut()) {
                p.copy_from_slice(&weights[*t]);
            }
        }
        Ok(())
    }
}

impl Core {
    /// The sets of a choice as members, where they are whole tensors.
    pub fn whole(&self, i: usize) -> Option<Vec<Vec<usize>>> {
        let info = self.info.get(i)?;
        let Choice::Sets(sets) = &info.choice else { return None };
        let len = |k: usize| info.members.get(k).map(|t| self.tensors[*t].len);
        let whole = |p: &choice::Part| p.1 == 0 && len(p.0) == Some(p.2) && i32::try_from(p.2).is_ok();
        let all = sets.iter().flatten().all(whole);
        all.then(|| sets.iter().map(|s| s.iter().map(|p| p.0).collect()).collect())
    }
}
