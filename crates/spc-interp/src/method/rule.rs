//! Parts of a step that a compiled step takes by reference: proxes and slopes of penalties.
use super::updater::guard;
use super::{Cover, MethodError, Tensors, penalty_prox, penalty_prox_in, penalty_slope};
use crate::Real;
use spc_base::Bug;
use spc_ir::method::{Does, Moment, Penalty, Weighing};

/// The terms of a penalty over one of the groups that it is used on.
struct Part {
    penalty: Penalty,
    cover: Cover,
}

fn part(does: &Does, over: usize, one: Option<usize>) -> Result<Part, MethodError> {
    let Does::Penalize { penalty, over: list, weighing, .. } = does else {
        return Err(Bug::new("a constraint where a penalty is expected").into());
    };
    let r = list.get(over).ok_or_else(|| Bug::new("a penalty of no groups"))?;
    let cover = Cover::of(r)?.weighed(weighing.get(over).unwrap_or(&Weighing::default()));
    let mut penalty = penalty.clone();
    let mut place = 0..;
    penalty.terms.retain(|t| place.next().is_some_and(|p| one.is_none_or(|o| o == p)) && t.over == over);
    Ok(Part { penalty, cover })
}

impl Part {
    fn run<R: Real>(
        mut self,
        does: &Does,
        all: &Tensors<R>,
        f: impl FnOnce(&Penalty, &Cover, &[Option<Vec<bool>>]) -> Result<(), MethodError>,
    ) -> Result<(), MethodError> {
        let Does::Penalize { guards, .. } = does else { return Ok(()) };
        let masks = self.penalty.terms.iter().map(|t| guard(t, guards, &self.cover, all));
        let masks = masks.collect::<Result<Vec<_>, _>>()?;
        self.penalty.terms.iter_mut().for_each(|t| t.over = 0);
        f(&self.penalty, &self.cover, &masks)
    }
}

/// Takes the prox of one term of a penalty, the `term`-th, over the `over`-th of its groups; `d` is the diagonal of the optimiser's
/// metric, `rate` the learning rate.
///
/// # Errors
/// Weights that are missing or of another size, or not finite where a guard ranks them.
pub fn prox_of_term<R: Real>(
    does: &Does,
    (over, term): (usize, usize),
    all: &mut Tensors<R>,
    d: Option<&Tensors<R>>,
    rate: R,
    m: Moment,
) -> Result<(), MethodError> {
    let p = part(does, over, Some(term))?;
    let mut w = p.cover.gather(all)?;
    let mut cover = None;
    p.run(does, all, |penalty, c, masks| {
        let covers = std::slice::from_ref(c);
        match d {
            Some(d) => penalty_prox_in(penalty, covers, masks, &mut w, &c.gather(d)?, rate, m)?,
            None => penalty_prox(penalty, covers, masks, &mut w, rate, m)?,
        }
        cover = Some(c.clone());
        Ok(())
    })?;
    cover.map_or(Ok(()), |c| c.scatter(&w, all))
}

/// Adds the gradient of a penalty to `to`, at the weights moved by `at` along the normalised gradient `raw`.
///
/// # Errors
/// Weights that are missing or of another size.
pub fn slope_of_penalty<R: Real>(
    does: &Does,
    all: &Tensors<R>,
    raw: &Tensors<R>,
    at: f64,
    to: &mut Tensors<R>,
    m: Moment,
) -> Result<(), MethodError> {
    let Does::Penalize { over, .. } = does else { return Ok(()) };
    for o in 0..over.len() {
        let p = part(does, o, None)?;
        p.run(does, all, |penalty, cover, masks| {
            let mut w = cover.gather(all)?;
            along(&mut w, cover, raw, at)?;
            let slope = penalty_slope(penalty, std::slice::from_ref(cover), masks, &w, m)?;
            let mut x = cover.gather(to)?;
            x.iter_mut().zip(slope).for_each(|(x, s)| *x += s);
            cover.scatter(&x, to)
        })?;
    }
    Ok(())
}

/// Moves weights along the normalised gradient.
pub(super) fn along<R: Real>(w: &mut [R], cover: &Cover, raw: &Tensors<R>, at: f64) -> Result<(), MethodError> {
    if at == 0.0 {
        return Ok(());
    }
    let g = cover.gather(raw)?;
    let length = g.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt();
    if length > 0.0 {
        let by = R::from_f64(at / length);
        w.iter_mut().zip(&g).for_each(|(w, g)| *w += by * *g);
    }
    Ok(())
}
