//! Runs programs with the interpreter of the loop IR, and what every executor of programs needs.
use crate::ir::interp::{Arg, run};
use crate::program::{Amount, Buffer, PackedPort, Program, Role, Step, StepArg};
use crate::templates::{EMPTY, UNORDERED};
use spc_base::Bug;
use spc_formats::{Array, Validated};
use spc_ir::{DType, NodeId};

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An id of this gather lies outside its axis.
    IndexRange(NodeId),
    /// A score of this choice is NaN, which has no place in an order.
    Unordered(NodeId),
    /// This choice of one has none to choose from.
    Empty(NodeId),
    /// The values of a call of these sizes do not fit into memory.
    Memory,
    Bug(Bug),
}

impl Fault {
    /// What the status of a node says after a call; nothing where all was well.
    pub fn of_status(node: NodeId, status: &[u8]) -> Option<Fault> {
        match status.first() {
            None | Some(0) => None,
            Some(&UNORDERED) => Some(Fault::Unordered(node)),
            Some(&EMPTY) => Some(Fault::Empty(node)),
            Some(_) => Some(Fault::IndexRange(node)),
        }
    }
}

impl From<Bug> for Fault {
    fn from(b: Bug) -> Fault {
        Fault::Bug(b)
    }
}

/// Elements of an input, row-major.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slice<'a> {
    F32(&'a [f32]),
    I32(&'a [i32]),
    Bool(&'a [bool]),
}

/// Elements of an output, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    F32(Vec<f32>),
    I32(Vec<i32>),
    Bool(Vec<bool>),
}

impl Slice<'_> {
    pub fn dtype(&self) -> DType {
        match self {
            Slice::F32(_) => DType::F32,
            Slice::I32(_) => DType::I32,
            Slice::Bool(_) => DType::Bool,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Slice::F32(v) => v.len(),
            Slice::I32(v) => v.len(),
            Slice::Bool(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the elements where they lie, as kernels read them.
    pub fn place(&self) -> (*const u8, usize) {
        match self {
            Slice::F32(v) => (v.as_ptr().cast(), size_of_val(*v)),
            Slice::I32(v) => (v.as_ptr().cast(), size_of_val(*v)),
            Slice::Bool(v) => (v.as_ptr().cast(), size_of_val(*v)),
        }
    }

    /// Writes the elements as kernels read them. `to` has their size.
    pub fn write(&self, to: &mut [u8]) {
        fn words<const N: usize>(to: &mut [u8], from: impl Iterator<Item = [u8; N]>) {
            to.chunks_exact_mut(N).zip(from).for_each(|(t, f)| t.copy_from_slice(&f));
        }
        match self {
            Slice::F32(v) => words(to, v.iter().map(|x| x.to_ne_bytes())),
            Slice::I32(v) => words(to, v.iter().map(|x| x.to_ne_bytes())),
            Slice::Bool(v) => words(to, v.iter().map(|x| [u8::from(*x)])),
        }
    }
}

/// Row-major elements of a result, in memory of the caller's.
#[derive(Debug)]
pub enum SliceMut<'a> {
    F32(&'a mut [f32]),
    I32(&'a mut [i32]),
}

impl SliceMut<'_> {
    pub fn dtype(&self) -> DType {
        match self {
            SliceMut::F32(_) => DType::F32,
            SliceMut::I32(_) => DType::I32,
        }
    }

    /// Where the elements lie, as kernels write them, and their bytes.
    pub fn place(&mut self) -> (*mut u8, usize) {
        match self {
            SliceMut::F32(v) => (v.as_mut_ptr().cast(), size_of_val(*v)),
            SliceMut::I32(v) => (v.as_mut_ptr().cast(), size_of_val(*v)),
        }
    }

    /// Takes the elements from the bytes that kernels wrote, as many as fit.
    pub fn read(&mut self, bytes: &[u8]) {
        let words = bytes.as_chunks::<4>().0.iter();
        match self {
            SliceMut::F32(v) => v.iter_mut().zip(words).for_each(|(to, w)| *to = f32::from_ne_bytes(*w)),
            SliceMut::I32(v) => v.iter_mut().zip(words).for_each(|(to, w)| *to = i32::from_ne_bytes(*w)),
        }
    }
}

impl Tensor {
    /// Elements from the bytes that kernels wrote.
    pub fn read(dtype: DType, bytes: &[u8]) -> Tensor {
        let words = || bytes.as_chunks::<4>().0.iter();
        match dtype {
            DType::F32 => Tensor::F32(words().map(|w| f32::from_ne_bytes(*w)).collect()),
            DType::I32 => Tensor::I32(words().map(|w| i32::from_ne_bytes(*w)).collect()),
            DType::Bool => Tensor::Bool(bytes.iter().map(|b| *b != 0).collect()),
        }
    }
}

/// Where a program finds its weights.
pub trait Sources {
    /// A weight as stored, row-major.
    fn weight(&self, name: &str) -> Option<&[f32]>;
    fn packed(&self, port: &PackedPort) -> Option<&Validated>;
}

fn array_bytes(a: &Array) -> Vec<u8> {
    match a {
        Array::F32(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Array::U32(v) => v.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        Array::U8(v) => v.clone(),
    }
}

/// The contents of a buffer that holds weights; `None` for other buffers. The size is checked against what the program
/// was made for.
pub fn constant_bytes(p: &Program, b: &Buffer, sources: &dyn Sources) -> Result<Option<Vec<u8>>, Bug> {
    match &b.role {
        Role::Weight(name) => {
            let values = sources.weight(name).ok_or_else(|| Bug::new(format!("no weight {name}")))?;
            if b.size(&[]) != (values.len() as u64).checked_mul(4) {
                return Err(Bug::new(format!("the weight {name} has {} values", values.len())));
            }
            Ok(Some(array_bytes(&Array::F32(values.to_vec()))))
        }
        Role::Packed { weight, layout, array, blocking } => {
            let fail = |e: &str| Bug::new(format!("the packed weight {weight} {layout} {e}"));
            let port = p.packed.iter().find(|q| q.weight == *weight && q.layout == *layout);
            let port = port.ok_or_else(|| fail("is not in the program's list"))?;
            let packed = sources.packed(port).ok_or_else(|| fail("is missing"))?;
            if (packed.layout(), packed.rows(), packed.cols()) != (port.layout, port.rows, port.cols) {
                return Err(fail("has another layout or shape"));
            }
            let bytes = match blocking {
                Some(k) => packed.arranged(array, *k).as_ref().map(array_bytes),
                None => packed.packed().array(array).map(array_bytes),
            };
            Ok(Some(bytes.ok_or_else(|| fail("lacks an array"))?))
        }
        Role::Input(_) | Role::Status(_) | Role::Output(_) | Role::Temp => Ok(None),
    }
}

fn bound(a: &Amount, sizes: &[u64]) -> Result<i64, Bug> {
    let n = a.bind(sizes).and_then(|n| i64::try_from(n).ok());
    n.ok_or_else(|| Bug::new("the size of a value overflows"))
}

/// Arguments of a step over its whole range, the positions of `lo` and `hi` among them, and the end of the range.
pub fn arguments(s: &Step, sizes: &[u64]) -> Result<(Vec<Arg>, usize, usize, i64), Bug> {
    let range = bound(&s.range, sizes)?;
    let (mut lo, mut hi) = (None, None);
    let mut args = Vec::with_capacity(s.args.len());
    for (i, a) in s.args.iter().enumerate() {
        args.push(match a {
            StepArg::Buffer(b) => Arg::buffer(*b),
            StepArg::Amount(a) => Arg::Int(bound(a, sizes)?),
            StepArg::Lo => {
                lo = Some(i);
                Arg::Int(0)
            }
            StepArg::Hi => {
                hi = Some(i);
                Arg::Int(range)
            }
        });
    }
    match (lo, hi) {
        (Some(lo), Some(hi)) => Ok((args, lo, hi, range)),
        _ => Err(Bug::new("a step without a range")),
    }
}

/// Checks sizes of free axes and inputs against a program.
fn check_call(p: &Program, sizes: &[u64], inputs: &[Slice<'_>]) -> Result<(), Bug> {
    if sizes.len() != p.syms.len() || inputs.len() != p.inputs.len() {
        return Err(Bug::new(format!("{}: {} sizes and {} inputs do not fit", p.name, sizes.len(), inputs.len())));
    }
    for (s, f) in &p.formulas {
        if sizes.get(s.0 as usize).copied() != f.size(sizes) {
            return Err(Bug::new(format!("{}: the size of the axis {} does not follow from the others", p.name, s.0)));
        }
    }
    for (port, x) in p.inputs.iter().zip(inputs) {
        let want = crate::Extent::product(&port.dims).and_then(|e| e.bind(sizes));
        if port.dtype != x.dtype() || want != Some(x.len() as u64) {
            return Err(Bug::new(format!("{}: the input {} does not fit", p.name, port.name)));
        }
    }
    Ok(())
}

impl Program {
    /// Checks a call: sizes of the free axes in order, inputs in order with their type and number of elements.
    pub fn check_call(&self, sizes: &[u64], inputs: &[Slice<'_>]) -> Result<(), Bug> {
        check_call(self, sizes, inputs)
    }
}

/// Runs a program by the interpreter of the loop IR, which checks every access: slow, for tests.
pub fn interpret(
    p: &Program,
    sources: &dyn Sources,
    sizes: &[u64],
    inputs: &[Slice<'_>],
) -> Result<Vec<(String, Tensor)>, Fault> {
    check_call(p, sizes, inputs)?;
    let mut buffers = Vec::with_capacity(p.buffers.len());
    for b in &p.buffers {
        let bytes = match constant_bytes(p, b, sources)? {
            Some(bytes) => bytes,
            None => {
                let n = b.size(sizes).and_then(|n| usize::try_from(n).ok());
                let n = n.ok_or_else(|| Bug::new("the size of a value overflows"))?;
                // Contents that are not defined are NaN here, so that a wrong read shows.
                let fill = if matches!(b.role, Role::Status(_)) { 0 } else { 0xff };
                let mut bytes = vec![fill; n];
                if let Role::Input(i) = b.role
                    && let Some(x) = inputs.get(i)
                {
                    x.write(&mut bytes);
                }
                bytes
            }
        };
        buffers.push(bytes);
    }
    for s in &p.steps {
        let (args, ..) = arguments(s, sizes)?;
        let kernel = p.kernels.get(s.kernel).ok_or_else(|| Bug::new("a step without a kernel"))?;
        run(kernel, &args, &mut buffers).map_err(|e| Bug::new(format!("{}: {}", s.node, e.0)))?;
    }
    for (b, bytes) in p.buffers.iter().zip(&buffers) {
        if let Role::Status(node) = b.role
            && let Some(fault) = Fault::of_status(node, bytes)
        {
            return Err(fault);
        }
    }
    let out = |port: &crate::program::Port| (port.name.clone(), Tensor::read(port.dtype, &buffers[port.buffer]));
    Ok(p.outputs.iter().map(out).collect())
}
