//! What people type to start this program, so that a printed command works where it is pasted.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Its usual name.
pub(super) const NAME: &str = "longhaul";

/// As this process was started.
pub(super) fn typed() -> String {
    // Cargo names the package that it runs; a test of another package is no `cargo run` of this one.
    let by_cargo = env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    typed_for(
        env::current_exe().ok(),
        &env::var_os("PATH").unwrap_or_default(),
        by_cargo,
    )
}

fn typed_for(running: Option<PathBuf>, path: &OsStr, by_cargo: bool) -> String {
    let Some(running) = running.and_then(|running| running.canonicalize().ok()) else {
        return NAME.to_owned();
    };
    let first = env::split_paths(path)
        .map(|folder| folder.join(NAME))
        .find(|file| file.is_file());
    if first.and_then(|file| file.canonicalize().ok()).as_deref() == Some(&running) {
        NAME.to_owned()
    } else if by_cargo {
        "cargo run --".to_owned()
    } else {
        shown(&running)
    }
}

fn shown(running: &Path) -> String {
    let here = env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| running.strip_prefix(here).ok());
    let path = relative.map_or_else(|| running.to_owned(), |relative| Path::new(".").join(relative));
    super::quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_off_the_path_is_named_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join(NAME);
        std::fs::write(&file, "").unwrap();
        let typed = |path: &OsStr, by_cargo| typed_for(Some(file.clone()), path, by_cargo);
        assert_eq!(typed(folder.path().as_os_str(), false), "longhaul");
        assert_eq!(typed(OsStr::new("/nowhere"), false), file.to_string_lossy());
        assert_eq!(typed(OsStr::new("/nowhere"), true), "cargo run --");
    }
}
