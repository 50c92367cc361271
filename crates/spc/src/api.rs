//! The embedding API: compile a program, bind weights, call functions by name.
use crate::artefact::Loaded;
use crate::build::{Constraints, build};
use crate::device::{DeviceChoice, place};
use crate::engine::Engine;
use crate::failure::{Failure, Res};
use crate::load::{Source, listing, load_file, load_text};
use crate::lock::Plans;
use crate::plan::fall_back;
use crate::project::without_links;
use crate::session::{Options, Session};
use crate::train::UpdatePlan;
use crate::training_text::trained;
use crate::value::{Given, Input, Output, Places, Results};
use crate::weights::{Weight, WeightSet};
use crate::world::DiskWorld;
use ndarray::{ArrayBase, Data, Dimension};
use spc_base::{Diagnostic, codes};
use spc_cpu::Isa;
use spc_cuda::Activations;
use spc_interp::method::{Optimiser, Updater};
use spc_report::{Renderer, SourceMap};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why something could not be compiled, bound or called. `Display` gives the diagnostics as the command shows them,
/// with the words of the program that they are about.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    codes: Vec<String>,
    text: String,
    exit_code: u8,
}

impl Error {
    pub(crate) fn new(failure: &Failure, sources: &SourceMap) -> Error {
        let errors = failure.diagnostics().iter().filter(|d| d.is_error());
        let codes = errors.map(|d| d.code.name()).collect();
        let text = match failure {
            Failure::Bug(bug) => bug.to_string(),
            _ => failure.diagnostics().iter().map(|d| Renderer::default().render(d, sources)).collect(),
        };
        Error { codes, text, exit_code: failure.exit_code() }
    }

    /// Stable codes of the errors, such as `SP0404`; empty for a bug of spc.
    pub fn codes(&self) -> &[String] {
        &self.codes
    }

    /// True for a mistake of spc itself, which should be reported.
    pub fn is_bug(&self) -> bool {
        self.exit_code == 101
    }

    /// What the `spc` command would exit with: 1 the program is wrong, 2 a name that is not there, 3 a promise that does
    /// not hold, 4 input or output, 101 a bug of spc.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

/// The same text, because a `main` that returns an error shows it so.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// Settings of a compilation.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    options: Options,
    base: PathBuf,
    target: Option<String>,
    functions: Vec<String>,
    constraints: Constraints,
}

impl Compiler {
    pub fn new() -> Compiler {
        Compiler::default()
    }

    /// Instruction set of CPU kernels, instead of the widest that this machine has. Another one may add in another order.
    /// One that [`Isa::is_available`] denies is an error when a program is compiled.
    #[must_use]
    pub fn isa(mut self, isa: Isa) -> Compiler {
        self.options.isa = Some(isa);
        self
    }

    /// Runs functions in the reference interpreter instead of compiling them: slow, and the same results up to rounding.
    /// A function that the CPU has no kernels for is interpreted in any case, with a warning.
    #[must_use]
    pub fn interpret(mut self, yes: bool) -> Compiler {
        self.options.interp = yes;
        self
    }

    /// Threads that kernels run on, instead of the number that the target declares. Any number gives the same results.
    #[must_use]
    pub fn threads(mut self, n: usize) -> Compiler {
        self.options.threads = Some(n.max(1));
        self
    }

    /// The value of a dial, `const NAME = dial(DEFAULT)`, instead of its default: a number such as `0.02` or a percentage such as
    /// `25%`, as the default is. A name that is no dial, or a value of another kind, fails when the program is compiled.
    #[must_use]
    pub fn dial(mut self, name: &str, value: &str) -> Compiler {
        self.options.sets.insert(name.to_string(), value.to_string());
        self
    }

    /// Takes the layouts of a `plan.json` that [`Program::plan`] or `spc compile` gave, instead of searching for them. One
    /// that was made for something else is the error SP0661 of [`Checked::build`], one that was changed SP0660.
    #[must_use]
    pub fn plan_file(mut self, path: impl Into<PathBuf>) -> Compiler {
        self.options.plan = Some(path.into());
        self
    }

    /// Where functions run: as the target says (on the CPU, with a warning, where there is no GPU for it), the CPU, or a GPU.
    #[must_use]
    pub fn device(mut self, device: DeviceChoice) -> Compiler {
        self.options.device = device;
        self
    }

    /// What the tensor cores of a GPU take activations as: exactly, which is the default, or rounded to bf16.
    #[must_use]
    pub fn activations(mut self, activations: Activations) -> Compiler {
        self.options.activations = activations;
        self
    }

    /// The declared target to tune for; without it, the only declared one, else defaults.
    #[must_use]
    pub fn target(mut self, name: &str) -> Compiler {
        self.target = Some(name.to_string());
        self
    }

