//! Small programs: what is computed, what is counted, and that mistakes are found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use spc_ptx::{Counters, Fault, Launch, Memory, Module, Schedule, launch};

/// A kernel over two buffers `a` (read) and `b` (written) of 256 bytes, one block of 64 threads.
fn run(body: &str, schedule: Schedule) -> Result<(Vec<f32>, Counters), Fault> {
    let text = format!(
        ".version 8.5\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 pool[];\n\
         .visible .entry k(\n.param .u64 .ptr .align 1 pa,\n.param .u64 pb,\n.param .u32 pn)\n{{\n.reg .b32 %r<9>;\n\
         ld.param.u64 %a, [pa];\nld.param.u64 %b, [pb];\nld.param.u32 %n, [pn];\nmov.u32 %t, %tid.x;\n\
         mul.wide.u32 %o, %t, 4;\nadd.s64 %pa, %a, %o;\nadd.s64 %pb, %b, %o;\nmov.u32 %s, pool;\nshl.b32 %t4, %t, 2;\n\
         add.s32 %s1, %s, %t4;\n{body}\n}}\n"
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((module.version.as_str(), module.target.as_str()), ("8.5", "sm_80"));
    let mut memory = Memory::default();
    let a = memory.alloc((0..64).flat_map(|i| (i as f32).to_le_bytes()).collect()).unwrap();
    let b = memory.alloc(vec![0; 256]).unwrap();
    let how = Launch { grid: 1, block: 64, shared_bytes: 256, arguments: &[a, b, 7], schedule };
    let counters = launch(module.kernel("k").unwrap(), &how, &mut memory)?;
    let bytes = memory.read(b, 0..256).unwrap();
    Ok((bytes.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect(), counters))
}

fn fault(body: &str) -> String {
    run(body, Schedule::Forward).unwrap_err().to_string()
}

#[test]
fn a_turned_block_is_the_same_under_every_schedule() {
    let body = "ld.global.nc.f32 %f, [%pa];\nst.shared.f32 [%s1], %f;\nbar.sync 0;\nsub.s32 %u, 252, %t4;\n\
                add.s32 %u, %u, %s;\nld.shared.f32 %f, [%u];\nst.global.f32 [%pb], %f;\nret;";
    let mut counted = None;
    for schedule in Schedule::ALL {
        let (y, counters) = run(body, schedule).unwrap();
        assert!(y.iter().enumerate().all(|(i, v)| *v == 63.0 - i as f32), "{schedule:?}");
        assert_eq!(*counted.get_or_insert(counters), counters, "{schedule:?}");
    }
    let c = counted.unwrap();
    assert_eq!((c.instructions, c.barriers, c.bank_conflicts), (2 * 18, 1, 0));
    assert_eq!((c.load_sectors, c.load_bytes, c.store_sectors), (8, 256, 8));
    assert_eq!(c.sector_ratios(), (1.0, 1.0));
}

#[test]
fn a_missing_barrier_shows_in_some_schedule() {
    let body = "ld.global.nc.f32 %f, [%pa];\nst.shared.f32 [%s1], %f;\nsub.s32 %u, 252, %t4;\n\
                add.s32 %u, %u, %s;\nld.shared.f32 %f, [%u];\nst.global.f32 [%pb], %f;\nret;";
    let wrong = |s: &Schedule| run(body, *s).unwrap().0.iter().any(|v| v.is_nan());
    assert!(Schedule::ALL.iter().any(wrong));
}

#[test]
fn asynchronous_copies_land_at_their_wait() {
    let copy = "and.b32 %p, %t, 3;\nsetp.ne.s32 %q, %p, 0;\n@%q bra $skip;\ncp.async.cg.shared.global [%s1], [%pa], 16, %sz;\n\
                $skip:\ncp.async.commit_group;\n";
    let read = "ld.shared.f32 %f, [%s1];\nst.global.f32 [%pb], %f;\nret;";
    let whole = format!("mov.u32 %sz, 16;\n{copy}cp.async.wait_group 0;\nbar.sync 0;\n{read}");
    let (y, c) = run(&whole, Schedule::Forward).unwrap();
    assert!(y.iter().enumerate().all(|(i, v)| *v == i as f32));
    assert_eq!((c.load_bytes, c.load_sectors), (256, 8));
    let zeros = format!("mov.u32 %sz, 0;\n{copy}cp.async.wait_group 0;\nbar.sync 0;\n{read}");
    assert!(run(&zeros, Schedule::Forward).unwrap().0.iter().all(|v| *v == 0.0));
    let early = format!("mov.u32 %sz, 16;\n{copy}cp.async.wait_group 1;\nbar.sync 0;\n{read}");
    assert!(run(&early, Schedule::Forward).unwrap().0.iter().all(|v| v.is_nan()));
    let open = format!("mov.u32 %sz, 16;\n{}ret;", copy.replace("cp.async.commit_group;\n", ""));
    assert!(fault(&open).contains("never committed"));
}

#[test]
fn ways_apart_meet_again() {
    let body = "setp.lt.u32 %q, %t, 7;\n@%q bra $small;\nmov.f32 %f, 0f40000000;\nbra.uni $end;\n$small:\n\
                mov.f32 %f, 0f3F800000;\n$end:\nshfl.sync.bfly.b32 %g|%ok, %f, 1, 31, -1;\nadd.rn.f32 %f, %f, %g;\n\
                st.global.f32 [%pb], %f;\nret;";
    let (y, _) = run(body, Schedule::Backward).unwrap();
    let want = |i: usize| {
        if i < 6 {
            2.0
        } else if i < 8 {
            3.0
        } else {
            4.0
        }
    };
    assert!(y.iter().enumerate().all(|(i, v)| *v == want(i)), "{y:?}");
}

#[test]
fn mistakes_name_the_place() {
    assert!(fault("ld.global.f32 %f, [%pa+4];\nret;").contains("of buffer 0, which has 256 bytes"));
    assert_eq!(
        fault("ld.global.f32 %f, [%pa+2];\nret;"),
        "k, block 0, warp 0, PTX line 21: lane 0: an access of 4 bytes at 0x1000000002, which is misaligned"
    );
    assert!(fault("mov.u64 %z, 64;\nst.global.f32 [%z], %f;\nret;").contains("where no buffer is"));
    assert!(fault("st.shared.f32 [%s1+4], %f;\nret;").contains("outside of 0x400 ..+ 256"));
    assert!(fault("st.shared.f32 [%t4], %f;\nret;").contains("outside of 0x400"), "a forgotten base");
    assert!(fault("setp.lt.u32 %q, %t, 5;\n@%q bar.sync 0;\nret;").contains("reach a barrier"));
    assert!(fault("setp.lt.u32 %q, %t, 32;\n@%q bar.sync 0;\n@%q bar.sync 0;\nret;").contains("reach a barrier"));
    assert!(fault("setp.lt.u32 %q, %t, 5;\n@%q shfl.sync.bfly.b32 %g, %f, 1, 31, -1;\nret;").contains("with lanes"));
    assert!(fault("mov.u32 %r, 0;").contains("ran past the last instruction"));
    let divergent = "setp.lt.u32 %q, %t, 32;\n@%q bra $end;\nbar.sync 0;\nbar.sync 0;\n$end:\nbar.sync 0;\nret;";
    assert!(run(divergent, Schedule::Forward).is_ok() || fault(divergent).contains("barrier"));
}

#[test]
fn what_is_outside_the_subset_is_refused_with_its_line() {
    let parse = |line: &str| {
        Module::parse(&format!(".version 8.5\n.entry k(.param .u64 p)\n{{\n{line}\nret;\n}}\n")).unwrap_err()
    };
    assert_eq!(parse("call.uni f;"), "k: line 4: the operand `f`: call.uni f");
    assert_eq!(parse("tex.2d.v4 %r;"), "k: line 4: the opcode is not in the subset: tex.2d.v4 %r");
    assert!(parse("ld.local.f32 %f, [%r];").contains("not in the subset"));
    assert!(
        parse("mma.sp.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {%a},{%b},{%c},{%d},%e,0;").contains("subset")
    );
    assert!(parse("cp.async.ca.shared.global [%a], [%b], 4;").contains("not 16 bytes"));
    assert!(parse("add.s32 %r, %r;").contains("2 operands, expected 3"));
    assert!(parse("bra $nowhere;").contains("$nowhere"));
    assert!(Module::parse("").is_err() && Module::parse(".version 8.5\n.entry k").is_err());
    assert!(Module::parse(".version 8.5\n.entry k(){ {").is_err() && Module::parse(".entry )({}").is_err());
}

#[test]
fn memory_is_bounded() {
    let mut m = Memory::default();
    let a = m.alloc(vec![1; 8]).unwrap();
    assert!(m.read(a, 0..8).is_ok() && m.read(a, 0..9).is_err());
    assert!(m.read(0, 0..1).is_err() && m.read(u64::MAX, 0..1).is_err() && m.write(a + 8, 0..1).is_err());
    assert!(m.free(a + 1).is_err() && m.free(a).is_ok() && m.free(a).is_err() && m.read(a, 0..1).is_err());
    assert_eq!(m.live(), 0);
}

/// One product of 64 x 32 by 32 x 8, both zero but for a whole number at [0][0] of each: `before`, then copies to shared memory
/// and a fence, `middle`, the product, `after`, and the sums to `b`.
fn group(before: &str, fence: &str, middle: &str, after: &str) -> Result<Vec<f32>, String> {
    let text = format!(
        ".version 8.5\n.target sm_90a\n.address_size 64\n.extern .shared .align 16 .b8 pool[];\n.visible .entry k(\n.param .u64 pa,\n\
         .param .u64 pb)\n{{\nld.param.u64 %a, [pa];\nld.param.u64 %b, [pb];\nmov.u32 %t, %tid.x;\nmul.wide.u32 %o, %t, 16;\n\
         add.s64 %pb, %b, %o;\nmov.u32 %s, pool;\nshl.b32 %t8, %t, 3;\nadd.s32 %s1, %s, %t8;\nmov.u32 %z, 0;\nmov.u32 %e, 1145324612;\n\
         setp.eq.s32 %first, %t, 0;\nselp.b32 %x, 16384, 0, %first;\nst.shared.v2.u32 [%s1], {{%x, %z}};\n{fence}\nbar.sync 0;\n\
         mov.u32 %a0, %x;\nmov.u32 %d0, 0;\nmov.u32 %d1, 0;\nmov.u32 %d2, 0;\nmov.u32 %d3, 0;\n{before}\nsetp.eq.s32 %yes, %z, 0;\n\
         mov.u64 %desc, 4611686293305294912;\n{middle}\nwgmma.mma_async.sp.sync.aligned.m64n8k32.f32.bf16.bf16 \
         {{%d0,%d1,%d2,%d3}},{{%a0,%z,%z,%z}},%desc,%e,0,%yes,1,1,0;\nwgmma.commit_group.sync.aligned;\n{after}\n\
         st.global.v4.u32 [%pb], {{%d0,%d1,%d2,%d3}};\nret;\n}}\n"
    );
    let module = Module::parse(&text)?;
    let mut memory = Memory::default();
    let (a, b) = (memory.alloc(vec![0; 16])?, memory.alloc(vec![0; 2048])?);
    for schedule in Schedule::ALL {
        let how = Launch { grid: 1, block: 128, shared_bytes: 1024, arguments: &[a, b], schedule };
        launch(module.kernel("k").unwrap(), &how, &mut memory).map_err(|f| f.to_string())?;
    }
    Ok(memory.read(b, 0..2048)?.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect())
}

#[test]
fn products_of_warp_groups_are_watched_until_they_are_waited_for() {
    let (fence, begin, wait) = ("fence.proxy.async;", "wgmma.fence.sync.aligned;", "wgmma.wait_group.sync.aligned 0;");
    let y = group("", fence, begin, wait).unwrap();
    // 2.0 times 2.0, in the first lane's first sum.
    assert_eq!((y[0], y.iter().filter(|v| **v != 0.0).count()), (4.0, 1));
    let fault = |r: Result<Vec<f32>, String>| r.unwrap_err();
    let missing = "was written since the last wgmma.fence";
    assert!(fault(group("", fence, "", wait)).contains(missing));
    assert!(fault(group(begin, fence, "mov.u32 %a0, 0;", wait)).contains(missing), "a register after the fence");
    assert!(fault(group("", "", begin, wait)).contains("passed no fence.proxy.async since"));
    assert!(fault(group("", fence, begin, "")).contains("never waited for"));
    let early = format!("st.global.v4.u32 [%pb], {{%d0,%d1,%d2,%d3}};\n{wait}\nret;");
    assert!(group("", fence, begin, &early).unwrap().iter().all(|v| v.is_nan()), "sums before the wait");
    let overwritten = format!("mov.u32 %a0, 1;\n{wait}");
    assert!(fault(group("", fence, begin, &overwritten)).contains("a register of a product in flight is written"));
    let restaged = format!("st.shared.v2.u32 [%s1], {{%t, %t}};\n{wait}");
    assert!(fault(group("", fence, begin, &restaged)).contains("changed while a product read it"));
    let some = "setp.gt.s32 %late, %t, 63;\n@%late bra $end;";
    let other = format!(
        "{wait}\n{some}\n{begin}\nwgmma.mma_async.sp.sync.aligned.m64n8k32.f32.bf16.bf16 \
                         {{%d0,%d1,%d2,%d3}},{{%a0,%z,%z,%z}},%desc,%e,0,%yes,1,1,0;\nwgmma.commit_group.sync.aligned;\n{wait}\n$end:"
    );
    assert!(fault(group("", fence, begin, &other)).contains("issue different products"));
    assert!(fault(group("", fence, "mov.u64 %desc, 64;\nwgmma.fence.sync.aligned;", wait)).contains("swizzle"));
}
