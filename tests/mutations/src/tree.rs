//! A copy of the repository's sources, to which one patch at a time is applied.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A copy of the files that git tracks.
///
/// It is always in the same place, so that what was built of it can be used again.
pub struct Tree {
    root: PathBuf,
    copy: PathBuf,
}

impl Tree {
    /// A copy of the repository at `root`, in `copy`. The first [`reset`](Self::reset) fills it.
    #[must_use]
    pub fn new(root: PathBuf, copy: PathBuf) -> Self {
        Self { root, copy }
    }

    /// Where the copy is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.copy
    }

    /// Makes the copy equal to the working tree. A file that is equal already is not touched, so that only
    /// what has changed is built again.
    ///
    /// # Errors
    /// A file cannot be read or written, or git does not list the files.
    pub fn reset(&self) -> io::Result<()> {
        let Some(files) = tracked(&self.root) else {
            return Err(io::Error::other("the sources are not a git checkout; clone the repository"));
        };
        let mut wanted = BTreeSet::new();
        for file in &files {
            // A file that is removed and not yet committed is still tracked.
            let Ok(content) = fs::read(self.root.join(file)) else { continue };
            let copy = self.copy.join(file);
            if fs::read(&copy).ok().as_ref() != Some(&content) {
                fs::create_dir_all(copy.parent().unwrap_or(&self.copy))?;
                fs::write(&copy, content)?;
            }
            wanted.insert(copy);
        }
        remove_others(&self.copy, &wanted)
    }

    /// Applies a patch to the copy.
    ///
    /// # Errors
    /// What git says.
    pub fn apply(&self, patch: &Path) -> Result<(), String> {
        apply(&self.copy, patch, &[])
    }
}

/// Whether a patch applies to the files below `root`.
///
/// # Errors
/// What git says.
pub fn check(root: &Path, patch: &Path) -> Result<(), String> {
    apply(root, patch, &["--check"])
}

fn apply(folder: &Path, patch: &Path, options: &[&str]) -> Result<(), String> {
    let output = Command::new("git")
        // One line of context is enough, so that fewer changes nearby break a patch.
        .args(["apply", "-C1"])
        .args(options)
        .arg(patch)
        .current_dir(folder)
        // In the folder of a repository that ignores it, git would apply nothing, silently.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().map_or(OsStr::new(""), Path::as_os_str))
        .output()
        .map_err(|error| format!("git does not run: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Returns the files that git tracks; `None` if the folder is not the root of a checkout.
#[must_use]
pub fn tracked(root: &Path) -> Option<Vec<PathBuf>> {
    if !root.join(".git").exists() {
        return None;
    }
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let names = String::from_utf8(listed.stdout).ok().filter(|_| listed.status.success())?;
    Some(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
