//! Reads a function under `#[tool]`, its options and its arguments; collects every problem with its place.

use proc_macro2::{Span, TokenStream};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitBool, LitInt, LitStr, Meta, Pat, PatType,
    Result, Type, ext::IdentExt as _, meta::ParseNestedMeta, parse::Parser as _, punctuated::Punctuated,
    spanned::Spanned as _,
};

/// The longest name of a tool; the registry of `raptorflow-core` checks the same.
const MAX_NAME: usize = 64;

/// A checked function, ready to expand.
pub(crate) struct Tool {
    /// The function without its tool options and argument attributes.
    pub(crate) function: ItemFn,
    /// The name for the model.
    pub(crate) name: String,
    /// The description for the model.
    pub(crate) description: String,
    /// The variant of `Effects`.
    pub(crate) effects: Ident,
    /// The time-out, when given.
    pub(crate) timeout_seconds: Option<u64>,
    /// Whether a person must approve each call.
    pub(crate) approval: bool,
    /// How often it may be called, when given.
    pub(crate) calls_per_minute: Option<u32>,
    /// What a call costs, when given, in a form that `Money` reads.
    pub(crate) cost: Option<LitStr>,
    /// What must have been granted, when given.
    pub(crate) needs: Option<Vec<LitStr>>,
    /// Who the tool is a method of; nobody for a free function.
    pub(crate) receiver: Option<Receiver>,
    /// Whether the first parameter is the context.
    pub(crate) takes_context: bool,
    /// The parameters that the schema has.
    pub(crate) arguments: Vec<Argument>,
}

/// How a method takes what it is called on.
#[derive(Clone, Copy)]
pub(crate) enum Receiver {
    /// By `&self`, `self: &Self` or `self: &Arc<Self>`.
    Borrowed,
    /// By `self: Arc<Self>`.
    Shared,
}

/// One parameter that the schema has.
pub(crate) struct Argument {
    /// Its name.
    pub(crate) name: Ident,
    /// Its type.
    pub(crate) of: Type,
    /// What it means, when said.
    pub(crate) description: Option<String>,
    /// Its default, when it has one.
    pub(crate) default: Option<Default>,
}

/// What stands in for an argument that is left out.
pub(crate) enum Default {
    /// The default of its type.
    OfType,
    /// A given value.
    Value(Box<Expr>),
}

/// Problems are collected, so that one compilation shows them all.
#[derive(Default)]
struct Problems(Option<Error>);

impl Problems {
    fn add(&mut self, problem: Error) {
        match &mut self.0 {
            Some(first) => first.combine(problem),
            None => self.0 = Some(problem),
        }
    }

    fn say(&mut self, at: Span, message: &str) {
        self.add(Error::new(at, message));
    }
}

/// Parses the options and the function.
pub(crate) fn tool(options: TokenStream, item: TokenStream) -> Result<Tool> {
    let mut function: ItemFn = syn::parse2(item)
        .map_err(|err| Error::new(err.span(), format!("`#[tool]` stands above a function: {err}")))?;
    let mut problems = Problems::default();
    let options = Options::parse(options).unwrap_or_else(|err| {
        problems.add(err);
        Options::default()
    });
    check_signature(&function, &mut problems);
    let receiver = receiver(&function, &mut problems);
    let (takes_context, arguments) = take_arguments(&mut function, receiver.is_some(), &mut problems);
    let name = name(&function, options.name.as_ref(), &mut problems);
    let description = paragraphs(&function.attrs).into_iter().next();
    if description.is_none() {
        problems.say(
            function.sig.ident.span(),
            "a tool needs a doc comment: its first paragraph tells the model what the tool does and when to use it",
        );
    }
    let effects = options.effects.unwrap_or_else(|| Ident::new("Read", Span::call_site()));
    match problems.0 {
        Some(problem) => Err(problem),
        None => Ok(Tool {
            function,
            name,
            description: description.unwrap_or_default(),
            effects,
            timeout_seconds: options.timeout_seconds,
            approval: options.approval,
            calls_per_minute: options.calls_per_minute,
            cost: options.cost,
            needs: options.needs,
            receiver,
            takes_context,
            arguments,
        }),
    }
}

