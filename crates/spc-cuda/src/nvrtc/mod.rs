//! The emitted text compiled to PTX and cubins through NVRTC, where it is installed. No GPU and no driver is needed.
//!
//! NVRTC is opened by the path found, with its symbols taken from that very file: what `SPC_NVRTC` names is what compiles.

mod library;
mod ptx;
mod search;

pub use search::Search;

use library::Nvrtc;
use std::fmt;
use std::path::PathBuf;

/// What is built when nothing else is asked for; with it the architectures of [`crate::CudaModule::own_archs`].
pub const DEFAULT_ARCHS: &[&str] = &["compute_80", "sm_80", "sm_90"];

/// What a person can do when [`images`] finds no NVRTC.
pub const NOT_FOUND_HELP: &str =
    "set SPC_NVRTC to the file libnvrtc.so.13, or install the Python package nvidia-cuda-nvrtc (13.0.88)";

/// PTX or machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    Ptx,
    Cubin,
}

impl ImageKind {
    pub fn name(self) -> &'static str {
        match self {
            ImageKind::Ptx => "ptx",
            ImageKind::Cubin => "cubin",
        }
    }
}

/// One compiled form of the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As asked for: `compute_80`, `sm_90`.
    pub arch: String,
    pub kind: ImageKind,
    /// Name of the file in an artefact.
    pub file: String,
    pub bytes: Vec<u8>,
    /// PTX only: the version that stands in its header, and the one that NVRTC wrote where that was higher.
    pub ptx_version: Option<String>,
    pub lowered_from: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// `NVRTC 13.0`.
    pub toolchain: String,
    pub images: Vec<Image>,
}

/// Why there are no images although NVRTC was named or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvrtcError {
    /// The file that `SPC_NVRTC` names is not an NVRTC that can be used.
    Unusable { path: PathBuf, why: String },
    /// An architecture is not of the form `compute_N` or `sm_N`.
    Arch(String),
    /// NVRTC refused our text: a bug of the emitter. `kernel` is the comment line of the kernel blamed.
    Refused { arch: String, code: String, kernel: Option<String>, log: String },
    /// NVRTC failed in another way, or gave what no NVRTC gives.
    Failed(String),
}

impl NvrtcError {
    /// Whether this is a mistake of spc rather than of the machine's set-up or of the user.
    pub fn is_bug(&self) -> bool {
        matches!(self, NvrtcError::Refused { .. })
    }
}

impl fmt::Display for NvrtcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NvrtcError::Unusable { path, why } => {
                write!(f, "SPC_NVRTC names {}, which cannot be used: {why}", path.display())
            }
            NvrtcError::Arch(a) => write!(f, "`{a}` is no architecture: it must be like compute_80 or sm_90"),
            NvrtcError::Refused { arch, code, kernel, log } => {
                let kernel = kernel.as_deref().unwrap_or("no kernel in particular");
                write!(f, "NVRTC refused the emitted text for {arch} ({code}); {kernel}\n{log}")
            }
            NvrtcError::Failed(why) => write!(f, "NVRTC: {why}"),
        }
    }
}

impl std::error::Error for NvrtcError {}

/// Compiles `text` for each of `archs` with the NVRTC that the environment leads to (see [`Search`]). `compute_N` gives
/// PTX with its version lowered to 8.5 (any driver from CUDA 12.5 on loads it), `sm_N` gives a cubin. `Ok(None)`: there
/// is no NVRTC.
///
/// # Errors
/// `SPC_NVRTC` is wrong, or NVRTC refuses.
pub fn images(text: &str, archs: &[&str]) -> Result<Option<Images>, NvrtcError> {
    images_from(&Search::from_env(), text, archs)
}

