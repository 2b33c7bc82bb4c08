//! Writes the unit struct of a tool, its function, and its implementation of `Tool`.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, Lit, LitStr, ReturnType, Type, ext::IdentExt as _, spanned::Spanned as _,
};

use crate::parse::{Argument, Default, Tool};

/// Writes everything that stands in place of the function.
pub(crate) fn tool(tool: &Tool) -> TokenStream {
    let vis = &tool.function.vis;
    let ident = &tool.function.sig.ident;
    let docs = of_path(&tool.function.attrs, "doc");
    let conditions = of_path(&tool.function.attrs, "cfg");
    let run = run(tool);
    let implementation = implementation(tool);
    quote! {
        #(#conditions)*
        #(#docs)*
        #[allow(non_camel_case_types)]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #vis struct #ident;

        #(#conditions)*
        impl #ident {
            #run
        }

        #(#conditions)*
        const _: () = {
            #implementation
        };
    }
}

fn of_path<'a>(attributes: &'a [Attribute], name: &str) -> Vec<&'a Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident(name)).collect()
}

/// The function itself, under the name `run`.
fn run(tool: &Tool) -> TokenStream {
    let mut function = tool.function.clone();
    function.attrs.retain(|attribute| !attribute.path().is_ident("cfg"));
    function.sig.ident = Ident::new("run", tool.function.sig.ident.span());
    // Arguments are owned because a model sends them, whether or not the body consumes them.
    quote! {
        #[allow(clippy::needless_pass_by_value)]
        #function
    }
}

fn implementation(tool: &Tool) -> TokenStream {
    let ident = &tool.function.sig.ident;
    let (name, description, effects) = (&tool.name, &tool.description, &tool.effects);
    let timeout = tool.timeout_seconds.map_or_else(
        || quote! { ::core::option::Option::None },
        |seconds| quote! { ::core::option::Option::Some(#seconds) },
    );
    let approval = tool.approval;
    let rate = tool.calls_per_minute.map_or_else(
        || quote! { ::core::option::Option::None },
        |calls| {
            quote! {
                ::core::option::Option::Some(::raptorflow_core::types::ToolRate { calls: #calls, seconds: 60 })
            }
        },
    );
    let fields = tool.arguments.iter().map(field);
    let defaults = tool.arguments.iter().filter_map(default_function);
    let call = call(tool);
    quote! {
        #[derive(
            ::raptorflow_core::tool::macro_support::serde::Deserialize,
            ::raptorflow_core::tool::macro_support::schemars::JsonSchema,
        )]
        #[serde(crate = "::raptorflow_core::tool::macro_support::serde", deny_unknown_fields)]
        #[schemars(crate = "::raptorflow_core::tool::macro_support::schemars")]
        struct __Arguments {
            #(#fields,)*
        }

        #(#defaults)*

        #[::raptorflow_core::tool::macro_support::async_trait]
        impl ::raptorflow_core::tool::Tool for #ident {
            fn spec(&self) -> &::raptorflow_core::types::ToolSpec {
                static SPEC: ::std::sync::LazyLock<::raptorflow_core::types::ToolSpec> =
                    ::std::sync::LazyLock::new(|| {
                        let mut spec = ::raptorflow_core::tool::macro_support::spec::<__Arguments>(
                            #name,
                            #description,
                            ::raptorflow_core::types::Effects::#effects,
                            #timeout,
                        );
                        spec.approval = #approval;
                        spec.rate = #rate;
                        spec
                    });
                &SPEC
            }

            async fn call(
                &self,
                __ctx: &::raptorflow_core::runtime::Context,
                __arguments: ::raptorflow_core::tool::macro_support::Value,
            ) -> ::core::result::Result<::raptorflow_core::tool::macro_support::Value, ::raptorflow_core::Error> {
                #call
            }
        }
    }
}

fn field(argument: &Argument) -> TokenStream {
    let Argument { name, of, description, default } = argument;
    let description = description.as_ref().map(|text| quote! { #[schemars(description = #text)] });
    let default = default.as_ref().map(|default| match default {
        Default::OfType => quote! { #[serde(default)] },
        Default::Value(_) => {
            let path = LitStr::new(&default_name(name).to_string(), name.span());
            quote! { #[serde(default = #path)] }
        }
    });
    quote! { #description #default #name: #of }
}

fn default_name(argument: &Ident) -> Ident {
    format_ident!("__default_{}", argument.unraw(), span = argument.span())
}

fn default_function(argument: &Argument) -> Option<TokenStream> {
    let Some(Default::Value(value)) = &argument.default else { return None };
    let (name, of) = (default_name(&argument.name), &argument.of);
    let value = match value.as_ref() {
        // A text literal is rarely the type itself, and never needs help to infer one.
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            quote_spanned! { text.span() => ::core::convert::Into::into(#text) }
        }
        other => quote! { #other },
    };
    Some(quote! { fn #name() -> #of { #value } })
}

fn call(tool: &Tool) -> TokenStream {
    let ident = &tool.function.sig.ident;
    let context = tool.takes_context.then(|| quote! { __ctx, });
    let names = tool.arguments.iter().map(|argument| &argument.name);
    let wait = tool.function.sig.asyncness.map(|_| quote! { .await });
    let arguments = if tool.arguments.is_empty() {
        quote! { _ }
    } else {
        quote! { __arguments }
    };
    let output = &tool.function.sig.output;
    let span = match output {
        ReturnType::Default => ident.span(),
        ReturnType::Type(_, of) => of.span(),
    };
    let convert = if is_result(output) {
        quote_spanned! { span => ::raptorflow_core::tool::IntoToolResult::into_tool_result(__answer) }
    } else {
        quote_spanned! { span => {
            #[allow(unused_imports)]
            use ::raptorflow_core::tool::macro_support::{AliasOfResult as _, Plain as _};
            ::raptorflow_core::tool::macro_support::Answer(__answer).into_value()
        } }
    };
    quote! {
        let #arguments = ::raptorflow_core::tool::macro_support::arguments::<__Arguments>(&__arguments)?;
        let __answer = <#ident>::run(#context #(__arguments.#names),*) #wait;
        #convert
    }
}

/// Whether the type is spelled `Result`, by whatever path.
fn is_result(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, of) => match of.as_ref() {
            Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Result"),
            _ => false,
        },
        ReturnType::Default => false,
    }
}
