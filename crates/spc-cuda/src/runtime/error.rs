//! What can go wrong between a compiled program and a GPU.
use crate::nvrtc::NvrtcError;
use spc_base::Bug;
use spc_ir::NodeId;
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeError {
    /// There is no driver library, or it cannot be loaded; with what was tried.
    NoDriver(String),
    /// A library that presents itself as the driver lacks this function.
    Hollow {
        library: String,
        function: &'static str,
    },
    /// The driver knows of no device.
    NoDevice(String),
    /// The device is older than the kernels.
    TooOld {
        device: String,
        has: (u32, u32),
        needs: u32,
    },
    /// No image runs on the device, with what there was.
    NoImage {
        device: String,
        has: (u32, u32),
        images: Vec<String>,
    },
    /// `SPC_CUDA_IMAGE` is none of the words that it may be.
    BadSwitch(String),
    OutOfMemory {
        bytes: u64,
    },
    /// A kernel failed on the device; the layer is named by its weight.
    KernelFault {
        kernel: String,
        layer: String,
        code: String,
    },
    /// A kernel failed, and it showed after several were launched: one of these layers.
    LateFault {
        layers: Vec<String>,
        code: String,
    },
    /// More tokens or elements than one launch can do.
    TooMany {
        kernel: String,
        layer: String,
        n: u64,
    },
    /// An operator has no kernel: the operator and the reason.
    NoKernel {
        op: String,
        reason: String,
    },
    Nvrtc(NvrtcError),
    /// A score is NaN, or there is none, where the best is to be chosen.
    Score {
        name: String,
    },
    /// An id of a gather lies outside of its table.
    IndexRange(NodeId),
    /// A call of the driver failed.
    Call {
        function: &'static str,
        code: String,
    },
    Bug(Bug),
}

impl RuntimeError {
    /// Whether there is nothing on this machine to run on, so that a CPU should be taken instead.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            RuntimeError::NoDriver(_)
                | RuntimeError::NoDevice(_)
                | RuntimeError::TooOld { .. }
                | RuntimeError::Hollow { .. }
        )
    }
}

impl From<Bug> for RuntimeError {
    fn from(b: Bug) -> RuntimeError {
        RuntimeError::Bug(b)
    }
}

impl From<NvrtcError> for RuntimeError {
    fn from(e: NvrtcError) -> RuntimeError {
        RuntimeError::Nvrtc(e)
    }
}

fn version(cc: u32) -> String {
    format!("{}.{}", cc / 10, cc % 10)
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuntimeError::NoDriver(why) => write!(f, "there is no CUDA driver on this machine: {why}"),
            RuntimeError::Hollow { library, function } => {
                write!(f, "{library} is no CUDA driver: it has no function {function}")
            }
            RuntimeError::NoDevice(why) => write!(f, "the CUDA driver has no device: {why}"),
            RuntimeError::TooOld { device, has, needs } => write!(
                f,
                "the device {device} has compute capability {}.{}, the kernels need {} or later",
                has.0,
                has.1,
                version(*needs)
            ),
            RuntimeError::NoImage { device, has, images } => write!(
                f,
                "no image runs on the device {device} of compute capability {}.{}: there is {}",
                has.0,
                has.1,
                if images.is_empty() { "none".to_string() } else { images.join(", ") }
            ),
            RuntimeError::BadSwitch(word) => {
                write!(f, "SPC_CUDA_IMAGE is `{word}`; it may be cubin, ptx or nvrtc")
            }
            RuntimeError::OutOfMemory { bytes } => write!(f, "the device has no {bytes} bytes of memory left"),
            RuntimeError::KernelFault { kernel, layer, code } => {
                write!(f, "a kernel failed on the device: {kernel}, of {layer} ({code})")
            }
            RuntimeError::LateFault { layers, code } => {
                let mut layers = layers.clone();
                layers.dedup();
                let list = if layers.len() > 6 { format!("{}, ..", layers[..6].join(", ")) } else { layers.join(", ") };
                write!(f, "a kernel failed on the device ({code}), one of those of {list}; SPC_CUDA_WAIT=1 says which")
            }
            RuntimeError::TooMany { kernel, layer, n } => {
                write!(f, "{n} tokens are too many for one launch of {kernel}, of {layer}")
            }
            RuntimeError::NoKernel { op, reason } => write!(f, "`{op}` cannot run on the device: {reason}"),
            RuntimeError::Nvrtc(e) => e.fmt(f),
            RuntimeError::Score { name } => {
                write!(f, "a score of `{name}` is NaN, which has no place in an order, or there is none to choose from")
            }
            RuntimeError::IndexRange(node) => write!(f, "an id of the operator {node} lies outside of its table"),
            RuntimeError::Call { function, code } => write!(f, "{function} failed: {code}"),
            RuntimeError::Bug(b) => f.write_str(&b.0),
        }
    }
}

impl std::error::Error for RuntimeError {}
