//! A walk over every schema within a schema.

use serde_json::Value;

/// Keywords that hold one schema.
const SINGLE: [&str; 12] = [
    "items",
    "additionalProperties",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
    "additionalItems",
];

/// Keywords that hold a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];

/// Keywords that hold schemas by name.
const MAPS: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];

/// Calls `visit` with the schema itself and every schema within it, each with its JSON pointer.
pub(super) fn each_subschema<'s>(schema: &'s Value, pointer: &str, visit: &mut impl FnMut(&str, &'s Value)) {
    visit(pointer, schema);
    for keyword in SINGLE {
        if let Some(inner) = schema.get(keyword) {
            each_subschema(inner, &format!("{pointer}/{keyword}"), visit);
        }
    }
    for keyword in LISTS {
        for (index, inner) in schema
            .get(keyword)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            each_subschema(inner, &format!("{pointer}/{keyword}/{index}"), visit);
        }
    }
    for keyword in MAPS {
        for (name, inner) in schema.get(keyword).and_then(Value::as_object).into_iter().flatten() {
            let name = name.replace('~', "~0").replace('/', "~1");
            each_subschema(inner, &format!("{pointer}/{keyword}/{name}"), visit);
        }
    }
}
