use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn detail<T>(read: Result<T, Problem>) -> String {
    read.err().unwrap().detail().to_owned()
}

#[test]
fn a_value_of_another_type_is_told_with_its_field() {
    let body =
        raw(r#"{"agent": 7, "priority": "high", "due_at": "soon", "labels": {"a": 1}, "runs": {}, "long": [1]}"#);
    let fields = Fields::of_body(&body).unwrap();

    assert_eq!(detail(fields.text("agent")), "agent: expected text, found 7");
    assert_eq!(
        detail(fields.whole("priority")),
        "priority: expected a whole number of 32 bits, found \"high\""
    );
    assert_eq!(
        detail(fields.instant("due_at")),
        "due_at: expected an instant such as \"2026-01-31T08:00:00Z\", found \"soon\""
    );
    assert_eq!(detail(fields.texts("labels")), "labels.a: expected text, found 1");
    assert_eq!(detail(fields.array("runs")), "runs: expected an array, found an object");
    assert_eq!(detail(fields.text("long")), "long: expected text, found an array");
    assert_eq!(fields.text("absent").unwrap(), None);
}

#[test]
fn only_objects_have_fields_and_each_once() {
    assert_eq!(
        detail(Fields::of_body(&raw(r#"["greeter"]"#))),
        "the body: expected an object, found an array"
    );
    assert_eq!(
        detail(Fields::of_body(&raw(r#"{"a": 1, "a": 2}"#))),
        "a stands there twice"
    );
}

#[test]
fn whole_numbers_are_read_however_they_are_written() {
    for (text, expected) in [
        ("7", Some(7)),
        ("7.0", Some(7)),
        ("7e1", Some(70)),
        ("7.5", None),
        ("3e9", None),
    ] {
        assert_eq!(whole(&raw(text)), expected, "{text}");
    }
}
