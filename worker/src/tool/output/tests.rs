use super::{Seen, Total, admit, head, tail};
use crate::tool::secrets::Secrets;
use agent::tool::OUTPUT_BYTES_MAX;

#[test]
fn clean_text_passes_unchanged() {
    let outcome = admit(Seen::whole("{\"größe\":1}".as_bytes()), &Secrets::default());

    assert_eq!(outcome.content, "{\"größe\":1}");
    assert_eq!(outcome.notes, Vec::<String>::new());
    assert!(!outcome.is_error);
}

#[test]
fn what_is_not_utf_8_is_replaced_and_said() {
    let outcome = admit(Seen::whole(b"caf\xe9!"), &Secrets::default());

    assert_eq!(outcome.content, "caf\u{FFFD}!");
    assert_eq!(outcome.notes, ["bytes that are not UTF-8 were replaced by U+FFFD"]);
}

#[test]
fn a_nul_is_replaced_and_said_while_an_escaped_one_is_only_text() {
    let outcome = admit(Seen::whole(b"a\0b \\u0000"), &Secrets::default());

    assert_eq!(outcome.content, "a\u{FFFD}b \\u0000");
    assert_eq!(outcome.notes, ["NUL characters were replaced by U+FFFD"]);
}

#[test]
fn a_long_output_is_cut_between_characters_within_the_bound_and_says_so() {
    let long = "é".repeat(OUTPUT_BYTES_MAX);

    let outcome = admit(Seen::whole(long.as_bytes()), &Secrets::default());

    assert!(outcome.content.len() <= OUTPUT_BYTES_MAX);
    assert!(
        outcome.content.ends_with(&format!(" of {} bytes shown]", long.len())),
        "{}",
        tail(&outcome.content, 80)
    );
    assert!(outcome.notes[0].starts_with("cut: "), "{:?}", outcome.notes);
    assert!(!outcome.content.contains('\u{FFFD}'));
}

#[test]
fn an_output_that_is_no_text_is_not_shown_but_told_of() {
    let picture: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for bytes in [&picture[..], &[0; 17], &[0xff; OUTPUT_BYTES_MAX + 1]] {
        let seen = Seen {
            called: Some("image/png"),
            ..Seen::whole(bytes)
        };

        let outcome = admit(seen, &Secrets::default());

        let told = format!("not shown: {} bytes that are not text (image/png)", bytes.len());
        assert_eq!(outcome.content, format!("[{told}]"));
        assert_eq!(outcome.notes, [told]);
    }
}

#[test]
fn a_few_broken_bytes_do_not_make_a_text_unreadable() {
    for text in [
        &b"caf\xe9 \xff\xff\xff"[..],
        &[b"0123456789\xff".as_slice(); 40].concat(),
    ] {
        assert!(
            !admit(Seen::whole(text), &Secrets::default())
                .content
                .starts_with("[not shown")
        );
    }
}

#[test]
fn an_output_of_exactly_the_bound_is_not_cut() {
    let exact = "x".repeat(OUTPUT_BYTES_MAX);

    assert_eq!(admit(Seen::whole(exact.as_bytes()), &Secrets::default()).content, exact);
}

#[test]
fn replacing_bytes_does_not_grow_the_output_past_the_bound() {
    let broken: Vec<u8> = b"eleven char\xff"
        .iter()
        .copied()
        .cycle()
        .take(OUTPUT_BYTES_MAX)
        .collect();

    assert!(admit(Seen::whole(&broken), &Secrets::default()).content.len() <= OUTPUT_BYTES_MAX);
}

#[test]
fn a_character_broken_by_the_end_of_reading_is_not_called_invalid() {
    let seen = Seen {
        bytes: &"aé".as_bytes()[..2],
        total: Total::MoreThan(2),
        called: None,
    };

    let outcome = admit(seen, &Secrets::default());

    assert_eq!(outcome.content, "a\n[cut: 1 of more than 2 bytes shown]");
    assert_eq!(outcome.notes, ["cut: 1 of more than 2 bytes shown"]);
}

#[test]
fn a_value_from_the_environment_is_hidden_even_across_the_cut() {
    let mut secrets = Secrets::default();
    secrets.remember("TOKEN", "s3cret-token");
    let text = format!("{}s3cret-token", "x".repeat(OUTPUT_BYTES_MAX - 134));

    let outcome = admit(Seen::whole(text.as_bytes()), &secrets);

    assert!(!outcome.content.contains("s3cret"));
    assert!(
        outcome
            .notes
            .contains(&"values from the environment were replaced by their names".to_owned())
    );
}

#[test]
fn quotes_begin_and_end_between_characters() {
    assert_eq!(head("aéb", 2), "a");
    assert_eq!(tail("aéb", 2), "b");
    assert_eq!(head("ab", 9), "ab");
    assert_eq!(tail("ab", 9), "ab");
}
