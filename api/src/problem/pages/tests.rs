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

#[test]
fn every_page_in_the_folder_is_served() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors")).unwrap();
    for file in folder {
        let name = file.unwrap().file_name().into_string().unwrap();
        let code = name.strip_suffix(".md").unwrap();
        assert!(
            page(code).is_some() || ["README", "steps"].contains(&code),
            "{name} is not served"
        );
    }
}
