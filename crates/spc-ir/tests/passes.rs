//! Each pass where it must act and where it must not. That values stay is tested with the interpreter, on random graphs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ir::{Graph, passes};

/// Runs all passes over a graph with these lines; the result without its first and last line, and the patches by rule.
fn run(lines: &str) -> (String, Vec<(&'static str, usize)>) {
    let g = Graph::parse(&format!("graph \"g\" {{\n{lines}\n}}")).unwrap();
    let (after, log) = passes::run(&g, None).unwrap();
    after.verify().unwrap();
    let text = after.to_string();
    let body: Vec<&str> = text.lines().map(str::trim).collect();
    (body[1..body.len() - 1].join("\n"), log.applied.into_iter().filter(|(_, n)| *n > 0).collect())
}

#[track_caller]
fn becomes(before: &str, after: &str, rules: &[(&str, usize)]) {
    let (text, log) = run(before);
    let lines = |s: &str| s.lines().map(|l| l.trim().to_string()).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    assert_eq!(lines(&text), lines(after));
    assert_eq!(log, rules);
}

#[track_caller]
fn stays(rule: &str, before: &str) {
    let (text, log) = run(before);
    assert!(log.iter().all(|(r, _)| *r != rule), "{rule} acted:\n{text}");
}

#[test]
fn linear_form_takes_a_weight_in_stored_order() {
    becomes(
        r#"%0 = input "x" : f32[B=2, K=6]
           %1 = weight "w" : f32[O=5, K=6]
           %2 = contract [0 1] [2 1] -> [2 0] (%0, %1) : f32[O=5, B=2]
           output "y" = %2"#,
        r#"%0 = input "x" : f32[B=2, K=6]
           %1 = weight "w" : f32[O=5, K=6]
           %2 = linear (%0, %1) : f32[B=2, O=5]
           %3 = transpose [1 0] (%2) : f32[O=5, B=2]
           output "y" = %3"#,
        &[("linear-form", 1)],
    );
}

#[test]
fn linear_form_looks_through_splits() {
    // Rows split into heads, and the summed axis into two parts that x has elsewhere.
    becomes(
        r#"%0 = input "x" : f32[P=2, B=4, Q=3]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = split 1 [P=2, Q=3] (%1) : f32[R=10, P=2, Q=3]
           %3 = contract [0 7 9] [7 1 9] -> [1 0] (%2, %0) : f32[B=4, R=10]
           output "y" = %3"#,
        r#"%0 = input "x" : f32[P=2, B=4, Q=3]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = transpose [1 0 2] (%0) : f32[B=4, P=2, Q=3]
           %3 = merge 1 2 (%2) : f32[B=4, (P Q)=6]
           %4 = linear (%3, %1) : f32[B=4, R=10]
           output "y" = %4"#,
        &[("linear-form", 1)],
    );
    becomes(
        r#"%0 = input "x" : f32[B=4, K=6]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = split 0 [H=2, C=5] (%1) : f32[H=2, C=5, K=6]
           %3 = contract [0 9] [1 2 9] -> [1 0 2] (%0, %2) : f32[H=2, B=4, C=5]
           output "y" = %3"#,
        r#"%0 = input "x" : f32[B=4, K=6]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = linear (%0, %1) : f32[B=4, R=10]
           %3 = split 1 [H=2, C=5] (%2) : f32[B=4, H=2, C=5]
           %4 = transpose [1 0 2] (%3) : f32[H=2, B=4, C=5]
           output "y" = %4"#,
        &[("linear-form", 1)],
    );
}

#[test]
fn linear_form_leaves_other_products() {
    let product = |w: &str, k: u32| {
        format!(
            "%0 = input \"x\" : f32[B=6, K=6]\n%1 = {w} \"w\" : f32[O=6, K=6]\n\
             %2 = contract [0 1] [2 {k}] -> [0 2] (%0, %1) : f32[B=6, O=6]\noutput \"y\" = %2"
        )
    };
    assert_eq!(run(&product("weight", 1)).1, [("linear-form", 1)]);
    // Not a weight.
    stays("linear-form", &product("input", 1));
    // The weight is stored [in, out].
    stays(
        "linear-form",
        r#"%0 = input "x" : f32[B=2, K=6]
           %1 = weight "w" : f32[K=6, O=6]
           %2 = contract [0 1] [1 2] -> [0 2] (%0, %1) : f32[B=2, O=6]
           output "y" = %2"#,
    );
    // The summed parts are stored in the other order.
    stays(
        "linear-form",
        r#"%0 = input "x" : f32[B=2, P=2, Q=3]
           %1 = weight "w" : f32[O=5, K=6]
           %2 = split 1 [P=2, Q=3] (%1) : f32[O=5, P=2, Q=3]
           %3 = transpose [0 2 1] (%2) : f32[O=5, Q=3, P=2]
           %4 = contract [0 1 2] [5 2 1] -> [0 5] (%0, %3) : f32[B=2, O=5]
           output "y" = %4"#,
    );
    // A batch axis: a row of the weight for each row of x.
    stays(
        "linear-form",
        r#"%0 = input "x" : f32[O=5, K=6]
           %1 = weight "w" : f32[O=5, K=6]
           %2 = contract [0 1] [0 1] -> [0] (%0, %1) : f32[O=5]
           output "y" = %2"#,
    );
    // Nothing is summed.
    stays(
        "linear-form",
        r#"%0 = input "x" : f32[B=2]
           %1 = weight "w" : f32[O=5, K=6]
           %2 = contract [0] [1 2] -> [0 1 2] (%0, %1) : f32[B=2, O=5, K=6]
           output "y" = %2"#,
    );
    // A part of the stored rows is summed.
    stays(
        "linear-form",
        r#"%0 = input "x" : f32[H=2, K=6]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = split 0 [H=2, C=5] (%1) : f32[H=2, C=5, K=6]
           %3 = contract [0 1] [0 2 1] -> [2] (%0, %2) : f32[C=5]
           output "y" = %3"#,
    );
}

#[test]
fn fuse_maps_merges_chains_and_shares_operands() {
    becomes(
        r#"%0 = input "x" : f32[B=2, K=3]
           %1 = input "v" : f32[K=3]
           %2 = map (mul a0 a1) at [0 1] [1] (%0, %1) : f32[B=2, K=3]
           %3 = map (add (neg a1) a0) at [0] [1 0] (%1, %2) : f32[K=3, B=2]
           output "y" = %3"#,
        r#"%0 = input "x" : f32[B=2, K=3]
           %1 = input "v" : f32[K=3]
           %2 = map (add (neg (mul a1 a0)) a0) at [0] [1 0] (%1, %0) : f32[K=3, B=2]
           output "y" = %2"#,
        &[("fuse-maps", 1)],
    );
}

#[test]
fn fuse_maps_leaves_shared_and_costly_values() {
    // Two readers.
    stays(
        "fuse-maps",
        r#"%0 = input "x" : f32[K=3]
           %1 = map (neg a0) at [0] (%0) : f32[K=3]
           %2 = reduce sum [0] (%1) : f32[]
           %3 = map (add a0 a1) at [0] [] (%1, %2) : f32[K=3]
           output "y" = %3"#,
    );
    // An output.
    stays(
        "fuse-maps",
        r#"%0 = input "x" : f32[K=3]
           %1 = map (neg a0) at [0] (%0) : f32[K=3]
           %2 = map (abs a0) at [0] (%1) : f32[K=3]
           output "z" = %1
           output "y" = %2"#,
    );
    // Two uses of a costly function; of a cheap one it may.
    let twice = |f: &str| {
        format!(
            "%0 = input \"x\" : f32[K=3]\n%1 = map ({f} a0) at [0] (%0) : f32[K=3]\n\
             %2 = map (mul a0 a0) at [0] (%1) : f32[K=3]\noutput \"y\" = %2"
        )
    };
    stays("fuse-maps", &twice("exp"));
    assert_eq!(run(&twice("neg")).1, [("fuse-maps", 1)]);
}

const QKV: &str = r#"
    %0 = input "x" : f32[B=2, K=6]
    %1 = weight "w" : f32[R=10, K=6]
    %2 = weight "b" : f32[R=10]
    %3 = split 0 [H=2, C=5] (%1) : f32[H=2, C=5, K=6]
    %4 = split 0 [H=2, C=5] (%2) : f32[H=2, C=5]
    %5 = contract [0 9] [1 2 9] -> [1 0 2] (%0, %3) : f32[H=2, B=2, C=5]"#;

#[test]
fn linear_bias_moves_through_views() {
    becomes(
        &format!(
            "{QKV}\n%6 = map (max (add a1 a0) 0) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]\noutput \"y\" = %6"
        ),
        r#"%0 = input "x" : f32[B=2, K=6]
           %1 = weight "w" : f32[R=10, K=6]
           %2 = weight "b" : f32[R=10]
           %3 = linear bias (%0, %1, %2) : f32[B=2, R=10]
           %4 = split 1 [H=2, C=5] (%3) : f32[B=2, H=2, C=5]
           %5 = transpose [1 0 2] (%4) : f32[H=2, B=2, C=5]
           %6 = map (max a0 0) at [0 1 2] (%5) : f32[H=2, B=2, C=5]
           output "y" = %6"#,
        &[("linear-form", 1), ("linear-bias", 1)],
    );
    // Without anything else the map goes away.
    let (text, log) =
        run(&format!("{QKV}\n%6 = map (add a0 a1) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]\noutput \"y\" = %6"));
    assert!(!text.contains("map") && log.contains(&("linear-bias", 1)), "{text}");
}

#[test]
fn linear_bias_leaves_what_lies_otherwise() {
    let tail = |line: &str| format!("{QKV}\n{line}\noutput \"y\" = %6");
    // Scaled before it is added; used twice; subtracted.
    stays("linear-bias", &tail("%6 = map (add (mul 2 a0) a1) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]"));
    stays("linear-bias", &tail("%6 = map (mul a0 (add a0 a1)) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]"));
    stays("linear-bias", &tail("%6 = map (mul a1 (add a0 a1)) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]"));
    stays("linear-bias", &tail("%6 = map (sub a0 a1) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]"));
    // The linear has another reader.
    stays(
        "linear-bias",
        &format!(
            "{QKV}\n%6 = map (add a0 a1) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]\n\
             %7 = reduce sum [0] (%5) : f32[B=2, C=5]\noutput \"y\" = %6\noutput \"z\" = %7"
        ),
    );
    // A weight of the right size along another axis, and one that is no weight.
    let plain = |kind: &str, place: u32| {
        format!(
            "%0 = input \"x\" : f32[B=5, K=6]\n%1 = weight \"w\" : f32[O=5, K=6]\n%2 = {kind} \"b\" : f32[O=5]\n\
             %3 = contract [0 1] [2 1] -> [0 2] (%0, %1) : f32[B=5, O=5]\n\
             %4 = map (add a0 a1) at [0 1] [{place}] (%3, %2) : f32[B=5, O=5]\noutput \"y\" = %4"
        )
    };
    assert_eq!(run(&plain("weight", 1)).1, [("linear-form", 1), ("linear-bias", 1)]);
    stays("linear-bias", &plain("weight", 0));
    stays("linear-bias", &plain("input", 1));
    // Heads and channels of the bias the other way round (both of size 2, so that sizes fit).
    stays(
        "linear-bias",
        r#"%0 = input "x" : f32[K=6]
           %1 = weight "w" : f32[R=4, K=6]
           %2 = weight "b" : f32[R=4]
           %3 = split 0 [H=2, C=2] (%1) : f32[H=2, C=2, K=6]
           %4 = split 0 [H=2, C=2] (%2) : f32[H=2, C=2]
           %5 = contract [9] [1 2 9] -> [1 2] (%0, %3) : f32[H=2, C=2]
           %6 = map (add a0 a1) at [0 1] [1 0] (%5, %4) : f32[H=2, C=2]
           output "y" = %6"#,
    );
}

#[test]
fn fold_views_removes_what_cancels() {
    becomes(
        r#"%0 = input "x" : f32[A=2, B=3, C=4]
           %1 = transpose [2 0 1] (%0) : f32[C=4, A=2, B=3]
           %2 = transpose [1 2 0] (%1) : f32[A=2, B=3, C=4]
           %3 = split 2 [P=2, Q=2] (%2) : f32[A=2, B=3, P=2, Q=2]
           %4 = merge 2 2 (%3) : f32[A=2, B=3, (P Q)=4]
           %5 = map a0 at [0 1 2] (%4) : f32[A=2, B=3, (P Q)=4]
           %6 = reduce sum [0] (%5) : f32[B=3, (P Q)=4]
           output "y" = %6"#,
        r#"%0 = input "x" : f32[A=2, B=3, C=4]
           %1 = reduce sum [0] (%0) : f32[B=3, C=4]
           output "y" = %1"#,
        &[("fold-views", 4)],
    );
}

#[test]
fn fold_views_leaves_what_does_not_cancel() {
    for lines in [
        // A merge of other dimensions than the split's.
        r#"%0 = input "x" : f32[A=2, B=4]
           %1 = split 1 [P=2, Q=2] (%0) : f32[A=2, P=2, Q=2]
           %2 = merge 0 2 (%1) : f32[(A P)=4, Q=2]
           output "y" = %2"#,
        r#"%0 = input "x" : f32[A=2, B=4]
           %1 = split 1 [P=2, Q=2] (%0) : f32[A=2, P=2, Q=2]
           %2 = merge 1 1 (%1) : f32[A=2, P=2, Q=2]
           output "y" = %2"#,
        r#"%0 = input "x" : f32[A=2, B=4]
           %1 = transpose [1 0] (%0) : f32[B=4, A=2]
           output "y" = %1"#,
        // A map that turns its operand.
        r#"%0 = input "x" : f32[A=2, B=4]
           %1 = map a0 at [1 0] (%0) : f32[B=4, A=2]
           output "y" = %1"#,
    ] {
        stays("fold-views", lines);
    }
}

#[test]
fn fuel_bounds_the_number_of_patches() {
    let g = Graph::parse(&format!(
        "graph \"g\" {{{QKV}\n%6 = map (add a0 a1) at [0 1 2] [0 2] (%5, %4) : f32[H=2, B=2, C=5]\noutput \"y\" = %6\n}}"
    ))
    .unwrap();
    let all: usize = passes::run(&g, None).unwrap().1.applied.iter().map(|(_, n)| n).sum();
    assert!(all >= 2);
    for limit in 0..=all + 1 {
        let (after, log) = passes::run(&g, Some(limit)).unwrap();
        assert_eq!(log.applied.iter().map(|(_, n)| n).sum::<usize>(), limit.min(all));
        assert_eq!(after == g.compact().unwrap(), limit == 0);
    }
}
