//! An interpreter for the PTX that NVRTC makes of CUDA C++, for tests on machines without a GPU. No dependencies.
//!
//! [`Module::parse`] reads the text; [`launch`] runs one kernel of it over [`Memory`] and gives [`Counters`], or a [`Fault`]
//! that names the kernel, block, warp and PTX line.
//!
//! It is made to find mistakes, not to be fast (0.2 to 1 microseconds an instruction of a warp):
//!
//! * every access is checked for its bounds and its alignment; each buffer has an address range of its own
//! * shared memory starts as NaN; an asynchronous copy (`cp.async`) spoils its target at once and lands at the wait that
//!   covers it
//! * warps run in an order that [`Schedule`] gives, in half of the schedules as far ahead of the others as they can
//! * instructions of a warp need all lanes; a barrier that some threads never reach is a fault
//! * endless loops end at a bound on the number of instructions
//!
//! The counters show what costs time on a device: instructions of warps, 32-byte sectors against the bytes asked for, shared
//! memory accesses that meet in a bank, matrix instructions, barriers.
//!
//! The subset is what such kernels use: integer and f32 arithmetic, loads and stores, predicates and branches, `cp.async`,
//! `ldmatrix`, `mma.m16n8k16` and `mma.sp::ordered_metadata.m16n8k32` of bf16 and f16, `wgmma.mma_async.sp.m64nNk32` with its left
//! side in registers and its right side in 128-byte swizzle, `shfl`, `bar`, and atomic addition to global and shared memory. The meaning
//! of each is that of the PTX ISA; fragments are laid out as in its sections on `mma` and `mma.sp`. Functions, textures, local
//! memory, other `wgmma` and `mbarrier` are refused when the text is parsed. Not modelled: time, caches, and memory order finer than
//! barriers. Matrix instructions add in f32, one product after the other.
//!
//! ```
//! use spc_ptx::{Launch, Memory, Module, Schedule, launch};
//! let text = ".version 8.5\n.target sm_80\n.address_size 64\n.visible .entry twice(.param .u64 p0)\n{\n\
//!   .reg .b64 %rd<4>;\n.reg .b32 %r<3>;\n.reg .f32 %f<3>;\n\
//!   ld.param.u64 %rd1, [p0];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd3, %rd1, %rd2;\n\
//!   ld.global.f32 %f1, [%rd3];\nadd.rn.f32 %f2, %f1, %f1;\nst.global.f32 [%rd3], %f2;\nret;\n}\n";
//! let module = Module::parse(text)?;
//! let mut memory = Memory::default();
//! let bytes: Vec<u8> = (0..32).flat_map(|i| (i as f32).to_le_bytes()).collect();
//! let buffer = memory.alloc(bytes)?;
//! let kernel = module.kernel("twice").ok_or("no such kernel")?;
//! let how = Launch { grid: 1, block: 32, shared_bytes: 0, arguments: &[buffer], schedule: Schedule::Forward };
//! let counters = launch(kernel, &how, &mut memory).map_err(|f| f.to_string())?;
//! assert_eq!(memory.read(buffer, 4..8)?, 2.0f32.to_le_bytes());
//! assert_eq!((counters.load_bytes, counters.load_sectors), (128, 4));
//! # Ok::<(), String>(())
//! ```

mod arithmetic;
mod counters;
mod decode;
mod machine;
mod matrix;
mod memory;
mod parse;
mod types;
mod warp;
mod warpgroup;

pub use counters::Counters;
pub use machine::{Fault, Launch, Schedule, launch};
pub use memory::Memory;
pub use parse::{Kernel, Module};
