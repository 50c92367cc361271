//! A function on a device: its kernels, its weights, and buffers that are kept from call to call.
use super::call::{Call, Held, Pool};
use super::device::{Buffer, Device, Function, Loaded, Recorded};
use super::{ImageChoice, RuntimeError, image};
use crate::nvrtc::Image;
use crate::{CudaModule, KernelInfo, Operand, Param, dealt};
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
    /// Buffers that no value needs now.
    free: Mutex<Pool>,
    recordings: Mutex<Recordings>,
    wait: bool,
    record: bool,
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

/// A call of some sizes, recorded: its buffers, which only it uses, and its launches.
struct Recording {
    held: BTreeMap<Held, Buffer>,
    _spare: Pool,
    launches: Recorded,
}

/// Calls of how many different sizes are kept recorded.
const RECORDINGS: usize = 4;

/// What was called before.
#[derive(Default)]
struct Recordings {
    /// By sizes, the latest last.
    ready: Vec<(Vec<u64>, Recording)>,
    /// Sizes of the latest call that was not recorded.
    last: Option<Vec<u64>>,
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
        let (has, needs) =
            (device.capability(), module.kernels.iter().filter(|k| k.only.is_none()).map(|k| k.cc).max().unwrap_or(0));
        if has.0 * 10 + has.1 < needs {
            return Err(RuntimeError::TooOld { device: device.name().into(), has, needs });
        }
        let _turn = device.turn()?;
        let (loaded, arch) = image::load(device, images, module, choice)?;
        let mut kernels = Vec::new();
        for info in &module.kernels_of(&arch) {
            kernels.push(Ready { info: info.clone(), function: loaded.function(&info.name, info.shared_bytes)? });
        }
        let (mut packed, mut plain) = (BTreeMap::new(), BTreeMap::new());
        for k in &module.kernels {
            for p in k.params.iter().filter(|p| matches!(p.of, Operand::Packed | Operand::Dealt)) {
                let key = (k.weight.clone(), k.layout.clone(), held_as(p));
                if packed.contains_key(&key) {
                    continue;
                }
                if p.of == Operand::Dealt {
                    let of = weights.packed(&k.weight, &k.layout);
                    let of = of.ok_or_else(|| Bug::new(format!("`{}` is not packed as {}", k.weight, k.layout)))?;
                    let [idx, values] = dealt(of.packed())?;
                    packed.insert(key, device.upload(&bytes_of(if p.name == "idx" { &idx } else { &values }))?);
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
            recordings: Mutex::default(),
            wait: std::env::var_os("SPC_CUDA_WAIT").is_some_and(|v| v == "1"),
            record: std::env::var_os("SPC_CUDA_GRAPHS").is_none_or(|v| v != "0"),
            _module: loaded,
            device: Arc::clone(device),
        })
    }

