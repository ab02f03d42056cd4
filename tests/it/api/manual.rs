//! What docs/http.md tells people to type works.

use super::world;
use longhaul_tests::http_door::TOKEN;
use longhaul_tests::world::workspace_file;
use std::process::Stdio;
use tokio::process::Command;
use worker::Functions;

#[tokio::test]
async fn the_commands_of_the_manual_work() {
    let (world, door) = world().await;
    let worker = world.worker(world.config("worker A"), Functions::new());
    let manual = workspace_file("docs/http.md");
    let mut script = String::from("set -eu\nshopt -s expand_aliases\n");
    for block in manual.split("```sh\n").skip(1) {
        let (commands, _) = block.split_once("```").expect("a block has an end");
        script.push_str(commands);
    }

    let output = Command::new("bash")
        .arg("-c")
        .arg(&script)
        .env("LONGHAUL", &door.url)
        .env("TOKEN", TOKEN)
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("bash and curl are there");

    let (told, complained) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{told}\n{complained}");
    for expected in [
        "\"created\":true",
        "Good day.",
        "\"reason\":\"a look at the cause\"",
        "\"state\":\"cancelled\"",
        "event: run.started",
        "event: end",
    ] {
        assert!(told.contains(expected), "no {expected} in:\n{told}\n{complained}");
    }
    assert!(!told.contains("/docs/errors/"), "no command is refused:\n{told}");
    worker.drain().await;
}

#[test]
fn the_manual_names_the_address_that_the_server_takes() {
    let manual = workspace_file("docs/http.md");
    let arguments = workspace_file("cli/src/args/serving.rs");

    assert!(arguments.contains("default_value = \"127.0.0.1:7700\""));
    assert!(manual.contains("${LONGHAUL:-http://127.0.0.1:7700}"));
}
