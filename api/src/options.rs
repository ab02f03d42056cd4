//! What whoever starts the HTTP door says about it.

use crate::limits::Limits;
use secrecy::SecretString;
use std::net::SocketAddr;

/// Settings of one API process.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who is let in.
    pub access: Access,
    /// Whose data is shown and written: one token, one tenant.
    pub tenant: String,
    /// Who acts, where a request does not say: the requester of runs, the author of cancels, pauses and resumes.
    pub principal: String,
    /// Bounds.
    pub limits: Limits,
}

impl ApiOptions {
    /// The default tenant, the principal `api`, and the usual bounds.
    pub fn new(listen: SocketAddr, access: Access) -> Self {
        Self {
            listen,
            access,
            tenant: "default".to_owned(),
            principal: "api".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever shows this token as `Authorization: Bearer …`.
    Token(SecretString),
    /// Everybody who can reach the port.
    AllowAnyone,
}
