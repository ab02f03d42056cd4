//! What the tests of tools share: calls of tools, and a server that speaks canned bytes.

use super::http::{Clients, Names};
use super::{Attempt, Call, CallContext, Environment, Functions, ToolBox};
use agent::definition::{CommandLimits, CommandTool, FunctionTool, HttpTool, OnError, RetryPolicy, Tool, ToolAction};
use agent::effect::Effect;
use agent::sanitise::Sanitise;
use agent::tool::ToolRequest;
use agent::{AttemptOutcome, Bound, CallLimit, StepError, ToolOutcome};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) const KEY: &str = "lh_key_1";

/// Long enough that no test reaches it unless it means to.
pub(super) const AMPLE: Duration = Duration::from_secs(30);

/// Short enough to wait for.
pub(super) const BRIEF: Duration = Duration::from_millis(250);

/// When every attempt of these tests begins.
pub(super) fn noon() -> DateTime<Utc> {
    "2015-10-21T12:00:00Z".parse().unwrap()
}

/// One tool and the box that calls it.
pub(super) struct Scene {
    pub(super) tool: Tool,
    pub(super) request: ToolRequest,
    pub(super) timeout: Duration,
    requester: String,
    pub(super) tool_box: ToolBox,
}

impl Scene {
    fn new(action: ToolAction, request: ToolRequest) -> Self {
        let tool = Tool {
            name: "act".into(),
            description: "Acts.".into(),
            effect: Effect::AtMostOnce,
            input: None,
            strict: false,
            timeout_seconds: 30,
            retry: RetryPolicy {
                attempts_max: 1,
                initial_ms: 1,
                cap_ms: 1,
                horizon_seconds: 1,
            },
            on_error: OnError::TellModel,
            probe: None,
            cache: None,
            fallback: Vec::new(),
            after: Vec::new(),
            parallel: true,
            sanitise: Sanitise::default(),
            breaker: agent::gate::Breaker::default(),
            limit: None,
            action,
        };
        Self {
            tool,
            request,
            timeout: AMPLE,
            requester: "ada".into(),
            tool_box: ToolBox::new(Functions::new(), Environment::of(BTreeMap::new())),
        }
    }

    /// A POST of `{"n":1}` by a tool that may reach 127.0.0.1.
    pub(super) fn http(url: impl Into<String>) -> Self {
        let url = url.into();
        let action = ToolAction::Http(HttpTool {
            method: "POST".into(),
            url: url.clone(),
            headers: BTreeMap::new(),
            idempotency_header: "Idempotency-Key".into(),
            allow_hosts: vec!["127.0.0.1".into()],
            connect_timeout_seconds: None,
            first_byte_timeout_seconds: None,
            idle_timeout_seconds: None,
        });
        let request = ToolRequest::Http {
            method: "POST".into(),
            url,
            headers: BTreeMap::new(),
            body: Some(r#"{"n":1}"#.into()),
        };
        Self::new(action, request)
    }

    /// `/bin/sh -c script` with `{"n":1}` on standard input.
    pub(super) fn shell(script: &str) -> Self {
        Self::command(&["/bin/sh", "-c", script]).with_environment(&[("PATH", "/usr/bin:/bin")])
    }

    pub(super) fn command(argv: &[&str]) -> Self {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        let action = ToolAction::Command(CommandTool {
            argv: argv.clone(),
            env: Vec::new(),
            working_dir: None,
            not_applied_exit_codes: vec![3],
            transient_exit_codes: vec![75],
            limits: CommandLimits::default(),
        });
        let stdin = r#"{"n":1}"#.into();
        Self::new(action, ToolRequest::Command { argv, stdin })
    }

    pub(super) fn function(functions: Functions, name: &str, input: &str) -> Self {
        let function = name.to_owned();
        let action = ToolAction::Function(FunctionTool {
            function: function.clone(),
        });
        let input = input.into();
        let mut scene = Self::new(action, ToolRequest::Function { function, input });
        scene.tool_box = ToolBox::new(functions, Environment::of(BTreeMap::new()));
        scene
    }

    pub(super) fn with_environment(mut self, values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        self.tool_box = ToolBox::new(Functions::new(), Environment::of(values.collect()));
        self
    }

    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        if let ToolRequest::Http { headers, .. } = &mut self.request {
            headers.insert(name.into(), value.into());
        }
        self
    }

    pub(super) fn with_body(mut self, text: Option<&str>) -> Self {
        if let ToolRequest::Http { body, .. } = &mut self.request {
            *body = text.map(Into::into);
        }
        self
    }

    pub(super) fn with_stdin(mut self, text: String) -> Self {
        if let ToolRequest::Command { stdin, .. } = &mut self.request {
            *stdin = text;
        }
        self
    }

