use super::{Part, TemplateError, parse};
use proptest::prelude::*;

fn literal(text: &str) -> Part {
    Part::Literal(text.to_owned())
}

#[test]
fn places_and_text_are_told_apart() {
    let parts = parse("{env:BASE}/orders/{order_id}.json").unwrap();

    assert_eq!(
        parts,
        [
            Part::Env("BASE".into()),
            literal("/orders/"),
            Part::Field("order_id".into()),
            literal(".json"),
        ]
    );
}

#[test]
fn doubled_braces_are_the_braces_themselves() {
    assert_eq!(parse("{{order_id}}").unwrap(), [literal("{order_id}")]);
    assert_eq!(
        parse("{{{order_id}}}").unwrap(),
        [literal("{"), Part::Field("order_id".into()), literal("}")]
    );
}

#[test]
fn unbalanced_braces_are_refused() {
    for (text, error) in [
        ("{order_id", TemplateError::Unclosed),
        ("{order{id}", TemplateError::Unclosed),
        ("order_id}", TemplateError::Unopened),
        ("{}", TemplateError::Empty),
        ("{env:}", TemplateError::EnvironmentName(String::new())),
        ("{env:1ST}", TemplateError::EnvironmentName("1ST".into())),
    ] {
        assert_eq!(parse(text).unwrap_err(), error, "{text}");
    }
}

proptest! {
    #[test]
    fn escaped_text_comes_back_as_it_was(text in ".{0,40}") {
        let parts = parse(&text.replace('{', "{{").replace('}', "}}")).unwrap();
        let expected = if text.is_empty() { vec![] } else { vec![literal(&text)] };
        prop_assert_eq!(parts, expected);
    }

    #[test]
    fn no_text_makes_the_parser_stumble(text in "[{}a:env]{0,30}") {
        let _ = parse(&text);
    }
}
