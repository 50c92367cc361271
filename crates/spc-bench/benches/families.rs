//! Rates of single families of kernels, fitted to what this machine takes, in the form of the shipped tables:
//! `cargo bench -p spc-bench --bench families -- avx512vnni bitmap vnm16`. Levels of memory and all else are those of the shipped
//! table. Without names: all families. `quick` measures two small shapes only.
#![allow(clippy::print_stdout)]
use spc_bench::{family, family_names, shipped};
use spc_cpu::Isa;
use spc_layout::Rates;
use std::error::Error;
use std::time::Instant;

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let cut = |(i, c): (usize, char)| {
        let sign = if i > 0 && (digits.len() - i).is_multiple_of(3) { "_" } else { "" };
        format!("{sign}{c}")
    };
    digits.chars().enumerate().map(cut).collect()
}

fn shown(r: &Rates) -> String {
    let list = |l: &[u64]| l.iter().map(|n| grouped(*n)).collect::<Vec<_>>().join(", ");
    let rows = r
        .slower_permille
        .iter()
        .map(|row| format!("        [{}],\n", list(&row.iter().map(|n| u64::from(*n)).collect::<Vec<_>>())));
    let rows: String = rows.collect();
    let numbers = [r.mul_fs, r.unit_ps, r.block_ps, r.overlap_permille, r.read_permille].map(grouped);
    let [mul, unit, block, overlap, read] = numbers;
    format!(
        "Rates {{\n    mul_fs: {mul},\n    slower_permille: [\n{rows}    ],\n    load_fs: [{}],\n    unit_ps: {unit},\n    block_ps: \
         {block},\n    overlap_permille: {overlap},\n    read_permille: {read},\n}}",
        list(&r.load_fs)
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = args.iter().any(|a| a == "quick");
    let named: Vec<&str> = args.iter().map(String::as_str).filter(|a| *a != "quick").collect();
    let isa = named.first().and_then(|n| Isa::ALL.into_iter().find(|i| i.name() == *n)).unwrap_or(Isa::native());
    let wanted = |name: &str| {
        let mut names = named.iter().filter(|n| Isa::ALL.into_iter().all(|i| i.name() != **n)).peekable();
        names.peek().is_none() || names.any(|n| name.split([' ', ',']).any(|word| word == *n))
    };
    let mut table = shipped(isa);
    let start = Instant::now();
    for name in family_names().filter(|n| wanted(n)) {
        let e = family(&mut table, name, isa, quick, &|| start.elapsed())?;
        let rates = [
            ("dense, token-major", &table.dense_rm),
            ("dense", &table.dense_fm),
            ("vx1", &table.vx1),
            ("bsr", &table.bsr),
            ("nm", &table.nm),
            ("csr", &table.csr),
            ("vx1 and bsr, token-major", &table.lists_rm),
            ("nm16", &table.nm16),
            ("csr16", &table.csr16),
            ("vnm16", &table.vnm16),
            ("bitmap", &table.bitmap),
            ("i8", &table.i8),
            ("i8nm and i4nm", &table.i8nm),
            ("i8csr", &table.i8csr),
            ("groups", &table.groups),
        ];
        let rates = rates.iter().find(|(n, _)| *n == name).map_or(String::new(), |(_, r)| shown(r));
        let (isa, seconds) = (isa.name(), start.elapsed().as_secs());
        println!(
            "// {isa}, {name}: {} samples, median error {:.1} %, after {seconds} s\n{rates}",
            e.samples,
            100.0 * e.error
        );
    }
    Ok(())
}
