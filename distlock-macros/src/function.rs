//! Parses the annotated function. Its body stays as it was written.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, GenericArgument, Ident, Local, PathArguments, Result, ReturnType, Signature, Token,
    Type, TypeParamBound, Visibility,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    spanned::Spanned,
};

use crate::{args::whole_expr, async_trait, bindings::mentions, nested, streams};

/// An async function, a plain function that consists of one async block, or one that has a lock already.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// The word `default` of a specialised method, which syn's `Signature` does not know.
    pub(crate) defaultness: Option<Ident>,
    pub(crate) signature: Signature,
    /// What surrounds the body.
    pub(crate) shape: Shape,
    /// The attributes `#![..]` at the beginning of the body.
    pub(crate) inner_attrs: TokenStream,
    /// The statements of `#[async_trait]` that take arguments apart. They are not in the body.
    pub(crate) patterns: Vec<Local>,
    pub(crate) body: TokenStream,
    /// The place of the body's braces, at which rustc reports a body that lacks its value.
    pub(crate) braces: Span,
    /// The type of the body's value. `None` if the signature names none, so that it is `()`.
    pub(crate) output: Option<Type>,
}

/// How the function makes its future.
pub(crate) enum Shape {
    /// `async fn`
    Async,
    /// `fn .. { async move { body } after }`, or, if `boxed`, `fn .. { before(async move { body }) after }`
    Block { before: TokenStream, after: TokenStream, boxed: bool },
    /// The function has a lock from an attribute that is written above. The tokens are those between its
    /// braces, and contain the body.
    Locked(TokenStream),
}

/// Parses the item.
///
/// # Errors
/// The item is not a function that can be locked. Each kind of item has its own message.
pub(crate) fn parse(item: TokenStream) -> Result<Function> {
    function.parse2(item)
}

fn function(input: ParseStream) -> Result<Function> {
    let attrs = input.call(Attribute::parse_outer)?;
    let visibility: Visibility = input.parse()?;
    let defaultness = if input.peek(Ident::peek_any) && input.fork().call(Ident::parse_any)? == "default" {
        Some(input.call(Ident::parse_any)?)
    } else {
        None
    };
    if let Some(refused) = other_item(input) {
        return Err(refused);
    }
    let signature: Signature = input.parse()?;
    if let Some(constness) = &signature.constness {
        return Err(Error::new(
            constness.span,
            "a `const fn` can run at compile time, where there is no lock; replace `const` with `async`",
        ));
    }
    streams::refuse(&signature)?;
    if input.peek(Token![;]) {
        let message = "a method without a body has nothing to lock; \
             put #[distributed_lock] on the implementations, or give the method a body here";
        return Err(Error::new(signature.ident.span(), message));
    }
    let Some(block) = braces(input.parse::<TokenTree>()?) else {
        return Err(input.error("expected the function's body"));
    };
    if !input.is_empty() {
        return Err(input.error("expected nothing after the function's body"));
    }
    let (shape, body, output) = shape(&signature, block)?;
    let braces = body.span();
    let (inner_attrs, body) = split_inner_attrs(body.stream());
    let (patterns, body) = match &shape {
        Shape::Async => (Vec::new(), body),
        Shape::Block { .. } => async_trait::take_patterns(body),
        Shape::Locked(tokens) => (async_trait::all_patterns(tokens), body),
    };
    Ok(Function {
        attrs,
        visibility,
        defaultness,
        signature,
        shape,
        inner_attrs,
        patterns,
        body,
        braces,
        output,
    })
}

/// Returns the shape of the function, its body in braces, and the type of the body's value.
fn shape(signature: &Signature, block: Group) -> Result<(Shape, Group, Option<Type>)> {
    let returned = match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, returned) => Some((**returned).clone()),
    };
    let is_async = signature.asyncness.is_some();
    if let Some(body) = nested::body(block.stream()) {
        // Another attribute may have made the function a plain one, as #[tokio::main] does.
        let future = returned.as_ref().filter(|_| !is_async).and_then(future_output);
        return Ok((Shape::Locked(block.stream()), body, future.or(returned)));
    }
    if is_async { Ok((Shape::Async, block, returned)) } else { future_block(signature, &block) }
}

