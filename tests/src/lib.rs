//! Tests of the whole: file tests (`ui`, `ir`, `layout`, `clif`, `cuda`, `run`, `samples`), properties, commands, tidiness
//! and planted bugs. Everything is in `suite/`; every `.sp` file here is one test (`build.rs`).
