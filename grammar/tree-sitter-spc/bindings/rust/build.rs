//! Compiles the generated parser.
fn main() {
    cc::Build::new()
        .include("src")
        .files(["src/parser.c", "src/scanner.c"])
        .flag_if_supported("-std=c11")
        .flag_if_supported("-Wno-unused-parameter")
        .compile("tree-sitter-spc");
    println!("cargo::rerun-if-changed=src");
}