    pub(super) fn allowing(mut self, names: &[&str]) -> Self {
        if let ToolAction::Command(command) = &mut self.tool.action {
            command.env = names.iter().map(ToString::to_string).collect();
        }
        self
    }

    pub(super) fn in_folder(mut self, folder: &str) -> Self {
        if let ToolAction::Command(command) = &mut self.tool.action {
            command.working_dir = Some(folder.into());
        }
        self
    }

    pub(super) fn reaching(mut self, hosts: &[&str]) -> Self {
        if let ToolAction::Http(http) = &mut self.tool.action {
            http.allow_hosts = hosts.iter().map(ToString::to_string).collect();
        }
        self
    }

    /// Asks these for the addresses of names.
    pub(super) fn asking(mut self, names: Names) -> Self {
        self.tool_box.http = Clients::new(names);
        self
    }

    pub(super) fn limited(mut self, limits: CommandLimits) -> Self {
        if let ToolAction::Command(command) = &mut self.tool.action {
            command.limits = limits;
        }
        self
    }

    pub(super) fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) fn asked_by(mut self, requester: &str) -> Self {
        self.requester = requester.into();
        self
    }

    pub(super) async fn call(&self) -> Attempt {
        let call = Call {
            tool: &self.tool,
            request: &self.request,
            key: KEY,
            attempt: 2,
            limit: CallLimit::own(self.tool.timeout()).within(self.timeout, Bound::Run),
            now: noon(),
            context: CallContext {
                run: "run-1".into(),
                step: 7,
                worker: "worker-a".into(),
                tenant: "acme".into(),
                requester: Some(self.requester.clone()),
            },
        };
        self.tool_box.call(call).await
    }
}

impl Attempt {
    /// The output, when it was done.
    #[track_caller]
    pub(super) fn done(self) -> ToolOutcome {
        match self.outcome {
            AttemptOutcome::Done(output) => output,
            other @ (AttemptOutcome::NotSent(_)
            | AttemptOutcome::NotApplied { .. }
            | AttemptOutcome::Ambiguous { .. }) => panic!("not done: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn unsent(self) -> StepError {
        match self.outcome {
            AttemptOutcome::NotSent(error) => error,
            other
            @ (AttemptOutcome::Done(_) | AttemptOutcome::NotApplied { .. } | AttemptOutcome::Ambiguous { .. }) => {
                panic!("perhaps sent: {other:?}")
            }
        }
    }

    #[track_caller]
    pub(super) fn not_applied(self) -> (StepError, Option<Duration>) {
        match self.outcome {
            AttemptOutcome::NotApplied { error, retry_after } => (error, retry_after),
            other @ (AttemptOutcome::Done(_) | AttemptOutcome::NotSent(_) | AttemptOutcome::Ambiguous { .. }) => {
                panic!("not known to be not applied: {other:?}")
            }
        }
    }

    #[track_caller]
    pub(super) fn ambiguous(self) -> (StepError, Option<Duration>) {
        match self.outcome {
            AttemptOutcome::Ambiguous { error, retry_after } => (error, retry_after),
            other @ (AttemptOutcome::Done(_) | AttemptOutcome::NotSent(_) | AttemptOutcome::NotApplied { .. }) => {
                panic!("not ambiguous: {other:?}")
            }
        }
    }
}

/// A server for one connection.
pub(super) struct Server {
    pub(super) url: String,
    served: JoinHandle<String>,
}

/// What a server does after it has answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Close,
    Reset,
    StayOpen,
}

impl Server {
    /// Reads one request, writes the bytes, and then does as told.
    pub(super) async fn answering(reply: impl Into<Vec<u8>>, then: Then) -> Self {
        let reply = reply.into();
        Self::serving(move |mut stream| async move {
            let request = read_request(&mut stream).await;
            let _ = stream.write_all(&reply).await;
            finish(stream, then).await;
            request
        })
        .await
    }

    /// An answer with its length.
    pub(super) async fn with_status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        Self::answering(reply, Then::Close).await
    }

    pub(super) async fn serving<F, Fut>(serve: F) -> Self
    where
        F: FnOnce(TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = String> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/do", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream).await
        });
        Self { url, served }
    }

    /// The request it got.
    pub(super) async fn request(self) -> String {
        self.served.await.unwrap()
    }
}

async fn finish(mut stream: TcpStream, then: Then) {
    match then {
        Then::Close => {
            let _ = stream.shutdown().await;
        }
        Then::Reset => {
            let _ = stream.set_zero_linger();
        }
        Then::StayOpen => {
            // Until the client goes away.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    }
}

/// Reads a request's head and as much body as it announces.
pub(super) async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= announced {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
