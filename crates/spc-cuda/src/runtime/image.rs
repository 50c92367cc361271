//! Which image of a module a device takes.
use super::RuntimeError;
use super::device::{Device, Loaded};
use crate::CudaModule;
use crate::nvrtc::{self, Image, ImageKind};
use std::sync::Arc;

/// The order in which images are tried, or one kind only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageChoice {
    /// A cubin for exactly this device (`sm_XYa` first), one of the same major version and a lower or equal minor one, PTX,
    /// then what NVRTC makes of the text.
    #[default]
    Best,
    Cubin,
    Ptx,
    Nvrtc,
}

impl ImageChoice {
    /// What `SPC_CUDA_IMAGE` says: `cubin`, `ptx`, `nvrtc`; `Best` where it is not set.
    ///
    /// # Errors
    /// It says something else.
    pub fn from_env() -> Result<ImageChoice, RuntimeError> {
        match std::env::var("SPC_CUDA_IMAGE").unwrap_or_default().as_str() {
            "" => Ok(ImageChoice::Best),
            "cubin" => Ok(ImageChoice::Cubin),
            "ptx" => Ok(ImageChoice::Ptx),
            "nvrtc" => Ok(ImageChoice::Nvrtc),
            other => Err(RuntimeError::BadSwitch(other.to_string())),
        }
    }

    fn allows(self, kind: ImageKind) -> bool {
        match self {
            ImageChoice::Best => true,
            ImageChoice::Cubin => kind == ImageKind::Cubin,
            ImageChoice::Ptx => kind == ImageKind::Ptx,
            ImageChoice::Nvrtc => false,
        }
    }
}

/// Major and minor version of `sm_90` or `compute_80`, and whether it is for this device alone (`sm_90a`).
fn parts(arch: &str) -> Option<(u32, u32, bool)> {
    let number = arch.strip_prefix("sm_").or_else(|| arch.strip_prefix("compute_"))?;
    let only = number.ends_with('a');
    let n: u32 = number.trim_end_matches('a').parse().ok()?;
    Some((n / 10, n % 10, only))
}

/// How well an image fits, greatest best; `None` where it does not run.
fn fitness(image: &Image, (major, minor): (u32, u32)) -> Option<(u32, u32, bool)> {
    let (a, b, only) = parts(&image.arch)?;
    match image.kind {
        ImageKind::Cubin if a == major && only => (b == minor).then_some((2, b, true)),
        ImageKind::Cubin if a == major => (b <= minor).then_some((2, b, false)),
        ImageKind::Cubin => None,
        ImageKind::Ptx if only => ((a, b) == (major, minor)).then_some((1, a * 10 + b, true)),
        ImageKind::Ptx => ((a, b) <= (major, minor)).then_some((1, a * 10 + b, false)),
    }
}

/// Loads the best image that the device takes, else what NVRTC makes of the text for it; with its architecture.
pub(super) fn load(
    device: &Arc<Device>,
    images: &[Image],
    module: &CudaModule,
    choice: ImageChoice,
) -> Result<(Loaded, String), RuntimeError> {
    let cc = device.capability();
    let mut fitting: Vec<(&Image, _)> = images.iter().filter_map(|i| Some((i, fitness(i, cc)?))).collect();
    fitting.retain(|(i, _)| choice.allows(i.kind));
    fitting.sort_by_key(|(_, fits)| std::cmp::Reverse(*fits));
    let mut tried: Vec<String> = images.iter().map(|i| i.file.clone()).collect();
    for (image, _) in fitting {
        match Loaded::new(device, &image.bytes) {
            Ok(loaded) => return Ok((loaded, image.arch.clone())),
            Err(why) => tried.push(format!("{}, refused with {why}", image.file)),
        }
    }
    // PTX where it is asked for, machine code of the device otherwise, which needs no second compiler in the driver.
    let own = module.own_archs().iter().any(|a| parts(a) == Some((cc.0, cc.1, true)));
    let arch = match (choice == ImageChoice::Ptx, own) {
        (true, false) => "compute_80".to_string(),
        (true, true) => format!("compute_{}{}a", cc.0, cc.1),
        (false, false) => format!("sm_{}{}", cc.0, cc.1),
        (false, true) => format!("sm_{}{}a", cc.0, cc.1),
    };
    if let Some(built) = nvrtc::images(&module.text, &[&arch])? {
        for image in &built.images {
            match Loaded::new(device, &image.bytes) {
                Ok(loaded) => return Ok((loaded, image.arch.clone())),
                Err(why) => tried.push(format!("{} of {}, refused with {why}", image.arch, built.toolchain)),
            }
        }
    } else {
        tried.push("no NVRTC".into());
    }
    Err(RuntimeError::NoImage { device: device.name().into(), has: cc, images: tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_image_is_taken() {
        let image = |arch: &str| {
            let kind = if arch.starts_with("sm_") { ImageKind::Cubin } else { ImageKind::Ptx };
            Image { arch: arch.into(), kind, file: arch.into(), bytes: vec![], ptx_version: None, lowered_from: None }
        };
        let images: Vec<Image> = ["compute_80", "sm_80", "sm_90", "sm_90a", "compute_90"].map(image).into();
        let best = |cc| images.iter().filter_map(|i| Some((fitness(i, cc)?, i.arch.as_str()))).max().map(|(_, a)| a);
        let order = [(9, 0), (8, 0), (8, 6), (10, 0), (7, 5), (9, 1)].map(best);
        assert_eq!(order, [Some("sm_90a"), Some("sm_80"), Some("sm_80"), Some("compute_90"), None, Some("sm_90")]);
        assert!(parts("sm_x").is_none() && parts("90").is_none());
    }
}
