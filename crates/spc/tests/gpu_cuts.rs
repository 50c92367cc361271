//! The cost model knows how GPU kernels cut their work; the kernels say how they do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cuda::{Activations, EmitOptions, emit_with};
use spc_formats::Layout;
use spc_ir::{DType, Dim, Graph, Op, Plan, Sym, SymId, Type};

#[test]
fn the_cuts_of_the_model_are_those_of_the_kernels() {
    let (o, k) = (1536u64, 1024u64);
    let mut g = Graph::new("f");
    g.syms.push(Sym { name: "B".into(), lo: 1, hi: 4096 });
    let ty = Type::new(DType::F32, vec![Dim::free("B", SymId(0)), Dim::fixed("K", k)]);
    let x = g.add(Op::Input { name: "x".into(), ty }, &[]).unwrap();
    let ty = Type::new(DType::F32, vec![Dim::fixed("O", o), Dim::fixed("K", k)]);
    let w = g.add(Op::Weight { name: "w".into(), ty }, &[]).unwrap();
    let y = g.add(Op::Linear { bias: false, act: None }, &[x, w]).unwrap();
    g.outputs.push(("y".into(), y));
    let names = "dense(16) dense(4) vx1(1) vx1(4) vx1(16) vx1(64) bsr(4,4) bsr(16,16) csr nm(2,4) nm(8,32) mma24 mma32(32) \
                 mma32(64) mma32(128) mma1(16) mma1(32) mma1(64) mma1(128) vnm(32,8) vnm(64,8) vnm(64,16) vnm(128,8) vnm(128,16) i8(16) mma24_f16 mma32_f16(64) mma1_f16(16) vnm_f16(64,8)";
    for name in names.split_whitespace() {
        let layout: Layout = name.parse().unwrap();
        for activations in [Activations::Exact, Activations::Bf16] {
            let plan = Plan::all_dense(&g, "cuda", name).unwrap();
            let module = emit_with(&g, &plan, &EmitOptions { activations, ..EmitOptions::default() }).unwrap();
            let kernels: Vec<_> =
                module.kernels.iter().filter(|k| !["terms", "parts", "wgmma"].contains(&k.family.as_str())).collect();
            let cuts = spc_layout::cuts(layout);
            assert_eq!(kernels.len(), cuts.len(), "{name}");
            for (kernel, c) in kernels.iter().zip(cuts) {
                let tiles = o.div_ceil(c.rows) * spc_layout::split(layout, o, k, c);
                let of_kernel =
                    (kernel.to_tokens.unwrap_or(0), u64::from(kernel.grid.tokens), u64::from(kernel.grid.tiles));
                assert_eq!(of_kernel, (c.up_to, c.tokens, tiles), "{name}: {}", kernel.name);
            }
        }
    }
    for name in ["nm16(2,4)", "csr16"] {
        let layout: Layout = name.parse().unwrap();
        assert!(spc_layout::family(layout).is_none(), "{name}");
    }
}