/// As [`images`], with the NVRTC of `search`.
///
/// # Errors
/// As [`images`].
pub fn images_from(search: &Search, text: &str, archs: &[&str]) -> Result<Option<Images>, NvrtcError> {
    for arch in archs {
        kind(arch)?;
    }
    let Some(nvrtc) = search.open()? else { return Ok(None) };
    let (major, minor) = nvrtc.version()?;
    let first_ptx = archs.iter().position(|a| a.starts_with("compute_"));
    // Each architecture is compiled from the text: side by side.
    let built: Vec<Result<Image, NvrtcError>> = std::thread::scope(|s| {
        let nvrtc = &nvrtc;
        let jobs: Vec<_> = archs
            .iter()
            .enumerate()
            .map(|(i, arch)| s.spawn(move || image(nvrtc, text, arch, Some(i) == first_ptx)))
            .collect();
        let stopped = || NvrtcError::Failed("a compiling thread stopped".into());
        jobs.into_iter().map(|j| j.join().unwrap_or_else(|_| Err(stopped()))).collect()
    });
    let images = built.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Images { toolchain: format!("NVRTC {major}.{minor}"), images }))
}

fn kind(arch: &str) -> Result<ImageKind, NvrtcError> {
    let number =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.chars().all(|c| c.is_ascii_alphanumeric());
    match (arch.strip_prefix("compute_"), arch.strip_prefix("sm_")) {
        (Some(rest), _) if number(rest) => Ok(ImageKind::Ptx),
        (_, Some(rest)) if number(rest) => Ok(ImageKind::Cubin),
        _ => Err(NvrtcError::Arch(arch.into())),
    }
}

fn image(nvrtc: &Nvrtc, text: &str, arch: &str, first_ptx: bool) -> Result<Image, NvrtcError> {
    let kind = kind(arch)?;
    let bytes = nvrtc.compile(text, arch, kind)?;
    if kind == ImageKind::Cubin {
        let file = format!("{arch}.cubin");
        return Ok(Image { arch: arch.into(), kind, file, bytes, ptx_version: None, lowered_from: None });
    }
    let text = String::from_utf8(bytes).map_err(|_| NvrtcError::Failed("the PTX is not text".into()))?;
    let lowered = ptx::lower(&text).map_err(NvrtcError::Failed)?;
    Ok(Image {
        arch: arch.into(),
        kind,
        file: if first_ptx { "kernels.ptx".into() } else { format!("{arch}.ptx") },
        bytes: lowered.text.into_bytes(),
        ptx_version: Some(lowered.version),
        lowered_from: lowered.from,
    })
}

/// The comment line of the kernel that the errors of a log speak of: the last one at or before the greatest line number that
/// they give for `kernels.cu` (an error in a template names the kernel that uses it further down). Warnings name others.
fn blame(text: &str, log: &str) -> Option<String> {
    let number = |rest: &str| -> Option<usize> {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let (mut last, mut error) = (None, false);
    for line in log.lines() {
        if let Some((n, rest)) = line.strip_prefix("kernels.cu(").and_then(|l| l.split_once(')')) {
            error = !rest.trim_start_matches(':').trim_start().starts_with("warning");
            last = last.max(number(n).filter(|_| error));
        } else if error {
            last = last.max(line.split("at line ").skip(1).filter_map(number).max());
        }
    }
    let last = last?;
    let comment = text.lines().take(last).filter(|l| l.starts_with("// kernel ")).last()?;
    Some(comment.trim_start_matches("// ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_checked() {
        assert_eq!(kind("compute_80"), Ok(ImageKind::Ptx));
        assert_eq!(kind("sm_90a"), Ok(ImageKind::Cubin));
        for bad in ["", "sm_", "sm_x", "80", "sm_90 --help", "compute_80,sm_90"] {
            assert!(kind(bad).is_err(), "{bad}");
        }
        let nowhere = Search::new(&|_| None);
        assert!(images_from(&nowhere, "", &["volta"]).is_err());
    }

    #[test]
    fn the_kernel_that_a_log_speaks_of_is_named() {
        let text = "a\n// kernel one, node %1: x\nb\n// kernel two, node %2: y\nc\n";
        assert_eq!(blame(text, "kernels.cu(3): error: no").as_deref(), Some("kernel one, node %1: x"));
        let log = "kernels.cu(1): error: no\n  detected during instantiation of \"f\" at line 5\n";
        assert_eq!(blame(text, log).as_deref(), Some("kernel two, node %2: y"));
        assert_eq!(blame(text, "kernels.cu(1): error"), None);
        assert_eq!(blame(text, "nothing"), None);
    }
}
