//! The command line.
use clap::{Args, Parser, Subcommand};
use spc::Isa;
use spc::driver::{Activations, DeviceChoice};
use spc::driver::{Arch, Moment, Options, Ratio, Stage};
use std::path::PathBuf;

/// A declarative sparsity compiler: one .sp file in, a checked plan and fast kernels out.
#[derive(Parser, Debug)]
#[command(name = "spc", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// How diagnostics are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub message_format: MessageFormat,

    /// Stop optimising after this many rewrites, to find a wrong one.
    #[arg(long, global = true, value_name = "N")]
    pub opt_limit: Option<usize>,

    /// Folder of standard library modules, DIR/MODULE/*.sp, that replace those of spc or add to them. The environment
    /// variable SPC_STD says the same.
    #[arg(long, global = true, value_name = "DIR")]
    pub std: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MessageFormat {
    /// Source lines with marks below.
    #[default]
    Human,
    /// One line each.
    Short,
    /// One JSON object a line, in rustc's shape.
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check names, axes, types and constraints, and the headers of weight files.
    Check {
        file: PathBuf,
        /// Print stages of the program: ast, core, ir.
        #[arg(long, value_delimiter = ',', value_parser = stage, value_name = "STAGE")]
        emit: Vec<Stage>,
        /// Apply the fixes that messages offer, list them, and check what came of it.
        #[arg(long)]
        fix: bool,
        /// With --fix: write nothing, and print the difference.
        #[arg(long, requires = "fix")]
        dry_run: bool,
        #[command(flatten)]
        bind: Bind,
    },
    /// Choose layouts, pack the weights and write code for the target.
    Compile {
        file: PathBuf,
        #[command(flatten)]
        target: OnTarget,
        /// Folder to write: manifest.json, plan.json, program.ir, weights.safetensors and images.
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Stages to write to the folder, or to print without one: ast, core, ir, plan, clif, asm, obj, header, shared, cuda, ptx, cubin.
        #[arg(long, value_delimiter = ',', value_parser = stage, value_name = "STAGE")]
        emit: Vec<Stage>,
        /// Processor family of object files, whose constants price the plan: x86_64 or aarch64. This machine's without it.
        #[arg(long, value_parser = arch, value_name = "NAME")]
        arch: Option<Arch>,
        /// Put the weights into the object file instead of a file beside it.
        #[arg(long)]
        embed_weights: bool,
        #[command(flatten)]
        on: OnIsa,
        /// Length of the training run whose steps are compiled for a GPU; the program's own if left out, else 1000.
        #[arg(long = "of", value_name = "N")]
        steps: Option<u64>,
        /// Its optimiser, where an update has no step of its own; sgd if left out.
        #[arg(long, value_enum, value_name = "NAME")]
        optimizer: Option<OptimizerName>,
        /// Fail where no CUDA images can be built, instead of writing the text alone with a warning.
        #[arg(long)]
        require_images: bool,
        #[command(flatten)]
        gpu: OnGpu,
        /// Functions to compile, instead of those that the program's jobs name.
        #[arg(long = "fn", value_name = "NAME")]
        functions: Vec<String>,
        #[command(flatten)]
        bind: Bind,
    },
    /// Run a job of the program, dense beside sparse; or call a function on npy files.
    Run {
        /// A .sp file, or a folder that `compile` wrote.
        path: PathBuf,
        /// The `run` to do; the file's only one if left out.
        name: Option<String>,
        /// Call this function instead of doing a job.
        #[arg(long = "fn", value_name = "NAME", conflicts_with = "name")]
        function: Option<String>,
        /// An input of the function, as an npy file.
        #[arg(long = "in", value_parser = pair, value_name = "PARAMETER=FILE")]
        inputs: Vec<(String, PathBuf)>,
        /// Write a result of the function to an npy file.
        #[arg(long = "out", value_parser = pair, value_name = "RESULT=FILE")]
        outputs: Vec<(String, PathBuf)>,
        /// Call the dense program: without any `require`.
        #[arg(long, conflicts_with = "name")]
        dense: bool,
        /// A text for the program's text sources, instead of their files. May be repeated.
        #[arg(long, value_name = "TEXT")]
        text: Vec<String>,
        #[command(flatten)]
        target: OnTarget,
        /// Threads that kernels run on. Any number gives the same results.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
        threads: Option<u16>,
        /// Run in the reference interpreter instead of compiled code.
        #[arg(long)]
        interp: bool,
        #[command(flatten)]
        on: OnIsa,
        #[command(flatten)]
        device: OnDevice,
        #[command(flatten)]
        gpu: OnGpu,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bind: Bind,
    },
    /// Compare the compiled program with the reference on random inputs, and the weights with every `require`.
    Verify {
        /// A .sp file, or a folder that `compile` wrote.
        path: PathBuf,
        /// Seed of the random inputs.
        #[arg(long, default_value_t = 1, value_name = "N")]
        seed: u64,
        #[command(flatten)]
        target: OnTarget,
        #[command(flatten)]
        on: OnIsa,
        #[command(flatten)]
        device: OnDevice,
        #[command(flatten)]
        gpu: OnGpu,
        #[command(flatten)]
        bind: Bind,
    },
    /// Say what a diagnostic code means, or why each layer of a program has its layout.
    Explain {
        /// A .sp file, or a code such as SP0201.
        what: String,
        /// One weight only.
        #[arg(long, value_name = "NAME")]
        tensor: Option<String>,
        /// Write a page about the plan instead: one HTML file that needs no network.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["tensor", "json"])]
        report: Option<PathBuf>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: OnTarget,
        #[command(flatten)]
        bind: Bind,
    },
    /// Measure every layer and the whole against the best dense way, in turns.
    Bench {
        #[arg(required_unless_present = "check_model")]
        file: Option<PathBuf>,
        /// Instead: measure all layouts on the shapes of two small models, and say how good the choices of the cost model are.
        #[arg(long, conflicts_with_all = ["file", "batch", "sizes", "functions", "target", "threads"])]
        check_model: bool,
        /// Sizes of the first free axis, one measurement each; the target's sizes if left out.
        #[arg(long, value_delimiter = ',', value_name = "N")]
        batch: Vec<u64>,
        /// Size of a free axis. Repeatable.
        #[arg(long = "size", value_parser = size, value_name = "AXIS=N")]
        sizes: Vec<(String, u64)>,
        /// Functions to measure, instead of those that the program's jobs name.
        #[arg(long = "fn", value_name = "NAME")]
        functions: Vec<String>,
        /// Paired measurements of each layer.
        #[arg(long, default_value_t = 61, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        pairs: u32,
        /// Seconds for each layer, after which there are fewer pairs.
        #[arg(long, default_value_t = 3.0, value_parser = seconds, value_name = "S")]
        seconds: f64,
        /// Threads that kernels run on.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
        threads: Option<u16>,
        #[command(flatten)]
        on: OnIsa,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: OnTarget,
        #[command(flatten)]
        bind: Bind,
    },
    /// Measure this machine, and write the constants of the cost model that plans are priced with.
    Calibrate {
        /// File to write, `-` for stdout; without it, the place where commands look for it.
        #[arg(short, long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Instruction sets to measure; all that the machine has if left out.
        #[arg(long, value_delimiter = ',', value_parser = isa, value_name = "NAME")]
        isa: Vec<Isa>,
        /// Two small shapes only: to try it, not to trust it.
        #[arg(long)]
        quick: bool,
    },
    /// Write programs in the one style. Comments stay.
    Fmt {
        /// Files, folders for every .sp file in them, or - for standard input.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Write nothing; list the files that differ, and exit with code 1 if there are any.
        #[arg(long)]
        check: bool,
    },
    /// Take one training step under the program's constraints and penalties, by the reference interpreter.
    Step {
        file: PathBuf,
        /// Weights, as safetensors, by their full names or those of the weight file.
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// Gradients with respect to what `forward` gives, under the same names.
        #[arg(long, value_name = "FILE")]
        grads: PathBuf,
        /// The state that the step before wrote.
        #[arg(long, value_name = "FILE")]
        state: Option<PathBuf>,
        /// Number of the step, from 0.
        #[arg(long, value_name = "K")]
        step: u64,
        /// Length of the run in steps; the program's own if left out.
        #[arg(long = "of", value_name = "N")]
        steps: Option<u64>,
        /// Learning rate.
        #[arg(long, default_value_t = 0.1, value_name = "RATE")]
        lr: f32,
        /// The optimiser, where an update has no step of its own.
        #[arg(long, value_enum, default_value_t, value_name = "NAME")]
        optimizer: OptimizerName,
        /// Momentum of sgd.
        #[arg(long, default_value_t = 0.0, value_name = "M")]
        momentum: f64,
        /// Decoupled weight decay.
        #[arg(long, default_value_t = 0.0, value_name = "D")]
        weight_decay: f64,
        /// Folder to write: weights.safetensors and state.safetensors.
        #[arg(short, long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Serve an editor: the language server, over standard input and output.
    Lsp,
    /// List the standard library, or print the source of a module or an item of it.
    Std {
        /// A module such as nn, or an item such as nn.linear.
        name: Option<String>,
        /// Print signatures and documentation, in Markdown.
        #[arg(long)]
        docs: bool,
    },
    /// Write the weights with every `require` applied.
    Export {
        file: PathBuf,
        /// What to write.
        #[arg(long, value_enum, default_value_t, value_name = "KIND")]
        emit: ExportKind,
        /// File to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// The model to export, where the program has several.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        #[command(flatten)]
        target: OnTarget,
        #[command(flatten)]
        bind: Bind,
    },
    /// Run a job at many values of a dial, and find the sparsest at which quality still holds: the knee.
    Sweep {
        file: PathBuf,
        /// The `run` to do, which reports `accuracy(..)` or `cosine`; the file's only one if left out.
        name: Option<String>,
        /// The dial, a `const NAME = dial(DEFAULT)`, and its values: `5%..95%:10%`, or several with commas between.
        #[arg(long, value_parser = sweep, value_name = "NAME=VALUES")]
        over: (String, Vec<String>),
        /// Largest drop that counts as none, as a share of the dense program's accuracy or cosine.
        #[arg(long, value_parser = share, default_value = "1%", value_name = "PERCENT")]
        tolerance: f64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: OnTarget,
        #[command(flatten)]
        on: OnIsa,
        #[command(flatten)]
        bind: Bind,
    },
    /// Average weight files whose zeros are the same: a sparse model soup.
    Average {
        /// Two safetensors files or more, of the same tensors.
        #[arg(required = true, num_args = 2.., value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A share for each file, adding up to 1; equal ones if left out.
        #[arg(long, value_delimiter = ',', value_name = "S")]
        shares: Vec<f64>,
        /// Zeros of weights: those that all files must share, those of any file, or those that all have.
        #[arg(long, value_enum, default_value_t, value_name = "WHICH")]
        zeros: ZerosOf,
        /// File to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what a safetensors file holds: tensors, their zeros and the patterns of these; packed weights are checked.
    Inspect {
        file: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Draw the lines that a training run wrote: density, flips, distance to the constraints, observers.
    Plot {
        /// Lines of JSON, as `UpdatePlan::log_line` and `spc.Optimizer.log` write them.
        file: PathBuf,
        /// The picture, in SVG.
        #[arg(short, long)]
        out: PathBuf,
    },
    /// Say in what two plan files differ, and why where it is known. Exit code 1 if they do.
    Diff {
        /// A plan.json that `compile` wrote.
        first: PathBuf,
        second: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the weights with the positions of inner axes in an order in which the constraints keep more.
    ///
    /// All weights that carry an axis are reordered alike, so the functions compute what they did. Constraints are not
    /// applied.
    Permute {
        file: PathBuf,
        /// File to write: safetensors with the same names, types and shapes.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// The model to reorder, where the program has several.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// Most rounds of the search for each axis.
        #[arg(long, default_value_t = 32, value_name = "N")]
        rounds: usize,
        /// Print the result as JSON, with the orders.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bind: Bind,
    },
    /// Write the weights with residual streams turned by an orthogonal matrix, so that fewer bits hold them.
    ///
    /// Gains of RMS norms move into the weights behind them, and all weights at a stream are turned, so the functions compute
    /// what they did. Constraints are not applied.
    Rotate {
        file: PathBuf,
        /// File to write: safetensors with the same names, types and shapes.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// The model to turn, where the program has several.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// Which matrix: the same seed and size give the same one.
        #[arg(long, default_value_t = 0, value_name = "N")]
        seed: u64,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bind: Bind,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportKind {
    /// Dense with exact zeros, under the same names.
    #[default]
    Safetensors,
    /// Without the slices of axes that are zero in all weights; what was kept is in FILE with the ending shrink.json.
    Shrunk,
    /// True where an element stays, for each constrained tensor.
    Masks,
    /// Weights in the sparse layouts that a plan for the target chooses.
    Packed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ZerosOf {
    #[default]
    Same,
    Any,
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OptimizerName {
    #[default]
    Sgd,
    Adamw,
}

/// Files instead of those that the program names.
#[derive(Args, Clone, Debug, Default)]
pub struct Bind {
    /// Weight file of a model, instead of the one that the program names.
    #[arg(long, value_parser = pair, value_name = "MODEL=FILE")]
    bind: Vec<(String, PathBuf)>,
    /// File of a data source, instead of the one that the program names.
    #[arg(long, value_parser = pair, value_name = "SOURCE=FILE")]
    data: Vec<(String, PathBuf)>,
    /// Value of a dial, a `const NAME = dial(DEFAULT)`, instead of its default.
    #[arg(long, value_parser = setting, value_name = "NAME=VALUE")]
    set: Vec<(String, String)>,
    /// Give schedules the value of this share of the run instead of the end.
    #[arg(long, value_parser = moment, value_name = "PERCENT")]
    at: Option<Moment>,
    /// Safetensors file of gradients, for scores that read them.
    #[arg(long, value_name = "FILE")]
    grads: Option<PathBuf>,
}

/// `40%`.
fn moment(text: &str) -> Result<Moment, String> {
    let share = text.strip_suffix('%').and_then(Ratio::decimal).and_then(|r| r.checked_div(Ratio::int(100)));
    match share {
        Some(r) if r >= Ratio::ZERO && r <= Ratio::ONE => Ok(Moment::share(r)),
        _ => Err("expected a percentage of the run, for example 40%".into()),
    }
}

#[derive(Args, Clone, Debug, Default)]
pub struct OnTarget {
    /// A declared target, or `cpu` or `cuda`.
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// File of constants that price plans, as `spc calibrate` writes it. Without it, the file that the environment variable
    /// SPC_CONSTANTS names, else the one that `spc calibrate` wrote for this user, else constants that come with spc.
    #[arg(long, value_name = "FILE")]
    pub constants: Option<PathBuf>,
    /// The GPU whose constants price plans of GPUs. Without it, what the target's architecture suggests, else h200.
    #[arg(long, value_parser = ["a100", "h100", "h200"], value_name = "NAME")]
    pub gpu: Option<String>,
    /// Time the so many most promising layouts of each linear on this machine, and take what is proved to be fastest.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=16), conflicts_with = "plan")]
    pub measure: Option<u16>,
    /// File in which measured times are kept and looked up. Without it, spc/measured.json in the user's folder of caches.
    #[arg(long, value_name = "FILE", requires = "measure")]
    pub measured: Option<PathBuf>,
    /// Take the layouts of this plan.json, which `spc compile` wrote, instead of searching for them.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct OnDevice {
    /// Where functions run: auto (as the target says, and on the CPU where there is no GPU for it), cpu or cuda.
    #[arg(long, value_parser = device, default_value = "auto", value_name = "NAME")]
    pub device: DeviceChoice,
}

#[derive(Args, Debug)]
pub struct OnGpu {
    /// What tensor cores take activations as: exact (three bf16 numbers that add up to each) or bf16 (rounded).
    #[arg(long, value_parser = activations, default_value = "exact", value_name = "NAME")]
    pub activations: Activations,
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda),
        _ => Err("expected auto, cpu or cuda".into()),
    }
}

fn activations(text: &str) -> Result<Activations, String> {
    match text {
        "exact" => Ok(Activations::Exact),
        "bf16" => Ok(Activations::Bf16),
        _ => Err("expected exact or bf16".into()),
    }
}

#[derive(Args, Debug)]
pub struct OnIsa {
    /// Instruction set of CPU kernels: native (the widest of this machine), avx512amx, avx512vnni, avx512, avx2 or clif.
    #[arg(long, value_parser = isa, default_value = "native", value_name = "NAME")]
    pub isa: Isa,
}

fn isa(text: &str) -> Result<Isa, String> {
    if text == "native" {
        return Ok(Isa::native());
    }
    let isa = Isa::from_name(text).ok_or("expected native, avx512amx, avx512vnni, avx512, avx2 or clif")?;
    if isa.is_available() { Ok(isa) } else { Err("this machine does not have it".into()) }
}

/// Where the constants of this user's machine are kept.
pub fn default_constants() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|h| h.join(".config")))?;
    Some(config.join("spc").join("constants.json"))
}

/// Where the measured times of this user's machine are kept.
fn default_measured() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|h| h.join(".cache")))?;
    Some(cache.join("spc").join("measured.json"))
}

