//! `cargo xtask prepare`: writes what sqlx needs to check the engine's queries without a database.
//!
//! The migrations are applied by `psql`: the program that could apply them does not compile before the cache is right.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use anyhow::{Context, bail};
use launcher::{Durability, PostgresBinaries, Server};

use crate::{
    command::{cargo, read, run},
    workspace,
};

/// Whether the cache is to be written or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    Compare,
}

/// Name and content of each file of the cache.
type Cache = BTreeMap<String, String>;

pub(crate) fn prepare(mode: Mode) -> anyhow::Result<ExitCode> {
    let root = workspace::root()?;
    let committed_dir = root.join(".sqlx");
    let server = Server::start_temporary(Durability::Fast)?;
    let url = server.url("longhaul");
    apply_migrations(&root, &url)?;
    let fresh = describe_queries(&root, &url)?;
    drop(server);

    let committed = read_cache(&committed_dir)?;
    let differences = differences(&committed, &fresh);
    for difference in &differences {
        println!("{difference}");
    }
    match mode {
        Mode::Compare if differences.is_empty() => println!(".sqlx is up to date: {} queries", fresh.len()),
        Mode::Compare => {
            println!(
                ".sqlx is not what the queries and migrations ask for\n   what to do: cargo xtask prepare, and commit .sqlx"
            );
            return Ok(ExitCode::FAILURE);
        }
        Mode::Write => {
            write_cache(&committed_dir, &committed, &fresh)?;
            println!("wrote .sqlx: {} queries, {} changes", fresh.len(), differences.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn apply_migrations(root: &Path, url: &str) -> anyhow::Result<()> {
    let psql = PostgresBinaries::find()?.program("psql");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("migrations"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    for file in files {
        let mut apply = Command::new(&psql);
        apply
            .arg(url)
            .args(["-X", "--quiet", "--single-transaction", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&file);
        apply.env("PGOPTIONS", "--client-min-messages=warning");
        read(&mut apply).with_context(|| format!("could not apply {}", file.display()))?;
    }
    Ok(())
}

/// Has sqlx's macros look at every query of the engine, and collects what they write.
fn describe_queries(root: &Path, url: &str) -> anyhow::Result<Cache> {
    let scratch = tempfile::tempdir()?;
    // The compiler would not look at an unchanged crate again.
    touch(&root.join("engine/src/lib.rs"))?;
    let mut check = cargo(root);
    check.args(["check", "--package", "longhaul-engine"]);
    check
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", scratch.path());
    if !run(&mut check)?.success() {
        bail!("the engine does not compile against the migrated database; .sqlx was left as it is");
    }
    read_cache(scratch.path())
}

#[expect(clippy::disallowed_methods, reason = "the build compares file times of this machine")]
fn touch(file: &Path) -> anyhow::Result<()> {
    let times = FileTimes::new().set_modified(SystemTime::now());
    File::options().append(true).open(file)?.set_times(times)?;
    Ok(())
}

fn read_cache(dir: &Path) -> anyhow::Result<Cache> {
    let mut cache = Cache::new();
    if !dir.exists() {
        return Ok(cache);
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            cache.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(cache)
}

fn differences(committed: &Cache, fresh: &Cache) -> Vec<String> {
    let stale = committed
        .keys()
        .filter(|name| !fresh.contains_key(*name))
        .map(|name| format!("  stale    {name}"));
    let written = fresh.iter().filter_map(|(name, content)| match committed.get(name) {
        None => Some(format!("  new      {name}")),
        Some(old) if old != content => Some(format!("  changed  {name}")),
        Some(_) => None,
    });
    stale.chain(written).collect()
}

fn write_cache(dir: &Path, committed: &Cache, fresh: &Cache) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    for name in committed.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(dir.join(name))?;
    }
    for (name, content) in fresh {
        if committed.get(name) != Some(content) {
            fs::write(dir.join(name), content)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(files: &[(&str, &str)]) -> Cache {
        files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect()
    }

    #[test]
    fn a_stale_a_changed_and_a_new_query_are_told_apart() {
        let committed = cache(&[("query-a.json", "1"), ("query-b.json", "1"), ("query-c.json", "1")]);
        let fresh = cache(&[("query-b.json", "2"), ("query-c.json", "1"), ("query-d.json", "1")]);

        let found = differences(&committed, &fresh);

        assert_eq!(
            found,
            [
                "  stale    query-a.json",
                "  changed  query-b.json",
                "  new      query-d.json"
            ]
        );
    }

    #[test]
    fn writing_removes_what_is_stale_and_leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("query-a.json"), "1").unwrap();
        fs::write(dir.path().join("README"), "kept").unwrap();
        let committed = read_cache(dir.path()).unwrap();

        write_cache(dir.path(), &committed, &cache(&[("query-b.json", "2")])).unwrap();

        assert_eq!(read_cache(dir.path()).unwrap(), cache(&[("query-b.json", "2")]));
        assert!(dir.path().join("README").exists());
    }
}
