//! Updates of the library against loops written by hand.
use super::{Rng, checked, one, program, rules, updater};
use spc_interp::method::{MethodError, Optimiser, Tensors, Updater};

const NM: &str = "use std.updates\nuse std.penalties\nrequire r: keep 2 of 4 of elements per tile(in: 4) via updates.";

fn grads(rng: &mut Rng, n: usize) -> Tensors<f32> {
    one(rng.floats(n))
}

/// The two greatest magnitudes of each four, ties to the lower index.
fn two_of_four(w: &[f32]) -> Vec<bool> {
    let mut m = vec![false; w.len()];
    for at in (0..w.len()).step_by(4) {
        let mut order: Vec<usize> = (at..at + 4).collect();
        order.sort_by(|a, b| w[*b].abs().total_cmp(&w[*a].abs()).then(a.cmp(b)));
        order[..2].iter().for_each(|i| m[*i] = true);
    }
    m
}

#[test]
fn sr_ste_equals_a_loop_by_hand() {
    let text = program(2, 8, &format!("{NM}sr_ste(lambda: 0.01)"));
    let mut rng = Rng(1);
    let mut w = rng.floats(16);
    w[1] = w[0]; // a tie
    w[3] = 0.0;
    let momentum = Optimiser::Sgd { momentum: 0.9, weight_decay: 0.01 };
    let mut u = updater(&text, w.clone(), momentum, 50);
    let mut b = [0.0f32; 16];
    let mut before = two_of_four(&w);
    for k in 0..50 {
        let m = two_of_four(&w);
        let view = u.forward().unwrap();
        let want: Vec<f32> = w.iter().zip(&m).map(|(w, m)| if *m { *w } else { 0.0 }).collect();
        assert_eq!(view["net.w"], want, "step {k}");
        let g = grads(&mut rng, 16);
        let seen = u.step(&g, 0.1).unwrap();
        for i in 0..16 {
            let g = g["net.w"][i] + 0.01f64 as f32 * (1.0 - f32::from(u8::from(m[i]))) * w[i];
            b[i] = 0.9 * b[i] + g;
            w[i] = w[i] - 0.1 * 0.01 * w[i] - 0.1 * b[i];
        }
        assert_eq!(u.weights()["net.w"], w, "step {k}");
        let flips = m.iter().zip(&before).filter(|(a, b)| a != b).count();
        assert_eq!((seen[0].name.as_str(), seen[0].value), ("sad", flips as f64));
        before = m;
    }
    let last = u.finish().unwrap();
    for four in last["net.w"].chunks(4) {
        assert!(four.iter().filter(|v| **v != 0.0).count() <= 2);
    }
}

#[test]
fn without_lambda_it_is_the_straight_through_estimator() {
    let text = |l: &str| program(1, 8, &format!("{NM}sr_ste(lambda: {l})"));
    let mut rng = Rng(2);
    let (w, g) = (rng.floats(8), grads(&mut rng, 8));
    let run = |l| {
        let mut u = updater(&text(l), w.clone(), Optimiser::SGD, 1);
        u.step(&g, 1.0).unwrap();
        u.weights()["net.w"].clone()
    };
    let m = two_of_four(&w);
    let (ste, decayed) = (run("0"), run("0.5"));
    for i in 0..8 {
        assert_eq!(ste[i], w[i] - g["net.w"][i]);
        // The gradient of pruned weights differs by lambda w, of kept ones not at all.
        let more = if m[i] { 0.0 } else { 0.5 * w[i] };
        assert_eq!(decayed[i], w[i] - (g["net.w"][i] + more));
    }
}

