//! Words that have been replaced, so that each thing has one name: no item is defined with one of them.

use std::collections::BTreeSet;

use syn::{
    Ident, ImplItemFn, ItemEnum, ItemFn, ItemImpl, ItemMod, ItemStruct, ItemTrait, TraitItemFn, Type,
    Variant,
    visit::{self, Visit},
};

use crate::Sources;

/// Each word that was replaced, in snake case, and a name that the core has instead.
const REPLACED: &[(&str, &str)] = &[
    ("bid", "AcquireOp"),
    ("claim", "AcquireState"),
    ("ask", "Mode"),
    ("head", "Contender"),
    ("errand", "Cleanup"),
    ("leftover", "PendingRelease"),
    ("waiting", "WaitQueues"),
    ("queue", "WaitQueue"),
    ("place", "QueuePlace"),
    ("seen", "QueueState"),
    ("left", "AbandonedAttempt"),
    ("woken", "WakeReason"),
    ("waits", "Enqueue"),
    ("next", "NextWaiter"),
    ("core", "Shared"),
    ("lists", "KeeperState"),
    ("desk", "InFlight"),
    ("ring", "take_due"),
    ("settle", "apply_renewal"),
    ("line", "WaitChannel"),
    ("waiter", "Registration"),
    ("offer", "DirectHandOver"),
    ("connect", "Connector"),
    ("given", "CallerConnection"),
    ("stays_out", "grant_embargo"),
    ("asked", "FanOut"),
    ("open", "UnfinishedAcquire"),
    ("after", "WaitFor"),
    ("rest", "LateAnswers"),
    ("see_off", "release_until_confirmed"),
    ("silence", "down_reason"),
    ("held", "Lease"),
    ("unsettled", "in_doubt"),
    ("bequest", "LocalHandOver"),
    ("bequeath", "hand_over_locally"),
    ("inherit", "take_local_hand_over"),
    ("follow", "set_next"),
    ("saw", "note_holder"),
    ("plan", "schedule_retry"),
    ("worth_a_try", "wait_until_worth_asking"),
    ("stand_in_line", "acquire_or_enqueue"),
    ("is_in_line", "is_queued"),
    ("release_to", "release_and_hand_over"),
    ("listen", "register_waiter"),
    ("keep", "track"),
    ("forget", "untrack"),
    ("inside", "BodyCount"),
    ("turns", "PollChecks"),
    ("run", "clean_up"),
    ("link", "Frame"),
    ("watched", "TrackedKeys"),
    ("watch", "wait_for_change"),
    ("ballot", "Tally"),
    ("cast", "record"),
    ("pass_on", "release_unwanted"),
];

/// What may keep its name, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("LockRequest::run", "a public name: runs a body under the lock"),
    ("LockGuard::run", "a public name: runs a body under the lock"),
    ("RedisStore::open", "a public name: the store at a URL"),
    ("LockManager::connect", "a public name: what a user calls first"),
    ("LockManagerBuilder::connect", "a public name: the same with settings"),
    ("HolderStream::next", "a public name: the next item, as of an iterator"),
    ("TestLocks::held", "a public name: the keys that calls hold"),
    ("mod connect", "the room of connections, by its plan"),
    ("mod offer", "the file of direct hand-overs, by its plan"),
];

/// Finds definitions with replaced words: functions, structs, enums, traits, modules and variants. The
/// methods of traits from other crates have the names that they have.
///
/// # Errors
/// A file does not parse.
pub fn check(sources: &Sources) -> Result<Vec<String>, String> {
    let mut parsed = Vec::new();
    for (file, source) in sources {
        let syntax = syn::parse_file(source).map_err(|error| format!("{file}: {error}"))?;
        parsed.push((file, syntax));
    }
    let mut own_traits = Traits::default();
    for (_, syntax) in &parsed {
        own_traits.visit_file(syntax);
    }
    let mut complaints = Vec::new();
    for (file, syntax) in &parsed {
        let mut definitions = Definitions { own_traits: &own_traits.0, within: None, found: Vec::new() };
        definitions.visit_file(syntax);
        for (name, line, instead) in definitions.found {
            complaints.push(format!(
                "{file}:{line}: `{name}` has a name that was replaced, as by `{instead}`; say what it is or does"
            ));
        }
    }
    Ok(complaints)
}

/// The names of the traits that the crate defines.
#[derive(Default)]
struct Traits(BTreeSet<String>);

impl Visit<'_> for Traits {
    fn visit_item_trait(&mut self, item: &ItemTrait) {
        self.0.insert(item.ident.to_string());
    }
}

