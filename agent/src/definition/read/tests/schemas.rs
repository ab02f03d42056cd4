use super::*;

/// A file with one tool; `lines` begin in line 10, within the tool's table.
fn tool(lines: &str) -> String {
    let description = "Looks an order up. Use it first, not to search.";
    format!(
        "{SHORTEST}[[tool]]\nname = \"t\"\nkind = \"command\"\nargv = [\"cat\"]\ndescription = \"{description}\"\n{lines}\n"
    )
}

/// The same with one property, described, of that schema; it stands in line 13.
fn property(schema: &str) -> String {
    tool(&format!(
        "[tool.input]\ntype = \"object\"\nadditionalProperties = false\nproperties.a = {{ description = \"A\", {schema} }}"
    ))
}

fn strict(schema: &str) -> String {
    property(schema).replace("[tool.input]", "strict = true\n[tool.input]")
}

#[test]
fn a_schema_may_be_toml_or_json_text() {
    let toml = tool(
        "[tool.input]\ntype = \"object\"\nrequired = [\"a\"]\n[tool.input.properties.a]\ntype = \"number\"\ndescription = \"A\"\nminimum = 1.5\nmaximum = 0x10",
    );
    let json = tool(
        r#"input = '{"type": "object", "required": ["a"], "properties": {"a": {"maximum": 16, "minimum": 1.5, "description": "A", "type": "number"}}}'"#,
    );

    let [toml, json] = [toml, json].map(|text| applied(&text).agent);

    let expected = json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "number", "description": "A", "minimum": 1.5, "maximum": 16}},
    });
    assert_eq!(toml.tools[0].input.as_ref(), Some(&expected));
    assert_eq!(digest_text(&toml), digest_text(&json));
}

#[test]
fn an_input_is_an_object() {
    for (lines, found) in [
        ("input = { type = \"array\" }", "input.type: found \"array\""),
        (
            "input = { type = [\"object\", \"null\"] }",
            "input.type: found [\"object\",\"null\"]",
        ),
        ("input = {}", "input.type: found nothing"),
        ("input = '[]'", "input: found JSON that is no object"),
        ("input = '{'", "input: found text that is not JSON"),
        ("input = true", "input: found true"),
    ] {
        let mistake = mistake(&tool(lines));
        assert!(mistake.starts_with(&format!("line 10: tool[0].{found}")), "{mistake}");
    }
}

#[test]
fn a_schema_that_does_not_compile_is_told_at_its_place() {
    for (schema, place) in [
        ("type = \"text\"", "line 13: tool[0].input.properties.a.type: "),
        ("minLength = -1", "line 13: tool[0].input.properties.a.minLength: "),
        ("pattern = \"(\"", "line 13: tool[0].input.properties.a.pattern: "),
        ("\"$ref\" = \"#/$defs/none\"", "line "),
    ] {
        let mistake = mistake(&property(schema));
        assert!(mistake.starts_with(place), "{mistake}");
    }
}

#[test]
fn a_schema_points_nowhere_outside_and_is_of_our_draft() {
    for target in ["https://shop.test/schema.json", "file:///etc/passwd", "other.json"] {
        let mistake = mistake(&property(&format!("\"$ref\" = \"{target}\"")));
        assert!(
            mistake.starts_with(&format!("line 13: tool[0].input.properties.a.$ref: found \"{target}\"")),
            "{mistake}"
        );
    }
    let draft = "[tool.input]\ntype = \"object\"\nadditionalProperties = false\n\"$schema\" = ";
    assert!(
        mistake(&tool(&format!("{draft}\"http://json-schema.org/draft-07/schema#\""))).contains("input.$schema: found")
    );
    applied(&tool(&format!(
        "{draft}\"https://json-schema.org/draft/2020-12/schema\""
    )));
}

#[test]
fn a_default_keeps_its_own_schema() {
    let mistake = mistake(&property("type = \"integer\", default = \"one\""));

    assert!(
        mistake.starts_with("line 13: tool[0].input.properties.a.default: found \"one\" is not of type"),
        "{mistake}"
    );
    applied(&property("type = \"integer\", default = 1"));
}

#[test]
fn what_json_cannot_hold_is_a_mistake() {
    for value in ["nan", "-inf", "2026-10-26", "99999999999999999999"] {
        assert!(
            mistakes(&property(&format!("enum = [{value}]")))[0].contains("input.properties.a.enum[0]: found"),
            "{value}"
        );
    }
}

#[test]
fn a_schemas_depth_is_bounded() {
    let nested = |levels: usize| {
        let (open, close) = ("{\"not\":".repeat(levels), "}".repeat(levels));
        tool(&format!(
            "input = '{{\"type\":\"object\",\"additionalProperties\":false,\"not\":{open}true{close}}}'"
        ))
    };

    applied(&nested(62).replace("true", "false"));
    assert!(mistake(&nested(64)).contains("nested deeper than 64 levels"));
    assert!(mistake(&nested(2_000)).contains("nested deeper than 64 levels"));
}

