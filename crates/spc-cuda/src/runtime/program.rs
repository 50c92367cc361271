//! A function on a device: its kernels, its weights, and buffers that are kept from call to call.
use super::device::{Buffer, Device, Function, Loaded};
use super::{ImageChoice, RuntimeError, image};
use crate::nvrtc::Image;
use crate::{CudaModule, KernelInfo, Operand};
use spc_base::Bug;
use spc_formats::{Array, Validated};
use spc_ir::{DType, Graph, NodeId, Op};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where weights come from while a program is loaded.
pub trait Weights {
    /// A weight in a layout of the plan.
    fn packed(&self, weight: &str, layout: &str) -> Option<&Validated>;
    /// A weight as it is, row-major.
    fn plain(&self, weight: &str) -> Option<&[f32]>;
}

/// Time of one kernel, and the node that it computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KernelTime {
    pub node: NodeId,
    pub milliseconds: f32,
}

/// A function, ready to be called, from any thread.
pub struct DeviceProgram {
    graph: Graph,
    kernels: Vec<Ready>,
    /// Packed arrays by weight, layout and name; plain weights by their node.
    packed: BTreeMap<(String, String, String), Buffer>,
    plain: BTreeMap<NodeId, Buffer>,
    /// Buffers that no value needs now, by size.
    free: Mutex<BTreeMap<u64, Vec<Buffer>>>,
    wait: bool,
    /// Where kernels report ids out of range, if any does.
    fault: Option<Buffer>,
    // Last, so that kernels and buffers go before their module and device.
    _module: Loaded,
    device: Arc<Device>,
}

struct Ready {
    info: KernelInfo,
    function: Function,
}

/// What a buffer holds in one call: a value, or a value as terms for tensor cores, turned or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Value(NodeId),
    Terms(NodeId, bool),
    /// Sums of blocks that share the columns.
    Parts(NodeId),
}

fn bytes_of(array: &Array) -> Vec<u8> {
    match array {
        Array::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Array::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Array::U8(v) => v.clone(),
    }
}

/// The value whose bytes a node shows: splits and merges move nothing.
fn root(graph: &Graph, mut node: NodeId) -> Result<NodeId, Bug> {
    while matches!(graph.node(node)?.op, Op::Split { .. } | Op::Merge { .. }) {
        node = graph.inputs(node).first().copied().ok_or_else(|| Bug::new("a view of nothing"))?;
    }
    Ok(node)
}

