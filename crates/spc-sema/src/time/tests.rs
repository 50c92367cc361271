use super::*;
use crate::library::Library;
use spc_base::{FileId, Limits};
use spc_ir::method::{Ratio, Unit};
use spc_syntax::ast::{Ast, ItemKind};

fn parse(text: &str) -> Ast {
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &Limits::default());
    assert!(diags.is_empty(), "{text}: {diags:?}");
    ast
}

/// The value of `const c = TEXT` beside other items.
fn value_of(items: &str, text: &str, m: Moment) -> Result<Quantity, String> {
    let ast = parse(&format!("{items}\nconst c = {text}\n"));
    let (lib, mut cx) = (Library::load(), Cx::default());
    let names = Names::collect(&mut cx, &ast, &lib);
    let Some(ItemKind::Const(c)) = ast.items.last().map(|i| &i.kind) else { panic!("{text}") };
    at(&mut cx, &names, &c.value, m)
        .map_err(|_| cx.diags.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

fn r(n: i128, d: i128) -> Ratio {
    Ratio::new(n, d).unwrap()
}

fn exact(text: &str, m: Moment) -> Ratio {
    let q = value_of("", text, m).unwrap();
    q.exact.unwrap_or_else(|| panic!("{text} is {} and not exact", q.value))
}

#[test]
fn every_shape_ends_exactly_at_its_end_value() {
    for f in ["linear", "cosine", "cubic", "exp", "geometric"] {
        for window in ["0%..100%", "10%..80% of steps", "0%..50%"] {
            let text = match f {
                "geometric" => format!("geometric(100% -> 20%, 5, {window})"),
                _ => format!("{f}(100% -> 20%, {window})"),
            };
            assert_eq!(exact(&text, Moment::END), r(1, 5), "{text}");
            let q = value_of("", &text, Moment::END).unwrap();
            assert_eq!(q.unit, Unit::Share, "{text}");
            let start = value_of("", &text, Moment::share(Ratio::ZERO)).unwrap();
            assert!((start.value - 1.0).abs() < 1e-15, "{text}");
        }
    }
}

#[test]
fn cubic_is_exact_inside_its_window_and_changes_at_its_edges() {
    let at = |n| exact("cubic(100% -> 20%, 10%..80%)", Moment::share(r(n, 100)));
    assert_eq!(at(10), Ratio::ONE);
    // 0.2 + 0.8 (1 - 5/7)^3
    assert_eq!(at(60), r(1, 5).checked_add(r(4, 5).checked_mul(r(8, 343)).unwrap()).unwrap());
    assert_eq!((at(80), at(90), at(0)), (r(1, 5), r(1, 5), Ratio::ONE));
    assert!(at(79) > at(80) && at(11) < at(10));
}

#[test]
fn a_window_in_steps_needs_the_length_only_where_it_matters() {
    let text = "linear(0 -> 8, 0..100 steps)";
    let at = |step| value_of("", text, Moment::step(step, 1000).unwrap()).unwrap().exact.unwrap();
    assert_eq!([at(0), at(50), at(100), at(101)], [r(0, 1), r(4, 1), r(8, 1), r(8, 1)]);
    assert!(value_of("", text, Moment::END).unwrap_err().contains("SP0330"));
    assert!(value_of("", "1 - 1e-3 * step", Moment::END).unwrap_err().contains("SP0330"));
    // The branch that is not taken may need a length.
    let q = value_of("", "if progress >= 90% { 0 } else { exp(-2e-4 * step) }", Moment::END).unwrap();
    assert_eq!(q.exact, Some(Ratio::ZERO));
}

#[test]
fn steps_ladders_and_events() {
    let at = |text: &str, n| exact(text, Moment::share(r(n, 100)));
    let s = "steps([8, 6, 2], at: [20%, 60%])";
    assert_eq!([at(s, 0), at(s, 19), at(s, 20), at(s, 59), at(s, 60), at(s, 100)].map(|r| r.num()), [8, 8, 6, 6, 2, 2]);
    // 3 of 8 is reached although 8 is no power of two times 3.
    let l = "ladder(7, halving(8 / 2, 3), 0%..90%)";
    assert_eq!([at(l, 0), at(l, 29), at(l, 30), at(l, 59), at(l, 60), at(l, 100)].map(|r| r.num()), [7, 7, 4, 4, 3, 3]);
    assert_eq!([at("event(40%)", 39), at("event(40%)", 40)].map(|r| r.num()), [0, 1]);
    let w = "window(3, 10%..20%)";
    assert_eq!([at(w, 9), at(w, 10), at(w, 19), at(w, 20)].map(|r| r.num()), [0, 3, 3, 0]);
    let e = |step| value_of("", "every(7)", Moment::step(step, 100).unwrap()).unwrap().value;
    assert_eq!([e(0), e(1), e(7), e(8), e(98)], [1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(exact("dial(0.05)", Moment::END), r(1, 20));
}

#[test]
fn schedules_of_the_program_are_inlined() {
    let items = "const EARLY = [8, 8, 6]\nschedule active[l: L] = if l < 3 && progress < 90% { EARLY[l] } else { 1 }\n\
                 schedule fade(beta: f32, from: time = 0%) = max(0, 1 - beta * (step - from))";
    let ast = parse(&format!("{items}\nconst c = active[l]\n"));
    let (lib, mut cx) = (Library::load(), Cx::default());
    let names = Names::collect(&mut cx, &ast, &lib);
    let Some(ItemKind::Const(c)) = ast.items.last().map(|i| &i.kind) else { panic!() };
    let mut active = |l, n| at_with(&mut cx, &names, &c.value, Moment::share(r(n, 10)), &[("l", l)]).unwrap().value;
    // A list is not read where its index is beyond it and the branch is never taken.
    assert_eq!([active(0, 0), active(2, 0), active(3, 0), active(40, 0), active(0, 10)], [8.0, 6.0, 1.0, 1.0, 1.0]);
    assert!(value_of(items, "active[0]", Moment::END).is_ok());
    assert_eq!(value_of(items, "fade(0.01)", Moment::step(50, 100).unwrap()).unwrap().exact, Some(r(1, 2)));
    // From 0% no length is needed for the origin, but the step itself is unknown at the end.
    assert!(value_of(items, "fade(0.01)", Moment::END).unwrap_err().contains("SP0330"));
    check_schedules(&mut cx, &names, &ast);
    assert!(cx.diags.is_empty(), "{:?}", cx.diags);
}

#[test]
fn mistakes_are_named() {
    let bad = [
        ("cubik(100% -> 20%)", "SP0101"),
        ("cubic(100% -> 20%, 30%)", "SP0105"),
        ("cubic(50%)", "SP0105"),
        ("cubic()", "SP0107"),
        ("cubic(1 -> 2, 0%..1%, 3)", "SP0107"),
        ("cubic(1 -> 2, 0%..1%, window: 0%..1%)", "SP0107"),
        ("100% -> 3", "SP0339"),
        ("1 && 2", "SP0339"),
        ("halving(2, 4)", "SP0339"),
        ("ladder(halving(1, 1), 3 epochs)", "SP0339"),
        ("steps([1, 2], at: [10%, 20%])", "SP0107"),
        ("steps([1, 2, 3], at: [20%, 20%])", "SP0339"),
        ("[1, 2][2]", "SP0204"),
        ("c", "SP0106"),
        ("relu(1)", "SP0101"),
        ("0 / 0", "SP0339"),
        ("(0%..50%).start", "SP0101"),
    ];
    for (text, code) in bad {
        let got = value_of("", text, Moment::END).unwrap_err();
        assert!(got.contains(code), "{text}: {got}");
    }
}

#[test]
fn recursion_is_found() {
    let items = "schedule a(x: number) = b(x)\nschedule b(x: number) = a(x) + 1";
    assert!(value_of(items, "a(1)", Moment::END).unwrap_err().contains("SP0106"));
}

#[test]
fn an_end_that_is_not_the_tightest_is_seen() {
    let loosened = |text: &str| {
        let ast = parse(&format!("const c = {text}\n"));
        let (lib, mut cx) = (Library::load(), Cx::default());
        let names = Names::collect(&mut cx, &ast, &lib);
        let Some(ItemKind::Const(c)) = ast.items.last().map(|i| &i.kind) else { panic!() };
        lower(&mut cx, &names, &c.value).unwrap().is_loosened_at_the_end()
    };
    assert!(loosened("linear(20% -> 60%)"));
    assert!(loosened("if progress < 50% { 10% } else { 20% }"));
    assert!(loosened("linear(1 -> 2, 0..100 steps)"));
    assert!(!loosened("cubic(100% -> 20%, 10%..80%)"));
    assert!(!loosened("25%"));
}

#[test]
fn the_library_is_sound() {
    let ast = parse("");
    let (lib, mut cx) = (Library::load(), Cx::default());
    let names = Names::collect(&mut cx, &ast, &lib);
    for (module, _) in spc_stdlib::FILES.iter().map(|f| (f.module, ())) {
        for name in lib.names(module) {
            if let Some(ItemKind::Schedule(s)) = lib.item(module, name) {
                let _ = items::check_schedule(&mut cx, &names, &Some(module.to_string()), s);
            }
        }
    }
    assert!(cx.diags.is_empty(), "{:?}", cx.diags);
    assert_eq!(length(&parse("train t { steps: 2000 }\n")), Some(2000));
    assert_eq!(length(&parse("train t { epochs: 3 }\n")), None);
}
