//! Text, one string a line, and the WordPiece tokenizer of a `tokenizer.json`.
//!
//! The file is looked through before the tokenizers library sees it: only parts that BERT-like models use are accepted.
//! Special tokens, truncation and padding are done here, from what the file says, to the length that the program says.
use crate::error::{malformed, tokenizer as refuse, unfit};
use crate::source::{MAX_BYTES, read_plain};
use crate::{Tensor, TensorData};
use serde_json::Value;
use spc_base::{Diagnostic, codes};
use std::path::{Path, PathBuf};

/// Largest tokenizer file.
const MAX_TOKENIZER: u64 = 64 << 20;

/// The lines of a UTF-8 file, without line ends and a byte-order mark; empty lines are left out.
/// Errors: SP0401, SP0402; SP0408 where no line is left.
pub fn read_lines(path: &Path) -> Result<Vec<String>, Diagnostic> {
    let bytes = read_plain(path, MAX_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
        malformed(path, format!("line {line}: not UTF-8 text"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<String> = text.lines().filter(|l| !l.trim().is_empty()).map(str::to_string).collect();
    if lines.is_empty() {
        return Err(unfit(path, "there is no text in the file"));
    }
    Ok(lines)
}

/// A WordPiece tokenizer.
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    before: Vec<i32>,
    after: Vec<i32>,
    pad: i32,
}

/// Token ids `i32[rows, T]`, and `bool[rows, T]` that is true where a token is real and false where it is padding.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    pub ids: Tensor,
    pub real: Tensor,
    /// How many of the texts were longer than `T` and lost their end.
    pub truncated: usize,
}

impl Tokenizer {
    /// Errors: SP0410, for a missing file too.
    pub fn open(path: &Path) -> Result<Tokenizer, Diagnostic> {
        let bytes = read_plain(path, MAX_TOKENIZER)
            .map_err(|d| Diagnostic::error(codes::TOKENIZER, d.message).note("a tokenizer.json is needed"))?;
        let mut json: Value =
            serde_json::from_slice(&bytes).map_err(|e| refuse(path, format!("not a tokenizer.json: {e}")))?;
        Tokenizer::from_json(path, &mut json).map_err(|what| refuse(path, what))
    }

    fn from_json(path: &Path, json: &mut Value) -> Result<Tokenizer, String> {
        match json["model"]["type"].as_str() {
            Some("WordPiece") => {}
            Some(other) => return Err(format!("its model is {other}, only WordPiece is read")),
            None => return Err("it names no model".into()),
        }
        known(&json["normalizer"], &["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"])?;
        known(&json["pre_tokenizer"], &["BertPreTokenizer", "Whitespace", "WhitespaceSplit"])?;
        for part in ["truncation", "padding"] {
            if json[part]["direction"].as_str().is_some_and(|d| d != "Right") {
                return Err(format!("{part} on the left is not done"));
            }
        }
        let (before, after) = special(&json["post_processor"])?;
        let pad = match json["padding"]["pad_id"].as_u64() {
            Some(id) => Some(id),
            None => json["model"]["vocab"]["[PAD]"].as_u64(),
        };
        let pad = token_id(pad).ok_or("it names no padding token")?;
        for part in ["post_processor", "truncation", "padding", "decoder"] {
            json[part] = Value::Null;
        }
        let text = serde_json::to_vec(json).map_err(|e| e.to_string())?;
        let inner = tokenizers::Tokenizer::from_bytes(text).map_err(|e| e.to_string())?;
        Ok(Tokenizer { path: path.into(), inner, before, after, pad })
    }

    /// Encodes each text to exactly `length` ids: the special tokens around as much of the text as fits, then padding.
    /// Errors: SP0410 where the library refuses, SP0408 where `length` cannot hold the special tokens.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S], length: usize) -> Result<Encoding, Diagnostic> {
        let special = self.before.len() + self.after.len();
        let Some(room) = length.checked_sub(special).filter(|&room| room > 0) else {
            let what = format!("length {length} leaves no room beside {special} special tokens");
            return Err(unfit(&self.path, what));
        };
        let total = texts.len().checked_mul(length).filter(|&n| n as u64 <= MAX_BYTES / 4);
        let Some(total) = total else {
            return Err(unfit(&self.path, format!("{} texts of length {length} are too many", texts.len())));
        };
        let (mut ids, mut real, mut truncated) = (Vec::with_capacity(total), Vec::with_capacity(total), 0);
        for text in texts {
            let encoded = self.inner.encode_fast(text.as_ref(), false).map_err(|e| refuse(&self.path, e))?;
            let found = encoded.get_ids();
            truncated += usize::from(found.len() > room);
            let row = ids.len();
            ids.extend_from_slice(&self.before);
            for &id in found.iter().take(room) {
                let id = i32::try_from(id).map_err(|_| refuse(&self.path, format!("token id {id} is too large")))?;
                ids.push(id);
            }
            ids.extend_from_slice(&self.after);
            let used = ids.len() - row;
            ids.resize(row + length, self.pad);
            real.extend((0..length).map(|i| i < used));
        }
        let tensor = |data: TensorData| Tensor::of_rows(texts.len(), &[length], data);
        Ok(Encoding { ids: tensor(ids.into()), real: tensor(real.into()), truncated })
    }
}

/// True for null, one of the types, or a Sequence of them.
fn known(part: &Value, types: &[&str]) -> Result<(), String> {
    match part["type"].as_str() {
        None if part.is_null() => Ok(()),
        Some("Sequence") => {
            let steps = part["normalizers"].as_array().or_else(|| part["pretokenizers"].as_array());
            let steps = steps.ok_or("a Sequence holds no steps")?;
            match steps.iter().find(|s| !s["type"].as_str().is_some_and(|t| types.contains(&t))) {
                None => Ok(()),
                Some(step) => Err(format!("a step of type {} is not read", step["type"])),
            }
        }
        Some(name) if types.contains(&name) => Ok(()),
        _ => Err(format!("a part of type {} is not read", part["type"])),
    }
}

/// The ids before and after a single text.
fn special(processor: &Value) -> Result<(Vec<i32>, Vec<i32>), String> {
    let id = |value: &Value| token_id(value.as_u64()).ok_or_else(|| "a special token has no id".to_string());
    match processor["type"].as_str() {
        None if processor.is_null() => Ok((Vec::new(), Vec::new())),
        Some("BertProcessing") => Ok((vec![id(&processor["cls"][1])?], vec![id(&processor["sep"][1])?])),
        Some("TemplateProcessing") => {
            let template = processor["single"].as_array().ok_or("the template has no `single`")?;
            let (mut sides, mut side) = ([Vec::new(), Vec::new()], 0);
            for piece in template {
                if let Some(name) = piece["SpecialToken"]["id"].as_str() {
                    let ids = processor["special_tokens"][name]["ids"].as_array();
                    for value in ids.ok_or_else(|| format!("the template's token `{name}` is not defined"))? {
                        sides[side].push(id(value)?);
                    }
                } else if piece["Sequence"]["id"] == "A" && side == 0 {
                    side = 1;
                } else {
                    return Err("the template holds something other than special tokens around one text".into());
                }
            }
            if side == 0 {
                return Err("the template does not hold the text".into());
            }
            let [before, after] = sides;
            Ok((before, after))
        }
        _ => Err(format!("a post-processor of type {} is not read", processor["type"])),
    }
}

fn token_id(value: Option<u64>) -> Option<i32> {
    value.and_then(|id| i32::try_from(id).ok())
}