#[derive(std::default::Default)]
struct Options {
    name: Option<LitStr>,
    effects: Option<Ident>,
    timeout_seconds: Option<u64>,
    approval: bool,
    calls_per_minute: Option<u32>,
    cost: Option<LitStr>,
    needs: Option<Vec<LitStr>>,
}

impl Options {
    fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        syn::meta::parser(|meta| options.read(&meta)).parse2(tokens)?;
        Ok(options)
    }

    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("name") {
            self.name = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("effects") {
            let text: LitStr = meta.value()?.parse()?;
            let variant = match text.value().as_str() {
                "read" => "Read",
                "write" => "Write",
                "external" => "External",
                _ => return Err(Error::new(text.span(), "expected `read`, `write` or `external`")),
            };
            self.effects = Some(Ident::new(variant, text.span()));
        } else if meta.path.is_ident("timeout_seconds") {
            let number: LitInt = meta.value()?.parse()?;
            self.timeout_seconds = match number.base10_parse()? {
                0 => return Err(Error::new(number.span(), "expected at least 1 second")),
                seconds => Some(seconds),
            };
        } else if meta.path.is_ident("approval") {
            self.approval = match meta.value() {
                Ok(value) => value.parse::<LitBool>()?.value,
                Err(_) => true,
            };
        } else if meta.path.is_ident("calls_per_minute") {
            let number: LitInt = meta.value()?.parse()?;
            self.calls_per_minute = match number.base10_parse()? {
                0 => return Err(Error::new(number.span(), "expected at least 1 call")),
                calls => Some(calls),
            };
        } else if meta.path.is_ident("cost") {
            let text: LitStr = meta.value()?.parse()?;
            if !is_money(&text.value()) {
                return Err(Error::new(text.span(), "expected an amount such as `\"0.01 USD\"`"));
            }
            self.cost = Some(text);
        } else if meta.path.is_ident("needs") {
            let names;
            let list = meta.value()?;
            syn::bracketed!(names in list);
            self.needs =
                Some(Punctuated::<LitStr, syn::Token![,]>::parse_terminated(&names)?.into_iter().collect());
        } else {
            let known =
                "`name`, `effects`, `timeout_seconds`, `approval`, `calls_per_minute`, `cost` or `needs`";
            return Err(meta.error(format!("expected {known}")));
        }
        Ok(())
    }
}

/// Whether it is an amount with at most six places and a currency, small enough to count in millionths.
fn is_money(text: &str) -> bool {
    let Some((amount, currency)) = text.split_once(' ') else { return false };
    let (units, places) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_currency = currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
    digits(units, 12) && digits(places, 6) && is_currency
}

fn name(function: &ItemFn, given: Option<&LitStr>, problems: &mut Problems) -> String {
    let ident = function.sig.ident.unraw();
    let (name, span) =
        given.map_or_else(|| (ident.to_string(), ident.span()), |text| (text.value(), text.span()));
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(usable) {
        problems.say(
            span,
            "the name of a tool is 1 to 64 of A-Z, a-z, 0-9, _ and -; give one with `name = \"…\"`",
        );
    }
    name
}

fn check_signature(function: &ItemFn, problems: &mut Problems) {
    let signature = &function.sig;
    if let Some(unsafety) = &signature.unsafety {
        problems.say(unsafety.span(), "a tool is not unsafe: a model chooses its arguments");
    }
    if let Some(constness) = &signature.constness {
        problems.say(constness.span(), "a tool is not const: it runs when a model calls it");
    }
    if let Some(abi) = &signature.abi {
        problems.say(abi.span(), "a tool is an ordinary Rust function");
    }
    if let Some(variadic) = &signature.variadic {
        problems.say(variadic.span(), "a tool has a fixed list of arguments");
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        problems.say(
            generics.params.span(),
            "a tool has no generic parameters: a model needs one schema of its arguments",
        );
    } else if let Some(clause) = &generics.where_clause {
        problems.say(clause.span(), "a tool has no where clause: a model needs one schema of its arguments");
    }
}

