//! What a name is, in plain words.
use crate::amounts;
use crate::analysis::{Analysis, Shared, grouped};
use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind, Position};
use spc_ir::{DType, Dim, Type};
use spc_sema::index::{BUILTINS, Def, DefKind, Place, To, Use};

/// The answer for a place; nothing where no name stands.
pub fn hover(a: &Analysis, shared: &Shared, at: Position) -> Option<Hover> {
    let offset = a.offset(at);
    let used = a.index.at(offset)?;
    let value = match &used.to {
        To::Builtin(b) => {
            let b = BUILTINS.get(*b)?;
            format!("{}\n\n{}", code(b.form), b.doc)
        }
        To::Module(m) => module(m, shared),
        To::Def(place) => definition(a, shared, *place, used)?,
    };
    let contents = HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value });
    Some(Hover { contents, range: Some(a.range(used.span)) })
}

fn code(text: &str) -> String {
    format!("```sp\n{text}\n```")
}

fn module(name: &str, shared: &Shared) -> String {
    let names: Vec<String> = shared.modules.names(name).map(|(n, _)| format!("`{n}`")).collect();
    format!("{}\n\nstandard module: {}", code(&format!("use std.{name}")), names.join(", "))
}

/// `shared` and the file at hand, for the helpers below.
struct At<'a> {
    a: &'a Analysis,
    shared: &'a Shared,
    place: Place,
    def: &'a Def,
}

fn definition(a: &Analysis, shared: &Shared, place: Place, used: &Use) -> Option<String> {
    let def = a.def(place, shared)?;
    let at = At { a, shared, place, def };
    let mut parts: Vec<String> = Vec::new();
    match def.kind {
        DefKind::Item(word) => at.item(word, &mut parts),
        DefKind::Axis => at.axis(&mut parts),
        DefKind::AxisParam => {
            let value = if def.detail.is_empty() { String::new() } else { format!(" = {}", def.detail) };
            parts.push(code(&format!("axis {}{value}", def.name)));
            parts.push("axis parameter: each call says which axis it is".to_string());
        }
        DefKind::Tensor | DefKind::Alias | DefKind::Column | DefKind::Member => at.tensor(&mut parts),
        DefKind::Family => {
            parts.push(code(&def.detail));
            let axis = def.dims.iter().flatten().next().cloned().unwrap_or_default();
            let size = a.axis_size(&axis, shared).map(|s| format!(", {axis} = {s}")).unwrap_or_default();
            parts.push(format!("repetition over {axis}{size}"));
        }
        DefKind::Part => {
            parts.push(code(&format!("{} = {}", def.name, def.detail)));
            parts.push("part of the rows".to_string());
        }
        DefKind::Index => {
            parts.push(code(&def.name));
            parts.push(match (def.detail.as_str(), a.axis_size(&def.detail, shared)) {
                ("", _) => "index".to_string(),
                (axis, Some(size)) => format!("index of axis {axis} = {size}"),
                (axis, None) => format!("index of axis {axis}"),
            });
        }
        DefKind::Param | DefKind::Result | DefKind::Local | DefKind::State => at.value(used, &mut parts),
        DefKind::Hook => parts.push(code(&format!("{}(..)", def.name))),
        DefKind::Phase => parts.push(code(&format!("phase {} {}", def.name, def.detail))),
    }
    if place.file != a.index.file
        && let Some((path, _)) = shared.library_file(place.file)
    {
        parts.push(format!("from `{path}`"));
    }
    if !def.docs.is_empty() {
        parts.push(def.docs.clone());
    }
    Some(parts.join("\n\n"))
}

