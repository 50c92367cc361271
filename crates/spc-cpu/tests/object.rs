//! Random graphs as object files, linked by the system's C compiler and called through the C interface: every instruction
//! set gives the bits of the interpreter of the loop IR. Where there is no C compiler only the making is tested.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use libloading::{Library, Symbol};
use spc_cpu::Isa;
use spc_cpu::object::{Arch, Function, Object, Options, object};
use spc_interp::testing::{Case, Rng, random_case};
use spc_ir::{DType, NodeId, Op, passes};
use spc_kernel::{Fault, Program, Tensor, interpret, schedule};
use std::path::Path;
use std::process::Command;
use support::guard::Guarded;
use support::{borrowed, random_plan, same_bits, sources, tensors};

mod support;

struct Made {
    case: Case,
    programs: Vec<(Isa, Program)>,
    object: Object,
}

fn make(seed: u64, case: Case, arch: Arch, embed_weights: bool) -> Made {
    let graph = passes::run(&case.graph, None).unwrap().0;
    let plan = random_plan(&graph, &case.weights, &mut Rng::new(seed));
    let programs: Vec<(Isa, Program)> =
        arch.variants().iter().map(|i| (*i, schedule(&graph, &plan, i.lanes()).unwrap())).collect();
    let f = Function { name: "f".into(), programs: programs.clone() };
    assert!(f.fits());
    let options = Options { prefix: "t".into(), arch, embed_weights, check: true };
    let weights = sources(&programs[0].1, &case.weights);
    let object = object(&[f], &weights, &options).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{graph}"));
    Made { case, programs, object }
}

fn compiler() -> bool {
    Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success())
}

/// Links with nothing but the object: every name must be found in it.
fn link(object: &Object, dir: &Path) -> Library {
    let (o, so) = (dir.join("t.o"), dir.join("t.so"));
    std::fs::write(&o, &object.bytes).unwrap();
    let out = Command::new("cc")
        .args(["-shared", "-nostdlib", "-Wl,--no-undefined,-z,text,--fatal-warnings", "-o"])
        .args([&so, &o])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // SAFETY: the library runs nothing when it is loaded.
    unsafe { Library::new(&so).unwrap() }
}

/// Arguments beyond those of the function are ignored by the calling convention.
type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

fn call(lib: &Library, name: &str, args: &[u64]) -> u64 {
    let mut a = [0; 16];
    a[..args.len()].copy_from_slice(args);
    // SAFETY: the arguments are those that the header asks for, in memory that the test owns.
    unsafe {
        let f: Symbol<'_, Any> = lib.get(name).unwrap();
        f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15])
    }
}

#[repr(C)]
struct Threads {
    run: extern "C" fn(*mut usize, usize, extern "C" fn(*mut u8, usize), *mut u8),
    context: *mut usize,
    count: usize,
}

/// Every part on a thread of its own.
extern "C" fn spread(context: *mut usize, parts: usize, task: extern "C" fn(*mut u8, usize), data: *mut u8) {
    // SAFETY: the context is the counter of the test.
    unsafe { *context += parts };
    let data = data as usize;
    std::thread::scope(|s| {
        for part in (0..parts).rev() {
            s.spawn(move || task(data as *mut u8, part));
        }
    });
}

fn bytes(t: &Tensor) -> Vec<u8> {
    let mut out = vec![
        0;
        match t {
            Tensor::Bool(v) => v.len(),
            Tensor::F32(v) => 4 * v.len(),
            Tensor::I32(v) => 4 * v.len(),
        }
    ];
    borrowed(std::slice::from_ref(t))[0].write(&mut out);
    out
}

