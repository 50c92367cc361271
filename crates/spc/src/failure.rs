//! Why a command stopped, and the exit code that says so.
use spc_base::{Bug, Diagnostic, codes, has_errors};

/// Why a step of the driver stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The user's mistakes: at least one is an error.
    User(Vec<Diagnostic>),
    /// The command line asks for something that is not there.
    Usage(Box<Diagnostic>),
    /// A mistake of spc itself.
    Bug(Bug),
}

/// A result of the driver.
pub type Res<T> = Result<T, Failure>;

impl From<Bug> for Failure {
    fn from(b: Bug) -> Failure {
        Failure::Bug(b)
    }
}

impl From<Diagnostic> for Failure {
    fn from(d: Diagnostic) -> Failure {
        Failure::User(vec![d])
    }
}

impl From<spc_interp::RunError> for Failure {
    fn from(e: spc_interp::RunError) -> Failure {
        e.diagnostic().map_or_else(Failure::Bug, Failure::from)
    }
}

impl From<spc_interp::ProjectError> for Failure {
    fn from(e: spc_interp::ProjectError) -> Failure {
        e.diagnostic().map_or_else(Failure::Bug, Failure::from)
    }
}

impl Failure {
    pub fn usage(d: Diagnostic) -> Failure {
        Failure::Usage(Box::new(d))
    }

    /// The diagnostics to show, errors and warnings; none for a bug.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Failure::User(list) => list,
            Failure::Usage(d) => std::slice::from_ref(d),
            Failure::Bug(_) => &[],
        }
    }

    /// 1 the program is wrong; 2 usage; 3 an `expect` or a `verify` failed; 4 input, output, device or unsupported model;
    /// 101 our bug.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::User(list) => exit_code(list),
            Failure::Usage(_) => 2,
            Failure::Bug(_) => 101,
        }
    }
}

/// The exit code of a command that ended with these diagnostics. A wrong program counts before wrong input, and that
/// before a promise that does not hold.
pub fn exit_code(list: &[Diagnostic]) -> u8 {
    let rank = |d: &Diagnostic| match d.code {
        codes::EXPECT_FAILED | codes::VERIFY_FAILED => 3,
        codes::TARGET if d.primary.is_none() => 2,
        codes::REPORT | codes::TARGET => 1,
        codes::INPUT | codes::INDEX_RANGE | codes::DEVICE => 4,
        c if c.0 / 100 == 4 || c.0 / 100 == 6 => 4,
        _ => 1,
    };
    if !has_errors(list) {
        return 0;
    }
    let found: Vec<u8> = list.iter().filter(|d| d.is_error()).map(rank).collect();
    [1, 2, 4, 3].into_iter().find(|c| found.contains(c)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_base::{FileId, Span};

    #[test]
    fn exit_codes_follow_the_documented_table() {
        let e = |c| Diagnostic::error(c, "x");
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[Diagnostic::warning(codes::NOT_CHECKED, "x")]), 0);
        assert_eq!(exit_code(&[e(codes::SYNTAX)]), 1);
        assert_eq!(exit_code(&[e(codes::NO_FILE)]), 4);
        assert_eq!(exit_code(&[e(codes::EXPECT_FAILED)]), 3);
        assert_eq!(exit_code(&[e(codes::NOT_FINITE), e(codes::TILE)]), 1);
        assert_eq!(exit_code(&[e(codes::TARGET)]), 2);
        assert_eq!(exit_code(&[e(codes::TARGET).at(Span::new(FileId(0), 0, 1), "")]), 1);
        assert_eq!(Failure::Bug(Bug::new("x")).exit_code(), 101);
        assert_eq!(Failure::usage(e(codes::SYNTAX)).exit_code(), 2);
    }
}
