use super::*;

#[test]
fn every_page_has_a_title_and_says_what_to_do() {
    for (code, page) in PAGES {
        assert!(
            title(code).is_some_and(|title| !title.is_empty()),
            "{code} has no title"
        );
        assert!(
            page.starts_with(&format!("# {code}\n")),
            "the page of {code} is another's"
        );
        assert!(
            page.contains("## What to do\n"),
            "the page of {code} does not say what to do"
        );
    }
}

#[test]
fn the_codes_are_in_order() {
    assert!(PAGES.is_sorted_by_key(|(code, _)| code));
    assert!(page("no_such_code").is_none());
}
