//! The spans of generated tokens: how names are resolved, and where rustc's messages point.

use proc_macro2::{Span, TokenStream};

/// `quote!` with mixed-site hygiene: our local variables and the user's cannot be confused, whatever their
/// names.
macro_rules! own {
    ($($tokens:tt)*) => {
        quote::quote_spanned!(proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}
pub(crate) use own;

/// Returns a span at a place in the user's code, for rustc's messages, with the hygiene of `own!`.
pub(crate) fn at(place: Span) -> Span {
    place.resolved_at(Span::mixed_site())
}

/// Moves a path of ours to a place in the user's code. rustc's message points there only if the whole path
/// does.
pub(crate) fn placed(path: &TokenStream, place: Span) -> TokenStream {
    let place = at(place);
    path.clone()
        .into_iter()
        .map(|mut token| {
            token.set_span(place);
            token
        })
        .collect()
}
