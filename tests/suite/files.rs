//! One test a `.sp` file. The folder says what is shown; the snapshot beside the file has the input above the output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use spc_base::FileId;
use spc_formats::Layout;
use spc_interp::testing::{close, delete};
use spc_ir::couple::Coupling;
use spc_ir::{Graph, Plan};
use std::fmt::Write;
use support::{exec, front, optimised, plans, render, root, sound};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

fn file_test(path: &str) {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let kind = path.split('/').next().unwrap();
    let output = match kind {
        "ui" => ui(path, &text),
        "ir" => ir(path, &text),
        "layout" => layout(path, &text),
        "cuda" => cuda(path, &text),
        "clif" => clif(path, &text),
        "run" => return run(path, &text),
        "coupling" => coupling(path, &text),
        "samples" | "outsiders" => return sample(path, &text),
        other => panic!("no test for the folder {other}"),
    };
    let shown = format!("{text}\n{output}");
    let folder = root().join(path).parent().unwrap().join("snapshots");
    let name = path.split('/').next_back().unwrap().trim_end_matches(".sp");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

fn section(out: &mut String, title: &str, body: &str) {
    writeln!(out, "// ---- {title}\n{}", body.trim_end()).unwrap();
}

/// Diagnostics as a person sees them. A program here has at least one.
fn ui(path: &str, text: &str) -> String {
    let (_, diags) = front(text);
    assert!(!diags.is_empty(), "{path} checks without a diagnostic");
    let mut out = String::new();
    section(&mut out, "diagnostics", &render(path, text, &diags));
    out
}

/// Syntax tree, core form, and the graph before and after the passes.
fn ir(path: &str, text: &str) -> String {
    let checked = sound(path, text);
    let mut out = String::new();
    section(&mut out, "ast", &spc_syntax::dump(&checked.module.ast));
    let core = spc_syntax::print(&checked.module.core);
    section(&mut out, "core", &core);
    for (name, g) in &checked.graphs {
        section(&mut out, &format!("ir of {name}"), &g.to_string());
        let parsed = spc_ir::Graph::parse(&g.to_string()).unwrap();
        assert_eq!(&parsed, g, "the text form parses back to itself");
    }
    section(&mut out, "after the passes", &optimised(&checked).to_string());

    // The core form is valid `.sp` and checks to the same graphs.
    let again = sound(path, &core);
    let texts = |c: &spc_sema::Checked| c.graphs.values().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&again), texts(&checked), "the core form checks to another program");
    out
}

/// What was chosen for random weights under the file's constraints, and why. The same on every run.
fn layout(path: &str, text: &str) -> String {
    let checked = sound(path, text);
    let g = optimised(&checked);
    let weights = support::projected(&g, &support::random_weights(&g, 1));
    let tuned = checked.module.targets.first().map(|t| t.tune.clone()).unwrap_or_default();
    let plan = plans::chosen(&g, &weights, &support::declared(&g), &tuned);
    let again = plans::chosen(&g, &weights, &support::declared(&g), &tuned);
    assert_eq!(plan, again, "two runs give two plans");
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<spc_ir::Plan>(&json).unwrap(), plan, "the plan does not survive its file");
    let mut out = String::new();
    section(&mut out, "plan", &plans::text(&plan));
    out
}

/// The layout that a file named after it forces; `None` leaves the choice to the chooser.
fn named_layout(path: &str) -> Option<spc_formats::Layout> {
    match path.split('/').next_back().unwrap() {
        "vx1.sp" => Some(Layout::Vx1 { v: 4 }),
        "bsr.sp" => Some(Layout::Bsr { r: 4, c: 4 }),
        "nm.sp" => Some(Layout::Nm { n: 2, m: 4 }),
        "csr.sp" => Some(Layout::Csr),
        "mma24.sp" => Some(Layout::Mma24),
        "mma1.sp" => Some(Layout::Mma1 { r: 16 }),
        "vnm.sp" => Some(Layout::Vnm { v: 32, m: 8 }),
        "dense.sp" => Some(Layout::DENSE),
        _ => None,
    }
}

