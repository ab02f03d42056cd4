use super::Secrets;

#[test]
fn a_value_is_hidden_in_every_form_in_which_it_may_come_back() {
    let mut secrets = Secrets::default();
    secrets.remember("TOKEN", "s3cret \"key\"/é");

    for echoed in [
        "plain s3cret \"key\"/é here",
        r#"{"token":"s3cret \"key\"/é"}"#,
        "https://host/?t=s3cret%20%22key%22/%C3%A9",
        "t=s3cret+%22key%22%2F%C3%A9",
    ] {
        let hidden = secrets.hide(echoed.to_owned());
        assert!(hidden.contains("{env:TOKEN}"), "not hidden: {hidden}");
        assert!(!hidden.contains("s3cret"), "still there: {hidden}");
    }
}

#[test]
fn a_value_inside_a_longer_one_does_not_leave_half_of_it_behind() {
    let mut secrets = Secrets::default();
    secrets.remember("SHORT", "abcdef");
    secrets.remember("LONG", "abcdef-123456");

    assert_eq!(secrets.hide("abcdef-123456 abcdef".into()), "{env:LONG} {env:SHORT}");
}

#[test]
fn a_word_too_short_to_be_a_secret_does_not_garble_text() {
    let mut secrets = Secrets::default();
    secrets.remember("STAGE", "prod");

    assert_eq!(secrets.hide("a product".into()), "a product");
}

#[test]
fn its_debug_form_shows_nothing() {
    let mut secrets = Secrets::default();
    secrets.remember("TOKEN", "s3cret-key");

    assert!(!format!("{secrets:?}").contains("s3cret"));
}
