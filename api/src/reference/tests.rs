use super::*;

#[test]
fn what_comes_from_outside_is_escaped() {
    assert_eq!(marked("a < b & `<i>`"), "a &lt; b &amp; <code>&lt;i&gt;</code>");
}

#[test]
fn a_page_of_an_error_is_a_page() {
    let page = text_page(
        "key_reused",
        "# key_reused\n\n**Used before.** See [the list](README.md).\n\n## What to do\n\nTake `another`.\n",
    );

    for part in [
        "<h1>key_reused</h1>",
        "<p><strong>Used before.</strong> See the list.</p>",
        "<h2>What to do</h2>",
        "<p>Take <code>another</code>.</p>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn words_in_brackets_that_are_no_link_stay() {
    assert_eq!(without_links("[x] and [y](z) and ["), "[x] and y and [");
    assert_eq!(without_links("see [y](z)"), "see y");
}
