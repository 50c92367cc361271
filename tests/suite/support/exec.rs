//! Running a graph: by the interpreter, by the loop IR's interpreter, and as machine code.
use super::plans::weight_of;
use super::{Rng, Weights};
use ndarray::{ArrayD, IxDyn};
use spc_cpu::{Executor, Isa};
use spc_formats::{Layout, Validated, pack, validate};
use spc_interp::{Value, bind_syms, run};
use spc_ir::{DType, Graph, Plan};
use spc_kernel::{PackedPort, Program, Slice, Sources, Tensor, interpret, schedule};
use std::collections::BTreeMap;

pub type Inputs = BTreeMap<String, Value<f32>>;
pub type Outputs = Vec<(String, Tensor)>;

/// Weights, and those of linears packed as a plan says.
pub struct Packs {
    weights: Weights,
    packed: BTreeMap<(String, String), Validated>,
}

impl Packs {
    pub fn new(g: &Graph, plan: &Plan, weights: &Weights) -> Packs {
        let mut packed = BTreeMap::new();
        for l in &plan.linears {
            let (name, rows, cols) = weight_of(g, l.node);
            let layout: Layout = l.layout.parse().unwrap();
            let p = validate(pack(&layout, rows, cols, &weights[&name]).unwrap()).unwrap();
            packed.insert((name, layout.to_string()), p);
        }
        Packs { weights: weights.clone(), packed }
    }
}

impl spc_cuda::runtime::Weights for Packs {
    fn packed(&self, weight: &str, layout: &str) -> Option<&Validated> {
        self.packed.get(&(weight.to_string(), layout.to_string()))
    }

    fn plain(&self, weight: &str) -> Option<&[f32]> {
        self.weights.get(weight).map(Vec::as_slice)
    }
}

impl Sources for Packs {
    fn weight(&self, name: &str) -> Option<&[f32]> {
        self.weights.get(name).map(Vec::as_slice)
    }

    fn packed(&self, port: &PackedPort) -> Option<&Validated> {
        self.packed.get(&(port.weight.clone(), port.layout.to_string()))
    }
}

/// Sizes of the free axes: random within their ranges, and what follows from them.
pub fn random_sizes(g: &Graph, rng: &mut Rng) -> Vec<u64> {
    let mut sizes: Vec<u64> = g.syms.iter().map(|s| s.lo + rng.below(s.hi - s.lo + 1)).collect();
    for (s, f) in &g.formulas {
        sizes[s.0 as usize] = f.size(&sizes).unwrap();
    }
    sizes
}

/// Random inputs. Integers are 0, 1 or 2, so that they are good ids of every table in the tests.
pub fn random_inputs(g: &Graph, sizes: &[u64], rng: &mut Rng) -> Inputs {
    let mut out = Inputs::new();
    for (name, ty) in super::inputs(g) {
        let shape = ty.shape(sizes).unwrap();
        let n: usize = shape.iter().product();
        let shape = IxDyn(&shape);
        let v = match ty.dtype {
            DType::F32 => Value::F(ArrayD::from_shape_vec(shape, (0..n).map(|_| rng.float() * 2.0).collect()).unwrap()),
            DType::I32 => {
                Value::I(ArrayD::from_shape_vec(shape, (0..n).map(|_| rng.below(3) as i32).collect()).unwrap())
            }
            // The first of a row is true, so that no row of keys is empty.
            DType::Bool => {
                let last = *ty.shape(sizes).unwrap().last().unwrap_or(&1);
                let bits = (0..n).map(|i| i % last.max(1) == 0 || rng.below(3) > 0).collect();
                Value::B(ArrayD::from_shape_vec(shape, bits).unwrap())
            }
        };
        out.insert(name, v);
    }
    out
}

fn slices<'a>(p: &Program, inputs: &'a Inputs) -> Vec<Slice<'a>> {
    let slice = |v: &'a Value<f32>| match v {
        Value::F(a) => Slice::F32(a.as_slice().unwrap()),
        Value::I(a) => Slice::I32(a.as_slice().unwrap()),
        Value::B(a) => Slice::Bool(a.as_slice().unwrap()),
    };
    p.inputs().iter().map(|port| slice(&inputs[&port.name])).collect()
}

