//! The annotated function: its signature parsed, its body as it was written.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, Error, GenericArgument, Ident, PathArguments, Result, ReturnType, Signature, Token, Type,
    TypeParamBound, Visibility,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    spanned::Spanned,
};

/// An async function, or one that consists of an async block.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// `default`, in front of the signature.
    pub(crate) defaultness: Option<Ident>,
    pub(crate) signature: Signature,
    /// What stands around the body.
    pub(crate) shape: Shape,
    /// `#![..]` at the beginning of the body.
    pub(crate) inner_attrs: TokenStream,
    pub(crate) body: TokenStream,
    /// What the body gives, `None` for nothing written.
    pub(crate) output: Option<Type>,
}

/// How the future comes about.
pub(crate) enum Shape {
    /// `async fn`
    Async,
    /// `fn .. { before(async move { body }) after }`
    Block { before: TokenStream, after: TokenStream, boxed: bool },
}

/// Parses the item.
///
/// # Errors
/// One sentence for each kind of item that cannot be locked.
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
            "a `const fn` runs at compile time, where there is no lock; take the `const` away and make it `async`",
        ));
    }
    if input.peek(Token![;]) {
        let message = "a method without a body has nothing to lock; put #[distributed_lock] on the implementations, or give the method a body here";
        return Err(Error::new(signature.ident.span(), message));
    }
    let TokenTree::Group(block) = input.parse::<TokenTree>()? else {
        return Err(input.error("expected the function's body"));
    };
    if !input.is_empty() {
        return Err(input.error("expected nothing after the function's body"));
    }
    let (shape, body, output) = if signature.asyncness.is_some() {
        let output = match &signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, output) => Some((**output).clone()),
        };
        (Shape::Async, block.stream(), output)
    } else {
        future_block(&signature, &block)?
    };
    let (inner_attrs, body) = split_inner_attrs(body);
    Ok(Function { attrs, visibility, defaultness, signature, shape, inner_attrs, body, output })
}

/// Items that are no functions, each by its own sentence.
fn other_item(input: ParseStream) -> Option<Error> {
    let keyword = input.fork().call(Ident::parse_any).ok()?;
    let what = match keyword.to_string().as_str() {
        "struct" | "enum" | "union" | "type" => {
            "a type is not run, so it cannot be locked; put #[distributed_lock] on the async functions that use it"
        }
        "impl" => "#[distributed_lock] locks one function; put it on the async methods of this impl",
        "trait" => {
            "#[distributed_lock] locks one function; put it on the async methods, here where they have a body or in the impls"
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
    Some(Error::new(keyword.span(), what))
}

fn second_word(input: ParseStream) -> Option<String> {
    let fork = input.fork();
    fork.call(Ident::parse_any).ok()?;
    fork.call(Ident::parse_any).ok().map(|word| word.to_string())
}

/// The async block that a plain function consists of.
fn future_block(signature: &Signature, block: &Group) -> Result<(Shape, TokenStream, Option<Type>)> {
    let plain = || {
        let name = &signature.ident;
        let message = format!(
            "a plain `fn` cannot wait for a lock; make it `async fn {name}(..)`, or return a future that is one async block; \
             where another attribute such as #[tokio::main] has made it plain, put #[distributed_lock] above that one"
        );
        Error::new(signature.fn_token.span, message)
    };
    let ReturnType::Type(_, returned) = &signature.output else { return Err(plain()) };
    let future = future_output(returned).ok_or_else(plain)?;
    let tokens: Vec<TokenTree> = block.stream().into_iter().collect();
    let Some((before, inner, after)) = split_async(&tokens) else {
        // A future all the same, but what runs before it runs without the lock.
        let span = tokens.first().map_or(block.span(), TokenTree::span);
        let message = "what stands in front of the async block would run without the lock; move it into the block, so that the function is `async move { .. }` alone";
        return Err(Error::new(span, message));
    };
    let boxed = !before.is_empty();
    Ok((Shape::Block { before, after, boxed }, inner, Some(future)))
}

/// `async move { .. }`, `Box::pin(async move { .. })` or `async move { .. }.boxed()`: before, inside, after.
fn split_async(tokens: &[TokenTree]) -> Option<(TokenStream, TokenStream, TokenStream)> {
    if let Some((inner, rest)) = async_block(tokens) {
        let method = |name: &TokenTree| matches!(name, TokenTree::Ident(name) if name == "boxed" || name == "boxed_local");
        return match rest {
            [] => Some((quote!(), inner, quote!())),
            [TokenTree::Punct(dot), name, TokenTree::Group(call)]
                if dot.as_char() == '.' && method(name) && call.stream().is_empty() =>
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

/// The inside of an async block at the beginning, and what follows it.
fn async_block(tokens: &[TokenTree]) -> Option<(TokenStream, &[TokenTree])> {
    let word = |token: Option<&TokenTree>, word: &str| matches!(token, Some(TokenTree::Ident(ident)) if ident == word);
    if !word(tokens.first(), "async") {
        return None;
    }
    let at = if word(tokens.get(1), "move") { 2 } else { 1 };
    match tokens.get(at) {
        Some(TokenTree::Group(block)) if block.delimiter() == Delimiter::Brace => {
            Some((block.stream(), &tokens[at + 1..]))
        }
        _ => None,
    }
}

/// What the returned future gives, `_` for what is not named; `None` when it is no future.
fn future_output(returned: &Type) -> Option<Type> {
    match returned {
        Type::ImplTrait(future) => of_bounds(future.bounds.iter()),
        Type::TraitObject(future) => of_bounds(future.bounds.iter()),
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

fn of_bounds<'a>(mut bounds: impl Iterator<Item = &'a TypeParamBound>) -> Option<Type> {
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

/// `_`
pub(crate) fn inferred() -> Type {
    Type::Infer(syn::TypeInfer { attrs: Vec::new(), underscore_token: syn::token::Underscore::default() })
}

/// Attributes of the body belong to the block that they stand in: ours, now.
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
    /// Where an error about the return type belongs.
    pub(crate) fn output_span(&self) -> Span {
        match &self.output {
            Some(output) => output.span(),
            None => self.signature.ident.span(),
        }
    }
}
