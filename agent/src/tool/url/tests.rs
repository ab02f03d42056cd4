use super::UrlTemplate;
use proptest::prelude::*;
use serde_json::{Value, json};

fn rendered(template: &str, input: &Value) -> Result<String, String> {
    UrlTemplate::parse(template).unwrap().render(input.as_object().unwrap())
}

#[test]
fn a_field_is_encoded_byte_by_byte() {
    let url = rendered("https://shop.test/orders/{id}", &json!({"id": "a/b?c#d e&%ü"})).unwrap();

    assert_eq!(url, "https://shop.test/orders/a%2Fb%3Fc%23d%20e%26%25%C3%BC");
}

#[test]
fn numbers_and_booleans_are_written_as_text() {
    let url = rendered("https://shop.test/{page}/{all}", &json!({"page": 12, "all": true})).unwrap();

    assert_eq!(url, "https://shop.test/12/true");
}

#[test]
fn a_path_segment_cannot_be_made_empty_or_a_step_through_the_tree() {
    for template in [
        "https://shop.test/orders/{id}",
        "https://shop.test/{id}/orders",
        "{env:BASE}/{id}?all=1",
    ] {
        for value in ["", ".", ".."] {
            let error = rendered(template, &json!({"id": value})).unwrap_err();
            assert!(error.starts_with("/id: "), "{template} with {value:?}: {error}");
        }
    }
    assert!(rendered("https://shop.test/.{id}", &json!({"id": "."})).is_err());
    assert!(rendered("https://shop.test/%2e{id}", &json!({"id": "."})).is_err());
    assert!(rendered("https://shop.test/{env:PREFIX}{id}", &json!({"id": ".."})).is_err());
}

#[test]
fn dots_and_nothing_are_fine_where_they_lead_nowhere() {
    for (template, value) in [
        ("https://shop.test/search?q={id}", ""),
        ("https://shop.test/search?q={id}", ".."),
        ("https://shop.test/orders/{id}.json", ""),
        ("https://shop.test/orders/{id}", "..."),
        ("https://shop.test/orders/{id}", "%2e%2e"),
    ] {
        rendered(template, &json!({"id": value})).unwrap();
    }
}

#[test]
fn what_is_no_text_is_refused_by_its_name() {
    for value in [json!(null), json!([1]), json!({})] {
        let error = rendered("https://shop.test/{id}", &json!({"id": value})).unwrap_err();
        assert_eq!(error, "/id: must be text, a number or a boolean");
    }
    assert_eq!(
        rendered("https://shop.test/{id}", &json!({})).unwrap_err(),
        "/id: is missing"
    );
}

#[test]
fn a_field_stands_behind_the_host_only() {
    for template in [
        "https://{id}/orders",
        "https://shop.test{id}/orders",
        "https://{id}.shop.test/",
        "https://shop.test:{id}/",
        "{env:BASE}{id}",
        "{env:SCHEME}://{id}/x",
        "{env:SCHEME}://{env:HOST}{id}/x",
        "https://shop.test{id}",
    ] {
        assert!(
            UrlTemplate::parse(template)
                .unwrap_err()
                .contains("before the end of the host"),
            "{template}"
        );
    }
    for template in [
        "https://shop.test/{id}",
        "https://shop.test?id={id}",
        "{env:BASE}/{id}",
        "{env:SCHEME}://{env:HOST}/{id}",
    ] {
        assert_eq!(
            UrlTemplate::parse(template).unwrap().fields().collect::<Vec<_>>(),
            ["id"],
            "{template}"
        );
    }
}

#[test]
fn what_is_no_url_is_refused() {
    for template in [
        "",
        "/orders",
        "ftp://shop.test/",
        "{id}",
        "shop.test/{id}",
        "https://shop.test/#top",
        "https://user:secret@shop.test/",
        "https://shop.test/a b",
        "https://shop.test\\@evil.test/",
        "https://shop.test/%{id}",
        "https://shop.test/%2{id}",
        "https://shop.test/{id",
        "é/",
    ] {
        assert!(UrlTemplate::parse(template).is_err(), "{template}");
    }
}

#[test]
fn braces_of_the_author_do_not_become_references() {
    assert_eq!(
        rendered("https://shop.test/{{env:HOME}}", &json!({})).unwrap(),
        "https://shop.test/%7Benv:HOME%7D"
    );
}

proptest! {
    #[test]
    fn no_value_changes_where_a_url_leads(value in any::<String>(), dots in r"[./\\%2eE?#@:{}]{0,8}") {
        for value in [value, dots] {
            if let Ok(url) = rendered("https://shop.test/orders/{id}/lines?sort={id}", &json!({"id": value})) {
                let inner = url.strip_prefix("https://shop.test/orders/").unwrap();
                let (segment, query) = inner.split_once("/lines?sort=").unwrap();
                prop_assert_eq!(segment, query);
                prop_assert!(!["", ".", ".."].contains(&segment));
                prop_assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            }
        }
    }

    #[test]
    fn no_template_makes_the_parser_stumble(text in "(https?://|\\{env:A\\})?[a-z{}:/?#@%é.]{0,24}") {
        if let Ok(template) = UrlTemplate::parse(&text) {
            let _ = template.render(json!({"a": "x"}).as_object().unwrap());
        }
    }
}
