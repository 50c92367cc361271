//! Modules of the standard library from a folder, and what `spc std` shows of the library.
use crate::failure::{Failure, Res};
use crate::load::{READ_LIMIT, listing};
use crate::run::Done;
use crate::session::Session;
use crate::world::World;
use spc_base::{Diagnostic, codes};
use spc_sema::{Library, LibrarySource};
use std::fmt::Write;
use std::path::Path;

/// Most files of a folder of modules.
const MOST_FILES: usize = 4096;

/// The files `FOLDER/MODULE/FILE.sp`, in order of paths. Other files are left out.
///
/// # Errors
/// SP0401 where the folder cannot be read, has no such file, or more than can be read; SP0402 for text that is not UTF-8.
pub fn own_sources(world: &dyn World, folder: &Path) -> Result<Vec<LibrarySource>, Diagnostic> {
    let fail = |what: String| Diagnostic::error(codes::NO_FILE, what);
    let shown = folder.display();
    if !world.is_folder(folder) {
        return Err(fail(format!("cannot read the library folder `{shown}`: there is no such folder")));
    }
    let (mut out, mut room) = (Vec::new(), READ_LIMIT);
    for path in world.programs(folder)? {
        let mut parts = path.strip_prefix(folder).unwrap_or(&path).iter();
        let (Some(module), Some(_), None) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(module) = module.to_str() else { continue };
        let bytes = world.read(&path, room)?;
        if bytes.len() as u64 > room || out.len() >= MOST_FILES {
            let most = READ_LIMIT >> 20;
            return Err(fail(format!("the library folder `{shown}` is too large"))
                .note(format!("at most {MOST_FILES} files of together {most} MiB are read")));
        }
        room -= bytes.len() as u64;
        let text = String::from_utf8(bytes).map_err(|_| {
            Diagnostic::error(codes::NOT_UTF8, format!("the library file `{}` is not UTF-8", path.display()))
        })?;
        out.push(LibrarySource { module: module.to_string(), path: path.display().to_string(), text });
    }
    if out.is_empty() {
        return Err(fail(format!("the library folder `{shown}` has no modules"))
            .note("a module is a folder in it with `.sp` files, such as `nn/linear.sp`"));
    }
    Ok(out)
}

/// `spc std`: every module and item with the first line of its documentation; with a name, the text of the module or
/// of the item `MODULE.NAME`.
/// With `docs`, the signatures and the documentation of all items, or of those of one module, in Markdown.
pub fn show_library(s: &mut Session<'_>, name: Option<&str>, docs: bool) -> Res<Done> {
    let lib = s.library()?;
    let text = match name {
        None if docs => reference(&lib, &lib.modules()),
        None => contents(&lib),
        Some(name) if docs => {
            let name = name.strip_prefix("std.").unwrap_or(name);
            match lib.has_module(name) {
                true => reference(&lib, &[name]),
                false => return Err(unknown(&lib, name)),
            }
        }
        Some(name) => {
            let name = name.strip_prefix("std.").unwrap_or(name);
            source(&lib, name).ok_or_else(|| unknown(&lib, name))?
        }
    };
    Ok(text.into())
}

fn contents(lib: &Library) -> String {
    let mut out = String::new();
    for module in lib.modules() {
        let _ = writeln!(out, "std.{module}");
        let items: Vec<(&str, &str)> = lib
            .items(module)
            .filter_map(|i| Some((i.kind.name()?.as_str(), i.docs.first().map_or("", |d| d.text.trim()))))
            .collect();
        let width = items.iter().map(|(n, _)| n.len()).max().unwrap_or(0);
        for (name, doc) in items {
            let _ = writeln!(out, "{}", format!("  {name:width$}  {doc}").trim_end());
        }
    }
    out
}

/// `docs/std.md`.
fn reference(lib: &Library, modules: &[&str]) -> String {
    let mut out = String::from(
        "# The standard library\n\nThe signatures of all items and what they do, as `spc std --docs` prints them. `spc std MODULE.NAME` prints the \
         text of one.\nKinds of parameters and types are those of `docs/language.md`.\n",
    );
    for module in modules {
        let _ = writeln!(out, "\n## `std.{module}`");
        for (id, file) in lib.files().filter(|(_, f)| f.module == *module) {
            let about: Vec<&str> = file
                .text
                .lines()
                .map_while(|l| l.strip_prefix("//!"))
                .map(str::trim)
                .filter(|l| !l.is_empty())
                .collect();
            let _ = writeln!(out, "\n{}\n", about.join(" "));
            for item in lib.items(module).filter(|i| i.span.file == id) {
                let Some(text) = file.text.get(item.span.start as usize..item.span.end as usize) else { continue };
                let docs: Vec<&str> = item.docs.iter().map(|d| d.text.trim()).collect();
                let line = format!("* `{}` {}", signature(text), docs.join(" "));
                let _ = writeln!(out, "{}", line.trim_end());
            }
        }
    }
    out
}

/// The words of an item up to its body, in one line.
fn signature(text: &str) -> String {
    let (mut depth, mut end) = (0i32, text.len());
    // What computes sizes has `=` before the body, and stands after a result only.
    let mut result = false;
    for (i, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if depth == 0 && text[..i].ends_with('-') => result = true,
            '{' if depth == 0 => end = end.min(i),
            '=' if depth == 0 && !result => end = end.min(i),
            _ => continue,
        }
        if end < text.len() {
            break;
        }
    }
    text[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

fn source(lib: &Library, name: &str) -> Option<String> {
    let Some((module, item)) = name.split_once('.') else {
        let texts: Vec<&str> = lib.files().filter(|(_, f)| f.module == name).map(|(_, f)| f.text.as_str()).collect();
        return (!texts.is_empty()).then(|| texts.join("\n"));
    };
    let item = lib.full_item(module, item)?;
    let (_, file) = lib.files().find(|(id, _)| *id == item.span.file)?;
    let mut out = String::new();
    for doc in &item.docs {
        let _ = writeln!(out, "///{}{}", if doc.text.is_empty() { "" } else { " " }, doc.text.trim());
    }
    let _ = writeln!(out, "{}", file.text.get(item.span.start as usize..item.span.end as usize)?);
    Some(out)
}

fn unknown(lib: &Library, name: &str) -> Failure {
    let d = Diagnostic::error(codes::UNKNOWN_NAME, format!("the standard library has no `{name}`"));
    let module = name.split('.').next().unwrap_or(name);
    Failure::usage(match lib.has_module(module) {
        true => listing(d, "item", &lib.names(module)),
        false => listing(d, "module", &lib.modules()),
    })
}
