//! Buffers of intermediate values are used again once their last reader has run.
use crate::program::{Amount, Buffer, Program, Role, StepArg};

/// Merges temporary buffers whose lives do not overlap. A step's result never shares a buffer with its operands.
/// Among the free buffers one that already has the same size is preferred, then one of a multiple, then the one freed first.
pub(super) fn reuse_buffers(p: &mut Program) {
    let n = p.buffers.len();
    let (mut first, mut last) = (vec![usize::MAX; n], vec![0usize; n]);
    for (i, s) in p.steps.iter().enumerate() {
        for a in &s.args {
            if let StepArg::Buffer(b) = a {
                first[*b] = first[*b].min(i);
                last[*b] = i;
            }
        }
    }
    let mut new: Vec<Buffer> = Vec::new();
    let mut place: Vec<Option<usize>> = vec![None; n];
    for (b, buffer) in p.buffers.iter().enumerate() {
        if buffer.role != Role::Temp {
            place[b] = Some(new.len());
            new.push(buffer.clone());
        }
    }
    let mut free: Vec<usize> = Vec::new();
    for i in 0..p.steps.len() {
        for b in (0..n).filter(|b| first[*b] == i && p.buffers[*b].role == Role::Temp) {
            let want = &p.buffers[b].bytes[0];
            let same = |f: &usize| new[*f].bytes.contains(want);
            let alike = |f: &usize| new[*f].bytes.iter().any(|a| a.of == want.of && a.pad == want.pad);
            let hit = free.iter().position(same).or_else(|| free.iter().position(alike));
            let hit = hit.or((!free.is_empty()).then_some(0));
            let slot = match hit {
                Some(h) => free.remove(h),
                None => {
                    new.push(Buffer { role: Role::Temp, bytes: Vec::new() });
                    new.len() - 1
                }
            };
            add_size(&mut new[slot].bytes, &p.buffers[b].bytes);
            place[b] = Some(slot);
        }
        for b in (0..n).filter(|b| first[*b] <= i && last[*b] == i && p.buffers[*b].role == Role::Temp) {
            free.extend(place[b]);
        }
    }
    // What no step touches keeps no place, and nothing refers to it.
    let moved = |b: usize| place[b].unwrap_or(b);
    for s in &mut p.steps {
        for a in &mut s.args {
            if let StepArg::Buffer(b) = a {
                *b = moved(*b);
            }
        }
    }
    for port in p.inputs.iter_mut().chain(&mut p.outputs) {
        port.buffer = moved(port.buffer);
    }
    p.buffers = new;
}

fn add_size(sizes: &mut Vec<Amount>, more: &[Amount]) {
    for m in more {
        // Of two sizes that differ in the factor only, the greater is enough.
        match sizes.iter_mut().find(|s| s.of == m.of && s.pad == m.pad) {
            Some(s) => s.per = s.per.max(m.per),
            None => sizes.push(m.clone()),
        }
    }
}
