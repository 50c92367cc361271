//! The tables that come with spc, one file each, as `spc calibrate` measured them.
pub(crate) mod amx;
pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod portable;
pub(crate) mod vnni;