impl At<'_> {
    fn item(&self, word: &str, parts: &mut Vec<String>) {
        let Def { name, detail, .. } = self.def;
        parts.push(code(if detail.is_empty() { name } else { detail }));
        if self.a.library {
            return;
        }
        let module = &self.a.checked(self.shared).module;
        match word {
            "model" => {
                let Some(m) = module.model(name) else { return };
                let count = |t: &spc_sema::ModelTensor| elements(&t.dims).unwrap_or(0);
                let all = m.tensors.iter().map(count).fold(0u64, u64::saturating_add);
                parts.push(format!("{} tensors, {} parameters", grouped(m.tensors.len() as u64), grouped(all)));
            }
            "require" => {
                let Some(r) = module.requires.iter().find(|r| r.name == *name) else { return };
                let core = spc_syntax::print_sentence(&r.sentence);
                if !detail.contains(core.as_str()) {
                    parts.push(format!("stands for\n{}", code(&core)));
                }
                parts.push(list(amounts::describe(r, module)));
            }
            "group" => {
                if let Some(axis) = self.sliced() {
                    parts.extend(self.coupled(&axis, true));
                }
                let users = module.requires.iter().filter(|r| {
                    let s = &r.sentence;
                    s.group.group.as_name().is_some_and(|n| n.as_str() == name)
                });
                let lines: Vec<String> =
                    users.map(|r| format!("`{}` {}", r.name, amounts::describe(r, module).join("; "))).collect();
                if !lines.is_empty() {
                    parts.push(list(lines));
                }
            }
            _ => {}
        }
    }

    fn axis(&self, parts: &mut Vec<String>) {
        let Def { name, detail, .. } = self.def;
        let size = self.a.axis_size(name, self.shared);
        let value = size.clone().or((!detail.is_empty()).then(|| detail.clone()));
        parts.push(code(&value.map(|v| format!("axis {name} = {v}")).unwrap_or(format!("axis {name}"))));
        let free = size.is_some_and(|s| s.contains(".."));
        parts.push(if free { "free: each call binds its size".to_string() } else { "axis of the file".to_string() });
        let lines: Vec<String> = self
            .a
            .index
            .uses
            .iter()
            .filter(|u| u.writes && u.to == To::Def(self.place))
            .map(|u| (self.a.lines.line(u.span.start as usize) + 1).to_string())
            .collect();
        if !lines.is_empty() {
            parts.push(format!("declared in line {}", lines.join(", ")));
        }
        parts.extend(self.coupled(name, false).or_else(|| self.carriers(name)));
    }

    /// Tensors whose declaration names an axis, for programs whose functions say nothing about it.
    fn carriers(&self, name: &str) -> Option<String> {
        let carries = |d: &&Def| {
            let own = matches!(d.kind, DefKind::Tensor | DefKind::Column);
            let words = d.dims.iter().flatten().flat_map(|x| x.trim_matches(['(', ')']).split_whitespace());
            own && words.into_iter().any(|w| w == name)
        };
        let list: Vec<String> =
            self.a.index.defs.iter().filter(carries).map(|d| format!("`{}`", self.path(d))).collect();
        (!list.is_empty()).then(|| format!("carried by {}", some(&list, 16)))
    }

    /// The axis of `slices(F)` in a group's declaration.
    fn sliced(&self) -> Option<String> {
        let inside = self.def.detail.split_once("slices(")?.1;
        let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        Some(inside.get(..end)?.to_string())
    }

    /// What carries each instance of an axis, one line each. With `selected`, only where the declaration's own words name
    /// the model.
    fn coupled(&self, axis: &str, selected: bool) -> Option<String> {
        const SETS: usize = 4;
        let mut lines: Vec<String> = Vec::new();
        let mut seen: Vec<&[String]> = Vec::new();
        for s in self.a.coupled(self.shared).iter().filter(|s| s.axis == axis) {
            let of = |w: &String| self.def.detail.contains(w.split('.').next().unwrap_or(w));
            if seen.contains(&s.members.as_slice()) || (selected && !s.weights.iter().any(of)) {
                continue;
            }
            seen.push(&s.members);
            let members: Vec<String> = s.members.iter().map(|m| format!("`{m}`")).collect();
            let mut line = format!("in `{}`: {}", s.function, some(&members, 8));
            if let Some(r) = s.refused.first() {
                line += &format!("; slices cannot be removed: {}", r.text);
            }
            lines.push(line);
        }
        let more = lines.len().saturating_sub(SETS);
        lines.truncate(SETS);
        if more > 0 {
            lines.push(format!("and {more} more instances of the axis"));
        }
        (!lines.is_empty()).then(|| format!("carried together\n{}", list(lines)))
    }

    /// `net.layer.*.wq`
    fn path(&self, def: &Def) -> String {
        let mut names = vec![def.name.clone()];
        let mut parent = def.parent;
        let ix = self.a.index_of(self.place, self.shared);
        while let Some(p) = parent.and_then(|p| ix?.def(p)) {
            if p.kind == DefKind::Family {
                names.push("*".to_string());
            }
            names.push(p.name.clone());
            parent = p.parent;
            if names.len() > 32 {
                break;
            }
        }
        names.reverse();
        names.join(".")
    }

    fn tensor(&self, parts: &mut Vec<String>) {
        let path = self.path(self.def);
        if self.def.kind == DefKind::Alias {
            parts.push(code(&format!("{path} = {}", self.def.detail)));
            parts.push("alias: one tensor with two names".to_string());
            return;
        }
        parts.push(code(&format!("{path}: {}", self.def.detail)));
        if self.place.file != self.a.index.file || self.a.library {
            return;
        }
        let stored = self.a.tensors(self.def.whole, self.shared);
        let Some(first) = stored.first() else {
            parts.extend(self.sizes(self.def.dims.as_deref().unwrap_or_default()));
            return;
        };
        let mut lines = Vec::new();
        lines.extend(dims(&first.dims));
        if let Some(n) = elements(&first.dims) {
            let bytes = n.saturating_mul(width(first.dtype));
            let each = if stored.len() > 1 { " each" } else { "" };
            lines.push(format!("{} elements, {}{each}", grouped(n), bytes_text(bytes)));
        }
        if !first.stored.is_empty() {
            lines.push(format!("stored as `{}`", first.stored));
        }
        if let Some(last) = stored.last().filter(|_| stored.len() > 1) {
            lines.push(format!("{} tensors, up to `{}`", stored.len(), last.path));
        }
        if stored.len() == 1 && first.layer != first.path.rsplit_once('.').map_or("", |(m, _)| m) {
            lines.push(format!("layer `{}`", first.layer));
        }
        let module = &self.a.checked(self.shared).module;
        for r in &module.requires {
            let acts = r.keeps.iter().flat_map(|k| &k.members).any(|m| m.weight == first.path);
            if acts {
                let numbers = amounts::of_require(r).and_then(|n| n.get(&first.path).copied());
                let kept = numbers.map(|n| format!(" keeps {} of {}", grouped(n.kept), grouped(n.all)));
                lines.push(format!("`{}`{}", r.name, kept.unwrap_or(" acts on it".to_string())));
            }
        }
        parts.push(list(lines));
    }

    /// Sizes of axes by their names in this file.
    fn sizes(&self, names: &[String]) -> Option<String> {
        let words = names.iter().flat_map(|d| d.trim_matches(['(', ')']).split_whitespace());
        let known: Vec<String> =
            words.filter_map(|n| Some(format!("{n} = {}", self.a.axis_size(n, self.shared)?))).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }

    fn value(&self, used: &Use, parts: &mut Vec<String>) {
        let Def { name, detail, kind, .. } = self.def;
        let found = self.a.type_at(self.place, used.span.start, self.shared);
        let own = self.place.file == self.a.index.file;
        let (text, names) = match found {
            Some(t) if own => (type_text(t), t.dims.iter().map(|d| d.axis.clone()).collect()),
            _ => (detail.clone(), self.def.dims.clone().unwrap_or_default()),
        };
        let dims_only = text.is_empty() && !names.is_empty();
        parts.push(code(&match text.as_str() {
            "" if dims_only => format!("{name}[{}]", names.join(", ")),
            "" => name.clone(),
            t => format!("{name}: {t}"),
        }));
        let stands = self.def.stands_for.and_then(|p| self.a.def(p, self.shared));
        parts.push(match stands {
            Some(d) => format!("{}: one of `{}`", kind.word(), self.path(d)),
            None => kind.word().to_string(),
        });
        if own {
            parts.extend(self.sizes(&names));
        }
    }
}

