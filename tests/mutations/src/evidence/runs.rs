//! What other programs have printed.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The results of the runs. `None` is a run that has no result.
#[derive(Debug, Default)]
pub struct Runs {
    /// The commits of the sources that the model and the simulation ran from.
    pub revisions: [String; 2],
    /// What `protocol-model` has checked.
    pub model: Option<Model>,
    /// What `simulation` has run.
    pub simulation: Option<Simulation>,
    /// What `soak` has printed at its end.
    pub soak: Option<Soak>,
    /// What `quorum_soak` has printed at its end.
    pub quorum_soak: Option<Soak>,
    /// The rows of simulation/broken.md by patch: after how many schedules it was found, if it was.
    pub broken: BTreeMap<String, Option<u64>>,
    /// The promises that the patches of simulation/patches break, by patch.
    pub own_patches: BTreeMap<String, String>,
}

/// The variants of the protocol that the model has checked.
#[derive(Debug, Default)]
pub struct Model(pub Vec<Variant>);

/// All starting states of one variant.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// The variant's name.
    pub name: String,
    /// How many starting states there were.
    pub starts: u64,
    /// In how many of them a claim was refuted.
    pub refuted: u64,
    /// How many states were seen from the start with the fewest, and from that with the most.
    pub states: (u64, u64),
    /// How many states were seen in all.
    pub total: u64,
}

impl Model {
    /// Reads the table that `protocol-model` prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut variants: Vec<Variant> = Vec::new();
        for line in text.lines() {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, _, _, states, refuted, _] = cells.as_slice() else { continue };
            let Ok(states) = states.parse::<u64>() else { continue };
            if variants.last().is_none_or(|variant| variant.name != *name) {
                let states = (states, states);
                variants.push(Variant { name: (*name).to_owned(), states, ..Variant::default() });
            }
            let variant = variants.last_mut()?;
            variant.starts += 1;
            variant.refuted += u64::from(*refuted != "nothing");
            variant.states = (variant.states.0.min(states), variant.states.1.max(states));
            variant.total += states;
        }
        (!variants.is_empty()).then_some(Self(variants))
    }

    /// Says how many states were seen of variants that hold, and how many variants were refuted.
    #[must_use]
    pub fn summary(&self) -> String {
        let (sound, unsound): (Vec<_>, Vec<_>) = self.0.iter().partition(|variant| variant.refuted == 0);
        let states = sound.iter().map(|variant| variant.total).sum();
        let starts = sound.iter().map(|variant| variant.starts).sum();
        let everywhere = unsound.iter().filter(|variant| variant.refuted == variant.starts).count();
        format!(
            "{} states from {} starting states in {} variants, and no claim refuted; {} unsound variants, {everywhere} \
             of them refuted from every starting state",
            thousands(states),
            thousands(starts),
            sound.len(),
            unsound.len()
        )
    }
}

/// A run of schedules.
#[derive(Debug, PartialEq, Eq)]
pub struct Simulation {
    /// The first seed.
    pub from: u64,
    /// How many schedules ran.
    pub schedules: u64,
    /// The seeds that failed, as printed; empty if none did.
    pub failed: String,
    /// The lines with counts that were printed.
    pub lines: Vec<String>,
}

impl Simulation {
    /// Reads what `simulation` prints.
    #[must_use]
    pub fn parse(from: u64, text: &str) -> Option<Self> {
        let counts = text.lines().find(|line| line.contains(" schedules in "))?;
        let schedules = counts.split_once(' ')?.0.parse().ok()?;
        let failed = text.lines().find_map(|line| line.strip_prefix("failed: "));
        let failed = failed.and_then(|line| line.split_once(';')).map_or("", |(seeds, _)| seeds).to_owned();
        let worst = text.lines().filter(|line| line.starts_with("longest time"));
        let lines = [counts].into_iter().chain(worst).map(str::to_owned).collect();
        Some(Self { from, schedules, failed, lines })
    }

    /// Says how many schedules ran, and how many failed.
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { from, schedules, failed, .. } = self;
        let result =
            if failed.is_empty() { "none broke a promise".to_owned() } else { format!("FAILED: {failed}") };
        format!("{} schedules from seed {from} on, and {result}", thousands(*schedules))
    }
}

