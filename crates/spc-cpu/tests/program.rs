//! Random graphs under random plans: compiled programs agree with interpreted programs bit for bit, and both with the
//! reference interpreter of graphs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cpu::{Executor, Isa};
use spc_interp::testing::{Case, Options, Rng, random_case};
use spc_interp::{RunError, Value};
use spc_ir::{NodeId, Op, Plan, passes};
use spc_kernel::{Fault, Program, Tensor, interpret, schedule};
use std::collections::BTreeMap;
use support::{Weights, borrowed, random_plan, same_bits, sources, tensors};

mod support;

/// Greatest difference from the reference, relative to 1 + the reference; infinite where the kind or shape differs.
fn distance(got: &Tensor, want: &Value<f64>) -> f64 {
    match (got, want) {
        (Tensor::F32(g), Value::F(w)) if g.len() == w.len() => {
            let one = |(g, w): (&f32, &f64)| {
                let g = f64::from(*g);
                let same = g == *w || (g.is_nan() && w.is_nan()) || f64::from(*w as f32) == g;
                if same { 0.0 } else { (g - w).abs() / (1.0 + w.abs()) }
            };
            g.iter().zip(w.iter()).map(one).fold(0.0, |a, b| if b.is_nan() { f64::INFINITY } else { f64::max(a, b) })
        }
        (Tensor::I32(g), Value::I(w)) if g.iter().eq(w.iter()) => 0.0,
        (Tensor::Bool(g), Value::B(w)) if g.iter().eq(w.iter()) => 0.0,
        _ => f64::INFINITY,
    }
}

struct Run {
    program: Program,
    outputs: Vec<(String, Tensor)>,
}

/// Whether a program found what the reference found wrong with the values of a call. Which of several it names first may
/// differ.
fn alike(fault: &Fault, error: &RunError) -> bool {
    let choice = matches!(error, RunError::ScoreNan { .. } | RunError::NothingToChoose { .. });
    match fault {
        Fault::IndexRange(_) => matches!(error, RunError::IndexRange { .. }) || choice,
        Fault::Unordered(_) | Fault::Empty(_) => choice || matches!(error, RunError::IndexRange { .. }),
        _ => false,
    }
}

/// Runs a case under a random plan both ways. Nothing where both ways refuse its values.
fn both(case: &Case, seed: u64) -> Option<Run> {
    let graph = passes::run(&case.graph, None).unwrap().0;
    let plan = random_plan(&graph, &case.weights, &mut Rng::new(seed));
    let wide: Vec<Isa> = Isa::ALL.into_iter().filter(|i| i.is_available()).collect();
    let isa = wide[seed as usize % wide.len()];
    let lanes = if isa == Isa::Clif && seed.is_multiple_of(5) { 1 } else { isa.lanes() };
    let program = schedule(&graph, &plan, lanes).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
    let weights = sources(&program, &case.weights);
    let inputs = tensors(&program, &case.inputs);
    let inputs = borrowed(&inputs);
    let reference = spc_interp::run::<f32>(&case.graph, &case.syms, &case.inputs, &case.weights);
    let outputs = match (interpret(&program, &weights, &case.syms, &inputs), reference) {
        (Ok(outputs), Ok(_)) => outputs,
        (Err(fault), Err(error)) if alike(&fault, &error) => {
            for threads in [1, 2] {
                let exec = Executor::new(program.clone(), &weights, threads, isa).unwrap();
                let got = exec.call(&case.syms, &inputs).unwrap_err();
                assert!(alike(&got, &error), "seed {seed}: {got:?}, not {error:?}\n{graph}\n{program}");
            }
            return None;
        }
        (got, want) => panic!("seed {seed}: {:?}, not {:?}\n{graph}\n{program}", got.err(), want.err()),
    };
    for threads in [1, 2] {
        let exec = Executor::new(program.clone(), &weights, threads, isa).unwrap();
        // The second call finds the buffers of the first.
        for _ in 0..2 {
            let got = exec.call(&case.syms, &inputs).unwrap();
            for ((name, g), (_, w)) in got.iter().zip(&outputs) {
                assert!(same_bits(g, w), "seed {seed} output {name}: {g:?}, interpreted {w:?}\n{graph}\n{program}");
            }
        }
    }
    Some(Run { program, outputs })
}