    /// The folder that relative paths in a text start from. The current folder if not given.
    #[must_use]
    pub fn base(mut self, folder: impl Into<PathBuf>) -> Compiler {
        self.base = folder.into();
        self
    }

    /// A folder of standard library modules, `DIR/MODULE/*.sp`, that replace the embedded ones or add to them.
    #[must_use]
    pub fn std(mut self, folder: impl Into<PathBuf>) -> Compiler {
        self.options.std = Some(folder.into());
        self
    }

    /// A function to compile. May be repeated. Without it: those that the program's `run` and `expect` items name, else
    /// each that no other calls.
    #[must_use]
    pub fn function(mut self, name: &str) -> Compiler {
        self.functions.push(name.to_string());
        self
    }

    /// Leaves every `require` out: the dense program, to compare with.
    #[must_use]
    pub fn dense(mut self) -> Compiler {
        self.constraints = Constraints::LeftOut;
        self
    }

    /// Checks a program given as text.
    ///
    /// # Errors
    /// Everything that `spc check` reports as an error, but for weight files, which are not looked at yet.
    pub fn compile_str(self, text: &str) -> Result<Checked, Error> {
        let base = self.base.clone();
        self.check(|s| load_text(s, "<text>", text, &base))
    }

    /// Checks a program in a file. Its relative paths start from its folder.
    ///
    /// # Errors
    /// As [`Compiler::compile_str`]; SP0401 where the file cannot be read.
    pub fn compile_file(self, path: impl AsRef<Path>) -> Result<Checked, Error> {
        self.check(|s| load_file(s, path.as_ref()))
    }

    fn check(self, load: impl FnOnce(&mut Session<'_>) -> Res<Source>) -> Result<Checked, Error> {
        let world = DiskWorld::default();
        let mut s = Session::new(&world, self.options.clone());
        match load(&mut s) {
            Ok(source) => {
                let Session { sources, warnings, .. } = s;
                Ok(Checked { compiler: self, source, sources, warnings, given: WeightSet::default() })
            }
            Err(f) => Err(Error::new(&f, &s.sources)),
        }
    }

    /// Loads a folder that `spc compile` wrote.
    ///
    /// # Errors
    /// SP0602 for a folder that is incomplete, damaged or of another format; SP0603 for parts that do not belong together.
    pub fn load(self, folder: impl AsRef<Path>) -> Result<Program, Error> {
        let world = DiskWorld::default();
        let mut s = Session::new(&world, self.options);
        let all = |s: &mut Session<'_>| -> Res<Program> {
            let loaded = Loaded::open(s, folder.as_ref())?;
            let on = loaded.place(s)?;
            let mut engines = BTreeMap::new();
            for f in &loaded.functions {
                engines.insert(f.graph.name.clone(), Engine::at(f, &loaded.packed, &loaded.weights, &on)?);
            }
            let plan = loaded.plans.text()?;
            Ok(Program { engines, warnings: shown(s), plan })
        };
        all(&mut s).map_err(|f| Error::new(&f, &s.sources))
    }
}

/// A program that passed its checks and may still lack weights.
#[derive(Debug)]
pub struct Checked {
    compiler: Compiler,
    source: Source,
    sources: SourceMap,
    warnings: Vec<Diagnostic>,
    given: WeightSet,
}

impl Checked {
    /// Names and shapes of the weights, as declared: `("mlp.w1", [256, 64])`.
    pub fn weights(&self) -> Vec<(&str, Vec<usize>)> {
        let tensors = self.source.module.models.iter().flat_map(|m| &m.tensors);
        let size = |d: &spc_ir::Dim| d.size.fixed().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        tensors.map(|t| (t.path.as_str(), t.dims.iter().map(size).collect())).collect()
    }

    /// What each `require` and `penalize` does during training, one line each: its update or penalty, when, on which weights.
    pub fn rules(&self) -> Vec<String> {
        crate::step::rule_lines(&self.source)
    }

    /// A training run of `steps` steps under the program's constraints and penalties, by the reference interpreter: see
    /// [`Updater::forward`] and [`Updater::step`]. Weights are given by name, row-major, and may be a part of the program's.
    ///
    /// # Errors
    /// SP0403 and SP0404 for weights that are missing or of another size, SP0406 for NaN or infinity, SP0338 for no steps, SP0006 for a constraint that
    /// cannot be run yet.
    pub fn updater(
        &self,
        weights: BTreeMap<String, Vec<f32>>,
        optimiser: Optimiser,
        steps: u64,
    ) -> Result<Updater<f32>, Error> {
        without_links(&self.source.module).map_err(|d| Error::new(&d.into(), &self.sources))?;
        let made = Updater::new(self.source.module.rules.clone(), weights, optimiser, steps);
        made.map_err(|e| Error::new(&e.into(), &self.sources))
    }

