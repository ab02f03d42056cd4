use super::*;

/// A file with one HTTP tool; `lines` come first in its table, the tool's table begins in line 5.
fn http(lines: &str) -> String {
    let mut tool = String::new();
    for (key, line) in [
        ("name", "name = \"look_up\""),
        (
            "description",
            "description = \"Looks an order up. Use it first, not to search.\"",
        ),
        ("effect", "effect = \"read_only\""),
        ("method", "method = \"GET\""),
        ("url", "url = \"https://shop.test/orders/{order_id}\""),
    ] {
        if !lines.lines().any(|given| given.starts_with(&format!("{key} "))) {
            tool.push_str(line);
            tool.push('\n');
        }
    }
    format!("{SHORTEST}[[tool]]\n{lines}\nkind = \"http\"\n{tool}{INPUT}")
}

fn command(lines: &str) -> String {
    let head =
        "name = \"look_up\"\ndescription = \"Looks an order up. Use it first, not to search.\"\nkind = \"command\"\n";
    format!("{SHORTEST}[[tool]]\n{lines}\n{head}{INPUT}")
}

const INPUT: &str = r#"
[tool.input]
type = "object"
required = ["order_id"]
additionalProperties = false
[tool.input.properties]
order_id = { type = "string", description = "The number" }
page = { type = "integer", description = "The page", default = 1 }
note = { type = "string", description = "A note" }
lines = { type = "array", description = "The lines", default = [] }
"#;

#[test]
fn a_tools_defaults_are_filled_in() {
    let agent = applied(&http("effect = \"at_most_once\"")).agent;
    let tool = agent.tool("look_up").unwrap();

    assert_eq!(
        (tool.timeout_seconds, tool.on_error, tool.strict),
        (30, OnError::TellModel, false)
    );
    let retry = &tool.retry;
    assert_eq!(
        (
            retry.attempts_max,
            retry.initial_ms,
            retry.cap_ms,
            retry.horizon_seconds
        ),
        (3, 1_000, 30_000, 600)
    );
    assert!(
        matches!(&tool.action, ToolAction::Http(HttpTool { method, headers, idempotency_header, .. })
        if method == "GET" && headers.is_empty() && idempotency_header == "Idempotency-Key")
    );
}

#[test]
fn an_effect_that_is_not_declared_is_at_most_once_and_warned_of_for_a_get() {
    let text = http("method = \"GET\"").replace("effect = \"read_only\"\n", "");
    assert_eq!(applied(&text).agent.tools[0].effect, Effect::AtMostOnce);
    assert!(warnings(&text)[0].contains("waits for a person"));

    assert!(warnings(&text.replace("GET", "POST")).is_empty());
    assert!(warnings(&http("method = \"DELETE\""))[0].contains("read_only with DELETE"));
}

#[test]
fn a_command_has_its_own_defaults_and_lists_in_order() {
    let text = command(
        "argv = [\"cat\", \"{order_id}\"]\nenv = [\"HOME\", \"A\", \"HOME\"]\nnot_applied_exit_codes = [3, 2, 3]",
    );

    let agent = applied(&text).agent;

    let ToolAction::Command(CommandTool {
        env,
        working_dir,
        not_applied_exit_codes,
        transient_exit_codes,
        ..
    }) = &agent.tools[0].action
    else {
        panic!("{agent:?}")
    };
    assert_eq!((env, working_dir), (&vec!["A".to_owned(), "HOME".to_owned()], &None));
    assert_eq!((not_applied_exit_codes, transient_exit_codes), (&vec![2, 3], &vec![75]));
}

#[test]
fn what_a_command_may_use_has_defaults_and_bounds() {
    let limits = |lines: &str| {
        let agent = applied(&command(&format!("argv = [\"cat\"]\n{lines}"))).agent;
        match &agent.tools[0].action {
            ToolAction::Command(command) => command.limits,
            other @ (ToolAction::Http(_) | ToolAction::Function(_) | ToolAction::Sql(_)) => panic!("{other:?}"),
        }
    };
    assert_eq!(limits(""), CommandLimits::default());
    let some = limits("limits = { memory_mib = 8, open_files_max = 16 }");
    assert_eq!((some.memory_mib, some.open_files_max, some.output_mib), (8, 16, 64));

    for (key, value) in [
        ("memory_mib", "7"),
        ("output_mib", "0"),
        ("output_mib", "1025"),
        ("scratch_mib", "0"),
        ("processes_max", "0"),
        ("open_files_max", "15"),
        ("memory_mb", "64"),
    ] {
        let text = mistake(&command(&format!("argv = [\"cat\"]\nlimits = {{ {key} = {value} }}")));
        assert!(text.contains(&format!("tool[0].limits.{key}: found")), "{text}");
    }
    assert!(mistake(&http("limits = { memory_mib = 64 }")).contains("a key of command tools"));
}

