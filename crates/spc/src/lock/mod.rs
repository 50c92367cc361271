//! `plan.json`: the plans of a program's functions as a file. A later compilation with `--plan` takes them instead of
//! searching, and writes the same bytes.
//!
//! `docs/plan.schema.json` is its form. `seal` is the SHA-256 of the rest, so that a file that was changed by hand is told
//! from one that was written; it is no secret.
mod diff;
mod fit;

pub use diff::{Difference, differences, show};
pub use fit::{differing_lines, fit};

use crate::failure::{Failure, Res};
use crate::plan::Planned;
use crate::session::Session;
use serde::{Deserialize, Serialize};
use spc_base::{Bug, Diagnostic, codes};
use spc_ir::{PLAN_FORMAT, Plan};
use spc_sema::{Target, TargetKind};
use std::path::Path;

/// The form that is written and read.
pub const PLANS_FORMAT: u32 = 2;

/// Largest file that is read.
const LIMIT: u64 = 64 << 20;

/// A plan file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plans {
    pub format: u32,
    /// `cpu` or `cuda`.
    pub kind: String,
    pub functions: Vec<Plan>,
    /// SHA-256 of this file as compact JSON with an empty seal.
    pub seal: String,
}

/// The word for a kind of target.
pub fn kind_word(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Cpu => "cpu",
        TargetKind::Cuda => "cuda",
    }
}

fn json_bug(e: serde_json::Error) -> Bug {
    Bug::new(format!("a plan cannot be written as JSON: {e}"))
}

impl Plans {
    /// The plans of these functions, sealed.
    pub fn of(target: &Target, functions: &[Planned]) -> Result<Plans, Bug> {
        let functions = functions.iter().map(|f| f.plan.clone()).collect();
        let mut p = Plans { format: PLANS_FORMAT, kind: kind_word(target.kind).into(), functions, seal: String::new() };
        p.seal = p.seal_of_rest()?;
        Ok(p)
    }

    fn seal_of_rest(&self) -> Result<String, Bug> {
        let bare = Plans { seal: String::new(), ..self.clone() };
        Ok(spc_io::sha256_hex(&serde_json::to_vec(&bare).map_err(json_bug)?))
    }

    /// The text of the file: the same plans give the same bytes.
    pub fn text(&self) -> Result<String, Bug> {
        Ok(serde_json::to_string_pretty(self).map_err(json_bug)? + "\n")
    }

    /// Whether the file is not as it was written.
    pub fn edited(&self) -> Result<bool, Bug> {
        Ok(self.seal != self.seal_of_rest()?)
    }

    /// Reads the text of a plan file. The seal is not looked at.
    ///
    /// # Errors
    /// Why it is none, in words.
    pub fn parse(text: &str) -> Result<Plans, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
        match value.get("format").map(serde_json::Value::as_u64) {
            Some(Some(f)) if f == u64::from(PLANS_FORMAT) => {}
            Some(Some(f)) => return Err(format!("it has format {f}, this version of spc reads {PLANS_FORMAT}")),
            _ => return Err("it has no number `format`".into()),
        }
        // From the text, for lines and columns in the message.
        let plans: Plans = serde_json::from_str(text).map_err(|e| e.to_string())?;
        for (i, p) in plans.functions.iter().enumerate() {
            if p.format != PLAN_FORMAT {
                return Err(format!("the plan of `{}` has format {}, expected {PLAN_FORMAT}", p.function, p.format));
            }
            if plans.functions[..i].iter().any(|q| q.function == p.function) {
                return Err(format!("it has two plans of `{}`", p.function));
            }
        }
        Ok(plans)
    }
}

fn unusable(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::error(codes::PLAN_FILE, format!("`{}` cannot be used as a plan: {why}", path.display()))
        .help("`spc compile FILE.sp --emit=plan > plan.json` writes a new one")
}

