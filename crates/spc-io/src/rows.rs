//! Lists of rows, as `split { test = rows("test_rows.txt"), train = rest }` names them.
use crate::error::{malformed, unfit};
use crate::source::{MAX_BYTES, read_plain};
use spc_base::Diagnostic;
use std::path::Path;

/// Reads row numbers, counted from 0, one a line; empty lines are skipped. Each must be below `rows` and occur once.
/// The order of the file is kept. Errors: SP0401, SP0402, SP0408.
pub fn read_row_list(path: &Path, rows: usize) -> Result<Vec<usize>, Diagnostic> {
    let bytes = read_plain(path, MAX_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| malformed(path, format!("not UTF-8 text: {e}")))?;
    let mut seen = vec![false; rows];
    let mut list = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), i + 1);
        if line.is_empty() {
            continue;
        }
        let Ok(row) = line.parse::<usize>() else {
            let shown: String = line.chars().take(40).collect();
            return Err(malformed(path, format!("line {number}: `{shown}` is not a row number")));
        };
        match seen.get_mut(row) {
            None => {
                return Err(unfit(path, format!("line {number}: row {row} is not there, the data has {rows} rows")));
            }
            Some(true) => return Err(unfit(path, format!("line {number}: row {row} is listed twice"))),
            Some(new) => *new = true,
        }
        list.push(row);
    }
    Ok(list)
}

/// The rows below `rows` that `list` does not name, ascending.
pub fn rest_of_rows(list: &[usize], rows: usize) -> Vec<usize> {
    let mut named = vec![false; rows];
    for &row in list {
        if let Some(slot) = named.get_mut(row) {
            *slot = true;
        }
    }
    (0..rows).filter(|&r| !named[r]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_base::codes;

    fn read(text: &[u8], rows: usize) -> Result<Vec<usize>, Diagnostic> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_row_list(file.path(), rows)
    }

    #[test]
    fn rows_are_checked() {
        assert_eq!(read(b"3\n0\r\n\n 2 \n", 4).unwrap(), [3, 0, 2]);
        assert_eq!(read(b"", 4).unwrap(), Vec::<usize>::new());
        assert_eq!(read(b"4\n", 4).unwrap_err().code, codes::DATA);
        assert_eq!(read(b"1\n1\n", 4).unwrap_err().code, codes::DATA);
        for bad in [&b"-1\n"[..], b"1.5", b"row", b"\xff", b"99999999999999999999999"] {
            assert_eq!(read(bad, 4).unwrap_err().code, codes::BAD_FILE);
        }
        assert!(read(b"1\nx\n", 4).unwrap_err().message.contains("line 2"));
    }

    #[test]
    fn the_rest_is_what_is_left() {
        assert_eq!(rest_of_rows(&[3, 0], 5), [1, 2, 4]);
        assert_eq!(rest_of_rows(&[], 2), [0, 1]);
    }
}
