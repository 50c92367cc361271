//! Scores over data, states, fixes from files, and what the commands say of the library and of stored weights.
use super::*;

fn matrix(path: &Path, rows: usize, f: impl Fn(usize) -> f32, columns: usize) {
    let values: Vec<f32> = (0..rows * columns).map(f).collect();
    spc_io::write_npy(path, &spc_io::Tensor::new(vec![rows, columns], values).unwrap()).unwrap();
}

/// The norm of what each weight meets, over the rows of the data, decides what stays (Wanda).
#[test]
fn scores_measure_the_inputs_of_weights_over_data() {
    let program = |score: &str, more: &str| {
        format!(
            "use std.nn\nuse std.score.wanda\naxis B = 1..3\n\
             data calib from npy \"x.npy\" {{ x: f32[I]  split {{ few = 0..1, all = 0..7 }} }}\n\
             model net from safetensors \"net.safetensors\" {{ axes {{ I = 4, N = 2 }} w: f32[N, I]  v: f32[N, N] }}\n\
             fn f(x: f32[B, I]) -> y: f32[B, N] {{ y = nn.linear(nn.linear(x, net.w), net.v) }}\n\
             score saliency(x: data, power: f32 = 2) = pow(abs(w), power) * input_norm(x)\n\
             require r: keep 2 of 4 of elements per tile(in: 4) by {score} on net.w\n{more}\n"
        )
    };
    let mut stored = Stored::new();
    stored.insert("w".into(), (Dtype::F32, vec![2, 4], bytes(&[1.0, 2.0, 3.0, 4.0, -4.0, 3.0, 2.0, 1.0])));
    stored.insert("v".into(), (Dtype::F32, vec![2, 2], bytes(&[1.0, 0.0, 0.0, 1.0])));
    let dir = folder(&program("wanda(calib.x)", ""), &file(&stored));
    // Columns of norms 30, 3, 1 and 6 times the same number; seven rows, in batches of three at most. Row 0 is another.
    matrix(
        &dir.path().join("x.npy"),
        7,
        |i| if i < 4 { [0.0, 9.0, 9.0, 0.0][i] } else { [30.0, -3.0, 1.0, 6.0][i % 4] },
        4,
    );
    let kept = |program: &str| {
        std::fs::write(dir.path().join("net.sp"), program).unwrap();
        ok(spc(dir.path(), ["export", "net.sp", "-o", "out.safetensors"]));
        let bytes = std::fs::read(dir.path().join("out.safetensors")).unwrap();
        let out = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let w = floats(out.tensor("w").unwrap().data());
        std::fs::remove_file(dir.path().join("out.safetensors")).unwrap();
        w.iter().enumerate().filter(|(_, w)| **w != 0.0).map(|(i, _)| i).collect::<Vec<_>>()
    };
    // |w| * norm: 73, 20, 26, 59 and 294, 34, 18, 15.
    assert_eq!(kept(&program("wanda(calib.x)", "")), [0, 3, 4, 5]);
    // Only the first row: 0, 18, 27, 0 and 0, 27, 18, 0.
    assert_eq!(kept(&program("wanda(calib.few.x)", "")), [1, 2, 5, 6]);
    assert_eq!(kept(&program("saliency(calib.x, power: 0)", "")), [0, 3, 4, 7]);
    assert_eq!(kept(&program("abs(w) * input_norm(calib.x)", "run measure { call: f(calib.all.x) }")), [0, 3, 4, 5]);
    assert_eq!(kept(&program("abs(w)", "")), [2, 3, 4, 5]);
    // A function that the data does not reach.
    std::fs::write(
        dir.path().join("net.sp"),
        program("wanda(calib.x)", "").replace("fn f(x", "fn f(z").replace("linear(x,", "linear(z,"),
    )
    .unwrap();
    refused(dir.path(), &["export", "net.sp", "-o", "out.safetensors"], 1, "SP0310");
}

