mod bounds;

use crate::tool::scene::{AMPLE, BRIEF, KEY, Scene};
use agent::ErrorClass;
use agent::tool::OUTPUT_BYTES_MAX;
use futures_util::FutureExt;
use nix::sys::stat::Mode;
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;

#[tokio::test]
async fn arguments_reach_the_program_as_they_are() {
    let argv = ["/bin/echo", "$HOME", "a b", "`id`", "; ls", "*"];

    assert_eq!(
        Scene::command(&argv).call().await.done().content,
        "$HOME a b `id` ; ls *\n"
    );
}

#[tokio::test]
async fn the_input_comes_on_standard_input_and_ends() {
    let attempt = Scene::shell("cat; echo; echo to-stderr >&2").call().await;

    assert_eq!(attempt.evidence["exit_code"], 0);
    assert_eq!(attempt.evidence["stderr_tail"], "to-stderr");
    assert_eq!(attempt.done().content, "{\"n\":1}\n");
}

#[tokio::test]
async fn a_program_that_does_not_read_its_input_is_not_waited_for() {
    let much = "x".repeat(4 * 1024 * 1024);

    for script in ["echo fine", "exec <&-; echo fine"] {
        let attempt = Scene::shell(script).with_stdin(much.clone()).call().await;
        assert_eq!(attempt.done().content, "fine\n", "{script}");
    }
}

#[tokio::test]
async fn a_long_input_and_a_long_output_do_not_wait_for_each_other() {
    let much = "x".repeat(OUTPUT_BYTES_MAX);

    let attempt = Scene::shell("cat").with_stdin(much.clone()).call().await;

    assert_eq!(attempt.done().content.len(), much.len());
}

#[tokio::test]
async fn the_program_sees_only_what_it_is_allowed_to_see() {
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("ALLOWED", "yes"),
        ("HIDDEN", "no"),
        ("LONGHAUL_RUN", "forged"),
    ];

    let output = Scene::shell("env")
        .with_environment(&environment)
        .allowing(&["ALLOWED", "ABSENT", "LONGHAUL_RUN"])
        .call()
        .await
        .done();

    // The shell adds these by itself.
    let own = |line: &&str| {
        !["PWD=", "SHLVL=", "_=", "OLDPWD="]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let scratch = output
        .content
        .lines()
        .find_map(|line| line.strip_prefix("LONGHAUL_SCRATCH="))
        .unwrap();
    let text = output.content.replace(scratch, "SCRATCH");
    let mut lines: Vec<&str> = text.lines().filter(own).collect();
    lines.sort_unstable();
    let key = format!("LONGHAUL_IDEMPOTENCY_KEY={KEY}");
    let expected = [
        "ALLOWED=yes",
        "HOME=SCRATCH",
        "LONGHAUL_ATTEMPT=2",
        &key,
        "LONGHAUL_REQUESTER=ada",
        "LONGHAUL_RUN=run-1",
        "LONGHAUL_SCRATCH=SCRATCH",
        "LONGHAUL_STEP=7",
        "LONGHAUL_TENANT=acme",
        "LONGHAUL_WORKER=worker-a",
        "PATH=/usr/bin:/bin",
        "TMPDIR=SCRATCH",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_secret_that_the_program_prints_is_hidden() {
    let attempt = Scene::shell("echo out $API_KEY; echo err $API_KEY >&2; exit $CODE")
        .with_environment(&[("PATH", "/usr/bin:/bin"), ("API_KEY", "s3cret-key"), ("CODE", "1")])
        .allowing(&["API_KEY", "CODE"])
        .call()
        .await;
    assert!(!format!("{attempt:?}").contains("s3cret"), "{attempt:?}");
    assert_eq!(
        attempt.ambiguous().0.message,
        "the program ended with exit code 1: err {env:API_KEY}"
    );

    let output = Scene::shell("echo out $API_KEY $HOME")
        .with_environment(&[
            ("PATH", "/usr/bin:/bin"),
            ("API_KEY", "s3cret-key"),
            ("HOME", "/home/ada"),
        ])
        .allowing(&["API_KEY", "HOME"])
        .call()
        .await
        .done();
    assert_eq!(output.content, "out {env:API_KEY} /home/ada\n");
}

#[tokio::test]
async fn an_exit_code_says_what_is_known() {
    let (error, _) = Scene::shell("echo no such order >&2; exit 3")
        .call()
        .await
        .not_applied();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Permanent, "exit_3"));
    assert_eq!(error.message, "the program ended with exit code 3: no such order");

    let (error, _) = Scene::shell("exit 75").call().await.ambiguous();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "exit_75"));

    let (error, _) = Scene::shell("exit 1").call().await.ambiguous();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Permanent, "exit_1"));
}