/// Returns the braces with what is in them. `macro_rules!` puts an invisible group around a `$body:block`.
fn braces(token: TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = token else { return None };
    match group.delimiter() {
        Delimiter::Brace => Some(group),
        Delimiter::None => {
            let mut inner = group.stream().into_iter();
            inner.next().and_then(braces).filter(|_| inner.next().is_none())
        }
        _ => None,
    }
}

/// Returns an error if the item is not a function.
fn other_item(input: ParseStream) -> Option<Error> {
    let keyword = input.fork().call(Ident::parse_any).ok()?;
    let message = match keyword.to_string().as_str() {
        "struct" | "enum" | "union" | "type" => {
            "#[distributed_lock] locks a function, not a type; \
             put it on the async functions that use the type"
        }
        "impl" => "#[distributed_lock] locks one function; put it on the async methods of this impl",
        "trait" => {
            "#[distributed_lock] locks one function; \
             put it on the async methods of the impls, or on those of this trait that have a body"
        }
        "mod" => "#[distributed_lock] locks one function; put it on the async functions of this module",
        "static" | "let" | "use" | "macro_rules" => {
            "#[distributed_lock] locks an async function; there is none here"
        }
        "const" if !matches!(second_word(input).as_deref(), Some("fn" | "async" | "unsafe" | "extern")) => {
            "#[distributed_lock] locks an async function; there is none here"
        }
        _ => return None,
    };
    Some(Error::new(keyword.span(), message))
}

fn second_word(input: ParseStream) -> Option<String> {
    let fork = input.fork();
    fork.call(Ident::parse_any).ok()?;
    fork.call(Ident::parse_any).ok().map(|word| word.to_string())
}

/// Takes apart a plain function that consists of one async block: returns its shape, the block in braces, and
/// the type of the block's value.
fn future_block(signature: &Signature, block: &Group) -> Result<(Shape, Group, Option<Type>)> {
    let plain = || {
        let name = &signature.ident;
        let message = format!(
            "a plain `fn` cannot wait for a lock; \
             make it `async fn {name}(..)`, or return a future that is one async block; \
             if another attribute such as #[tokio::main] has removed `async`, \
             put #[distributed_lock] above that one"
        );
        Error::new(signature.fn_token.span, message)
    };
    let ReturnType::Type(_, returned) = &signature.output else { return Err(plain()) };
    let tokens = without_return(block.stream().into_iter().collect());
    let split = split_async(&tokens);
    let Some(future) = future_output(returned) else {
        return Err(if split.is_some() { hidden_output(returned) } else { plain() });
    };
    let Some((before, inner, after)) = split else {
        let span = tokens.first().map_or(block.span(), TokenTree::span);
        return Err(Error::new(span, outside_of_block(tokens.into_iter().collect())));
    };
    let boxed = !before.is_empty();
    Ok((Shape::Block { before, after, boxed }, inner, Some(future)))
}

/// The error for a future whose type is written as an alias, such as `Self::Future`.
fn hidden_output(returned: &Type) -> Error {
    let written = returned.to_token_stream().to_string().replace(" :: ", "::");
    let message = format!(
        "`{written}` does not say what the future returns; \
         write the type out: `Pin<Box<dyn Future<Output = ..> + Send>>`"
    );
    Error::new(returned.span(), message)
}

/// Removes the words around the value in `return value;`.
fn without_return(mut tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    if tokens.first().is_some_and(|first| is_word(first, "return")) {
        tokens.remove(0);
        tokens.pop_if(|last| matches!(last, TokenTree::Punct(end) if end.as_char() == ';'));
    }
    tokens
}

/// The message for a function that returns a future and does not consist of one async block.
fn outside_of_block(body: TokenStream) -> &'static str {
    let Ok(value) = whole_expr(body) else {
        return "the code before the async block would run without the lock; \
             move it into the block, so that the function consists of `async move { .. }` alone";
    };
    if mentions(&value, "async") {
        "what stands around the async block would run without the lock; the function must consist of \
         `async move { .. }`, `Box::pin(async move { .. })` or `async move { .. }.boxed()`"
    } else {
        "the code that makes this future would run without the lock; \
         write it in an async block: `async move { make_future().await }`"
    }
}