#[test]
fn a_nul_character_in_json_text_is_refused() {
    assert!(mistake(&tool(r#"input = '{"type": "object", "title": "\u0000"}'"#)).contains("U+0000"));
}

#[test]
fn properties_without_description_and_schemas_that_take_anything_are_warned_of() {
    let text = tool(
        "[tool.input]\ntype = \"object\"\nadditionalProperties = false\n[tool.input.properties.a]\ntype = \"object\"\nproperties.b = {}",
    );
    let all = warnings(&text);
    assert!(
        all[0].starts_with("line 13: tool[0].input.properties.a: found a property without description"),
        "{all:?}"
    );
    assert!(
        all[1].starts_with("line 15: tool[0].input.properties.a.properties.b: found a property"),
        "{all:?}"
    );

    assert!(warnings(&tool("input = { type = \"object\" }"))[0].contains("a schema that takes anything"));
    assert!(warnings(&tool("input = { type = \"object\", additionalProperties = false }")).is_empty());
}

#[test]
fn a_strict_schema_is_closed() {
    applied(&strict("type = \"string\""));

    let open = strict("type = \"string\"").replace("additionalProperties = false\n", "");
    assert!(mistake(&open).contains("tool[0].input: found an open object"));
    assert!(mistake(&strict("type = \"object\"")).contains("tool[0].input.properties.a: found an open object"));
    assert!(
        mistake(&strict("items.type = [\"object\", \"null\"]")).contains("properties.a.items: found an open object")
    );
}

#[test]
fn a_strict_schema_has_only_what_the_provider_enforces() {
    for keyword in [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
    ] {
        let mistake = mistake(&strict(&format!("{keyword} = 2")));
        assert!(
            mistake.contains(&format!("tool[0].input.properties.a.{keyword}: found {keyword}")),
            "{mistake}"
        );
    }
    assert!(mistake(&strict("minItems = 2")).contains("0 or 1 in a strict tool"));
    applied(&strict("minItems = 1"));
    assert!(mistake(&strict("pattern = \"(?=a)b\"")).contains("look-around"));
    applied(&property("pattern = \"(?=a)b\", minimum = 2"));
}

#[test]
fn a_strict_schema_does_not_hold_itself() {
    for target in ["#", "#/properties/a"] {
        let all = mistakes(&strict(&format!("\"$ref\" = \"{target}\"")));
        assert!(
            all.iter().any(|mistake| mistake.contains("a schema that holds itself")),
            "{all:?}"
        );
    }
    let pair = |a: &str, b: &str| {
        let defs = format!("\"$defs\" = {{ x = {{ items = {{ \"$ref\" = \"{a}\" }} }}, y = {{ items = {b} }} }}");
        strict("\"$ref\" = \"#/$defs/x\"").replace("type = \"object\"", &format!("type = \"object\"\n{defs}"))
    };
    applied(&pair("#/$defs/y", "{ type = \"string\" }"));
    assert!(!mistakes(&pair("#/$defs/y", "{ \"$ref\" = \"#/$defs/x\" }")).is_empty());
}

#[test]
fn strict_tools_keep_the_providers_limits_together() {
    let tools = |count: usize, properties: &str| -> String {
        let tool = |index| {
            format!(
                "[[tool]]\nname = \"t{index}\"\nkind = \"function\"\nstrict = true\ninput = {{ type = \"object\", additionalProperties = false, properties = {{ {properties} }} }}\n"
            )
        };
        format!("{SHORTEST}{}", (0..count).map(tool).collect::<String>())
    };

    applied(&tools(20, ""));
    assert!(mistake(&tools(21, "")).contains("21 strict tools, expected at most 20"));
    assert!(mistake(&tools(13, "a = {}, b = {}")).contains("26 optional properties in strict tools"));
    assert!(mistake(&tools(17, "a.type = [\"string\", \"null\"]")).contains("17 properties of several types"));
}

#[test]
fn every_mistake_of_a_schema_is_told_at_once_and_so_are_those_of_templates_over_it() {
    let text = tool(
        "[tool.input]\ntype = \"object\"\nadditionalProperties = false\nrequired = \"b\"\n[tool.input.properties]\n\
         a = { description = \"A\", pattern = \"((((\", minLength = -1 }\n\
         b = { description = \"B\", \"$ref\" = \"#/nope\" }\n\
         c = { description = \"C\", type = \"integer\", default = \"one\" }\n\
         d = { description = \"D\", type = \"text\" }",
    )
    .replace("[\"cat\"]", "[\"cat\", \"{b}\", \"{zzz}\"]");

    let all = mistakes(&text);

    let places: Vec<&str> = all.iter().map(|mistake| mistake.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        places,
        [
            "tool[0].argv[2]",
            "tool[0].input.required",
            "tool[0].input.properties.a.minLength",
            "tool[0].input.properties.a.pattern",
            "tool[0].input.properties.b.$ref",
            "tool[0].input.properties.c.default",
            "tool[0].input.properties.d.type",
        ],
        "{}",
        all.join("\n")
    );
}

#[test]
fn every_value_that_json_cannot_hold_is_told() {
    let all = mistakes(&property("enum = [nan, 1, inf], default = 2026-10-26"));

    assert_eq!(all.len(), 3, "{}", all.join("\n"));
}

#[test]
fn a_reference_of_a_strict_tool_that_leads_nowhere_is_not_called_recursive() {
    let mistake = mistake(&strict("\"$ref\" = \"#/$defs/none\""));

    assert!(
        mistake.contains("\"#/$defs/none\", which is not in the schema"),
        "{mistake}"
    );
}

#[test]
fn a_reference_within_a_part_that_has_an_id_counts_from_there() {
    applied(&property(
        "\"$id\" = \"https://desk.test/part\", \"$ref\" = \"#/$defs/x\", \"$defs\" = { x = { type = \"string\" } }",
    ));
}