struct Definitions<'a> {
    own_traits: &'a BTreeSet<String>,
    /// The type or trait whose methods are visited.
    within: Option<String>,
    found: Vec<(String, usize, &'static str)>,
}

impl Definitions<'_> {
    fn defines(&mut self, kind: &str, ident: &Ident) {
        let name = match &self.within {
            Some(within) => format!("{within}::{ident}"),
            None => format!("{kind} {ident}"),
        };
        let word = snake_case(&ident.to_string());
        if let Some((_, instead)) = REPLACED.iter().find(|(replaced, _)| *replaced == word)
            && !ALLOWED.iter().any(|(allowed, _)| *allowed == name)
        {
            self.found.push((name, ident.span().start().line, *instead));
        }
    }

    fn inside_of(&mut self, name: Option<String>, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.within, name);
        visit(self);
        self.within = before;
    }
}

impl Visit<'_> for Definitions<'_> {
    fn visit_item_fn(&mut self, item: &ItemFn) {
        self.inside_of(None, |this| {
            this.defines("fn", &item.sig.ident);
            visit::visit_item_fn(this, item);
        });
    }

    fn visit_item_struct(&mut self, item: &ItemStruct) {
        self.inside_of(None, |this| this.defines("struct", &item.ident));
    }

    fn visit_item_enum(&mut self, item: &ItemEnum) {
        self.inside_of(None, |this| this.defines("enum", &item.ident));
        self.inside_of(Some(item.ident.to_string()), |this| visit::visit_item_enum(this, item));
    }

    fn visit_variant(&mut self, variant: &Variant) {
        self.defines("variant", &variant.ident);
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.inside_of(None, |this| {
            this.defines("mod", &item.ident);
            visit::visit_item_mod(this, item);
        });
    }

    fn visit_item_trait(&mut self, item: &ItemTrait) {
        self.inside_of(None, |this| this.defines("trait", &item.ident));
        self.inside_of(Some(item.ident.to_string()), |this| visit::visit_item_trait(this, item));
    }

    fn visit_trait_item_fn(&mut self, item: &TraitItemFn) {
        self.defines("fn", &item.sig.ident);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        if let Some((path, _)) = &item.trait_
            && let Some(last) = path.segments.last()
            && !self.own_traits.contains(&last.ident.to_string())
        {
            return;
        }
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        self.inside_of(Some(name.unwrap_or_else(|| "impl".to_owned())), |this| {
            visit::visit_item_impl(this, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &ImplItemFn) {
        self.defines("fn", &item.sig.ident);
        visit::visit_impl_item_fn(self, item);
    }
}

/// `PassOn` and `pass_on` are one word.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.trim_start_matches("r#").chars() {
        if letter.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    fn found(source: &str) -> Vec<String> {
        let complaints = check(&planted(&[("a.rs", source)])).unwrap();
        complaints.iter().map(|complaint| complaint.split('`').nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_definition_with_a_replaced_word_goes_red() {
        for (source, name) in [
            ("fn ask() {}", "fn ask"),
            ("pub(crate) struct Bid;", "struct Bid"),
            ("enum Errand { A }", "enum Errand"),
            ("enum E { Held(u8) }", "E::Held"),
            ("trait Offer {}", "trait Offer"),
            ("mod waiting;", "mod waiting"),
            ("mod a { mod b { fn see_off() {} } }", "fn see_off"),
            ("struct S; impl S { async fn pass_on(self) {} }", "S::pass_on"),
            ("trait T { fn stand_in_line(&self); }", "T::stand_in_line"),
            ("trait T { fn f(&self); } impl<A> T for S<A> { fn listen(&self) {} }", "S::listen"),
            ("struct S; impl S { fn connect() {} }", "S::connect"),
            ("fn f() { fn turns() {} }", "fn turns"),
            ("enum PassOn {}", "enum PassOn"),
        ] {
            assert_eq!(found(source), [name], "{source}");
        }
        let said = check(&planted(&[("store/mod.rs", "\nfn ask() {}")])).unwrap();
        assert!(
            said[0].starts_with("store/mod.rs:2: `fn ask` has a name that was replaced, as by `Mode`"),
            "{said:?}"
        );
    }

    #[test]
    fn other_names_and_uses_are_fine() {
        for source in [
            "fn asks_again() { let next = head.ask(); } struct NextWaiter { line: u8 }",
            "impl Iterator for S { fn next(&mut self) -> Option<u8> { None } }",
            "impl LockGuard { pub fn run(&self) {} } impl<C> RedisStore<C> { fn open() {} } mod connect {}",
            "impl LockManager { async fn connect() {} } impl LockManagerBuilder { fn connect() {} }",
        ] {
            assert_eq!(found(source), [""; 0], "{source}");
        }
    }
}