/// How the function takes `self`, when it is a method.
fn receiver(function: &ItemFn, problems: &mut Problems) -> Option<Receiver> {
    let receiver = function.sig.receiver()?;
    let found = match receiver.ty.as_ref() {
        Type::Reference(of)
            if of.mutability.is_none() && (is_named(&of.elem, "Self") || is_named(&of.elem, "Arc")) =>
        {
            Some(Receiver::Borrowed)
        }
        of if is_named(of, "Arc") => Some(Receiver::Shared),
        _ => None,
    };
    if found.is_none() {
        problems.say(
            receiver.span(),
            "calls of a tool share what it is a method of: take `&self` or `self: Arc<Self>`, and keep what changes \
             behind a lock",
        );
    }
    // The problem is told; the arguments are checked as those of a method all the same.
    found.or(Some(Receiver::Borrowed))
}

/// Whether a type is a path that ends in `name`.
fn is_named(of: &Type, name: &str) -> bool {
    match of {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == name),
        _ => false,
    }
}

/// Takes the attributes of arguments off the function, where the compiler does not know them.
fn take_arguments(function: &mut ItemFn, method: bool, problems: &mut Problems) -> (bool, Vec<Argument>) {
    let mut takes_context = false;
    let mut arguments = Vec::new();
    for (index, input) in function.sig.inputs.iter_mut().skip(usize::from(method)).enumerate() {
        match input {
            // The receiver was skipped, and a second one does not parse.
            FnArg::Receiver(_) => {}
            FnArg::Typed(parameter) if is_context(&parameter.ty) => {
                takes_context |= index == 0;
                if index > 0 {
                    problems.say(
                        parameter.span(),
                        "`&Context` is the first parameter of a tool, or none; `self` stands before it",
                    );
                } else if let Some(attribute) = parameter.attrs.first() {
                    problems
                        .say(attribute.span(), "the context is not part of the schema: it has no attributes");
                }
            }
            FnArg::Typed(parameter) => match argument(parameter) {
                Ok(argument) => arguments.push(argument),
                Err(problem) => problems.add(problem),
            },
        }
    }
    (takes_context, arguments)
}

fn is_context(of: &Type) -> bool {
    match of {
        Type::Reference(reference) => reference.mutability.is_none() && is_named(&reference.elem, "Context"),
        _ => false,
    }
}

fn argument(parameter: &mut PatType) -> Result<Argument> {
    let Pat::Ident(pattern) = parameter.pat.as_ref() else {
        return Err(Error::new(
            parameter.pat.span(),
            "the argument of a tool is a plain name: it becomes a key of the schema",
        ));
    };
    if let Some((at, _)) = &pattern.subpat {
        return Err(Error::new(
            at.span(),
            "the argument of a tool is a plain name: it becomes a key of the schema",
        ));
    }
    if let Some(by) = &pattern.by_ref {
        return Err(Error::new(by.span(), "the argument of a tool is owned, not `ref`"));
    }
    match parameter.ty.as_ref() {
        Type::Reference(reference) => {
            return Err(Error::new(
                reference.span(),
                "the argument of a tool is owned: `String` instead of `&str`, `Vec<T>` instead of `&[T]`",
            ));
        }
        Type::ImplTrait(of) => {
            return Err(Error::new(of.span(), "the argument of a tool has a type of its own, not `impl`"));
        }
        _ => {}
    }
    let name = pattern.ident.clone();
    let of = parameter.ty.as_ref().clone();
    let mut description = Some(paragraphs(&parameter.attrs).join("\n\n")).filter(|text| !text.is_empty());
    let mut default = None;
    for attribute in parameter
        .attrs
        .extract_if(.., |attribute| ["arg", "doc"].iter().any(|known| attribute.path().is_ident(known)))
    {
        if attribute.path().is_ident("arg") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("description") {
                    description = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("default") {
                    default = Some(match meta.value() {
                        Ok(value) => Default::Value(value.parse()?),
                        Err(_) => Default::OfType,
                    });
                } else {
                    return Err(meta.error("expected `description` or `default`"));
                }
                Ok(())
            })?;
        }
    }
    Ok(Argument { name, of, description, default })
}

