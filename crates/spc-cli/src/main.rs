//! The `spc` command: arguments in, results on stdout, diagnostics and progress on stderr, an exit code out.
//! What the commands do is in the `spc` crate.

mod args;
mod bars;
mod output;

use args::{Cli, Command};
use bars::Bars;
use clap::Parser;
use output::Output;
use spc::driver::{self, DiskWorld, Res, Session};
use std::process::ExitCode;

fn main() -> ExitCode {
    output::on_panic();
    let cli = Cli::parse();
    let output = Output::new(cli.message_format);
    let world = DiskWorld::default();
    let bars = Bars::new(output.shows_progress());
    let mut session = Session::new(&world, cli.options());
    session.progress = &bars;
    let result = run(&mut session, &cli.command);
    bars.clear();
    ExitCode::from(output.finish(&session, result))
}

/// What a command prints, and the exit code that its findings ask for.
fn run(s: &mut Session<'_>, command: &Command) -> Res<String> {
    match command {
        Command::Check { file, emit } => driver::check(s, file, emit),
    }
}