    /// The program's constraints and penalties compiled for a training run of `steps` steps: see [`UpdatePlan::update`]. It
    /// covers all f32 weights that the program declares.
    ///
    /// # Errors
    /// SP0338 for no steps, SP0006 for a constraint that cannot be run yet.
    pub fn update_plan(&self, optimiser: Optimiser, steps: u64) -> Result<UpdatePlan, Error> {
        self.update_plan_tied(optimiser, steps, &[])
    }

    /// As [`Checked::update_plan`], where pairs of weights, each given as `(other, name)`, are one array of the caller's. The plan has
    /// only the parameter `name`; what rules say of either name holds for it.
    ///
    /// # Errors
    /// As [`Checked::update_plan`]; SP0403 for a name that is no weight; SP0006 for other shapes, and for a rule over both that counts
    /// them together or has groups that lie in both.
    pub fn update_plan_tied(
        &self,
        optimiser: Optimiser,
        steps: u64,
        ties: &[(&str, &str)],
    ) -> Result<UpdatePlan, Error> {
        let fail = |f: Failure| Error::new(&f, &self.sources);
        without_links(&self.source.module).map_err(|d| fail(d.into()))?;
        let o = &self.compiler.options;
        let isa = o.isa.unwrap_or_else(Isa::native);
        if !isa.is_available() {
            let d = Diagnostic::error(codes::UNSUPPORTED, format!("this machine has no {}", isa.name()));
            return Err(fail(d.into()));
        }
        let shapes = trained(&self.source.module);
        let (rules, threads) = (self.source.module.rules.clone(), o.threads.unwrap_or(1));
        UpdatePlan::new(rules, optimiser, steps, shapes, ties, isa, threads).map_err(fail)
    }

    /// Gives a weight its values, in the declared shape, instead of those of the weight file. The weight of a linear is
    /// `[out, in]`. The values are copied.
    ///
    /// # Errors
    /// SP0101 for an unknown name, SP0404 for another shape, SP0406 for NaN or infinity.
    pub fn bind<S, D>(mut self, name: &str, values: ArrayBase<S, D>) -> Result<Checked, Error>
    where
        S: Data<Elem = f32>,
        D: Dimension,
    {
        self.set(name, values)?;
        Ok(self)
    }

    /// As [`Checked::bind`], and where it fails the program is as it was.
    ///
    /// # Errors
    /// As [`Checked::bind`].
    pub fn set<S, D>(&mut self, name: &str, values: ArrayBase<S, D>) -> Result<(), Error>
    where
        S: Data<Elem = f32>,
        D: Dimension,
    {
        let shape = values.shape().to_vec();
        let floats: Vec<f32> = values.iter().copied().collect();
        match self.fits(name, &shape, &floats) {
            Ok(()) => match Weight::new(shape, floats.into()) {
                Ok(w) => {
                    self.given.insert(name, w);
                    Ok(())
                }
                Err(b) => Err(Error::new(&b.into(), &self.sources)),
            },
            Err(f) => Err(Error::new(&f, &self.sources)),
        }
    }

    fn fits(&self, name: &str, shape: &[usize], values: &[f32]) -> Res<()> {
        let Some(t) = self.source.module.tensor(name) else {
            let known: Vec<&str> = self.weights().into_iter().map(|(n, _)| n).collect();
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("the program has no weight `{name}`"));
            return Err(Failure::usage(listing(d, "weight", &known)));
        };
        crate::bind::fits(t, shape)?;
        spc_io::check_finite(name, shape, values).map_err(|d| d.at(t.span, "declared here").into())
    }

    /// Takes the weights of a model from another file than the program names.
    #[must_use]
    pub fn bind_file(mut self, model: &str, path: impl Into<PathBuf>) -> Checked {
        self.compiler.options.binds.insert(model.to_string(), path.into());
        self
    }

    /// Applies every `require` to the weights, chooses layouts, packs, and compiles for this machine.
    ///
    /// # Errors
    /// SP0401 to SP0406 for weights that are missing or do not fit; SP0605 for what a GPU has no kernel for, SP0720 where
    /// it cannot be used.
    pub fn build(self) -> Result<Program, Error> {
        let world = DiskWorld::default();
        let Checked { compiler, source, sources, warnings, given } = self;
        let mut s = Session::new(&world, compiler.options.clone());
        s.sources = sources;
        s.warnings = warnings;
        match engines(&mut s, &compiler, &source, &given) {
            Ok((engines, plan)) => Ok(Program { engines, warnings: shown(&s), plan }),
            Err(f) => Err(Error::new(&f, &s.sources)),
        }
    }
}

/// The warnings so far, as the command shows them.
fn shown(s: &Session<'_>) -> Vec<String> {
    s.warnings.iter().map(|d| Renderer::default().render(d, &s.sources)).collect()
}

