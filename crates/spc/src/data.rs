//! Data sources: members as tensors, one row of the first axis for each row of the file.
use crate::failure::Res;
use crate::load::Source;
use crate::session::Session;
use crate::share::shares;
use spc_base::{Bug, Diagnostic, codes};
use spc_io::{Encoding, Npz, Table, Tensor, TensorData};
use spc_ir::DType;
use spc_sema::{Column, Data, DataMember, DataRef, SplitRows};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An open data file.
enum Opened {
    Csv(Table),
    Npy(Tensor),
    Npz(Npz),
    Text(Vec<String>),
}

/// Data files that were opened and texts that were encoded, each once.
#[derive(Default)]
pub struct DataCache {
    files: BTreeMap<String, Opened>,
    encoded: BTreeMap<(String, PathBuf, usize), Encoding>,
}

impl DataCache {
    /// A member, `[rows, ..]`; with a split, its rows in the order of the split.
    ///
    /// # Errors
    /// SP0401, SP0402, SP0408, SP0410, with the words that name the file or the member.
    pub fn member(&mut self, s: &mut Session<'_>, source: &Source, r: &DataRef) -> Res<Tensor> {
        let data = source.module.data(&r.data).ok_or_else(|| Bug::new(format!("no data source {}", r.data)))?;
        let member = data.members.iter().find(|m| m.name == r.member);
        let member = member.ok_or_else(|| Bug::new(format!("no member {}.{}", r.data, r.member)))?;
        let whole = self.column(s, source, data, member)?;
        let split = r.split.as_ref().and_then(|n| data.splits.iter().find(|(name, _)| name == n));
        match split {
            None => Ok(whole),
            Some((_, rows)) => {
                let count = whole.shape().first().copied().unwrap_or(0);
                let by = data.by.as_ref().and_then(|b| data.members.iter().find(|m| m.name == *b));
                let classes = by.map(|m| self.column(s, source, data, m)).transpose()?;
                let classes = classes.as_ref().and_then(Tensor::as_i32);
                Ok(whole.take_rows(&split_rows(s, source, data, rows, count, classes)?)?)
            }
        }
    }

    fn open(&mut self, s: &Session<'_>, source: &Source, data: &Data) -> Res<&Opened> {
        if !self.files.contains_key(&data.name) {
            let opened = open(s, source, data).map_err(|d| named(d, data.source.span))?;
            self.files.insert(data.name.clone(), opened);
        }
        self.files.get(&data.name).ok_or_else(|| Bug::new("an open file vanished").into())
    }

    fn column(&mut self, s: &mut Session<'_>, source: &Source, data: &Data, m: &DataMember) -> Res<Tensor> {
        if let Column::Tokens { tokenizer, length, index, span } = &m.column {
            let path = source.base.join(tokenizer);
            let key = (data.name.clone(), path.clone(), *length);
            if !self.encoded.contains_key(&key) {
                let Opened::Text(lines) = self.open(s, source, data)? else {
                    return Err(Bug::new("tokens of something that is no text").into());
                };
                let lines = lines.clone();
                let tokenizer = s.world.tokenizer(&path).map_err(|d| named(d, *span))?;
                let encoding = tokenizer.encode(&lines, *length).map_err(|d| named(d, *span))?;
                if encoding.truncated > 0 {
                    let n = encoding.truncated;
                    let text =
                        format!("{n} of {} texts have more than {length} tokens and lost their end", lines.len());
                    s.warn(Diagnostic::warning(codes::DATA, text).at(m.span, "encoded here"));
                }
                self.encoded.insert(key.clone(), encoding);
            }
            let e = self.encoded.get(&key).ok_or_else(|| Bug::new("an encoding vanished"))?;
            return Ok(if *index == 0 { e.ids.clone() } else { e.real.clone() });
        }
        let opened = self.open(s, source, data)?;
        let tensor = read(opened, m, &m.column).map_err(|d| named(d, m.span))?;
        check(&tensor, m)?;
        Ok(tensor)
    }
}

fn named(d: Diagnostic, span: spc_base::Span) -> Diagnostic {
    if d.primary.is_none() { d.at(span, "read here") } else { d }
}

fn path(s: &Session<'_>, source: &Source, data: &Data) -> PathBuf {
    s.options.data.get(&data.name).cloned().unwrap_or_else(|| source.base.join(&data.source.path))
}

fn open(s: &Session<'_>, source: &Source, data: &Data) -> Result<Opened, Diagnostic> {
    let path = path(s, source, data);
    match data.source.format.as_str() {
        "csv" => s.world.csv(&path).map(Opened::Csv),
        "npy" => s.world.npy(&path).map(Opened::Npy),
        "npz" => s.world.npz(&path).map(Opened::Npz),
        "text" if !s.options.texts.is_empty() => Ok(Opened::Text(s.options.texts.clone())),
        "text" => s.world.lines(&path).map(Opened::Text),
        other => Err(Diagnostic::error(codes::NOT_YET, format!("data from `{other}` cannot be read yet"))),
    }
}

