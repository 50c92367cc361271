//! The pages of diagnostic codes: their parts, and their examples as files and commands. `docs/errors/README.md` says how
//! a page is written.
use super::spc::spc_command;
use spc::driver::{DiskWorld, Failure, Options, Session, check};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub struct Page {
    pub code: String,
    pub title: String,
    pub bad: String,
    pub good: String,
    /// Nothing gives the code yet.
    pub not_yet: bool,
}

/// An example: its files, its commands and its program.
pub struct Example {
    files: Vec<(String, String)>,
    pub commands: Vec<String>,
    program: String,
}

pub fn folder() -> PathBuf {
    super::root().parent().unwrap().join("docs/errors")
}

/// All pages, in order of their names.
pub fn all() -> Vec<Page> {
    let list = std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<PathBuf> = list.filter(|p| p.file_name().is_some_and(|n| n != "README.md")).collect();
    paths.sort();
    paths.iter().map(|p| page(p)).collect()
}

fn page(path: &Path) -> Page {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let (code, title) = text.lines().next().unwrap().trim_start_matches("# ").split_once(": ").unwrap();
    assert_eq!(name, code, "a page is named after its code");
    let headings: Vec<&str> = text.lines().filter(|l| l.starts_with("## ")).collect();
    assert_eq!(headings, ["## Fails", "## Passes", "## How to fix"], "{name}");
    assert!(text.lines().all(|l| l.len() <= 120 || l.starts_with("//")), "{name} has a line of more than 120");
    let (tag, bad) = block(&text, "## Fails");
    let (good_tag, good) = block(&text, "## Passes");
    assert!(["sp bad", "sp bad not yet"].contains(&tag) && good_tag == "sp good", "{name}: {tag}, {good_tag}");
    let not_yet = tag.ends_with("not yet");
    Page { code: code.into(), title: title.into(), bad: bad.into(), good: good.into(), not_yet }
}

/// The tag and the text of the one code block below a heading.
fn block<'a>(text: &'a str, heading: &str) -> (&'a str, &'a str) {
    let section = text.split_once(&format!("{heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let mut parts = section.split("```");
    let (_, inside, _) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    assert!(parts.next().is_none(), "{heading} has one block");
    let (tag, body) = inside.split_once('\n').unwrap();
    (tag, body)
}

pub fn example(text: &str) -> Example {
    let (mut files, mut commands, mut at) = (Vec::new(), Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let Some(comment) = line.trim_end().strip_prefix("// ") else { break };
        if let Some(command) = comment.strip_prefix("$ ") {
            commands.push(command.to_string());
        } else {
            let (name, content) = comment.split_once(": ").unwrap_or_else(|| panic!("no file: {comment}"));
            files.push((name.to_string(), content.to_string()));
        }
        at += line.len();
    }
    Example { files, commands, program: text[at..].to_string() }
}

impl Example {
    /// Runs the example in a folder of its own; the codes that came out, and what was printed.
    pub fn run(&self) -> (BTreeSet<String>, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("example.sp"), &self.program).unwrap();
        for (name, content) in &self.files {
            std::fs::write(dir.path().join(name), bytes(name, content)).unwrap();
        }
        match self.commands.is_empty() {
            true => checked(&dir.path().join("example.sp")),
            false => self.shell(dir.path()),
        }
    }

    /// Whether the text alone gives the code: no command but `check`, no other file, not too long to be shown.
    pub fn needs_text_only(&self) -> bool {
        self.commands.is_empty() && self.files.is_empty() && !self.program.contains(" from safetensors ")
    }

    fn shell(&self, dir: &Path) -> (BTreeSet<String>, String) {
        let spc = spc_command();
        let place = Path::new(spc.get_program()).parent().unwrap();
        let path = std::env::join_paths(
            [place.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let (last, before) = self.commands.split_last().unwrap();
        let mut script = String::from("set -e\n");
        before.iter().for_each(|c| script += &format!("{{ {c}\n}} > /dev/null\n"));
        // A command before the last that fails says so with an exit code that spc does not have.
        script = format!("trap '[ $? -eq 0 ] || [ -n \"$last\" ] || exit 99' EXIT\n{script}last=1\n{last}\n");
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", &script]).current_dir(dir).env("PATH", path.unwrap()).env("NO_COLOR", "1");
        let out = sh.env_remove("SPC_NVRTC").output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_ne!(out.status.code(), Some(99), "a command before the last failed: {text}");
        let codes = text.match_indices("[SP").map(|(i, _)| text[i + 1..i + 7].to_string()).collect();
        (codes, text)
    }
}

/// The codes of `spc check FILE`.
fn checked(path: &Path) -> (BTreeSet<String>, String) {
    let world = DiskWorld::default();
    let mut s = Session::new(&world, Options::default());
    let result = check(&mut s, path, &[]);
    let mut all = s.warnings.clone();
    match &result {
        Ok(_) => {}
        Err(Failure::Bug(b)) => panic!("{b}"),
        Err(f) => all.extend_from_slice(f.diagnostics()),
    }
    let text = all.iter().map(|d| d.to_string()).collect::<Vec<_>>().join("\n");
    (all.iter().map(|d| d.code.name()).collect(), text)
}

fn bytes(name: &str, content: &str) -> Vec<u8> {
    if name.ends_with(".npy") {
        let (dtype, shape, data) = array(content);
        let shape: Vec<String> = shape.iter().map(|n| format!("{n},")).collect();
        let descr = match dtype {
            "f32" => "<f4",
            "i32" => "<i4",
            _ => "|b1",
        };
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}\n", shape.concat());
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.bytes());
        out.extend(data);
        return out;
    }
    if name.ends_with(".safetensors") && !content.starts_with('"') {
        use safetensors::tensor::{Dtype, TensorView, serialize};
        let tensors: Vec<_> = content
            .split("; ")
            .map(|t| {
                let (name, rest) = t.trim().split_once(' ').unwrap();
                (name.to_string(), array(rest))
            })
            .collect();
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            let dtype = match *dtype {
                "f32" => Dtype::F32,
                "i32" => Dtype::I32,
                _ => Dtype::BOOL,
            };
            (name.clone(), TensorView::new(dtype, shape.clone(), data).unwrap())
        });
        return serialize(views, None).unwrap();
    }
    let text: String = serde_json::from_str(content).unwrap();
    text.into_bytes()
}

/// `f32[2, 3] = 1 2 nan`: type, shape, bytes. Values are repeated until the array is full.
fn array(text: &str) -> (&str, Vec<usize>, Vec<u8>) {
    let (head, values) = text.split_once(" = ").unwrap();
    let (dtype, shape) = head.trim_end_matches(']').split_once('[').unwrap();
    let shape: Vec<usize> = shape.split(", ").map(|n| n.parse().unwrap()).collect();
    let values = values.split(' ').cycle().take(shape.iter().product());
    let data = values
        .flat_map(|v| match dtype {
            "f32" => v.parse::<f32>().unwrap().to_le_bytes().to_vec(),
            "i32" => v.parse::<i32>().unwrap().to_le_bytes().to_vec(),
            "bool" => vec![u8::from(v == "true")],
            other => panic!("no type `{other}`"),
        })
        .collect();
    (dtype, shape, data)
}
