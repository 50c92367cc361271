use super::*;
use crate::cx::Cx;
use crate::library::Library;
use crate::scope::Names;
use spc_base::{FileId, Limits};
use spc_ir::method::Lift;
use spc_syntax::ast::{Ast, ItemKind};

fn parse(text: &str) -> Ast {
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &Limits::default());
    assert!(diags.is_empty(), "{text}: {diags:?}");
    ast
}

#[test]
fn the_library_is_sound() {
    let ast = parse("");
    let (lib, mut cx) = (Library::load(), Cx::default());
    let names = Names::collect(&mut cx, &ast, &lib);
    let mut seen = 0;
    for module in ["penalties", "updates", "score"] {
        for name in lib.names(module) {
            let item = lib.item(module, name).unwrap();
            let _ = uses::check_item(&mut cx, &names, &Some(module.to_string()), item);
            seen += 1;
        }
    }
    assert!(cx.diags.is_empty(), "{:#?}", cx.diags);
    assert!(seen >= 20, "{seen}");
}

fn shown(items: &str, text: &str) -> String {
    let ast = parse(&format!("{items}\nconst c = {text}\n"));
    let (lib, mut cx) = (Library::load(), Cx::default());
    let names = Names::collect(&mut cx, &ast, &lib);
    let Some(ItemKind::Const(c)) = ast.items.last().map(|i| &i.kind) else { panic!("{text}") };
    let out = match items.contains("updates") {
        true => resolve_update(&mut cx, &names, &c.value).map(|u| u.to_string()),
        false => resolve_penalty(&mut cx, &names, &c.value, Lift::Groups).map(|p| p.to_string()),
    };
    out.unwrap_or_else(|_| cx.diags.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[test]
fn uses_become_data() {
    println!("{}", shown("use std.updates.sr_ste", "sr_ste(lambda: 1e-3)"));
    println!("{}", shown("use std.updates.dropgrow", "dropgrow(grow: random(7))"));
    println!("{}", shown("use std.penalties.cel0", "2e-3 * cel0(0.5, 2)"));
    println!("{}", shown("use std.penalties.wgsef", "wgsef(keep: 40% of flops, cost: flops)"));
    println!("{}", shown("use std.penalties.sparse_group", "linear(0 -> 1e-2) * sparse_group()"));
}
