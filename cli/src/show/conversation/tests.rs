use super::*;

fn message(text: &str) -> MessageRow {
    MessageRow {
        position: 1,
        role: "tool".to_owned(),
        tool: Some("read_refund_policy".to_owned()),
        is_error: false,
        text: Some(text.to_owned()),
        content: None,
        step_seq: None,
    }
}

#[test]
fn a_long_message_is_cut_and_says_so() {
    let told = of(&[message("1\n\n2\n3\n4")], 3);
    let lines: Vec<&str> = told.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines[..3], ["1", "2", "3"]);
    assert!(lines[3].contains('…'), "{told}");
}

#[test]
fn a_message_that_fits_is_whole() {
    let told = of(&[message("1\n2\n3")], 3);
    assert!(told.ends_with("    3"), "{told}");
}

#[test]
fn a_message_cannot_write_over_what_stands_before_it() {
    let told = of(&[message("paid\rnot paid\u{1b}[1A")], 3);
    assert!(told.ends_with("    paid\\rnot paid\\u{1b}[1A"), "{told}");
}
