//! The loop IR: text, verifier, interpreter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use spc_kernel::ir::interp::{Arg, run};
use spc_kernel::ir::random::{self, Rng};
use spc_kernel::ir::{Addr, Builder, FBin, IBin, LoadKind, Op, RedFn, StoreKind, Ty, parse};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn text_parses_back_to_the_kernel(seed: u64, lanes in prop::sample::select(vec![1usize, 4, 8, 16])) {
        let k = random::kernel(&mut Rng::new(seed), lanes).unwrap();
        prop_assert_eq!(parse(&k.to_string()).unwrap(), k);
    }

    #[test]
    fn random_kernels_stay_inside_their_buffers(seed: u64, n in 0i64..4) {
        let mut rng = Rng::new(seed);
        let k = random::kernel(&mut rng, 4).unwrap();
        let mut buffers = [random::buffer(&mut rng), random::buffer(&mut rng)];
        run(&k, &[Arg::buffer(0), Arg::buffer(1), Arg::Int(n)], &mut buffers).unwrap();
    }

    #[test]
    fn broken_text_is_an_error_and_no_panic(seed: u64, cut in 0.0f64..1.0, put in "[ -~]{0,3}") {
        let text = random::kernel(&mut Rng::new(seed), 4).unwrap().to_string();
        let at = (text.len() as f64 * cut) as usize;
        let broken = format!("{}{put}{}", &text[..at], &text[(at + 1).min(text.len())..]);
        if let Ok(k) = parse(&broken) {
            prop_assert_eq!(parse(&k.to_string()).unwrap(), k);
        }
    }
}

fn refuse(text: &str, words: &str) {
    let e = parse(text).expect_err(text);
    assert!(e.contains(words), "`{e}` does not say `{words}`");
}

#[test]
fn the_verifier_names_what_is_wrong() {
    let cases = [
        ("v1: i64 = iadd v0, v0", "v0 is ptr, not i64"),
        ("v1: f32 = int 3", "v1 is f32, its definition gives i64"),
        ("v1: i64 = iadd v2, v2\nv2: i64 = int 1", "used outside its scope"),
        ("v1: i64 = int 1\nv1: i64 = int 2", "defined twice"),
        (
            "v1: i64 = int 1\nloop v2 < v1 () {\nv3: i64 = int 2\n} yield ()\nv4: i64 = iadd v3, v1",
            "v3 is used outside",
        ),
        ("v1: i64 = int 1\nv3: i64 = int 1", "v2 is never defined"),
        ("v1: f32 = float 1.0\nv2: vf32 = vfloat 1.0\nv3: f32 = fadd v1, v2", "v2 is vf32, not f32"),
        ("v1: f32 = float 1.0\nv2: f32 = call.pow v1", "pow takes 2 arguments"),
        ("v1: i64 = int 1\nstore.f32 [v0], v1", "v1 is i64, not f32"),
        ("v1: i64 = int 1\nv2: f32 = load.f32 [v0 + v1 * 3]", "3 is no scale"),
        ("v1: i64 = int 1\nv2: i64 = ishr v1, 64", "shift by 64"),
        ("v1: bool = bool true\nv2: ptr = select v1, v0, v0", "does not choose"),
        (
            "v1: i64 = int 1\nv2: f32 = float 1.0\nloop v3 < v1 (v4: i64 = v1 -> v5) {\n} yield (v2)",
            "v2 is f32, not i64",
        ),
        ("v1: i64 = int 9999999999999999999999", "expected a number"),
        ("v1: i64 = frob v0", "expected `,`"),
        ("v1: i64 = frob v0, v0", "unknown operation `frob`"),
    ];
    for (body, words) in cases {
        refuse(&format!("kernel k lanes 4 (p: ptr) {{\n{body}\n}}"), words);
    }
    refuse("kernel k lanes 3 () {\n}", "3 is no lane count");
    refuse("kernel k lanes 4 (p: f32) {\n}", "not a pointer or i64");
    refuse("kernel k lanes 4 (p: ptr, p: ptr) {\n}", "repeated");
    refuse("kernel k lanes 4 (p: cptr) {\nv1: f32 = float 1.0\nstore.f32 [v0], v1\n}", "v0 is cptr, not ptr");
    refuse("kernel k lanes 4 () {\n} }", "after the kernel");
    let deep = format!("kernel k lanes 4 (v: i64) {{ {}", "loop v1 < v0 () { ".repeat(1000));
    refuse(&deep, "less deeply nested");
}

