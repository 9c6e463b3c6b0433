//! `#[derive(Record)]`: a struct as a row, a column a field.
//!
//! In: a struct with named fields. Out: its `Record` implementation and the struct of its views. Never: names a crate other than
//! `::windrow`, so that the one who derives needs no other dependency.
//!
//! For `struct Sale { city: String, price: f64 }` it writes `struct SaleView<'a> { city: &'a str, price: f64 }` and the
//! implementation that goes from one to the other, field by field; whatever is wrong with a field's type is told at that field.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Fields, Ident, Index, Type, ext::IdentExt, parse_macro_input, spanned::Spanned};

/// Makes a struct with named fields a `windrow::Record`: each field one column of the field's name. Closures see it as the struct
/// `{Name}View<'_>`, which has the same fields: `&str` for `String`, `&[u8]` for `Vec<u8>`, numbers as they are, `Option` of these.
#[proc_macro_derive(Record)]
pub fn derive_record(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// A field: its name in Rust, the name of its column, its type.
struct Column<'a> {
    ident: &'a Ident,
    name: String,
    ty: &'a Type,
}

fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let columns = columns_of(input)?;
    let (name, visibility) = (&input.ident, &input.vis);
    let view = format_ident!("{}View", name.unraw());
    let view_doc = format!("A row of [`{name}`], as closures see it.");
    let idents: Vec<_> = columns.iter().map(|column| column.ident).collect();
    let places: Vec<_> = (0..columns.len()).map(Index::from).collect();
    let docs = columns.iter().map(|column| format!("Column `{}`.", column.name));
    // At the field's type, so that the compiler points there, and only there, when it is no column.
    let parts: Vec<_> = columns
        .iter()
        .map(|Column { ty, .. }| quote_spanned! { ty.span() => <#ty as ::windrow::dataset::record::Record> })
        .collect();
    let fields = columns.iter().map(|Column { name, ty, .. }| {
        quote_spanned! { ty.span() => ::windrow::dataset::record::field::<#ty>(#name) }
    });
    Ok(quote! {
        #[doc = #view_doc]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::cmp::PartialEq)]
        #visibility struct #view<'a> {
            #(#[doc = #docs] pub #idents: #parts::View<'a>,)*
        }

        #[automatically_derived]
        impl ::windrow::dataset::record::Record for #name {
            type View<'a> = #view<'a>;
            type Reader = (#(#parts::Reader,)*);
            type Builder = (#(#parts::Builder,)*);
            const IS_NAMED: bool = true;

            fn fields() -> ::std::vec::Vec<::windrow::dataset::record::Field> {
                ::std::vec![#(#fields),*]
            }
            fn reader(columns: &mut ::windrow::dataset::record::Columns<'_>) -> ::windrow::Result<Self::Reader> {
                ::core::result::Result::Ok((#(#parts::reader(columns)?,)*))
            }
            #[inline]
            fn view(reader: &Self::Reader, row: usize) -> #view<'_> {
                #view { #(#idents: #parts::view(&reader.#places, row),)* }
            }
            fn builder(rows: usize) -> Self::Builder {
                (#(#parts::builder(rows),)*)
            }
            #[inline]
            fn append(builder: &mut Self::Builder, view: #view<'_>) {
                #(#parts::append(&mut builder.#places, view.#idents);)*
            }
            fn finish(builder: Self::Builder, columns: &mut ::std::vec::Vec<::windrow::dataset::record::ArrayRef>) {
                #(#parts::finish(builder.#places, columns);)*
            }
            #[inline]
            fn as_view(&self) -> #view<'_> {
                #view { #(#idents: #parts::as_view(&self.#idents),)* }
            }
            #[inline]
            fn from_view(view: #view<'_>) -> Self {
                #name { #(#idents: #parts::from_view(view.#idents),)* }
            }
        }
    })
}

/// The struct's fields, or what is wrong with it, told at its place.
fn columns_of(input: &DeriveInput) -> Result<Vec<Column<'_>>, Error> {
    let at = |span: Span, message: &str| Err(Error::new(span, message));
    let name = input.ident.span();
    if !input.generics.params.is_empty() {
        return at(input.generics.span(), "a record has no type or lifetime parameters: its columns are fixed");
    }
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) => return at(name, "a record is a struct with named fields; an enum has no columns"),
        Data::Union(_) => return at(name, "a record is a struct with named fields; a union has no columns"),
    };
    let named = match fields {
        Fields::Named(named) if !named.named.is_empty() => &named.named,
        Fields::Named(_) | Fields::Unit => return at(name, "a record has at least one field: its rows need a column"),
        Fields::Unnamed(_) => {
            return at(name, "a record names its fields, which name its columns; a tuple is a record without deriving");
        }
    };
    let mut columns = Vec::with_capacity(named.len());
    let mut errors: Option<Error> = None;
    for field in named {
        let Some(ident) = &field.ident else { continue };
        match wrong_with(&field.ty) {
            None => columns.push(Column { ident, name: ident.unraw().to_string(), ty: &field.ty }),
            Some(message) => {
                let error = Error::new(field.ty.span(), message);
                match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                }
            }
        }
    }
    errors.map_or(Ok(columns), Err)
}

/// What can be seen to be wrong with a field's type; the compiler finds the rest by its traits.
fn wrong_with(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Reference(_) => Some("a record owns its values: write String for &str, Vec<u8> for &[u8]"),
        Type::Tuple(_) => Some("a record is flat: give each part of the tuple a field of its own"),
        Type::Array(_) | Type::Slice(_) => Some("a record's field is one value: no arrays, only Vec<u8> as bytes"),
        Type::Ptr(_) | Type::BareFn(_) | Type::TraitObject(_) | Type::ImplTrait(_) | Type::Never(_) => {
            Some("a record's field is a value that can stand in a column")
        }
        Type::Group(group) => wrong_with(&group.elem),
        Type::Paren(paren) => wrong_with(&paren.elem),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn expanded(text: TokenStream) -> Result<String, String> {
        let input = syn::parse2(text).unwrap();
        expand(&input)
            .map(|tokens| tokens.to_string())
            .map_err(|error| error.into_iter().map(|error| error.to_string()).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn writes_a_view_and_an_implementation() {
        let text = expanded(quote! { pub struct Sale { pub city: String, r#type: Option<i64> } }).unwrap();
        assert!(text.contains("pub struct SaleView < 'a >"), "{text}");
        assert!(text.contains("impl :: windrow :: dataset :: record :: Record for Sale"), "{text}");
        assert!(text.contains("field :: < Option < i64 > > (\"type\")"), "{text}");
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |text: TokenStream, word: &str| {
            let message = expanded(text).unwrap_err();
            assert!(message.contains(word), "{message}");
        };
        wrong(quote! { enum E { A } }, "enum");
        wrong(quote! { struct T(i64); }, "names its fields");
        wrong(quote! { struct U; }, "at least one field");
        wrong(quote! { struct U {} }, "at least one field");
        wrong(quote! { struct G<T> { t: T } }, "parameters");
        wrong(quote! { struct R { name: &'static str, pair: (i64, i64) } }, "String for &str");
        wrong(quote! { struct R { name: &'static str, pair: (i64, i64) } }, "flat");
        wrong(quote! { struct A { values: [f64; 3] } }, "arrays");
    }
}
