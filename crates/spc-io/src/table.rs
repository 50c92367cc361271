//! Tables of comma-separated values, plain or gzip, without a header line.
use crate::Tensor;
use crate::error::{malformed, unfit};
use crate::source::{MAX_BYTES, read_gzip};
use spc_base::Diagnostic;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most cells of one table.
const MAX_CELLS: usize = 1 << 28;

/// The cells of a csv file as text; all rows have the same number of columns. Rows and columns count from 0.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    columns: usize,
    text: Vec<u8>,
    /// Where each cell ends in `text`, row by row.
    ends: Vec<u32>,
}

/// Errors: SP0401; SP0402 for damaged gzip, rows of different lengths, no rows at all, or more than 1 GiB of text.
pub fn read_csv(path: &Path) -> Result<Table, Diagnostic> {
    let bytes = read_gzip(path, MAX_BYTES)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
    let mut table = Table { path: path.into(), columns: 0, text: Vec::new(), ends: Vec::new() };
    let mut record = csv::ByteRecord::new();
    let mut row = 0usize;
    while reader.read_byte_record(&mut record).map_err(|e| malformed(path, e))? {
        if row == 0 {
            table.columns = record.len();
        }
        if record.len() != table.columns {
            let (found, expected) = (record.len(), table.columns);
            return Err(malformed(path, format!("row {row} has {found} columns, row 0 has {expected}")));
        }
        if table.ends.len() + record.len() > MAX_CELLS {
            return Err(malformed(path, format!("row {row}: more than {MAX_CELLS} cells")));
        }
        for cell in &record {
            table.text.extend_from_slice(cell);
            // The text is never longer than the file, which is bounded by 1 GiB.
            table.ends.push(table.text.len() as u32);
        }
        row += 1;
    }
    if table.columns == 0 {
        return Err(malformed(path, "the table holds no rows"));
    }
    Ok(table)
}

impl Table {
    pub fn rows(&self) -> usize {
        self.ends.len() / self.columns
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// `f32[rows, range]`. A cell must be a finite number in decimal notation, rounded to the nearest `f32`.
    /// Errors: SP0408 with row and column.
    pub fn f32_columns(&self, range: Range<usize>) -> Result<Tensor, Diagnostic> {
        let width = range.len();
        let values =
            self.cells(range, "a finite f32 number", |cell| cell.parse::<f32>().ok().filter(|v| v.is_finite()))?;
        Ok(Tensor::of_rows(self.rows(), &[width], values))
    }

    /// `i32[rows, range]`. A cell must be an integer in range; `3.0` is none. Errors: SP0408.
    pub fn i32_columns(&self, range: Range<usize>) -> Result<Tensor, Diagnostic> {
        let width = range.len();
        let values = self.cells(range, "an i32 integer", |cell| cell.parse::<i32>().ok())?;
        Ok(Tensor::of_rows(self.rows(), &[width], values))
    }

    /// `bool[rows, range]`: `0`, `1`, `false` or `true`. Errors: SP0408.
    pub fn bool_columns(&self, range: Range<usize>) -> Result<Tensor, Diagnostic> {
        let width = range.len();
        let values = self.cells(range, "0, 1, false or true", |cell| match cell {
            "0" | "false" => Some(false),
            "1" | "true" => Some(true),
            _ => None,
        })?;
        Ok(Tensor::of_rows(self.rows(), &[width], values))
    }

    /// `f32[rows]`. Errors: SP0408.
    pub fn f32_column(&self, column: usize) -> Result<Tensor, Diagnostic> {
        Ok(flat(self.f32_columns(one(column))?))
    }

    /// `i32[rows]`. Errors: SP0408.
    pub fn i32_column(&self, column: usize) -> Result<Tensor, Diagnostic> {
        Ok(flat(self.i32_columns(one(column))?))
    }

    /// `bool[rows]`. Errors: SP0408.
    pub fn bool_column(&self, column: usize) -> Result<Tensor, Diagnostic> {
        Ok(flat(self.bool_columns(one(column))?))
    }

    fn cells<T>(&self, range: Range<usize>, wanted: &str, parse: fn(&str) -> Option<T>) -> Result<Vec<T>, Diagnostic> {
        let (path, columns) = (&self.path, self.columns);
        if range.start >= range.end || range.end > columns {
            let last = range.end.saturating_sub(1);
            return Err(unfit(path, format!("column {last} is not there, columns are 0 to {}", columns - 1)));
        }
        let mut values = Vec::with_capacity(self.rows() * range.len());
        for row in 0..self.rows() {
            for column in range.clone() {
                let cell = String::from_utf8_lossy(self.cell(row, column));
                let Some(value) = parse(cell.trim()) else {
                    let shown: String = cell.chars().take(40).collect();
                    return Err(unfit(path, format!("row {row}, column {column}: `{shown}` is not {wanted}"))
                        .note("rows and columns count from 0; a line of column names is not expected"));
                };
                values.push(value);
            }
        }
        Ok(values)
    }

    fn cell(&self, row: usize, column: usize) -> &[u8] {
        let i = row * self.columns + column;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start as usize..self.ends[i] as usize]
    }
}

fn one(column: usize) -> Range<usize> {
    column..column.saturating_add(1)
}

/// `[rows, 1]` as `[rows]`.
fn flat(tensor: Tensor) -> Tensor {
    let (shape, data) = tensor.into_parts();
    Tensor::of_rows(shape[0], &[], data)
}