/// The program with random weights under its constraints, in the layout that its name forces.
fn planned(path: &str, text: &str) -> (spc_ir::Graph, support::Weights, spc_ir::Plan) {
    let checked = sound(path, text);
    let g = optimised(&checked);
    let mut weights = support::projected(&g, &support::random_weights(&g, 1));
    if named_layout(path).is_some_and(|l| l.needs_tensor_cores()) {
        weights.values_mut().for_each(|w| spc_interp::round_bf16(w));
    }
    let plan = match named_layout(path) {
        Some(l) => plans::forced(&g, &weights, l, true),
        None => plans::chosen(&g, &weights, &support::declared(&g), &std::collections::BTreeMap::new()),
    };
    (g, weights, plan)
}

/// The emitted CUDA text from the first kernel's shape on (the prelude and the templates above it are the same in every
/// program, and shown once), and the list of operators left to the host.
fn cuda(path: &str, text: &str) -> String {
    let (g, _, plan) = planned(path, text);
    let module = spc_cuda::emit(&g, &plan).unwrap();
    let mut out = String::new();
    section(&mut out, "kernels.cu", &module.text);
    let manifest = spc_cuda::manifest(&module, None).unwrap();
    section(&mut out, "manifest", &serde_json::to_string_pretty(&manifest).unwrap());
    if text.contains(" via ") || text.contains("penalize ") {
        steps(&mut out, text);
    }
    out
}

/// The kernels of a run of ten steps, without what all texts begin with.
fn steps(out: &mut String, text: &str) {
    let plan = spc::Compiler::new().compile_str(text).unwrap().update_plan(spc::Optimiser::SGD, 10).unwrap();
    let u = plan.on_gpu().unwrap();
    let first = u.module.text.find("\n// kernel ").unwrap();
    section(out, "training-steps/kernels.cu", &u.module.text[first..]);
    section(out, "training", &serde_json::to_string_pretty(&u.manifest().unwrap()).unwrap());
}

/// Buffers and calls of the program, and the CLIF of each kernel.
fn clif(path: &str, text: &str) -> String {
    let (g, _, plan) = planned(path, text);
    let program = exec::program(&g, &plan, spc_cpu::Isa::Clif);
    let mut out = String::new();
    section(&mut out, "program", &program.to_string());
    for k in program.kernels() {
        section(&mut out, &format!("loop IR of {}", k.name), &k.to_string());
        section(&mut out, &format!("CLIF of {}", k.name), &spc_cpu::clif_text(k).unwrap());
    }
    out
}

/// Compiled, on random inputs of several sizes, against the interpreter; and the loop IR bit for bit against the code.
fn run(path: &str, text: &str) {
    let (g, weights, plan) = planned(path, text);
    // Convolutions in every kind of layout that holds their weights, whatever the chooser likes.
    if path.contains("conv") {
        let layouts = [Layout::Vx1 { v: 4 }, Layout::Bsr { r: 2, c: 3 }, Layout::Csr, Layout::Csr16, Layout::Bitmap];
        for (seed, layout) in (7..).zip(layouts) {
            let plan = plans::forced(&g, &weights, layout, true);
            assert!(plan.linears.iter().any(|l| l.layout == layout.to_string()), "{path}: {layout} holds no weight");
            let packs = exec::Packs::new(&g, &plan, &weights);
            let mut rng = support::Rng(seed);
            let sizes = exec::random_sizes(&g, &mut rng);
            let inputs = exec::random_inputs(&g, &sizes, &mut rng);
            let code = exec::jit(&g, &plan, &packs, &sizes, &inputs, spc_cpu::Isa::native());
            exec::check(&g, &weights, &inputs, &code, &format!("{path} in {layout}"));
        }
    }
    if path.contains("residual") {
        fused_and_apart(path, &g, &weights);
    }
    let packs = exec::Packs::new(&g, &plan, &weights);
    for seed in 0..3 {
        let mut rng = support::Rng(seed);
        let sizes = exec::random_sizes(&g, &mut rng);
        let inputs = exec::random_inputs(&g, &sizes, &mut rng);
        for isa in exec::isas() {
            let what = format!("{path} on {}", isa.name());
            let code = exec::jit(&g, &plan, &packs, &sizes, &inputs, isa);
            exec::check(&g, &weights, &inputs, &code, &what);
            if seed == 0 {
                assert!(exec::same_bits(&code, &exec::loops(&g, &plan, &packs, &sizes, &inputs, isa)), "{what}");
            }
        }
    }
}

