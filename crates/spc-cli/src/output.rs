//! Where results and messages go.
use crate::args::MessageFormat;
use spc::driver::{Diagnostic, Done, Failure, Format, Renderer, Res, Session, exit_code};
use std::io::{self, IsTerminal, Write};

/// The report block for a bug of ours.
const REPORT: &str = "\
This is a bug in spc, not in your program. Please report it with the command line, the .sp file if you can share it,
and the text above.
";

pub struct Output {
    renderer: Renderer,
}

fn err(text: &str) {
    // Nothing can be done where stderr is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Replaces the panic message by one that asks for a report. The exit code of a panic is 101.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|info| {
        err(&format!("internal error: {info}\n{REPORT}"));
    }));
}

impl Output {
    pub fn new(format: MessageFormat) -> Output {
        let format = match format {
            MessageFormat::Human => Format::Human,
            MessageFormat::Short => Format::Short,
            MessageFormat::Json => Format::Json,
        };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let colour = io::stderr().is_terminal() && !plain;
        Output { renderer: Renderer { format, colour, ..Renderer::default() } }
    }

    pub fn shows_progress(&self) -> bool {
        self.renderer.format == Format::Human && io::stderr().is_terminal()
    }

    fn show(&self, d: &Diagnostic, s: &Session<'_>) {
        err(&self.renderer.render(d, &s.sources));
        if self.renderer.format == Format::Human {
            err("\n");
        }
    }

    /// Writes warnings and the result, then what did not hold or went wrong; the exit code.
    pub fn finish(&self, s: &Session<'_>, result: Res<Done>) -> u8 {
        s.warnings.iter().for_each(|d| self.show(d, s));
        match result {
            Ok(done) => {
                if let Err(e) = print(&done.text) {
                    err(&format!("cannot write the result: {e}\n"));
                    return 4;
                }
                done.findings.iter().for_each(|d| self.show(d, s));
                match exit_code(&done.findings) {
                    0 => u8::from(done.differs),
                    code => code,
                }
            }
            Err(failure) => {
                failure.diagnostics().iter().for_each(|d| self.show(d, s));
                if let Failure::Bug(bug) = &failure {
                    err(&format!("{bug}\n{REPORT}"));
                }
                failure.exit_code()
            }
        }
    }
}

/// A reader that has gone away is no error.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
