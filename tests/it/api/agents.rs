//! `/v1/agents`.

use super::{GREETER, refused, world};
use longhaul_tests::http_door::{HttpDoor, told};
use reqwest::{Method, StatusCode};
use serde_json::Value;

async fn apply(door: &HttpDoor, file: &str) -> (StatusCode, Value) {
    let request = door
        .request(Method::POST, "/v1/agents")
        .header("Content-Type", "application/toml");
    told(request.body(file.to_owned())).await
}

#[tokio::test]
async fn a_file_is_applied_once_and_an_earlier_one_again() {
    let (_world, door) = world().await;
    let other = GREETER.replace("Greet.", "Greet warmly.");

    let same = apply(&door, GREETER).await;
    let new = apply(&door, &other).await;
    let back = apply(&door, GREETER).await;
    let (_, shown) = door.get("/v1/agents/greeter").await;
    let (_, versions) = door.get("/v1/agents/greeter/versions").await;
    let (_, second) = door.get("/v1/agents/greeter/versions/2").await;
    let (_, list) = door.get("/v1/agents").await;

    assert_eq!((same.0.as_u16(), &same.1["changed"]), (200, &Value::Bool(false)));
    assert_eq!((new.0.as_u16(), &new.1["version"]), (201, &Value::from(2)));
    assert_eq!(
        (back.0.as_u16(), &back.1["version"], &back.1["changed"]),
        (200, &Value::from(1), &Value::Bool(true))
    );
    assert_eq!(
        (&shown["version"], &shown["definition"]["system"]),
        (&Value::from(1), &Value::from("Greet."))
    );
    let told: Vec<(i64, bool)> = versions["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| {
            (
                version["version"].as_i64().unwrap(),
                version["is_current"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(2, false), (1, true)]);
    assert_eq!(second["definition"]["system"], "Greet warmly.");
    assert_eq!(list["agents"][0]["name"], "greeter");
}

#[tokio::test]
async fn all_mistakes_of_a_file_are_told_at_once() {
    let (_world, door) = world().await;

    let told = apply(&door, "name = \"Greeter!\"\ncolour = \"red\"\n[model]\nname = 7\n").await;

    refused(&told, 422, "invalid_agent_file");
    let mistakes = told.1["mistakes"].as_array().expect("mistakes");
    assert!(mistakes.len() >= 3, "{mistakes:#?}");
    for mistake in mistakes {
        assert!(mistake["line"].as_u64().is_some_and(|line| line >= 1), "{mistake}");
        for field in ["key", "found", "expected"] {
            assert!(mistake[field].is_string(), "{mistake}");
        }
    }
}

#[tokio::test]
async fn what_is_no_agent_file_is_refused() {
    let (_world, door) = world().await;
    let post = |content_type: &str, body: Vec<u8>| {
        told(
            door.request(Method::POST, "/v1/agents")
                .header("Content-Type", content_type)
                .body(body),
        )
    };

    refused(
        &post("application/json", b"{}".to_vec()).await,
        415,
        "unsupported_media_type",
    );
    refused(&post("text/plain", vec![0xff]).await, 400, "malformed_text");
    refused(&post("text/plain", Vec::new()).await, 422, "invalid_agent_file");
    refused(
        &post("text/plain", vec![b'#'; 300 * 1024]).await,
        422,
        "invalid_agent_file",
    );
    refused(
        &post("text/plain", vec![b'#'; 3 * 1024 * 1024]).await,
        413,
        "body_too_large",
    );
    refused(&door.get("/v1/agents/nobody").await, 404, "no_such_agent");
    refused(&door.get("/v1/agents/no%00body").await, 400, "bad_id");
    let odd = door.get("/v1/agents/%ff").await;
    refused(&odd, 400, "bad_id");
    assert_eq!(odd.1["detail"], "a name in the path is not UTF-8 text");
    let dry = door
        .request(Method::POST, "/v1/agents?dry=1")
        .header("Content-Type", "text/plain")
        .body(GREETER);
    refused(&told(dry).await, 400, "unknown_parameter");
    refused(&door.get("/v1/agents/nobody/versions").await, 404, "no_such_agent");
    refused(
        &door.get("/v1/agents/greeter/versions/7").await,
        404,
        "no_such_agent_version",
    );
    refused(&door.get("/v1/agents/greeter/versions/first").await, 400, "bad_id");
    refused(&door.get("/v1/agents?cursor=A").await, 400, "bad_cursor");
}
