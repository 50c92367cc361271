//! Kernels of training updates on a device.
use super::device::{Buffer, Device, Function, Loaded};
use super::{ImageChoice, RuntimeError, image};
use crate::nvrtc::Image;
use crate::{CudaModule, UpdateKernel, UpdateModule};
use spc_base::Bug;
use std::sync::Arc;

/// What a kernel of an update is given for one parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateArgument {
    /// An array to read, little-endian.
    Read(Vec<u8>),
    /// An array of so many bytes to write.
    Write(u64),
    /// An array to read and write.
    Both(Vec<u8>),
    Number(i32),
}

/// A module of updates, ready to be called.
pub struct UpdateProgram {
    kernels: Vec<(UpdateKernel, Function)>,
    // Last, so that kernels go before their module and device.
    _module: Loaded,
    device: Arc<Device>,
}

impl UpdateProgram {
    /// Loads the module.
    ///
    /// # Errors
    /// No image runs on the device.
    pub fn new(
        device: &Arc<Device>,
        module: &UpdateModule,
        images: &[Image],
        choice: ImageChoice,
    ) -> Result<UpdateProgram, RuntimeError> {
        let _turn = device.turn()?;
        let text = CudaModule { text: module.text.clone(), kernels: Vec::new(), host: Vec::new() };
        let (loaded, _) = image::load(device, images, &text, choice)?;
        let mut kernels = Vec::new();
        for k in &module.kernels {
            kernels.push((k.clone(), loaded.function(&k.name, k.shared_bytes)?));
        }
        Ok(UpdateProgram { kernels, _module: loaded, device: Arc::clone(device) })
    }

    /// Runs a kernel for N (see [`UpdateKernel::counts`]); gives the arrays that it wrote, in the order of its parameters.
    ///
    /// # Errors
    /// The arguments are not those of the kernel, the device runs out of memory, or the kernel fails.
    pub fn run(&self, kernel: &str, n: u64, arguments: &[UpdateArgument]) -> Result<Vec<Vec<u8>>, RuntimeError> {
        let _turn = self.device.turn()?;
        let mut call = self.prepare(kernel, n, arguments)?;
        self.start(&mut call)?;
        let mut out = Vec::new();
        for (buffer, a) in call.buffers.iter().zip(arguments) {
            if let (Some(buffer), UpdateArgument::Write(_) | UpdateArgument::Both(_)) = (buffer, a) {
                let bytes = usize::try_from(buffer.bytes()).map_err(|_| Bug::new("a result's size"))?;
                out.push(buffer.read(bytes)?);
            }
        }
        Ok(out)
    }

    /// Times of `rounds` rounds in milliseconds, each of them the kernel on `copies` sets of arrays of its own, as a recorded
    /// whole; after one that is not counted.
    ///
    /// # Errors
    /// As [`UpdateProgram::run`].
    pub fn rounds(
        &self,
        (kernel, n): (&str, u64),
        arguments: &[UpdateArgument],
        copies: usize,
        rounds: usize,
    ) -> Result<Vec<f32>, RuntimeError> {
        let _turn = self.device.turn()?;
        let mut calls = (0..copies).map(|_| self.prepare(kernel, n, arguments)).collect::<Result<Vec<_>, _>>()?;
        let recorded = self.device.record(|| calls.iter_mut().try_for_each(|c| self.start(c)))?;
        let again = || recorded.start().map_err(|s| self.fault(kernel, s));
        again()?;
        let mut marks = vec![self.device.mark()?];
        for _ in 0..rounds {
            again()?;
            marks.push(self.device.mark()?);
        }
        self.device.wait()?;
        marks.windows(2).map(|pair| pair[1].since(&pair[0])).collect()
    }

    fn prepare(&self, kernel: &str, n: u64, arguments: &[UpdateArgument]) -> Result<Prepared, RuntimeError> {
        let found = self.kernels.iter().find(|(k, _)| k.name == kernel);
        let (info, function) = found.ok_or_else(|| Bug::new(format!("no kernel `{kernel}`")))?;
        if info.params.len() != arguments.len() {
            return Err(Bug::new(format!("`{kernel}` has {} parameters", info.params.len())).into());
        }
        let grid = info.grid.blocks(n).filter(|g| *g > 0);
        let grid = grid.ok_or_else(|| Bug::new(format!("`{kernel}` cannot be launched for {n}")))?;
        let (mut buffers, mut values) = (Vec::new(), Vec::new());
        for a in arguments {
            let buffer = match a {
                UpdateArgument::Read(bytes) | UpdateArgument::Both(bytes) => Some(self.device.upload(bytes)?),
                UpdateArgument::Write(bytes) => Some(self.device.alloc(*bytes)?),
                UpdateArgument::Number(_) => None,
            };
            let number = if let UpdateArgument::Number(n) = a { u64::from(n.cast_unsigned()) } else { 0 };
            values.push(buffer.as_ref().map_or(number, Buffer::address));
            buffers.push(buffer);
        }
        let size = (grid, info.block, info.shared_bytes);
        Ok(Prepared { name: kernel.into(), function: *function, size, buffers, values })
    }

    fn start(&self, call: &mut Prepared) -> Result<(), RuntimeError> {
        let started = self.device.launch(call.function, call.size, &mut call.values);
        started.map_err(|status| self.fault(&call.name, status))
    }

    fn fault(&self, kernel: &str, status: super::driver::Status) -> RuntimeError {
        let code = self.device.driver.describe(status);
        RuntimeError::KernelFault { kernel: kernel.into(), layer: "an update".into(), code }
    }
}

/// A launch and its arrays.
struct Prepared {
    name: String,
    function: Function,
    size: (u32, u32, u32),
    buffers: Vec<Option<Buffer>>,
    values: Vec<u64>,
}
