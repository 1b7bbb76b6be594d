//! The `#[distributed_lock]` attribute of [distlock](https://docs.rs/distlock), which re-exports and
//! documents it.
//!
//! The attribute works in stages, one module each. `args` parses the attribute's arguments, and `function`
//! parses the annotated item. `model` checks the arguments against every rule, with `template` and `hole` for
//! the key; in the model that it returns, nothing can be wrong. `expand` turns the model into tokens and
//! cannot fail.
//!
//! The body is passed through as it was written, so that an editor can complete code in a half-typed body.

use proc_macro::TokenStream;

mod args;
mod async_trait;
mod bindings;
mod body;
mod durations;
mod expand;
mod function;
mod handlers;
mod hole;
mod hygiene;
mod limits;
mod lookalikes;
mod model;
mod nested;
mod outcomes;
mod streams;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
mod unmoved;
mod used_up;

#[doc = include_str!("../attribute.md")]
#[proc_macro_attribute]
pub fn distributed_lock(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), &item.into()).into()
}

fn attribute(args: proc_macro2::TokenStream, item: &proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    match function::parse(item.clone()).and_then(|function| Ok((model::check(args, &function)?, function))) {
        Ok((model, function)) => expand::expand(&model, function),
        // The item is emitted beside the error, without a lock. The error keeps the crate from compiling, and
        // editors still know the item.
        Err(error) => {
            let errors = error.to_compile_error();
            quote::quote! { #errors #item }
        }
    }
}