/// Instruction sets that this machine can run.
pub fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|i| i.is_available()).collect()
}

pub fn program(g: &Graph, plan: &Plan, isa: Isa) -> Program {
    schedule(g, plan, isa.target()).unwrap()
}

/// Machine code on 1 and on 2 threads, which must give the same bits.
pub fn jit(g: &Graph, plan: &Plan, packs: &Packs, sizes: &[u64], inputs: &Inputs, isa: Isa) -> Outputs {
    let p = program(g, plan, isa);
    let call = |threads| {
        let e = Executor::new(p.clone(), packs, threads, isa).unwrap();
        e.call(sizes, &slices(&p, inputs)).unwrap()
    };
    let (one, two) = (call(1), call(2));
    assert!(same_bits(&one, &two), "one and two threads differ");
    one
}

/// The loop IR's interpreter, which checks every access.
pub fn loops(g: &Graph, plan: &Plan, packs: &Packs, sizes: &[u64], inputs: &Inputs, isa: Isa) -> Outputs {
    let p = program(g, plan, isa);
    interpret(&p, packs, sizes, &slices(&p, inputs)).unwrap()
}

/// Bitwise equality; any NaN equals any NaN.
pub fn same_bits(a: &Outputs, b: &Outputs) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((n, x), (m, y))| {
            n == m
                && match (x, y) {
                    (Tensor::F32(x), Tensor::F32(y)) => {
                        x.len() == y.len()
                            && x.iter().zip(y).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
                    }
                    (x, y) => x == y,
                }
        })
}

pub fn double(inputs: &Inputs) -> BTreeMap<String, Value<f64>> {
    inputs.iter().map(|(n, v)| (n.clone(), v.convert())).collect()
}

pub fn sizes_of(g: &Graph, inputs: &Inputs) -> Vec<u64> {
    let shapes = inputs.iter().map(|(n, v)| (n.clone(), v.shape().to_vec())).collect();
    bind_syms(g, &shapes).unwrap()
}

/// Compares results with the interpreter in f64. The tolerance of an output is 16 times the greatest error that the
/// interpreter itself makes in f32 on the same input, plus 64 roundings of its greatest value.
pub fn check(g: &Graph, weights: &Weights, inputs: &Inputs, got: &Outputs, what: &str) {
    let sizes = sizes_of(g, inputs);
    let exact = run::<f64>(g, &sizes, &double(inputs), weights).unwrap();
    let single = run::<f32>(g, &sizes, inputs, weights).unwrap();
    assert_eq!(exact.len(), got.len());
    for (((name, e), (_, s)), (other, t)) in exact.iter().zip(&single).zip(got) {
        assert_eq!(name, other);
        match (e, s, t) {
            (Value::F(e), Value::F(s), Tensor::F32(t)) => {
                assert_eq!(e.len(), t.len(), "{what}: {name}");
                let scale = e.iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
                let own = e.iter().zip(s).map(|(e, s)| (e - f64::from(*s)).abs()).filter(|d| d.is_finite());
                let tolerance = 16.0 * own.fold(0.0, f64::max) + 64.0 * scale / f64::from(1u32 << 24);
                for (i, (e, t)) in e.iter().zip(t).enumerate() {
                    let t = f64::from(*t);
                    let fine = (e.is_nan() && t.is_nan()) || *e == t || (e - t).abs() <= tolerance;
                    assert!(fine, "{what}: {name}[{i}] is {t}, the interpreter says {e} (tolerance {tolerance:e})");
                }
            }
            (Value::I(e), _, Tensor::I32(t)) => assert_eq!(e.as_slice().unwrap(), t, "{what}: {name}"),
            (Value::B(e), _, Tensor::Bool(t)) => assert_eq!(e.as_slice().unwrap(), t, "{what}: {name}"),
            _ => panic!("{what}: {name} has another type"),
        }
    }
}