#[tokio::test]
async fn a_program_killed_by_a_signal_is_ambiguous() {
    let attempt = Scene::shell("kill -TERM $$").call().await;

    assert_eq!(attempt.evidence["signal"], "SIGTERM");
    let (error, _) = attempt.ambiguous();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "killed_by_signal")
    );
    assert!(error.message.contains("SIGTERM"), "{}", error.message);
}

#[tokio::test]
async fn a_message_quotes_the_end_of_a_long_standard_error() {
    let script = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo the reason >&2; exit 1";

    let attempt = Scene::shell(script).call().await;

    assert_eq!(attempt.evidence["stderr_bytes"], 300_011);
    let (error, _) = attempt.ambiguous();
    assert!(error.message.ends_with("xthe reason"), "{}", error.message);
    assert!(error.message.len() < 3000);
}

#[tokio::test]
async fn a_long_output_is_drained_and_cut_with_its_size_told() {
    let attempt = Scene::shell("head -c 3000000 /dev/zero | tr '\\0' x").call().await;

    assert_eq!(attempt.evidence["stdout_bytes"], 3_000_000);
    let output = attempt.done();
    assert!(output.content.len() <= OUTPUT_BYTES_MAX);
    assert!(output.content.ends_with(" of 3000000 bytes shown]"));
}

#[tokio::test]
async fn output_that_is_not_text_is_replaced_and_said() {
    let output = Scene::shell("printf 'caf\\351 \\000'").call().await.done();

    assert_eq!(output.content, "caf\u{FFFD} \u{FFFD}");
    assert_eq!(output.notes.len(), 2);
}

#[tokio::test]
async fn a_program_that_is_not_there_was_not_sent_and_the_run_fails() {
    for argv in [
        vec!["/nowhere/program"],
        vec!["no-such-program-anywhere"],
        vec!["/etc/hostname"],
        vec![],
    ] {
        let error = Scene::command(&argv).call().await.unsent();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Permanent, "command_not_found"),
            "{argv:?}"
        );
        assert!(error.fatal);
    }
}

#[tokio::test]
async fn a_program_is_looked_up_in_the_path_of_the_tools_environment() {
    let scene = Scene::command(&["true"]).with_environment(&[("PATH", "/nowhere")]);

    assert_eq!(scene.call().await.unsent().code, "command_not_found");
}

#[tokio::test]
async fn a_program_starts_in_its_folder_if_that_is_there() {
    assert_eq!(Scene::shell("pwd").in_folder("/").call().await.done().content, "/\n");

    let error = Scene::shell("pwd").in_folder("/nowhere").call().await.unsent();
    assert_eq!(error.code, "working_dir_not_found");
    assert!(error.fatal);
}

#[tokio::test]
async fn arguments_that_no_program_can_take_go_back_to_the_model() {
    let huge = "x".repeat(8 * 1024 * 1024);
    for argument in ["a\0b", &huge] {
        let error = Scene::command(&["/bin/echo", argument]).call().await.unsent();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::UserError, "command_arguments")
        );
        assert!(!error.fatal);
    }
}

