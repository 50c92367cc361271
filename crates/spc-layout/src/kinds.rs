//! Every layout has a rule and a price on each machine that has a kernel of it. A layout that lacks one is never chosen, and
//! nothing else says so.
use crate::choose::cpu_rules;
use crate::lang::In;
use crate::model::Model;
use crate::rules::{RULES, rule};
use crate::space::{Action, explore, shape};
use crate::table::shipped;
use crate::testing::{F, Net, Zeros};
use crate::{GPUS, GpuTable, Machine, Options, Shape, WeightFacts, cuts, family, height};
use spc_formats::{CostFacts, Form, Layout, Wide};
use spc_ir::{Act, Op};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds that [`number`] counts.
const KINDS: usize = 19;

/// Does not compile with a kind of layout that it does not name: give that one a number, raise [`KINDS`], and put one of it into
/// [`samples`].
fn number(layout: Layout) -> usize {
    match layout {
        Layout::Dense { .. } => 0,
        Layout::Vx1 { .. } => 1,
        Layout::Bsr { .. } => 2,
        Layout::Nm { .. } => 3,
        Layout::I8 { .. } => 4,
        Layout::I8Nm { .. } => 5,
        Layout::I4Nm { .. } => 6,
        Layout::I8Csr { .. } => 7,
        Layout::Mma24 => 8,
        Layout::Mma32 { .. } => 9,
        Layout::Mma1 { .. } => 10,
        Layout::Vnm { .. } => 11,
        Layout::Csr => 12,
        Layout::Nm16 { .. } => 13,
        Layout::Csr16 => 14,
        Layout::Groups { .. } => 15,
        Layout::Half { .. } => 16,
        Layout::Vnm16 { .. } => 17,
        Layout::Bitmap => 18,
    }
}

fn samples() -> Vec<Layout> {
    let wide = [
        Layout::Dense { panel: 16 },
        Layout::Vx1 { v: 16 },
        Layout::Bsr { r: 16, c: 4 },
        Layout::Nm16 { n: 2, m: 4 },
        Layout::Mma24,
        Layout::Mma32 { r: 64 },
        Layout::Mma1 { r: 16 },
        Layout::Vnm { v: 64, m: 8 },
    ];
    let half = wide.into_iter().flat_map(|l| Form::ALL.map(|form| (l, form)));
    let half = half.filter_map(|(l, form)| Some(Layout::Half { of: Wide::of(l, form)?, form }));
    let groups = [(4, false), (8, false), (4, true), (8, true)];
    let groups = groups.map(|(bits, kept)| Layout::Groups { bits, group: 32, scale: 16, kept });
    let others = [
        Layout::Nm { n: 2, m: 4 },
        Layout::I8 { r: 16 },
        Layout::I8Nm { n: 2, m: 4 },
        Layout::I4Nm { n: 2, m: 4, group: 32, scale: 16 },
        Layout::I8Csr { c: 4 },
        Layout::Csr,
        Layout::Csr16,
        Layout::Vnm16 { v: 64, m: 8 },
        Layout::Bitmap,
    ];
    half.chain(wide).chain(groups).chain(others).collect()
}

/// Whether GPUs have a kernel of a layout. Does not compile with a kind that it does not name.
fn on_gpus(layout: Layout) -> bool {
    match layout {
        Layout::Dense { .. } | Layout::Vx1 { .. } | Layout::Bsr { .. } | Layout::Nm { .. } | Layout::Csr => true,
        Layout::Mma24 | Layout::Mma32 { .. } | Layout::Mma1 { .. } | Layout::Vnm { .. } => true,
        Layout::I8 { .. } | Layout::Groups { .. } => true,
        Layout::I8Nm { .. } | Layout::I4Nm { .. } | Layout::I8Csr { .. } => false,
        Layout::Nm16 { .. } | Layout::Csr16 | Layout::Vnm16 { .. } | Layout::Bitmap => false,
        Layout::Half { of, .. } => of.on_tensor_cores(),
    }
}

const FACTS: CostFacts =
    CostFacts { present: 512, stored_bytes: 2048, multiplies: 512, activation_loads: 64, row_blocks: 4, units: 64 };

