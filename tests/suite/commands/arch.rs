//! Plans for another processor family than this machine's.
use super::support::spc::spc_command;
use super::*;
use spc_cpu::object::Arch;
use spc_layout::{Constants, CostTable};

fn plan(dir: &Path, more: &[&str]) -> serde_json::Value {
    let r = ok(spc(dir, [&["compile", "net.sp", "--emit=plan"], more].concat()));
    serde_json::from_str(&r.stdout).unwrap()
}

#[test]
fn another_processor_is_priced_with_its_own_constants() {
    let dir = good();
    let d = dir.path();
    let (arch, table) = match Arch::host() {
        Some(Arch::Aarch64) => ("x86_64", CostTable::clif_x86_64_v1()),
        _ => ("aarch64", CostTable::neon_aarch64_v1()),
    };
    let (here, there) = (plan(d, &[]), plan(d, &["--arch", arch]));
    let priced = &there["functions"][0];
    let named = serde_json::json!({ "name": table.name, "hash": table.hash() });
    assert_eq!(priced["cost_table"], named);
    assert_ne!(here["functions"][0]["cost_table"], named);
    assert_ne!(here["functions"][0]["total_ps"], priced["total_ps"]);
    if let Some(own) = Arch::host() {
        assert_eq!(plan(d, &["--arch", own.name()]), here);
    }
    // The same from a file, whatever code this machine runs; other constants of a file count there too.
    let constants = |table: CostTable| {
        let text = Constants::new([("clif".to_string(), table)].into_iter().collect()).to_json().unwrap();
        std::fs::write(d.join("mine.json"), text).unwrap();
        plan(d, &["--arch", arch, "--constants", "mine.json"])
    };
    assert_eq!(constants(table.clone()), there);
    let slow = constants(CostTable { launch_ps: table.launch_ps + 1_000_000, name: "slow".into(), ..table.clone() });
    assert_eq!(slow["functions"][0]["cost_table"]["name"], "slow");
    assert!(slow["functions"][0]["total_ps"].as_u64() > priced["total_ps"].as_u64());
    // What the environment names was measured on this machine.
    let own = ["compile", "net.sp", "--emit=plan", "--arch", arch];
    let r = Ran::of(&spc_command().env("SPC_CONSTANTS", "nothing.json").args(own).current_dir(d).output().unwrap());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ok(r).stdout).unwrap(), there);
    // Measured times would be those of this machine.
    let r = refused(d, &["compile", "net.sp", "--emit=plan", "--arch", arch, "--measure", "2"], 2, "SP0107");
    assert!(r.stderr.contains("times kernels on this machine"), "{}", r.stderr);
}

#[test]
fn a_folder_says_which_constants_it_was_planned_with() {
    if !Arch::Aarch64.is_built() || Arch::host() == Some(Arch::Aarch64) {
        return;
    }
    let dir = good();
    let d = dir.path();
    let r = ok(spc(d, ["compile", "net.sp", "--emit=obj", "--arch", "aarch64", "-o", "out"]));
    assert!(r.stdout.contains("predicted with the constants neon-aarch64-v1\n"), "{}", r.stdout);
    let text = std::fs::read_to_string(d.join("out/plan.json")).unwrap();
    assert!(text.contains("\"name\": \"neon-aarch64-v1\""), "{text}");
    let object = std::fs::read(d.join("out/net.o")).unwrap();
    assert_eq!((&object[..4], object[18]), (&b"\x7fELF"[..], 183), "no object for aarch64");
    ok(spc(d, ["verify", "out"]));
    // Its layouts can be had on this machine.
    let again = ["compile", "net.sp", "--emit=plan", "--plan", "out/plan.json"];
    assert_eq!(ok(spc(d, again)).stdout, text);
}
