//! Tables as files: what `spc calibrate` writes.
use crate::table::{CostTable, MOST_RATE, Rates};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Cost tables of one machine, by what runs them: an instruction set (`avx512amx`, `avx512vnni`, `avx512`, `avx2`, `clif`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    pub format: u32,
    pub tables: BTreeMap<String, CostTable>,
    /// Of everything above: a file that was changed is not what was measured.
    pub hash: String,
}

/// The format that this version writes and reads.
pub const CONSTANTS_FORMAT: u32 = 4;

/// Greatest time of any single thing, in the unit of its field.
const MOST: u64 = 1_000_000_000_000;

impl Constants {
    pub fn new(tables: BTreeMap<String, CostTable>) -> Constants {
        let mut c = Constants { format: CONSTANTS_FORMAT, tables, hash: String::new() };
        c.hash = c.digest();
        c
    }

    /// FNV-1a, 64 bits, of the format and the hashes of the tables.
    fn digest(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(|(n, t)| format!("{n}={}", t.hash())).collect();
        crate::table::fnv(&format!("{} {}", self.format, tables.join(" ")))
    }

    /// Reads a file of constants.
    ///
    /// # Errors
    /// What is wrong, in words: no JSON, something missing or unknown, another format, a number that no machine has, a
    /// file that was changed after it was written.
    pub fn parse(text: &str) -> Result<Constants, String> {
        let c: Constants = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if c.format != CONSTANTS_FORMAT {
            return Err(format!("its format is {}, and this version reads {CONSTANTS_FORMAT}", c.format));
        }
        if c.tables.is_empty() {
            return Err("it has no table".into());
        }
        for (name, t) in &c.tables {
            check(t).map_err(|e| format!("table `{name}`: {e}"))?;
        }
        if c.hash != c.digest() {
            return Err(format!(
                "its `hash` is `{}`, and its numbers give `{}`: it was changed by hand",
                c.hash,
                c.digest()
            ));
        }
        Ok(c)
    }

    /// The file as text.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|t| t + "\n").map_err(|e| e.to_string())
    }
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{name}` is {value}, expected {least} to {most}"))
}

fn rates(name: &str, r: &Rates) -> Result<(), String> {
    let field = |f: &str| format!("{name}.{f}");
    within(&field("mul_fs"), r.mul_fs, 0, MOST)?;
    for load in r.load_fs {
        within(&field("load_fs"), load, 0, MOST)?;
    }
    for permille in r.slower_permille.iter().flatten() {
        within(&field("slower_permille"), u64::from(*permille), 10, 1_000_000)?;
    }
    within(&field("unit_ps"), r.unit_ps, 0, MOST)?;
    within(&field("block_ps"), r.block_ps, 0, MOST)?;
    within(&field("overlap_permille"), r.overlap_permille, 0, 1000)?;
    within(&field("read_permille"), r.read_permille, 10, 100_000)?;
    if r.mul_fs == 0 && r.load_fs.contains(&0) {
        return Err(format!("`{name}` computes in no time"));
    }
    Ok(())
}

/// Refuses numbers that no machine has.
fn check(t: &CostTable) -> Result<(), String> {
    if t.name.is_empty() || t.name.len() > 80 {
        return Err("`name` is empty or longer than 80 characters".into());
    }
    if t.source.len() > 400 {
        return Err("`source` is longer than 400 characters".into());
    }
    within("token_tile", t.token_tile, 1, 1 << 16)?;
    within("pass_fm", t.pass_fm, 1, 1 << 16)?;
    for (name, r) in [
        ("dense_rm", &t.dense_rm),
        ("dense_fm", &t.dense_fm),
        ("vx1", &t.vx1),
        ("bsr", &t.bsr),
        ("nm", &t.nm),
        ("csr", &t.csr),
        ("lists_rm", &t.lists_rm),
        ("nm16", &t.nm16),
        ("csr16", &t.csr16),
        ("vnm16", &t.vnm16),
        ("bitmap", &t.bitmap),
        ("i8", &t.i8),
        ("i8nm", &t.i8nm),
        ("i8csr", &t.i8csr),
        ("groups", &t.groups),
    ] {
        rates(name, r)?;
    }
    for (name, rate) in [
        ("activation_bytes_per_us", t.activation_bytes_per_us),
        ("convert_bytes_per_us", t.convert_bytes_per_us),
        ("again_bytes_per_us", t.again_bytes_per_us),
    ] {
        within(name, rate, 1, MOST_RATE)?;
    }
    if t.levels.is_empty() {
        return Err("`levels` is empty".into());
    }
    for l in &t.levels {
        within("levels.bytes_per_us", l.bytes_per_us, 1, MOST_RATE)?;
    }
    if t.levels.windows(2).any(|w| w[0].up_to_bytes >= w[1].up_to_bytes) {
        return Err("`levels` do not ascend in `up_to_bytes`".into());
    }
    for (name, ps) in [
        ("launch_ps", t.launch_ps),
        ("element_ps", t.element_ps),
        ("call_ps", t.call_ps),
        ("contract_fs", t.contract_fs),
    ] {
        within(name, ps, 0, MOST)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Constants {
        let tables = BTreeMap::from([("clif".to_string(), CostTable::clif_x86_64_v1())]);
        Constants::new(tables)
    }

    #[test]
    fn constants_survive_their_file() {
        let c = one();
        let text = c.to_json().unwrap();
        assert_eq!(Constants::parse(&text), Ok(c));
    }

    #[test]
    fn files_that_cannot_be_right_are_refused_in_words() {
        let text = one().to_json().unwrap();
        for (from, to, part) in [
            ("\"format\": 4", "\"format\": 3", "its format is 3"),
            ("\"token_tile\": 16,", "", "missing field `token_tile`"),
            ("\"token_tile\": 16", "\"token_tile\": 16, \"lunch_ps\": 1", "unknown field `lunch_ps`"),
            ("\"token_tile\": 16", "\"token_tile\": -3", "invalid value"),
            ("\"token_tile\": 16", "\"token_tile\": 18446744073709551615", "`token_tile` is 18446744073709551615"),
            ("\"pass_fm\": 48", "\"pass_fm\": 0", "expected 1 to"),
            ("\"up_to_bytes\": 262144,", "\"up_to_bytes\": 5000000,", "do not ascend"),
            ("\"up_to_bytes\": 1048576", "\"up_to_bytes\": 3", "do not ascend"),
            ("\"overlap_permille\": ", "\"overlap_permille\": 9999", "`dense_rm.overlap_permille` is 9999"),
            ("\"read_permille\": ", "\"read_permille\": 99999", "`dense_rm.read_permille` is 99999"),
            ("\"token_tile\": 16", "\"token_tile\": 17", "it was changed by hand"),
            ("spc calibrate", "spc guess", "it was changed by hand"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let e = Constants::parse(&changed).unwrap_err();
            assert!(e.contains(part), "{part} is not in: {e}");
        }
        assert!(Constants::parse("").is_err() && Constants::parse("[]").is_err() && Constants::parse("{}").is_err());
        let empty = Constants::new(BTreeMap::new());
        assert_eq!(Constants::parse(&empty.to_json().unwrap()), Err("it has no table".into()));
    }
}
