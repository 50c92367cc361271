use spc_interp::*; use spc_ir::*; use std::collections::BTreeMap; use std::time::Instant; use ndarray::ArrayD;
fn go<R: Real>() {
    let mut t = String::from("graph \"g\" {\n%0 = input \"x\" : f32[B=512, D=384]\n%1 = weight \"w\" : f32[O=1536, D=384]\n%2 = weight \"b\" : f32[O=1536]\n%3 = weight \"w2\" : f32[D=384, O=1536]\n%4 = weight \"b2\" : f32[D=384]\n");
    let mut n = 5; let mut x = 0;
    for _ in 0..6 {
        t += &format!("%{n} = linear bias act (mul (mul 0.5 a0) (add 1 (erf (div a0 1.4142135623730951)))) (%{x}, %1, %2) : f32[B=512, O=1536]\n%{} = linear bias (%{n}, %3, %4) : f32[B=512, D=384]\n", n+1);
        x = n+1; n += 2;
    }
    t += "%N = contract [0 1] [2 1] -> [0 2] (%X, %X) : f32[B=512, B=512]\n%M = map (exp (sub a0 1)) at [0 1] (%N) : f32[B=512, B=512]\noutput \"y\" = %M\n}".replace("%N", &format!("%{n}")).replace("%M", &format!("%{}", n+1)).replace("%X", &format!("%{x}")).as_str();
    let g = Graph::parse(&t).unwrap();
    let mut w: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let mut f = |n: usize| (0..n).map(|i| ((i * 7919 % 1001) as f32 - 500.) / 20000.).collect::<Vec<f32>>();
    for (a, k) in [("w", 1536*384), ("w2", 1536*384), ("b", 1536), ("b2", 384)] { w.insert(a.into(), f(k)); }
    let x = Value::F(ArrayD::from_shape_vec(vec![512, 384], f(512*384).iter().map(|v| R::from_f32(*v*40.)).collect()).unwrap());
    let s = Instant::now();
    let r = run(&g, &[], &[("x".to_string(), x)].into(), &w).unwrap();
    eprintln!("{:?} {:?}", s.elapsed(), r[0].1.floats().unwrap()[[0,1]]);
    let m = |n: &str, sh: &[u64], gr: &[u64], sc: &[u64]| Member { weight: n.into(), shape: sh.into(), group: gr.into(), scope: sc.into(), layer: "".into() };
    let k = |a, scope, mm| Require { name: "r".into(), keeps: vec![Keep { amount: a, scope, score: Score::Norm2, floor: None, multiple: 1, tail: Tail::Exact, members: vec![mm] }] };
    for r in [k(Amount::OutOf{n:2,m:4}, Scope::Tile, m("w", &[1536,384], &[1,1], &[1,4])), k(Amount::Share{num:1,den:4}, Scope::Tensor, m("w2", &[384,1536], &[16,1], &[1,1])), k(Amount::Share{num:1,den:4}, Scope::Tensor, m("w2", &[384,1536], &[1,1], &[1,1]))] {
        let s = Instant::now(); project(std::slice::from_ref(&r), &mut w).unwrap(); let a = s.elapsed();
        let s = Instant::now(); verify_requires(std::slice::from_ref(&r), &w).unwrap(); eprintln!("project {a:?} verify {:?}", s.elapsed());
    }
}
fn main() { go::<f32>(); go::<f64>(); }
