//! Refuses a stream in the return type: it would be read when the lock is released already.

use syn::{
    Error, Ident, Path, PathArguments, Result, ReturnType, Signature, TraitBound, TypePath,
    visit::{self, Visit},
};

use crate::bindings::mentions;

/// Checks that the function returns no stream. An alias of the type gets through.
///
/// # Errors
/// The first stream in the return type.
pub(crate) fn refuse(signature: &Signature) -> Result<()> {
    let ReturnType::Type(_, output) = &signature.output else { return Ok(()) };
    let mut find = FindStream(None);
    find.visit_type(output);
    let Some((path, name)) = find.0 else { return Ok(()) };
    let shown = if name == "Stream" { "BoxStream".to_owned() } else { name.to_string() };
    let returns_future = signature.asyncness.is_some()
        || ["Future", "BoxFuture", "LocalBoxFuture"].iter().any(|future| mentions(output, future));
    let alias = if returns_future {
        format!("; if reading needs no lock, return a type alias: `type Items = {shown}<..>`")
    } else {
        String::new()
    };
    let message = format!(
        "a stream is read after the function has returned, when its lock is released already; \
         lock the function that reads the stream to its end{alias}"
    );
    Err(Error::new_spanned(path, message))
}

/// The first stream that was found, and its name.
struct FindStream<'ast>(Option<(&'ast Path, &'ast Ident)>);

impl<'ast> Visit<'ast> for FindStream<'ast> {
    /// A bound as in `impl Stream<Item = u64>` and `dyn Stream`.
    fn visit_trait_bound(&mut self, bound: &'ast TraitBound) {
        if let Some(last) = bound.path.segments.last().filter(|last| last.ident == "Stream") {
            self.0.get_or_insert((&bound.path, &last.ident));
        }
        visit::visit_trait_bound(self, bound);
    }

    /// A type that is always a stream. The parameters tell it from a type of the user with the same name.
    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if let Some(last) = ty.path.segments.last()
            && ["BoxStream", "LocalBoxStream", "Sse"].iter().any(|stream| last.ident == stream)
            && matches!(last.arguments, PathArguments::AngleBracketed(_))
        {
            self.0.get_or_insert((&ty.path, &last.ident));
        }
        visit::visit_type_path(self, ty);
    }
}
