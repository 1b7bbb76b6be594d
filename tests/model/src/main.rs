//! Prints what the checker finds for each variant of the protocol and each starting state, and for each
//! variant of the heal.

use std::time::Instant;

use protocol_model::{Setup, Start, Variant, check, heal};

fn main() {
    println!("| variant | counters | proposals | states | refuted | seconds |");
    println!("| --- | --- | --- | ---: | --- | ---: |");
    for variant in Variant::ALL {
        for start in Start::PROPOSALS.into_iter().flat_map(Start::all) {
            let Start { counters, proposals } = start;
            let begun = Instant::now();
            let report = check(Setup { variant, start });
            let seconds = begun.elapsed().as_secs_f32();
            let refuted =
                if report.refuted.is_empty() { "nothing".into() } else { report.refuted.join(", ") };
            let (name, states) = (variant.name, report.states);
            println!("| {name} | {counters:?} | {proposals:?} | {states} | {refuted} | {seconds:.1} |");
        }
    }
    for variant in heal::Variant::ALL {
        let begun = Instant::now();
        let report = heal::check(variant);
        let seconds = begun.elapsed().as_secs_f32();
        let refuted = if report.refuted.is_empty() { "nothing".into() } else { report.refuted.join(", ") };
        println!("| {} | | | {} | {refuted} | {seconds:.1} |", variant.name, report.states);
    }
}
