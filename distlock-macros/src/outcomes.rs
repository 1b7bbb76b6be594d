//! What the function returns if its body has not run to its end, and where rustc complains if its return type
//! has no such value.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::{Expr, GenericArgument, PathArguments, Type, TypePath, parse_quote, spanned::Spanned};

use crate::{
    body::named,
    function::{Function, inferred},
    hygiene::{at, placed},
    model::{Model, OnBusy},
};

/// The value of a call that fails with `error`, a `LockError`, and has no `on_error`.
pub(crate) fn error(model: &Model, function: &Function, private: &TokenStream) -> TokenStream {
    let output = at(function.output_span());
    if let Some(parameter) = error_parameter(function) {
        let place = at(parameter.span());
        let private = placed(private, parameter.span());
        quote_spanned!(place=> #private::Result::Err(::core::convert::From::from(__error)))
    } else if is_skip_alone(model) {
        quote_spanned!(output=> #private::SkipBusy::from_lock_error(__error))
    } else {
        quote_spanned!(output=> #private::FromLockError::from_lock_error(__error))
    }
}

/// The value of a call that is skipped because its key is busy.
pub(crate) fn skipped(model: &Model, function: &Function, private: &TokenStream) -> TokenStream {
    let output = at(function.output_span());
    if is_skip_alone(model) && error_parameter(function).is_none() {
        quote_spanned!(output=> #private::SkipBusy::skipped())
    } else {
        quote_spanned!(output=> #private::Skip::skipped())
    }
}

/// A handler whose return type is known to be the function's, so that rustc complains in the handler if it is
/// another.
pub(crate) fn handler(private: &TokenStream, handler: &Expr, function: &Function) -> TokenStream {
    let place = at(handler.span());
    let private = placed(private, handler.span());
    let output = match &function.output {
        None => parse_quote!(()),
        Some(output) => named(output).unwrap_or_else(inferred),
    };
    // A function may also return `!`, which becomes every type when it is called.
    let closure = match handler {
        Expr::Path(path) => quote_spanned!(place=> |__error| #path(__error)),
        other => quote_spanned!(place=> #other),
    };
    quote_spanned!(place=> #private::handler::<#output, _>(#closure))
}

/// Whether the return type has to carry both: a skipped call, and the errors that `skip` does not cover.
fn is_skip_alone(model: &Model) -> bool {
    model.on_error.is_none() && matches!(model.on_busy, Some(OnBusy::Skip))
}

/// The type `E` of a `Result<T, E>` if it is a type parameter. For it rustc's own message is better than
/// ours: it offers to add the bound `E: From<LockError>`. The parameters of an impl are not known here, so
/// that a name of one letter counts as one.
fn error_parameter(function: &Function) -> Option<&Ident> {
    let Some(Type::Path(TypePath { qself: None, path, .. })) = &function.output else { return None };
    let last = path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let Some(GenericArgument::Type(Type::Path(error))) = arguments.args.iter().nth(1) else { return None };
    let name = error.path.get_ident().filter(|_| error.qself.is_none())?;
    let is_parameter = function.signature.generics.type_params().any(|parameter| parameter.ident == *name);
    (is_parameter || name.to_string().len() == 1).then_some(name)
}