impl DeviceProgram {
    /// Loads the module and uploads every weight.
    ///
    /// # Errors
    /// An operator has no kernel, no image runs on the device, or it has too little memory. Nothing stays allocated then.
    pub fn new(
        device: &Arc<Device>,
        graph: &Graph,
        module: &CudaModule,
        images: &[Image],
        choice: ImageChoice,
        weights: &dyn Weights,
    ) -> Result<DeviceProgram, RuntimeError> {
        if let Some(h) = module.host.first() {
            return Err(RuntimeError::NoKernel { op: h.op.clone(), reason: h.reason.clone() });
        }
        let (has, needs) = (device.capability(), module.kernels.iter().map(|k| k.cc).max().unwrap_or(0));
        if has.0 * 10 + has.1 < needs {
            return Err(RuntimeError::TooOld { device: device.name().into(), has, needs });
        }
        device.bind()?;
        let loaded = image::load(device, images, &module.text, choice)?;
        let mut kernels = Vec::new();
        for info in &module.kernels {
            kernels.push(Ready { info: info.clone(), function: loaded.function(&info.name, info.shared_bytes)? });
        }
        let (mut packed, mut plain) = (BTreeMap::new(), BTreeMap::new());
        for k in &module.kernels {
            for p in k.params.iter().filter(|p| p.of == Operand::Packed) {
                let key = (k.weight.clone(), k.layout.clone(), p.name.clone());
                if packed.contains_key(&key) {
                    continue;
                }
                let stored = weights.packed(&k.weight, &k.layout).and_then(|v| v.packed().array(&p.name));
                let stored = stored.ok_or_else(|| Bug::new(format!("`{}` is not packed as {}", k.weight, k.layout)))?;
                packed.insert(key, device.upload(&bytes_of(stored))?);
            }
        }
        let read = module.kernels.iter().flat_map(reads).chain(graph.outputs.iter().map(|(_, n)| *n));
        for node in read {
            let node = root(graph, node)?;
            if let Op::Weight { name, .. } = &graph.node(node)?.op
                && !plain.contains_key(&node)
            {
                let values = weights.plain(name).ok_or_else(|| Bug::new(format!("`{name}` has no values")))?;
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                plain.insert(node, device.upload(&bytes)?);
            }
        }
        let reports = module.kernels.iter().any(|k| k.params.iter().any(|p| p.of == Operand::Fault));
        let fault = if reports { Some(device.alloc(4)?) } else { None };
        Ok(DeviceProgram {
            fault,
            graph: graph.clone(),
            kernels,
            packed,
            plain,
            free: Mutex::default(),
            wait: std::env::var_os("SPC_CUDA_WAIT").is_some_and(|v| v == "1"),
            _module: loaded,
            device: Arc::clone(device),
        })
    }

    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Computes the function. `syms` are the sizes of its free axes; `inputs` have the bytes of each parameter, row-major,
    /// little-endian, a bool one byte. The results come in declared order in the same form.
    ///
    /// # Errors
    /// The device runs out of memory or a kernel fails. Buffers of the call are let go of.
    pub fn call(&self, syms: &[u64], inputs: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Vec<u8>>, RuntimeError> {
        Ok(self.run(syms, inputs, false)?.0)
    }

    /// As [`DeviceProgram::call`], and the time of each kernel as the device measures it.
    ///
    /// # Errors
    /// As [`DeviceProgram::call`].
    pub fn timed(&self, syms: &[u64], inputs: &BTreeMap<String, Vec<u8>>) -> Result<Vec<KernelTime>, RuntimeError> {
        Ok(self.run(syms, inputs, true)?.1)
    }

    /// Time of one round of all kernels in milliseconds: the mean of `rounds` that follow one another without a wait, after one
    /// that is not counted. Nothing is read back.
    ///
    /// # Errors
    /// As [`DeviceProgram::call`].
    pub fn throughput(
        &self,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
        rounds: u32,
    ) -> Result<f32, RuntimeError> {
        self.device.bind()?;
        let mut held = self.upload(syms, inputs)?;
        let mut all = || -> Result<(), RuntimeError> {
            for k in &self.kernels {
                self.room(k, syms, &mut held)?;
                let n = self.count(&k.info.tokens, syms)?;
                if n > 0 && k.info.is_for(n) {
                    self.launch(k, n, syms, &mut held)?;
                }
            }
            Ok(())
        };
        all()?;
        let start = self.device.mark()?;
        for _ in 0..rounds {
            all()?;
        }
        let total = self.device.mark()?.since(&start)?;
        held.into_values().for_each(|b| self.give(b));
        Ok(total / rounds.max(1) as f32)
    }

    fn upload(&self, syms: &[u64], inputs: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<Held, Buffer>, RuntimeError> {
        let mut held: BTreeMap<Held, Buffer> = BTreeMap::new();
        for (name, node) in self.graph.named_inputs() {
            let bytes = inputs.get(&name).ok_or_else(|| Bug::new(format!("no input {name}")))?;
            if self.value_bytes(node, syms)? != bytes.len() as u64 {
                return Err(Bug::new(format!("the input {name} has another size")).into());
            }
            let buffer = self.take(bytes.len() as u64)?;
            buffer.write(bytes)?;
            held.insert(Held::Value(node), buffer);
        }
        Ok(held)
    }

    /// A buffer for what a kernel writes, if there is none yet.
    fn room(&self, k: &Ready, syms: &[u64], held: &mut BTreeMap<Held, Buffer>) -> Result<(), RuntimeError> {
        if k.info.family != "terms"
            && let Entry::Vacant(place) = held.entry(Held::Value(k.info.writes))
        {
            place.insert(self.take(self.value_bytes(k.info.writes, syms)?)?);
        }
        Ok(())
    }

    fn run(
        &self,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
        timed: bool,
    ) -> Result<(Vec<Vec<u8>>, Vec<KernelTime>), RuntimeError> {
        self.device.bind()?;
        let mut held = self.upload(syms, inputs)?;
        self.check_ids(syms, inputs)?;
        if let Some(fault) = &self.fault {
            fault.write(&[0; 4])?;
        }
        let mut times = Vec::new();
        for (i, k) in self.kernels.iter().enumerate() {
            let n = self.count(&k.info.tokens, syms)?;
            self.room(k, syms, &mut held)?;
            if n > 0 && k.info.is_for(n) {
                let start = if timed { Some(self.device.mark()?) } else { None };
                self.launch(k, n, syms, &mut held)?;
                if let Some(start) = start {
                    let milliseconds = self.device.mark()?.since(&start)?;
                    times.push(KernelTime { node: k.info.node, milliseconds });
                }
            }
            // What no later kernel and no result reads goes back; the stream keeps the order of its next use.
            let dead: Vec<Held> = held.keys().copied().filter(|h| !self.needed_after(i, *h)).collect();
            for h in dead {
                if let Some(b) = held.remove(&h) {
                    self.give(b);
                }
            }
        }
        if let Some(fault) = &self.fault {
            let word = fault.read(4)?.as_chunks::<4>().0.first().map_or(0, |w| u32::from_le_bytes(*w));
            if let Some(node) = word.checked_sub(1) {
                return Err(RuntimeError::IndexRange(NodeId(node)));
            }
        }
        let mut out = Vec::new();
        for (_, node) in &self.graph.outputs {
            let bytes = usize::try_from(self.value_bytes(*node, syms)?).map_err(|_| Bug::new("a result's size"))?;
            let node = root(&self.graph, *node)?;
            let buffer = held.get(&Held::Value(node)).or_else(|| self.plain.get(&node));
            out.push(buffer.ok_or_else(|| Bug::new(format!("{node} has no buffer")))?.read(bytes)?);
        }
        held.into_values().for_each(|b| self.give(b));
        Ok((out, times))
    }

    fn launch(&self, k: &Ready, n: u64, syms: &[u64], held: &mut BTreeMap<Held, Buffer>) -> Result<(), RuntimeError> {
        let info = &k.info;
        let grid = info.grid.blocks(n);
        let grid = grid.ok_or_else(|| RuntimeError::TooMany { kernel: info.name.clone(), layer: layer(info), n })?;
        for p in &info.params {
            let (key, bytes) = match p.of {
                Operand::Terms { turned, .. } => (Held::Terms(info.x, turned), info.terms_bytes(n)),
                Operand::Parts { .. } => (Held::Parts(info.writes), info.parts_bytes(n)),
                _ => continue,
            };
            if let Entry::Vacant(place) = held.entry(key) {
                place.insert(self.take(bytes.ok_or_else(|| Bug::new("a buffer without a size"))?)?);
            }
        }
        let mut arguments = Vec::with_capacity(info.params.len());
        for p in &info.params {
            let value = |node: NodeId| -> Result<u64, Bug> {
                let node = root(&self.graph, node)?;
                let found = held.get(&Held::Value(node)).or_else(|| self.plain.get(&node));
                found.map(Buffer::address).ok_or_else(|| Bug::new(format!("{node} has no buffer")))
            };
            arguments.push(match p.of {
                Operand::Packed => {
                    let key = (info.weight.clone(), info.layout.clone(), p.name.clone());
                    let found = self.packed.get(&key).map(Buffer::address);
                    found.ok_or_else(|| Bug::new(format!("`{}` is not on the device", info.weight)))?
                }
                Operand::X => value(info.x)?,
                Operand::Y => value(info.writes)?,
                Operand::Value { node } => value(node)?,
                Operand::Bias => value(info.bias.ok_or_else(|| Bug::new("no bias"))?)?,
                Operand::Terms { turned, .. } => {
                    let found = held.get(&Held::Terms(info.x, turned)).map(Buffer::address);
                    found.ok_or_else(|| Bug::new("terms that were not made"))?
                }
                Operand::Parts { .. } => {
                    let found = held.get(&Held::Parts(info.writes)).map(Buffer::address);
                    found.ok_or_else(|| Bug::new("sums that were not made"))?
                }
                Operand::Tokens => n,
                Operand::Fault => {
                    self.fault.as_ref().map(Buffer::address).ok_or_else(|| Bug::new("no place for faults"))?
                }
                Operand::Axis { sym } => {
                    syms.get(sym as usize).copied().ok_or_else(|| Bug::new("an axis without a size"))?
                }
            });
        }
        let fault = |status| RuntimeError::KernelFault {
            kernel: info.name.clone(),
            layer: layer(info),
            code: self.device.driver.describe(status),
        };
        self.device.launch(k.function, (grid, info.block, info.shared_bytes), &mut arguments).map_err(fault)?;
        if self.wait {
            self.device.wait().map_err(|e| match e {
                RuntimeError::Call { code, .. } => {
                    RuntimeError::KernelFault { kernel: info.name.clone(), layer: layer(info), code }
                }
                other => other,
            })?;
        }
        Ok(())
    }

    /// Ids that are inputs are checked before anything runs.
    fn check_ids(&self, syms: &[u64], inputs: &BTreeMap<String, Vec<u8>>) -> Result<(), RuntimeError> {
        for k in self.kernels.iter().filter(|k| k.info.family == "gather") {
            let node = k.info.node;
            let (Op::Gather { dim }, [table, ids]) = (&self.graph.node(node)?.op, &self.graph.inputs(node)[..]) else {
                return Err(Bug::new(format!("{node} is no gather")).into());
            };
            let size = self.graph.ty(*table)?.dims.get(*dim as usize).and_then(|d| d.size.bind(syms));
            // Others are checked by the kernel.
            let Op::Input { name, .. } = &self.graph.node(*ids)?.op else { continue };
            let words = inputs.get(name).map(|b| b.as_chunks::<4>().0).unwrap_or_default();
            let inside =
                |w: &[u8; 4]| u64::try_from(i32::from_le_bytes(*w)).is_ok_and(|id| size.is_some_and(|n| id < n));
            if !words.iter().all(inside) {
                return Err(RuntimeError::IndexRange(node));
            }
        }
        Ok(())
    }

    /// Whether a kernel after number `i`, or a result, reads this.
    fn needed_after(&self, i: usize, h: Held) -> bool {
        let same = |n: NodeId, of: NodeId| root(&self.graph, n).is_ok_and(|r| r == of);
        let later = self.kernels.iter().skip(i + 1).map(|k| &k.info);
        match h {
            Held::Value(of) => {
                self.graph.outputs.iter().any(|(_, n)| same(*n, of))
                    || later.clone().any(|k| k.writes == of && k.family != "terms")
                    || later.flat_map(reads).any(|n| same(n, of))
            }
            Held::Terms(of, as_read) => later
                .filter(|k| k.x == of)
                .any(|k| k.params.iter().any(|p| matches!(p.of, Operand::Terms { turned, .. } if turned == as_read))),
            Held::Parts(of) => {
                later.filter(|k| k.writes == of).any(|k| k.params.iter().any(|p| matches!(p.of, Operand::Parts { .. })))
            }
        }
    }

    /// The number that a product of sizes and names of axes means.
    fn count(&self, formula: &str, syms: &[u64]) -> Result<u64, Bug> {
        let bad = || Bug::new(format!("`{formula}` has no value"));
        formula.split(" * ").try_fold(1u64, |n, word| {
            let by = match word.parse::<u64>() {
                Ok(by) => by,
                Err(_) => {
                    let at = self.graph.syms.iter().position(|s| s.name == word).ok_or_else(bad)?;
                    syms.get(at).copied().ok_or_else(bad)?
                }
            };
            n.checked_mul(by).ok_or_else(bad)
        })
    }

    fn value_bytes(&self, node: NodeId, syms: &[u64]) -> Result<u64, Bug> {
        let ty = self.graph.ty(node)?;
        let each = if ty.dtype == DType::Bool { 1 } else { 4 };
        let bytes = ty.dims.iter().try_fold(each, |n: u64, d| n.checked_mul(d.size.bind(syms)?));
        bytes.ok_or_else(|| Bug::new(format!("{node} has no size")))
    }

    fn free(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Buffer>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of so many bytes: one that is free, else a new one, if need be after letting go of all free ones.
    fn take(&self, bytes: u64) -> Result<Buffer, RuntimeError> {
        let kept = self.free().get_mut(&bytes).and_then(Vec::pop);
        match kept.map_or_else(|| self.device.alloc(bytes), Ok) {
            Err(RuntimeError::OutOfMemory { .. }) => {
                // The stream may still use them.
                self.device.wait()?;
                self.free().clear();
                self.device.alloc(bytes)
            }
            other => other,
        }
    }

    fn give(&self, buffer: Buffer) {
        self.free().entry(buffer.bytes()).or_default().push(buffer);
    }
}

/// The values that a kernel reads.
fn reads(info: &KernelInfo) -> impl Iterator<Item = NodeId> {
    info.params.iter().filter_map(|p| match p.of {
        Operand::X => Some(info.x),
        Operand::Bias => info.bias,
        Operand::Value { node } => Some(node),
        _ => None,
    })
}

fn layer(info: &KernelInfo) -> String {
    if info.weight.is_empty() { format!("the operator {}", info.node) } else { format!("`{}`", info.weight) }
}