#[test]
fn programs_agree_with_the_reference() {
    let (mut linears, mut exact, mut beside) = (0, 0, 0);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..400 {
        let case = random_case(seed, Options { steps: 12, ..Options::default() }).unwrap();
        let Some(run) = both(&case, seed) else { continue };
        for n in case.graph.ids() {
            let op = &case.graph.node(n).unwrap().op;
            *seen.entry(op.name()).or_insert(0) += 1;
        }
        linears += run.program.packed().len();
        beside += run.program.kernels().iter().filter(|k| k.param("e1").is_some()).count();
        let wide: BTreeMap<String, Value<f64>> = case.inputs.iter().map(|(n, v)| (n.clone(), v.convert())).collect();
        let want64 = spc_interp::run::<f64>(&case.graph, &case.syms, &wide, &case.weights).unwrap();
        let want32 = spc_interp::run::<f32>(&case.graph, &case.syms, &case.inputs, &case.weights).unwrap();
        for (((name, got), (_, w64)), (_, w32)) in run.outputs.iter().zip(&want64).zip(&want32) {
            // How far plain f32 arithmetic strays says how well conditioned this output is.
            let plain = match w32 {
                Value::F(a) => Tensor::F32(a.iter().copied().collect()),
                Value::I(a) => Tensor::I32(a.iter().copied().collect()),
                Value::B(a) => Tensor::Bool(a.iter().copied().collect()),
            };
            let (ours, theirs) = (distance(got, w64), distance(&plain, w64));
            exact += usize::from(ours == 0.0);
            let fine = ours <= 1e-5 + 16.0 * theirs;
            assert!(
                fine,
                "seed {seed} output {name}: off by {ours}, f32 reference by {theirs}\n{}\n{}",
                case.graph, run.program
            );
        }
    }
    assert!(linears > 100, "only {linears} linears");
    assert!(beside > 4, "only {beside} epilogues that read other values");
    for op in ["concat", "window", "top", "rank", "size", "reduce"] {
        assert!(seen.get(op).is_some_and(|n| *n > 20), "few {op}: {seen:?}");
    }
    assert!(exact > 300, "only {exact} exact outputs");
}

#[test]
fn special_values_give_the_same_bits_compiled_and_interpreted() {
    for seed in 5000..5150 {
        let case = random_case(seed, Options { steps: 10, special: true, ..Options::default() }).unwrap();
        both(&case, seed);
    }
}

#[test]
fn ids_out_of_range_are_reported() {
    let mut found = 0;
    for seed in 9000..9400 {
        let mut case = random_case(seed, Options { ..Options::default() }).unwrap();
        let graph = passes::run(&case.graph, None).unwrap().0;
        let is_id =
            |id: &NodeId| graph.readers(*id).iter().any(|r| matches!(graph.node(*r).unwrap().op, Op::Gather { .. }));
        for (name, _) in graph.named_inputs().into_iter().filter(|(_, id)| is_id(id)) {
            if let Some(Value::I(a)) = case.inputs.get_mut(&name)
                && let Some(x) = a.iter_mut().next()
            {
                *x = 1_000_000;
            }
        }
        let reference = spc_interp::run::<f32>(&graph, &case.syms, &case.inputs, &case.weights);
        let plan = random_plan(&graph, &case.weights, &mut Rng::new(seed));
        let program = schedule(&graph, &plan, 4).unwrap();
        let weights = sources(&program, &case.weights);
        let inputs = tensors(&program, &case.inputs);
        let exec = Executor::new(program.clone(), &weights, 1, Isa::Clif).unwrap();
        for result in
            [interpret(&program, &weights, &case.syms, &borrowed(&inputs)), exec.call(&case.syms, &borrowed(&inputs))]
        {
            match (&reference, result) {
                (Err(e), Err(f)) if alike(&f, e) => found += usize::from(matches!(f, Fault::IndexRange(_))),
                (Ok(_), Ok(_)) => {}
                (r, got) => panic!("seed {seed}: reference {:?}, got {got:?}\n{graph}", r.as_ref().err()),
            }
        }
    }
    assert!(found > 10, "only {found} ids out of range");
}

#[test]
fn wrong_calls_are_refused() {
    let case = random_case(3, Options { ..Options::default() }).unwrap();
    let graph = passes::run(&case.graph, None).unwrap().0;
    let plan = Plan::all_dense(&graph, "cpu", "dense(16)").unwrap();
    let program = schedule(&graph, &plan, 4).unwrap();
    let weights = sources(&program, &case.weights);
    let exec = Executor::new(program.clone(), &weights, 2, Isa::Clif).unwrap();
    assert!(exec.call(&[], &[]).is_err());
    let inputs = tensors(&program, &case.inputs);
    assert!(exec.call(&case.syms, &borrowed(&inputs)).is_ok());
    let mut short = inputs.clone();
    if let Some(Tensor::F32(v)) = short.iter_mut().find(|t| matches!(t, Tensor::F32(v) if !v.is_empty())) {
        v.pop();
        assert!(exec.call(&case.syms, &borrowed(&short)).is_err());
    }
    let none = BTreeMap::new();
    let missing = Weights { raw: &none, packed: BTreeMap::new() };
    if program.buffers().iter().any(|b| matches!(b.role, spc_kernel::Role::Weight(_) | spc_kernel::Role::Packed { .. }))
    {
        assert!(Executor::new(program, &missing, 1, Isa::Clif).is_err());
    }
}
