//! What programs look like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ir::{Act, Convert, DType, Dim, Graph, NodeId, Op, Plan, ScalarExpr, Sym, SymId, Type};
use spc_kernel::{Role, schedule};

/// x[B, 6] -> relu(linear) -> split heads -> transposed -> summed with itself; and a second linear.
fn graph() -> Graph {
    let mut g = Graph::new("net");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 64 });
    let f32s = |dims: Vec<Dim>| Type::new(DType::F32, dims);
    let b = Dim::free("B", SymId(0));
    let add = |g: &mut Graph, op: Op, i: &[NodeId]| g.add(op, i).unwrap();
    let x = add(&mut g, Op::Input { name: "x".into(), ty: f32s(vec![b, Dim::fixed("D", 6)]) }, &[]);
    let w1 = f32s(vec![Dim::fixed("H", 8), Dim::fixed("D", 6)]);
    let w2 = f32s(vec![Dim::fixed("O", 5), Dim::fixed("H", 8)]);
    let w1 = add(&mut g, Op::Weight { name: "w1".into(), ty: w1 }, &[]);
    let w2 = add(&mut g, Op::Weight { name: "w2".into(), ty: w2 }, &[]);
    let h = add(&mut g, Op::Linear { bias: false, act: None }, &[x, w1]);
    let expr = ScalarExpr::parse("(max a0 0)").unwrap();
    let h = add(&mut g, Op::Map { expr, at: vec![vec![0, 1]] }, &[h]);
    let y = add(&mut g, Op::Linear { bias: false, act: None }, &[h, w2]);
    let t = add(&mut g, Op::Transpose { perm: vec![1, 0] }, &[y]);
    let expr = ScalarExpr::parse("(add a0 a0)").unwrap();
    let z = add(&mut g, Op::Map { expr, at: vec![vec![0, 1]] }, &[t]);
    g.outputs = vec![("z".into(), z), ("t".into(), t)];
    g
}

fn plan(g: &Graph) -> Plan {
    let mut p = Plan::all_dense(g, "cpu", "dense(16)").unwrap();
    let first = &mut p.linears[0];
    first.layout = "vx1(4)".into();
    (first.x, first.y) = (Act::Fm, Act::Fm);
    first.epilogue = Some(g.readers(first.node)[0]);
    let (x, h) = (g.inputs(first.node)[0], g.readers(first.node)[0]);
    p.values.insert(h, Act::Fm);
    p.converts =
        vec![Convert { node: x, to: Act::Fm, predicted_ps: 0 }, Convert { node: h, to: Act::Rm, predicted_ps: 0 }];
    p
}

#[test]
fn a_program_is_text() {
    let g = graph();
    let p = schedule(&g, &plan(&g), 4).unwrap();
    let want = "\
program net lanes 4
axis s0 = B 1..64
input x: f32[s0, 6] = b0
output z: f32[5, s0] = b5
output t: f32[5, s0] = b6
b0 = input 0 24*s0
b1 = packed w1 vx1(4) ptr 0
b2 = packed w1 vx1(4) idx 0
b3 = packed w1 vx1(4) values 0
b4 = packed w2 dense(16) values 0
b5 = output 0 20*s0
b6 = output 1 20*s0
b7 = temp 24*pad(s0) | 32*s0
b8 = temp 32*pad(s0) | 20*s0
%0: k0 rm_to_fm_6(x=b0, y=b7, n=s0, np=pad(s0), lo=0, hi=2)
%3: k1 rowblock_vx1_4_8x6_a(values=b3, ptr=b1, idx=b2, x=b7, y=b8, np=pad(s0), lo=0, hi=2)
%4: k2 fm_to_rm_8(x=b8, y=b7, n=s0, np=pad(s0), lo=0, hi=2)
%5: k3 panel_dense_16_5x8(values=b4, x=b7, y=b8, n=s0, lo=0, hi=1)
%7: k4 map(a0=b8, y=b5, s0=s0, lo=0, hi=5)
%6: k5 copy(a0=b8, y=b6, s0=s0, lo=0, hi=5)
";
    assert_eq!(p.to_string(), want, "{p}");
    assert_eq!(p.temporary_bytes(&[16]), Some(2 * 20 * 16 + 32 * 16 + 32 * 16));
    assert!(p.buffers().iter().all(|b| !matches!(&b.role, Role::Weight(_))), "no weight is read as stored");
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let g = graph();
    let mut missing = plan(&g);
    missing.converts.clear();
    assert!(schedule(&g, &missing, 4).unwrap_err().0.contains("feature-major"));
    let mut mixed = plan(&g);
    mixed.linears[1].x = Act::Fm;
    assert!(schedule(&g, &mixed, 4).is_err());
    let mut sparse = plan(&g);
    sparse.linears[1].layout = "csr".into();
    assert!(schedule(&g, &sparse, 4).unwrap_err().0.contains("row-major kernel"));
}

#[test]
fn panels_that_lanes_do_not_fit_get_fewer() {
    let g = graph();
    let mut panel = plan(&g);
    let dense =
        [("dense(6)", 4, 1), ("dense(4)", 16, 4), ("dense(16)", 16, 16), ("dense(24)", 8, 8), ("dense(24)", 16, 8)];
    let sparse = [
        ("vx1(4)", 16, 4),
        ("bsr(8,2)", 16, 8),
        ("vx1(32)", 16, 16),
        ("nm16(2,4)", 8, 8),
        ("csr16", 4, 4),
        ("bitmap", 8, 8),
        ("vnm16(16,5)", 16, 16),
    ];
    for (layout, lanes, want) in dense.into_iter().chain(sparse) {
        panel.linears[1].layout = layout.into();
        let p = schedule(&g, &panel, lanes).unwrap();
        let row_major = |k: &&spc_kernel::ir::Kernel| ["panel", "few", "rowlist"].iter().any(|f| k.name.starts_with(f));
        let got = p.kernels().iter().find(row_major).unwrap().lanes;
        assert_eq!(got, want, "{layout} for {lanes} lanes");
    }
}
