//! The header: magic, version, length, and `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

/// Most axes that NumPy itself allows.
const MAX_AXES: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// For example `<f4`.
    pub descr: String,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
    /// Where the data starts in the file.
    pub data: usize,
}

pub fn parse(bytes: &[u8]) -> Result<Header, String> {
    let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
        return Err("not an npy file: the first six bytes are not those of one".into());
    };
    let (length, start) = match *rest {
        [1, _, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 10),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
        [1..=3, ..] | [] => return Err("the header is cut off".into()),
        [version, ..] => return Err(format!("npy version {version} is unknown")),
    };
    let Some(text) = bytes[start..].get(..length) else {
        let there = bytes.len() - start;
        return Err(format!("the header claims {length} bytes, the file has {there} after the length"));
    };
    let text = std::str::from_utf8(text).map_err(|_| "the header is not UTF-8 text".to_string())?;
    let mut scan = Scan { left: text };
    scan.dictionary(start + length)
}

struct Scan<'a> {
    left: &'a str,
}

impl<'a> Scan<'a> {
    fn dictionary(&mut self, data: usize) -> Result<Header, String> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.take("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => descr = Some(self.string()?.to_string()),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return Err(format!("the header has an unknown key `{}`", clip(key))),
            }
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.left.trim_matches([' ', '\n', '\0']).is_empty() {
            return Err("text follows the header's dictionary".into());
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Header { descr, fortran_order, shape, data }),
            _ => Err("the header lacks `descr`, `fortran_order` or `shape`".into()),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.left = self.left.trim_start();
        match self.left.strip_prefix(token) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            return Ok(());
        }
        Err(format!("the header reads `{}` where `{token}` was expected", clip(self.left)))
    }

    fn string(&mut self) -> Result<&'a str, String> {
        if self.take("[") {
            return Err("records are not read, only plain arrays".into());
        }
        let quote = if self.take("\"") {
            '"'
        } else {
            self.expect("'")?;
            '\''
        };
        let (text, left) = self.left.split_once(quote).ok_or("the header holds an unfinished string")?;
        self.left = left;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.take("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            self.left = self.left.trim_start();
            let digits = self.left.len() - self.left.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, left) = self.left.split_at(digits);
            let size = number.parse::<usize>().map_err(|_| format!("the shape holds `{}`", clip(self.left)))?;
            self.left = left;
            sizes.push(size);
            if sizes.len() > MAX_AXES {
                return Err(format!("the shape has more than {MAX_AXES} axes"));
            }
            // Python 2 wrote long integers with an `L`.
            self.take("L");
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }
}

/// A few characters for a message.
fn clip(text: &str) -> String {
    text.chars().take(24).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dictionary: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((dictionary.len() as u16).to_le_bytes());
        bytes.extend(dictionary.bytes());
        bytes
    }

    #[test]
    fn spellings_that_numpy_has_used() {
        for (text, shape) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }      \n", vec![3, 4]),
            ("{'shape':(3,),'fortran_order':False,'descr':'<f4'}", vec![3]),
            ("{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": ()}\n", vec![]),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4L), }", vec![3, 4]),
        ] {
            let header = parse(&file(text)).unwrap();
            assert_eq!((header.shape, &header.descr[..], header.fortran_order), (shape, "<f4", false));
        }
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        let deep = "(".repeat(60_000);
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} and more",
            &deep,
            &format!("{{'shape': {deep}"),
        ] {
            assert!(parse(&file(text)).is_err(), "{}", clip(text));
        }
        assert!(parse(b"\x93NUMPY\x04\x00\x00\x00").unwrap_err().contains("version 4"));
        assert!(parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").unwrap_err().contains("4294967295"));
    }
}
