//! A planned function made ready to run on this machine.
use crate::device::{self, Place};
use crate::failure::{Failure, Res};
use crate::plan::{PackedSet, Planned};
use crate::states::missing_states;
use crate::value::{Given, Places, View};
use crate::weights::{Weight, WeightSet};
use ndarray::{ArrayD, IxDyn};
use spc_base::{Bug, Diagnostic, codes};
use spc_cpu::{Executor, Isa};
use spc_cuda::runtime::{DeviceProgram, RuntimeError};
use spc_formats::{Layout, Validated};
use spc_interp::{RunError, Value, bind_syms};
use spc_ir::{Graph, NodeId, Op};
use spc_kernel::{Extent, Fault, PackedPort, Port, Program, Slice, SliceMut, Sources, Tensor, schedule};
use std::collections::BTreeMap;
use std::time::Duration;

/// Values by parameter.
pub type Inputs = BTreeMap<String, Value<f32>>;
/// Results in declared order.
pub type Outputs = Vec<(String, Value<f32>)>;

/// What a function is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    pub threads: usize,
    pub isa: Isa,
}

/// One function, ready to be called: compiled code with its weights and threads, or the interpreter.
pub struct Engine {
    graph: Graph,
    code: Code,
}

enum Code {
    Compiled(Box<Executor>),
    Device(Box<DeviceProgram>),
    Interpreted(WeightSet),
}

/// Weights of a program while it is being compiled.
pub struct Bound<'a> {
    pub packed: &'a PackedSet,
    pub weights: &'a WeightSet,
}

impl Sources for Bound<'_> {
    fn weight(&self, name: &str) -> Option<&[f32]> {
        self.weights.get(name).map(Weight::values)
    }

    fn packed(&self, port: &PackedPort) -> Option<&Validated> {
        self.packed.get(&(port.weight.clone(), port.layout.to_string())).map(AsRef::as_ref)
    }
}

/// Time of one step, and the node that it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepTime {
    pub node: NodeId,
    pub time: Duration,
}

/// Refuses code that the machine cannot run.
fn available(isa: Isa, here: bool) -> Res<()> {
    if here {
        return Ok(());
    }
    let text = format!("this machine cannot run `{}` code", isa.name());
    let names: Vec<&str> = Isa::ALL.into_iter().filter(|i| i.is_available()).map(Isa::name).collect();
    Err(Diagnostic::error(codes::UNSUPPORTED, text).help(format!("it can run: {}", names.join(", "))).into())
}

impl Engine {
    /// Schedules and compiles a function. The weights are copied in. Any number of threads gives the same results; another
    /// instruction set may add in another order.
    pub fn new(planned: &Planned, packed: &PackedSet, weights: &WeightSet, on: Cpu) -> Res<Engine> {
        if planned.interp {
            let mut own = WeightSet::default();
            for (name, _) in planned.graph.weights() {
                own.insert(&name, weights.want(&name)?.clone());
            }
            return Ok(Engine { graph: planned.graph.clone(), code: Code::Interpreted(own) });
        }
        for l in &planned.plan.linears {
            if l.layout.parse::<Layout>().is_ok_and(|layout| layout.needs_tensor_cores()) {
                let text =
                    format!("`{}` is stored for the tensor cores of a GPU, and this would run on the CPU", l.weight);
                return Err(Diagnostic::error(codes::UNSUPPORTED, text)
                    .help("compile it for a CPU, or run it on a GPU")
                    .into());
            }
        }
        available(on.isa, on.isa.is_available())?;
        let program = schedule(&planned.graph, &planned.plan, on.isa.target())?;
        let executor = Executor::new(program, &Bound { packed, weights }, on.threads, on.isa)?;
        Ok(Engine { graph: planned.graph.clone(), code: Code::Compiled(Box::new(executor)) })
    }

