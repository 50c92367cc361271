//! The version line of PTX. NVRTC writes the newest version it knows, which older drivers refuse; the kernels use nothing
//! newer than 8.5.

const TARGET: (u32, u32) = (8, 5);

pub(crate) struct Lowered {
    pub text: String,
    /// The version that stands in the text now.
    pub version: String,
    /// The version that stood there, where it was higher.
    pub from: Option<String>,
}

/// Lowers `.version` to 8.5 where it is higher.
pub(crate) fn lower(ptx: &str) -> Result<Lowered, String> {
    let mut at = 0;
    for line in ptx.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix(".version ") {
            let version = rest.trim();
            let number = version.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let number: (u32, u32) = number.ok_or_else(|| format!("PTX of version `{version}`"))?;
            if number <= TARGET {
                return Ok(Lowered { text: ptx.into(), version: version.into(), from: None });
            }
            let new = format!("{}.{}", TARGET.0, TARGET.1);
            let (head, tail) = (&ptx[..at], &ptx[at + line.len()..]);
            let text = format!("{head}.version {new}\n{tail}");
            return Ok(Lowered { text, version: new, from: Some(version.into()) });
        }
        at += line.len();
    }
    Err("PTX without a version".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_version_is_lowered() {
        let l = lower("// c\n.version 9.0\n.target sm_80\n").unwrap();
        assert_eq!(l.text, "// c\n.version 8.5\n.target sm_80\n");
        assert_eq!((l.version.as_str(), l.from.as_deref()), ("8.5", Some("9.0")));
        let l = lower(".version 8.10\nx").unwrap();
        assert_eq!((l.text.as_str(), l.from.as_deref()), (".version 8.5\nx", Some("8.10")));
        let l = lower(".version 8.3\n").unwrap();
        assert_eq!((l.text.as_str(), l.version.as_str(), l.from), (".version 8.3\n", "8.3", None));
        assert!(lower("").is_err() && lower(".version x\n").is_err() && lower("// .version 9.0\n").is_err());
    }
}
