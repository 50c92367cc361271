//! The `spc` command: arguments in, results on stdout, diagnostics and progress on stderr, an exit code out.
//! What the commands do is in the `spc` crate.

mod args;
mod bars;
mod editor;
mod output;

use args::{Cli, Command, ExportKind, OptimizerName, ZerosOf};
use bars::Bars;
use clap::{CommandFactory, Parser};
use output::Output;
use spc::driver::{
    self, Average, Bench, Budget, Call, Compile, DiskWorld, Done, Emit, Explain, FormatFiles, Permute, Res, Rotate,
    Session, Step, Sweep, Training, Verify, Zeros,
};
use spc::{Isa, Optimiser};
use std::path::Path;
use std::process::ExitCode;

/// Checking makes and drops many small values; with this allocator it takes two thirds of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    output::on_panic();
    let cli = Cli::parse();
    if let Some((option, name)) = cli.bound_twice() {
        let text = format!("`{option}` gives `{name}` twice");
        Cli::command().error(clap::error::ErrorKind::ArgumentConflict, text).exit();
    }
    let output = Output::new(cli.message_format);
    let world = DiskWorld::default();
    if matches!(cli.command, Command::Lsp) {
        let ended = editor::serve(cli.std().as_deref());
        let session = Session::new(&world, cli.options());
        return ExitCode::from(ended.unwrap_or_else(|d| output.finish(&session, Err(d.into()))));
    }
    let bars = Bars::new(output.shows_progress());
    let mut session = Session::new(&world, cli.options());
    session.progress = &bars;
    let result = run(&mut session, &cli.command);
    bars.clear();
    ExitCode::from(output.finish(&session, result))
}

/// Measures the machine and writes what was found to its place.
fn calibrate(s: &mut Session<'_>, out: Option<&Path>, isa: &[Isa], quick: bool) -> Res<Done> {
    let all: Vec<Isa> = Isa::ALL.into_iter().filter(|i| i.is_available()).collect();
    let isas = if isa.is_empty() { &all[..] } else { isa };
    let place = match out {
        Some(p) if p.as_os_str() == "-" => None,
        Some(p) => Some(p.to_path_buf()),
        None => args::default_constants(),
    };
    if let (None, Some(folder)) = (out, place.as_ref().and_then(|p| p.parent())) {
        // Where it cannot be made, writing the file says so.
        let _ = std::fs::create_dir_all(folder);
    }
    driver::calibrate_machine(s, isas, quick, place.as_ref())
}

