//! Turns the checked model into tokens. This stage cannot fail.
//!
//! ```text
//! // Input:
//! #[distributed_lock(key = "order:{id}", ttl = 30)]
//! async fn fulfil(id: u64) -> Result<(), Error> { body }
//!
//! // Output, shortened:
//! async fn fulfil(id: u64) -> Result<(), Error> {
//!     let manager = None;
//!     let ttl: Duration = Duration::new(30, 0);
//!     let key = {
//!         let mut key = KeyBuilder::new();
//!         KeyBuilder::text(&mut __key, "order:");
//!         KeyBuilder::hole(&mut __key, format_args!("{}", id), None);
//!         KeyBuilder::finish(key)
//!     };
//!     let acquired = Request::acquire(Request::ttl(Request::new(manager, key, "order:{id}"), ttl)).await;
//!     let guard = match __acquired {
//!         Ok(guard) => guard,
//!         Err(error) => return from_lock_error(error),
//!     };
//!     let outcome = LockGuard::run(&guard, async move {
//!         if false { return fake(); }
//!         let id = id;
//!         body
//!     })
//!     .await;
//!     LockGuard::finish(guard).await;
//!     match outcome {
//!         Ok(value) => value,
//!         Err(error) => from_lock_error(error),
//!     }
//! }
//! ```
//!
//! Functions are called by their paths, and never as methods: a trait of the user may give every type a
//! method of the same name. In fact the names of variables begin with `__`: if the user misspells a name,
//! rustc would otherwise point out a variable of the expansion that the user's code cannot see.

use proc_macro2::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::{Expr, spanned::Spanned};

use crate::{
    bindings::{Binding, conditions, mentions},
    body::{body, fake, is_moved, moved},
    durations::Length,
    function::{Function, Shape},
    hygiene::{at, own, placed},
    model::{Key, Model, OnBusy, OnError, Wait},
    nested, outcomes,
    template::{Hole, Piece},
    unmoved,
    used_up::kept,
};

