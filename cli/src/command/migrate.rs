//! `longhaul migrate`.

use crate::args::Global;
use crate::database::url;
use crate::failure::Exit;
use crate::output;
use serde_json::json;

pub(crate) async fn run(global: &Global) -> anyhow::Result<Exit> {
    let url = url(global)?;
    // A connection first: an address that is wrong is told as such, not as a migration that failed.
    crate::database::connect(&url).await?.close().await;
    let applied = engine::schema::migrate(&url).await?;
    if global.json {
        output::json(&json!({"applied": applied}));
    } else {
        output::line(match applied {
            0 => "already up to date".to_owned(),
            1 => "1 migration applied".to_owned(),
            count => format!("{count} migrations applied"),
        });
    }
    Ok(Exit::Ok)
}