/// Splits `async move { .. }`, `Box::pin(async move { .. })` or `async move { .. }.boxed()` into what stands
/// before the block, the block in braces, and what stands after it.
fn split_async(tokens: &[TokenTree]) -> Option<(TokenStream, Group, TokenStream)> {
    if let Some((inner, rest)) = async_block(tokens) {
        return match rest {
            [] => Some((quote!(), inner, quote!())),
            [TokenTree::Punct(dot), name, TokenTree::Group(call)]
                if dot.as_char() == '.'
                    && (is_word(name, "boxed") || is_word(name, "boxed_local"))
                    && call.stream().is_empty() =>
            {
                Some((quote!(), inner, rest.iter().cloned().collect()))
            }
            _ => None,
        };
    }
    let [path @ .., TokenTree::Ident(pin), TokenTree::Group(call)] = tokens else { return None };
    let is_path = path.iter().all(|token| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        _ => false,
    });
    if pin != "pin" || !is_path || call.delimiter() != Delimiter::Parenthesis {
        return None;
    }
    let argument: Vec<TokenTree> = call.stream().into_iter().collect();
    let (inner, rest) = async_block(&argument)?;
    let comma = matches!(rest, [] | [TokenTree::Punct(_)]);
    let before = path.iter().cloned().chain([TokenTree::Ident(pin.clone())]).collect();
    comma.then_some((before, inner, quote!()))
}

/// Returns the braces of the async block that the tokens begin with, and the tokens after it.
fn async_block(tokens: &[TokenTree]) -> Option<(Group, &[TokenTree])> {
    let rest = match tokens {
        [first, second, rest @ ..] if is_word(first, "async") && is_word(second, "move") => rest,
        [first, rest @ ..] if is_word(first, "async") => rest,
        _ => return None,
    };
    let (block, rest) = rest.split_first()?;
    Some((braces(block.clone())?, rest))
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

/// Returns the output type of a returned future, or `_` if the type does not name it. `None` if the type is
/// not a future.
fn future_output(returned: &Type) -> Option<Type> {
    match returned {
        Type::ImplTrait(future) => output_of_bounds(future.bounds.iter()),
        Type::TraitObject(future) => output_of_bounds(future.bounds.iter()),
        Type::Paren(inner) => future_output(&inner.elem),
        Type::Group(inner) => future_output(&inner.elem),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
            let mut types = args.args.iter().filter_map(|arg| match arg {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            });
            match last.ident.to_string().as_str() {
                "Pin" | "Box" => future_output(types.next()?),
                "BoxFuture" | "LocalBoxFuture" => Some(types.next().cloned().unwrap_or_else(inferred)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The output type of the bound `Future<Output = ..>`. `None` if no bound is a `Future`.
fn output_of_bounds<'a>(mut bounds: impl Iterator<Item = &'a TypeParamBound>) -> Option<Type> {
    bounds.find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(args) = &last.arguments else { return Some(inferred()) };
        let output = args.args.iter().find_map(|arg| match arg {
            GenericArgument::AssocType(output) if output.ident == "Output" => Some(output.ty.clone()),
            _ => None,
        });
        Some(output.unwrap_or_else(inferred))
    })
}

/// The type `_`.
pub(crate) fn inferred() -> Type {
    Type::Infer(syn::TypeInfer { attrs: Vec::new(), underscore_token: syn::token::Underscore::default() })
}

/// Splits the attributes `#![..]` from a body. The expansion puts them at the beginning of its own block.
fn split_inner_attrs(body: TokenStream) -> (TokenStream, TokenStream) {
    let mut attrs = TokenStream::new();
    let mut tokens = body.into_iter().peekable();
    let mut rest = Vec::new();
    while let Some(token) = tokens.next() {
        let hash = matches!(&token, TokenTree::Punct(hash) if hash.as_char() == '#');
        let bang = matches!(tokens.peek(), Some(TokenTree::Punct(bang)) if bang.as_char() == '!');
        if !(hash && bang) {
            rest.push(token);
            break;
        }
        attrs.extend([token]);
        attrs.extend(tokens.next());
        attrs.extend(tokens.next());
    }
    (attrs, rest.into_iter().chain(tokens).collect())
}

impl Function {
    /// The place of an error about the return type.
    pub(crate) fn output_span(&self) -> Span {
        match &self.output {
            Some(output) => output.span(),
            None => self.signature.ident.span(),
        }
    }
}