/// Returns the function with the lock around its body.
pub(crate) fn expand(model: &Model, mut function: Function) -> TokenStream {
    let distlock = &model.distlock;
    let private = own!(#distlock::__private);
    let manager = manager(model, &private);
    let moved = moved(&function);
    let body = body(&private, &mut function, &moved);
    let locked = locked(model, &private, &function, &moved, &body);
    let Function { inner_attrs, patterns, .. } = &function;
    let block = match &function.shape {
        Shape::Async => own!({ #inner_attrs #manager #locked }),
        Shape::Block { before, after, boxed } => {
            let is_outside = is_manager_outside(model, &function);
            let (outside, inside) = if is_outside { (Some(manager), None) } else { (None, Some(manager)) };
            let future = own!(async move { #inner_attrs #(#patterns)* #inside #locked });
            let future = if *boxed { own!(#before(#future)) } else { future };
            own!({ #outside #future #after })
        }
        Shape::Locked(block) => {
            let fake = fake(&private, &function);
            let block = nested::map_body(block.clone(), &mut |_| own!(#fake #manager #locked));
            own!({ #block })
        }
    };
    let Function { attrs, visibility, defaultness, signature, .. } = function;
    own!(#(#attrs)* #visibility #defaultness #signature #block)
}

/// The statement that finds the manager.
fn manager(model: &Model, private: &TokenStream) -> TokenStream {
    let Some(locks) = &model.locks else { return own!(let __manager = #private::Option::None;) };
    let private = placed(private, locks.span());
    let manager =
        quote_spanned!(at(locks.span())=> #private::Option::Some(#private::HasManager::manager(&#locks)));
    own!(let __manager = #manager;)
}

/// Whether the manager is found before the function returns its future, as `locks = self.locks` is where the
/// body does not mention `self`: the future then need not borrow `self`.
fn is_manager_outside(model: &Model, function: &Function) -> bool {
    model.locks.as_ref().is_some_and(|locks| {
        mentions(locks, "self") && !mentions(locks, "await") && !mentions(&function.body, "self")
    })
}

/// The statements that acquire the lock, run the body, and release the lock.
fn locked(
    model: &Model,
    private: &TokenStream,
    function: &Function,
    moved: &[Binding],
    body: &TokenStream,
) -> TokenStream {
    let output_span = function.output_span();
    let (evaluated, settings) = settings(model, private);
    let private_at_output = placed(private, output_span);
    // The expressions that turn `error`, a `LockError`, into the function's return value: if the lock was not
    // acquired, and if it was lost.
    let (handler, refused, lost) = match &model.on_error {
        None => {
            let error = outcomes::error(model, function, &private_at_output);
            (None, error.clone(), error)
        }
        Some(OnError::Log) => {
            let error = quote_spanned!(at(output_span)=> #private_at_output::Skip::logged(__error));
            (None, error.clone(), error)
        }
        // The body runs to its end, so the handler is evaluated only if the body does not run.
        Some(OnError::Handler(handler)) if model.finish_when_lost => {
            let handler = outcomes::handler(private, handler, function);
            (None, own!(#private::handle(#handler, __error)), own!(#private::never_lost(__error).await))
        }
        Some(OnError::Handler(handler)) => {
            let check = check_handler(private, handler, function, moved);
            let place = handler.span();
            let handler = outcomes::handler(private, handler, function);
            let private = placed(private, place);
            let error = quote_spanned!(at(place)=> #private::handle(on_error, __error));
            // rustc names this variable to the user if the handler keeps a borrow.
            (Some(own!(#check let on_error = #handler;)), error.clone(), error)
        }
    };
    let template = template(&model.key);
    let not_acquired = match &model.on_busy {
        None => own!(return #refused),
        Some(on_busy) => {
            let busy = match on_busy {
                OnBusy::Skip => outcomes::skipped(model, function, &private_at_output),
                OnBusy::Handler(handler) => {
                    let handler = outcomes::handler(private, handler, function);
                    let private = placed(private, handler.span());
                    quote_spanned!(at(handler.span())=> #private::handle(#handler, __error))
                }
            };
            own! {
                if #private::skips(&__error, #template) {
                    return #busy;
                }
                return #refused
            }
        }
    };
    let key = key(&model.key, private);
    let unmoved = unmoved::borrow_again(&model.key, function);
    let NamedGuard { variable: guard, borrow, bind } = NamedGuard::of(model);
    let run = nested::run(private, &guard, own!(#bind #body), at(function.braces));
    own! {
        #evaluated
        #handler
        let __key = #key;
        #unmoved
        let __request = #private::Request::new(__manager, __key, #template);
        #settings
        let __acquired = #private::Request::acquire(__request).await;
        let #guard = match __acquired {
            #private::Ok(__guard) => __guard,
            #private::Err(__error) => { #not_acquired; }
        };
        #borrow
        let __outcome = #run.await;
        #private::LockGuard::finish(#guard).await;
        match __outcome {
            #private::Ok(value) => value,
            #private::Err(__error) => #lost,
        }
    }
}

/// The statements that refuse an argument which the `on_error` handler keeps and the body uses up: the
/// handler is called after the body if the lock is lost.
fn check_handler(
    private: &TokenStream,
    handler: &Expr,
    function: &Function,
    moved: &[Binding],
) -> TokenStream {
    let check = |name: &Ident, conditions: &[_]| {
        let place = kept(handler, name)?;
        let private = placed(private, place);
        let mut name = name.clone();
        name.set_span(place.resolved_at(name.span()));
        Some(quote_spanned!(at(place)=> #(#conditions)* #private::OutlivesBody::check(&#name);))
    };
    let receiver = function.signature.receiver();
    let receiver = receiver.filter(|_| is_moved(function, "self")).and_then(|receiver| {
        let this = Ident::new("self", receiver.self_token.span);
        check(&this, &conditions(&receiver.attrs))
    });
    let moved = moved.iter().filter_map(|Binding { ident, conditions, .. }| check(ident, conditions));
    receiver.into_iter().chain(moved).collect()
}

/// How the guard gets to the body by the name that the user gave to it.
struct NamedGuard {
    /// The variable that owns the guard. It has the user's name as well, for rustc's message about a body
    /// that keeps its lock for longer than it runs.
    variable: Ident,
    /// The statement that borrows the guard.
    borrow: TokenStream,
    /// The statement in the body that binds the name.
    bind: TokenStream,
}

impl NamedGuard {
    fn of(model: &Model) -> Self {
        let distlock = &model.distlock;
        let Some(name) = &model.guard else {
            return Self {
                variable: Ident::new("__guard", Span::mixed_site()),
                borrow: own!(),
                bind: own!(),
            };
        };
        let borrowed = quote_spanned!(name.span()=> &#name);
        Self {
            variable: name.clone(),
            borrow: own!(let __lock: &#distlock::LockGuard = #borrowed;),
            bind: nested::bind_guard(name),
        }
    }
}

/// The statement that gives the variable a duration. rustc's message about a value of another type is at the
/// user's expression.
fn let_duration(variable: &Ident, length: &Length) -> TokenStream {
    match length {
        Length::Known(length, _) => {
            let (secs, nanos) = (length.as_secs(), length.subsec_nanos());
            own!(let #variable = ::core::time::Duration::new(#secs, #nanos);)
        }
        Length::Computed(expr) => {
            quote_spanned!(at(expr.span())=> let #variable: ::core::time::Duration = #expr;)
        }
    }
}

/// Returns the statements that evaluate each setting once, and those that pass the settings to the request.
fn settings(model: &Model, private: &TokenStream) -> (TokenStream, TokenStream) {
    let distlock = &model.distlock;
    let mut evaluated = TokenStream::new();
    let mut calls = TokenStream::new();
    let mut set = |name: &str, length: &Length| {
        let variable = Ident::new(&format!("__{name}"), Span::mixed_site());
        let name = Ident::new(name, Span::mixed_site());
        evaluated.extend(let_duration(&variable, length));
        calls.extend(own!(let __request = #private::Request::#name(__request, #variable);));
    };
    if let Some(ttl) = &model.ttl {
        set("ttl", ttl);
    }
    if let Some(Wait::For(wait)) = &model.wait {
        set("wait", wait);
    }
    if let Some(max_hold) = &model.max_hold {
        set("max_hold", max_hold);
    }
    if let Some(at_least) = &model.at_least {
        set("at_least", at_least);
    }
    if let Some(renew) = &model.renew {
        calls.extend(own!(let __request = #private::Request::renew(__request, #renew);));
    }
    if let Some(fair) = &model.fair {
        calls.extend(own!(let __request = #private::Request::fair(__request, #fair);));
    }
    if let Some(Wait::Forever) = model.wait {
        calls.extend(own!(let __request = #private::Request::wait_forever(__request);));
    }
    if model.fenced {
        calls.extend(own!(let __request = #private::Request::fenced(__request);));
    }
    if model.finish_when_lost {
        calls.extend(own!(let __request = #private::Request::on_lost(__request, #distlock::OnLost::Finish);));
    }
    if model.release_in_background {
        calls.extend(
            own!(let __request = #private::Request::release(__request, #distlock::Release::Background);),
        );
    }
    (evaluated, calls)
}

/// The text that stands for all keys of the function in events and metrics.
fn template(key: &Key) -> Literal {
    match key {
        Key::Template(_, literal) => Literal::string(&literal.value()),
        Key::Computed(_) => Literal::string("-"),
    }
}

/// The expression that renders the key.
fn key(key: &Key, private: &TokenStream) -> TokenStream {
    match key {
        Key::Computed(expr) => {
            let private = placed(private, expr.span());
            quote_spanned!(at(expr.span())=> #private::key(::core::format_args!("{}", #expr)))
        }
        Key::Template(pieces, literal) => {
            let span = literal.span();
            let pieces = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => own!(#private::KeyBuilder::text(&mut __key, #text);),
                Piece::Hole(Hole { value, spec, follower }) => {
                    let mut format = Literal::string(&format!("{{{spec}}}"));
                    format.set_span(span);
                    let follower = if let Some(follower) = follower {
                        own!(#private::Option::Some(#follower))
                    } else {
                        own!(#private::Option::None)
                    };
                    let value = printable(value, span);
                    quote_spanned! {at(span)=>
                        #private::KeyBuilder::hole(&mut __key, ::core::format_args!(#format, #value), #follower);
                    }
                }
            });
            let pieces: TokenStream = pieces.collect();
            own! {{
                let mut __key = #private::KeyBuilder::new();
                #pieces
                #private::KeyBuilder::finish(__key)
            }}
        }
    }
}

/// Borrows a value that is an index, such as `text[..8]`: a format macro refuses a `str`, which has no size.
fn printable(value: &TokenStream, span: Span) -> TokenStream {
    match value.clone().into_iter().last() {
        Some(TokenTree::Group(last)) if last.delimiter() == Delimiter::Bracket => {
            quote_spanned!(at(span)=> &#value)
        }
        _ => value.clone(),
    }
}
