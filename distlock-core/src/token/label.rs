//! The visible names of owners.

use std::{
    env, fs,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use crate::seam;

/// The visible name of an owner: 1 to 64 printable ASCII characters without spaces.
///
/// Each text is kept once and for the life of the process, so that a label is copied like a pointer. A
/// process has few: its own, and those of its managers' builders.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label(&'static str);

/// All labels of this process.
static LABELS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// The name of the host, in characters of a label.
static HOST: LazyLock<String> = LazyLock::new(|| {
    let told = ["/proc/sys/kernel/hostname", "/etc/hostname"].map(|file| fs::read_to_string(file).ok());
    let named = ["HOSTNAME", "COMPUTERNAME"].map(|name| env::var(name).ok());
    let found = told.into_iter().chain(named).flatten().map(|host| in_label_characters(host.trim()));
    found.into_iter().find(|host| !host.is_empty()).unwrap_or_else(|| "unknown-host".to_owned())
});

impl Label {
    pub(crate) const MAX_BYTES: usize = 64;

    /// # Errors
    /// A sentence that says what to write instead.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        Self::check(text)?;
        Ok(Self::interned(text))
    }

    /// # Errors
    /// A sentence that says what to write instead.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        if text.bytes().all(|byte| byte.is_ascii_graphic()) && (1..=Self::MAX_BYTES).contains(&text.len()) {
            return Ok(());
        }
        Err(format!(
            "`owner` is not a label; write 1 to {} printable ASCII characters without spaces, such as `pod-7`",
            Self::MAX_BYTES
        ))
    }

    /// The label of this process: its host and its process id, `web-1:4242`.
    pub(crate) fn of_process() -> Self {
        let process = format!(":{}", seam::process_id());
        let host = &HOST[..HOST.len().min(Self::MAX_BYTES - process.len())];
        Self::interned(&[host, &process].concat())
    }

    /// The label with this text, if this process has it already.
    pub(super) fn known(text: &str) -> Option<Self> {
        labels().iter().find(|label| **label == text).map(|label| Self(label))
    }

    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }

    fn interned(text: &str) -> Self {
        let mut labels = labels();
        if let Some(label) = labels.iter().find(|label| **label == text) {
            return Self(label);
        }
        let label: &'static str = Box::leak(Box::from(text));
        labels.push(label);
        Self(label)
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

fn labels() -> MutexGuard<'static, Vec<&'static str>> {
    LABELS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The text with a hyphen for each character that no label may have.
fn in_label_characters(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii_graphic() { char } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_1_to_64_printable_ascii_characters_without_spaces() {
        for label in ["a", "pod-7", "web-1:4242", "!~", &"x".repeat(64)] {
            assert_eq!(Label::new(label).unwrap().as_str(), label);
        }
        for wrong in ["", " ", "a b", "a\n", "caf\u{e9}", "a\u{7f}", &"x".repeat(65)] {
            assert!(Label::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_label_of_this_process_is_its_host_and_its_id() {
        let label = Label::of_process();
        assert!(label.as_str().ends_with(&format!(":{}", std::process::id())), "{label:?}");
        assert!(Label::new(label.as_str()).unwrap() == label);
        assert_eq!(in_label_characters("h\u{f6}st 1"), "h-st-1");
    }
}