/// `AXIS=N`.
fn size(text: &str) -> Result<(String, u64), String> {
    let parts = text.split_once('=').and_then(|(name, n)| Some((name, n.parse().ok()?)));
    match parts {
        Some((name, n)) if !name.is_empty() => Ok((name.to_string(), n)),
        _ => Err("expected AXIS=N".into()),
    }
}

/// A positive number of seconds, at most a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(s) if s > 0.0 && s <= 86_400.0 => Ok(s),
        _ => Err("expected a positive number of seconds".into()),
    }
}

/// `NAME=VALUE`.
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

/// `NAME=VALUES`.
fn sweep(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, list) = setting(text)?;
    Ok((name, spc::driver::sweep_values(&list)?))
}

/// `1%`, at least 0.
fn share(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').and_then(|t| t.parse::<f64>().ok()) {
        Some(p) if (0.0..=1000.0).contains(&p) => Ok(p / 100.0),
        _ => Err("expected a percentage, for example 1%".into()),
    }
}

/// `NAME=FILE`.
fn pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_string(), file.into())),
        _ => Err("expected NAME=FILE".into()),
    }
}

fn arch(text: &str) -> Result<Arch, String> {
    let all = [Arch::X86_64, Arch::Aarch64];
    all.into_iter().find(|a| a.name() == text).ok_or_else(|| "expected x86_64 or aarch64".to_string())
}

