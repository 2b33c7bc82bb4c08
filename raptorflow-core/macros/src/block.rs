//! An `impl` block under `#[tool]`: checks it, and adds the function that makes tools of its methods.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, Error, ImplItem, ImplItemFn, ItemImpl, Result, Visibility, spanned::Spanned as _};

use crate::expand::{maker, of_path};

/// Whether what the attribute stands above is an `impl` block.
pub(crate) fn is_block(item: &TokenStream) -> bool {
    let words = item.clone().into_iter().filter_map(|token| match token {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    });
    words.into_iter().find(|word| word == "fn" || word == "impl").is_some_and(|word| word == "impl")
}

/// The block with a function `tools` more; each method under `#[tool]` expands by itself.
pub(crate) fn block(options: &TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut block: ItemImpl = syn::parse2(item)?;
    check(options, &block)?;
    let methods: Vec<_> = block.items.iter().filter_map(method).collect();
    if let Some(alone) = methods.iter().find(|method| method.sig.receiver().is_none()) {
        let message = "a tool of an `impl` block takes `&self`; without it, make it a free function";
        return Err(Error::new(alone.sig.ident.span(), message));
    }
    let Some(vis) = widest(&methods) else {
        let message = "none of these methods is a tool: each one that is has `#[tool]` above it";
        return Err(Error::new(block.impl_token.span(), message));
    };
    let makers = methods.iter().map(|method| {
        let (conditions, maker) = (of_path(&method.attrs, "cfg"), maker(&method.sig.ident));
        quote! { #(#conditions)* Self::#maker(::std::sync::Arc::clone(&state)) }
    });
    let tools = quote! {
        /// The methods under `#[tool]` as tools, whose calls share `state`.
        #[must_use]
        #vis fn tools(
            state: impl ::core::convert::Into<::std::sync::Arc<Self>>,
        ) -> ::std::vec::Vec<::raptorflow_core::tool::FunctionTool> {
            let state: ::std::sync::Arc<Self> = state.into();
            ::std::vec![#(#makers),*]
        }
    };
    block.items.push(ImplItem::Verbatim(tools));
    Ok(quote! { #block })
}

fn check(options: &TokenStream, block: &ItemImpl) -> Result<()> {
    if !options.is_empty() {
        let message = "`#[tool]` above an `impl` block has no options: each method has its own";
        return Err(Error::new(options.span(), message));
    }
    match &block.trait_ {
        Some((_, of, _)) => {
            let message = "the methods of a trait are no tools: write methods of the type that call them";
            Err(Error::new(of.span(), message))
        }
        None => Ok(()),
    }
}

fn method(item: &ImplItem) -> Option<&ImplItemFn> {
    match item {
        ImplItem::Fn(method) if method.attrs.iter().any(is_tool) => Some(method),
        _ => None,
    }
}

fn is_tool(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "tool")
}

/// Public when one of the methods is, else as the first one; `None` without methods.
fn widest<'a>(methods: &[&'a ImplItemFn]) -> Option<&'a Visibility> {
    let public = methods.iter().find(|method| matches!(method.vis, Visibility::Public(_)));
    public.or(methods.first()).map(|method| &method.vis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &TokenStream, item: TokenStream, expected: &str) {
        assert!(is_block(&item));
        let found = block(options, item).err().map(|err| err.to_string());
        assert!(found.as_deref().is_some_and(|found| found.contains(expected)), "{found:?}");
    }

    #[test]
    fn a_block_that_gives_no_tools_is_refused_with_the_reason() {
        let none = TokenStream::new;
        check(&none(), quote! { impl Shop { fn price(&self) {} } }, "none of these methods");
        check(
            &none(),
            quote! { impl Sell for Shop { #[tool] fn price(&self) {} } },
            "of a trait are no tools",
        );
        check(&none(), quote! { impl Shop { #[tool] fn price(item: u8) {} } }, "takes `&self`");
        check(&quote! { approval }, quote! { impl Shop { #[tool] fn price(&self) {} } }, "no options");
    }

    #[test]
    fn a_function_that_returns_impl_is_no_block() {
        assert!(!is_block(&quote! { pub async fn price(item: u8) -> impl Sized {} }));
        assert!(is_block(&quote! { #[cfg(test)] impl<T: Sized> Shop<T> { fn price(&self) {} } }));
    }

    #[test]
    fn methods_without_the_attribute_are_left_alone() {
        let item = quote! { impl Shop { #[tool] fn a(&self) {} fn b(&self) {} #[raptorflow_core::tool(approval)] fn c(&self) {} } };
        let written = block(&TokenStream::new(), item).ok().unwrap().to_string();
        assert!(
            written.contains("a_tool") && written.contains("c_tool") && !written.contains("b_tool"),
            "{written}"
        );
    }
}
