//! `spc average`: one model out of several that share their zeros (sparse model soups).
//!
//! The average of models trained from one pruned model under one mask is as sparse as they are.
//! Zimmer, Spiegel and Pokutta 2023.
use crate::export::half;
use crate::failure::{Failure, Res};
use crate::run::Done;
use crate::session::Session;
use serde_json::json;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Safetensors, Stored, StoredTensor, StoredType, Values, WeightFile};
use spc_report::percent;
use std::path::PathBuf;

/// Which zeros the average has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zeros {
    /// Those of every file, which must be the same in tensors of two or more axes.
    #[default]
    Same,
    /// Where any file has one: as sparse as the sparsest, and what the others had there is lost.
    Any,
    /// Where all files have one: what sparsity differs is lost.
    All,
}

/// What to average, and where to write it.
#[derive(Clone, Debug)]
pub struct Average {
    /// Two or more safetensors files of the same tensors.
    pub files: Vec<PathBuf>,
    /// A share for each file, adding up to 1; equal ones if empty.
    pub shares: Vec<f64>,
    pub zeros: Zeros,
    pub out: PathBuf,
    pub json: bool,
}

/// One tensor's zeros before and after.
struct Line {
    name: String,
    elements: u64,
    /// Zeros of the sparsest and the densest file, and of the average.
    most: u64,
    least: u64,
    left: u64,
}

/// Writes the average of the files: the same names, types and shapes. Sums are f64, in the order of the files; tensors of
/// integers or bools must be equal.
///
/// # Errors
/// SP0403, SP0404, SP0405 where the files have other tensors than the first; SP0406 for values that are not finite; SP0411
/// where zeros differ.
pub fn average_files(s: &mut Session<'_>, what: &Average) -> Res<Done> {
    let shares = shares(what)?;
    if let Some(f) = what.files.iter().find(|f| **f == what.out) {
        let text = format!("the average would replace `{}`, which it is made of", f.display());
        return Err(Failure::usage(Diagnostic::error(codes::WRITE, text)));
    }
    let files = what.files.iter().map(|f| s.world.weights(f)).collect::<Result<Vec<_>, _>>()?;
    let Some((first, rest)) = files.split_first() else { return Err(Bug::new("no files to average").into()) };
    let tensors = first.header().tensors();
    for (file, path) in rest.iter().zip(&what.files[1..]) {
        let (mine, theirs) = (&what.files[0].display(), path.display());
        for t in tensors {
            let Ok(other) = file.header().get(&t.name) else {
                let text = format!("`{theirs}` has no tensor `{}`, which `{mine}` has", t.name);
                return Err(Diagnostic::error(codes::NO_TENSOR, text).into());
            };
            if other.shape != t.shape {
                let text = format!("`{}` is {:?} in `{mine}` and {:?} in `{theirs}`", t.name, t.shape, other.shape);
                return Err(Diagnostic::error(codes::SHAPE, text).into());
            }
            if other.dtype != t.dtype {
                let text = format!("`{}` is {} in `{mine}` and {} in `{theirs}`", t.name, t.dtype, other.dtype);
                return Err(Diagnostic::error(codes::DTYPE, text).into());
            }
        }
        if let Some(more) = file.header().tensors().iter().find(|t| first.header().get(&t.name).is_err()) {
            let text = format!("`{mine}` has no tensor `{}`, which `{theirs}` has", more.name);
            return Err(Diagnostic::error(codes::NO_TENSOR, text).into());
        }
    }
    let (mut bytes, mut lines) = (Vec::new(), Vec::new());
    for (done, t) in (0u64..).zip(tensors) {
        s.progress.step("averaging", done, tensors.len() as u64);
        if !matches!(t.dtype, StoredType::F16 | StoredType::BF16 | StoredType::F32) {
            bytes.push(equal(&files, what, t)?);
            continue;
        }
        let values = files.iter().map(|f| f.f32(&t.name)).collect::<Result<Vec<_>, _>>()?;
        let values: Vec<&[f32]> = values.iter().map(|v| &**v).collect();
        let mean = Mean { name: &t.name, shares: &shares, what, weights: t.shape.len() >= 2 };
        let (mut out, mut line) = mean.of(&values)?;
        bytes.push(match t.dtype {
            StoredType::F16 => {
                spc_interp::round_f16(&mut out);
                out.iter().flat_map(|v| half(*v).to_le_bytes()).collect()
            }
            StoredType::BF16 => {
                spc_interp::round_bf16(&mut out);
                out.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()
            }
            _ => out.iter().flat_map(|v| v.to_le_bytes()).collect(),
        });
        line.left = out.iter().filter(|v| **v == 0.0).count() as u64;
        lines.extend(Some(line).filter(|l| t.shape.len() >= 2 && l.most > 0));
    }
    let all: Vec<Stored<'_>> = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, b)| Stored { name: &t.name, shape: &t.shape, values: Values::Raw(t.dtype, b) })
        .collect();
    s.world.write_safetensors(&what.out, &Safetensors::new(&all, first.header().metadata(), 8)?)?;
    Ok(show(&lines, what).into())
}

