//! Pages for people: the API's reference, made from its OpenAPI document, and the pages about error codes. Readable
//! without scripts, and nothing is loaded from anywhere.

use crate::problem::pages;
use std::fmt::Write;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::{Content, OpenApi, RefOr};

/// What stands at `/`.
pub(crate) const FRONT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Longhaul</title>\
<p>This is a Longhaul server. <a href=\"/docs\">Its API</a> · <a href=\"/openapi.json\">OpenAPI 3.1</a></p></html>";

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h2 { margin-top: 3rem; border-bottom: 1px solid #8886; }
h3 { margin-top: 2rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: 4px; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8883; }
p code { overflow-wrap: anywhere; }
.method { font-weight: 700; }
nav ul { padding-left: 1.2rem; }
@media (min-width: 56rem) { nav ul { columns: 2; column-gap: 2rem; } }
@media (max-width: 40rem) {
  table, tbody, tr { display: block; }
  tr { border-bottom: 1px solid #8883; padding: .25rem 0; }
  th, td { display: inline; border: 0; }
}
";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Escaped, with what stands in backticks as code.
fn marked(text: &str) -> String {
    between(text, "`", |part, is_code| {
        let part = escaped(part);
        if is_code {
            format!("<code>{part}</code>")
        } else {
            between(&part, "**", |part, is_strong| {
                if is_strong {
                    format!("<strong>{part}</strong>")
                } else {
                    part.to_owned()
                }
            })
        }
    })
}

/// Every second part between the marks is another's.
fn between(text: &str, mark: &str, write: impl Fn(&str, bool) -> String) -> String {
    let parts = text.split(mark).enumerate();
    parts.map(|(index, part)| write(part, index % 2 == 1)).collect()
}

/// Marked, with links to pages about errors. Other links lead to files that are not served: their words stay.
fn linked(text: &str) -> String {
    let text = marked(text);
    let mut html = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((head, tail)) = rest.split_once("](") {
        let (Some((before, words)), Some((target, after))) = (head.rsplit_once('['), tail.split_once(')')) else {
            break;
        };
        html.push_str(before);
        let _ = match target.strip_suffix(".md") {
            Some("README") => write!(html, "<a href=\"/docs/errors\">{words}</a>"),
            Some(code) if code == "steps" || pages::page(code).is_some() => html.write_str(&link_to(code, words)),
            Some(_) | None => html.write_str(words),
        };
        rest = after;
    }
    html + rest
}

fn link_to(code: &str, words: &str) -> String {
    format!("<a href=\"/docs/errors/{code}\">{words}</a>")
}

/// Marked, with each error's code as a link to its page.
fn with_codes(text: &str) -> String {
    between(text, "`", |part, is_code| match (is_code, escaped(part)) {
        (true, part) if pages::page(&part).is_some() => link_to(&part, &format!("<code>{part}</code>")),
        (true, part) => format!("<code>{part}</code>"),
        (false, part) => part,
    })
}

fn document(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head>\n<body>{body}</body></html>\n"
    )
}

/// A page about an error code, from its Markdown.
pub(crate) fn text_page(code: &str, markdown: &str) -> String {
    let mut body = String::from("<p><a href=\"/docs\">Longhaul's API</a> · <a href=\"/docs/errors\">Errors</a></p>");
    for paragraph in markdown.split("\n\n").map(str::trim).filter(|text| !text.is_empty()) {
        let _ = if let Some(title) = paragraph.strip_prefix("# ") {
            write!(body, "<h1>{}</h1>", marked(title))
        } else if let Some(title) = paragraph.strip_prefix("## ") {
            write!(body, "<h2>{}</h2>", marked(title))
        } else if let Some((_, block)) = paragraph.strip_prefix("```").and_then(|block| block.split_once('\n')) {
            write!(body, "<pre>{}</pre>", escaped(block.trim_end_matches("```").trim_end()))
        } else if paragraph.starts_with('|') {
            write_table(&mut body, paragraph)
        } else {
            write!(body, "<p>{}</p>", linked(paragraph))
        };
    }
    document(code, &body)
}

fn write_table(body: &mut String, table: &str) -> std::fmt::Result {
    body.push_str("<table>");
    let rows = table.lines().filter(|row| !row.starts_with("| ---"));
    for (row, cell_tag) in rows.zip(std::iter::once("th").chain(std::iter::repeat("td"))) {
        body.push_str("<tr>");
        for cell in row.trim().trim_start_matches('|').trim_end_matches('|').split('|') {
            write!(body, "<{cell_tag}>{}", linked(cell.trim()))?;
        }
    }
    body.write_str("</table>")
}

/// The reference.
pub(crate) fn page(api: &OpenApi) -> String {
    let mut operations = Vec::new();
    for (path, item) in &api.paths.paths {
        for (method, operation) in [("GET", &item.get), ("POST", &item.post)] {
            operations.extend(operation.as_ref().map(|operation| (method, path.as_str(), operation)));
        }
    }
    let mut body = format!(
        "<h1>Longhaul's API</h1><p>Version {}. {}</p><p>For programs: <a href=\"/openapi.json\">OpenAPI 3.1</a>. \
         All <a href=\"/docs/errors\">error codes</a>.</p>",
        escaped(&api.info.version),
        marked(api.info.description.as_deref().unwrap_or_default()),
    );
    write_access(&mut body, api);
    let tags: Vec<_> = api.tags.iter().flatten().collect();
    let of_tag = |tag: &str| -> Vec<_> {
        let has = |operation: &Operation| operation.tags.iter().flatten().any(|name| name == tag);
        let all = operations.iter().copied();
        all.filter(|(_, _, operation)| has(operation)).collect()
    };
    body.push_str("<nav><ul>");
    for tag in &tags {
        for (method, path, operation) in of_tag(&tag.name) {
            let id = operation.operation_id.as_deref().unwrap_or_default();
            let _ = write!(body, "<li><a href=\"#{id}\">{method} {}</a>", escaped(path));
        }
    }
    body.push_str("</ul></nav>");
    for tag in &tags {
        let _ = write!(
            body,
            "<h2>{}</h2><p>{}</p>",
            escaped(&tag.name),
            marked(tag.description.as_deref().unwrap_or_default())
        );
        for (method, path, operation) in of_tag(&tag.name) {
            write_operation(&mut body, (method, path), operation);
        }
    }
    write_schemas(&mut body, api);
    document("Longhaul's API", &body)
}

/// How to get in, where a token is asked for.
fn write_access(body: &mut String, api: &OpenApi) {
    let is_open = api
        .components
        .as_ref()
        .is_none_or(|components| components.security_schemes.is_empty());
    body.push_str(if is_open {
        "<p>With the address of this server in <code>LONGHAUL</code>:</p><pre>curl $LONGHAUL/v1/runs</pre>"
    } else {
        "<p>Everything under <code>/v1</code> asks for <code>Authorization: Bearer TOKEN</code>. With the address of this \
         server in <code>LONGHAUL</code> and the token in <code>TOKEN</code>:</p>\
         <pre>curl -H &quot;Authorization: Bearer $TOKEN&quot; $LONGHAUL/v1/runs</pre>"
    });
}

fn write_operation(body: &mut String, (method, path): (&str, &str), operation: &Operation) {
    let _ = write!(
        body,
        "<h3 id=\"{}\">{}</h3><p><span class=\"method\">{method}</span> <code>{}</code></p><p>{}</p>",
        operation.operation_id.as_deref().unwrap_or_default(),
        escaped(operation.summary.as_deref().unwrap_or_default()),
        escaped(path),
        marked(operation.description.as_deref().unwrap_or_default()),
    );
    if let Some(parameters) = operation
        .parameters
        .as_deref()
        .filter(|parameters| !parameters.is_empty())
    {
        body.push_str("<table><tr><th>parameter<th>in<th>what");
        for parameter in parameters {
            if let RefOr::T(parameter) = parameter {
                write_parameter(body, parameter);
            }
        }
        body.push_str("</table>");
    }
    if let Some(RefOr::T(request)) = &operation.request_body {
        for (content_type, content) in &request.content {
            let shape = reference(Some(content));
            let _ = write!(body, "<p>Body: <code>{}</code>{shape}</p>", escaped(content_type));
        }
    }
    body.push_str("<table><tr><th>status<th>what");
    for (status, response) in &operation.responses.responses {
        if let RefOr::T(response) = response {
            let shape = reference(response.content.values().next());
            let _ = write!(body, "<tr><td>{status}<td>{}{shape}", with_codes(&response.description));
        }
    }
    body.push_str("</table>");
}

fn write_parameter(body: &mut String, parameter: &Parameter) {
    let place = match parameter.parameter_in {
        ParameterIn::Path => "path",
        ParameterIn::Query => "query",
        ParameterIn::Header => "header",
        ParameterIn::Cookie => "cookie",
        ParameterIn::QueryString => "query string",
    };
    let what = parameter.description.as_deref().unwrap_or_default();
    let _ = write!(
        body,
        "<tr><td><code>{}</code><td>{place}<td>{}",
        escaped(&parameter.name),
        marked(what)
    );
}

/// A link to a content's schema, where that has a name.
fn reference(content: Option<&RefOr<Content>>) -> String {
    let named = match content {
        Some(RefOr::T(content)) => content.schema.as_ref(),
        Some(RefOr::Ref(_)) | None => None,
    };
    match named {
        Some(RefOr::Ref(named)) => {
            let name = named.ref_location.rsplit('/').next().unwrap_or_default();
            format!(" → <a href=\"#schema-{name}\">{name}</a>")
        }
        Some(RefOr::T(_)) | None => String::new(),
    }
}

fn write_schemas(body: &mut String, api: &OpenApi) {
    body.push_str("<h2>Shapes</h2><p>As JSON Schema.</p>");
    for (name, schema) in api.components.iter().flat_map(|components| &components.schemas) {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ = write!(
            body,
            "<h3 id=\"schema-{name}\">{name}</h3><details><summary>{name} as JSON Schema</summary><pre>{}</pre></details>",
            escaped(&text)
        );
    }
}

#[cfg(test)]
mod tests;