/// The paragraphs of the doc comments among `attributes`, each as one line.
fn paragraphs(attributes: &[Attribute]) -> Vec<String> {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(last) if !line.is_empty() => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            _ => paragraphs.push(String::new()),
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn problems(options: TokenStream, item: TokenStream) -> Vec<String> {
        tool(options, item)
            .err()
            .map_or_else(Vec::new, |err| err.into_iter().map(|one| one.to_string()).collect())
    }

    fn check(item: TokenStream, expected: &str) {
        let found = problems(TokenStream::new(), item);
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }

    #[test]
    fn what_cannot_be_a_tool_is_refused_with_the_reason() {
        check(quote! { fn bare() -> f64 { 0.0 } }, "needs a doc comment");
        check(quote! { #[doc = "  "] fn blank() -> f64 { 0.0 } }, "needs a doc comment");
        check(quote! { #[doc = "Doc."] fn consumed(self) {} }, "share what it is a method of");
        check(quote! { #[doc = "Doc."] fn changed(&mut self) {} }, "share what it is a method of");
        check(quote! { #[doc = "Doc."] fn boxed(self: Box<Self>) {} }, "share what it is a method of");
        check(quote! { #[doc = "Doc."] fn late(&self, a: u8, ctx: &Context) {} }, "first parameter");
        check(quote! { #[doc = "Doc."] fn generic<T>(value: T) {} }, "no generic parameters");
        check(quote! { #[doc = "Doc."] fn lifetime<'a>(value: Cow<'a, str>) {} }, "no generic parameters");
        check(quote! { #[doc = "Doc."] fn clause() where u8: Copy {} }, "no where clause");
        check(quote! { #[doc = "Doc."] fn borrowed(text: &str) {} }, "`String` instead of `&str`");
        check(quote! { #[doc = "Doc."] fn opaque(text: impl Sized) {} }, "not `impl`");
        check(quote! { #[doc = "Doc."] fn pair((a, b): (u8, u8)) {} }, "plain name");
        check(quote! { #[doc = "Doc."] fn late(a: u8, ctx: &Context) {} }, "first parameter");
        check(quote! { #[doc = "Doc."] unsafe fn risky() {} }, "not unsafe");
        check(quote! { #[doc = "Doc."] const fn fixed() {} }, "not const");
        check(quote! { #[doc = "Doc."] fn prix_élevé() {} }, "1 to 64 of");
        check(quote! { #[doc = "Doc."] fn odd(#[arg(min = 1)] a: u8) {} }, "`description` or `default`");
        check(quote! { struct NoFunction; }, "stands above a function");
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let found =
            problems(quote! { effects = "maybe" }, quote! { fn bad<T>(&mut self, a: &str, (b, c): T) {} });
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn wrong_options_are_refused() {
        for (options, expected) in [
            (quote! { effects = "maybe" }, "`read`, `write` or `external`"),
            (quote! { timeout_seconds = 0 }, "at least 1 second"),
            (quote! { name = "a b" }, "1 to 64 of"),
            (
                quote! { retries = 3 },
                "`name`, `effects`, `timeout_seconds`, `approval`, `calls_per_minute`, `cost` or `needs`",
            ),
            (quote! { calls_per_minute = 0 }, "at least 1 call"),
            (quote! { cost = "0.0000001 USD" }, "an amount such as"),
            (quote! { cost = "-1 USD" }, "an amount such as"),
            (quote! { cost = "1 rupee" }, "an amount such as"),
            (quote! { needs = "mail.send" }, "square brackets"),
        ] {
            let found = problems(options, quote! { #[doc = "Doc."] fn f() {} });
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        }
    }

    #[test]
    fn the_first_paragraph_describes_and_is_one_line() {
        let item = quote! {
            #[doc = " Adds GST"]
            #[doc = " to a net amount."]
            #[doc = ""]
            #[doc = " Not for the model."]
            async fn add_gst(#[doc = " The net"] #[doc = " amount."] mut net: f64, #[arg(default)] rate: f64) {}
        };
        let parsed = tool(TokenStream::new(), item).ok().unwrap();
        assert_eq!(parsed.description, "Adds GST to a net amount.");
        assert_eq!(parsed.arguments[0].description.as_deref(), Some("The net amount."));
        assert!(matches!(parsed.arguments[1].default, Some(Default::OfType)));
    }
}
