//! Tests of the whole: file tests (`ui`, `ir`, `layout`, `clif`, `cuda`, `run`, `samples`), properties, commands, tidiness
//! and planted bugs. Everything is in `suite/`; every `.sp` file here is one test (`build.rs`).
//!
//! [`fuzz`] holds what must hold for any bytes, for the tests here, for `cargo run -p spc-tests --bin fuzz` and for the
//! cargo-fuzz targets in `/fuzz`.

pub mod fuzz;
pub mod program;