#[test]
fn drop_and_grow_moves_a_constant_number_of_weights() {
    for grow in ["", ", grow: random(7)"] {
        let rest = format!(
            "use std.updates\nrequire r: keep 25% of elements per tensor via updates.dropgrow(interval: 5, fraction: 50%{grow})"
        );
        let text = program(8, 8, &rest);
        let mut rng = Rng(3);
        let mut u = updater(&text, rng.floats(64), Optimiser::ADAM, 100);
        u.forward().unwrap();
        let mask = |u: &Updater<f32>, n: &str| u.mask("r", n).unwrap().to_vec();
        let count = |m: &[bool]| m.iter().filter(|b| **b).count();
        assert_eq!(count(&mask(&u, "m")), 16);
        let (mut changes, mut tried) = (0, mask(&u, "tried"));
        for k in 0..100u64 {
            let old = mask(&u, "m");
            let g = grads(&mut rng, 64);
            u.step(&g, 0.01).unwrap();
            let new = mask(&u, "m");
            assert_eq!(count(&new), 16, "step {k}");
            // Due after every fifth step, while less than 80% of the run has passed.
            let due = (k + 1) % 5 == 0 && k < 80;
            if new != old {
                assert!(due, "step {k}");
                changes += 1;
            }
            if due {
                for i in 0..64 {
                    let dropped = old[i] && !new[i];
                    let grown = new[i] && !old[i];
                    if dropped || grown {
                        assert_eq!(u.weights()["net.w"][i], 0.0, "step {k}");
                        assert!(u.moments()["net.w"].iter().all(|m| m[i] == 0.0), "step {k}: moments of {i}");
                    }
                    assert!(new[i] || u.weights()["net.w"][i] == 0.0);
                }
                // RigL grows where the dense gradient is greatest among the empty places.
                if grow.is_empty() {
                    let size = |i: &usize| g["net.w"][*i].abs();
                    let least = (0..64).filter(|i| new[*i] && !old[*i]).map(|i| size(&i)).fold(f32::INFINITY, f32::min);
                    let most = (0..64).filter(|i| !new[*i] && !old[*i]).map(|i| size(&i)).fold(0.0, f32::max);
                    assert!(least >= most, "step {k}");
                }
            }
            let now = mask(&u, "tried");
            assert!(tried.iter().zip(&now).all(|(a, b)| !a || *b) && new.iter().zip(&now).all(|(a, b)| !a || *b));
            tried = now;
        }
        assert_eq!(changes, 16, "{grow}");
        assert!(count(&tried) > 24, "{grow}");
        let end = u.finish().unwrap();
        assert!(count(&end["net.w"].iter().map(|v| *v != 0.0).collect::<Vec<_>>()) <= 16);
    }
}

#[test]
fn drop_and_grow_stays_within_each_scope() {
    let rest = "use std.updates\nrequire r: keep 2 of 4 of elements per tile(in: 4) via updates.dropgrow(interval: 1, fraction: 50%)";
    let mut rng = Rng(4);
    let mut u = updater(&program(2, 8, rest), rng.floats(16), Optimiser::SGD, 20);
    for _ in 0..20 {
        let g = grads(&mut rng, 16);
        u.step(&g, 0.1).unwrap();
        for four in u.mask("r", "m").unwrap().chunks(4) {
            assert_eq!(four.iter().filter(|b| **b).count(), 2);
        }
    }
}

#[test]
fn adams_decays_only_what_leaves() {
    let text = program(1, 8, &format!("{NM}adams(lambda: 0.01)"));
    let mut rng = Rng(5);
    let w0 = rng.floats(8);
    let mut u = updater(&text, w0.clone(), Optimiser::SGD, 200);
    let zero = one(vec![0.0; 8]);
    // The forward pass stays dense, and with no gradient kept weights stay bit for bit.
    assert_eq!(u.forward().unwrap()["net.w"], w0);
    for _ in 0..200 {
        u.step(&zero, 1e-3).unwrap();
    }
    let (w, m) = (&u.weights()["net.w"], two_of_four(&w0));
    for i in 0..8 {
        if m[i] {
            assert_eq!(w[i], w0[i]);
        } else {
            assert!(w[i].abs() < w0[i].abs() || w0[i].abs() < 2e-3, "{i}: {} {}", w[i], w0[i]);
        }
    }
}

