//! Emitted modules on a GPU: the driver, a device, and a function ready to be called.
//!
//! Nothing here is needed to compile. Without a driver, with one that lacks functions, without a device or NVRTC, there is a
//! [`RuntimeError`], never a panic. `SPC_LIBCUDA` names another driver library than `libcuda.so.1`, `SPC_CUDA_IMAGE` (`cubin`,
//! `ptx`, `nvrtc`) one kind of image, `SPC_CUDA_WAIT=1`
//! waits after every kernel, so that a fault names its layer, and `SPC_CUDA_GRAPHS=0` launches kernels one by one: else a call
//! of the sizes of the one before is recorded as a graph, and calls of those sizes are one launch.

mod call;
mod device;
mod driver;
mod error;
mod image;
mod program;
mod update;

pub use device::Device;
pub use driver::DriverSearch;
pub use error::RuntimeError;
pub use image::ImageChoice;
pub use program::{DeviceProgram, KernelTime, Weights};
pub use update::{UpdateArgument, UpdateProgram};
