//! The command line.
use clap::{Parser, Subcommand};
use spc::driver::{Options, Stage};
use std::path::PathBuf;

/// A declarative sparsity compiler: one .sp file in, a checked plan and fast kernels out.
#[derive(Parser, Debug)]
#[command(name = "spc", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// How diagnostics are written to stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub message_format: MessageFormat,

    /// Stop optimising after this many rewrites, to find a wrong one.
    #[arg(long, global = true, value_name = "N")]
    pub opt_limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MessageFormat {
    /// Source lines with marks below.
    #[default]
    Human,
    /// One line each.
    Short,
    /// One JSON object a line, in rustc's shape.
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check names, axes, types and constraints, and the headers of weight files.
    Check {
        file: PathBuf,
        /// Print stages of the program: ast, core, ir.
        #[arg(long, value_delimiter = ',', value_parser = stage, value_name = "STAGE")]
        emit: Vec<Stage>,
    },
}

fn stage(text: &str) -> Result<Stage, String> {
    let names: Vec<&str> = Stage::ALL.iter().map(|s| s.name()).collect();
    Stage::from_name(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

impl Cli {
    pub fn options(&self) -> Options {
        Options { opt_limit: self.opt_limit, ..Options::default() }
    }
}
