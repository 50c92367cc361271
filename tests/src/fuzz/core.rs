//! The core form against the program that it is the core of.
use spc_base::{FileId, Limits};
use spc_sema::{Checked, Library, Module, front};

/// Checks that the core form of a program without errors is a program without errors, stands for the same module and the
/// same graphs, and is its own core form.
pub fn assert_core(text: &str, checked: &Checked, lib: &Library) {
    let core = spc_syntax::print(&checked.module.core);
    let again = front(&core, FileId(0), lib, &Limits::default());
    let shown = || again.diagnostics.iter().map(|d| format!("{d}\n")).collect::<String>();
    assert!(!again.has_errors(), "the core form has errors:\n{}\n{core}\nof\n{text}", shown());
    if let Err(why) = same_module(&checked.module, &again.module) {
        panic!("the core form is another program: {why}\n{core}\nof\n{text}");
    }
    let graphs = |c: &Checked| c.graphs.values().map(|g| g.to_string()).collect::<Vec<_>>();
    assert_eq!(graphs(checked), graphs(&again), "the core form gives other graphs:\n{core}\nof\n{text}");
    assert_eq!(spc_syntax::print(&again.module.core), core, "the core form is not its own core form, of\n{text}");
}

/// Whether two modules are equal but for places in the text, the syntax tree and the core form; the first difference.
pub fn same_module(a: &Module, b: &Module) -> Result<(), String> {
    let (a, b) = (shown(a), shown(b));
    if a == b {
        return Ok(());
    }
    let at = a.lines().zip(b.lines()).position(|(x, y)| x != y).unwrap_or(0);
    let part = |t: &str| t.lines().skip(at.saturating_sub(12)).take(16).collect::<Vec<_>>().join("\n");
    Err(format!("{}\n--- against ---\n{}", part(&a), part(&b)))
}

/// All fields of a module but `ast` and `core`, without the numbers of spans.
fn shown(m: &Module) -> String {
    let mut m = m.clone();
    m.ast.items.clear();
    m.ast.docs.clear();
    m.core.items.clear();
    m.core.docs.clear();
    let text = format!("{m:#?}");
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(head) = line.strip_suffix("Span {") {
            let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            out.push_str(head);
            out.push_str("Span\n");
            for rest in lines.by_ref() {
                if rest.starts_with(&end) {
                    break;
                }
            }
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
