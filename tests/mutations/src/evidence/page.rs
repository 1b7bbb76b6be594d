//! The page, from the part that is written by hand and the results.

use std::fmt::Write;

use super::{
    claims::{Check, Section},
    runs::{Runs, Soak, thousands},
};
use crate::{
    guarantees,
    patch::Patch,
    table::{Seen, Table},
};

/// What the page is made from.
pub struct Parts<'parts> {
    /// The part that is written by hand.
    pub sections: &'parts [Section],
    /// The text of docs/guarantees.md.
    pub guarantees: &'parts str,
    /// All patches.
    pub patches: &'parts [Patch],
    /// Which of them tests have noticed.
    pub table: &'parts Table,
    /// What other programs have printed.
    pub runs: &'parts Runs,
}

const NOT_RUN: &str = "not run since";

impl Parts<'_> {
    /// Writes the page.
    #[must_use]
    pub fn page(&self) -> String {
        let mut text = String::new();
        for Section { heading, prose, claim } in self.sections {
            let _ = writeln!(text, "{heading}\n\n{prose}\n");
            let Some(claim) = claim else { continue };
            let patches: Vec<_> =
                self.patches.iter().filter(|patch| claim.promises.contains(&patch.promise)).collect();
            let _ = writeln!(text, "**What checked it.**\n");
            for check in &claim.checks {
                let _ = writeln!(text, "- {}", self.checked(*check, &claim.promises, &patches));
            }
            text.push_str("\n| promise | tests named | patches | red | survived | not run since |\n");
            text.push_str("| --- | ---: | ---: | ---: | ---: | ---: |\n");
            for promise in &claim.promises {
                let tests = guarantees::tests_of(self.guarantees, promise).len();
                let own: Vec<_> = patches.iter().copied().filter(|patch| patch.promise == *promise).collect();
                let [red, survived, not_run] = self.counts(&own);
                let all = own.len();
                let _ = writeln!(text, "| {promise} | {tests} | {all} | {red} | {survived} | {not_run} |");
            }
            text.push('\n');
        }
        text + &self.results()
    }

    fn counts(&self, patches: &[&Patch]) -> [usize; 3] {
        let count =
            |seen: Option<Seen>| patches.iter().filter(|patch| self.table.seen(patch) == seen).count();
        [count(Some(Seen::Red)), count(Some(Seen::Survived)), count(None)]
    }

    fn checked(&self, check: Check, promises: &[String], patches: &[&Patch]) -> String {
        let soak = |soak: &Option<Soak>| soak.as_ref().map_or(NOT_RUN.to_owned(), Soak::summary);
        match check {
            Check::Model => {
                let summary = self.runs.model.as_ref().map(super::runs::Model::summary);
                format!("[Model](#the-model): {}", summary.as_deref().unwrap_or(NOT_RUN))
            }
            Check::Simulation => {
                let summary = self.runs.simulation.as_ref().map(super::runs::Simulation::summary);
                format!("[Simulation](#the-simulation): {}", summary.as_deref().unwrap_or(NOT_RUN))
            }
            Check::Broken => {
                let Runs { broken, own_patches, .. } = self.runs;
                let own = own_patches.iter().filter(|(_, promise)| promises.contains(promise));
                let names = patches.iter().map(|patch| &patch.name).chain(own.map(|(name, _)| name));
                let run: Vec<_> = names.filter_map(|name| broken.get(name)).collect();
                let found = run.iter().filter(|schedules| schedules.is_some()).count();
                format!(
                    "[Broken variants](../simulation/broken.md): the simulation was run with {} patches that break these \
                     promises, and noticed {found}",
                    run.len()
                )
            }
            Check::Soak => format!("[Soak](#the-soaks): {}", soak(&self.runs.soak)),
            Check::QuorumSoak => format!("[Soak of a quorum](#the-soaks): {}", soak(&self.runs.quorum_soak)),
            Check::Mutations => {
                let [red, survived, not_run] = self.counts(patches);
                format!(
                    "[Patches](#the-patches): {} break these promises; tests noticed {red}, did not notice {survived}, \
                     and {not_run} were not run since they were last changed",
                    patches.len()
                )
            }
        }
    }

    /// The results, each under a heading to which the claims lead.
    fn results(&self) -> String {
        let Runs { revisions, model, simulation, soak, quorum_soak, broken, .. } = self.runs;
        let [of_model, of_simulation] = revisions;
        let mut text = format!(
            "## The runs\n\nThe model ran at the commit `{of_model}`, and the simulation at `{of_simulation}`.\n\n"
        );
        text.push_str("### The model\n\n`cargo run --release -p protocol-model`:\n\n");
        if let Some(model) = model {
            let _ = writeln!(text, "{}.\n", model.summary());
            text.push_str("| variant | starting states | states from each | refuted from |\n");
            text.push_str("| --- | ---: | ---: | ---: |\n");
            for variant in &model.0 {
                let (few, many) = variant.states;
                let (few, many) = (thousands(few), thousands(many));
                let states = if few == many { few } else { format!("{few} to {many}") };
                let (name, starts, refuted) = (&variant.name, variant.starts, variant.refuted);
                let _ = writeln!(text, "| {name} | {starts} | {states} | {refuted} |");
            }
            text.push_str("\nThe checker stops at the first state that refutes a claim.\n");
        } else {
            let _ = writeln!(text, "{NOT_RUN}.");
        }
        text.push_str("\n### The simulation\n\n");
        if let Some(run) = simulation {
            let (count, from) = (run.schedules, run.from);
            let _ = writeln!(text, "`cargo run --release -p simulation -- --seeds {count} --from {from}`:\n");
            let _ = writeln!(text, "{}.\n", run.summary());
            let _ = writeln!(text, "```text\n{}\n```", run.lines.join("\n"));
        } else {
            let _ = writeln!(text, "{NOT_RUN}.");
        }
        let gaps: Vec<_> = broken.iter().filter(|(_, schedules)| schedules.is_none()).collect();
        let names: Vec<_> = gaps.iter().map(|(name, _)| format!("`{name}`")).collect();
        let _ = writeln!(
            text,
            "\n[broken.md](../simulation/broken.md) has {} patches that break a promise. The simulation noticed {}. Gaps: {}.",
            broken.len(),
            broken.len() - gaps.len(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
        text.push_str("\n### The soaks\n\nThe output of a soak does not say at which commit it ran.\n");
        for (name, soak) in [("soak", soak), ("quorum_soak", quorum_soak)] {
            let _ = match soak {
                Some(Soak { setup, table }) => {
                    writeln!(text, "\n`{setup}`:\n\n```text\n{table}\n```")
                }
                None => writeln!(
                    text,
                    "\nThe command found no output of `{name}` in `target/{name}.txt`: {NOT_RUN}."
                ),
            };
        }
        self.add_patches(&mut text);
        text
    }

    fn add_patches(&self, text: &mut String) {
        let all: Vec<_> = self.patches.iter().collect();
        let [red, survived, not_run] = self.counts(&all);
        let _ = writeln!(
            text,
            "\n### The patches\n\n`cargo run -p mutations` has {} patches. By the table of its last run, tests noticed {red} and did \
             not notice {survived}. {not_run} were not run since they were last changed. A result is of the sources as they \
             were at that run.",
            all.len()
        );
        let names = |seen: Option<Seen>| {
            let of = all.iter().filter(|patch| self.table.seen(patch) == seen);
            of.map(|patch| format!("`{}`", patch.name)).collect::<Vec<_>>().join(", ")
        };
        if survived > 0 {
            let _ = writeln!(text, "\nNo test noticed {}.", names(Some(Seen::Survived)));
        }
        if not_run > 0 {
            let _ = writeln!(text, "\nNot run since: {}.", names(None));
        }
        let promises = guarantees::promises(self.guarantees);
        let bare: Vec<_> =
            promises.iter().filter(|promise| all.iter().all(|patch| patch.promise != **promise)).collect();
        if !bare.is_empty() {
            text.push_str("\nPromises that no patch breaks:\n\n");
            for promise in bare {
                let _ = writeln!(text, "- {promise}");
            }
        }
    }
}

/// Finds parts of the source that the page does not have, in the source's order.
#[must_use]
pub fn missing(sections: &[Section], page: &str) -> Vec<String> {
    let (mut rest, mut missing) = (page, Vec::new());
    for Section { heading, prose, claim } in sections {
        let rows = claim.iter().flat_map(|claim| &claim.promises).map(|promise| format!("\n| {promise} | "));
        for part in [format!("{heading}\n\n{prose}\n")].into_iter().chain(rows) {
            match rest.split_once(&part) {
                Some((_, after)) => rest = after,
                None => missing.push(part.chars().take(100).collect()),
            }
        }
    }
    missing
}
