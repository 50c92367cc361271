//! Random programs.
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    let words =
        ["x", "w1", "keep", "min", "joint", "then", "every", "in", "above", "steps", "_", "F", "net", "elements"];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

/// A name that may be declared.
fn bound() -> impl Strategy<Value = String> {
    name().prop_map(|n| if n == "in" { "i".to_owned() } else { n })
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => name(),
        2 => (0u32..1000).prop_map(|n| n.to_string()),
        1 => (0u32..100_000).prop_map(|n| format!("{}.{:02}%", n / 100, n % 100)),
        1 => prop::sample::select(vec!["1e-3", "2.50", "5_000", "3 steps", "60 MiB", "\"a\\\"{l}\"", "0.5e+2"]).prop_map(str::to_owned),
    ]
}

/// Text of a random expression; parentheses wherever they may be needed, and sometimes where not.
fn expr() -> impl Strategy<Value = String> {
    leaf().prop_recursive(5, 60, 4, |inner| {
        let op = prop::sample::select(vec!["->", "..", "||", "&&", "==", "<", ">=", "&", "+", "-", "*", "/", "^"]);
        let i = inner.clone();
        let arg = prop_oneof![
            4 => i.clone(),
            1 => (bound(), i.clone()).prop_map(|(n, e)| format!("{n}: {e}")),
            1 => (i.clone(), bound(), i.clone()).prop_map(|(e, n, s)| format!("{e} over {n} in {s}, {n}2 by {e} where {s}")),
            1 => (i.clone(), i.clone()).prop_map(|(e, s)| format!("({e}) in {s} per ({s}, {e})")),
            1 => (bound(), i.clone()).prop_map(|(n, e)| format!("({n}, k) => {e}")),
            1 => (i.clone(), i.clone()).prop_map(|(a, b)| format!("keep ({a}) of ({b}) of {a} by joint ({b}) min {a} per layer")),
            1 => bound().prop_map(|n| format!("10%..80% of {n}")),
        ];
        prop_oneof![
            4 => (i.clone(), op.clone(), i.clone()).prop_map(|(a, o, b)| format!("({a}) {o} ({b})")),
            2 => (i.clone(), op, i.clone()).prop_map(|(a, o, b)| format!("{a} {o} {b}")),
            1 => i.clone().prop_map(|a| format!("-({a})")),
            1 => i.clone().prop_map(|a| format!("!{a}")),
            1 => (i.clone(), i.clone()).prop_map(|(a, b)| format!("({a}, {b})")),
            1 => (i.clone(), i.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            2 => (bound(), prop::collection::vec(arg, 0..3)).prop_map(|(f, a)| format!("{f}({})", a.join(", "))),
            1 => (i.clone(), i.clone()).prop_map(|(a, b)| format!("({a})[.., (h c), {b}]")),
            1 => (i.clone(), name()).prop_map(|(a, n)| format!("({a}).{n}.*.{{{n}, b}}")),
            1 => (i.clone(), bound()).prop_map(|(a, n)| format!("({a})@({n}: {n})")),
            2 => (i.clone(), i.clone(), i.clone())
                .prop_map(|(a, b, c)| format!("if ({a}) {{ {b} }} else if ({c}) {{ {a} }} else {{ {c} }}")),
        ]
    })
}

/// Text of a random program; a few do not parse.
pub fn program() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        (bound(), expr()).prop_map(|(n, e)| format!("const {n} = {e}")),
        (bound(), expr(), expr()).prop_map(|(n, a, b)| format!("axis {n} = {a}, K = {b}")),
        (bound(), expr()).prop_map(|(n, e)| format!("expect {e} <= ({n})")),
        (bound(), expr(), expr())
            .prop_map(|(n, a, b)| format!("fn {n}(a: f32[.., (H C), 4] = {a}, b) -> (y: f32[B], z) where P = {b} {{ y[i, {a}] = {b}\n for l in {a} {{ (p, q) = {b} }} }}")),
        (bound(), expr(), expr()).prop_map(|(n, a, b)| format!("require {n}: keep ({a}) of tile(in: 4) per tensor min ({b}) per ({a}) by {b} on {a} always first ({b})")),
        (bound(), expr()).prop_map(|(n, a)| format!("require {n}({a}) via {a} at {a}")),
        (bound(), expr()).prop_map(|(n, a)| format!("group {n}[l: L] = ({a}) of net cost: {a}")),
        (bound(), expr()).prop_map(|(n, a)| format!("model {n} from npz \"p\" {{ axes {{ D = {a} }} t: f32[D] = {a}\n layer[l: L] = \"x.{{l}}\" {{ u: f32 }} {n} = {a} }}")),
        (bound(), expr()).prop_map(|(n, a)| format!("run {n} {{ call: {a}  report = [{a}] }}")),
        (bound(), expr()).prop_map(|(n, a)| format!("update {n}(c: constraint) {{ mask m = {a} every ({a}) steps\n state s: f32 like w = {a}\n forward(w) = {a} }}")),
        (bound(), expr()).prop_map(|(n, a)| format!("penalize {n}: ({a}) of elements where {a} then l1() of ({a}) of net via prox")),
        (bound(), expr()).prop_map(|(n, a)| format!("train {n} {{ loss: {a}  phase p 50% {{ apply {a}, {n}  sweep s = {a} }} }}")),
    ];
    prop::collection::vec(item, 1..4).prop_map(|items| items.join("\n"))
}
