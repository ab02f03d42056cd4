//! What a program may use, and that nothing of it is left.

use super::Witness;
use crate::tool::Attempt;
use crate::tool::scene::{BRIEF, Scene};
use agent::definition::CommandLimits;
use agent::{ErrorClass, StepError};
use std::os::fd::AsRawFd;
use std::path::Path;

fn limits() -> CommandLimits {
    CommandLimits::default()
}

/// A word that stands in the arguments of one test's processes and nowhere else.
fn word() -> String {
    // A number, so that `sleep` takes it.
    format!("1000.{}", uuid::Uuid::new_v4().as_u128() % 1_000_000_000_000)
}

/// Processes of which an argument is that word.
fn living(word: &str) -> usize {
    let is_it = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        line.split(|byte| *byte == 0)
            .find(|text| *text == word.as_bytes())
            .map(drop)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(is_it).count()
}

#[track_caller]
fn went_beyond(attempt: Attempt, key: &str) -> StepError {
    assert_eq!(attempt.evidence["beyond"]["bound_by"], key, "{attempt:?}");
    let (error, _) = attempt.ambiguous();
    assert_eq!(error.class, ErrorClass::Permanent);
    assert!(error.message.contains(&format!("limits.{key}")), "{}", error.message);
    assert!(error.suggestion.as_deref().unwrap().contains(&format!("limits.{key}")));
    error
}

#[tokio::test]
async fn a_program_has_a_folder_of_its_own_which_goes_away_with_all_that_is_in_it() {
    let script = "pwd; echo $HOME; echo $TMPDIR; echo $LONGHAUL_SCRATCH; \
                  mkdir -p a/b; echo x > a/b/c; chmod 000 a/b a; ls -ld . | cut -c1-10; exit $N";
    let mut folders = Vec::new();
    for end in ["0", "1"] {
        let scene = Scene::shell(script).with_environment(&[("PATH", "/usr/bin:/bin"), ("N", end)]);
        let attempt = scene.allowing(&["N"]).call().await;
        let Some(output) = (end == "0").then(|| attempt.done().content) else {
            continue;
        };
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[..3], [lines[3]; 3], "{output}");
        assert_eq!(lines[4], "drwx------", "for nobody else");
        folders.push(lines[3].to_owned());
    }
    let output = Scene::shell("pwd").call().await.done().content;
    folders.push(output.trim().to_owned());
    assert_ne!(folders[0], folders[1], "each attempt has its own");
    for folder in folders {
        assert!(!Path::new(&folder).exists(), "{folder} is still there");
    }
}

#[tokio::test]
async fn a_dropped_call_leaves_no_folder_behind() {
    let mut witness = Witness::new();
    let told = std::env::temp_dir().join(format!("longhaul-told-{}", uuid::Uuid::new_v4()));
    let script = format!("pwd > {}; {} wait", told.display(), witness.grandchild());
    let scene = Scene::shell(&script);

    {
        let mut call = Box::pin(scene.call());
        tokio::select! {
            _ = &mut call => panic!("the program does not end by itself"),
            () = witness.meets_the_grandchild() => {}
        }
    }

    let folder = std::fs::read_to_string(&told).unwrap();
    let gone = async {
        while Path::new(folder.trim()).exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::AMPLE, gone)
        .await
        .expect("the folder is still there");
    witness.sees_the_grandchild_gone().await;
    std::fs::remove_file(told).unwrap();
}

#[tokio::test]
async fn a_program_gets_no_file_that_the_worker_has_open() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = format!("/proc/self/fd/{}", listener.as_raw_fd());
    let socket = std::fs::read_link(socket).unwrap();

    let output = Scene::shell("ls -l /proc/$$/fd").call().await.done().content;

    assert!(output.contains("pipe:"), "its own: {output}");
    for open in [file.path(), socket.as_path()] {
        assert!(!output.contains(open.to_str().unwrap()), "{open:?} in {output}");
    }
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_ends_with_the_call() {
    let mut witness = Witness::new();
    // It has left before the program ends.
    let leaves = witness.grandchild_of("setsid sh -c 'touch left; exec sleep 1000' </dev/null >/dev/null 2>&1");
    let scene = Scene::shell(&format!("{leaves} until test -e left; do :; done; echo fine; exit 0"));

    let (attempt, ()) = tokio::join!(scene.call(), witness.meets_the_grandchild());

    assert_eq!(attempt.done().content, "fine\n");
    witness.sees_the_grandchild_gone().await;
}

#[tokio::test]
async fn a_program_past_its_time_is_asked_to_end_first() {
    let script = "trap 'echo put away >&2; exit 0' TERM; while :; do sleep 0.01; done";

    let attempt = Scene::shell(script).within(BRIEF * 2).call().await;

    let told = attempt.evidence["stderr_tail"].as_str().unwrap();
    assert!(told.ends_with("put away"), "{told}");
    assert_eq!(attempt.ambiguous().0.code, "tool_timeout", "it did not end in its time");
}

