//! `spc check --fix`: applies the fixes that diagnostics carry, and checks what came of it.
use crate::check::{Stage, examine};
use crate::failure::{Failure, Res};
use crate::load::{READ_LIMIT, ROOT, load_text};
use crate::run::Done;
use crate::session::Session;
use spc_base::{Diagnostic, apply_fixes};
use spc_report::{SourceMap, unified_diff};
use spc_sema::{Library, front};
use std::path::Path;

/// A fix can bring another to light; after this many rounds the rest is left to the next call.
const ROUNDS: usize = 16;

/// Applies the fixes of a file's diagnostics until none is left, writes the file once, and checks it. The text lists every
/// replacement, then holds what `emit` asked for; what is still wrong are findings.
///
/// With `dry_run` nothing is written, and the text is the difference that the fixes would make.
pub fn fix_file(s: &mut Session<'_>, path: &Path, emit: &[Stage], dry_run: bool) -> Res<Done> {
    let bytes = s.world.read(path, READ_LIMIT)?;
    let name = path.display().to_string();
    let Ok(old) = String::from_utf8(bytes) else {
        // Checking says so.
        return crate::check::check(s, path, emit).map(Done::from);
    };
    let library = s.library()?;
    let (mut new, mut list) = mended(s, &library, &name, &old);
    let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut checked = load_text(s, &name, &new, &base).and_then(|source| examine(s, &source, emit));
    // What the files that the program names have to say.
    if let Err(Failure::User(found)) = &checked {
        let next = apply_fixes(&new, ROOT, found);
        if !next.applied.is_empty() {
            let mut sources = SourceMap::default();
            sources.insert(ROOT, name.clone(), new.clone());
            for i in next.applied {
                list.extend(found.get(i).and_then(|d| line(d, &new, &sources)));
            }
            new = next.text;
            checked = load_text(s, &name, &new, &base).and_then(|source| examine(s, &source, emit));
        }
    }
    let mut done = Done { text: if dry_run { unified_diff(&name, &old, &new) } else { list }, ..Done::default() };
    if new != old && !dry_run {
        s.world.write(path, new.as_bytes())?;
    }
    match checked {
        Ok(text) => done.text += &text,
        Err(Failure::User(list)) => done.findings = list,
        Err(other) => return Err(other),
    }
    Ok(done)
}

/// The text after all fixes, and one line for each of them.
fn mended(s: &Session<'_>, lib: &Library, name: &str, old: &str) -> (String, String) {
    let limits = &s.options.limits;
    let (mut text, mut list, mut seen) = (old.to_string(), String::new(), vec![old.to_string()]);
    let mut found = front(&text, ROOT, lib, limits).diagnostics;
    for _ in 0..ROUNDS {
        let next = apply_fixes(&text, ROOT, &found);
        if next.applied.is_empty() || seen.contains(&next.text) {
            break;
        }
        let after = front(&next.text, ROOT, lib, limits).diagnostics;
        if unreadable(&after) > unreadable(&found) {
            break;
        }
        let mut sources = SourceMap::default();
        sources.insert(ROOT, name.to_string(), text.clone());
        for i in next.applied {
            list.extend(found.get(i).and_then(|d| line(d, &text, &sources)));
        }
        seen.push(next.text.clone());
        (text, found) = (next.text, after);
    }
    (text, list)
}

/// How many items cannot be read. A fix never makes them more.
fn unreadable(list: &[Diagnostic]) -> usize {
    list.iter().filter(|d| d.is_error() && d.code.0 / 100 == 0).count()
}

/// `file.sp:3:7: SP0101: `rlu` is now `relu``.
fn line(d: &Diagnostic, text: &str, sources: &SourceMap) -> Option<String> {
    let fix = d.fix.as_ref()?;
    let place = sources.place(fix.span)?;
    let old = text.get(fix.span.start as usize..fix.span.end as usize)?;
    let what = match (old, fix.replacement.as_str()) {
        ("", new) => format!("added `{}`", new.trim_end()),
        (old, "") => format!("removed `{}`", old.trim_end()),
        (old, new) => format!("`{old}` is now `{new}`"),
    };
    Some(format!("{}:{}:{}: {}: {what}\n", place.path, place.line, place.column, d.code.name()))
}
