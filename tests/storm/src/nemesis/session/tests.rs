use super::*;

/// A connection on which a statement was prepared and its preparation answered.
struct Stage {
    session: Session,
    aims: Aims,
    replies: Replies,
}

const RUN: Uuid = Uuid::from_u128(7);

impl Stage {
    fn prepared(sql: &str) -> Self {
        let mut stage = Self {
            session: Session::new(),
            aims: Aims::default(),
            replies: Replies::default(),
        };
        assert!(matches!(stage.server(b'Z', b"I"), Downward::Deliver));
        stage.prepare("s1", sql);
        stage
    }

    fn prepare(&mut self, name: &str, sql: &str) {
        self.worker(b'P', format!("{name}\0{sql}\0\0\0").as_bytes());
        self.worker(b'S', b"");
        assert!(matches!(self.server(b'1', b""), Downward::Deliver));
        assert!(matches!(self.server(b'Z', b"I"), Downward::Deliver));
    }

    fn armed(self, window: Window) -> Self {
        self.aims.arm(&Aim::at(window));
        self
    }

    fn worker(&mut self, kind: u8, body: &[u8]) -> Upward {
        self.session.upward(&message(kind, body), &self.aims, &self.replies)
    }

    fn server(&mut self, kind: u8, body: &[u8]) -> Downward {
        self.session.downward(&message(kind, body), &self.aims, false)
    }

    fn bind(&mut self, name: &str) -> Upward {
        let mut body = format!("\0{name}\0\0\0\0\x01\0\0\0\x10").into_bytes();
        body.extend_from_slice(RUN.as_bytes());
        self.worker(b'B', &body)
    }

    /// Binds, executes, and hands back what becomes of the end of the answer with these rows.
    fn executed(&mut self, name: &str, rows: &[&[u8]]) -> Downward {
        assert!(matches!(self.bind(name), Upward::Forward));
        self.worker(b'E', b"\0\0\0\0\0");
        self.worker(b'S', b"");
        self.server(b'2', b"");
        for row in rows {
            self.server(b'D', row);
        }
        self.server(b'C', b"SELECT 1\0");
        self.server(b'Z', b"I")
    }
}

const YES: &[u8] = b"\0\x02\0\0\0\x01r\0\0\0\x01\x01";
const NO: &[u8] = b"\0\x02\0\0\0\x01r\0\0\0\x01\0";
const CLAIM: &str = "insert … 'run.claimed' …";
const RECORD: &str = "insert into longhaul.step (run_id";

fn message(kind: u8, body: &[u8]) -> Message {
    let mut bytes = vec![kind];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    Message {
        kind: Some(kind),
        bytes,
    }
}

#[test]
fn a_claim_is_stopped_before_it_is_sent() {
    let mut stage = Stage::prepared(CLAIM).armed(Window::ClaimUncommitted);
    assert!(matches!(stage.bind("s1"), Upward::Strike(_)));
    assert!(matches!(stage.bind("another"), Upward::Forward));
}

#[test]
fn an_answer_is_held_from_its_beginning_and_never_arrives() {
    let mut stage = Stage::prepared(CLAIM).armed(Window::ClaimUnread);
    stage.bind("s1");
    stage.worker(b'S', b"");
    assert!(matches!(stage.server(b'2', b""), Downward::Hold));
    assert!(matches!(stage.server(b'D', YES), Downward::Hold));
    assert!(matches!(stage.server(b'Z', b"I"), Downward::Strike(_)));
}

#[test]
fn a_claim_that_took_nothing_goes_on_and_the_aim_stays() {
    let mut stage = Stage::prepared(CLAIM).armed(Window::ClaimUnread);
    assert!(matches!(stage.executed("s1", &[]), Downward::Deliver));
    assert!(matches!(stage.executed("s1", &[YES]), Downward::Strike(_)));
}

#[test]
fn a_record_that_was_refused_is_no_commit() {
    let mut stage = Stage::prepared(RECORD).armed(Window::RecordUnanswered);
    assert!(matches!(stage.executed("s1", &[NO]), Downward::Deliver));
    assert!(matches!(stage.executed("s1", &[YES]), Downward::Strike(_)));
}

#[test]
fn a_record_that_parks_or_ends_a_run_is_known_by_its_parameters() {
    for (window, kind) in [
        (Window::ParkUnanswered, "run.parked"),
        (Window::FinishUnanswered, "run.succeeded"),
    ] {
        let mut stage = Stage::prepared(RECORD).armed(window);
        assert!(matches!(stage.executed("s1", &[YES]), Downward::Deliver));
        stage.worker(b'B', format!("\0s1\0\0\0\0\x01\0\0\0\x0d{kind}").as_bytes());
        stage.worker(b'S', b"");
        stage.server(b'D', YES);
        assert!(matches!(stage.server(b'Z', b"I"), Downward::Strike(_)));
    }
}

#[test]
fn a_statement_that_was_not_aimed_at_in_time_is_let_through() {
    let mut stage = Stage::prepared(RECORD);
    stage.bind("s1");
    stage.worker(b'S', b"");
    assert!(matches!(stage.server(b'2', b""), Downward::Deliver));
    let mut stage = stage.armed(Window::RecordUnanswered);
    assert!(matches!(stage.server(b'D', YES), Downward::Deliver));
    assert!(matches!(stage.server(b'Z', b"I"), Downward::Deliver));
}

#[test]
fn a_reply_is_followed_by_one_record_of_its_run() {
    let mut stage = Stage::prepared(RECORD).armed(Window::ReplyUnrecorded);
    assert!(matches!(stage.bind("s1"), Upward::Forward));
    stage.replies.delivered(RUN);
    assert!(matches!(stage.bind("s1"), Upward::Strike(_)));
    assert!(matches!(stage.bind("s1"), Upward::Forward));
}

#[test]
fn a_reclaim_is_stopped_only_where_it_holds_something() {
    let mut stage = Stage::prepared("for no key update of run skip locked").armed(Window::ReclaimUncommitted);
    stage.prepare("s2", "'run.reclaimed'");
    stage.executed("s1", &[]);
    assert!(matches!(stage.bind("s2"), Upward::Forward));
    stage.worker(b'S', b"");
    stage.server(b'Z', b"T");
    stage.executed("s1", &[YES]);
    assert!(matches!(stage.bind("s2"), Upward::Strike(_)));
}

#[test]
fn a_notification_is_swallowed_only_while_they_are_kept() {
    let mut session = Session::new();
    let notification = message(b'A', b"");
    let aims = Aims::default();
    assert!(matches!(
        session.downward(&notification, &aims, true),
        Downward::Swallow
    ));
    assert!(matches!(
        session.downward(&notification, &aims, false),
        Downward::Deliver
    ));
}
