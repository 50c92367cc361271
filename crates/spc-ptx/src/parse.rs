//! The text of a module, cut into kernels and statements.
use crate::decode::{Names, instruction};
use crate::types::{Instruction, Ty};
use std::collections::BTreeMap;

/// The kernels of a PTX text.
#[derive(Clone, Debug, Default)]
pub struct Module {
    kernels: BTreeMap<String, Kernel>,
    /// What `.version` and `.target` say.
    pub version: String,
    pub target: String,
}

/// One kernel, ready to run.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub name: String,
    /// Offset and size of each parameter.
    pub(crate) parameters: Vec<(usize, usize)>,
    pub(crate) code: Vec<Instruction>,
    pub(crate) registers: usize,
}

impl Kernel {
    /// Bytes of each parameter.
    pub fn parameter_bytes(&self) -> Vec<usize> {
        self.parameters.iter().map(|p| p.1).collect()
    }
}

impl Module {
    /// Reads a module.
    ///
    /// # Errors
    /// The first thing outside the subset, with its line.
    pub fn parse(text: &str) -> Result<Module, String> {
        let mut module = Module::default();
        let clean: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect();
        for line in &clean {
            if let Some(v) = line.trim().strip_prefix(".version") {
                module.version = v.trim().into();
            }
            if let Some(t) = line.trim().strip_prefix(".target") {
                module.target = t.trim().into();
            }
        }
        // `.extern .shared .align 16 .b8 NAME[];`, the only array of shared memory.
        let arrays: Vec<&str> =
            clean.iter().map(|l| l.trim()).filter(|l| l.contains(".shared") && l.ends_with("[];")).collect();
        let shared = match arrays[..] {
            [] => String::new(),
            [one] if one.starts_with(".extern") => {
                one.trim_end_matches("[];").split_whitespace().last().unwrap_or_default().to_string()
            }
            _ => return Err("more than one array of shared memory".into()),
        };
        let clean = clean.join("\n");
        let (mut rest, mut line) = (clean.as_str(), 1);
        while let Some(at) = rest.find(".entry") {
            line += newlines(&rest[..at]);
            let part = &rest[at + ".entry".len()..];
            let (open, close) = (part.find('('), part.find(')'));
            let body = part.find('{');
            let (Some(open), Some(close), Some(body)) = (open, close, body) else {
                return Err(format!("line {line}: a kernel without parameters or body"));
            };
            if open > close || close > body {
                return Err(format!("line {line}: a kernel's head is not read"));
            }
            let end = block_end(&part[body..]).ok_or_else(|| format!("line {line}: a body without an end"))? + body;
            let name = part[..open].trim().to_string();
            let kernel =
                kernel(&name, &part[open + 1..close], &part[body + 1..end], line + newlines(&part[..body]), &shared)?;
            line += newlines(&part[..end]);
            rest = &part[end..];
            module.kernels.insert(name, kernel);
        }
        if module.version.is_empty() {
            return Err("there is no .version".into());
        }
        Ok(module)
    }

    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.get(name)
    }

    /// Names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

/// Where the brace that opens the text is closed.
fn block_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// Offset and size of each parameter, and offsets by name.
type Parameters = (Vec<(usize, usize)>, BTreeMap<String, u64>);

fn parameters(text: &str) -> Result<Parameters, String> {
    let (mut list, mut names, mut offset) = (Vec::new(), BTreeMap::new(), 0usize);
    for p in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let words: Vec<&str> = p.split_whitespace().collect();
        let ty = words.iter().find_map(|w| Ty::parse(w.strip_prefix('.')?));
        let (Some(ty), Some(name)) = (ty, words.last()) else { return Err(format!("the parameter `{p}`")) };
        offset = offset.next_multiple_of(ty.bytes());
        names.insert((*name).to_string(), offset as u64);
        list.push((offset, ty.bytes()));
        offset += ty.bytes();
    }
    Ok((list, names))
}

/// Statements with their lines, and the labels before them.
type Statements = (Vec<(String, usize)>, BTreeMap<String, usize>);

fn statements(body: &str, first: usize) -> Statements {
    let (mut list, mut labels) = (Vec::new(), BTreeMap::new());
    let (mut text, mut line, mut start, mut depth) = (String::new(), first, first, 0usize);
    for c in body.chars() {
        if c == '\n' {
            line += 1;
        }
        match c {
            ':' if text.trim_start().starts_with('$') && !text.trim().contains(' ') => {
                labels.insert(text.trim().to_string(), list.len());
                text.clear();
            }
            // The scope of an inline assembly, or a list of registers.
            '{' if text.trim().is_empty() => text.clear(),
            '{' => {
                depth += 1;
                text.push(c);
            }
            '}' if depth > 0 => {
                depth -= 1;
                text.push(c);
            }
            '}' => text.clear(),
            ';' => {
                let s = text.trim();
                if !s.is_empty() && !s.starts_with(".reg") && !s.starts_with(".pragma") {
                    list.push((s.to_string(), start));
                }
                text.clear();
            }
            _ => {
                if text.trim().is_empty() {
                    start = line;
                }
                text.push(c);
            }
        }
    }
    (list, labels)
}

fn kernel(name: &str, head: &str, body: &str, line: usize, shared: &str) -> Result<Kernel, String> {
    let fail = |line: usize, what: &str, why: String| format!("{name}: line {line}: {why}: {what}");
    let (parameters, parameter_names) = parameters(head).map_err(|e| fail(line, head.trim(), e))?;
    let (list, labels) = statements(body, line);
    let shared = shared.to_string();
    let mut names = Names { registers: BTreeMap::new(), labels, parameters: parameter_names, shared };
    let mut code = Vec::with_capacity(list.len());
    for (text, line) in &list {
        code.push(instruction(text, *line, &mut names).map_err(|e| fail(*line, text, e))?);
    }
    Ok(Kernel { name: name.into(), parameters, code, registers: names.registers.len() })
}
