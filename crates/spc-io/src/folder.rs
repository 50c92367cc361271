//! A folder of outputs that appears whole or not at all.
use crate::atomic::parent;
use crate::error::unwritable;
use spc_base::Diagnostic;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use tempfile::{Builder, TempDir};

/// Output files on their way: they are collected in a hidden folder beside the target, which [`Folder::commit`]
/// renames. Dropped without that, nothing is left.
#[derive(Debug)]
pub struct Folder {
    /// The path as the user wrote it, for messages.
    shown: PathBuf,
    target: PathBuf,
    parts: TempDir,
}

impl Folder {
    /// Starts a folder. A target that exists must be an empty folder, or one of which `may_replace` says that it was
    /// made by us: all that is in it will be gone after `commit`. Parents are created. Errors: SP0409.
    pub fn create(target: &Path, may_replace: impl FnOnce(&Path) -> bool) -> Result<Folder, Diagnostic> {
        Folder::try_create(target, may_replace).map_err(|e| unwritable(target, &e))
    }

    fn try_create(shown: &Path, may_replace: impl FnOnce(&Path) -> bool) -> io::Result<Folder> {
        let target = match fs::metadata(shown) {
            Ok(kind) if !kind.is_dir() => return Err(io::Error::other("it is not a folder")),
            Ok(_) => {
                let target = fs::canonicalize(shown)?;
                if fs::read_dir(&target)?.next().is_some() && !may_replace(&target) {
                    return Err(io::Error::other("the folder holds files that spc did not write"));
                }
                target
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(parent(shown))?;
                shown.into()
            }
            Err(e) => return Err(e),
        };
        if target.file_name().is_none() {
            return Err(io::Error::other("the path does not name a folder"));
        }
        let mut builder = Builder::new();
        builder.prefix(".spc-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let parts = builder.tempdir_in(parent(&target))?;
        Ok(Folder { shown: shown.into(), target, parts })
    }

    /// Where the files lie until `commit`, for tools that write by themselves.
    pub fn path(&self) -> &Path {
        self.parts.path()
    }

    /// Adds a file. `name` is relative and may hold folders; a name used twice is an error. Errors: SP0409.
    pub fn file(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Diagnostic> {
        self.try_file(name, fill).map_err(|e| unwritable(&self.shown.join(name), &e))
    }

    /// Adds a file of these bytes. Errors: SP0409.
    pub fn bytes(&self, name: &str, bytes: &[u8]) -> Result<(), Diagnostic> {
        self.file(name, |out| out.write_all(bytes))
    }

    fn try_file(&self, name: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let inside = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
        if name.is_empty() || !inside {
            return Err(io::Error::other("the name does not lie inside the folder"));
        }
        let path = self.parts.path().join(name);
        fs::create_dir_all(parent(&path))?;
        let mut out = BufWriter::with_capacity(1 << 16, File::create_new(&path)?);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    /// Puts the folder in its place. Where a folder was, it is moved aside first and back again if that fails.
    /// Errors: SP0409.
    pub fn commit(self) -> Result<(), Diagnostic> {
        let shown = self.shown.clone();
        self.try_commit().map_err(|e| unwritable(&shown, &e))
    }

    fn try_commit(self) -> io::Result<()> {
        if fs::symlink_metadata(&self.target).is_ok() {
            let aside = Builder::new().prefix(".spc-").tempdir_in(parent(&self.target))?;
            let old = aside.path().join("old");
            fs::rename(&self.target, &old)?;
            if let Err(e) = fs::rename(self.parts.path(), &self.target) {
                if fs::rename(&old, &self.target).is_err() {
                    let kept = aside.keep().join("old");
                    return Err(io::Error::other(format!("{e}; the old folder is now `{}`", kept.display())));
                }
                return Err(e);
            }
        } else {
            fs::rename(self.parts.path(), &self.target)?;
        }
        // The folder has left its temporary name: there is nothing to clean up.
        let _ = self.parts.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spc_base::codes;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_there_before_commit_and_all_of_it_after() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/out");
        let folder = Folder::create(&target, |_| false).unwrap();
        folder.bytes("manifest.json", b"{}").unwrap();
        folder.file("sub/k.cu", |out| out.write_all(b"code")).unwrap();
        assert!(!target.exists());
        folder.commit().unwrap();
        assert_eq!(names(&target), ["manifest.json", "sub"]);
        assert_eq!(fs::read(target.join("sub/k.cu")).unwrap(), b"code");
        assert_eq!(names(&dir.path().join("a")), ["out"]);
    }

    #[test]
    fn an_abandoned_folder_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), b"").unwrap();
        let folder = Folder::create(&target, |_| true).unwrap();
        folder.bytes("new", b"").unwrap();
        let error = folder.file("half", |_| Err(io::Error::other("the disk is full"))).unwrap_err();
        assert_eq!(error.code, codes::WRITE);
        drop(folder);
        assert_eq!(names(&target), ["old"]);
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn our_own_folder_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for name in ["first", "second"] {
            let folder = Folder::create(&target, |old| old.join("first").exists()).unwrap();
            folder.bytes(name, b"").unwrap();
            folder.commit().unwrap();
            assert_eq!(names(&target), [name]);
        }
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn other_peoples_folders_and_files_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), b"").unwrap();
        for target in [dir.path().to_path_buf(), dir.path().join("thesis.tex"), "/".into()] {
            assert_eq!(Folder::create(&target, |_| false).unwrap_err().code, codes::WRITE);
        }
        assert_eq!(names(dir.path()), ["thesis.tex"]);
    }

    #[test]
    fn names_stay_inside_and_are_used_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(&dir.path().join("out"), |_| false).unwrap();
        for name in ["", "../x", "/tmp/x", "a/../../x"] {
            assert_eq!(folder.bytes(name, b"").unwrap_err().code, codes::WRITE, "{name}");
        }
        folder.bytes("x", b"").unwrap();
        assert_eq!(folder.bytes("x", b"").unwrap_err().code, codes::WRITE);
    }
}
