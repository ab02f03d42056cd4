//! Where a request may go: to the public internet, and to the hosts that the agent's author allows by name.
//!
//! The check is made on the addresses that are really connected to. A host that is written out as an address is judged
//! before the request is sent; a name is judged by the client's own resolver, which hands on just the addresses that it
//! has judged. So an answer of a name server that changes from one question to the next leads nowhere.

use agent::definition::HttpTool;
use agent::tool::address::{AllowedHost, Host, Place, place};
use agent::{ErrorClass, StepError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How far a client reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// The public internet.
    Public,
    /// This machine and the networks around it besides, for a host that is allowed by name.
    Inside,
}

impl Reach {
    /// How far a request to that URL reaches, or why it is not sent.
    pub(super) fn of(url: &Url, tool: &HttpTool) -> Result<Self, Refused> {
        let host = Host::of(url.host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or_default();
        let allowed = tool.allow_hosts.iter().filter_map(|text| AllowedHost::parse(text));
        if allowed.into_iter().any(|allowed| allowed.admits(&host, port)) {
            return Ok(Self::Inside);
        }
        match host {
            Host::Address(address) => Self::Public.judge(address).map(|()| Self::Public),
            Host::Name(_) => Ok(Self::Public),
        }
    }

    fn judge(self, address: IpAddr) -> Result<(), Refused> {
        let what = match (place(address), self) {
            (Place::Public, _) | (Place::Inside(_), Self::Inside) => return Ok(()),
            (Place::Inside(what), Self::Public) | (Place::Special(what), _) => what,
        };
        Err(Refused { address, what })
    }
}

/// An address that the tool may not reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) address: IpAddr,
    what: &'static str,
}

impl Refused {
    /// What a connection failed of, if that was it.
    pub(super) fn behind(error: &reqwest::Error) -> Option<Self> {
        std::iter::successors(error.source(), |&cause| cause.source())
            .find_map(|cause| cause.downcast_ref::<Self>())
            .copied()
    }

    /// What is recorded. The address is left to the evidence: a model need not learn what lies where inside.
    pub(super) fn error(self, host: &str) -> StepError {
        let message = format!(
            "{host} is at {}, which this tool may not reach: nothing was sent",
            self.what
        );
        StepError::new(ErrorClass::Permanent, "address_refused", message)
            .suggest("do without this tool; its author can allow a host inside by naming it in the tool's allow_hosts")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "it is at {}, which the tool may not reach", self.what)
    }
}

impl Error for Refused {}

/// Who is asked for the addresses of a name.
#[derive(Clone)]
pub(in crate::tool) struct Names(Arc<Lookup>);

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

impl Names {
    /// The machine's own resolver.
    pub(in crate::tool) fn of_system() -> Self {
        Self::new(|name| {
            async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            .boxed()
        })
    }

    pub(in crate::tool) fn new(
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Names(..)")
    }
}

/// A client's resolver: it hands on only what the client may reach.
pub(super) struct Guard {
    pub(super) names: Names,
    pub(super) reach: Reach,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, reach) = ((self.names.0)(name.as_str().to_owned()), self.reach);
        Box::pin(async move {
            let addresses = found.await?;
            // All of them: a name with one foot inside is refused each time and not only now and then.
            for address in &addresses {
                reach.judge(*address)?;
            }
            // Port 0: the URL's own.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