/// y[i] = x[i] * 2 + i summed over a loop, with a tail.
fn sample(lanes: usize) -> spc_kernel::ir::Kernel {
    let mut b = Builder::new("sample", lanes);
    let (x, y, n) = (b.param("x", Ty::CPtr), b.param("y", Ty::Ptr), b.param("n", Ty::I64));
    let two = b.vfloat(2.0);
    let zero = b.vfloat(0.0);
    let l = b.int(lanes as i64);
    let full = b.ibin(IBin::Div, n, l);
    let sum = b.repeat(full, &[zero], |b, i, s| {
        let at = b.scale(i, 4 * lanes as i64);
        let v = b.load(LoadKind::VF32, Addr::indexed(x, at, 1));
        let v = b.fbin(FBin::Mul, v, two);
        b.store(StoreKind::VF32, Addr::indexed(y, at, 1), v);
        vec![b.fbin(FBin::Add, s[0], v)]
    });
    let done = b.imul(full, l);
    let left = b.isub(n, done);
    let v = b.load_tail(Addr::indexed(x, done, 4), left);
    let v = b.fbin(FBin::Mul, v, two);
    b.store_tail(Addr::indexed(y, done, 4), v, left);
    let all = b.fbin(FBin::Add, sum[0], v);
    let total = b.reduce(RedFn::Add, all);
    b.store(StoreKind::F32, Addr::indexed(y, n, 4), total);
    b.finish().unwrap()
}

#[test]
fn a_kernel_with_a_tail_computes_what_it_says() {
    for lanes in [1, 4, 8, 16] {
        for n in [0usize, 1, 3, 4, 5, 16, 37] {
            let x: Vec<u8> = (0..n).flat_map(|i| (i as f32 + 0.5).to_le_bytes()).collect();
            let mut buffers = [x, vec![0u8; 4 * n + 4]];
            let args = [Arg::buffer(0), Arg::buffer(1), Arg::Int(n as i64)];
            run(&sample(lanes), &args, &mut buffers).unwrap();
            let y: Vec<f32> = buffers[1].chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
            let want: Vec<f32> = (0..n).map(|i| 2.0 * i as f32 + 1.0).collect();
            assert_eq!(y[..n], want);
            assert_eq!(y[n], want.iter().sum::<f32>());
        }
    }
}

#[test]
fn accesses_outside_a_buffer_are_refused() {
    let k = sample(4);
    let args = [Arg::buffer(0), Arg::buffer(1), Arg::Int(5)];
    let short_x = run(&k, &args, &mut [vec![0; 19], vec![0; 24]]).unwrap_err();
    assert!(short_x.0.contains("of buffer 0 of 19 bytes"), "{short_x}");
    let short_y = run(&k, &args, &mut [vec![0; 20], vec![0; 23]]).unwrap_err();
    assert!(short_y.0.contains("of buffer 1 of 23 bytes"), "{short_y}");
    run(&k, &args, &mut [vec![0; 20], vec![0; 24]]).unwrap();
    let before = [Arg::buffer(0), Arg::buffer(1), Arg::Int(-9)];
    assert!(run(&k, &before, &mut [vec![0; 20], vec![0; 24]]).is_err());
    let past = [Arg::buffer(0), Arg::Ptr { buffer: 1, offset: usize::MAX }, Arg::Int(1)];
    assert!(run(&k, &past, &mut [vec![0; 20], vec![0; 24]]).is_err());
}

#[test]
fn arguments_must_fit_and_may_not_alias() {
    let k = sample(4);
    assert!(run(&k, &[Arg::buffer(0)], &mut [vec![0; 8]]).is_err());
    assert!(run(&k, &[Arg::Int(0), Arg::buffer(0), Arg::Int(0)], &mut [vec![0; 8]]).is_err());
    assert!(run(&k, &[Arg::buffer(0), Arg::buffer(7), Arg::Int(0)], &mut [vec![0; 8]]).is_err());
    let alias = run(&k, &[Arg::buffer(0), Arg::buffer(0), Arg::Int(0)], &mut [vec![0; 8]]).unwrap_err();
    assert!(alias.0.contains("as cptr and as ptr"), "{alias}");
}

