//! The emulator notices what a device would not forgive.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support;

use support::{Argument, Job, Program, f32_bytes, have_gxx};

const PRELUDE: &str = include_str!("../src/device/prelude.cuh");
const FAULTS: &str = r#"
#define KERNEL(name) extern "C" __global__ void name(const float* x, float* y, int n)
KERNEL(fine) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  const int t = threadIdx.x;
  s[t] = spc_ldg(x + t);
  spc_sync();
  if (t < n) y[t] = s[127 - t];
}
KERNEL(reads_before_the_barrier) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  const int t = threadIdx.x;
  s[t] = spc_ldg(x + t);
  if (t < n) y[t] = s[127 - t];
}
KERNEL(overwrites_before_the_barrier) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  const int t = threadIdx.x;
  s[t] = spc_ldg(x + t);
  spc_sync();
  const float v = s[127 - t];
  s[t] = 0.0f;
  spc_sync();
  if (t < n) y[t] = v;
}
KERNEL(leaves_before_the_barrier) {
  if (threadIdx.x == 77) return;
  spc_sync();
  if (threadIdx.x < n) y[threadIdx.x] = spc_ldg(x);
}
KERNEL(two_barriers) {
  if (threadIdx.x < 64) {
    spc_sync();
  } else {
    spc_sync();
  }
  if (threadIdx.x < n) y[threadIdx.x] = spc_ldg(x);
}
KERNEL(reads_past_the_end) { if (threadIdx.x < n) y[threadIdx.x] = spc_ldg(x + threadIdx.x + 28); }
KERNEL(reads_before_the_start) { if (threadIdx.x < n) y[threadIdx.x] = spc_ldg(x - 1); }
KERNEL(reads_misaligned_quads) { if (threadIdx.x < n) y[threadIdx.x] = spc_ldg4(x + 2).x; }
KERNEL(reads_misaligned) { if (threadIdx.x < n) y[threadIdx.x] = spc_ldg((const float*)((const u8*)x + 1)); }
KERNEL(writes_past_the_end) { if ((int)threadIdx.x <= n) y[threadIdx.x] = spc_ldg(x); }
KERNEL(writes_before_the_start) { if ((int)threadIdx.x < n) y[(int)threadIdx.x - 1] = spc_ldg(x); }
KERNEL(writes_far_away) { if ((int)threadIdx.x < n) y[threadIdx.x + 4096] = spc_ldg(x); }
KERNEL(writes_past_shared_memory) {
  SPC_SMEM(smem);
  ((float*)smem)[threadIdx.x + 1] = spc_ldg(x);
  if (threadIdx.x < n) y[threadIdx.x] = 0.0f;
}
KERNEL(depends_on_the_order) { y[0] = (float)threadIdx.x + 0 * n * spc_ldg(x); }
KERNEL(overflows) { if ((int)threadIdx.x < n) y[threadIdx.x] = (float)(n * (n + (int)threadIdx.x) * 1000000) + spc_ldg(x); }
KERNEL(leaves_register_array) {
  float a[4] = {};
  a[n / 25] = spc_ldg(x);
  if ((int)threadIdx.x < n) y[threadIdx.x] = a[0] + a[3];
}
KERNEL(leaves_shared_memory_unset) {
  SPC_SMEM(smem);
  if (threadIdx.x < n) y[threadIdx.x] = ((float*)smem)[threadIdx.x] + spc_ldg(x);
}
KERNEL(copies) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  if (threadIdx.x < 32) spc_copy16(s + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x < 31 ? 16 : 0);
  spc_copy_commit();
  spc_copy_wait<0>();
  spc_sync();
  if (threadIdx.x < n) y[threadIdx.x] = s[threadIdx.x];
}
KERNEL(copies_are_not_waited_for) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  if (threadIdx.x < 32) spc_copy16(s + 4 * threadIdx.x, x + 4 * threadIdx.x, 16);
  spc_copy_commit();
  spc_copy_wait<1>();
  spc_sync();
  if (threadIdx.x < n) y[threadIdx.x] = s[threadIdx.x];
}
KERNEL(copies_are_not_waited_for_by_all) {
  SPC_SMEM(smem);
  float* s = (float*)smem;
  if (threadIdx.x < 32) spc_copy16(s + 4 * threadIdx.x, x + 4 * threadIdx.x, 16);
  spc_copy_commit();
  spc_copy_wait<0>();
  if (threadIdx.x < n) y[threadIdx.x] = s[threadIdx.x];
}
KERNEL(copies_misaligned) {
  SPC_SMEM(smem);
  spc_copy16((float*)smem + 2, x, 16);
  if (threadIdx.x < n) y[threadIdx.x] = 0.0f;
}
KERNEL(copies_from_outside) {
  SPC_SMEM(smem);
  spc_copy16(smem, x + 4 * threadIdx.x, 16);
  if (threadIdx.x < n) y[threadIdx.x] = 0.0f;
}
KERNEL(loads_matrices_in_one_bank) {
  SPC_SMEM(smem);
  u32 r[4];
  spc_load_matrices(r, smem + (threadIdx.x & 3) * 128);
  if (threadIdx.x < n) y[threadIdx.x] = spc_bits(r[0]) + spc_ldg(x);
}
KERNEL(lanes_go_apart) {
  SPC_SMEM(smem);
  u32 r[4] = {};
  if (threadIdx.x & 1) spc_load_matrices(r, smem + (threadIdx.x & 7) * 16);
  if (threadIdx.x < n) y[threadIdx.x] = spc_bits(r[0]) + spc_ldg(x);
}
KERNEL(positions_fall) {
  float d[4] = {};
  const u32 b[4] = {};
  spc_mma24_step<0>(d, spc_w4{0u, 0u, 0u, 0u}, b, 0x44444414u);
  if (threadIdx.x < n) y[threadIdx.x] = d[0] + spc_ldg(x);
}
"#;