/// One call with every buffer against a page that nothing may touch.
fn run(lib: &Library, made: &Made, weights: Option<&Guarded>, threads: Option<&Threads>) -> Result<Vec<Tensor>, u64> {
    let (_, p) = &made.programs[0];
    let inputs: Vec<Guarded> =
        tensors(p, &made.case.inputs).iter().map(|t| Guarded::new(&bytes(t), true).read_only()).collect();
    let room = call(lib, "t_f_workspace_bytes", &made.case.syms) as usize;
    let workspace = Guarded::new(&vec![0xff; room], true);
    let outputs: Vec<Guarded> = (p.outputs().iter())
        .map(|o| {
            let n: u64 = o.dims.iter().map(|d| d.bind(&made.case.syms).unwrap()).product();
            let each = if o.dtype == DType::Bool { 1 } else { 4 };
            Guarded::new(&vec![0xff; each * n as usize], true)
        })
        .collect();
    let mut args = vec![weights.map_or(0, Guarded::address)];
    args.extend(&made.case.syms);
    args.extend(inputs.iter().chain(&outputs).map(Guarded::address));
    args.extend([workspace.address(), room as u64, threads.map_or(0, |t| std::ptr::from_ref(t) as u64)]);
    match call(lib, "t_f", &args) as u32 {
        0 => Ok(p.outputs().iter().zip(&outputs).map(|(o, g)| Tensor::read(o.dtype, g.bytes())).collect()),
        status => Err(status.into()),
    }
}

#[test]
fn objects_agree_with_the_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..40 {
        let case =
            random_case(seed, spc_interp::testing::Options { steps: 12, special: seed % 4 == 3, ..Default::default() })
                .unwrap();
        let embed = seed % 2 == 1;
        let made = make(seed, case, Arch::X86_64, embed);
        if !compiler() {
            continue;
        }
        let folder = dir.path().join(seed.to_string());
        std::fs::create_dir(&folder).unwrap();
        let lib = link(&made.object, &folder);
        let weights = Guarded::new(&made.object.weights, true).read_only();
        let whole = [weights.address(), made.object.weights.len() as u64];
        assert_eq!(call(&lib, "t_check_weights", &whole) as u32, 0);
        for (level, (isa, program)) in made.programs.iter().enumerate().filter(|(_, (i, _))| i.is_available()) {
            assert_eq!(call(&lib, "t_isa", &[level as u64]) as u32, level as u32);
            let given = tensors(program, &made.case.inputs);
            let want = interpret(program, &sources(program, &made.case.weights), &made.case.syms, &borrowed(&given));
            let want = match want {
                Ok(want) => want,
                Err(fault) => {
                    let got = run(&lib, &made, (!embed).then_some(&weights), None).unwrap_err();
                    let status = if matches!(fault, Fault::IndexRange(_)) { 6 } else { 7 };
                    assert_eq!(got, status, "seed {seed} {}: {fault:?}", isa.name());
                    continue;
                }
            };
            let mut parts = 0;
            let threads = Threads { run: spread, context: &raw mut parts, count: 3 };
            for threads in [None, Some(&threads)] {
                let got = run(&lib, &made, (!embed).then_some(&weights), threads).unwrap();
                for (g, (name, w)) in got.iter().zip(&want) {
                    assert!(same_bits(g, w), "seed {seed} {} {name}: {g:?}, interpreted {w:?}\n{program}", isa.name());
                }
            }
        }
        // The best one that the machine has.
        let best = Arch::X86_64.variants().iter().rposition(|i| i.is_available()).unwrap();
        assert_eq!(call(&lib, "t_isa", &[u64::from(u32::MAX)]) as u32, best as u32);
    }
}

