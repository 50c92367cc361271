//! What a module says about itself: kernels, host operators, text, manifest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_cuda::{CudaModule, EmitOptions, Operand, ParamKind, emit, emit_with, manifest};
use spc_ir::{Act, Graph, NodeId, Plan};

/// Two linears with a softmax-like tail; the second linear's activation is the map %8.
const GRAPH: &str = r#"
graph "net" {
  sym B = 1..64
  sym T = 1..128
  %0 = input "x" : f32[B=?B, T=?T, K=12]
  %1 = weight "a.w" : f32[O=7, K=12]
  %2 = weight "b\"\\.w" : f32[P=5, O=7]
  %3 = weight "b.b" : f32[P=5]
  %4 = linear act (max a0 0) (%0, %1) : f32[B=?B, T=?T, O=7]
  %5 = linear bias (%4, %2, %3) : f32[B=?B, T=?T, P=5]
  %6 = map (mul a0 2) at [0 1 2] (%5) : f32[B=?B, T=?T, P=5]
  %7 = map (exp a0) at [0 1 2] (%6) : f32[B=?B, T=?T, P=5]
  %8 = reduce sum [2] (%7) : f32[B=?B, T=?T]
  output "y" = %8
}
"#;

fn graph() -> Graph {
    Graph::parse(GRAPH).unwrap()
}

fn plan(graph: &Graph) -> Plan {
    let mut plan = Plan::all_dense(graph, "cuda", "dense(16)").unwrap();
    plan.linears[0].layout = "nm(2,4)".into();
    plan.linears[1].epilogue = Some(NodeId(6));
    plan
}

fn module() -> CudaModule {
    let graph = graph();
    emit(&graph, &plan(&graph)).unwrap()
}

#[test]
fn kernels_know_what_they_read_and_write() {
    let m = module();
    let [a, b, ..] = &m.kernels[..] else { panic!("two kernels") };
    assert_eq!((a.name.as_str(), a.family.as_str(), a.layout.as_str()), ("linear_4_a_w_nm_2_4", "nm", "nm(2,4)"));
    assert_eq!((a.node, a.writes, a.x, a.bias), (NodeId(4), NodeId(4), NodeId(0), None));
    assert_eq!((a.outputs, a.inputs, a.tokens.as_str(), a.block, a.cc), (7, 12, "B * T", 128, 80));
    assert_eq!(a.grid.to_string(), "ceildiv(N, 64) * 1");
    let names: Vec<&str> = a.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["idx", "values", "x", "y", "n"]);
    assert_eq!((b.name.as_str(), b.family.as_str()), ("linear_5_b___w_dense_16", "dense"));
    assert_eq!((b.node, b.writes, b.x, b.bias), (NodeId(5), NodeId(6), NodeId(4), Some(NodeId(3))));
    let kinds: Vec<ParamKind> = b.params.iter().map(|p| p.kind).collect();
    use ParamKind::*;
    assert_eq!(kinds, [F32In, F32In, F32In, F32Out, I32]);
}

#[test]
fn other_operators_have_kernels_too() {
    let m = module();
    assert!(m.host.is_empty());
    let [_, _, exp, sum] = &m.kernels[..] else { panic!("four kernels") };
    // Not the map that is fused, not inputs and weights.
    assert_eq!((exp.name.as_str(), exp.writes, exp.tokens.as_str()), ("map_7", NodeId(7), "B * T * 5"));
    assert_eq!(
        (sum.name.as_str(), sum.writes, sum.grid.to_string().as_str()),
        ("reduce_8", NodeId(8), "ceildiv(N, 4) * 1")
    );
    assert_eq!(exp.params[0].of, Operand::Value { node: NodeId(6) });
}

#[test]
fn what_no_kernel_can_compute_is_listed_with_its_reason() {
    // A row number must fit 31 bits. The map is not fused then.
    let text = GRAPH.replace("P=5", "P=3000000000");
    let graph = Graph::parse(&text).unwrap();
    let m = emit(&graph, &plan(&graph)).unwrap();
    let host: Vec<(u32, &str)> = m.host.iter().map(|h| (h.node.0, h.reason.as_str())).collect();
    assert_eq!(host, [(5, "3000000000 x 7 weights are too large for 32-bit row and column numbers")]);
    assert_eq!(m.kernels.len(), 4);
}

