//! The parameters of a URL, behind its `?`: settings of the builder, and those of redis-rs.

use super::{super::overrides::Overrides, Scheme, duration};

/// What the parameters of a URL say. It may hold a password, so it has no `Debug`.
#[derive(Default)]
pub(super) struct Parameters {
    pub(super) overrides: Overrides,
    /// The number of the database.
    pub(super) db: Option<u32>,
    pub(super) user: Option<String>,
    pub(super) pass: Option<String>,
    /// The version of Redis's protocol, 2 or 3.
    pub(super) protocol: Option<u8>,
}

/// All parameters, with the schemes that they belong to.
const ALL: &[(&str, Reach)] = &[
    ("namespace", Reach::Everything),
    ("ttl", Reach::Everything),
    ("response_timeout", Reach::Everything),
    ("owner", Reach::Everything),
    ("connect_timeout", Reach::Servers),
    ("fence_lifetime", Reach::Servers),
    ("restart_delay", Reach::Quorums),
    ("db", Reach::Servers),
    ("user", Reach::Servers),
    ("pass", Reach::Servers),
    ("protocol", Reach::Servers),
];

/// The schemes that a parameter belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Reach {
    Everything,
    Servers,
    Quorums,
}

/// Names that other libraries use, each with ours. Case, hyphens and underscores do not count.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("prefix", "namespace"),
    ("keyprefix", "namespace"),
    ("expire", "ttl"),
    ("expiry", "ttl"),
    ("lease", "ttl"),
    ("leasetime", "ttl"),
    ("timeout", "response_timeout"),
    ("commandtimeout", "response_timeout"),
    ("readtimeout", "response_timeout"),
    ("sockettimeout", "response_timeout"),
    ("connectiontimeout", "connect_timeout"),
    ("dialtimeout", "connect_timeout"),
    ("socketconnecttimeout", "connect_timeout"),
    ("database", "db"),
    ("username", "user"),
    ("password", "pass"),
    ("resp", "protocol"),
    ("label", "owner"),
    ("clientname", "owner"),
];

impl Parameters {
    /// Parses `name=value&name=value`, in the encoding of web forms.
    ///
    /// # Errors
    /// A sentence that says what to write instead. It shows no value, because a URL may hold a password.
    pub(super) fn parse(query: &str, scheme: Scheme) -> Result<Self, String> {
        let mut parameters = Self::default();
        let mut named = Vec::new();
        let pairs = || query.split('&').filter(|pair| !pair.is_empty());
        // What follows `pass=` may be the rest of a password with a `&` in it.
        let may_show_names = pairs().all(|pair| !pair.starts_with("pass="));
        for pair in pairs() {
            let (written, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some((name, reach)) = ALL.iter().find(|(name, _)| *name == written) else {
                return Err(unknown(written, may_show_names));
            };
            if !reach.has(scheme) {
                return Err(format!(
                    "the URL's parameter `{name}` means nothing with `{}://`; leave it out",
                    scheme.name
                ));
            }
            if named.contains(name) {
                return Err(format!("the URL's parameter `{name}` is written twice; write it once"));
            }
            named.push(*name);
            parameters.set(name, &decoded(name, value)?)?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let length = || {
            duration::parse(value).map(Some).map_err(|wrong| {
                format!(
                    "the URL's parameter `{name}` is not a duration: {wrong}; write whole seconds, \
                     `{name}=30`, or whole numbers with units (ms, s, m, h or d), `{name}=1m30s`"
                )
            })
        };
        match name {
            "namespace" => self.overrides.namespace = Some(value.to_owned()),
            "ttl" => self.overrides.ttl = length()?,
            "response_timeout" => self.overrides.response_timeout = length()?,
            "connect_timeout" => self.overrides.connect_timeout = length()?,
            "fence_lifetime" => self.overrides.fence_lifetime = length()?,
            "restart_delay" => self.overrides.restart_delay = length()?,
            "owner" => self.overrides.owner = Some(value.to_owned()),
            "user" => self.user = Some(value.to_owned()),
            "pass" => self.pass = Some(value.to_owned()),
            "db" => {
                let number = value.parse().map_err(|_| {
                    "the URL's parameter `db` is not the number of a database; write `db=2`".to_owned()
                });
                self.db = Some(number?);
            }
            _ => {
                self.protocol = Some(match value {
                    "2" | "resp2" => 2,
                    "3" | "resp3" => 3,
                    _ => {
                        return Err(
                            "the URL's parameter `protocol` is not known; write `protocol=resp2` or \
                                    `protocol=resp3`"
                                .to_owned(),
                        );
                    }
                });
            }
        }
        Ok(())
    }
}

impl Reach {
    fn has(self, scheme: Scheme) -> bool {
        match self {
            Self::Everything => true,
            Self::Servers => !scheme.is_memory(),
            Self::Quorums => scheme.is_quorum(),
        }
    }
}

/// The message for a parameter that is not known.
fn unknown(written: &str, may_show_name: bool) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
    let is_short = written.len() <= 32 && written.chars().all(is_plain);
    let shown = if may_show_name && is_short { format!(" `{written}`") } else { String::new() };
    if let Some(name) = meant(written).filter(|_| !shown.is_empty()) {
        return format!("the URL's parameter{shown} is not known; did you mean `{name}`?");
    }
    let names: Vec<_> = ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
    format!("the URL's parameter{shown} is not known; the known ones are {}", names.join(", "))
}

/// The parameter that was probably meant.
fn meant(written: &str) -> Option<&'static str> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let written = plain(written);
    if let Some((_, ours)) = OTHER_NAMES.iter().find(|(theirs, _)| *theirs == written) {
        return Some(ours);
    }
    let distances = ALL.iter().map(|(name, _)| (distance(&written, &plain(name)), *name));
    let allowed = if written.len() <= 3 { 1 } else { 2 };
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= allowed).then_some(name)
}

/// How many characters have to be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    // The distances of the part of `a` so far from all beginnings of `b`.
    let mut distances: Vec<usize> = (0..=b.len()).collect();
    for (at, byte) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut distances[0], at + 1);
        for (to, other) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = distances[to + 1];
            distances[to + 1] = replaced.min(diagonal + 1).min(distances[to] + 1);
        }
    }
    distances[b.len()]
}

/// The value of a parameter without its percent-encoding. A `+` is a space.
fn decoded(name: &str, value: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or_else(|| {
                    format!(
                        "the URL's parameter `{name}` has a `%` without two hexadecimal digits; write a percent \
                         sign as `%25`"
                    )
                })?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| {
        format!("the URL's parameter `{name}` is not UTF-8; write the percent-encoding of its UTF-8 bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_is_understood() {
        for (written, name) in [
            ("tll", Some("ttl")),
            ("naemspace", Some("namespace")),
            ("fenceLifetime", Some("fence_lifetime")),
            ("restart-delay", Some("restart_delay")),
            ("PASSWORD", Some("pass")),
            ("colour", None),
        ] {
            assert_eq!(meant(written), name, "{written}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 2);
    }

    #[test]
    fn a_value_is_decoded_as_a_web_form_is() {
        assert_eq!(decoded("n", "a%2Fb+c%C3%A9").unwrap(), "a/b c\u{e9}");
        for value in ["%", "%4", "%g0", "%ff"] {
            assert!(decoded("n", value).is_err(), "{value}");
        }
    }
}
