//! The folder of the VS Code extension: what it names is there.
use serde_json::Value;

fn json(path: &str) -> Value {
    let text = std::fs::read_to_string(crate::top().join(path)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn exists(path: &str) -> bool {
    crate::top().join("editors/vscode").join(path).is_file()
}

#[test]
fn the_extension_contributes_the_language_and_starts_the_server() {
    let package = json("editors/vscode/package.json");
    let language = &package["contributes"]["languages"][0];
    assert_eq!(language["id"], "spc");
    assert_eq!(language["extensions"], serde_json::json!([".sp"]));
    assert!(exists(language["configuration"].as_str().unwrap()));
    let grammar = &package["contributes"]["grammars"][0];
    assert_eq!(grammar["language"], "spc");
    assert_eq!(grammar["scopeName"], json("grammar/textmate/spc.tmLanguage.json")["scopeName"]);
    assert!(exists(grammar["path"].as_str().unwrap()));
    assert_eq!(package["activationEvents"], serde_json::json!(["onLanguage:spc"]));
    assert_eq!(package["contributes"]["configuration"]["properties"]["spc.path"]["default"], "spc");
    assert!(exists("src/extension.ts"));
    let source = std::fs::read_to_string(crate::top().join("editors/vscode/src/extension.ts")).unwrap();
    assert!(source.contains("args: [\"lsp\"]"), "the server is `spc lsp`");
    let client = package["dependencies"]["vscode-languageclient"].as_str().unwrap();
    assert!(client.starts_with(|c: char| c.is_ascii_digit()), "{client} is no exact version");
}

/// An extension can hold only files of its own folder, so the grammar is there twice.
#[test]
fn the_extension_has_the_grammar() {
    assert_eq!(json("editors/vscode/syntaxes/spc.tmLanguage.json"), json("grammar/textmate/spc.tmLanguage.json"));
}

#[test]
fn brackets_and_comments_are_those_of_the_language() {
    let config = json("editors/vscode/language-configuration.json");
    assert_eq!(config["comments"]["lineComment"], "//");
    assert_eq!(config["brackets"], serde_json::json!([["{", "}"], ["[", "]"], ["(", ")"]]));
    // Lines that start an item are not indented on their own.
    assert!(config["indentationRules"]["increaseIndentPattern"].is_string());
}

/// The files that editors are told to read are there.
#[test]
fn the_guide_names_files_that_exist() {
    let guide = std::fs::read_to_string(crate::top().join("docs/editors.md")).unwrap()
        + &std::fs::read_to_string(crate::top().join("editors/README.md")).unwrap();
    let mut count = 0;
    for word in guide.split(['`', '"', ' ', '\n', '(', ')']) {
        if ["grammar/", "editors/", "docs/"].iter().any(|f| word.starts_with(f)) {
            let path = word.trim_end_matches(['.', ',']);
            assert!(crate::top().join(path).exists(), "{path}");
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}