/// The end of a soak.
#[derive(Debug, PartialEq, Eq)]
pub struct Soak {
    /// The first line: seed, length, processes and keys.
    pub setup: String,
    /// The last table.
    pub table: String,
}

impl Soak {
    /// Reads the saved output of a soak.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let setup = text.lines().find(|line| line.contains("soak: seed "))?.to_owned();
        let table: Vec<_> = text.lines().skip_while(|line| *line != "faults").collect();
        (!table.is_empty()).then(|| Self { setup, table: table.join("\n").trim_end().to_owned() })
    }

    /// Says how the soak was set up, and what it found afterwards.
    #[must_use]
    pub fn summary(&self) -> String {
        let afterwards = self.table.lines().skip_while(|line| *line != "afterwards").skip(1);
        let found: Vec<_> =
            afterwards.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        format!("`{}`; afterwards: {}", self.setup, found.join(", "))
    }
}

/// Reads the rows of simulation/broken.md.
#[must_use]
pub fn broken(text: &str) -> BTreeMap<String, Option<u64>> {
    let row = |line: &str| {
        let (name, cells) = line.strip_prefix("| `")?.split_once("` | ")?;
        Some((name.to_owned(), cells.split(' ').next()?.parse().ok()))
    };
    text.lines().filter_map(row).collect()
}

/// Reads which promises the patches of a folder break.
#[must_use]
pub fn promises_of(folder: &Path) -> BTreeMap<String, String> {
    let patch = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).ok()?;
        let promise = text.lines().find_map(|line| line.strip_prefix("Promise: "))?;
        Some((entry.path().file_stem()?.to_str()?.to_owned(), promise.to_owned()))
    };
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(patch).collect()
}

/// Writes a number with commas.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_a_variant_are_summed() {
        let text = "| variant | counters | proposals | states | refuted | seconds |\n| --- | --- | --- | ---: | --- | ---: |\n\
            | complete | [1, 1] | [0] | 1000 | nothing | 0.1 |\n| complete | [1, 2] | [0] | 3000 | nothing | 0.1 |\n\
            | no raise | [1, 1] | [0] | 10 | rising | 0.1 |\n";
        let model = Model::parse(text).unwrap();
        assert_eq!(
            model.0[0],
            Variant { name: "complete".to_owned(), starts: 2, refuted: 0, states: (1000, 3000), total: 4000 }
        );
        assert!(model.summary().starts_with("4,000 states from 2 starting states in 1 variants"));
        assert!(model.summary().ends_with("1 unsound variants, 1 of them refuted from every starting state"));
        assert!(Model::parse("error").is_none());
    }

    #[test]
    fn a_run_of_schedules_says_what_failed() {
        let text = "20 schedules in 0.1 s (200 a second): 600 acquisitions\nlongest time that: 3 ms\n";
        let run = Simulation::parse(7, text).unwrap();
        assert_eq!(run.summary(), "20 schedules from seed 7 on, and none broke a promise");
        assert_eq!(run.lines.len(), 2);
        let run = Simulation::parse(7, &format!("{text}failed: [9]; `--from`\n")).unwrap();
        assert!(run.summary().ends_with("FAILED: [9]"));
    }

    #[test]
    fn a_soak_is_its_setup_and_its_last_table() {
        let text = "soak: seed 7, 60 s\nsoak: 10 s\n\nfaults\n  kill 3\nafterwards\n  keys left   0\n  overlaps   0\n";
        let soak = Soak::parse(text).unwrap();
        assert_eq!(soak.summary(), "`soak: seed 7, 60 s`; afterwards: keys left 0, overlaps 0");
        assert!(soak.table.starts_with("faults\n  kill 3"));
    }

    #[test]
    fn a_gap_has_no_count() {
        let rows = broken("| patch | x |\n| `a` | 12 | seen |\n| `b` | not found in 9 | a gap |\n");
        assert_eq!((rows["a"], rows["b"]), (Some(12), None));
    }
}
