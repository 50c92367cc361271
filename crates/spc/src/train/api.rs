//! The stable face of compiled updates.
use super::log::Log as RunLog;
use super::state::State as UpdateState;
use super::{GpuUpdates, Plan, Rates};
use crate::api::Error;
use crate::failure::{Failure, Res};
use spc_base::{Bug, Diagnostic, codes};
use spc_cpu::Isa;
use spc_interp::method::{Data, MethodError, Observed, Optimiser, Saved};
use spc_io::{Safetensors, Stored, Values, WeightFile};
use spc_ir::method::Rules;
use spc_report::SourceMap;
use std::collections::BTreeMap;
use std::path::Path;

/// The constraints and penalties of a program, compiled for training runs of one length.
///
/// A run keeps its memory in an [`UpdateState`]. The caller's parameters hold what the program reads: where an update has a
/// `forward` hook, the weights behind it are kept in the state. Any number of threads gives the same bits, and stopping and going
/// on from a saved state gives the same bits as not stopping.
///
/// ```
/// let text = "
/// use std.updates.sr_ste
/// axis B = 1..8
/// model net { axes { I = 4, O = 1 } w: f32[O, I] }
/// fn f(x: f32[B, I]) -> y: f32[B, O] { y[b, o] = net.w[o, i] * x[b, i] }
/// require half: keep 2 of 4 of elements per tile(in: 4) via sr_ste()
/// ";
/// let plan = spc::Compiler::new().compile_str(text)?.update_plan(spc::Optimiser::SGD, 100)?;
/// let mut w = [4.0_f32, -3.0, 2.0, 1.0];
/// let mut state = plan.start(&mut [("net.w", &mut w)])?;
/// assert_eq!(w, [4.0, -3.0, 0.0, 0.0]);
/// plan.update(0, &mut [("net.w", &mut w)], &[("net.w", &[3.0, 0.0, 0.0, 0.0])], 1.0, &mut state)?;
/// // The first weight is 1 now; the third, which was left out, takes its place.
/// assert_eq!(w[..2], [0.0, -3.0]);
/// assert!(w[2] > 1.999 && w[3] == 0.0);
/// # Ok::<(), spc::Error>(())
/// ```
pub struct UpdatePlan {
    plan: Plan,
}

fn shown(f: Failure) -> Error {
    Error::new(&f, &SourceMap::default())
}

fn fail(e: MethodError) -> Error {
    shown(e.into())
}

impl UpdatePlan {
    pub(crate) fn new(
        rules: Rules,
        optimiser: Optimiser,
        steps: u64,
        shapes: Vec<(String, Vec<usize>)>,
        ties: &[(&str, &str)],
        isa: Isa,
        threads: usize,
    ) -> Res<UpdatePlan> {
        let (rules, shapes) = super::ties::tied(rules, shapes, ties)?;
        Ok(UpdatePlan { plan: Plan::new(rules, optimiser, steps, shapes, isa, threads)? })
    }

    /// Why steps run in the reference interpreter, slowly: what in the program has no compiled form. `None`: they are compiled.
    pub fn interpreted(&self) -> Option<&str> {
        self.plan.reason()
    }

    /// The steps of the run as CUDA text, with what each step launches; `spc compile --target cuda` writes the same. Rules without
    /// a form there are named in [`GpuUpdates::left_out`].
    ///
    /// # Errors
    /// SP0006 for a plan with the caller's optimiser, and for runs of more than a million steps.
    pub fn on_gpu(&self) -> Result<GpuUpdates, Error> {
        self.plan.on_gpu().map_err(fail)
    }

