//! The `#[distributed_lock]` attribute of [distlock](https://docs.rs/distlock), which re-exports and documents it.
//!
//! Tokens become arguments (`args`), arguments a checked model (`model`, with `template` for the key), and the model tokens again
//! (`expand`, which cannot fail). The body is carried through as it was written, so that an editor can complete in a
//! half-typed one.

use proc_macro::TokenStream;

mod args;
mod bindings;
mod durations;
mod expand;
mod function;
mod model;
mod suggest;
mod template;
#[cfg(test)]
mod tests;

#[doc = include_str!("../attribute.md")]
#[proc_macro_attribute]
pub fn distributed_lock(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), &item.into()).into()
}

fn attribute(args: proc_macro2::TokenStream, item: &proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    match function::parse(item.clone()).and_then(|function| Ok((model::check(args, &function)?, function))) {
        Ok((model, function)) => expand::expand(&model, function),
        // The item stays, unlocked: the error keeps the crate from building, and editors keep what they know of it.
        Err(error) => {
            let errors = error.to_compile_error();
            quote::quote! { #errors #item }
        }
    }
}
