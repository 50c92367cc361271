//! From a file or a text to a checked program.
use crate::failure::{Failure, Res};
use crate::session::Session;
use spc_base::{Diagnostic, FileId, codes, has_errors};
use spc_ir::Graph;
use spc_ir::method::Moment;
use spc_sema::{Checked, Model, Module};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A program that passed all checks of its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Folder that relative paths of the program start from.
    pub base: PathBuf,
    pub module: Module,
    /// Graphs of the functions that can be called, before any pass, with their constraints.
    pub graphs: BTreeMap<String, Graph>,
    /// Their dense meaning, where constraints on values make it another one.
    pub dense: BTreeMap<String, Graph>,
}

/// Largest file that is read at all before the parser judges its size.
pub const READ_LIMIT: u64 = 64 << 20;

/// The file id of the program's own text.
pub const ROOT: FileId = FileId(0);

/// Reads, parses and checks a file. Its warnings go to the session.
pub fn load_file(s: &mut Session<'_>, path: &Path) -> Res<Source> {
    let bytes = s.world.read(path, READ_LIMIT)?;
    let name = path.display().to_string();
    let (ast, diagnostics) = spc_syntax::parse_bytes(&bytes, ROOT, &s.options.limits);
    // Text that is not UTF-8 or too large has diagnostics without spans, so nothing of it is ever quoted.
    let text = String::from_utf8(bytes).unwrap_or_default();
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    finish(s, name, text, ast, diagnostics, base)
}

/// Parses and checks a text. `name` is what messages call it.
pub fn load_text(s: &mut Session<'_>, name: &str, text: &str, base: &Path) -> Res<Source> {
    let (ast, diagnostics) = spc_syntax::parse(text, ROOT, &s.options.limits);
    finish(s, name.to_string(), text.to_string(), ast, diagnostics, base.to_path_buf())
}

fn finish(
    s: &mut Session<'_>,
    name: String,
    text: String,
    mut ast: spc_syntax::Ast,
    diagnostics: Vec<Diagnostic>,
    base: PathBuf,
) -> Res<Source> {
    s.sources.insert(ROOT, name, text.clone());
    if !has_errors(&diagnostics) {
        crate::dials::set(&mut ast, &s.options.sets)?;
    }
    let moment = s.options.at.unwrap_or(Moment::END);
    let library = s.library()?;
    let Checked { module, graphs, dense, diagnostics: all, .. } =
        spc_sema::check_read_at(&ast, diagnostics, &text, &library, &s.options.limits, moment);
    if has_errors(&all) {
        return Err(Failure::User(all));
    }
    s.warnings.extend(all);
    let source = Source { base, module, graphs, dense };
    source.check_overrides(s)?;
    Ok(source)
}

impl Source {
    /// Refuses `--bind`, `--data` and `--text` for what the program does not have.
    pub fn check_overrides(&self, s: &Session<'_>) -> Res<()> {
        let models: Vec<&str> = self.module.models.iter().map(|m| m.name.as_str()).collect();
        let data: Vec<&str> = self.module.data.iter().map(|d| d.name.as_str()).collect();
        let binds = s.options.binds.keys().map(|n| ("model", n, &models));
        for (kind, name, known) in binds.chain(s.options.data.keys().map(|n| ("data source", n, &data))) {
            if !known.contains(&name.as_str()) {
                let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("the program has no {kind} `{name}`"));
                return Err(Failure::usage(listing(d, kind, known)));
            }
        }
        if !s.options.texts.is_empty() && !self.module.data.iter().any(|d| d.source.format == "text") {
            let d = Diagnostic::error(codes::ARGUMENT, "the program has no text source that `--text` could fill");
            return Err(Failure::usage(d));
        }
        Ok(())
    }

    /// The weight file of a model: the one that the caller chose, else the one that the program names.
    pub fn weight_file(&self, s: &Session<'_>, model: &Model) -> Option<PathBuf> {
        let chosen = s.options.binds.get(&model.name).cloned();
        chosen.or_else(|| model.source.as_ref().map(|f| self.base.join(&f.path)))
    }

    /// The functions to compile: those that a `run` or an `expect` names; with none of these, each that no other calls.
    /// With `names` given, exactly those.
    ///
    /// # Errors
    /// A usage error for an unknown name; SP0503 when there is no function at all.
    pub fn functions(&self, names: &[String]) -> Res<Vec<String>> {
        for n in names {
            self.graph(n)?;
        }
        if !names.is_empty() {
            return Ok(names.to_vec());
        }
        let module = &self.module;
        let mut named: Vec<&str> = module.runs.iter().map(|r| r.function.as_str()).collect();
        named.extend(module.expects.iter().filter_map(|e| match &e.measure {
            spc_sema::Measure::Accuracy { function, .. } => Some(function.as_str()),
            _ => None,
        }));
        let called = spc_sema::called(&module.ast);
        let chosen = |f: &&String| {
            if named.is_empty() { !called.contains(f.as_str()) } else { named.contains(&f.as_str()) }
        };
        let list: Vec<String> = module.entries.iter().filter(chosen).cloned().collect();
        if list.is_empty() {
            return Err(Diagnostic::error(codes::NO_RUN, "the program has no function that can be called").into());
        }
        Ok(list)
    }

    /// The graph of a function without any constraint on its values.
    pub fn dense_graph(&self, function: &str) -> Res<&Graph> {
        self.dense.get(function).map_or_else(|| self.graph(function), Ok)
    }

    /// The graph of a function.
    pub fn graph(&self, function: &str) -> Res<&Graph> {
        self.graphs.get(function).ok_or_else(|| {
            let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no function `{function}` to call"));
            let known: Vec<&str> = self.graphs.keys().map(String::as_str).collect();
            Failure::usage(listing(d, "function", &known))
        })
    }
}

/// Adds the names that there are.
pub(crate) fn listing(d: Diagnostic, kind: &str, known: &[&str]) -> Diagnostic {
    match known {
        [] => d.note(format!("it has no {kind}")),
        [one] => d.note(format!("its only {kind} is `{one}`")),
        many => {
            let shown: Vec<String> = many.iter().take(12).map(|n| format!("`{n}`")).collect();
            d.note(format!("it has {}{}", shown.join(", "), if many.len() > 12 { ", .." } else { "" }))
        }
    }
}