#[tokio::test]
async fn a_program_past_its_time_is_killed_with_its_grandchildren() {
    let witness = Witness::new();

    let script = format!("{} wait", witness.grandchild());
    let attempt = Scene::shell(&script).within(BRIEF * 4).call().await;

    let (error, _) = attempt.ambiguous();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Timeout, "tool_timeout")
    );
    assert!(error.message.contains("1000 ms"), "{}", error.message);
    witness.sees_the_grandchild_gone().await;
}

#[tokio::test]
async fn a_dropped_call_kills_the_program_and_its_grandchildren() {
    let mut witness = Witness::new();
    let scene = Scene::shell(&format!("{} wait", witness.grandchild()));

    {
        let mut call = Box::pin(scene.call());
        tokio::select! {
            _ = &mut call => panic!("the program does not end by itself"),
            () = witness.meets_the_grandchild() => {}
        }
        assert!(call.as_mut().now_or_never().is_none());
    }

    witness.sees_the_grandchild_gone().await;
}

#[tokio::test]
async fn a_grandchild_left_behind_ends_with_the_call() {
    let mut witness = Witness::new();
    // The grandchild holds no pipe of ours, so nothing but its group ties it to the call.
    let script = format!(
        "{} echo fine; exit 0",
        witness.grandchild_in("</dev/null >/dev/null 2>&1")
    );
    let scene = Scene::shell(&script);

    let (attempt, ()) = tokio::join!(scene.call(), witness.meets_the_grandchild());

    assert_eq!(attempt.done().content, "fine\n");
    witness.sees_the_grandchild_gone().await;
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_open_does_not_hold_up_the_call() {
    let witness = Witness::new();

    let attempt = Scene::shell(&format!("echo fine; {} exit 0", witness.grandchild()))
        .call()
        .await;

    assert_eq!(attempt.evidence["left_open"], true);
    let output = attempt.done();
    assert_eq!(output.content, "fine\n");
    assert_eq!(
        output.notes,
        ["a process that the program left behind held its output open and was killed"]
    );
    witness.sees_the_grandchild_gone().await;
}

/// A named pipe that a grandchild holds open for as long as it lives.
struct Witness {
    path: PathBuf,
    reader: BufReader<pipe::Receiver>,
    pid: Option<i32>,
}

impl Witness {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("longhaul-witness-{}", uuid::Uuid::new_v4()));
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let reader = pipe::OpenOptions::new().open_receiver(&path).unwrap();
        Self {
            path,
            reader: BufReader::new(reader),
            pid: None,
        }
    }

    /// A line of shell that leaves a grandchild behind, once that is known to live.
    fn grandchild(&self) -> String {
        self.grandchild_in("")
    }

    fn grandchild_in(&self, redirections: &str) -> String {
        self.grandchild_of(&format!("sleep 1000 {redirections}"))
    }

    fn grandchild_of(&self, command: &str) -> String {
        let path = self.path.display();
        // The opening of the pipe is the outer shell's, so that it has happened when the next command runs.
        format!("exec 9>{path}; (exec {command}) & echo $! >&9; exec 9>&-;")
    }

    async fn meets_the_grandchild(&mut self) {
        let mut line = String::new();
        let read = async {
            while !line.ends_with('\n') {
                // Without a writer yet a read finds the end; the next one may find the writer.
                if self.reader.read_line(&mut line).await.unwrap() == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::time::timeout(AMPLE, read)
            .await
            .expect("no grandchild came to life");
        self.pid = Some(line.trim().parse().unwrap());
    }

    async fn sees_the_grandchild_gone(mut self) {
        if self.pid.is_none() {
            self.meets_the_grandchild().await;
        }
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(AMPLE, self.reader.read_to_end(&mut rest)).await;
        closed.expect("the grandchild still lives").unwrap();
        let gone = async {
            while lives(self.pid.unwrap()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(AMPLE, gone)
            .await
            .expect("the grandchild's process is still there");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A process that has ended and that nobody has collected yet does not live.
fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}