#[tokio::test]
async fn a_program_that_does_not_end_when_asked_to_is_killed_with_all_that_it_started() {
    let witness = Witness::new();
    let stays = witness.grandchild_of("setsid sh -c 'trap \"\" TERM; while :; do sleep 0.01; done'");
    let script = format!("trap '' TERM; {stays} while :; do sleep 0.01; done");

    let attempt = Scene::shell(&script).within(BRIEF * 2).call().await;

    assert_eq!(attempt.ambiguous().0.code, "tool_timeout");
    witness.sees_the_grandchild_gone().await;
}

#[tokio::test]
async fn a_program_that_forks_without_end_is_killed_with_all_its_children() {
    for leaving in ["", "setsid"] {
        let word = word();
        let script = format!("while :; do {leaving} sleep {word} & done");
        let limits = CommandLimits {
            processes_max: 20,
            ..limits()
        };

        let attempt = Scene::shell(&script).limited(limits).call().await;

        let error = went_beyond(attempt, "processes_max");
        assert_eq!(error.code, "command_processes");
        assert!(error.message.contains("more than 20 processes"), "{}", error.message);
        assert_eq!(living(&word), 0, "{leaving}");
    }
}

#[tokio::test]
async fn a_program_that_holds_too_much_memory_is_killed() {
    // `tail` keeps what may be the end.
    let script = "(head -c 40000000 /dev/zero; sleep 1000) | tail -c 40000000";
    let limits = CommandLimits {
        memory_mib: 24,
        ..limits()
    };

    let attempt = Scene::shell(script).limited(limits).call().await;

    assert_eq!(went_beyond(attempt, "memory_mib").code, "command_memory");
}

#[tokio::test]
async fn memory_far_beyond_the_limit_is_not_given_at_all() {
    // The pause lets the limits come first: they are set when the program has started.
    let script = "until [ \"$(ulimit -c)\" = 0 ]; do :; done; head -c 400000000 /dev/zero | tail -c 400000000 | wc -c";
    let limits = CommandLimits {
        memory_mib: 8,
        ..limits()
    };

    let attempt = Scene::shell(script).limited(limits).call().await;

    // Whichever wall it came to first, it never got there.
    assert!(!format!("{attempt:?}").contains("400000000"), "{attempt:?}");
}

#[tokio::test]
async fn a_program_that_says_too_much_is_killed() {
    for script in ["yes", "yes >&2", "head -c 1000000000 /dev/zero", "yes & yes >&2"] {
        let limits = CommandLimits {
            output_mib: 1,
            ..limits()
        };

        let attempt = Scene::shell(script).limited(limits).call().await;

        let told =
            attempt.evidence["stdout_bytes"].as_u64().unwrap() + attempt.evidence["stderr_bytes"].as_u64().unwrap();
        assert!(told < 1024 * 1024 + 64 * 1024, "{told}");
        let error = went_beyond(attempt, "output_mib");
        assert_eq!(error.code, "command_output", "{script}");
    }
}

#[tokio::test]
async fn a_program_that_fills_the_disk_is_stopped() {
    for script in [
        // One file, in its folder or elsewhere.
        "until [ $(ulimit -c) = 0 ]; do :; done; exec head -c 100000000 /dev/zero > big",
        "until [ $(ulimit -c) = 0 ]; do :; done; head -c 100000000 /dev/zero > big; exit $?",
        "until [ $(ulimit -c) = 0 ]; do :; done; exec head -c 100000000 /dev/zero > ../$(basename $PWD)/big",
        // Many.
        "n=0; while :; do head -c 100000 /dev/zero > f$n; n=$((n+1)); done",
        "n=0; while :; do mkdir d; cd d; head -c 100000 /dev/zero > f; done",
    ] {
        let limits = CommandLimits {
            scratch_mib: 1,
            ..limits()
        };

        let attempt = Scene::shell(script).limited(limits).call().await;

        let (error, _) = attempt.ambiguous();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Permanent, "command_scratch"),
            "{script}: {}",
            error.message
        );
        assert!(error.message.contains("limits.scratch_mib"), "{}", error.message);
    }
}

#[tokio::test]
async fn the_systems_own_limits_hold_for_the_program_and_what_it_starts() {
    let script = "until [ $(ulimit -n) = 99 ]; do :; done; sh -c 'ulimit -n; ulimit -c; ulimit -f; ulimit -d'";
    let limits = CommandLimits {
        open_files_max: 99,
        scratch_mib: 3,
        memory_mib: 50,
        ..limits()
    };

    let output = Scene::shell(script).limited(limits).call().await.done();

    // Files in blocks of 512 bytes, memory in KiB, twice what may be present.
    assert_eq!(output.content, "99\n0\n6144\n102400\n");
}