#[test]
fn mask_decay_fades_and_ends_at_zero() {
    let text = program(1, 4, &format!("{NM}mdgf(decay: exp(1 -> 0.01, 0%..80%))"));
    let mut u = updater(&text, vec![4.0, 3.0, 2.0, 1.0], Optimiser::SGD, 10);
    let zero = one(vec![0.0; 4]);
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(u.forward().unwrap()["net.w"].clone());
        u.step(&zero, 0.1).unwrap();
    }
    assert_eq!(seen[0], [4.0, 3.0, 2.0, 1.0]);
    assert!(seen.windows(2).all(|s| s[1][2] <= s[0][2]), "{seen:?}");
    assert_eq!(seen[9], [4.0, 3.0, 0.0, 0.0]);
}

#[test]
fn a_frozen_mask_holds_from_the_first_step() {
    let text = program(1, 8, &format!("{NM}frozen()"));
    let mut rng = Rng(6);
    let w0 = rng.floats(8);
    let m = two_of_four(&w0);
    let mut u = updater(&text, w0, Optimiser::ADAM, 10);
    for _ in 0..10 {
        let g = grads(&mut rng, 8);
        u.step(&g, 0.1).unwrap();
        assert!(u.weights()["net.w"].iter().zip(&m).all(|(w, m)| *m || *w == 0.0));
    }
}

/// Two penalties, a constraint by name, one with an update, phases and healing.
fn phased() -> String {
    let rest = "use std.penalties\nuse std.updates\n\
        penalize thin: 0.02 * penalties.l1() of elements via prox\n\
        require half: keep 50% of tile(in: 4) per tensor by norm2\n\
        require nm24: keep 2 of 4 of elements per tile(in: 4) via updates.sr_ste(lambda: 1e-2)\n\
        data d from npy \"x.npy\" { x: f32[I] }\n\
        train main { loss: mean(f(d.x))  optimizer: sgd(lr: 0.1)  batch: 4  steps: 20\n\
          phase shrink 50% { apply thin }\n  phase sparse 25% { apply half, nm24 }\n  phase heal 25% { freeze masks } }";
    program(2, 8, rest)
}

#[test]
fn phases_begin_and_end_at_their_steps() {
    let text = phased();
    let mut rng = Rng(8);
    let w0 = rng.floats(16);
    let mut u = updater(&text, w0, Optimiser::SGD, 20);
    let mut healed = Vec::new();
    for k in 0..20 {
        let old = u.weights()["net.w"].clone();
        let view = u.forward().unwrap()["net.w"].clone();
        let tiles = |w: &[f32]| w.chunks(4).filter(|c| c.iter().any(|v| *v != 0.0)).count();
        match k {
            0..10 => assert_eq!(view, old, "step {k}: nothing is masked before the second phase"),
            // `half` is projected once, on entry; sr_ste masks the forward pass.
            10..15 => {
                assert!(tiles(&view) <= 2 && view.chunks(4).all(|c| c.iter().filter(|v| **v != 0.0).count() <= 2))
            }
            15 => healed = view.iter().map(|v| *v != 0.0).collect(),
            _ => assert!(view.iter().zip(&healed).all(|(v, m)| *m || *v == 0.0), "step {k}: healing keeps its mask"),
        }
        let zero = one(vec![0.0; 16]);
        let after_prox = |w: &f32| (w.abs() - 0.1 * 0.02).max(0.0) * w.signum();
        u.step(&zero, 0.1).unwrap();
        let new = &u.weights()["net.w"];
        if k < 10 {
            for (a, b) in old.iter().zip(new) {
                assert!((after_prox(a) - b).abs() < 1e-6, "step {k}: the penalty acts with the learning rate");
            }
        } else if k > 15 {
            assert_eq!(&old, new, "step {k}: nothing pulls any more");
        } else {
            let kept = |i: &usize| view[*i] != 0.0;
            assert!((0..16).filter(kept).all(|i| new[i] == view[i]), "step {k}: the penalty has ended");
        }
    }
    assert_eq!(u.finish().unwrap()["net.w"], u.weights()["net.w"], "what healed is what is deployed");
}