/// The bytes of a tensor that has no average, which must be the same in every file.
fn equal(files: &[WeightFile], what: &Average, t: &StoredTensor) -> Res<Vec<u8>> {
    let raw = files.iter().map(|f| f.bytes(&t.name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(i) = raw.iter().position(|r| *r != raw[0]) {
        let (a, b) = (what.files[0].display(), what.files[i].display());
        let text = format!("`{}` ({}) differs between `{a}` and `{b}`", t.name, t.dtype);
        return Err(Diagnostic::error(codes::DTYPE, text).note("only F32, F16 and BF16 are averaged").into());
    }
    Ok(raw[0].to_vec())
}

/// A share for each file.
fn shares(what: &Average) -> Res<Vec<f64>> {
    let n = what.files.len();
    let wrong = |text: String| Failure::usage(Diagnostic::error(codes::ARGUMENT, text));
    if n < 2 {
        return Err(wrong("an average needs two files or more".into()));
    }
    if what.shares.is_empty() {
        return Ok(vec![1.0 / n as f64; n]);
    }
    if what.shares.len() != n {
        return Err(wrong(format!("{} shares are given for {n} files", what.shares.len())));
    }
    let sum: f64 = what.shares.iter().sum();
    if what.shares.iter().any(|s| !s.is_finite() || *s < 0.0) || (sum - 1.0).abs() > 1e-6 {
        return Err(wrong(format!("shares are 0 or more and add up to 1, these to {sum}")));
    }
    Ok(what.shares.clone())
}

/// The average of one tensor.
struct Mean<'a> {
    name: &'a str,
    shares: &'a [f64],
    what: &'a Average,
    /// Two or more axes: its zeros are a mask.
    weights: bool,
}

impl Mean<'_> {
    fn of(&self, files: &[&[f32]]) -> Res<(Vec<f32>, Line)> {
        let n = files.first().map_or(0, |f| f.len());
        let mut out = Vec::with_capacity(n);
        let mut zeros = vec![0u64; files.len()];
        for i in 0..n {
            let (mut sum, mut none) = (0.0, 0usize);
            for (k, f) in files.iter().enumerate() {
                let v = f[i];
                if !v.is_finite() {
                    let text = format!("element {i} of `{}` in `{}` is {v}", self.name, self.what.files[k].display());
                    return Err(Diagnostic::error(codes::NOT_FINITE, text).into());
                }
                zeros[k] += u64::from(v == 0.0);
                none += usize::from(v == 0.0);
                sum += self.shares[k] * f64::from(v);
            }
            let differ = self.weights && none > 0 && none < files.len();
            if differ && self.what.zeros == Zeros::Same {
                return Err(self.refuse(files, i));
            }
            out.push(if differ && self.what.zeros == Zeros::Any { 0.0 } else { sum as f32 });
        }
        let (most, least) = (zeros.iter().copied().max(), zeros.iter().copied().min());
        let (most, least) = (most.unwrap_or(0), least.unwrap_or(0));
        Ok((out, Line { name: self.name.to_string(), elements: n as u64, most, least, left: 0 }))
    }

    fn refuse(&self, files: &[&[f32]], at: usize) -> Failure {
        let place = |zero: bool| files.iter().position(|f| (f[at] == 0.0) == zero).unwrap_or(0);
        let (zero, other) = (self.what.files[place(true)].display(), self.what.files[place(false)].display());
        let text = format!("the masks of `{}` differ: element {at} is 0 in `{zero}` and not in `{other}`", self.name);
        Diagnostic::error(codes::MASKS, text)
            .note("their average would have fewer zeros than they have")
            .help("`--zeros any` puts a zero where any file has one, `--zeros all` where all files have one")
            .into()
    }
}

fn show(lines: &[Line], what: &Average) -> String {
    if what.json {
        let list = lines.iter().map(
            |l| json!({ "name": l.name, "elements": l.elements, "zeros": l.left, "least": l.least, "most": l.most }),
        );
        let out = json!({ "file": what.out.display().to_string(), "tensors": list.collect::<Vec<_>>() });
        return format!("{out:#}\n");
    }
    let sum = |f: fn(&Line) -> u64| lines.iter().map(f).sum::<u64>();
    let (n, zeros) = (sum(|l| l.elements), sum(|l| l.left));
    let mut out = format!("{}: the average of {} files", what.out.display(), what.files.len());
    if n == 0 {
        return out + ", none of whose tensors has zeros\n";
    }
    out += &format!(
        "; {} of {} weights in {} tensors are 0 ({})",
        zeros,
        n,
        lines.len(),
        percent(zeros as f64 / n as f64)
    );
    let (least, most) = (sum(|l| l.least), sum(|l| l.most));
    if least != zeros || most != zeros {
        out += &format!("; the files have {least} to {most}");
    }
    out + "\n"
}
