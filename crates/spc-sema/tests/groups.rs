//! What groups of slices stand for, as the data that the projection reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_base::{FileId, Limits};
use spc_ir::{Cost, Cover, Member, Overlap, Part, Slices};
use spc_sema::{Checked, GroupWeight, Library, check, coupled_sets, member_text};

fn load(text: &str) -> Checked {
    let limits = Limits::default();
    let (ast, diags) = spc_syntax::parse(text, FileId(0), &limits);
    assert!(diags.is_empty(), "{diags:#?}");
    check(&ast, text, &Library::load(), &limits)
}

fn sound(text: &str) -> Checked {
    let c = load(text);
    assert!(c.diagnostics.is_empty(), "{:#?}", c.diagnostics);
    c
}

/// MiniLM with more items.
fn mini(items: &str) -> Checked {
    let path = format!("{}/../../examples/minilm/minilm.sp", env!("CARGO_MANIFEST_DIR"));
    sound(&(std::fs::read_to_string(path).unwrap() + items))
}

fn group<'c>(c: &'c Checked, name: &str) -> &'c spc_sema::Group {
    c.module.groups.iter().find(|g| g.name == name).unwrap()
}

fn slices(m: &Member) -> &Slices {
    match &m.cover {
        Cover::Slices(s) => s,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_layer_is_a_family_with_its_own_members() {
    let c =
        mini("group neuron[l, f: F] = slices(F) of mini.layer[l]\ngroup head[l, h: H] = slices(H) of mini.layer[l]\n");
    let neuron = &group(&c, "neuron").members;
    assert_eq!(neuron.len(), 18);
    for (i, m) in neuron.iter().enumerate() {
        let s = slices(m);
        assert_eq!((s.family as usize, s.by, s.parts.len()), (i / 3, 1, 1));
        assert_eq!(m.layer, format!("mini.layer.{}", i / 3));
    }
    let texts: Vec<String> = neuron[3..6].iter().filter_map(|m| member_text(&c.module, m)).collect();
    assert_eq!(texts, ["mini.layer.1.up[F, :]", "mini.layer.1.bu[F]", "mini.layer.1.down[:, F]"]);

    let head = &group(&c, "head").members;
    assert_eq!(head.len(), 42);
    let part = |dim| vec![Part { dim, start: 0, end: 384, inner: 32, size: 12 }];
    for m in head {
        assert_eq!(slices(m).parts, part(u32::from(m.weight.ends_with("wo"))), "{}", m.weight);
    }
}

#[test]
fn a_join_is_what_it_says() {
    let c = mini(
        "group value[l, h: H] = wv@(H: h) & wo@(H: h) of mini.layer[l]\n\
         group first[h: H, c: C] = mini.layer[0].wq@(H: h, C: k) & mini.layer[0].bq@(H: h, C: k)\n"
            .replace("k)", "c)")
            .as_str(),
    );
    let value = &group(&c, "value").members;
    assert_eq!(value.len(), 12);
    let of: Vec<(&str, u32)> = value.iter().map(|m| (m.weight.as_str(), slices(m).family)).collect();
    assert!(of.contains(&("mini.layer.5.wv", 5)) && of.contains(&("mini.layer.5.wo", 5)), "{of:?}");
    let whole = Part { dim: 0, start: 0, end: 384, inner: 1, size: 384 };
    assert!(group(&c, "first").members.iter().all(|m| slices(m).parts == [whole]));
}

const NET: &str = "use std.nn\naxis B = 1..8\n\
    model net { axes { I = 8, F = 16, G = 4, C = 4, O = 4 } up: f32[F, I]  bu: f32[F]  down: f32[O, F]  heads: f32[(G C), I]  end: f32[O, (G C)] }\n\
    fn inner(x: f32[B, I]) -> h: f32[B, F] { h = nn.relu(nn.linear(x, net.up, net.bu)) }\n\
    fn f(x: f32[B, I]) -> y: f32[B, O] {\n  q[b, g, c] = net.heads[(g c), i] * x[b, i]\n  r[b, g, c] = q[b, g, c] / sqrt(sum(q[b, g, e]^2 over e) + 1)\n  \
    z[b, o] = net.end[o, (g c)] * r[b, g, c]\n  y = nn.linear(inner(x), net.down) + z\n}\n";

#[test]
fn blocks_groups_of_groups_and_weights_of_groups() {
    let text = format!(
        "{NET}group unit = slices(F) of net  cost: flops\ngroup same = unit\ngroup block = slices(F by 4) of net  energy: sqrt(size)\n\
         group part = slices(G) of net  cost: 2.5 energy: much\nconst much = 3\n\
         require half: keep 50% of same per model\nrequire few: keep 3 of block per model ragged\n"
    );
    let c = sound(&text);
    assert_eq!(group(&c, "unit").members, group(&c, "same").members);
    assert_eq!(group(&c, "unit").cost, Some(GroupWeight::Cost(Cost::Flops)));
    assert_eq!(group(&c, "block").energy, Some(GroupWeight::SqrtSize));
    assert!(group(&c, "block").members.iter().all(|m| slices(m).by == 4 && slices(m).groups() == 4));
    assert_eq!(group(&c, "part").cost, Some(GroupWeight::Number(2.5)));
    assert_eq!(group(&c, "part").energy, Some(GroupWeight::Named("much".into())));
    assert_eq!(c.module.requires[0].keeps[0].members.len(), 3);
}

#[test]
fn what_an_inner_function_gives_is_no_output() {
    // `inner` is called by `f`: its result carries F, and that does not end the program.
    let c = sound(&format!("{NET}require half: keep 50% of slices(F) per model on net\n"));
    assert_eq!(c.module.requires.len(), 1);
    // A `run` makes it one.
    let run = "data d from npy \"x.npy\" { x: f32[I] }\nrun r { call: inner(d.x)  report: [size] }\n";
    let c = load(&format!("{NET}{run}require half: keep 50% of slices(F) per model on net\n"));
    let codes: Vec<String> = c.diagnostics.iter().map(|d| d.code.name()).collect();
    assert!(codes.contains(&"SP0211".to_string()), "{codes:?}");
}

#[test]
fn overlap_is_data() {
    let text = "axis B = 1..8\nmodel net { axes { I = 8, F = 16, O = 4 } a: f32[F, I]  b: f32[F, F]  c: f32[O, F] }\n\
        fn f(x: f32[B, I]) -> y: f32[B, O] {\n  h[b, f] = net.a[f, i] * x[b, i]\n  k[b, g] = net.b[g, f] * max(h[b, f], 0)\n  y[b, o] = net.c[o, g] * k[b, g]\n}\n\
        group g = slices(F) of net  on_overlap sum\nrequire half: keep 50% of g per model\n";
    let c = sound(text);
    let keep = &c.module.requires[0].keeps[0];
    assert_eq!(keep.overlap, Some(Overlap::Sum));
    let of: Vec<(&str, u32)> = keep.members.iter().map(|m| (m.weight.as_str(), slices(m).family)).collect();
    assert_eq!(of, [("net.a", 0), ("net.b", 0), ("net.b", 1), ("net.c", 1)]);
}

#[test]
fn sets_are_named_for_editors() {
    let c = sound(NET);
    let sets = coupled_sets(&c);
    let f = sets.iter().find(|s| s.function == "f" && s.axis == "F").unwrap();
    assert_eq!((f.size, f.members.join(" ")), (16, "net.bu[F] net.down[:, F] net.up[F, :]".to_string()));
    assert!(f.values.contains(&"f32[B, F]".to_string()) && f.refused.is_empty());
    let o = sets.iter().find(|s| s.function == "f" && s.axis == "O").unwrap();
    assert!(o.refused.iter().any(|r| r.code.name() == "SP0211" && r.source.is_some()));
    let g = sets.iter().find(|s| s.function == "f" && s.axis == "G").unwrap();
    assert_eq!(g.members, ["net.end[:, (G :)]", "net.heads[(G :), :]"]);
}