fn stage(text: &str) -> Result<Stage, String> {
    let names: Vec<&str> = Stage::ALL.iter().map(|s| s.name()).collect();
    Stage::from_name(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

impl Cli {
    /// The files that the command's options name; others have none.
    fn bind(&self) -> Option<&Bind> {
        match &self.command {
            Command::Fmt { .. }
            | Command::Calibrate { .. }
            | Command::Step { .. }
            | Command::Lsp
            | Command::Average { .. }
            | Command::Diff { .. }
            | Command::Inspect { .. }
            | Command::Plot { .. }
            | Command::Std { .. } => None,
            Command::Check { bind, .. }
            | Command::Compile { bind, .. }
            | Command::Run { bind, .. }
            | Command::Verify { bind, .. }
            | Command::Explain { bind, .. }
            | Command::Bench { bind, .. }
            | Command::Export { bind, .. }
            | Command::Sweep { bind, .. }
            | Command::Permute { bind, .. }
            | Command::Rotate { bind, .. } => Some(bind),
        }
    }

    /// The first name that an option binds twice, with the option.
    pub fn bound_twice(&self) -> Option<(&'static str, &str)> {
        let bind = self.bind()?;
        let mut lists = vec![("--bind", &bind.bind), ("--data", &bind.data)];
        if let Command::Run { inputs, outputs, .. } = &self.command {
            lists.extend([("--in", inputs), ("--out", outputs)]);
        }
        let twice = |names: Vec<&'_ str>| (0..names.len()).find(|i| names[..*i].contains(&names[*i]));
        let set: Vec<&str> = bind.set.iter().map(|(n, _)| n.as_str()).collect();
        if let Some(i) = twice(set) {
            return Some(("--set", &bind.set[i].0));
        }
        lists.into_iter().find_map(|(option, list)| {
            let i = twice(list.iter().map(|(n, _)| n.as_str()).collect())?;
            Some((option, list[i].0.as_str()))
        })
    }

    /// The folder of library modules: from the option, else from the environment.
    pub fn std(&self) -> Option<PathBuf> {
        let set = || std::env::var_os("SPC_STD").filter(|v| !v.is_empty()).map(PathBuf::from);
        self.std.clone().or_else(set)
    }

    fn target(&self) -> Option<&OnTarget> {
        match &self.command {
            Command::Compile { target, .. }
            | Command::Run { target, .. }
            | Command::Verify { target, .. }
            | Command::Explain { target, .. }
            | Command::Bench { target, .. }
            | Command::Sweep { target, .. }
            | Command::Export { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The file of constants: from the option, else from the environment, else the user's own if there is one.
    fn constants(&self) -> Option<PathBuf> {
        let target = self.target()?;
        if target.constants.is_some() {
            return target.constants.clone();
        }
        // What the environment and the user's own file name was measured on this machine.
        if matches!(&self.command, Command::Compile { arch, .. } if arch.is_some_and(|a| Some(a) != Arch::host())) {
            return None;
        }
        match std::env::var_os("SPC_CONSTANTS") {
            Some(v) => Some(PathBuf::from(v)).filter(|v| !v.as_os_str().is_empty()),
            None => default_constants().filter(|p| p.is_file()),
        }
    }

    /// What holds for every step of the command.
    pub fn options(&self) -> Options {
        let (opt_limit, std, constants) = (self.opt_limit, self.std(), self.constants());
        let plan = self.target().and_then(|t| t.plan.clone());
        let mut o = Options { opt_limit, std, constants, plan, ..Options::default() };
        if let Some(t) = self.target() {
            o.gpu.clone_from(&t.gpu);
            o.measure = t.measure.map(usize::from);
            o.measured = t.measured.clone().or_else(|| t.measure.and_then(|_| default_measured()));
        }
        let Some(bind) = self.bind() else { return o };
        o.binds = bind.bind.iter().cloned().collect();
        o.data = bind.data.iter().cloned().collect();
        o.sets = bind.set.iter().cloned().collect();
        (o.at, o.grads) = (bind.at, bind.grads.clone());
        if let Command::Compile { on, .. }
        | Command::Run { on, .. }
        | Command::Verify { on, .. }
        | Command::Sweep { on, .. }
        | Command::Bench { on, .. } = &self.command
        {
            o.isa = Some(on.isa);
        }
        if let Command::Run { text, threads, interp, .. } = &self.command {
            o.texts.clone_from(text);
            o.threads = threads.map(usize::from);
            o.interp = *interp;
        }
        if let Command::Run { device, .. } | Command::Verify { device, .. } = &self.command {
            o.device = device.device;
        }
        if let Command::Run { gpu, .. } | Command::Verify { gpu, .. } | Command::Compile { gpu, .. } = &self.command {
            o.activations = gpu.activations;
        }
        if let Command::Compile { require_images, .. } = &self.command {
            o.require_images = *require_images;
        }
        if let Command::Bench { threads, .. } = &self.command {
            o.threads = threads.map(usize::from);
        }
        o
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bindings_name_both_sides() {
        assert_eq!(pair("m=a=b"), Ok(("m".into(), "a=b".into())));
        for bad in ["", "m", "=x", "m="] {
            assert!(pair(bad).is_err(), "{bad}");
        }
        let cli = Cli::try_parse_from([
            "spc",
            "run",
            "f.sp",
            "--text",
            "a",
            "--text",
            "b",
            "--bind",
            "m=w",
            "--threads",
            "2",
        ]);
        let o = cli.unwrap().options();
        assert_eq!((o.texts, o.threads), (vec!["a".to_string(), "b".to_string()], Some(2)));
        assert_eq!(o.binds["m"], PathBuf::from("w"));
        assert_eq!(o.isa, Some(Isa::native()));
        let forced = Cli::try_parse_from(["spc", "verify", "f.sp", "--isa", "clif"]).unwrap();
        assert_eq!(forced.options().isa, Some(Isa::Clif));
        let forced =
            Cli::try_parse_from(["spc", "compile", "f.sp", "--isa", "clif", "--plan", "p.json"]).unwrap().options();
        assert_eq!((forced.isa, forced.plan), (Some(Isa::Clif), Some(PathBuf::from("p.json"))));
        assert!(Cli::try_parse_from(["spc", "run", "f.sp", "--isa", "avx1"]).is_err());
        let at = |text| Cli::try_parse_from(["spc", "check", "f.sp", "--at", text]).map(|c| c.options().at);
        assert_eq!(at("40%").unwrap(), Ratio::new(2, 5).map(Moment::share));
        assert_eq!(at("100%").unwrap(), Some(Moment::share(Ratio::ONE)));
        for bad in ["40", "101%", "-1%", "%", "0.4"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_seconds_are_numbers() {
        assert_eq!(size("B=8"), Ok(("B".into(), 8)));
        for bad in ["", "B", "=8", "B=", "B=-1", "B=x"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["0", "-1", "nan", "inf", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_bound_once() {
        let twice = |args: &[&str]| {
            let all = [&["spc", "run", "f.sp"], args].concat();
            let cli = Cli::try_parse_from(all).unwrap();
            cli.bound_twice().map(|(o, n)| format!("{o} {n}"))
        };
        assert_eq!(twice(&["--in", "x=a", "--in", "y=a", "--out", "x=b", "--bind", "x=c", "--data", "x=d"]), None);
        assert_eq!(twice(&["--in", "x=a", "--in", "y=a", "--in", "x=a"]).unwrap(), "--in x");
        assert_eq!(twice(&["--out", "x=a", "--out", "x=b"]).unwrap(), "--out x");
        assert_eq!(twice(&["--bind", "m=a", "--bind", "m=b"]).unwrap(), "--bind m");
        assert_eq!(twice(&["--data", "d=a", "--data", "d=b"]).unwrap(), "--data d");
    }
}