#[test]
fn the_text_is_complete_and_repeatable() {
    let m = module();
    assert_eq!(m, module());
    let includes: Vec<&str> = m.text.lines().filter(|l| l.starts_with("#include")).collect();
    assert_eq!(includes, ["#include \"spc_emu.hpp\""], "only the emulator's, inside its #if");
    assert!(m.text.is_ascii() && m.text.lines().all(|l| !l.ends_with('\\')));
    for k in &m.kernels {
        assert_eq!(m.text.matches(&format!("__launch_bounds__(128) {}(", k.name)).count(), 1);
    }
    assert!(m.text.contains(r#"//   weight "b\"\\.w" [5, 7] in dense(16)"#), "{}", m.text);
    assert!(m.text.contains("N = B * T"));
    assert!(!m.text.contains("spc_blocks"), "only the families in use");
    let nothing = Graph::parse("graph \"f\" {\n  %0 = input \"x\" : f32[]\n  output \"y\" = %0\n}\n").unwrap();
    let m = emit(&nothing, &Plan::all_dense(&nothing, "cuda", "csr").unwrap()).unwrap();
    assert!(m.kernels.is_empty() && m.host.is_empty() && m.text.contains("spc_ldg"));
}

#[test]
fn activation_layouts_of_a_plan_have_no_part_in_the_text() {
    let (graph, mut other) = (graph(), plan(&graph()));
    other.linears[0].x = Act::Fm;
    other.linears[0].y = Act::Fm;
    other.values.insert(NodeId(4), Act::Fm);
    other.verify(&graph).unwrap();
    assert_eq!(emit(&graph, &other).unwrap(), module());
}

#[test]
fn wrong_plans_are_bugs() {
    let graph = graph();
    let mut bad = plan(&graph);
    bad.linears[0].layout = "coo".into();
    assert!(emit(&graph, &bad).is_err());
    let mut bad = plan(&graph);
    bad.linears.pop();
    assert!(emit(&graph, &bad).is_err());
    let mut bad = plan(&graph);
    bad.graph.clear();
    assert!(emit(&graph, &bad).is_err());
}

#[test]
fn the_manifest_holds_all_of_it() {
    let m = module();
    let json = manifest(&m, None).unwrap();
    assert_eq!(json.keys().collect::<Vec<_>>().len(), 3);
    assert_eq!(json["images"], serde_json::json!([]));
    assert_eq!(json["kernels"][0]["grid"], "ceildiv(N, 64) * 1");
    assert_eq!(json["kernels"][0]["params"][0], serde_json::json!({"name": "idx", "kind": "u8_in", "of": "packed"}));
    assert_eq!(json["kernels"][1]["bias"], 3);
    assert_eq!(json["kernels"][1]["shared_bytes"], m.kernels[1].shared_bytes);
    assert_eq!(json["kernels"][3]["params"][0]["of"]["value"]["node"], 7);
    let text = serde_json::to_string(&json).unwrap();
    assert_eq!(text, serde_json::to_string(&manifest(&m, None).unwrap()).unwrap());
}

#[test]
fn kernels_of_one_architecture_replace_others_there_alone() {
    let text = "graph \"net\" {\n  sym B = 1..1000\n  %0 = input \"x\" : f32[B=?B, K=64]\n  %1 = weight \"w\" : f32[O=64, K=64]\n  %2 = \
                linear (%0, %1) : f32[B=?B, O=64]\n  output \"y\" = %2\n}\n";
    let graph = Graph::parse(text).unwrap();
    let plan = Plan::all_dense(&graph, "cuda", "mma24").unwrap();
    let small = emit(&graph, &plan).unwrap();
    assert!(small.own_archs().is_empty() && !small.text.contains("wgmma"), "a small weight has none");
    let options = EmitOptions { warp_groups_from: 0, ..EmitOptions::default() };
    let m = emit_with(&graph, &plan, &options).unwrap();
    assert_eq!(m.own_archs(), ["sm_90a"]);
    for n in [1, 64, 65, 255, 256, 1000] {
        let of = |arch: &str| -> Vec<String> {
            let all = m.kernels_of(arch);
            all.iter().filter(|k| k.family != "terms" && k.is_for(n)).map(|k| k.family.clone()).collect()
        };
        for arch in ["sm_80", "compute_80", "sm_90", "sm_100"] {
            assert_eq!(of(arch), ["mma"], "{arch}, {n} tokens");
        }
        for arch in ["sm_90a", "compute_90a"] {
            assert_eq!(of(arch), [if n >= 256 { "wgmma" } else { "mma" }], "{arch}, {n} tokens");
        }
    }
    let json = serde_json::Value::Object(manifest(&m, None).unwrap());
    let only: Vec<_> = json["kernels"].as_array().unwrap().iter().filter_map(|k| k["only"].as_str()).collect();
    assert_eq!(only, ["sm_90a"]);
}