#[test]
fn a_command_that_was_stored_without_limits_has_the_default_ones() {
    let agent = applied(&command("argv = [\"cat\"]")).agent;
    let mut stored = serde_json::to_value(&agent).unwrap();
    stored["tools"][0].as_object_mut().unwrap().remove("limits").unwrap();

    assert_eq!(serde_json::from_value::<Agent>(stored).unwrap(), agent);
}

#[test]
fn a_function_is_called_like_its_tool_and_needs_no_schema() {
    let text = format!("{SHORTEST}[[tool]]\nname = \"convert\"\nkind = \"function\"\n");

    let tool = &applied(&text).agent.tools[0];

    assert_eq!(
        tool.action,
        ToolAction::Function(FunctionTool {
            function: "convert".to_owned()
        })
    );
    assert_eq!(tool.input, None);
    assert!(mistake(&format!("{text}strict = true\n")).contains("true without a schema"));
}

#[test]
fn a_key_of_another_kind_is_told_apart_from_an_unknown_one() {
    let all = mistakes(&http("argv = [\"cat\"]\nurll = \"x\""));

    assert_eq!(
        all,
        [
            "line 6: tool[0].argv: found a key of command tools, expected none such in a tool of kind http",
            "line 7: tool[0].urll: found an unknown key, expected url (did you mean that?)",
        ]
    );
}

#[test]
fn a_missing_or_unknown_kind_makes_no_other_mistakes() {
    let text = http("").replace("kind = \"http\"\n", "");
    assert_eq!(
        mistake(&text),
        "line 5: tool[0].kind: found nothing, expected one of http, command, function, sql"
    );
    assert!(mistake(&http("").replace("\"http\"", "\"ftp\"")).contains("tool[0].kind: found \"ftp\""));
}

#[test]
fn two_tools_of_one_name_are_a_mistake() {
    let text = format!("{}\n[[tool]]\nname = \"look_up\"\nkind = \"function\"\n", http(""));

    assert!(mistake(&text).contains("tool[1].name: found \"look_up\", which is the name of tool[0]"));
}

#[test]
fn the_number_of_tools_is_bounded() {
    let tools = |count: usize| -> String {
        (0..count)
            .map(|index| format!("[[tool]]\nname = \"t{index}\"\nkind = \"function\"\n"))
            .collect()
    };

    applied(&format!("{SHORTEST}{}", tools(128)));
    assert!(mistake(&format!("{SHORTEST}{}", tools(129))).contains("found 129 items, expected at most 128"));
}

#[test]
fn a_tools_name_is_what_the_provider_takes() {
    for name in ["look up", "über", "a.b", &"x".repeat(65)] {
        assert!(
            mistake(&http(&format!("name = \"{name}\""))).contains("tool[0].name: found"),
            "{name}"
        );
    }
}

#[test]
fn a_field_of_a_template_is_a_property_that_is_always_there() {
    for (field, found) in [
        (
            "ordr_id",
            "{ordr_id}, expected one of the input's properties: lines, note, order_id, page",
        ),
        (
            "note",
            "{note}, which may be missing, expected note among the input's required properties, or a default for it",
        ),
        (
            "lines",
            "{lines}, which is of type array, expected text, a number or a boolean",
        ),
    ] {
        let url = http(&format!("url = \"https://shop.test/{{{field}}}\""));
        assert_eq!(mistake(&url), format!("line 6: tool[0].url: found {found}"));
        let argv = command(&format!("argv = [\"cat\",\n\"x-{{{field}}}\"]"));
        assert_eq!(mistake(&argv), format!("line 7: tool[0].argv[1]: found {found}"));
    }
    applied(&http("url = \"https://shop.test/{order_id}/{page}\""));
}

