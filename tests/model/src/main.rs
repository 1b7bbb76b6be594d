//! Prints what the checker finds for each variant of the protocol and each starting state.

use std::time::Instant;

use protocol_model::{Setup, Start, Variant, check};

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
}
