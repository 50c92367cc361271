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
pub fn show_library(s: &mut Session<'_>, name: Option<&str>) -> Res<Done> {
    let lib = s.library()?;
    let text = match name {
        None => contents(&lib),
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
