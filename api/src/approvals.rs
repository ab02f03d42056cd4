//! `/v1/approvals`: what people are asked, all that there is to judge it by, and their decisions.

mod decision;
mod list;
mod show;

pub(crate) use decision::{__path_decide, decide};
pub(crate) use list::{__path_list, list};
pub(crate) use show::{__path_show, show};

use crate::problem::Problem;
use crate::server::App;
use engine::query::ApprovalDetail;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Whether somebody is still asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ApprovalState {
    /// Somebody is asked.
    Open,
    /// Somebody has decided.
    Decided,
    /// Its run was cancelled, or went on without it.
    Withdrawn,
    /// What it was about has moved on.
    Superseded,
}

impl ApprovalState {
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Decided, Self::Withdrawn, Self::Superseded];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Decided => "decided",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
        }
    }

    /// The state of that name; the table's constraint knows no others.
    pub(crate) fn of(name: &str) -> Self {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == name);
        known.unwrap_or(Self::Withdrawn)
    }
}

/// The approval, if it is this tenant's.
async fn found(app: &App, id: Uuid) -> Result<ApprovalDetail, Problem> {
    let found = app.engine.approval(id).await?;
    found
        .filter(|approval| approval.tenant == app.options.tenant)
        .ok_or_else(|| {
            Problem::not_found("no_such_approval", format!("approval {id} does not exist"))
                .hint("GET /v1/approvals lists them")
        })
}
