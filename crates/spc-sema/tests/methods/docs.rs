//! Every block of the reference's sections on time, methods and training checks.
use super::checked;

#[test]
fn blocks_of_the_reference_check() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut seen = 0;
    for title in ["Time", "Methods", "Training"] {
        let start = text.find(&format!("## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
        let rest = &text[start + 4..];
        let section = &rest[..rest.find("\n## ").unwrap_or(rest.len())];
        for block in section.split("\n\n").filter(|b| b.starts_with("    ")) {
            let program: String = block.lines().map(|l| format!("{}\n", l.strip_prefix("    ").unwrap_or(l))).collect();
            let found = checked(&program).diagnostics;
            assert!(found.is_empty(), "{program}\n{found:?}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}