    /// The kernels that run on this device.
    pub fn kernels(&self) -> impl Iterator<Item = &KernelInfo> {
        self.kernels.iter().map(|k| &k.info)
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

    /// Times of `rounds` rounds of all kernels in milliseconds, one after the other as a recorded whole, after one that is not
    /// counted. Nothing is read back.
    ///
    /// # Errors
    /// As [`DeviceProgram::call`].
    pub fn rounds(
        &self,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
        rounds: usize,
    ) -> Result<Vec<f32>, RuntimeError> {
        let _turn = self.device.turn()?;
        let recording = self.recording(syms)?;
        self.fill(&recording.held, syms, inputs)?;
        recording.launches.start().map_err(|s| self.late(s))?;
        let mut marks = vec![self.device.mark()?];
        for _ in 0..rounds {
            recording.launches.start().map_err(|s| self.late(s))?;
            marks.push(self.device.mark()?);
        }
        self.device.wait().map_err(|e| self.blamed(e))?;
        marks.windows(2).map(|pair| pair[1].since(&pair[0])).collect()
    }

    /// Buffers of the inputs.
    fn places(&self, syms: &[u64], pool: &mut Pool) -> Result<BTreeMap<Held, Buffer>, RuntimeError> {
        let mut held = BTreeMap::new();
        for (_, node) in self.graph.named_inputs() {
            let bytes = self.value_bytes(node, syms)?;
            held.insert(Held::Value(node), self.take(bytes, pool)?);
        }
        Ok(held)
    }

    /// Copies the inputs to their buffers, and clears the place for faults.
    fn fill(
        &self,
        held: &BTreeMap<Held, Buffer>,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), RuntimeError> {
        self.check_ids(syms, inputs)?;
        for (name, node) in self.graph.named_inputs() {
            let bytes = inputs.get(&name).ok_or_else(|| Bug::new(format!("no input {name}")))?;
            if self.value_bytes(node, syms)? != bytes.len() as u64 {
                return Err(Bug::new(format!("the input {name} has another size")).into());
            }
            let place = held.get(&Held::Value(node)).ok_or_else(|| Bug::new("an input without a buffer"))?;
            place.write(bytes)?;
        }
        if let Some(fault) = &self.fault {
            fault.write(&[0; 4])?;
        }
        Ok(())
    }

    /// The launch of kernel number `i` for these sizes, its buffers taken from `pool`; what no later kernel and no result reads
    /// goes back there. `None` where it is not for these sizes.
    fn call_of(
        &self,
        i: usize,
        syms: &[u64],
        held: &mut BTreeMap<Held, Buffer>,
        pool: &mut Pool,
    ) -> Result<Option<Call>, RuntimeError> {
        let k = &self.kernels[i];
        let n = self.count(&k.info.tokens, syms)?;
        if k.info.family != "terms"
            && let Entry::Vacant(place) = held.entry(Held::Value(k.info.writes))
        {
            place.insert(self.take(self.value_bytes(k.info.writes, syms)?, pool)?);
        }
        let call = if n > 0 && k.info.is_for(n) { Some(self.prepare(k, n, syms, held, pool)?) } else { None };
        // The stream keeps the order of their next use.
        let dead: Vec<Held> =
            held.keys().copied().filter(|h| !self.needed_after(i, *h) && !self.is_input(*h)).collect();
        dead.into_iter().filter_map(|h| held.remove(&h)).for_each(|b| pool.give(b));
        Ok(call)
    }

    /// Inputs keep their buffers: they are filled before all launches.
    fn is_input(&self, h: Held) -> bool {
        let Held::Value(node) = h else { return false };
        self.graph.node(node).is_ok_and(|n| matches!(n.op, Op::Input { .. }))
    }

    /// All launches for these sizes, recorded.
    fn recording(&self, syms: &[u64]) -> Result<Recording, RuntimeError> {
        let mut spare = Pool::default();
        let mut held = self.places(syms, &mut spare)?;
        let mut calls = Vec::new();
        for i in 0..self.kernels.len() {
            let call = self.call_of(i, syms, &mut held, &mut spare)?;
            calls.extend(call.map(|c| (i, c)));
        }
        let launches = self.device.record(|| calls.iter_mut().try_for_each(|(i, c)| self.start(*i, c)))?;
        Ok(Recording { held, _spare: spare, launches })
    }

    fn run(
        &self,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
        timed: bool,
    ) -> Result<(Vec<Vec<u8>>, Vec<KernelTime>), RuntimeError> {
        let _turn = self.device.turn()?;
        if self.record
            && !self.wait
            && !timed
            && let Some(recording) = self.recorded(syms)?
        {
            self.fill(&recording.held, syms, inputs)?;
            recording.launches.start().map_err(|s| self.late(s))?;
            let out = self.results(&recording.held, syms)?;
            self.keep(syms, recording);
            return Ok((out, Vec::new()));
        }
        let mut pool = std::mem::take(&mut *self.free());
        let done = self.directly(syms, inputs, timed, &mut pool);
        *self.free() = pool;
        done
    }

    /// A call launch by launch.
    fn directly(
        &self,
        syms: &[u64],
        inputs: &BTreeMap<String, Vec<u8>>,
        timed: bool,
        pool: &mut Pool,
    ) -> Result<(Vec<Vec<u8>>, Vec<KernelTime>), RuntimeError> {
        let mut held = self.places(syms, pool)?;
        self.fill(&held, syms, inputs)?;
        let mut times = Vec::new();
        for i in 0..self.kernels.len() {
            let Some(mut call) = self.call_of(i, syms, &mut held, pool)? else { continue };
            let start = if timed { Some(self.device.mark()?) } else { None };
            self.start(i, &mut call)?;
            if let Some(start) = start {
                let milliseconds = self.device.mark()?.since(&start).map_err(|e| self.blamed(e))?;
                times.push(KernelTime { node: self.kernels[i].info.node, milliseconds });
            }
        }
        let out = self.results(&held, syms)?;
        held.into_values().for_each(|b| pool.give(b));
        Ok((out, times))
    }

    /// The recording for these sizes, taken out of what is kept: the sizes of the call before are recorded. `None` where there is
    /// none, or no memory for one.
    fn recorded(&self, syms: &[u64]) -> Result<Option<Recording>, RuntimeError> {
        let mut all = self.recordings();
        if let Some(at) = all.ready.iter().position(|(s, _)| s == syms) {
            return Ok(Some(all.ready.remove(at).1));
        }
        if all.last.as_deref() != Some(syms) {
            all.last = Some(syms.to_vec());
            return Ok(None);
        }
        drop(all);
        match self.recording(syms) {
            Ok(recording) => Ok(Some(recording)),
            Err(RuntimeError::OutOfMemory { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn keep(&self, syms: &[u64], recording: Recording) {
        let mut all = self.recordings();
        if all.ready.len() >= RECORDINGS {
            all.ready.remove(0);
        }
        all.ready.push((syms.to_vec(), recording));
    }

    /// The results, after waiting for them.
    fn results(&self, held: &BTreeMap<Held, Buffer>, syms: &[u64]) -> Result<Vec<Vec<u8>>, RuntimeError> {
        if let Some(fault) = &self.fault {
            let word = fault.read(4).map_err(|e| self.blamed(e))?;
            let word = word.as_chunks::<4>().0.first().map_or(0, |w| u32::from_le_bytes(*w));
            if let Some(node) = word.checked_sub(1) {
                return Err(self.reported(NodeId(node))?);
            }
        }
        let mut out = Vec::new();
        for (_, node) in &self.graph.outputs {
            let bytes = usize::try_from(self.value_bytes(*node, syms)?).map_err(|_| Bug::new("a result's size"))?;
            let node = root(&self.graph, *node)?;
            let buffer = held.get(&Held::Value(node)).or_else(|| self.plain.get(&node));
            let buffer = buffer.ok_or_else(|| Bug::new(format!("{node} has no buffer")))?;
            out.push(buffer.read(bytes).map_err(|e| self.blamed(e))?);
        }
        Ok(out)
    }

    /// A fault that shows after several launches: the kernel is one of those.
    fn late(&self, status: super::driver::Status) -> RuntimeError {
        self.blamed(RuntimeError::Call { function: "cuGraphLaunch", code: self.device.driver.describe(status) })
    }

    fn blamed(&self, e: RuntimeError) -> RuntimeError {
        match e {
            RuntimeError::Call { code, .. } => {
                RuntimeError::LateFault { layers: self.kernels.iter().map(|k| layer(&k.info)).collect(), code }
            }
            other => other,
        }
    }

    fn prepare(
        &self,
        k: &Ready,
        n: u64,
        syms: &[u64],
        held: &mut BTreeMap<Held, Buffer>,
        pool: &mut Pool,
    ) -> Result<Call, RuntimeError> {
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
                place.insert(self.take(bytes.ok_or_else(|| Bug::new("a buffer without a size"))?, pool)?);
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
                Operand::Packed | Operand::Dealt => {
                    let key = (info.weight.clone(), info.layout.clone(), held_as(p));
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
        Ok(Call { function: k.function, size: (grid, info.block, info.shared_bytes), arguments })
    }

    /// Launches kernel number `i`.
    fn start(&self, i: usize, call: &mut Call) -> Result<(), RuntimeError> {
        let info = &self.kernels[i].info;
        let fault = |code| RuntimeError::KernelFault { kernel: info.name.clone(), layer: layer(info), code };
        let started = self.device.launch(call.function, call.size, &mut call.arguments);
        started.map_err(|status| fault(self.device.driver.describe(status)))?;
        if self.wait {
            self.device.wait().map_err(|e| match e {
                RuntimeError::Call { code, .. } => fault(code),
                other => other,
            })?;
        }
        Ok(())
    }

    /// What a kernel that left the number of this operator has found.
    fn reported(&self, node: NodeId) -> Result<RuntimeError, Bug> {
        let name = match &self.graph.node(node)?.op {
            Op::Top(t) => &t.name,
            Op::Rank { name, .. } => name,
            Op::Reduce { .. } => "argmax",
            _ => return Ok(RuntimeError::IndexRange(node)),
        };
        Ok(RuntimeError::Score { name: name.to_string() })
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

    fn free(&self) -> MutexGuard<'_, Pool> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recordings(&self) -> MutexGuard<'_, Recordings> {
        self.recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of so many bytes: one of the pool, else a new one, if need be after letting go of what is kept for later calls.
    fn take(&self, bytes: u64, pool: &mut Pool) -> Result<Buffer, RuntimeError> {
        let kept = pool.take(bytes);
        match kept.map_or_else(|| self.device.alloc(bytes), Ok) {
            Err(RuntimeError::OutOfMemory { .. }) => {
                // The stream may still use them.
                self.device.wait()?;
                self.recordings().ready.clear();
                self.free().clear();
                pool.clear();
                self.device.alloc(bytes)
            }
            other => other,
        }
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

/// The name of a packed array on the device.
fn held_as(p: &Param) -> String {
    if p.of == Operand::Dealt { format!("{}, dealt out", p.name) } else { p.name.clone() }
}

fn layer(info: &KernelInfo) -> String {
    if info.weight.is_empty() { format!("the operator {}", info.node) } else { format!("`{}`", info.weight) }
}
