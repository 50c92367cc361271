//! What the constraints over slices stand for: each family's weights, and the values between them.
use spc_ir::{Cover, Graph, Member};
use spc_sema::{Module, member_text, sets_of};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One line for a family; alike ones of a repetition are one line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    size: u64,
    members: Vec<String>,
    values: Vec<String>,
    /// How many repetitions it stands for.
    times: usize,
}

/// The sets of all constraints over slices as text; empty when there are none.
pub fn coupled(module: &Module, graphs: &BTreeMap<String, Graph>) -> String {
    let sets = sets_of(module, graphs);
    let mut out = String::new();
    for r in &module.requires {
        for keep in &r.keeps {
            let mut families: BTreeMap<u32, Vec<&Member>> = BTreeMap::new();
            for m in &keep.members {
                if let Cover::Slices(s) = &m.cover {
                    families.entry(s.family).or_default().push(m);
                }
            }
            if families.is_empty() {
                continue;
            }
            let mut lines: Vec<Line> = Vec::new();
            for members in families.values() {
                let line = line(module, members, &sets);
                match lines.iter_mut().find(|l| Line { times: l.times, ..line.clone() } == **l) {
                    Some(l) => l.times += 1,
                    None => lines.push(line),
                }
            }
            let _ = writeln!(out, "{}: each slice lies in all of these", r.name);
            for l in lines {
                let each = if l.times > 1 { format!("{} sets of {}", l.times, l.size) } else { l.size.to_string() };
                let _ = writeln!(out, "  {each}: {}", l.members.join(", "));
                if !l.values.is_empty() {
                    let _ = writeln!(out, "    and the values {}", l.values.join(", "));
                }
            }
        }
    }
    if out.is_empty() { out } else { out + "\n" }
}

fn line(module: &Module, members: &[&Member], sets: &[spc_sema::NamedSet]) -> Line {
    let exact: Vec<String> = members.iter().filter_map(|m| member_text(module, m)).collect();
    let values = sets.iter().filter(|s| exact.iter().all(|m| s.members.contains(m))).flat_map(|s| &s.values);
    let mut distinct: Vec<String> = Vec::new();
    for v in values {
        if !distinct.contains(v) {
            distinct.push(v.clone());
        }
    }
    let size = members.iter().find_map(|m| match &m.cover {
        Cover::Slices(s) => Some(s.groups()),
        _ => None,
    });
    let layers = |(m, text): (&&Member, &String)| {
        let repeated = m.layer.rsplit_once('.').filter(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
        match repeated.and_then(|(family, _)| Some((family, text.strip_prefix(&m.layer)?))) {
            Some((family, rest)) => format!("{family}.*{rest}"),
            None => text.clone(),
        }
    };
    Line {
        size: size.unwrap_or(0),
        members: members.iter().zip(&exact).map(layers).collect(),
        values: distinct,
        times: 1,
    }
}