/// Reads a plan file.
///
/// # Errors
/// SP0401 where it cannot be read, SP0660 where it is no plan file.
pub fn read(s: &Session<'_>, path: &Path) -> Res<Plans> {
    let bytes = s.world.read(path, LIMIT)?;
    if bytes.len() as u64 > LIMIT {
        return Err(unusable(path, "it is larger than 64 MiB").into());
    }
    let text = String::from_utf8(bytes).map_err(|_| unusable(path, "it is no text"))?;
    Ok(Plans::parse(&text).map_err(|why| unusable(path, &why))?)
}

/// SP0660 for a file that was changed after it was written; `fresh` are the plans that a search gives now.
pub fn was_edited(path: &Path, plans: &Plans, fresh: &[Planned], target: &Target) -> Failure {
    let d = Diagnostic::error(
        codes::PLAN_FILE,
        format!("`{}` cannot be used as a plan: it was changed after it was written", path.display()),
    );
    let now = Plans::of(target, fresh).map(|now| differences(plans, &now)).unwrap_or_default();
    let d = differing_lines(d, "this file", "a new plan", &now);
    d.help("write it again with `spc compile FILE.sp --emit=plan`").into()
}

/// What `spc diff` shows.
///
/// # Errors
/// SP0401 for a file that cannot be read, SP0660 for one that is no plan file.
pub fn diff_files(s: &Session<'_>, a: &Path, b: &Path, json: bool) -> Res<crate::run::Done> {
    let (old, new) = (read(s, a)?, read(s, b)?);
    let mut list = differences(&old, &new);
    let changed = [(a, old.edited()?), (b, new.edited()?)];
    if list.is_empty() && old != new && old.seal == new.seal {
        list.push(Difference::whole("reasons", None, None));
    }
    let differs = !list.is_empty();
    let text = if json {
        let edited: Vec<bool> = changed.iter().map(|(_, e)| *e).collect();
        let value = serde_json::json!({ "same": !differs, "edited": edited, "differences": list });
        format!("{value:#}\n")
    } else {
        let mut text = String::new();
        for (path, _) in changed.iter().filter(|(_, e)| *e) {
            text +=
                &format!("`{}` was changed after it was written, so that nothing compiles with it\n", path.display());
        }
        text + &show(&list)
    };
    Ok(crate::run::Done { text, findings: Vec::new(), differs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_ir::Graph;

    fn plans() -> Plans {
        let graph = Graph::new("f");
        let plan = Plan::all_dense(&graph, "cpu", "dense(16)").unwrap();
        let span = spc_base::Span::default();
        let tune = std::collections::BTreeMap::new();
        let t = Target { name: "cpu".into(), kind: TargetKind::Cpu, threads: 1, arch: None, tune, span };
        Plans::of(&t, &[Planned { graph, plan, interp: false }]).unwrap()
    }

    #[test]
    fn a_file_is_read_back_and_its_seal_holds() {
        let p = plans();
        let text = p.text().unwrap();
        let back = Plans::parse(&text).unwrap();
        assert_eq!((back.clone(), back.text().unwrap()), (p, text.clone()));
        assert!(!back.edited().unwrap());
        // Blanks are no change; a number is.
        assert!(!Plans::parse(&text.replace('\n', "\r\n  ")).unwrap().edited().unwrap());
        assert!(Plans::parse(&text.replace("\"dense_ps\": 0", "\"dense_ps\": 1")).unwrap().edited().unwrap());
    }

    #[test]
    fn other_files_are_refused_in_words() {
        let text = plans().text().unwrap();
        let bad = |text: &str| Plans::parse(text).unwrap_err();
        assert!(bad("").contains("no JSON") && bad("[1]").contains("no number `format`"));
        assert_eq!(bad("{\"format\": 99}"), "it has format 99, this version of spc reads 2");
        assert!(bad("{\"format\": 2}").contains("missing field"), "{}", bad("{\"format\": 2}"));
        assert!(bad(&text.replace("\"kind\"", "\"sort\"")).contains("unknown field `sort`"));
        assert!(bad(&text.replace("\"format\": 1", "\"format\": 7")).contains("has format 7, expected 1"));
        let mut two = plans();
        two.functions.push(two.functions[0].clone());
        assert!(bad(&two.text().unwrap()).contains("two plans of `f`"));
        assert!(bad(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).contains("recursion"));
    }
}
