//! Functions on a GPU: whether there is one, and a function made ready to run on it.
use crate::engine::Cpu;
use crate::failure::{Failure, Res};
use crate::plan::{PackedSet, Planned};
use crate::session::Session;
use crate::target::target;
use crate::value::View;
use crate::weights::{Weight, WeightSet};
use ndarray::{ArrayD, IxDyn};
use spc_base::{Bug, Diagnostic, codes};
use spc_cuda::nvrtc::{self, Image};
use spc_cuda::runtime::{Device, DeviceProgram, DriverSearch, ImageChoice, RuntimeError, Weights};
use spc_cuda::{Activations, EmitOptions, emit_with};
use spc_formats::Validated;
use spc_interp::Value;
use spc_ir::{DType, Graph};
use spc_kernel::Slice;
use spc_sema::{Module, Target, TargetKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where functions run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// As the target says; a GPU's target runs on the CPU, with a warning, where there is no GPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
}

/// A GPU, and how functions are made for it.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub device: Arc<Device>,
    pub activations: Activations,
    /// Images of each function that were built before, with the text that they were built from.
    pub images: BTreeMap<String, (String, Vec<Image>)>,
}

/// What functions are made ready for.
#[derive(Clone, Debug)]
pub enum Place {
    Cpu(Cpu),
    Gpu(Gpu),
}

impl Place {
    pub fn threads(&self) -> usize {
        match self {
            Place::Cpu(on) => on.threads,
            Place::Gpu(_) => 1,
        }
    }

    /// What tensor cores take activations as, where they may be used.
    pub fn activations(&self) -> Option<Activations> {
        if let Place::Gpu(gpu) = self { Some(gpu.activations) } else { None }
    }
}

/// A message for what the driver or the device does not do.
pub fn failure(e: &RuntimeError) -> Failure {
    let d = |code| Diagnostic::error(code, e.to_string());
    match e {
        RuntimeError::Bug(b) => Failure::Bug(b.clone()),
        RuntimeError::Nvrtc(n) if n.is_bug() => Failure::Bug(Bug::new(n.to_string())),
        RuntimeError::NoKernel { .. } => d(codes::UNSUPPORTED).help("run it on the CPU: `--device cpu`").into(),
        RuntimeError::TooMany { .. } => d(codes::INPUT).into(),
        RuntimeError::Score { .. } => d(codes::SCORE_NAN).into(),
        RuntimeError::NoImage { images, .. } if images.iter().any(|i| i == "no NVRTC") => {
            d(codes::DEVICE).help(nvrtc::NOT_FOUND_HELP).into()
        }
        _ => d(codes::DEVICE).into(),
    }
}

/// The target to plan for, and the place to run at.
///
/// # Errors
/// SP0720 where a GPU is asked for and there is none that can be used.
pub fn place(s: &mut Session<'_>, module: &Module, name: Option<&str>) -> Res<(Target, Place)> {
    let choice = s.options.device;
    let mut t = target(module, name)?;
    if choice == DeviceChoice::Cuda && t.kind == TargetKind::Cpu {
        if let Some(name) = name {
            let d = Diagnostic::error(
                codes::ARGUMENT,
                format!("the target `{name}` is a CPU, and `--device cuda` asks for a GPU"),
            );
            return Err(Failure::usage(d));
        }
        t = target(module, Some("cuda"))?;
    }
    if t.kind == TargetKind::Cuda
        && let Some(gpu) = open(s, &t.name)?
    {
        return Ok((t, Place::Gpu(gpu)));
    }
    if t.kind == TargetKind::Cuda {
        t = target(module, Some("cpu"))?;
    }
    let on = s.cpu(t.threads);
    Ok((t, Place::Cpu(on)))
}

/// The GPU for a target of that name; `None` where the CPU is to be taken instead.
pub fn open(s: &mut Session<'_>, target: &str) -> Res<Option<Gpu>> {
    if s.options.device == DeviceChoice::Cpu || s.options.interp {
        return Ok(None);
    }
    match Device::open(&DriverSearch::from_env()) {
        Ok(device) => Ok(Some(Gpu { device, activations: s.options.activations, images: BTreeMap::new() })),
        Err(e) if s.options.device == DeviceChoice::Auto && e.is_absence() => {
            s.warn(Diagnostic::warning(codes::DEVICE, format!("the target `{target}` runs on the CPU here: {e}")));
            Ok(None)
        }
        Err(e) => Err(failure(&e)),
    }
}

struct Given<'a> {
    packed: &'a PackedSet,
    weights: &'a WeightSet,
}

impl Weights for Given<'_> {
    fn packed(&self, weight: &str, layout: &str) -> Option<&Validated> {
        self.packed.get(&(weight.to_string(), layout.to_string())).map(AsRef::as_ref)
    }

    fn plain(&self, weight: &str) -> Option<&[f32]> {
        self.weights.get(weight).map(Weight::values)
    }
}

/// A function on a GPU.
pub fn program(planned: &Planned, packed: &PackedSet, weights: &WeightSet, on: &Gpu) -> Res<DeviceProgram> {
    let module = emit_with(
        &planned.graph,
        &planned.plan,
        &EmitOptions { activations: on.activations, ..EmitOptions::default() },
    )?;
    // Images of another text may have other kernels.
    let built = on.images.get(&planned.graph.name).filter(|(text, _)| *text == module.text);
    let images = built.map_or(&[][..], |(_, images)| images);
    let choice = ImageChoice::from_env().map_err(|e| failure(&e))?;
    let given = Given { packed, weights };
    DeviceProgram::new(&on.device, &planned.graph, &module, images, choice, &given).map_err(|e| failure(&e))
}

/// Bytes of a value, row-major.
pub(crate) fn bytes(v: &View<'_>) -> Result<Vec<u8>, Bug> {
    Ok(match v.slice().ok_or_else(|| Bug::new("an input is not row-major"))? {
        Slice::F32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Slice::I32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Slice::Bool(a) => a.iter().map(|x| u8::from(*x)).collect(),
    })
}

/// The value of one result.
pub fn value(graph: &Graph, number: usize, syms: &[u64], bytes: &[u8]) -> Result<Value<f32>, Bug> {
    let ty = graph.outputs.get(number).ok_or_else(|| Bug::new("no such result")).and_then(|(_, n)| graph.ty(*n))?;
    let shape = ty.shape(syms).ok_or_else(|| Bug::new("a result without a shape"))?;
    let words = || bytes.as_chunks::<4>().0.iter();
    fn array<T>(shape: &[usize], v: Vec<T>) -> Result<ArrayD<T>, Bug> {
        ArrayD::from_shape_vec(IxDyn(shape), v).map_err(|e| Bug::new(e.to_string()))
    }
    Ok(match ty.dtype {
        DType::F32 => Value::F(array(&shape, words().map(|b| f32::from_le_bytes(*b)).collect())?),
        DType::I32 => Value::I(array(&shape, words().map(|b| i32::from_le_bytes(*b)).collect())?),
        DType::Bool => Value::B(array(&shape, bytes.iter().map(|b| *b != 0).collect())?),
    })
}