fn job(kernel: &str) -> Job {
    let x: Vec<f32> = (0..128).map(|i| i as f32).collect();
    let n = 101;
    Job {
        kernel: kernel.into(),
        grid: 2,
        block: 128,
        shared_bytes: 512,
        arguments: vec![Argument::In(f32_bytes(&x)), Argument::Out(n * 4), Argument::Int(n as i32)],
    }
}

#[test]
fn faults_are_named() {
    if !have_gxx() {
        return;
    }
    let faults = [
        ("overwrites_before_the_barrier", "the result depends on the schedule"),
        ("leaves_before_the_barrier", "some threads wait at a barrier while others returned"),
        ("two_barriers", "threads wait at different barriers"),
        ("reads_past_the_end", "a load lies outside every buffer"),
        ("reads_before_the_start", "a load lies outside every buffer"),
        ("reads_misaligned_quads", "a load is misaligned"),
        ("reads_misaligned", "a load is misaligned"),
        ("writes_past_the_end", "a store lies outside its buffer"),
        ("writes_before_the_start", "a store lies outside its buffer"),
        ("writes_far_away", "an access lies outside its memory"),
        ("writes_past_shared_memory", "a store lies outside shared memory"),
        ("depends_on_the_order", "the result depends on the schedule"),
        ("reads_before_the_barrier", "the result depends on the schedule"),
        ("overflows", "undefined arithmetic"),
        ("leaves_register_array", "register array out of bounds"),
        ("copies_are_not_waited_for_by_all", "the result depends on the schedule"),
        ("copies_misaligned", "the target of a copy is misaligned"),
        ("copies_from_outside", "the source of a copy lies outside every buffer"),
        ("loads_matrices_in_one_bank", "rows of a matrix load meet in a bank"),
        ("lanes_go_apart", "the lanes of a warp wait at different places"),
        ("positions_fall", "positions of kept weights do not ascend"),
        ("no_such_kernel", "no kernel no_such_kernel"),
    ];
    let names = FAULTS.lines().filter_map(|l| l.strip_prefix("KERNEL(")?.split(')').next());
    let kernels: Vec<_> = names.map(|n| (n.to_string(), vec!["const float*", "float*", "int"])).collect();
    let program = Program::new(&format!("{PRELUDE}{FAULTS}"), &kernels);
    let y = &program.run(&[job("fine")])[0];
    assert!(y.iter().enumerate().all(|(i, v)| *v == 127.0 - i as f32));
    let y = &program.run(&[job("leaves_shared_memory_unset")])[0];
    assert!(y.iter().all(|v| v.is_nan()), "shared memory starts as NaN");
    let y = &program.run(&[job("copies")])[0];
    assert!(y.iter().enumerate().all(|(i, v)| *v == if i < 124 { i as f32 } else { 0.0 }), "{y:?}");
    let y = &program.run(&[job("copies_are_not_waited_for")])[0];
    assert!(y.iter().all(|v| v.is_nan()), "a copy spoils its target until it is waited for");
    for (kernel, words) in faults {
        let said = program.run_to_fault(job(kernel));
        assert!(said.contains(words), "{kernel}: {said}");
    }
}

/// Sine and cosine are within two units in the last place of what they should be, or 2^-24 where they are close to zero.
#[test]
fn sine_and_cosine_are_close_everywhere() {
    if !have_gxx() {
        return;
    }
    let text = "KERNEL(waves) {\n  for (int i = threadIdx.x; i < n; i += SPC_THREADS) {\n    y[2 * i] = spc_sin(spc_ldg(x + i));\n    \
                y[2 * i + 1] = spc_cos(spc_ldg(x + i));\n  }\n}\n";
    let define = FAULTS.lines().find(|l| l.starts_with("#define")).unwrap();
    let kernels = [("waves".to_string(), vec!["const float*", "float*", "int"])];
    let program = Program::new(&format!("{PRELUDE}{define}\n{text}"), &kernels);
    let mut x: Vec<f32> =
        vec![0.0, -0.0, f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 1e-40, std::f32::consts::FRAC_PI_4, 1e10];
    for i in 0..3000u32 {
        x.push((i as f32 - 1500.0) * 0.013);
        x.push(f32::from_bits(i.wrapping_mul(1_400_001) & 0x7f7f_ffff));
    }
    let n = x.len() as u64;
    let arguments = vec![Argument::In(f32_bytes(&x)), Argument::Out(8 * n), Argument::Int(n as i32)];
    let y = &program.run(&[Job { kernel: "waves".into(), grid: 1, block: 128, shared_bytes: 0, arguments }])[0];
    for (x, y) in x.iter().zip(y.chunks(2)) {
        for (got, want) in y.iter().zip([f64::from(*x).sin(), f64::from(*x).cos()]) {
            let error = (f64::from(*got) - want).abs();
            let allowed = want.abs() * 2f64.powi(-22) + 2f64.powi(-26);
            assert!(error <= allowed || (got.is_nan() && !x.is_finite()), "{x:e}: {got:e}, not {want:e}");
        }
    }
}