    /// As [`Engine::new`], on a CPU or a GPU. What a GPU has no kernels for is an error.
    pub fn at(planned: &Planned, packed: &PackedSet, weights: &WeightSet, place: &Place) -> Res<Engine> {
        match place {
            Place::Cpu(on) => Engine::new(planned, packed, weights, *on),
            Place::Gpu(gpu) => {
                let code = Code::Device(Box::new(device::program(planned, packed, weights, gpu)?));
                Ok(Engine { graph: planned.graph.clone(), code })
            }
        }
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Calls the function.
    ///
    /// # Errors
    /// SP0504 for inputs that are missing, unknown, of another type or shape; SP0505 for ids out of range.
    pub fn call(&self, inputs: &Inputs) -> Res<Outputs> {
        self.call_on(viewed(inputs))
    }

    /// As [`Engine::call`], on arrays of the caller's, which are read where they lie.
    pub(crate) fn call_on(&self, inputs: Given<'_>) -> Res<Outputs> {
        Ok(self.run(inputs, None)?.0)
    }

    /// As [`Engine::call_on`], with results written into arrays of the caller's. The others are given.
    pub(crate) fn call_into(&self, inputs: Given<'_>, mut into: Places<'_>) -> Res<Outputs> {
        let names: Vec<&str> = self.graph.outputs.iter().map(|(n, _)| n.as_str()).collect();
        if let Some(name) = into.keys().find(|n| !names.contains(&n.as_str())) {
            let d = Diagnostic::error(codes::INPUT, format!("`{}` has no result `{name}`", self.graph.name));
            return Err(d.help(format!("its results are: {}", names.join(", "))).into());
        }
        let Code::Compiled(executor) = &self.code else {
            // Nothing there writes where it is told to.
            let (mut left, _) = self.run(inputs, None)?;
            for (name, value) in &left {
                if let Some(place) = into.get_mut(name) {
                    place.assign(name, value)?;
                }
            }
            left.retain(|(n, _)| !into.contains_key(n));
            return Ok(left);
        };
        let (syms, inputs) = self.bound(inputs)?;
        let program = executor.program();
        let shapes = shapes_of(program, &syms)?;
        for (port, shape) in program.outputs().iter().zip(&shapes) {
            if let Some(place) = into.get(&port.name) {
                place.fits(&port.name, shape, port.dtype)?;
            }
        }
        let (mut places, mut later) = (Vec::new(), Vec::new());
        for (port, place) in program.outputs().iter().map(|p| (p, into.remove(&p.name))) {
            let (now, copied) = place.map_or((None, None), crate::value::Place::split);
            places.push(now);
            later.extend(copied.map(|p| (port.name.clone(), p)));
        }
        let mut slices: Vec<Option<SliceMut<'_>>> = places.iter_mut().map(|p| p.as_mut()?.slice()).collect();
        let found =
            executor.call_into(&syms, &slices_of(program, &inputs)?, &mut slices).map_err(|f| self.fault(&f))?;
        let mut out = Vec::new();
        for (shape, (name, t)) in shapes.into_iter().zip(found) {
            let Some(t) = t else { continue };
            let value = value(shape, t)?;
            match later.iter_mut().find(|(n, _)| *n == name) {
                Some((_, place)) => place.assign(&name, &value)?,
                None => out.push((name, value)),
            }
        }
        Ok(out)
    }

    /// As [`Engine::call`], with the time of each step by the clock `now`.
    pub fn timed(&self, inputs: &Inputs, now: &dyn Fn() -> Duration) -> Res<Vec<StepTime>> {
        Ok(self.run(viewed(inputs), Some(now))?.1)
    }

    /// Sizes of the free axes, and the inputs with the states that are missing among them.
    fn bound<'a>(&self, mut inputs: Given<'a>) -> Res<(Vec<u64>, Given<'a>)> {
        let shapes = |g: &Given<'_>| g.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
        let missing = missing_states(&self.graph, &shapes(&inputs))?;
        inputs.extend(missing.into_iter().map(|(n, v)| (n, View::owned(v))));
        let syms = bind_syms(&self.graph, &shapes(&inputs))?;
        Ok((syms, inputs))
    }