#[test]
fn a_url_that_the_model_could_lead_elsewhere_is_a_mistake() {
    for url in [
        "https://{order_id}.test/",
        "{env:BASE}{order_id}",
        "/orders",
        "https://shop.test/{order_id",
        "file:///x",
    ] {
        assert!(
            mistake(&http(&format!("url = \"{url}\""))).starts_with("line 6: tool[0].url: found "),
            "{url}"
        );
    }
}

#[test]
fn braces_are_balanced_or_doubled() {
    for argument in ["{order_id", "order_id}", "{}"] {
        let text = command(&format!("argv = [\"cat\", \"{argument}\"]"));
        assert!(
            mistake(&text).starts_with("line 6: tool[0].argv[1]: found "),
            "{argument}"
        );
    }
    applied(&command("argv = [\"awk\", \"{{print}} {order_id}\"]"));
}

#[test]
fn an_argument_takes_no_secret_and_no_program_is_chosen_by_the_model() {
    let text = mistake(&command("argv = [\"curl\", \"{env:TOKEN}\"]"));
    assert!(text.contains("env = [\"TOKEN\"] instead"), "{text}");

    assert!(mistake(&command("argv = [\"{order_id}\"]")).contains("a fixed program"));
    assert!(mistake(&command("argv = []")).contains("no program"));
    assert!(mistake(&command("argv = \"cat x\"")).contains("expected a list in [ ]"));
}

#[test]
fn headers_take_secrets_but_no_fields_and_none_that_are_ours() {
    for (headers, found) in [
        (
            "{ Idempotency-Key = \"x\" }",
            "headers.Idempotency-Key: found the header of the idempotency key",
        ),
        (
            "{ Content-Length = \"1\" }",
            "headers.Content-Length: found \"Content-Length\"",
        ),
        ("{ host = \"x\" }", "headers.host: found \"host\""),
        ("{ x-order = \"{order_id}\" }", "headers.x-order: found {order_id}"),
        (
            "{ x-order = \"{\" }",
            "headers.x-order: found a '{' that is never closed",
        ),
        ("{ x-order = \"a\\nb: c\" }", "headers.x-order: found \"a\\nb: c\""),
        ("{ \"x order\" = \"a\" }", "headers.\"x order\": found \"x order\""),
        (
            "{ x-a = \"1\", X-A = \"2\" }",
            "headers.x-a: found a header given twice",
        ),
        ("{ x-a = 1 }", "headers.x-a: found 1"),
        ("[]", "headers: found an array"),
    ] {
        let mistake = mistake(&http(&format!("headers = {headers}")));
        assert!(mistake.starts_with(&format!("line 6: tool[0].{found}")), "{mistake}");
    }
}

#[test]
fn a_header_that_carries_the_key_may_be_called_otherwise() {
    let text = http("idempotency_header = \"X-Request-Key\"\nheaders = { x-request-key = \"1\" }");

    assert!(mistake(&text).contains("the header of the idempotency key"));
    assert!(mistake(&http("idempotency_header = \"Host\"")).contains("the name of a header for the key"));
}

#[test]
fn allowed_hosts_are_names_or_addresses_and_nothing_else() {
    let text = http("allow_hosts = [\"Payments.Internal:8080\", \"127.0.0.1\", \"127.0.0.1\"]");
    assert!(matches!(&applied(&text).agent.tools[0].action, ToolAction::Http(http)
            if http.allow_hosts == ["127.0.0.1", "payments.internal:8080"]));
    for entry in [
        "http://payments.internal",
        "*.internal",
        "10.0.0.0/8",
        "127.1",
        "",
        "{env:HOST}",
    ] {
        let text = mistake(&http(&format!("allow_hosts = [\"shop.test\", \"{entry}\"]")));
        assert!(text.contains("tool[0].allow_hosts[1]: found"), "{entry}: {text}");
    }
    assert!(mistake(&http("allow_hosts = \"shop.test\"")).contains("expected a list in [ ]"));
    assert!(mistake(&command("argv = [\"cat\"]\nallow_hosts = [\"a\"]")).contains("a key of http tools"));
}

