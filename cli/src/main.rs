//! The `longhaul` command, without functions of its own. Programs that register Rust functions call
//! [`cli::main_with`] in the same way.

fn main() -> std::process::ExitCode {
    cli::main_with(worker::Program::default())
}