/// Does a command.
fn run(s: &mut Session<'_>, command: &Command) -> Res<Done> {
    match command {
        Command::Check { file, emit, fix: true, dry_run, .. } => driver::fix_file(s, file, emit, *dry_run),
        Command::Check { file, emit, .. } => driver::check(s, file, emit).map(Done::from),
        Command::Compile { file, target, out, emit, functions, arch, embed_weights, steps, optimizer, .. } => {
            let (target, out) = (target.target.clone(), out.clone());
            let (emit, functions) = (emit.clone(), functions.clone());
            let optimiser = optimizer.map(|o| match o {
                OptimizerName::Sgd => Optimiser::SGD,
                OptimizerName::Adamw => Optimiser::ADAM,
            });
            let training = Training { optimiser, steps: *steps };
            let what = Compile { target, out, emit, functions, arch: *arch, embed_weights: *embed_weights, training };
            driver::compile_file(s, file, &what)
        }
        Command::Run { path, name, function, inputs, outputs, dense, target, json, .. } => {
            let target = target.target.as_deref();
            // A folder has no jobs, so a name after it is a function's.
            let function = if path.is_dir() { function.clone().or_else(|| name.clone()) } else { function.clone() };
            let is_call = function.is_some() || !inputs.is_empty() || !outputs.is_empty() || *dense || path.is_dir();
            if !is_call {
                return driver::run_file(s, path, name.as_deref(), target, *json);
            }
            let (inputs, outputs) = (inputs.iter().cloned().collect(), outputs.iter().cloned().collect());
            driver::call_file(s, path, target, &Call { function, inputs, outputs, json: *json, dense: *dense })
        }
        Command::Verify { path, seed, target, .. } => {
            let what = Verify { target: target.target.clone(), seed: *seed, ..Verify::default() };
            driver::verify_path(s, path, &what)
        }
        Command::Explain { what, tensor, report, json, target, .. } => {
            if let Some(page) = driver::explain_code(what) {
                return Ok(page.into());
            }
            let (target, tensor) = (target.target.clone(), tensor.clone());
            driver::explain_file(s, Path::new(what), &Explain { target, tensor, json: *json, report: report.clone() })
        }
        Command::Bench { file: None, json, .. } => driver::check_model_here(s, *json),
        Command::Calibrate { out, isa, quick } => calibrate(s, out.as_deref(), isa, *quick),
        Command::Bench { file: Some(file), batch, sizes, functions, pairs, seconds, json, target, .. } => {
            let budget = Budget { pairs: *pairs as usize, seconds: *seconds };
            let (batches, sizes, functions) = (batch.clone(), sizes.clone(), functions.clone());
            let what = Bench { target: target.target.clone(), functions, batches, sizes, budget, json: *json };
            driver::bench_file(s, file, &what)
        }
        // Done before there is a session.
        Command::Lsp => Ok(Done::default()),
        Command::Std { name, docs } => driver::show_library(s, name.as_deref(), *docs),
        Command::Fmt { paths, check } => driver::format_paths(s, &FormatFiles { paths: paths.clone(), check: *check }),
        Command::Step {
            file, weights, grads, state, step, steps, lr, optimizer, momentum, weight_decay, out, ..
        } => {
            let (momentum, weight_decay) = (*momentum, *weight_decay);
            let optimiser = match optimizer {
                OptimizerName::Sgd => Optimiser::Sgd { momentum, weight_decay },
                OptimizerName::Adamw => Optimiser::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay },
            };
            let what = Step {
                weights: weights.clone(),
                grads: grads.clone(),
                state: state.clone(),
                step: *step,
                steps: *steps,
                rate: *lr,
                optimiser,
                out: out.clone(),
            };
            driver::step_file(s, file, &what)
        }
        Command::Sweep { file, name, over, tolerance, json, target, .. } => {
            let (dial, values) = over.clone();
            let (run, target) = (name.clone(), target.target.clone());
            driver::sweep_file(s, file, &Sweep { dial, values, run, target, tolerance: *tolerance, json: *json })
        }
        Command::Average { files, shares, zeros, out, json } => {
            let zeros = match zeros {
                ZerosOf::Same => Zeros::Same,
                ZerosOf::Any => Zeros::Any,
                ZerosOf::All => Zeros::All,
            };
            let (files, shares) = (files.clone(), shares.clone());
            driver::average_files(s, &Average { files, shares, zeros, out: out.clone(), json: *json })
        }
        Command::Inspect { file, json } => driver::inspect_file(s, file, *json),
        Command::Plot { file, out } => driver::plot_file(s, file, out),
        Command::Diff { first, second, json } => driver::diff_files(s, first, second, *json),
        Command::Permute { file, out, model, rounds, json, .. } => {
            let what = Permute { out: out.clone(), model: model.clone(), json: *json, rounds: *rounds };
            driver::permute_file(s, file, &what)
        }
        Command::Rotate { file, out, model, seed, json, .. } => {
            let what = Rotate { out: out.clone(), model: model.clone(), seed: *seed, json: *json };
            driver::rotate_file(s, file, &what)
        }
        Command::Export { file, emit, out, model, target, .. } => {
            let emit = match emit {
                ExportKind::Safetensors => Emit::Zeros,
                ExportKind::Shrunk => Emit::Shrunk,
                ExportKind::Masks => Emit::Masks,
                ExportKind::Packed => Emit::Packed { target: target.target.clone() },
            };
            driver::export_file(s, file, model.as_deref(), emit, out)
        }
    }
}
