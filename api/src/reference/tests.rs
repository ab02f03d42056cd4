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
        "<p><strong>Used before.</strong> See <a href=\"/docs/errors\">the list</a>.</p>",
        "<h2>What to do</h2>",
        "<p>Take <code>another</code>.</p>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn words_in_brackets_that_are_no_link_stay() {
    assert_eq!(linked("[x] and [y](z) and ["), "[x] and y and [");
    assert_eq!(linked("see [y](../z.md)"), "see y");
}

#[test]
fn codes_lead_to_their_pages_from_tables_and_from_routes() {
    let page = text_page(
        "Errors",
        "# Errors\n\n| code | |\n| --- | --- |\n| [bad_id](bad_id.md) | An id |\n",
    );
    let link = "<a href=\"/docs/errors/bad_id\">";

    assert!(
        page.contains(&format!("<tr><td>{link}bad_id</a><td>An id</table>")),
        "{page}"
    );
    assert_eq!(
        with_codes("`bad_id`, `EventSource` <"),
        format!("{link}<code>bad_id</code></a>, <code>EventSource</code> &lt;")
    );
}