/// The first of some words, and how many more there are.
fn some(words: &[String], most: usize) -> String {
    let shown = words.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    match words.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn list(lines: Vec<String>) -> String {
    lines.iter().map(|l| format!("* {l}")).collect::<Vec<_>>().join("\n")
}

fn width(t: DType) -> u64 {
    match t {
        DType::F32 | DType::I32 => 4,
        DType::Bool => 1,
    }
}

fn elements(dims: &[Dim]) -> Option<u64> {
    dims.iter().try_fold(1u64, |n, d| n.checked_mul(d.size.fixed()?))
}

fn dims(list: &[Dim]) -> Option<String> {
    let known: Vec<String> = list.iter().filter_map(|d| Some((d, d.size.fixed()?))).map(|(d, n)| sized(d, n)).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn sized(d: &Dim, n: u64) -> String {
    if d.axis == n.to_string() { d.axis.clone() } else { format!("{} = {}", d.axis, grouped(n)) }
}

fn type_text(t: &Type) -> String {
    let names: Vec<&str> = t.dims.iter().map(|d| d.axis.as_str()).collect();
    if names.is_empty() { t.dtype.name().to_string() } else { format!("{}[{}]", t.dtype.name(), names.join(", ")) }
}

fn bytes_text(n: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if unit == 0 || value.fract() == 0.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&""))
}