/// Engines by function, and the plan file.
type Made = (BTreeMap<String, Engine>, String);

fn engines(s: &mut Session<'_>, c: &Compiler, source: &Source, given: &WeightSet) -> Res<Made> {
    source.check_overrides(s)?;
    let (t, on) = place(s, &source.module, c.target.as_deref())?;
    let names = source.functions(&c.functions)?;
    let graph = |n: &String| match c.constraints {
        Constraints::Applied => source.graph(n),
        Constraints::LeftOut => source.dense_graph(n),
    };
    let graphs = names.iter().map(graph).collect::<Result<Vec<_>, _>>()?;
    fall_back(s, graphs, &t)?;
    let built = build(s, source, t, &names, given, c.constraints)?;
    let mut out = BTreeMap::new();
    for f in &built.functions {
        out.insert(f.graph.name.clone(), Engine::at(f, &built.packed, &built.weights, &on)?);
    }
    let plan = Plans::of(&built.target, &built.functions)?.text()?;
    Ok((out, plan))
}

/// Compiled functions with their weights. Calls may come from several threads.
pub struct Program {
    engines: BTreeMap<String, Engine>,
    warnings: Vec<String>,
    plan: String,
}

impl Program {
    /// The layouts that were chosen, and why, as the text of a `plan.json`: what [`Compiler::plan_file`] takes. The form is
    /// `docs/plan.schema.json`.
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// Names of the functions that can be called.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.engines.keys().map(String::as_str)
    }

    /// Warnings of the compilation, as the command shows them.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Inputs of a function with their types in text form: `("image", "f32[B=?B, I=64]")`; `?B` is an axis whose size
    /// each call chooses. Empty for an unknown function.
    pub fn inputs(&self, function: &str) -> Vec<(String, String)> {
        let Some(e) = self.engines.get(function) else { return Vec::new() };
        let g = e.graph();
        let ty = |n| g.ty(n).map(|t| g.type_text(t)).unwrap_or_default();
        g.named_inputs().into_iter().map(|(name, n)| (name, ty(n))).collect()
    }

    /// Results of a function in declared order, with their types as in [`Program::inputs`].
    pub fn results(&self, function: &str) -> Vec<(String, String)> {
        let Some(e) = self.engines.get(function) else { return Vec::new() };
        let g = e.graph();
        let ty = |n| g.ty(n).map(|t| g.type_text(t)).unwrap_or_default();
        g.outputs.iter().map(|(name, n)| (name.clone(), ty(*n))).collect()
    }

    /// Calls a function. Inputs are given by name, as arrays of `f32`, `i32` or `bool` in the declared axes; sizes of
    /// free axes follow from them.
    ///
    /// # Errors
    /// SP0101 for an unknown function; SP0504 for an input that is missing, unknown, or of another type or shape; SP0505
    /// for ids out of range.
    pub fn call(&self, function: &str, inputs: &[(&str, &dyn Input)]) -> Result<Results, Error> {
        let (engine, given) = self.ready(function, inputs)?;
        engine.call_on(given).map(Results::new).map_err(failed)
    }

    /// As [`Program::call`], with results written into arrays of the caller's by their names: a program that is called often then
    /// asks for no memory. The results that are given no array are returned. After an error what the arrays contain is not defined.
    ///
    /// # Errors
    /// Those of [`Program::call`]; SP0504 for an array of no result, or of another type or shape than its result.
    pub fn call_into(
        &self,
        function: &str,
        inputs: &[(&str, &dyn Input)],
        results: &mut [(&str, &mut dyn Output)],
    ) -> Result<Results, Error> {
        let (engine, given) = self.ready(function, inputs)?;
        let count = results.len();
        let places: Places<'_> = results.iter_mut().map(|(n, a)| ((*n).to_string(), a.taken())).collect();
        if places.len() != count {
            return Err(failed(Diagnostic::error(codes::INPUT, "a result is given two arrays").into()));
        }
        engine.call_into(given, places).map(Results::new).map_err(failed)
    }

    /// The code of a function and what it is called on.
    fn ready<'a>(&self, function: &str, inputs: &[(&str, &'a dyn Input)]) -> Result<(&Engine, Given<'a>), Error> {
        let engine = self.engines.get(function).ok_or_else(|| {
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no function `{function}` to call"));
            let known: Vec<&str> = self.functions().collect();
            failed(Failure::usage(listing(d, "function", &known)))
        })?;
        let given: Given<'_> = inputs.iter().map(|(n, v)| ((*n).to_string(), v.given())).collect();
        if given.len() != inputs.len() {
            return Err(failed(Diagnostic::error(codes::INPUT, "an input is given twice").into()));
        }
        Ok((engine, given))
    }
}

fn failed(f: Failure) -> Error {
    Error::new(&f, &SourceMap::default())
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("functions", &self.engines.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
