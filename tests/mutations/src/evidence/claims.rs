//! The part of the page that is written by hand.

/// What each claim has a paragraph about, in this order.
pub const LAYERS: [&str; 4] =
    ["**With fenced writes.**", "**Without fencing.**", "**Liveness.**", "**What breaks it.**"];

/// What can have checked a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The quorum's protocol, in every state.
    Model,
    /// Schedules from seeds.
    Simulation,
    /// The patches that the simulation has to notice.
    Broken,
    /// Processes on one real server that fails.
    Soak,
    /// Processes on five real servers that fail.
    QuorumSoak,
    /// The patches that tests have to notice.
    Mutations,
}

impl Check {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "model" => Self::Model,
            "simulation" => Self::Simulation,
            "broken" => Self::Broken,
            "soak" => Self::Soak,
            "quorum soak" => Self::QuorumSoak,
            "mutations" => Self::Mutations,
            _ => return None,
        })
    }
}

/// A part of the page, from one heading to the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The line of the heading.
    pub heading: String,
    /// What follows, without the lines of [`claim`](Self::claim).
    pub prose: String,
    /// The promises and the checks, if the section is about promises.
    pub claim: Option<Claim>,
}

/// What a section claims about promises.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The promises, as docs/guarantees.md has them.
    pub promises: Vec<String>,
    /// What has checked them.
    pub checks: Vec<Check>,
}

/// Reads the sections.
///
/// # Errors
/// A check that does not exist.
pub fn parse(text: &str) -> Result<Vec<Section>, String> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            sections.push(Section { heading: line.to_owned(), prose: String::new(), claim: None });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err("claims.md: the first line is not a heading".to_owned());
        };
        match (&mut section.claim, line) {
            (None, "Promises:") => section.claim = Some(Claim::default()),
            (Some(claim), _) if claim.checks.is_empty() => {
                if let Some(promise) = line.strip_prefix("- ") {
                    claim.promises.push(promise.to_owned());
                } else if let Some(names) = line.strip_prefix("Checked: ") {
                    let check =
                        |name: &str| Check::parse(name).ok_or(format!("claims.md: no check `{name}`"));
                    claim.checks = names.split(", ").map(check).collect::<Result<_, _>>()?;
                } else {
                    return Err(format!("claims.md: `{line}` stands between promises and checks"));
                }
            }
            _ => {
                section.prose.push_str(line);
                section.prose.push('\n');
            }
        }
    }
    for section in &mut sections {
        section.prose = section.prose.trim().to_owned();
    }
    Ok(sections)
}

/// Finds promises that no section or more than one has, unknown ones, layers that are missing, and numbers.
#[must_use]
pub fn faults(sections: &[Section], promises: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let claimed: Vec<_> = sections.iter().filter_map(|section| section.claim.as_ref()).collect();
    let claimed: Vec<_> = claimed.iter().flat_map(|claim| &claim.promises).collect();
    for promise in promises {
        match claimed.iter().filter(|claimed| **claimed == promise).count() {
            1 => {}
            count => faults.push(format!("claims.md: {count} sections have the promise `{promise}`")),
        }
    }
    for promise in claimed {
        if !promises.contains(promise) {
            faults.push(format!("claims.md: docs/guarantees.md does not promise `{promise}`"));
        }
    }
    for Section { heading, prose, claim } in sections {
        let places: Vec<_> = LAYERS.iter().filter_map(|layer| prose.find(&format!("{layer} "))).collect();
        if claim.is_some() && (places.len() < LAYERS.len() || !places.is_sorted()) {
            faults.push(format!("claims.md, `{heading}`: write {} in this order", LAYERS.join(", ")));
        }
        for line in [heading].into_iter().map(String::as_str).chain(prose.lines()) {
            if line.contains(|char: char| char.is_ascii_digit()) {
                faults.push(format!("claims.md: `{line}` has a number; let a run say it"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Page\nText.\n\n## It holds\n\nPromises:\n- A\n- B by 2 s\nChecked: model, quorum soak\n\n\
        **With fenced writes.** a\n\n**Without fencing.** b\n\n**Liveness.** c\n\n**What breaks it.** d\n";

    fn promises(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn sections_are_prose_with_promises_and_checks() {
        let sections = parse(TEXT).unwrap();
        assert_eq!((sections[0].prose.as_str(), &sections[0].claim), ("Text.", &None));
        let claim = sections[1].claim.as_ref().unwrap();
        assert_eq!(claim.promises, ["A", "B by 2 s"]);
        assert_eq!(claim.checks, [Check::Model, Check::QuorumSoak]);
        assert!(sections[1].prose.starts_with(LAYERS[0]) && sections[1].prose.ends_with(" d"));
        assert_eq!(faults(&sections, &promises(&["A", "B by 2 s"])), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_the_guarantees_goes_red() {
        let sections = parse(TEXT).unwrap();
        let found = faults(&sections, &promises(&["A", "C"]));
        assert!(found[0].contains("0 sections have the promise `C`"), "{found:?}");
        assert!(found[1].contains("does not promise `B by 2 s`"), "{found:?}");
    }

    #[test]
    fn a_number_or_a_missing_layer_goes_red() {
        for text in
            [TEXT.replace("Text.", "In 3 s."), TEXT.replace("**Liveness.** c", "c"), TEXT.replace(" d", " 7")]
        {
            let found = faults(&parse(&text).unwrap(), &promises(&["A", "B by 2 s"]));
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn an_unknown_check_is_an_error() {
        assert!(parse(&TEXT.replace("model", "proof")).unwrap_err().contains("`proof`"));
    }
}