#[test]
fn stopping_and_resuming_changes_no_bit() {
    let dropgrow = program(
        2,
        8,
        "use std.updates\nrequire r: keep 2 of 4 of elements per tile(in: 4) via updates.dropgrow(interval: 3, grow: random(1))",
    );
    let ste = program(2, 8, &format!("{NM}sr_ste()\npenalize p: linear(0 -> 0.1) * penalties.mcp(0.5) of tile(in: 2)"));
    let adams = program(2, 8, &format!("{NM}adams(lambda: 0.01)"));
    for text in [dropgrow, ste, adams, phased()] {
        for stop in [1, 9, 10, 15, 17] {
            let mut rng = Rng(11);
            let w0 = rng.floats(16);
            let all: Vec<Tensors<f32>> = (0..20).map(|_| grads(&mut rng, 16)).collect();
            let mut whole = updater(&text, w0.clone(), Optimiser::ADAM, 20);
            let mut parts = updater(&text, w0, Optimiser::ADAM, 20);
            for (k, g) in all.iter().enumerate() {
                if k == stop {
                    // Between forward and step is the hardest place.
                    parts.forward().unwrap();
                    let saved = parts.save();
                    let mut fresh = updater(&text, parts.weights()["net.w"].clone(), Optimiser::ADAM, 20);
                    fresh.restore(&saved).unwrap();
                    parts = fresh;
                }
                assert_eq!(whole.forward().unwrap(), parts.forward().unwrap());
                let (a, b) = (whole.step(g, 0.05).unwrap(), parts.step(g, 0.05).unwrap());
                assert_eq!(a, b);
            }
            let bits = |u: &Updater<f32>| u.weights()["net.w"].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&whole), bits(&parts));
            assert_eq!(whole.save(), parts.save());
        }
    }
}

#[test]
fn bad_input_is_refused() {
    let text = program(1, 4, &format!("{NM}sr_ste()"));
    let make = || updater(&text, vec![1.0; 4], Optimiser::ADAM, 2);
    let nan = one(vec![0.0, f32::NAN, 0.0, 0.0]);
    let code = |e: MethodError| e.code().unwrap().name();
    let mut u = make();
    let before = u.save();
    assert_eq!(code(u.step(&nan, 0.1).unwrap_err()), "SP0406");
    assert_eq!(u.save(), before);
    assert_eq!(code(u.step(&one(vec![0.0; 3]), 0.1).unwrap_err()), "SP0404");
    assert_eq!(code(u.step(&Tensors::new(), 0.1).unwrap_err()), "SP0403");
    assert_eq!(code(u.step(&[("other".to_string(), vec![0.0f32])].into(), 0.1).unwrap_err()), "SP0403");
    let zero = one(vec![0.0; 4]);
    u.step(&zero, 0.1).unwrap();
    u.step(&zero, 0.1).unwrap();
    assert_eq!(code(u.step(&zero, 0.1).unwrap_err()), "SP0338");
    let mut other = make().save();
    other.tensors.insert("rule/r/mask/z".into(), spc_interp::method::Data::B(vec![true; 4]));
    assert_eq!(code(make().restore(&other).unwrap_err()), "SP0337");
    let none = updater(&program(1, 4, ""), vec![1.0; 4], Optimiser::SGD, 2).save();
    assert_eq!(code(make().restore(&none).unwrap_err()), "SP0337");
    assert_eq!(code(Updater::new(rules(&text), one(vec![1.0; 5]), Optimiser::SGD, 2).unwrap_err()), "SP0404");
    assert_eq!(code(Updater::new(rules(&text), one(vec![f32::INFINITY; 4]), Optimiser::SGD, 2).unwrap_err()), "SP0406");
    assert_eq!(code(Updater::new(rules(&text), one(vec![1.0; 4]), Optimiser::SGD, 0).unwrap_err()), "SP0338");
}

#[test]
fn all_equal_weights_keep_exactly_their_number() {
    let text = program(1, 8, &format!("{NM}sr_ste()"));
    for v in [0.0, 1.0, -0.0] {
        let mut u = updater(&text, vec![v; 8], Optimiser::SGD, 1);
        u.forward().unwrap();
        assert_eq!(u.mask("r", "m").unwrap(), [true, true, false, false, true, true, false, false]);
    }
}

