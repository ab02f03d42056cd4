use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
};

use super::*;
use crate::process::Process;

const SECONDS: Duration = Duration::from_secs(20);

/// Tests without a database run without one.
fn have_binaries() -> bool {
    let found = PostgresBinaries::find();
    if let Err(error) = &found {
        println!("skipped: {error}");
    }
    found.is_ok()
}

fn options(state_dir: &Path, durability: Durability) -> ServerOptions {
    ServerOptions {
        state_dir: state_dir.to_owned(),
        durability,
        port: None,
        settings: Vec::new(),
    }
}

fn query(server: &Server, sql: &str) -> Result<String, String> {
    query_at(&server.url("longhaul"), sql)
}

fn query_at(url: &str, sql: &str) -> Result<String, String> {
    let psql = PostgresBinaries::find().unwrap().program("psql");
    let output = Command::new(psql).arg(url).args(["-XAtc", sql]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn is_alive(pid: u32) -> bool {
    processes()
        .iter()
        .any(|process: &Process| process.pid == pid && process.is_alive())
}

#[test]
fn a_temporary_server_answers_and_leaves_nothing_behind() {
    if !have_binaries() {
        return;
    }
    let server = Server::start_temporary(Durability::Fast).unwrap();
    let (dir, pid) = (server.options.state_dir.clone(), server.pid().unwrap());
    let watchdog = server.running.as_ref().unwrap().watchdog.pid();
    assert_eq!(query(&server, "select current_database()").as_deref(), Ok("longhaul"));
    assert_eq!(query(&server, "show fsync").as_deref(), Ok("off"));

    drop(server);

    assert!(!dir.exists());
    assert!(!is_alive(pid));
    assert!(!is_alive(watchdog));
}

#[test]
fn a_durable_server_keeps_its_data_behind_a_password() {
    if !have_binaries() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(options(dir.path(), Durability::Durable)).unwrap();
    query(&server, "create table kept (id int)").unwrap();
    let without = format!("postgres://longhaul@127.0.0.1:{}/longhaul", server.port());
    assert!(
        query_at(&format!("{without}?password=wrong"), "select 1")
            .unwrap_err()
            .contains("authentication failed")
    );
    let mode = |name: &str| {
        fs::metadata(server.home.data().with_file_name(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("password"), mode("data")), (0o600, 0o700));

    server.stop().unwrap();
    assert!(query(&server, "select 1").is_err());
    let again = Server::start(options(dir.path(), Durability::Durable)).unwrap();

    assert_eq!(query(&again, "select count(*) from kept").as_deref(), Ok("0"));
}

#[test]
fn a_killed_server_starts_again_with_its_data_on_the_same_port() {
    if !have_binaries() {
        return;
    }
    let mut server = Server::start_temporary(Durability::Durable).unwrap();
    query(&server, "create table kept as select 1 as id").unwrap();
    let (url, pid) = (server.url("longhaul"), server.pid().unwrap());
    let family: Vec<u32> = processes()
        .iter()
        .filter(|process| process.parent == pid)
        .map(|process| process.pid)
        .chain([pid])
        .collect();
    assert!(family.len() > 3, "a running server has background processes");

    server.kill_9().unwrap();
    assert!(!family.iter().any(|pid| is_alive(*pid)));
    assert!(query_at(&url, "select 1").is_err());
    server.restart().unwrap();

    assert_eq!(query_at(&url, "select id from kept").as_deref(), Ok("1"));
    assert!(end_of_whole_log(&server).contains("was not properly shut down"));
}

fn end_of_whole_log(server: &Server) -> String {
    fs::read_to_string(server.log_file()).unwrap()
}

#[test]
fn a_folder_serves_one_server_at_a_time() {
    if !have_binaries() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _first = Server::start(options(dir.path(), Durability::Fast)).unwrap();

    let second = Server::start(options(dir.path(), Durability::Fast));

    assert!(matches!(second, Err(LauncherError::InUse { .. })), "{second:?}");
}

#[test]
fn settings_of_the_caller_win() {
    if !have_binaries() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Deeper than the 107 bytes that a socket's path may have, and closed to others as a temporary folder is.
    let deep = dir
        .path()
        .join("a-rather-long-name-for-a-folder".repeat(4))
        .join("state");
    let settings = vec![("max_connections".to_owned(), "17".to_owned())];

    let server = Server::start(ServerOptions {
        settings,
        ..options(&deep, Durability::Fast)
    })
    .unwrap();

    assert_eq!(query(&server, "show max_connections").as_deref(), Ok("17"));
}

#[test]
fn a_setting_that_postgres_refuses_is_reported_in_its_words() {
    if !have_binaries() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];

    let refused = Server::start(ServerOptions {
        settings,
        ..options(dir.path(), Durability::Fast)
    })
    .unwrap_err();

    assert!(refused.to_string().contains("no_such_setting"), "{refused}");
}

/// Not a test: the process that the next one kills. It holds a server until it dies.
#[test]
#[ignore = "a helper that another test starts"]
fn hold_a_server_until_killed() {
    let server = Server::start_temporary(Durability::Fast).unwrap();
    println!(
        "\nholding {} {}",
        server.pid().unwrap(),
        server.options.state_dir.display()
    );
    std::thread::sleep(SECONDS);
}

#[test]
fn a_server_goes_away_with_a_launcher_that_was_killed() {
    goes_away_with_its_launcher(|_| {});
}

/// As between the first signal of a `kill_9` and the last.
#[test]
fn a_frozen_server_goes_away_with_a_launcher_that_was_killed() {
    goes_away_with_its_launcher(|pid| send(pid, Signal::SIGSTOP));
}

fn goes_away_with_its_launcher(before: impl FnOnce(u32)) {
    if !have_binaries() {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "server::tests::hold_a_server_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let held = lines
        .find_map(|line| line.strip_prefix("holding ").map(str::to_owned))
        .unwrap();
    let (pid, dir) = held.split_once(' ').unwrap();
    let pid: u32 = pid.parse().unwrap();
    assert!(is_alive(pid));

    before(pid);
    holder.kill().unwrap();
    holder.wait().unwrap();

    assert!(
        wait_until(SECONDS, || !is_alive(pid)),
        "the server outlived its launcher"
    );
    assert!(
        wait_until(SECONDS, || !Path::new(dir).exists()),
        "its folder {dir} was left behind"
    );
}

#[test]
fn a_new_durable_folder_reaches_the_disk_while_its_server_serves() {
    if !have_binaries() {
        return;
    }
    let dir = temporary_dir().unwrap();
    let server = Server::start(options(dir.path(), Durability::Durable)).unwrap();
    assert!(wait_until(SECONDS, || !server.home.is_unsynced()));
    drop(server);

    // What was cut short is done at the next start.
    let mark = dir.path().join("postgres/data.unsynced");
    fs::write(&mark, "").unwrap();
    let _server = Server::start(options(dir.path(), Durability::Durable)).unwrap();
    assert!(wait_until(SECONDS, || !mark.exists()));
}

#[test]
fn a_data_folder_that_is_not_whole_is_told_before_a_server_is_started() {
    if !have_binaries() {
        return;
    }
    let dir = temporary_dir().unwrap();
    drop(Server::start(options(dir.path(), Durability::Fast)).unwrap());
    fs::remove_file(dir.path().join("postgres/data/global/pg_control")).unwrap();
    let error = Server::start(options(dir.path(), Durability::Fast)).unwrap_err();
    assert!(
        matches!(
            error,
            LauncherError::Damaged {
                missing: "global/pg_control",
                ..
            }
        ),
        "{error}"
    );
}