    fn run(&self, inputs: Given<'_>, now: Option<&dyn Fn() -> Duration>) -> Res<(Outputs, Vec<StepTime>)> {
        let (syms, inputs) = self.bound(inputs)?;
        let executor = match &self.code {
            Code::Compiled(e) => e,
            Code::Device(program) => return self.on_device(program, &syms, &inputs, now.is_some()),
            Code::Interpreted(weights) => {
                let start = now.map(|now| now());
                let outputs = spc_interp::run::<f32>(&self.graph, &syms, &owned(&inputs), weights)?;
                let time = start.zip(now).map(|(start, now)| now().saturating_sub(start));
                let first = self.graph.outputs.first().map(|(_, n)| *n);
                return Ok((
                    outputs,
                    time.zip(first).map(|(time, node)| StepTime { node, time }).into_iter().collect(),
                ));
            }
        };
        let program = executor.program();
        let given = slices_of(program, &inputs)?;
        let (found, times) = match now {
            None => (executor.call(&syms, &given).map_err(|f| self.fault(&f))?, Vec::new()),
            Some(now) => executor.call_timed(&syms, &given, now).map_err(|f| self.fault(&f))?,
        };
        let mut outputs = Vec::new();
        for (shape, (name, t)) in shapes_of(program, &syms)?.into_iter().zip(found) {
            outputs.push((name, value(shape, t)?));
        }
        Ok((outputs, times.into_iter().map(|(node, time)| StepTime { node, time }).collect()))
    }

    fn on_device(
        &self,
        program: &DeviceProgram,
        syms: &[u64],
        inputs: &Given<'_>,
        timed: bool,
    ) -> Res<(Outputs, Vec<StepTime>)> {
        let mut given = BTreeMap::new();
        for (name, node) in self.graph.named_inputs() {
            let v = inputs.get(&name).ok_or_else(|| Bug::new(format!("no input {name}")))?;
            let want = self.graph.ty(node)?.dtype;
            if v.dtype() != want {
                let (want, got) = (want.name(), v.dtype().name());
                return Err(RunError::InputType { name, want, got }.into());
            }
            given.insert(name, device::bytes(v)?);
        }
        if timed {
            let times = program.timed(syms, &given).map_err(|e| self.device_fault(&e))?;
            let time = |ms: f32| Duration::try_from_secs_f64(f64::from(ms) / 1e3).unwrap_or_default();
            return Ok((
                Vec::new(),
                times.into_iter().map(|t| StepTime { node: t.node, time: time(t.milliseconds) }).collect(),
            ));
        }
        let results = program.call(syms, &given).map_err(|e| self.device_fault(&e))?;
        let mut out = Vec::new();
        for (i, ((name, _), bytes)) in self.graph.outputs.iter().zip(&results).enumerate() {
            out.push((name.clone(), device::value(&self.graph, i, syms, bytes)?));
        }
        Ok((out, Vec::new()))
    }

    fn device_fault(&self, e: &RuntimeError) -> Failure {
        match e {
            RuntimeError::IndexRange(node) => self.fault(&Fault::IndexRange(*node)),
            other => device::failure(other),
        }
    }

    fn fault(&self, fault: &Fault) -> Failure {
        match fault {
            Fault::Bug(b) => Failure::Bug(b.clone()),
            Fault::Memory => {
                let text =
                    format!("the values of `{}` do not fit into memory for inputs of these sizes", self.graph.name);
                Diagnostic::error(codes::INPUT, text).into()
            }
            Fault::Unordered(node) => {
                let text = format!("a score of `{}` is NaN, and NaN has no place in an order", self.chosen(*node));
                Diagnostic::error(codes::SCORE_NAN, text).into()
            }
            Fault::Empty(node) => {
                let text = format!("`{}` has nothing to choose from", self.chosen(*node));
                Diagnostic::error(codes::SCORE_NAN, text).into()
            }
            Fault::IndexRange(node) => {
                let axis = self.gathered_axis(*node).unwrap_or_else(|| "an axis".into());
                Diagnostic::error(codes::INDEX_RANGE, format!("an id lies outside {axis}"))
                    .note(format!("in `{}`, operator {node}", self.graph.name))
                    .into()
            }
        }
    }

    /// The words of the program that the scores of a choice belong to.
    fn chosen(&self, node: NodeId) -> &str {
        match self.graph.node(node).map(|n| &n.op) {
            Ok(Op::Top(t)) => &t.name,
            Ok(Op::Rank { name, .. }) => name,
            _ => "argmax",
        }
    }