/// The layouts and the places of activations of kernels that the rules make for a linear whose weight may be dense or `layout`,
/// with rounded activations where the layout needs them.
fn kernels(layout: Layout, machine: Machine<'_>) -> BTreeSet<(Layout, bool)> {
    let mut n = Net::new();
    let w = n.weight(Zeros::Loose);
    let candidates = vec![(Layout::DENSE, Ok(FACTS)), (layout, Ok(FACTS))];
    n.facts.insert("w0".into(), WeightFacts { rows: F, cols: F, candidates });
    let x = if layout.needs_integers() { n.g.add(Op::Round { last: 1 }, &[n.x]).unwrap() } else { n.x };
    let y = n.g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    let n = n.output(y);
    let model = Model::new(&n.g, &n.facts, &BTreeMap::new()).unwrap().on(machine);
    let space = explore(&model, &Options::default(), false).unwrap();
    let shape = shape(&model, &space).unwrap();
    let all = shape.classes.iter().flatten().map(|c| c.action);
    let linear = |a| match a {
        Action::Linear { layout, act, .. } => Some((model.layouts[layout as usize], act == In::Fm)),
        _ => None,
    };
    all.filter_map(linear).collect()
}

#[test]
fn every_kind_of_layout_is_among_the_samples() {
    let seen: BTreeSet<usize> = samples().into_iter().map(number).collect();
    assert_eq!(seen, (0..KINDS).collect(), "a kind of layout has no sample in kinds.rs");
    assert!(samples().iter().all(|l| l.check().is_ok()));
}

#[test]
fn every_layout_with_a_cpu_kernel_has_a_rule_that_makes_it() {
    let table = &shipped()[0];
    for layout in samples() {
        let made = kernels(layout, table.into());
        for (fm, act) in [(false, Act::Rm), (true, Act::Fm)] {
            let place = if fm { "feature-major" } else { "token-major" };
            let has = Machine::from(table).has(layout, act);
            let missing = "has a kernel (`Layout::row_major`, `feature_major`) and";
            assert!(
                !has || made.contains(&(layout, fm)),
                "{layout}, {place}: {missing} no rule in rules.rs makes it: it is never chosen"
            );
            assert!(has || !made.contains(&(layout, fm)), "{layout}, {place}: a rule makes a kernel that is not there");
            let named = cpu_rules(layout)[usize::from(fm)];
            assert!(!has || named.is_some(), "{layout}, {place}: {missing} no name in `cpu_rules` of choose.rs");
            if let Some(name) = named {
                assert!(rule(name).is_some(), "{layout}, {place}: `cpu_rules` names {name}, which rules.rs lacks");
            }
        }
    }
    // No rule is there for nothing.
    let used: BTreeSet<&str> = samples().into_iter().flat_map(cpu_rules).flatten().chain(["k-gpu"]).collect();
    let all: BTreeSet<&str> = RULES.iter().filter(|r| r.rhs.starts_with("(k.mm")).map(|r| r.name).collect();
    assert_eq!(used, all, "kernels of linears in rules.rs, and those that `cpu_rules` names");
}

#[test]
fn every_layout_with_a_gpu_kernel_has_a_rule_a_cut_and_a_price() {
    for name in GPUS {
        let table = GpuTable::named(name).unwrap();
        for layout in samples() {
            let has = family(layout).is_some();
            assert_eq!(kernels(layout, (&table).into()).contains(&(layout, false)), has, "{layout} on {name}");
            assert_eq!(has, on_gpus(layout), "{layout}: `family` of gpu.rs and `on_gpus` here do not agree");
            let ps = |tokens| {
                let shape = Shape { tokens, inputs: F, outputs: F, resident: 1 << 30 };
                table.kernel_ps(layout, &FACTS, shape)
            };
            assert!(
                !cuts(layout).is_empty() && cuts(layout).iter().any(|c| c.up_to == 0),
                "{layout}: `cuts` of gpu.rs"
            );
            if has {
                assert!(ps(1) > table.launch_ps && ps(1 << 20) > ps(1), "{layout} on {name} costs nothing");
                assert!(ps(1 << 20) < u64::MAX / 8, "{layout} on {name} costs too much to be chosen");
            }
        }
    }
}

#[test]
fn every_layout_with_a_cpu_kernel_has_a_price_in_every_table() {
    for table in shipped() {
        for layout in samples() {
            for act in [Act::Rm, Act::Fm].into_iter().filter(|a| Machine::from(&table).has(layout, *a)) {
                let at = format!("{layout}, {act:?}, table {}", table.name);
                let rates = table.rates(layout, act);
                assert!(rates.mul_fs > 0 && height(layout) > 0, "{at}: no rate of multiply-adds");
                let ps = |tokens, stored_bytes| {
                    let shape = Shape { tokens, inputs: F, outputs: F, resident: 1 << 30 };
                    table.kernel_ps(layout, &CostFacts { stored_bytes, ..FACTS }, act, shape)
                };
                assert!(ps(256, 0) > ps(1, 0), "{at}: tokens cost nothing");
                assert!(ps(1, 1 << 30) > ps(1, 0), "{at}: bytes cost nothing");
                assert!(ps(1 << 20, 1 << 30) < u64::MAX / 8, "{at}: it costs too much to be chosen");
            }
        }
    }
}
