use super::*;

#[test]
fn only_the_same_token_is_the_same() {
    assert!(is_same("secret", "secret"));
    assert!(!is_same("secret", "secre"));
    assert!(!is_same("", "secret"));
}

#[test]
fn an_id_of_the_caller_is_kept_where_it_is_one() {
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("order-17.a"));
    assert_eq!(request_id(&headers), "order-17.a");
    headers.insert(REQUEST_ID, HeaderValue::from_static("two words"));
    assert_ne!(request_id(&headers), "two words");
    let long = HeaderValue::from_str(&"x".repeat(REQUEST_ID_BYTES_MAX + 1)).expect("a header");
    headers.insert(REQUEST_ID, long);
    assert!(request_id(&headers).len() <= REQUEST_ID_BYTES_MAX);
}

#[test]
fn this_machine_has_three_names() {
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
    ] {
        assert!(names_this_machine(host), "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:1",
    ] {
        assert!(!names_this_machine(host), "{host}");
    }
}