    /// Names and shapes of the parameters.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.plan.shapes()
    }

    /// Passes over memory in a step in which all rules act: the tensor and the number of arrays that the pass reads or writes;
    /// `choice` stands for the search of a threshold over whole tensors.
    ///
    /// # Errors
    /// A bug of spc.
    pub fn passes(&self) -> Result<Vec<(String, usize)>, Error> {
        self.plan.passes().map_err(fail)
    }

    /// The same of a step in which masks move (`refresh`). `choice in NAME` is one more read of the values that the choice is made
    /// by and of the mask that it is made in; `count` reads a mask.
    ///
    /// # Errors
    /// A bug of spc.
    pub fn refresh_passes(&self) -> Result<Vec<(String, usize)>, Error> {
        self.plan.refresh_passes().map_err(fail)
    }

    /// Projects weights on every constraint of the program as it is at the end of a run, in place and without a run: one-shot
    /// pruning. Penalties do not act. Constraints on groups take the reference projection, which is slow.
    ///
    /// # Errors
    /// As [`UpdatePlan::start`]; SP0006 for a constraint that ranks by gradients. After SP0406 the weights may be partly projected.
    pub fn project(&self, params: &mut [(&str, &mut [f32])]) -> Result<(), Error> {
        self.plan.project(params).map_err(fail)
    }

    /// Begins a run. `params` are all parameters by name, row-major; they become what the program reads in the first step.
    ///
    /// # Errors
    /// SP0403 for a parameter that is missing, SP0404 for one of another size, SP0406 for NaN or infinity.
    pub fn start(&self, params: &mut [(&str, &mut [f32])]) -> Result<UpdateState, Error> {
        self.plan.start(params).map_err(fail)
    }

    /// Takes step `step`, the next one. `params` are what the program read, and become what it reads next; after the last step
    /// they are the weights as they are deployed, with every constraint holding. `grads` are with respect to what it read;
    /// a parameter without one stays, unless a rule acts on it.
    ///
    /// # Errors
    /// SP0338 for a step that is not the next one, SP0337 for a state of another plan, SP0403 and SP0404 for parameters or gradients that are missing
    /// or of another size, SP0406 for gradients with NaN or infinity: then nothing has changed. SP0406 also for weights
    /// that the step made infinite or NaN: then parameters and state are lost.
    pub fn update(
        &self,
        step: u64,
        params: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        rate: f32,
        state: &mut UpdateState,
    ) -> Result<Vec<Observed>, Error> {
        self.plan.update(step, params, grads, Rates::All(rate), state).map_err(fail)
    }

    /// As [`UpdatePlan::update`], with a learning rate for each parameter, by name. Parameters that a rule treats together, as
    /// neurons that lie in several tensors, need the same one, and so do all where steps are [interpreted](UpdatePlan::interpreted).
    ///
    /// # Errors
    /// As [`UpdatePlan::update`]; SP0403 for a parameter without a rate or a name that is no parameter, SP0006 for rates that
    /// differ where they must not.
    pub fn update_each(
        &self,
        step: u64,
        params: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        rates: &[(&str, f32)],
        state: &mut UpdateState,
    ) -> Result<Vec<Observed>, Error> {
        self.plan.update(step, params, grads, Rates::Each(rates), state).map_err(fail)
    }

    /// As [`UpdatePlan::after`], with the rate of each parameter as for [`UpdatePlan::update_each`].
    ///
    /// # Errors
    /// As both.
    pub fn after_each(
        &self,
        step: u64,
        params: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        moments: &mut [(&str, Vec<&mut [f32]>)],
        rates: &[(&str, f32)],
        state: &mut UpdateState,
    ) -> Result<Vec<Observed>, Error> {
        self.plan.after(step, params, grads, moments, Rates::Each(rates), state).map_err(fail)
    }

    /// The first half of step `step`, of a plan for [`Optimiser::Outside`]: `params` are what the program read, and become the
    /// weights themselves for the caller's optimiser to move. `grads` are with respect to what the program read; `mapped` gets the
    /// gradients with respect to the weights, of each parameter for which [`UpdatePlan::maps_gradient`] holds. For the
    /// others these are the same.
    ///
    /// # Errors
    /// As [`UpdatePlan::update`], and SP0337 in the middle of a step; then nothing has changed.
    pub fn before(
        &self,
        step: u64,
        params: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        mapped: &mut [(&str, &mut [f32])],
        state: &mut UpdateState,
    ) -> Result<(), Error> {
        self.plan.before(step, params, grads, mapped, state).map_err(fail)
    }

    /// The second half: `params` are the weights as the caller's optimiser has moved them, and become what the program reads
    /// next; after the last step the weights as they are deployed. `grads` are those of the first half. `moments` are what the
    /// optimiser remembers for each weight, as many arrays as the plan was made for; where masks leave a weight out they
    /// become 0. `rate` is the rate of the step, which proxes use.
    ///
    /// # Errors
    /// As [`UpdatePlan::update`], and SP0337 where the first half was not done.
    pub fn after(
        &self,
        step: u64,
        params: &mut [(&str, &mut [f32])],
        grads: &[(&str, &[f32])],
        moments: &mut [(&str, Vec<&mut [f32]>)],
        rate: f32,
        state: &mut UpdateState,
    ) -> Result<Vec<Observed>, Error> {
        self.plan.after(step, params, grads, moments, Rates::All(rate), state).map_err(fail)
    }

    /// Begins a log of a run at these parameters; see [`UpdatePlan::log_line`].
    ///
    /// # Errors
    /// SP0403 and SP0404 for parameters that are missing or of another size.
    pub fn log(&self, params: &[(&str, &[f32])]) -> Result<RunLog, Error> {
        self.plan.log(params).map_err(fail)
    }

    /// A line of JSON about a run as it is now, without its end: the steps taken; of each weight the `density` of what the program
    /// reads, `flips` (the share that came or went since the line before), `ever` (the share that was there in any line: in-time
    /// over-parameterisation), `unchanged` (the share that is as the log began) and `distance` (of the weights behind what the
    /// program reads from their projection on every constraint at the end of the run, relative to them; 0 where they
    /// hold); and what observers saw. `spc plot` draws such lines.
    ///
    /// # Errors
    /// SP0337 for a state or log of another plan, SP0403 and SP0404 as for [`UpdatePlan::log`].
    pub fn log_line(
        &self,
        log: &mut RunLog,
        params: &[(&str, &[f32])],
        state: &UpdateState,
        seen: &[Observed],
    ) -> Result<String, Error> {
        self.plan.line(log, params, state, seen).map_err(fail)
    }

    /// Whether a rule changes the gradient of a parameter.
    pub fn maps_gradient(&self, name: &str) -> bool {
        self.plan.maps_gradient(name)
    }

    /// The state as a safetensors file, to be stored beside the parameters.
    ///
    /// # Errors
    /// A run of more steps than a file can say.
    pub fn save(&self, state: &UpdateState) -> Result<Vec<u8>, Error> {
        bytes(&self.plan.save(state)).map_err(shown)
    }

    /// The state from a file that [`UpdatePlan::save`] made.
    ///
    /// # Errors
    /// SP0401 and SP0402 for a file that cannot be read, SP0337 for a state of another plan.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<UpdateState, Error> {
        let read = || -> Res<UpdateState> { Ok(self.plan.load(&read_saved(&WeightFile::open(path.as_ref())?)?)?) };
        read().map_err(shown)
    }
}

