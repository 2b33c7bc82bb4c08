//! Writes what stands in place of a tool: the unit struct of a function, or what makes a tool of a method.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, Lit, LitStr, ReturnType, Type, ext::IdentExt as _, spanned::Spanned as _,
};

use crate::parse::{Argument, Default, Receiver, Tool};

/// Writes everything that stands in place of the function.
pub(crate) fn tool(tool: &Tool) -> TokenStream {
    match tool.receiver {
        Some(receiver) => method(tool, receiver),
        None => free(tool),
    }
}

fn free(tool: &Tool) -> TokenStream {
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

/// The attributes of this name.
pub(crate) fn of_path<'a>(attributes: &'a [Attribute], name: &str) -> Vec<&'a Attribute> {
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

/// The method, and beside it one that makes a tool of it and of what it is called on.
fn method(tool: &Tool, receiver: Receiver) -> TokenStream {
    let (vis, ident, function) = (&tool.function.vis, &tool.function.sig.ident, &tool.function);
    let conditions = of_path(&function.attrs, "cfg");
    let maker = maker(ident);
    let doc = format!("The method `{}` of `state` as a tool; its calls share `state`.", ident.unraw());
    let arguments = arguments(tool);
    let state = match receiver {
        Receiver::Borrowed => quote! { &__state, },
        Receiver::Shared => quote! { __state, },
    };
    let call = call(tool, &quote! { Self::#ident }, &quote! { #state }, &quote! { &__ctx, });
    quote! {
        #[allow(clippy::needless_pass_by_value)]
        #function

        #(#conditions)*
        #[doc = #doc]
        #[must_use]
        #vis fn #maker(
            state: impl ::core::convert::Into<::std::sync::Arc<Self>>,
        ) -> ::raptorflow_core::tool::FunctionTool {
            #arguments
            let __state: ::std::sync::Arc<Self> = state.into();
            ::raptorflow_core::tool::FunctionTool::new(
                ::core::clone::Clone::clone(&*SPEC),
                move |__ctx, __arguments| {
                    let __state = ::std::sync::Arc::clone(&__state);
                    async move { #call }
                },
            )
        }
    }
}

/// The name of what makes a tool of a method.
pub(crate) fn maker(method: &Ident) -> Ident {
    format_ident!("{}_tool", method.unraw(), span = method.span())
}

fn implementation(tool: &Tool) -> TokenStream {
    let ident = &tool.function.sig.ident;
    let arguments = arguments(tool);
    let call = call(tool, &quote! { <#ident>::run }, &TokenStream::new(), &quote! { __ctx, });
    quote! {
        #arguments

        #[::raptorflow_core::tool::macro_support::async_trait]
        impl ::raptorflow_core::tool::Tool for #ident {
            fn spec(&self) -> &::raptorflow_core::types::ToolSpec {
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

/// The type of the arguments with what fills those that are left out, and the spec.
fn arguments(tool: &Tool) -> TokenStream {
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
    let cost = tool.cost.as_ref().map_or_else(
        || quote! { ::core::option::Option::None },
        |cost| quote! { ::raptorflow_core::tool::macro_support::cost(#cost) },
    );
    let needs = tool.needs.as_ref().map_or_else(
        || quote! { ::core::option::Option::None },
        |names| quote! { ::core::option::Option::Some(::std::vec![#(::std::string::String::from(#names)),*]) },
    );
    let fields = tool.arguments.iter().map(field);
    let defaults = tool.arguments.iter().filter_map(default_function);
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

        static SPEC: ::std::sync::LazyLock<::raptorflow_core::types::ToolSpec> = ::std::sync::LazyLock::new(|| {
            let mut spec = ::raptorflow_core::tool::macro_support::spec::<__Arguments>(
                #name,
                #description,
                ::raptorflow_core::types::Effects::#effects,
                #timeout,
            );
            spec.approval = #approval;
            spec.rate = #rate;
            spec.cost = #cost;
            spec.needs = #needs;
            spec
        });
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

/// Calls `function` with `state`, the context where it wants one, and the arguments; gives the result.
fn call(tool: &Tool, function: &TokenStream, state: &TokenStream, context: &TokenStream) -> TokenStream {
    let ident = &tool.function.sig.ident;
    let context = tool.takes_context.then_some(context);
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
        let #arguments = match ::raptorflow_core::tool::macro_support::arguments::<__Arguments>(&__arguments) {
            ::core::result::Result::Ok(arguments) => arguments,
            ::core::result::Result::Err(err) => return ::core::result::Result::Err(err),
        };
        let __answer = #function(#state #context #(__arguments.#names),*) #wait;
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
