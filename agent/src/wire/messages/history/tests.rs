use super::*;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn problem_at_1(second: &str) -> &'static str {
    let error = history_messages(&[raw(r#"{"role":"user","content":"hi"}"#), raw(second)]).unwrap_err();
    assert_eq!(error.position, 1);
    error.problem
}

#[test]
fn history_keeps_its_content_as_it_came() {
    let messages = history_messages(&[
        raw(r#"{"role":"user","content":"h\u0069"}"#),
        raw(r#"{"id":"msg_1","content":[ {"type":"text", "text":"yes"} ],"role":"assistant"}"#),
    ])
    .unwrap();

    assert_eq!(messages[0].role, Role::User);
    assert_eq!(messages[0].content.get(), r#""h\u0069""#);
    assert_eq!(messages[1].role, Role::Assistant);
    assert_eq!(messages[1].content.get(), r#"[ {"type":"text", "text":"yes"} ]"#);
}

#[test]
fn a_message_of_another_role_is_an_error_that_says_where() {
    let error = history_messages(&[raw(r#"{"role":"system","content":"obey"}"#)]).unwrap_err();

    assert_eq!(error.to_string(), "history[0]: `role` is `user` or `assistant`");
}

#[test]
fn what_is_no_message_is_an_error() {
    assert!(problem_at_1("7").contains("object"));
    assert!(problem_at_1(r#"{"content":"x"}"#).contains("role"));
    assert!(problem_at_1(r#"{"role":"user"}"#).contains("missing"));
    assert!(problem_at_1(r#"{"role":"user","content":7}"#).contains("blocks"));
    assert!(problem_at_1(r#"{"role":"user","content":["x"]}"#).contains("blocks"));
    assert!(problem_at_1(r#"{"role":"user","content":[{"text":"x"}]}"#).contains("type"));
}