/// The tensor that says how many steps are done.
const DONE: &str = "done";

fn bytes(saved: &Saved<f32>) -> Res<Vec<u8>> {
    let done = [i32::try_from(saved.done)
        .map_err(|_| Diagnostic::error(codes::STATE, "a state of more than 2^31 steps cannot be stored"))?];
    let shapes: Vec<[usize; 1]> = saved.tensors.values().map(|d| [d.len()]).collect();
    let mut list = vec![Stored { name: DONE, shape: &[1], values: Values::I32(&done) }];
    for ((name, d), shape) in saved.tensors.iter().zip(&shapes) {
        let values = match d {
            Data::F(v) => Values::F32(v),
            Data::B(v) => Values::Bool(v),
        };
        list.push(Stored { name, shape, values });
    }
    let mut out = Vec::new();
    let written = Safetensors::new(&list, &BTreeMap::new(), 8)?.write(&mut out);
    written.map_err(|e| Bug::new(format!("a state cannot be written: {e}")))?;
    Ok(out)
}

fn read_saved(file: &WeightFile) -> Res<Saved<f32>> {
    let mut out = Saved { done: 0, tensors: BTreeMap::new() };
    let wrong = |problem: &str| MethodError::State { name: DONE.into(), problem: problem.into() };
    let mut found = false;
    for t in file.header().tensors() {
        if t.name == DONE {
            let done = file.i32(DONE)?;
            let [n] = done[..] else { return Err(wrong("is no number").into()) };
            out.done = u64::try_from(n).map_err(|_| wrong("is negative"))?;
            found = true;
        } else if let Ok(v) = file.bool(&t.name) {
            out.tensors.insert(t.name.clone(), Data::B(v));
        } else {
            out.tensors.insert(t.name.clone(), Data::F(file.f32(&t.name)?.to_vec()));
        }
    }
    if !found {
        return Err(wrong("is missing").into());
    }
    Ok(out)
}
