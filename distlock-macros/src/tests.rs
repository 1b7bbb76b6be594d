//! The attribute never panics. Any arguments on any item give an expansion or a compile error, and the item
//! is kept.

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use proptest::{prelude::*, sample::select};

use crate::attribute;

/// Arguments as users write them, right and wrong.
const ARGS: [&str; 12] = [
    r#"key = "order:{order_id}", ttl = 30, wait = "2s""#,
    r#"key = "{a}:{b.c[0].d()}:{Self::N}", renew = false"#,
    r#"key = "{a:>5}{{{b:?}}}", on_busy = skip, on_error = log"#,
    r#"key = format!("{}", a), ttl = Duration::from_secs(a)"#,
    r#"key = "k", on_busy = |e| drop(e), on_error = handlers::error"#,
    r#"key = "k", max_hold = "1h 30m", at_least = "500ms", ttl = "1m""#,
    r#"key = "{self.tenant}", guard = lock, locks = self.locks"#,
    r#"crate = ::platform::locks, key = "k", fenced, on_lost = finish, wait = forever"#,
    r#"key = "", ttl = 0, expire = 3, leaseTime = 4"#,
    r#"key = "{a}{b}", key = "{", wait = "5", on_busy = log"#,
    r#""k""#,
    "",
];

/// Items as users annotate them, right and wrong.
const ITEMS: [&str; 14] = [
    "pub async fn fulfil(order_id: u64) -> Result<Receipt, OrderError> { charge(order_id).await }",
    "async fn f(&mut self, Path((a, b)): Path<(u8, String)>, c @ [_, ..]: [u8; 4]) -> Option<u8> { None }",
    "async fn g<'a, T: Ord + 'a, const N: usize>(self: Arc<Self>, mut a: &'a T) -> &'a T where T: Copy { a }",
    "fn h(a: u8) -> Pin<Box<dyn Future<Output = u8> + Send>> { Box::pin(async move { a }) }",
    "fn i(a: u8) -> impl Future<Output = io::Result<()>> + Send { async move { Ok(()) } }",
    "fn j(a: u8) -> BoxFuture<'static, u8> { async move { a }.boxed() }",
    "fn k(a: u8) -> impl Future { println!(); async move { a } }",
    "fn plain(a: u8) -> u8 { a }",
    "const fn constant() -> u8 { 1 }",
    "async fn no_body(&self, a: u8) -> u8;",
    "pub(crate) struct Thing { a: u8 }",
    "impl Thing { async fn f(&self) {} }",
    "#[instrument(skip(a))] #[must_use] async unsafe extern \"C\" fn l(r#type: u8, #[cfg(x)] a: u8, _: u8) {}",
    "async fn inner() { #![allow(unused)] #[distributed_lock(key = \"k\")] async fn f() {} f().await }",
];

/// Words and literals that have a meaning in arguments or items, or look as if they had.
const WORDS: [&str; 61] = [
    "key",
    "ttl",
    "wait",
    "renew",
    "fair",
    "max_hold",
    "at_least",
    "on_busy",
    "on_error",
    "on_lost",
    "fenced",
    "guard",
    "locks",
    "crate",
    "skip",
    "log",
    "cancel",
    "finish",
    "forever",
    "self",
    "Self",
    "async",
    "fn",
    "move",
    "mut",
    "ref",
    "pub",
    "const",
    "unsafe",
    "extern",
    "impl",
    "dyn",
    "where",
    "trait",
    "struct",
    "default",
    "Box",
    "pin",
    "Future",
    "Result",
    "_",
    "r#type",
    "30",
    "0",
    "1.5",
    "-1",
    "18446744073709551616",
    "\"10s\"",
    "\"5\"",
    "\"{a}\"",
    "\"{\"",
    "\"{a}{b}\"",
    "\"{:?}\"",
    "\"{a:\"",
    "\"\\u{e9}{\\n}\"",
    "'c'",
    "b\"x\"",
    "'static",
    "true",
    "\"{((a}\"",
    "\"99999999999d\"",
];
/// Punctuation that has a meaning in arguments or items.
const SIGNS: [char; 16] = ['=', ',', ':', ';', '.', '<', '>', '&', '|', '#', '!', '?', '-', '@', '*', '+'];

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("tokens")
}

fn token() -> impl Strategy<Value = TokenTree> {
    let word = select(&WORDS[..]).prop_map(|word| {
        tokens(word).into_iter().next().unwrap_or_else(|| Ident::new("empty", Span::call_site()).into())
    });
    let sign = select(&SIGNS[..]).prop_map(|sign| Punct::new(sign, Spacing::Alone).into());
    let leaf = prop_oneof![3 => word, 2 => sign];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let delimiters = [Delimiter::Brace, Delimiter::Bracket, Delimiter::Parenthesis, Delimiter::None];
        (select(delimiters.to_vec()), prop::collection::vec(inner, 0..6)).prop_map(|(delimiter, inner)| {
            TokenTree::Group(Group::new(delimiter, inner.into_iter().collect()))
        })
    })
}