#[test]
fn a_url_that_leads_inside_is_warned_of_unless_its_host_is_allowed() {
    for url in [
        "http://localhost/x",
        "http://LOCALHOST.:80/x",
        "http://127.0.0.1/x",
        "http://[::1]/x",
        "https://10.0.0.7:8443/{order_id}",
    ] {
        let all = warnings(&http(&format!("url = \"{url}\"")));
        assert!(
            all[0].contains("tool[0].url: found a host that is not on the public internet"),
            "{all:?}"
        );
    }
    for (url, host) in [
        ("http://127.0.0.1/x", "127.0.0.1:80"),
        ("https://[::1]/x", "[::1]:443"),
        ("http://localhost:8080", "localhost"),
    ] {
        let text = http(&format!("url = \"{url}\"\nallow_hosts = [\"{host}\"]"));
        assert!(warnings(&text).is_empty(), "{url}");
    }
    assert!(
        warnings(&http("url = \"{env:BASE}/x\"")).is_empty(),
        "nobody knows where that is"
    );
}

#[test]
fn headers_are_kept_in_lower_case() {
    let agent = applied(&http("headers = { Authorization = \"Bearer {env:TOKEN}\" }")).agent;

    assert!(
        matches!(&agent.tools[0].action, ToolAction::Http(http) if http.headers["authorization"] == "Bearer {env:TOKEN}")
    );
}

#[test]
fn a_secret_written_out_is_warned_of() {
    let text = http("headers = { Authorization = \"Bearer abc\" }");

    assert!(warnings(&text)[0].starts_with("line 6: tool[0].headers.Authorization: found a secret written out"));
}

#[test]
fn names_of_variables_and_exit_codes_are_checked() {
    let head = "argv = [\"cat\"]";
    assert!(mistake(&command(&format!("{head}\nenv = [\"A B\"]"))).contains("tool[0].env[0]: found \"A B\""));
    assert!(mistake(&command(&format!("{head}\nenv = [1]"))).contains("tool[0].env[0]: found 1"));
    for code in ["0", "256", "-1", "\"1\""] {
        let text = command(&format!("{head}\ntransient_exit_codes = [75, {code}]"));
        assert!(
            mistake(&text).contains("tool[0].transient_exit_codes[1]: found"),
            "{code}"
        );
    }
}

#[test]
fn a_description_is_warned_of_when_it_says_too_little_or_too_much() {
    for (description, found) in [
        ("", "no description"),
        ("Looks orders up.", "16 characters"),
        ("Looks orders up in the records of the shop.", "no word of when to use"),
        (
            "Looks orders up. Use it before every decision.",
            "no word of when not to use",
        ),
        (
            &format!("Use it first, not later. {}", "x".repeat(1_024)),
            "1049 characters",
        ),
    ] {
        let line = if description.is_empty() {
            String::new()
        } else {
            format!("description = \"{description}\"")
        };
        let text = http(&line);
        let text = if description.is_empty() {
            text.replace(
                "description = \"Looks an order up. Use it first, not to search.\"\n",
                "",
            )
        } else {
            text
        };
        let all = warnings(&text);
        assert!(
            all.iter()
                .any(|warning| warning.contains(&format!("tool[0].description: found {found}"))),
            "{all:?}"
        );
    }
    assert!(
        warnings(&http(
            "description = \"Schlägt eine Bestellung nach, nie einen Kunden.\""
        ))
        .is_empty()
    );
    assert!(mistake(&http(&format!("description = \"{}\"", "x".repeat(8_193)))).contains("8193 characters"));
}

#[test]
fn a_tool_that_does_two_things_is_warned_of() {
    for name in ["find_and_refund", "find-and-refund", "Find_And_Refund"] {
        assert!(
            warnings(&http(&format!("name = \"{name}\"")))[0].contains("does one thing"),
            "{name}"
        );
    }
    assert!(warnings(&http("name = \"hand_over\"")).is_empty());

    let choosing = http("").replace(
        "[tool.input.properties]\n",
        "[tool.input.properties]\naction = { enum = [\"find\", \"refund\"], description = \"What to do\" }\n",
    );
    assert!(
        warnings(&choosing)[0].contains("a choice of 2 things to do"),
        "{:?}",
        warnings(&choosing)
    );
    let many: String = (0..16)
        .map(|n| format!("p{n} = {{ type = \"string\", description = \"One\" }}\n"))
        .collect();
    let broad = http("").replace("[tool.input.properties]\n", &format!("[tool.input.properties]\n{many}"));
    assert!(warnings(&broad)[0].contains("20 properties"), "{:?}", warnings(&broad));
}