/// In some layouts that hold the weights (the tests of templates have all): what kernels end with gives the bits of kernels of their own.
fn fused_and_apart(path: &str, g: &Graph, weights: &support::Weights) {
    let layouts = spc_kernel::templates::cases::LAYOUTS.iter().map(|l| l.parse::<Layout>().unwrap());
    let mut ran = 0;
    for (seed, layout) in (7..).zip(layouts.filter(|l| !l.needs_integers()).step_by(3)) {
        let fused = plans::forced(g, weights, layout, true);
        if !fused.linears.iter().any(|l| l.layout == layout.to_string()) {
            continue;
        }
        let mut rng = support::Rng(seed);
        let sizes = exec::random_sizes(g, &mut rng);
        let inputs = exec::random_inputs(g, &sizes, &mut rng);
        let isas = exec::isas();
        let isa = isas[seed as usize % isas.len()];
        let of = |plan: &Plan| exec::jit(g, plan, &exec::Packs::new(g, plan, weights), &sizes, &inputs, isa);
        let (code, apart) = (of(&fused), of(&plans::forced(g, weights, layout, false)));
        let what = format!("{path} in {layout} on {}", isa.name());
        exec::check(g, weights, &inputs, &code, &what);
        // With blocks of inputs the bias comes first in either.
        assert!(exec::same_bits(&code, &apart), "{what}: fused and apart differ");
        ran += 1;
    }
    assert!(ran > 4, "{path}: {ran} layouts");
}

/// The coupled sets of every function and why some cannot be removed. Those that can be are removed: with random weights
/// the smaller function gives what the function gives with those slices zero.
fn coupling(path: &str, text: &str) -> String {
    let checked = sound(path, text);
    let sets = spc_sema::coupled_sets(&checked);
    let mut out = String::new();
    for (name, g) in &checked.graphs {
        let mut body = String::new();
        let c = Coupling::of(&[g]).unwrap();
        let weights = support::random_weights(g, 1);
        let mut rng = support::Rng(1);
        let sizes = exec::random_sizes(g, &mut rng);
        let inputs = exec::random_inputs(g, &sizes, &mut rng);
        let inputs = inputs.into_iter().map(|(n, v)| (n, v.convert())).collect();
        for (i, set) in sets.iter().filter(|s| s.function == *name).enumerate() {
            writeln!(body, "{} = {}: {}", set.axis, set.size, set.members.join(", ")).unwrap();
            writeln!(body, "  through {}", set.values.join(", ")).unwrap();
            for r in &set.refused {
                let words = r.source.map_or("", |s| {
                    let file = if s.at.file == FileId(0) { s.at } else { s.site };
                    &text[file.start as usize..file.end as usize]
                });
                writeln!(body, "  {}: {}: `{words}`", r.code.name(), r.text).unwrap();
            }
            if set.refused.is_empty() && set.size > 1 {
                let kept: Vec<u64> = (0..set.size).filter(|i| i % 2 == 0).collect();
                let both = delete(&c, g, &sizes, i, &kept, (&weights, &inputs)).unwrap();
                let both = both.unwrap_or_else(|| panic!("{path}: {} cannot be removed", set.axis));
                assert!(close(&both.zeroed, &both.smaller), "{path}: {} is not removed by zeros\n{both:?}", set.axis);
            }
        }
        section(&mut out, &format!("coupled sets of {name}"), &body);
    }
    out
}

/// Programs of the whole language: they parse, print and parse back to the same tree. What cannot be checked yet says so.
fn sample(path: &str, text: &str) {
    let limits = spc_base::Limits::default();
    let (ast, diags) = spc_syntax::parse(text, spc_base::FileId(0), &limits);
    assert!(diags.is_empty(), "{}", render(path, text, &diags));
    let printed = spc_syntax::print(&ast);
    let (again, diags) = spc_syntax::parse(&printed, spc_base::FileId(0), &limits);
    assert!(diags.is_empty(), "{}", render(path, &printed, &diags));
    assert!(again.same(&ast), "{path} prints as another program");
}