/// `y = w x` in a layout, with most stored elements in the first rows.
fn skewed(layout: &str, rows: usize, cols: usize, tokens: usize) -> (Program, Vec<(Isa, Program)>, Vec<f32>) {
    let mut g = spc_ir::Graph::new("f");
    let (k, o) = (spc_ir::Dim::fixed("K", cols as u64), spc_ir::Dim::fixed("O", rows as u64));
    let f32s = |dims| spc_ir::Type::new(DType::F32, dims);
    let n = spc_ir::Dim::fixed("N", tokens as u64);
    let x = g.add(Op::Input { name: "x".into(), ty: f32s(vec![n, k.clone()]) }, &[]).unwrap();
    let w = g.add(Op::Weight { name: "w".into(), ty: f32s(vec![o, k]) }, &[]).unwrap();
    let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    g.outputs.push(("y".into(), y));
    let mut plan = spc_ir::Plan::all_dense(&g, "cpu", layout).unwrap();
    for l in &mut plan.linears {
        (l.x, l.y) = (spc_ir::Act::Fm, spc_ir::Act::Fm);
    }
    plan.values.insert(y, spc_ir::Act::Fm);
    for (node, to) in [(x, spc_ir::Act::Fm), (y, spc_ir::Act::Rm)] {
        plan.converts.push(spc_ir::Convert { node, to, predicted_ps: 0 });
    }
    let programs: Vec<(Isa, Program)> =
        Arch::X86_64.variants().iter().map(|i| (*i, schedule(&g, &plan, i.lanes()).unwrap())).collect();
    let weight = |i: usize| if i / cols < rows / 8 || i.is_multiple_of(97) { (i % 11) as f32 - 5.0 } else { 0.0 };
    (programs[0].1.clone(), programs, (0..rows * cols).map(weight).collect())
}

/// Threads of a caller: all parts from the last to the first.
struct OwnThreads(usize, std::sync::atomic::AtomicUsize);

impl spc_cpu::Threads for OwnThreads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, parts: usize, task: &(dyn Fn(usize) + Sync)) {
        self.1.fetch_max(parts, std::sync::atomic::Ordering::Relaxed);
        (0..parts).rev().for_each(task);
    }
}