/// What one call leaves is what the next one is given; the first call needs nothing.
#[test]
fn states_go_from_call_to_call_through_files() {
    let text = "axis B = 1..4, T = 1..9\n\
        fn f(x: f32[B, T]) -> mean: f32[B] {\n\
          state total: f32[B] = 0\n  state count: f32 = 0\n\
          total = total + sum(x over T)\n  count = count + size(T)\n  mean = total / count\n}\n";
    let dir = folder(text, &file(&Stored::new()));
    matrix(&dir.path().join("x.npy"), 2, |i| i as f32, 3);
    let mut args = vec![
        "run",
        "net.sp",
        "--fn",
        "f",
        "--in",
        "x=x.npy",
        "--out",
        "mean=mean.npy",
        "--out",
        "total=total.npy",
        "--out",
        "count=count.npy",
    ];
    ok(spc(dir.path(), &args));
    let read = |name: &str| spc_io::read_npy(&dir.path().join(name)).unwrap().as_f32().unwrap().to_vec();
    assert_eq!((read("mean.npy"), read("total.npy"), read("count.npy")), (vec![1.0, 4.0], vec![3.0, 12.0], vec![3.0]));
    args.extend(["--in", "total=total.npy", "--in", "count=count.npy"]);
    matrix(&dir.path().join("x.npy"), 2, |i| 2.0 * i as f32, 3);
    ok(spc(dir.path(), &args));
    assert_eq!((read("mean.npy"), read("count.npy")), (vec![1.5, 6.0], vec![6.0]));
}

#[test]
fn a_tensor_of_the_same_shape_is_the_fix_for_a_missing_one() {
    let text = "axis B = 1..4\nmodel net from safetensors \"net.safetensors\" {\n  axes { I = 4, N = 2 }\n\
        \x20 w: f32[N, I] = \"hidden.wieght\"\n  hidden_bais: f32[N]\n}\n\
        fn f(x: f32[B, I]) -> y: f32[B, N] { y[b, n] = net.w[n, i] * x[b, i] + net.hidden_bais[n] }\n";
    let mut stored = Stored::new();
    stored.insert("hidden.weight".into(), (Dtype::F32, vec![2, 4], bytes(&[1.0; 8])));
    stored.insert("hidden_bias".into(), (Dtype::F32, vec![2], bytes(&[1.0; 2])));
    let dir = folder(text, &file(&stored));
    let r = spc(dir.path(), ["check", "net.sp"]);
    assert!(r.code != 0 && r.stderr.contains("SP0403"), "{}", r.stderr);
    ok(spc(dir.path(), ["check", "net.sp", "--fix"]));
    let fixed = std::fs::read_to_string(dir.path().join("net.sp")).unwrap();
    for line in ["w: f32[N, I] = \"hidden.weight\"", "hidden_bais: f32[N] = \"hidden_bias\""] {
        assert!(fixed.contains(line), "{fixed}");
    }
    ok(spc(dir.path(), ["check", "net.sp"]));
}

#[test]
fn explain_as_json_says_what_is_stored_rounded() {
    let dir = folder(&format!("{NET}quantize net.w1 to int8(per: tile(in: 16))\n"), &file(&weights()));
    let r = ok(spc(dir.path(), ["explain", "net.sp", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&r.stdout).unwrap();
    let q = &json[0]["quantize"][0];
    assert_eq!((q["weight"].as_str(), q["to"].as_str()), (Some("net.w1"), Some("int8")), "{}", r.stdout);
    assert_eq!(q["scale_per"], serde_json::json!([1, 16]));
    assert_eq!(json[0]["quantize"].as_array().unwrap().len(), 1);
}

/// `docs/std.md` is what `spc std --docs` prints. `UPDATE_DOCS=1` writes it.
#[test]
fn the_page_of_the_library_is_current() {
    let path = top().join("docs/std.md");
    let out = ok(spc(&top(), ["std", "--docs"])).stdout;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == out, "run `spc std --docs > docs/std.md`");
    for item in [
        "fn linear(x: float[.., I], w: float[O, I], b: float[O] = 0) -> y: float[.., O]",
        "update sr_ste(c: constraint, lambda: f32 = 2e-4)",
        "penalty mcp(lambda: f32, gamma: f32 = 3) radial",
        "score wanda(x: data)",
    ] {
        assert!(out.contains(&format!("* `{item}`")), "{item} in\n{out}");
    }
    let one = ok(spc(&top(), ["std", "nn", "--docs"])).stdout;
    assert!(one.contains("fn attend(") && !one.contains("sr_ste"), "{one}");
    refused(&top().join("docs"), &["std", "nothing", "--docs"], 2, "SP0101");
}
