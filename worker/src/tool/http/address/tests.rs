use super::Names;
use crate::tool::scene::{Scene, Server, Then};
use agent::{ErrorClass, StepError};
use futures_util::FutureExt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A listener that nobody should come to.
struct Canary(TcpListener);

impl Canary {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// A connection on this machine stands before its caller learns of it.
    #[track_caller]
    fn is_untouched(&self, what: &str) {
        match self.0.accept() {
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{what}"),
            Ok(_) => panic!("{what} came through"),
        }
    }
}

/// The same answer to each question, and how many there were.
fn answering(addresses: &[&str]) -> (Names, Arc<AtomicUsize>) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let names = Names::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        let addresses = addresses.clone();
        async move { Ok(addresses) }.boxed()
    });
    (names, asked)
}

#[track_caller]
fn is_refused(error: &StepError) {
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permanent, "address_refused"),
        "{}",
        error.message
    );
    assert!(!error.fatal && !error.class.is_retryable());
    assert!(error.suggestion.as_deref().unwrap().contains("allow_hosts"));
}

#[tokio::test]
async fn an_address_inside_is_not_connected_to_however_it_is_written() {
    let canary = Canary::new();
    let port = canary.port();

    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "1.1.1.1@127.0.0.1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LocalHost",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "224.0.0.1",
    ] {
        let attempt = Scene::http(format!("http://{host}:{port}/do"))
            .reaching(&[])
            .call()
            .await;
        is_refused(&attempt.unsent());
        canary.is_untouched(host);
    }
}

#[tokio::test]
async fn the_refusal_names_the_host_and_leaves_the_address_to_the_evidence() {
    let (names, _) = answering(&["10.1.2.3"]);

    let attempt = Scene::http("http://{env:HOST}/do")
        .with_environment(&[("HOST", "shop.test")])
        .asking(names)
        .call()
        .await;

    assert_eq!(attempt.evidence["address"], "10.1.2.3");
    let error = attempt.unsent();
    assert!(
        error.message.contains("{env:HOST} is at a private address"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("10.1.2.3"), "{error:?}");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let canary = Canary::new();
    for addresses in [
        &["127.0.0.1"][..],
        &["::ffff:127.0.0.1"],
        &["1.1.1.1", "127.0.0.1"],
        &["::1", "1.1.1.1"],
        &["0.0.0.0"],
    ] {
        let (names, _) = answering(addresses);
        let url = format!("http://rebound.test:{}/do", canary.port());
        is_refused(
            &Scene::http(url)
                .reaching(&["127.0.0.1"])
                .asking(names)
                .call()
                .await
                .unsent(),
        );
        canary.is_untouched(&format!("{addresses:?}"));
    }
}

#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_connected_to() {
    // The second answer would lead to another place; it is never asked for.
    let server = Server::with_status("200 OK", "", "fine").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let names = Names::new(move |_| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move { Ok(vec![if first { [127, 0, 0, 1] } else { [127, 0, 0, 9] }.into()]) }.boxed()
    });
    let url = server.url.replace("127.0.0.1", "flips.test");

    let attempt = Scene::http(url).reaching(&["flips.test"]).asking(names).call().await;

    assert_eq!(attempt.done().content, "fine");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_host_that_the_author_allows_is_reached_and_none_beside_it() {
    let server = Server::with_status("200 OK", "", "fine").await;
    let port = server.url.parse::<reqwest::Url>().unwrap().port().unwrap();
    let other = Canary::new();

    let (names, _) = answering(&["127.0.0.1"]);
    let scene = |url: String| {
        Scene::http(url)
            .reaching(&[&format!("payments.internal:{port}")])
            .asking(names.clone())
    };
    for url in [
        format!("http://payments.internal:{}/do", other.port()),
        format!("http://a.payments.internal:{port}/do"),
        format!("http://127.0.0.1:{port}/do"),
    ] {
        is_refused(&scene(url).call().await.unsent());
    }
    other.is_untouched("another port");

    let attempt = scene(format!("http://Payments.Internal.:{port}/do")).call().await;
    assert_eq!(attempt.done().content, "fine");
}

#[tokio::test]
async fn an_allowed_name_does_not_lead_to_a_clouds_metadata() {
    for address in [
        "169.254.169.254",
        "fd00:ec2::254",
        "168.63.129.16",
        "fe80::1",
        "0.0.0.0",
    ] {
        let (names, _) = answering(&[address]);
        let scene = Scene::http("http://payments.internal/do").reaching(&["payments.internal"]);
        is_refused(&scene.asking(names).call().await.unsent());
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_even_to_an_allowed_host() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let canary = Canary::new();
        let location = format!("location: http://127.0.0.1:{}/\r\n", canary.port());
        let server = Server::with_status(status, &location, "").await;

        let (error, _) = Scene::http(&server.url).call().await.ambiguous();

        assert_eq!(error.class, ErrorClass::Permanent);
        assert!(
            error.message.contains("redirects are not followed"),
            "{}",
            error.message
        );
        canary.is_untouched(status);
    }
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_refusal() {
    let names = Names::new(|_| async { Err(std::io::Error::other("no such name")) }.boxed());

    let error = Scene::http("http://nowhere.test/").asking(names).call().await.unsent();

    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Transient, "connect_failed")
    );
}

/// Runs itself once more with a proxy in its environment.
#[test]
fn a_proxy_from_the_environment_is_not_asked() {
    const SELF: &str = "tool::http::address::tests::a_proxy_from_the_environment_is_not_asked";
    let Some(proxy) = std::env::var_os("http_proxy").filter(|_| std::env::var_os("SECOND_TIME").is_some()) else {
        let proxy = Canary::new();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", SELF])
            .env("SECOND_TIME", "1")
            .env("http_proxy", format!("http://127.0.0.1:{}", proxy.port()))
            .env("NO_PROXY", "")
            .env("no_proxy", "")
            .status()
            .unwrap();
        assert!(status.success());
        proxy.is_untouched("the request");
        return;
    };
    assert!(!proxy.is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::answering("HTTP/1.1 204 No Content\r\n\r\n", Then::Close).await;
        let address: SocketAddr = server.url["http://".len()..]
            .strip_suffix("/do")
            .unwrap()
            .parse()
            .unwrap();
        let (names, _) = answering(&[&address.ip().to_string()]);
        let url = format!("http://direct.test:{}/do", address.port());

        Scene::http(url)
            .reaching(&["direct.test"])
            .asking(names)
            .call()
            .await
            .done();
    });
}
