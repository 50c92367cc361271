//! Numbers with units, short enough for a table.

/// `131072` as `128.0 KiB`; below 1 KiB in bytes.
pub fn bytes(n: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| n >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", n as f64 / *size as f64),
        None => format!("{n} B"),
    }
}

/// A duration in seconds as `12.3 us`, `4.56 ms` or `1.23 s`: three digits.
pub fn seconds(s: f64) -> String {
    let (value, unit) = match s {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "us"),
        s => (s * 1e9, "ns"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// A predicted time.
pub fn picoseconds(ps: u64) -> String {
    seconds(ps as f64 * 1e-12)
}

/// A share as a percentage with one digit after the point: `0.975` as `97.5 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A ratio as `1.85x`.
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_chosen_by_size() {
        assert_eq!(
            [0, 1023, 1024, 131_072, 90_868_376].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "128.0 KiB", "86.7 MiB"]
        );
        assert_eq!(
            [0.0, 1.5e-8, 1.234e-5, 0.01234, 2.5, 345.6].map(seconds),
            ["0.00 ns", "15.0 ns", "12.3 us", "12.3 ms", "2.50 s", "346 s"]
        );
        assert_eq!(picoseconds(1_500_000), "1.50 us");
        assert_eq!((percent(0.9751), times(2.0)), ("97.5 %".into(), "2.00x".into()));
    }
}