    fn gathered_axis(&self, node: NodeId) -> Option<String> {
        let Op::Gather { dim } = self.graph.node(node).ok()?.op else { return None };
        let table = self.graph.inputs(node).first().copied()?;
        let d = self.graph.ty(table).ok()?.dims.get(dim as usize)?;
        Some(match d.size.fixed() {
            Some(n) => format!("the axis {} of size {n}", d.axis),
            None => format!("the axis {}", d.axis),
        })
    }
}

/// The inputs of a program, in its order.
fn slices_of<'a>(program: &Program, inputs: &'a Given<'_>) -> Res<Vec<Slice<'a>>> {
    let mut given = Vec::new();
    for port in program.inputs() {
        let v = inputs.get(&port.name).ok_or_else(|| Bug::new(format!("no input {}", port.name)))?;
        if v.dtype() != port.dtype {
            let (name, want, got) = (port.name.clone(), port.dtype.name(), v.dtype().name());
            return Err(RunError::InputType { name, want, got }.into());
        }
        given.push(v.slice().ok_or_else(|| Bug::new("an input is not row-major"))?);
    }
    Ok(given)
}

/// Shapes of a program's results, in its order.
fn shapes_of(program: &Program, syms: &[u64]) -> Result<Vec<Vec<usize>>, Bug> {
    let size = |d: &Extent| d.bind(syms).and_then(|n| usize::try_from(n).ok());
    let shape = |p: &Port| p.dims.iter().map(size).collect::<Option<Vec<usize>>>();
    let all = program.outputs().iter().map(|p| shape(p).ok_or_else(|| Bug::new("a result without a shape")));
    all.collect()
}

fn viewed(inputs: &Inputs) -> Given<'_> {
    inputs.iter().map(|(n, v)| (n.clone(), View::of(v))).collect()
}

fn owned(inputs: &Given<'_>) -> Inputs {
    inputs.iter().map(|(n, v)| (n.clone(), v.to_value())).collect()
}

fn value(shape: Vec<usize>, t: Tensor) -> Result<Value<f32>, Bug> {
    fn array<T>(shape: Vec<usize>, mut v: Vec<T>) -> Result<ArrayD<T>, Bug> {
        // Buffers are padded; results are not.
        let n = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).unwrap_or(usize::MAX);
        v.truncate(n);
        ArrayD::from_shape_vec(IxDyn(&shape), v).map_err(|e| Bug::new(format!("a result of shape {shape:?}: {e}")))
    }
    Ok(match t {
        Tensor::F32(v) => Value::F(array(shape, v)?),
        Tensor::I32(v) => Value::I(array(shape, v)?),
        Tensor::Bool(v) => Value::B(array(shape, v)?),
    })
}

/// The CPU kernels of a function as Cranelift text.
pub fn clif(planned: &Planned) -> Res<String> {
    let program = schedule(&planned.graph, &planned.plan, Isa::Clif.lanes())?;
    let mut out = String::new();
    for line in program.to_string().lines() {
        out += &format!("; {line}\n");
    }
    for kernel in program.kernels() {
        out += &format!("\n; {}\n", kernel.name);
        out += &spc_cpu::clif_text(kernel)?;
    }
    Ok(out)
}

/// The machine code of a function's CPU kernels, as text.
pub fn assembly(planned: &Planned, isa: Isa) -> Res<String> {
    let program = schedule(&planned.graph, &planned.plan, isa.target())?;
    let kernels: Vec<String> =
        program.kernels().iter().map(|k| spc_cpu::listing(k, isa)).collect::<Result<_, Bug>>()?;
    Ok(kernels.join("\n"))
}

#[cfg(test)]
mod isa_tests {
    use super::*;

    #[test]
    fn code_that_the_machine_cannot_run_is_refused_with_a_code() {
        assert!(available(Isa::Clif, true).is_ok());
        let Err(Failure::User(list)) = available(Isa::Avx512, false) else { panic!("a diagnostic is expected") };
        assert_eq!(list[0].code, codes::UNSUPPORTED);
        assert!(list[0].help[0].contains("clif"), "{list:?}");
    }
}