/// Any sequence of tokens.
fn soup() -> impl Strategy<Value = TokenStream> {
    prop::collection::vec(token(), 0..12).prop_map(TokenStream::from_iter)
}

/// One mistake in typing.
#[derive(Debug, Clone)]
enum Edit {
    Delete,
    Double,
    Swap,
    Insert(TokenTree),
    /// Drop this token and the rest of its group, as if they were not written yet.
    Cut,
}

fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
    let edit = prop_oneof![
        Just(Edit::Delete),
        Just(Edit::Double),
        Just(Edit::Swap),
        token().prop_map(Edit::Insert),
        Just(Edit::Cut),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), edit), 0..4)
}

/// The number of tokens, including those in groups.
fn count(stream: &TokenStream) -> usize {
    let inside = |token| if let TokenTree::Group(group) = token { count(&group.stream()) } else { 0 };
    stream.clone().into_iter().map(|token| 1 + inside(token)).sum()
}

/// Applies one edit to the token of number `place`, counted through all groups.
fn edited(stream: TokenStream, edit: &Edit, place: &mut usize) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    let mut rest = stream.into_iter();
    while let Some(token) = rest.next() {
        let here = *place == 0;
        *place = place.wrapping_sub(1);
        if !here {
            out.push(match token {
                TokenTree::Group(group) => {
                    Group::new(group.delimiter(), edited(group.stream(), edit, place)).into()
                }
                other => other,
            });
            continue;
        }
        match edit {
            Edit::Delete => {}
            Edit::Double => out.extend([token.clone(), token]),
            Edit::Swap => out.extend(rest.next().into_iter().chain([token])),
            Edit::Insert(new) => out.extend([new.clone(), token]),
            Edit::Cut => return out.into_iter().collect(),
        }
        // The edit is done: no later token has this number.
        *place = usize::MAX;
    }
    out.into_iter().collect()
}

fn with_edits(text: &str, edits: Vec<(prop::sample::Index, Edit)>) -> TokenStream {
    edits.into_iter().fold(tokens(text), |stream, (place, edit)| {
        let mut place = place.index(count(&stream).max(1));
        edited(stream, &edit, &mut place)
    })
}

/// Whether the attribute was refused with a compile error. Fails if the item is missing beside the error.
fn is_refused(args: &TokenStream, item: &TokenStream) -> bool {
    let out = attribute(args.clone(), item).to_string();
    let refused = out.starts_with(":: core :: compile_error !");
    assert!(!refused || out.ends_with(&item.to_string()), "the expansion `{out}` does not contain `{item}`");
    refused
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tokens_give_an_expansion_or_an_error(args in soup(), item in soup()) {
        is_refused(&args, &item);
        for other in ARGS {
            is_refused(&tokens(other), &item);
        }
        for other in ITEMS {
            is_refused(&args, &tokens(other));
        }
    }

    #[test]
    fn typing_mistakes_give_an_expansion_or_an_error(
        args in select(&ARGS[..]), item in select(&ITEMS[..]), in_args in edits(), in_item in edits(),
    ) {
        is_refused(&with_edits(args, in_args), &with_edits(item, in_item));
    }
}

#[test]
fn correct_arguments_are_accepted_on_every_kind_of_function() {
    for args in &ARGS[4..6] {
        for item in &ITEMS[..6] {
            assert!(!is_refused(&tokens(args), &tokens(item)), "{args} on {item}");
        }
    }
}

/// While a body is being typed, it is not valid Rust yet, and the editor completes code in the expansion.
#[test]
fn a_half_typed_body_is_passed_through() {
    // Editors add the missing closing brackets before they expand a macro.
    for body in ["order.", "let x = ", "match order { Some() }", "Self::", "if x { } else", "let _: Vec<"] {
        let body = tokens(body);
        for item in [
            format!("async fn f(order: Order) -> Result<u8, LockError> {{ {body} }}"),
            format!("fn f(order: Order) -> BoxFuture<'static, u8> {{ Box::pin(async move {{ {body} }}) }}"),
        ] {
            let out = attribute(tokens(ARGS[4]), &tokens(&item)).to_string();
            assert!(out.contains(&body.to_string()) && !out.contains("compile_error"), "{item}: {out}");
        }
    }
}

#[test]
fn a_half_typed_attribute_keeps_the_item() {
    for args in
        ["k", "key", "key =", r#"key = "order:{order_id}", t"#, r#"key = "a", ttl ="#, r#"key = "{", "#]
    {
        assert!(is_refused(&tokens(args), &tokens(ITEMS[0])), "{args}");
    }
}
