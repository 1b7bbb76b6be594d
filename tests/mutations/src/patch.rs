//! A patch that breaks one promise.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A patch of `patches/`: a header of plain lines, then a unified diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The file's name without its ending.
    pub name: String,
    /// Where the patch is.
    pub file: PathBuf,
    /// The promise that is broken, as the first column of a table in docs/guarantees.md has it.
    pub promise: String,
    /// The arguments of `cargo test` that run the tests which have to notice.
    pub test: Vec<String>,
    /// Differs between patches that differ.
    pub fingerprint: String,
}

/// Reads all patches, in the order of their names.
///
/// # Errors
/// Each patch whose header is not complete, with what it lacks.
///
/// # Panics
/// If a file cannot be read.
pub fn read_all(root: &Path) -> Result<Vec<Patch>, Vec<String>> {
    let folder = root.join("tests/mutations/patches");
    let entries = fs::read_dir(&folder).expect("the folder of the patches");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    files.sort();
    let (mut patches, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).expect("a patch in UTF-8");
        match Patch::parse(file, &text) {
            Ok(patch) => patches.push(patch),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(patches) } else { Err(faults) }
}

impl Patch {
    /// Reads a patch from its text.
    ///
    /// # Errors
    /// What the header lacks.
    pub fn parse(file: PathBuf, text: &str) -> Result<Self, String> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let header: Vec<_> = text.lines().take_while(|line| !line.starts_with("--- ")).collect();
        let field = |field: &str| {
            let values = header.iter().filter_map(|line| line.strip_prefix(field)).map(str::trim);
            match values.filter(|value| !value.is_empty()).collect::<Vec<_>>().as_slice() {
                [value] => Ok((*value).to_owned()),
                found => {
                    Err(format!("{name}.patch: {} lines `{field} ..` above the diff; write one", found.len()))
                }
            }
        };
        if header.len() == text.lines().count() {
            return Err(format!("{name}.patch: no line begins with `--- `; append a unified diff"));
        }
        let (promise, test) = (field("Promise:")?, field("Test:")?);
        let test = test.split_whitespace().map(str::to_owned).collect();
        Ok(Self { promise, test, fingerprint: fingerprint(text), name, file })
    }
}

/// The 64-bit FNV-1a hash of a text.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n";

    fn parse(text: &str) -> Result<Patch, String> {
        Patch::parse(PathBuf::from("patches/x.patch"), text)
    }

    #[test]
    fn a_header_names_the_promise_and_the_test() {
        let patch = parse(&format!("Promise: It holds\nTest: --test lease loss::\n\n{DIFF}")).unwrap();
        assert_eq!((patch.name.as_str(), patch.promise.as_str()), ("x", "It holds"));
        assert_eq!(patch.test, ["--test", "lease", "loss::"]);
    }

    #[test]
    fn an_incomplete_header_is_a_fault() {
        for text in [
            format!("Promise: It holds\n\n{DIFF}"),
            format!("Promise:\nTest: --test lease\n\n{DIFF}"),
            format!("Promise: It holds\nPromise: Another\nTest: --test lease\n\n{DIFF}"),
            "Promise: It holds\nTest: --test lease\n".to_owned(),
        ] {
            assert!(parse(&text).unwrap_err().starts_with("x.patch: "), "{text}");
        }
    }

    #[test]
    fn patches_that_differ_have_fingerprints_that_differ() {
        assert_ne!(fingerprint("a"), fingerprint("b"));
        assert_eq!(fingerprint(""), "cbf29ce484222325");
    }
}
