//! `spc fmt`: files in the one style.
use crate::failure::{Failure, Res};
use crate::load::READ_LIMIT;
use crate::run::Done;
use crate::session::Session;
use spc_base::{Bug, Diagnostic, FileId, codes};
use std::path::{Path, PathBuf};

/// What to format.
#[derive(Clone, Debug, Default)]
pub struct Format {
    /// Files, and folders for every `.sp` file in them; or `-` alone for standard input.
    pub paths: Vec<PathBuf>,
    /// Write nothing; say which files differ.
    pub check: bool,
}

/// Writes each file that differs from its formatted text, and lists those. With `check`, only lists them, and
/// [`Done::differs`] if there are any. Standard input goes to the text of the result instead.
///
/// A file with errors stays as it is, and its diagnostics are findings; the others are formatted all the same.
pub fn format_paths(s: &mut Session<'_>, what: &Format) -> Res<Done> {
    let stdin = Path::new("-");
    let mut done = Done::default();
    if what.paths.iter().any(|p| p == stdin) {
        if what.paths.len() > 1 {
            let d = Diagnostic::error(codes::NO_FILE, "`-` stands for standard input, and cannot stand beside files");
            return Err(Failure::usage(d));
        }
        let bytes = s.world.stdin(READ_LIMIT)?;
        if let Some((text, differs)) = one(s, "<stdin>", bytes, 0, &mut done)? {
            done.differs = what.check && differs;
            done.text = match what.check {
                false => text,
                true if differs => "<stdin>\n".into(),
                true => String::new(),
            };
        }
        return Ok(done);
    }
    let mut files = Vec::new();
    for path in &what.paths {
        if s.world.is_folder(path) {
            files.extend(s.world.programs(path)?);
        } else {
            files.push(path.clone());
        }
    }
    for (n, path) in files.iter().enumerate() {
        let name = path.display().to_string();
        let bytes = match s.world.read(path, READ_LIMIT) {
            Ok(bytes) => bytes,
            Err(d) => {
                done.findings.push(d);
                continue;
            }
        };
        let Some((text, true)) = one(s, &name, bytes, n, &mut done)? else { continue };
        if what.check {
            done.differs = true;
        } else if let Err(d) = s.world.write(path, text.as_bytes()) {
            done.findings.push(d);
            continue;
        }
        done.text += &name;
        done.text.push('\n');
    }
    Ok(done)
}

/// The formatted text and whether it differs; nothing for a text with errors, which become findings.
fn one(s: &mut Session<'_>, name: &str, bytes: Vec<u8>, n: usize, done: &mut Done) -> Res<Option<(String, bool)>> {
    let limits = s.options.limits;
    let after_library = spc_sema::FIRST_LIBRARY_FILE as usize + spc_stdlib::FILES.len();
    let file = FileId(u32::try_from(after_library + n).map_err(|_| Bug::new("too many files"))?);
    let (ast, diagnostics) = spc_syntax::parse_bytes(&bytes, file, &limits);
    let text = String::from_utf8(bytes).unwrap_or_default();
    if spc_base::has_errors(&diagnostics) {
        s.sources.insert(file, name.to_string(), text);
        done.findings.extend(diagnostics);
        return Ok(None);
    }
    let out = match spc_syntax::format(&text, file, &limits) {
        Ok(out) => out,
        Err(found) => {
            done.findings.extend(found);
            return Ok(None);
        }
    };
    // Nothing that would read as another program is ever written. A text that grew beyond the limit cannot be read back.
    let (again, found) = spc_syntax::parse(&out, file, &limits);
    if let Some(d) = found.iter().find(|d| d.code == codes::TOO_LARGE) {
        done.findings.push(d.clone().note(format!("this is `{name}` after formatting")));
        return Ok(None);
    }
    if !found.is_empty() || !ast.same(&again) {
        return Err(Bug::new(format!("formatting `{name}` would change the program")).into());
    }
    let differs = out != text;
    Ok(Some((out, differs)))
}