fn split_rows(
    s: &Session<'_>,
    source: &Source,
    data: &Data,
    rows: &SplitRows,
    count: usize,
    classes: Option<&[i32]>,
) -> Res<Vec<usize>> {
    let listed = |path: &str, span| {
        let path: &Path = &source.base.join(path);
        s.world.row_list(path, count).map_err(|d| named(d, span))
    };
    Ok(match rows {
        SplitRows::File { path, span } => listed(path, *span)?,
        SplitRows::Range(a, b) if *b <= count => (*a..*b).collect(),
        SplitRows::Range(_, b) => {
            let text = format!("the data has {count} rows, and a split of it ends at {b}");
            return Err(Diagnostic::error(codes::DATA, text).at(data.span, "declared here").into());
        }
        SplitRows::Share { .. } => {
            let parts: Vec<(&SplitRows, (u64, u64))> = data
                .splits
                .iter()
                .filter_map(|(_, r)| if let SplitRows::Share { num, den } = r { Some((r, (*num, *den))) } else { None })
                .collect();
            let sizes: Vec<(u64, u64)> = parts.iter().map(|p| p.1).collect();
            let place = parts.iter().position(|p| std::ptr::eq(p.0, rows));
            let place = place.ok_or_else(|| Bug::new("a share of another data source"))?;
            shares(&sizes, data.seed, count, classes).swap_remove(place)
        }
        SplitRows::Rest => {
            let mut named_rows = Vec::new();
            for (_, other) in data.splits.iter().filter(|(_, r)| *r != SplitRows::Rest) {
                named_rows.extend(split_rows(s, source, data, other, count, classes)?);
            }
            spc_io::rest_of_rows(&named_rows, count)
        }
    })
}

fn read(opened: &Opened, m: &DataMember, column: &Column) -> Result<Tensor, Diagnostic> {
    let unfit = |what: &str| Diagnostic::error(codes::DATA, format!("`{}`: {what}", m.name));
    match (column, opened) {
        (Column::Scaled { inner, op, by }, _) => {
            let t = read(opened, m, inner)?;
            let values = t.as_f32().ok_or_else(|| unfit("only f32 columns can be scaled"))?;
            // One rounding: f64 holds sums, products and quotients of two f32 closely enough.
            let f = |v: f64| match op {
                '+' => v + by,
                '-' => v - by,
                '*' => v * by,
                _ => v / by,
            };
            let scaled: Vec<f32> = values.iter().map(|v| f(f64::from(*v)) as f32).collect();
            if let Some(v) = scaled.iter().find(|v| !v.is_finite()) {
                return Err(unfit(&format!("scaling gives {v}")));
            }
            Tensor::new(t.shape().to_vec(), scaled).map_err(|b| unfit(&b.0))
        }
        (Column::Columns { from, to, single }, Opened::Csv(table)) => match (m.dtype, *single) {
            (DType::F32, true) => table.f32_column(*from),
            (DType::I32, true) => table.i32_column(*from),
            (DType::Bool, true) => table.bool_column(*from),
            (DType::F32, false) => table.f32_columns(*from..*to),
            (DType::I32, false) => table.i32_columns(*from..*to),
            (DType::Bool, false) => table.bool_columns(*from..*to),
        },
        (Column::Own, Opened::Npy(t)) => Ok(t.clone()),
        (Column::Own, Opened::Npz(z)) => z.tensor(&m.name),
        (Column::Field(name), Opened::Npz(z)) => z.tensor(name),
        (Column::Own, Opened::Csv(_)) => {
            Err(unfit("a member of a csv file says which columns it is")
                .help("write `= column(0)` or `= columns(0..64)`"))
        }
        (_, Opened::Csv(_)) => Err(unfit("a csv file has columns, not named fields")),
        (Column::Columns { .. }, _) => Err(unfit("only csv files have columns")),
        (Column::Field(_), _) => Err(unfit("only npz files have named fields")),
        (Column::Later { what, span }, _) => {
            Err(Diagnostic::error(codes::NOT_YET, format!("`{}` is checked, but {what} are not read yet", m.name))
                .at(*span, "not built yet"))
        }
        (_, Opened::Text(_)) => Err(unfit("a text is read through a tokenizer")
            .help("write `ids, real = wordpiece(\"tokenizer.json\", length: 128)`")),
        (Column::Tokens { .. }, _) => Err(unfit("only texts have tokens")),
    }
}

/// SP0408 unless type and shape after the row axis are the declared ones.
fn check(t: &Tensor, m: &DataMember) -> Res<()> {
    let dtype = match t.data() {
        TensorData::F32(_) => DType::F32,
        TensorData::I32(_) => DType::I32,
        TensorData::Bool(_) => DType::Bool,
    };
    let axes: Vec<String> = m.dims.iter().map(|d| d.axis.clone()).collect();
    let shape = t.shape();
    let fits = shape.len() == m.dims.len() + 1
        && m.dims.iter().zip(&shape[1..]).all(|(d, n)| d.size.fixed().is_none_or(|f| f == *n as u64));
    if dtype != m.dtype || !fits {
        let text = format!("`{}` is {dtype} of shape {shape:?} in the file", m.name);
        let sizes: Vec<String> =
            m.dims.iter().zip(&axes).map(|(d, a)| d.size.fixed().map_or(a.clone(), |n| format!("{a}={n}"))).collect();
        let label = format!("declared as {}[rows, {}]", m.dtype, sizes.join(", "));
        return Err(Diagnostic::error(codes::DATA, text).at(m.span, label).into());
    }
    Ok(())
}
