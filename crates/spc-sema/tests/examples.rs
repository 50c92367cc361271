//! The programs under `examples/` check without a diagnostic and elaborate to graphs of the expected shape.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{FileId, Limits};
use spc_ir::{Graph, Op, passes};
use spc_sema::{Checked, Library, check};

fn load(path: &str) -> Checked {
    let path = format!("{}/../../examples/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(&text, FileId(0), &limits);
    assert!(diags.is_empty(), "{diags:#?}");
    let checked = check(&ast, &text, &Library::load(), &limits);
    assert!(checked.diagnostics.is_empty(), "{:#?}", checked.diagnostics);
    checked
}

fn count(g: &Graph, f: impl Fn(&Op) -> bool) -> usize {
    g.ids().into_iter().filter(|n| f(&g.node(*n).unwrap().op)).count()
}

#[test]
fn digits_becomes_three_linears() {
    let c = load("digits/digits.sp");
    let g = &c.graphs["classify"];
    g.verify().unwrap();
    assert_eq!(&Graph::parse(&g.to_string()).unwrap(), g);
    let (g, _) = passes::run(g, None).unwrap();
    println!("{g}");
    assert_eq!(count(&g, |o| matches!(o, Op::Linear { bias: true, .. })), 3);
    assert_eq!(count(&g, |o| matches!(o, Op::Contract { .. })), 0);
    assert_eq!(count(&g, |o| matches!(o, Op::Map { .. })), 2, "one relu after each hidden layer");
    assert_eq!(c.module.requires.len(), 2);
}

#[test]
fn minilm_becomes_thirty_six_linears() {
    let c = load("minilm/minilm.sp");
    let g = &c.graphs["embed"];
    let (g, log) = passes::run(g, None).unwrap();
    println!("{g}\n{log:?}");
    assert_eq!(count(&g, |o| matches!(o, Op::Linear { bias: true, .. })), 36);
    assert_eq!(count(&g, |o| matches!(o, Op::Contract { .. })), 12, "scores and mix of each layer");
    let attn = &c.module.requires[0].keeps[0];
    assert_eq!(attn.members.len(), 24);
    assert!(attn.members.iter().all(|m| m.scope == [1, 4] && m.group() == Some(&[1, 1])));
}

/// Programs of the whole language that this version checks without an error.
#[test]
fn samples_check() {
    for name in ["digits", "minilm", "moe_top1", "multinomial_lasso", "resnet_channels", "smollm", "teddy_edges"] {
        let path = format!("{}/../../tests/samples/examples/{name}.sp", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let limits = Limits::default();
        let (ast, diags) = spc_syntax::parse(&text, FileId(0), &limits);
        assert!(diags.is_empty(), "{name}: {diags:#?}");
        let checked = check(&ast, &text, &Library::load(), &limits);
        assert!(!checked.has_errors(), "{name}: {:#?}", checked.diagnostics);
    }
}
