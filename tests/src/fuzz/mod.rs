//! What must hold for any bytes, as plain functions that panic where it does not; and a deterministic source of bytes that
//! are nearly programs, or files of packed weights.
//!
//! No body fails for input that a user can mend: that is a diagnostic. It fails for a panic, a bug of ours, a place outside
//! the text, an internal word, a formatter that changes the program or is not idempotent, and a core form that is not the
//! program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod core;
mod corpus;
mod mutate;
mod packed;

pub use bodies::{check, format, internal_word, parse};
pub use core::{assert_core, same_module};
pub use corpus::{corpus, programs, root};
pub use mutate::Mutator;
pub use packed::{PackedMutator, packed, packed_seeds, packed_weights};

/// What is done with one text.
pub type Body = fn(&[u8]);

/// The bodies by name.
pub const BODIES: [(&str, Body); 4] = [("parse", parse), ("check", check), ("format", format), ("packed", packed)];

/// The row of cases for a body: texts that are nearly programs, or files that nearly hold packed weights.
pub fn cases(name: &str, seed: u64) -> Box<dyn FnMut() -> Vec<u8>> {
    if name == "packed" {
        let mut files = PackedMutator::new(seed);
        return Box::new(move || files.step());
    }
    let mut texts = Mutator::new(seed, corpus());
    Box::new(move || texts.step())
}