#[test]
fn integer_edges_are_defined() {
    let cases = [
        (IBin::Div, 7, -2, -3),
        (IBin::Div, 7, 0, 0),
        (IBin::Div, i64::MIN, -1, i64::MIN),
        (IBin::Rem, -7, 2, -1),
        (IBin::Rem, 7, 0, 7),
        (IBin::Rem, i64::MIN, -1, 0),
        (IBin::Add, i64::MAX, 1, i64::MIN),
        (IBin::Min, -3, 2, -3),
    ];
    for (f, x, y, want) in cases {
        let mut b = Builder::new("k", 1);
        let out = b.param("out", Ty::Ptr);
        let (x, y) = (b.int(x), b.int(y));
        let z = b.ibin(f, x, y);
        b.store(StoreKind::I32, Addr::new(out), z);
        let high = b.op(Op::Shr(z, 32));
        b.store(StoreKind::I32, Addr::at(out, 4), high);
        let mut buffers = [vec![0u8; 8]];
        run(&b.finish().unwrap(), &[Arg::buffer(0)], &mut buffers).unwrap();
        assert_eq!(i64::from_le_bytes(buffers[0][..].try_into().unwrap()), want, "{}", f.name());
    }
}

#[test]
fn misuse_of_the_builder_is_a_bug_and_no_panic() {
    let mut b = Builder::new("k", 4);
    let n = b.int(2);
    b.repeat(n, &[n], |_, _, _| Vec::new());
    assert!(b.finish().unwrap_err().0.contains("outside its scope"));
    let mut b = Builder::new("two words", 4);
    b.int(1);
    assert!(b.finish().is_err());
}

/// Two tiles and their product, in text.
const PRODUCT: &str = "kernel p lanes 16 (a: cptr, b: cptr, y: ptr) {
  v3: ptr = local 1100
  tile_zero 0
  tile_load 4, [v0]
  tile_load 7, [v1 + 64]
  tile_dot 0, 4, 7
  tile_store 0, [v3 + 64]
  tile_load 1, [v3 + 64]
  tile_dot 1, 4, 7
  tile_store 1, [v2]
}
";

#[test]
fn tiles_and_own_memory_keep_their_text_and_their_meaning() {
    let k = parse(PRODUCT).unwrap();
    assert_eq!(k.to_string(), PRODUCT);
    assert!(k.uses_tiles());
    let (a, b): (Vec<u8>, Vec<u8>) =
        ((0..1024).map(|i| (i * 7) as u8).collect(), (0..1088).map(|i| (i * 5) as u8).collect());
    let mut buffers = [a.clone(), b.clone(), vec![0; 1024]];
    let args = [Arg::buffer(0), Arg::buffer(1), Arg::buffer(2)];
    run(&k, &args, &mut buffers).unwrap();
    for (i, j) in [(0, 0), (3, 9), (15, 15)] {
        let sum: i32 =
            (0..64).map(|k| i32::from(a[64 * i + k] as i8) * i32::from(b[64 + k / 4 * 64 + 4 * j + k % 4])).sum();
        let at = 64 * i + 4 * j;
        assert_eq!(buffers[2][at..at + 4], (2 * sum).to_le_bytes(), "row {i} column {j}");
    }
    // One byte short.
    for short in 0..3 {
        let mut buffers = [a.clone(), b.clone(), vec![0; 1024]];
        buffers[short].pop();
        let e = run(&k, &args, &mut buffers).unwrap_err();
        assert!(e.0.contains(&format!("of buffer {short} of")), "{e}");
    }
}

#[test]
fn the_verifier_knows_which_tiles_hold_something() {
    let cases = [
        ("tile_load 8, [v0]", "there is no tile 8"),
        ("tile_load 4, [v0]\ntile_dot 0, 4, 7", "tile 0 is read before it is written"),
        ("tile_zero 0\ntile_zero 1\ntile_dot 0, 0, 1", "a tile with itself"),
        ("tile_zero 0\ntile_store 0, [v1]", "v1 is cptr, not ptr"),
        ("v2: i64 = int 1\ntile_load 0, [v0 + v2 * 4]", "has an index"),
        (
            "v2: i64 = int 1\nloop v3 < v2 () {\ntile_zero 0\n} yield ()\ntile_store 0, [v0]",
            "tile 0 is read before it is written",
        ),
        ("v2: i64 = int 1\nloop v3 < v2 () {\nv4: ptr = local 64\n} yield ()", "in 1 loops"),
        ("v2: ptr = local 40000\nv3: ptr = local 40000", "40000 bytes of own memory"),
        ("v2: ptr = local 0", "0 bytes of own memory"),
        ("tile_turn 0, 1", "unknown statement"),
    ];
    for (body, words) in cases {
        refuse(&format!("kernel k lanes 16 (p: ptr, c: cptr) {{\n{body}\n}}"), words);
    }
    refuse("kernel k lanes 8 (p: ptr) {\ntile_zero 0\n}", "a kernel of 8 lanes");
}
