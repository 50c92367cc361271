//! Lines and the WordPiece tokenizer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::result_large_err, clippy::print_stderr)]
mod common;

use common::{Scratch, complete, every_flip, every_truncation};
use serde_json::{Value, json};
use spc_base::{Diagnostic, codes};
use spc_io::{Encoding, Tokenizer, read_lines};
use std::path::Path;

fn small() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
            {"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}
        },
        "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "the": 4, "cat": 5, "##s": 6, "sat": 7, ".": 8}
        }
    })
}

fn open(json: &Value) -> Result<Tokenizer, Diagnostic> {
    Tokenizer::open(&Scratch::with("tokenizer.json", json.to_string().as_bytes()).path())
}

fn row(e: &Encoding, row: usize) -> (Vec<i32>, usize) {
    let width = e.ids.shape()[1];
    let ids = e.ids.as_i32().unwrap()[row * width..(row + 1) * width].to_vec();
    let real = &e.real.as_bool().unwrap()[row * width..(row + 1) * width];
    let used = real.iter().filter(|&&r| r).count();
    assert!(real[..used].iter().all(|&r| r), "padding lies at the end");
    (ids, used)
}

#[test]
fn words_pieces_padding_and_truncation() {
    let t = open(&small()).unwrap();
    let e = t.encode(&["The cats sat.", "", "dog", "the the the the the the the"], 8).unwrap();
    assert_eq!((e.ids.shape(), e.real.shape()), (&[4, 8][..], &[4, 8][..]));
    assert_eq!(row(&e, 0), (vec![2, 4, 5, 6, 7, 8, 3, 0], 7));
    assert_eq!(row(&e, 1), (vec![2, 3, 0, 0, 0, 0, 0, 0], 2));
    assert_eq!(row(&e, 2), (vec![2, 1, 3, 0, 0, 0, 0, 0], 3));
    assert_eq!(row(&e, 3), (vec![2, 4, 4, 4, 4, 4, 4, 3], 8));
    assert_eq!(e.truncated, 1);
    assert_eq!(t.encode(&["the the"], 3).unwrap().ids.as_i32().unwrap(), [2, 4, 3]);
    assert_eq!(t.encode(&["the"], 2).unwrap_err().code, codes::DATA);
    assert_eq!(t.encode(&["the"], usize::MAX).unwrap_err().code, codes::DATA);
    let none: [&str; 0] = [];
    assert_eq!(t.encode(&none, 8).unwrap().ids.shape(), [0, 8]);
}

#[test]
fn bert_processing_and_no_processing() {
    let mut json = small();
    json["post_processor"] = json!({"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]});
    json["padding"] = json!({"direction": "Right", "pad_id": 9});
    assert_eq!(open(&json).unwrap().encode(&["cat"], 4).unwrap().ids.as_i32().unwrap(), [2, 5, 3, 9]);
    json["post_processor"] = Value::Null;
    assert_eq!(open(&json).unwrap().encode(&["cat"], 2).unwrap().ids.as_i32().unwrap(), [5, 9]);
}

#[test]
fn parts_that_are_not_read_are_refused() {
    let changes: [(&str, Value); 14] = [
        ("/model/type", json!("BPE")),
        ("/model", Value::Null),
        ("/model/vocab", json!({"a": -1})),
        ("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("/normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Replace"}]})),
        ("/normalizer", json!({"type": "Sequence"})),
        ("/normalizer", json!(7)),
        ("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "(a*)*b"}})),
        ("/padding", json!({"direction": "Left", "pad_id": 0})),
        ("/padding", json!({"pad_id": 5_000_000_000u64})),
        ("/post_processor/single/1/Sequence/id", json!("B")),
        ("/post_processor/single/0/SpecialToken/id", json!("[NONE]")),
        ("/post_processor/single", json!([])),
        ("/post_processor/type", json!("ByteLevel")),
    ];
    for (place, value) in changes {
        let mut json = small();
        *json.pointer_mut(place).unwrap() = value;
        let Err(d) = open(&json) else { panic!("{place} was accepted") };
        complete(&d);
        assert_eq!(d.code, codes::TOKENIZER, "{place}");
    }
    for text in ["", "[]", "7", "{}", "null", "\"x\"", "{\"model\": 3}"] {
        let d = Tokenizer::open(&Scratch::with("t", text.as_bytes()).path()).err().unwrap();
        assert_eq!(d.code, codes::TOKENIZER, "{text}");
    }
    assert_eq!(Tokenizer::open(Path::new("no/such.json")).err().unwrap().code, codes::TOKENIZER);
}

#[test]
fn damaged_tokenizers_are_refused_or_harmless() {
    let text = small().to_string();
    let read = |path: &Path| {
        Tokenizer::open(path)?.encode(&["The cats [SEP] sat \u{fffd}\u{200b} na\u{ef}ve \u{4e2d}", "##s"], 6)
    };
    every_truncation(text.as_bytes(), "tokenizer.json", read);
    assert!(every_flip(text.as_bytes(), "tokenizer.json", read) > text.len());
}

#[test]
fn lines_of_text() {
    let read = |bytes: &[u8]| read_lines(&Scratch::with("s.txt", bytes).path());
    assert_eq!(read("\u{feff}One.\r\n\n  \nTwo, na\u{ef}ve \n".as_bytes()).unwrap(), ["One.", "Two, na\u{ef}ve "]);
    assert_eq!(read(b"\n \n").unwrap_err().code, codes::DATA);
    let d = read(b"good\nb\xffd\n").unwrap_err();
    assert_eq!(d.code, codes::BAD_FILE);
    assert!(d.message.contains("line 2"), "{d}");
}

#[test]
fn minilm_ids_agree_with_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/minilm");
    if !folder.join("tokenizer.json").exists() {
        spc_base::skipped("examples/minilm/tokenizer.json is not there (get.sh fetches it)");
        return;
    }
    let reference: Value = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let length = reference["length"].as_u64().unwrap() as usize;
    let e = Tokenizer::open(&folder.join("tokenizer.json")).unwrap().encode(&texts, length).unwrap();
    assert!(!texts.is_empty());
    for (i, text) in texts.iter().enumerate() {
        let (ids, used) = row(&e, i);
        let expected: Vec<i32> = serde_json::from_value(reference["ids"][i].clone()).unwrap();
        let real: Vec<usize> = serde_json::from_value(reference["real"][i].clone()).unwrap();
        assert_eq!(ids, expected, "{text}");
        assert_eq!(used, real.iter().sum::<usize>(), "{text}");
    }
    assert_eq!(e.truncated, 1);
}