/// Threads get parts of about as many stored elements; any number of them gives the same bits.
#[test]
fn large_steps_are_shared_out() {
    if !compiler() {
        return;
    }
    for layout in ["csr", "vx1(4)", "dense(16)"] {
        let (rows, cols, tokens) = (256, 160, 33);
        let (p, programs, w) = skewed(layout, rows, cols, tokens);
        let raw = std::collections::BTreeMap::from([("w".to_string(), w)]);
        let f = Function { name: "f".into(), programs: programs.clone() };
        let options = Options { prefix: "t".into(), arch: Arch::X86_64, embed_weights: true, check: true };
        let object = object(&[f], &sources(&p, &raw), &options).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let lib = link(&object, dir.path());
        let x: Vec<f32> = (0..tokens * cols).map(|i| (i % 23) as f32 * 0.25 - 2.0).collect();
        let room = call(&lib, "t_f_workspace_bytes", &[]);
        let workspace = Guarded::new(&vec![0; room as usize], true);
        for (level, (isa, program)) in programs.iter().enumerate().filter(|(_, (i, _))| i.is_available()) {
            call(&lib, "t_isa", &[level as u64]);
            let want = interpret(program, &sources(program, &raw), &[], &[spc_kernel::Slice::F32(&x)]).unwrap();
            let exec = spc_cpu::Executor::new(program.clone(), &sources(program, &raw), 2, *isa).unwrap();
            for count in [1, 5] {
                let own = OwnThreads(count, std::sync::atomic::AtomicUsize::new(0));
                let got = exec.call_on(&[], &[spc_kernel::Slice::F32(&x)], &own).unwrap();
                assert!(same_bits(&got[0].1, &want[0].1), "{layout} {} {count}", isa.name());
                assert_eq!(own.1.into_inner() > 3, count > 1);
            }
            for count in [1, 2, 3, 7, usize::MAX] {
                let mut parts = 0;
                let threads = Threads { run: spread, context: &raw mut parts, count };
                let y = Guarded::new(&vec![0xff; 4 * tokens * rows], true);
                let at = std::ptr::from_ref(&threads) as u64;
                let args = [0, x.as_ptr() as u64, y.address(), workspace.address(), room, at];
                if count == usize::MAX && level > 0 {
                    continue;
                }
                assert_eq!(call(&lib, "t_f", &args) as u32, 0);
                let got = Tensor::read(DType::F32, y.bytes());
                assert!(same_bits(&got, &want[0].1), "{layout} {} {count}", isa.name());
                assert_eq!(parts > 1, count > 1, "{parts} parts for {count} threads");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    if !compiler() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut case = None;
    for seed in 0..200 {
        let c = random_case(seed, spc_interp::testing::Options { steps: 12, choices: false, ..Default::default() })
            .unwrap();
        if !c.syms.is_empty() && c.inputs.values().any(|v| matches!(v, spc_interp::Value::F(_))) {
            let made = make(seed, c, Arch::X86_64, false);
            let p = &made.programs[0].1;
            let temp = p.buffers().iter().any(|b| b.role == spc_kernel::Role::Temp);
            if temp && made.object.weights.len() > 64 && p.inputs()[0].dtype == DType::F32 {
                case = Some(made);
                break;
            }
        }
    }
    let made = case.unwrap();
    let lib = link(&made.object, dir.path());
    let p = &made.programs[0].1;
    let inputs: Vec<Guarded> = tensors(p, &made.case.inputs).iter().map(|t| Guarded::new(&bytes(t), true)).collect();
    let room = call(&lib, "t_f_workspace_bytes", &made.case.syms);
    let (workspace, out) = (Guarded::new(&vec![0; room as usize], true), Guarded::new(&vec![0; 1 << 16], false));
    let weights = Guarded::new(&made.object.weights, true);
    let mut args = vec![weights.address()];
    args.extend(&made.case.syms);
    let first = args.len();
    args.extend(inputs.iter().map(Guarded::address));
    args.extend(p.outputs().iter().map(|_| out.address()));
    let end = args.len();
    args.extend([workspace.address(), room, 0]);
    let with = |at: usize, x: u64| {
        let mut a = args.clone();
        a[at] = x;
        call(&lib, "t_f", &a) as u32
    };
    assert_eq!(with(0, weights.address()), 0);
    assert_eq!((with(0, 0), with(first, 0), with(end - 1, 0), with(end, 0)), (1, 1, 1, 1));
    assert_eq!((with(1, p.syms()[0].lo.wrapping_sub(1)), with(1, 1 << 63), with(1, p.syms()[0].hi + 1)), (2, 2, 2));
    assert_eq!((with(first, inputs[0].address() + 1), with(end, workspace.address() + 8)), (3, 3));
    assert_eq!(with(end + 1, room - 1), 4);
    assert_eq!(call(&lib, "t_f_workspace_bytes", &vec![1 << 40; p.syms().len()]), 0);
    assert_eq!(call(&lib, "spc_abi_version", &[]) as i32, spc_cpu::object::ABI_VERSION);
    let check = |b: &[u8], n: usize| {
        let g = Guarded::new(b, false);
        call(&lib, "t_check_weights", &[g.address(), n as u64]) as u32
    };
    let good = &made.object.weights;
    assert_eq!((check(good, good.len()), check(good, good.len() - 1), check(good, 0)), (0, 5, 5));
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        // The last words of the header are not looked at.
        assert_eq!(check(&bad, bad.len()), if (48..64).contains(&at) { 0 } else { 5 }, "byte {at}");
        if at < 48 {
            let g = Guarded::new(&bad, false);
            assert_eq!(with(0, g.address()), 5, "byte {at}");
        }
    }
}

#[test]
fn ids_out_of_range_are_reported() {
    if !compiler() {
        return;
    }
    let mut found = 0;
    for seed in 9000..9120 {
        let mut case =
            random_case(seed, spc_interp::testing::Options { choices: false, ..Default::default() }).unwrap();
        let graph = passes::run(&case.graph, None).unwrap().0;
        let is_id =
            |id: &NodeId| graph.readers(*id).iter().any(|r| matches!(graph.node(*r).unwrap().op, Op::Gather { .. }));
        let mut any = false;
        for (name, _) in graph.named_inputs().into_iter().filter(|(_, id)| is_id(id)) {
            if let Some(spc_interp::Value::I(a)) = case.inputs.get_mut(&name)
                && let Some(x) = a.iter_mut().next()
            {
                (*x, any) = (1_000_000, true);
            }
        }
        if !any || found > 4 {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let made = make(seed, case, Arch::X86_64, true);
        let lib = link(&made.object, dir.path());
        for (level, (_, program)) in made.programs.iter().enumerate().filter(|(_, (i, _))| i.is_available()) {
            call(&lib, "t_isa", &[level as u64]);
            let given = tensors(program, &made.case.inputs);
            let want = interpret(program, &sources(program, &made.case.weights), &made.case.syms, &borrowed(&given));
            match (run(&lib, &made, None, None), want) {
                (Err(6), Err(Fault::IndexRange(_))) => found += 1,
                (Ok(_), Ok(_)) => {}
                (got, want) => panic!("seed {seed}: {got:?}, interpreted {want:?}"),
            }
        }
    }
    assert!(found > 4, "only {found} ids out of range");
}

/// The place of the greatest among NaN is a status.
#[test]
fn scores_without_an_order_are_reported() {
    if !compiler() {
        return;
    }
    let text = "graph \"f\" {\n  sym B = 1..9\n  %0 = input \"x\" : f32[B=?B, K=3]\n  \
                %1 = reduce argmax [1] (%0) : i32[B=?B]\n  output \"y\" = %1\n}\n";
    let graph = spc_ir::Graph::parse(text).unwrap();
    let plan = spc_ir::Plan::all_dense(&graph, "cpu", "dense(4)").unwrap();
    let program = schedule(&graph, &plan, Isa::Clif.lanes()).unwrap();
    let raw = std::collections::BTreeMap::new();
    let f = Function { name: "f".into(), programs: vec![(Isa::Clif, program.clone())] };
    let options = Options { prefix: "t".into(), arch: Arch::X86_64, embed_weights: true, check: true };
    let o = object(&[f], &sources(&program, &raw), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lib = link(&o, dir.path());
    let room = call(&lib, "t_f_workspace_bytes", &[2]);
    let work = Guarded::new(&vec![0; room as usize], true);
    let y = Guarded::new(&[0; 8], true);
    for (last, status, want) in [(7.0, 0, 2), (5.0, 0, 1), (f32::NAN, 7, 0)] {
        let x = Tensor::F32(vec![1.0, 1.0, 0.0, -0.0, 5.0, last]);
        let given = Guarded::new(&bytes(&x), true);
        let got = call(&lib, "t_f", &[0, 2, given.address(), y.address(), work.address(), room, 0]) as u32;
        assert_eq!(got, status, "{last}");
        let same = interpret(&program, &sources(&program, &raw), &[2], &borrowed(&[x]));
        match same {
            Ok(out) => {
                assert_eq!(out[0].1, Tensor::I32(vec![0, want]));
                assert_eq!(Tensor::read(DType::I32, y.bytes()), out[0].1);
            }
            Err(e) => assert!(matches!(e, Fault::Unordered(_)) && status == 7, "{e:?}"),
        }
    }
}

/// The size of two values joined is refused where it is not the sum.
#[test]
fn sizes_that_do_not_follow_are_refused() {
    if !compiler() {
        return;
    }
    let text = "graph \"f\" {\n  sym B = 1..9\n  sym J = 2..18 by (2*B + 0) / 1\n  %0 = input \"x\" : f32[B=?B]\n  \
                %1 = concat 0 [J=?J] (%0, %0) : f32[J=?J]\n  output \"y\" = %1\n}\n";
    let graph = spc_ir::Graph::parse(text).unwrap();
    let plan = spc_ir::Plan::all_dense(&graph, "cpu", "dense(4)").unwrap();
    let program = schedule(&graph, &plan, Isa::Clif.lanes()).unwrap();
    let raw = std::collections::BTreeMap::new();
    let f = Function { name: "f".into(), programs: vec![(Isa::Clif, program.clone())] };
    let options = Options { prefix: "t".into(), arch: Arch::X86_64, embed_weights: true, check: true };
    let o = object(&[f], &sources(&program, &raw), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lib = link(&o, dir.path());
    let x = Guarded::new(&[0; 12], true);
    let y = Guarded::new(&[0; 24], true);
    let room = call(&lib, "t_f_workspace_bytes", &[3, 6]);
    let work = Guarded::new(&vec![0; room as usize], true);
    let with = |b: u64, j: u64| call(&lib, "t_f", &[0, b, j, x.address(), y.address(), work.address(), room, 0]) as u32;
    assert_eq!((with(3, 6), with(3, 5), with(3, 7), with(2, 6)), (0, 2, 2, 2));
    let inputs = [Tensor::F32(vec![1.0, 2.0, 3.0])];
    assert!(interpret(&program, &sources(&program, &raw), &[3, 5], &borrowed(&inputs)).is_err());
    let joined = interpret(&program, &sources(&program, &raw), &[3, 6], &borrowed(&inputs)).unwrap();
    assert_eq!(joined[0].1, Tensor::F32(vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0]));
}

/// The object names nothing that it does not define.
#[test]
fn the_header_declares_what_the_object_exports() {
    let case = random_case(1, spc_interp::testing::Options { choices: false, ..Default::default() }).unwrap();
    let made = make(1, case, Arch::X86_64, true);
    for name in ["spc_abi_version", "t_check_weights", "t_isa", "t_f", "t_f_workspace_bytes"] {
        assert!(made.object.header.contains(&format!("{name}(")), "{name}\n{}", made.object.header);
    }
    assert!(made.object.header.contains("#define T_WEIGHTS_EMBEDDED 1"));
}

/// Programs that add their own place among the instruction sets: the result tells which of them ran.
#[test]
fn the_level_decides_which_program_runs() {
    if !compiler() {
        return;
    }
    let adds = |place: usize, isa: Isa| {
        let mut g = spc_ir::Graph::new("f");
        let ty = spc_ir::Type::new(DType::F32, vec![spc_ir::Dim::fixed("N", 5)]);
        let x = g.add(Op::Input { name: "x".into(), ty }, &[]).unwrap();
        let sum = spc_ir::ScalarExpr::Const(place as f64);
        let expr = spc_ir::ScalarExpr::bin(spc_ir::BinFn::Add, spc_ir::ScalarExpr::Arg(0), sum);
        let y = g.add(Op::Map { expr, at: vec![vec![0]] }, &[x]).unwrap();
        g.outputs.push(("y".into(), y));
        let plan = spc_ir::Plan::all_dense(&g, "cpu", "dense(4)").unwrap();
        (isa, schedule(&g, &plan, isa.lanes()).unwrap())
    };
    let programs: Vec<_> = Arch::X86_64.variants().iter().enumerate().map(|(place, isa)| adds(place, *isa)).collect();
    let first = programs[0].1.clone();
    let f = Function { name: "f".into(), programs };
    let options = Options { prefix: "t".into(), arch: Arch::X86_64, embed_weights: true, check: true };
    let raw = std::collections::BTreeMap::new();
    let object = object(&[f], &sources(&first, &raw), &options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lib = link(&object, dir.path());
    let room = call(&lib, "t_f_workspace_bytes", &[]);
    let (x, workspace) = ([0f32; 5], Guarded::new(&vec![0; room as usize], true));
    let ran = || {
        let y = Guarded::new(&[0xff; 20], true);
        assert_eq!(call(&lib, "t_f", &[0, x.as_ptr() as u64, y.address(), workspace.address(), room, 0]) as u32, 0);
        Tensor::read(DType::F32, y.bytes())
    };
    let level = |n: usize| Tensor::F32(vec![n as f32; 5]);
    let best = Arch::X86_64.variants().iter().rposition(|i| i.is_available()).unwrap();
    assert_eq!(ran(), level(best), "without a limit");
    for limit in (0..Arch::X86_64.variants().len() + 2).rev() {
        call(&lib, "t_isa", &[limit as u64]);
        assert_eq!(ran(), level(limit.min(best)), "limit {limit}");
    }
    call(&lib, "t_isa", &[u64::from(u32::MAX)]);
    assert_eq!(ran(), level(best), "the limit is lifted");
}