#[test]
fn a_definition_of_the_program_runs_like_one_of_the_library() {
    let own = "update mine(c: constraint, lambda: f32 = 1) {\n  mask m = select(c)\n  state last: f32 like w = 0\n\
               forward(w) = w * m\n  grad(w, g) = g + lambda * last\n\
               refresh(w, g) every 2 steps { last = if m { 0 } else { w } }\n}\n\
               require r: keep 2 of 4 of elements per tile(in: 4) via mine(lambda: 0.5)";
    let mut u = updater(&program(1, 4, own), vec![4.0, 3.0, 2.0, 1.0], Optimiser::SGD, 4);
    let zero = one(vec![0.0; 4]);
    for _ in 0..2 {
        u.step(&zero, 1.0).unwrap();
        assert_eq!(u.weights()["net.w"], [4.0, 3.0, 2.0, 1.0]);
    }
    u.step(&zero, 1.0).unwrap();
    assert_eq!(u.weights()["net.w"], [4.0, 3.0, 1.0, 0.5]);
}

#[test]
fn every_update_survives_its_file_form() {
    let c = checked(&program(1, 4, &format!("{NM}dropgrow()\npenalize p: penalties.wgsef(keep: 40%) of elements")));
    for r in &c.module.rules.list {
        match &r.does {
            spc_ir::method::Does::Keep { update: Some(u), .. } => {
                let json = serde_json::to_string(u).unwrap();
                assert_eq!(&serde_json::from_str::<spc_ir::method::Update>(&json).unwrap(), u);
            }
            spc_ir::method::Does::Penalize { penalty, .. } => {
                let json = serde_json::to_string(penalty).unwrap();
                assert_eq!(&serde_json::from_str::<spc_ir::method::Penalty>(&json).unwrap(), penalty);
            }
            spc_ir::method::Does::Keep { .. } => {}
        }
    }
}

const TRAINED: &str = "\
use std.updates
use std.penalties
data d from npy \"x.npy\" { x: f32[I] }
require half: keep 2 of 4 of elements per tile(in: 4) OWN
penalize pull: 0.1 * penalties.l1() of elements via prox
train t {
  loss: mean(f(d.x))  optimizer: sgd(lr: 0.1)  steps: 100
  phase a 50% { apply FIRST, pull }
  phase b 50% { apply SECOND }
}";

fn trained(own: &str, first: &str, second: &str) -> spc_sema::Checked {
    let text = TRAINED.replace("OWN", own).replace("FIRST", first).replace("SECOND", second);
    crate::checked(&crate::program(4, 8, &text))
}

#[test]
fn a_phase_gives_a_constraint_its_update() {
    let name = |own: &str, first: &str, second: &str| {
        let c = trained(own, first, second);
        let errors: Vec<String> = c.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{errors:?}");
        match &c.module.rules.list[0].does {
            spc_ir::method::Does::Keep { update, .. } => update.as_ref().map(|u| u.name.clone()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(name("", "half", "half"), None);
    assert_eq!(name("", "half via updates.sr_ste()", "half").as_deref(), Some("sr_ste"));
    assert_eq!(name("", "half via updates.sr_ste()", "half via updates.sr_ste()").as_deref(), Some("sr_ste"));
    assert_eq!(name("via updates.frozen", "half via updates.sr_ste()", "half").as_deref(), Some("sr_ste"));
    assert_eq!(name("via updates.frozen", "half", "half").as_deref(), Some("frozen"));
    for (first, second, code) in [
        ("half", "half via updates.sr_ste()", "SP0006"),
        ("half via updates.sr_ste()", "half via updates.frozen", "SP0006"),
        ("half, pull via updates.sr_ste()", "half", "SP0105"),
    ] {
        let c = trained("", first, second);
        assert!(c.diagnostics.iter().any(|d| d.code.name() == code), "{first} {second}: {:?}", c.diagnostics);
    }
}
