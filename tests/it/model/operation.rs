//! What is done, as it is drawn: which run, step or key is meant is decided when it is done, so that every list of
//! operations can be done, and a shorter one too.

use engine::Release;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Runs are counted from the one that was started last.
pub(super) type RunPick = usize;

/// In whose name something is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub(super) run: RunPick,
    /// Of those that are held, if there are any.
    pub(super) held: bool,
    /// Under the fence before the last one.
    pub(super) stale: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// One by one, or all at once where there are several.
    Start(Vec<Wish>),
    StartChild {
        parent: Hold,
        wish: ChildWish,
    },
    Claim(ClaimWish),
    /// In one batch or one by one; each run once at most.
    Write {
        way: Way,
        entries: Vec<Entry>,
    },
    Release {
        hold: Hold,
        why: Release,
    },
    CancelChildren(Hold),
    Send(Telling),
    Cancel {
        of: Hold,
        children: bool,
    },
    Pause(Hold),
    Resume(Hold),
    Advance {
        seconds: i64,
    },
    Wake,
    Reclaim,
    Sweep,
    Worker {
        slot: usize,
        deed: Deed,
    },
    /// What a holder and an idle worker ask.
    Ask {
        hold: Hold,
        taken: i64,
        most: usize,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) of: Sort,
    pub(super) key: Option<u8>,
    pub(super) input: u8,
    pub(super) urgent: bool,
    /// Seconds from now.
    pub(super) due: Option<i64>,
    pub(super) deadline: Option<i64>,
    pub(super) elsewhere: bool,
}

/// What kind of run it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sort {
    Agent,
    /// An agent that needs a function.
    Surgeon,
    Workflow,
    /// An agent that is not there, or a workflow that nobody has.
    Unknown {
        agent: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) struct ChildWish {
    pub(super) of: Sort,
    pub(super) key: u8,
    pub(super) input: u8,
    pub(super) abandoned: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ClaimWish {
    pub(super) slot: usize,
    /// A worker whose lease is over makes room for another one first.
    pub(super) alive: bool,
    pub(super) batch: u32,
    /// Suspects, where there are any.
    pub(super) suspects: bool,
    /// Whether all queues are taken from, all kinds are driven, and functions are there.
    pub(super) everywhere: bool,
    pub(super) workflows: bool,
    pub(super) functions: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Batch,
    Alone,
    /// Through a recorder, at the same time.
    Gathered,
    /// In a transaction of the caller's.
    Transaction,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) hold: Hold,
    pub(super) begin: Option<Begin>,
    pub(super) change: Option<Change>,
    pub(super) has_intent: bool,
    pub(super) has_result: bool,
    pub(super) next: Next,
}

#[derive(Debug, Clone)]
pub(super) struct Begin {
    pub(super) kind: &'static str,
    pub(super) state: &'static str,
    pub(super) effect: &'static str,
    /// Which signal or child is meant.
    pub(super) name: usize,
    pub(super) maybe_applied: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) step: usize,
    pub(super) state: &'static str,
    pub(super) again: bool,
    pub(super) maybe_applied: bool,
    pub(super) fresh_budget: bool,
    pub(super) evidence: bool,
    pub(super) due: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    GoOn,
    GoOnUnwoken {
        stale: bool,
    },
    Park {
        stale: bool,
        waiting_for: &'static str,
        until: Option<i64>,
    },
    Succeed,
    Fail,
    Cancel,
}

#[derive(Debug, Clone)]
pub(super) struct Telling {
    pub(super) to: Hold,
    pub(super) name: usize,
    pub(super) id: Option<u8>,
    pub(super) payload: u8,
}

/// What a worker does, besides claiming.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    /// Another one takes its place, and nobody hears of it again.
    Die,
    Extend,
    Close,
    Clear(bool),
}

/// Names of signals.
pub(super) const NAMES: [&str; 2] = ["go", "stay"];

fn run() -> impl Strategy<Value = RunPick> {
    prop_oneof![3 => 0..3_usize, 1 => 0..9_usize]
}

fn hold() -> impl Strategy<Value = Hold> {
    let flags = (prop::bool::weighted(0.85), prop::bool::weighted(0.06));
    (run(), flags).prop_map(|(run, (held, stale))| Hold { run, held, stale })
}

/// A run that something is asked of, held with this likelihood.
fn target(held: f64) -> impl Strategy<Value = Hold> {
    (run(), prop::bool::weighted(held)).prop_map(|(run, held)| Hold {
        run,
        held,
        stale: false,
    })
}

fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1), Just(0), Just(1), Just(5), Just(101)]
}

fn sort() -> impl Strategy<Value = Sort> {
    prop_oneof![
        5 => Just(Sort::Workflow),
        3 => Just(Sort::Agent),
        1 => Just(Sort::Surgeon),
        1 => any::<bool>().prop_map(|agent| Sort::Unknown { agent }),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let times = (
        prop_oneof![3 => Just(None), 2 => seconds().prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => seconds().prop_map(Some)],
    );
    let key = option::weighted(0.4, 0..2_u8);
    let elsewhere = prop::bool::weighted(0.1);
    (sort(), key, 0..2_u8, any::<bool>(), times, elsewhere).prop_map(
        |(of, key, input, urgent, (due, deadline), elsewhere)| Wish {
            of,
            key,
            input,
            urgent,
            due,
            deadline,
            elsewhere,
        },
    )
}

fn child() -> impl Strategy<Value = Operation> {
    let input = prop_oneof![5 => Just(0), 1 => Just(1)];
    (hold(), sort(), 0..3_u8, input, prop::bool::weighted(0.25)).prop_map(|(parent, of, key, input, abandoned)| {
        let wish = ChildWish {
            of,
            key,
            input,
            abandoned,
        };
        Operation::StartChild { parent, wish }
    })
}

fn claim() -> impl Strategy<Value = ClaimWish> {
    let often = || prop::bool::weighted(0.9);
    let flags = (often(), often(), often(), often());
    (0..2_usize, 1..5_u32, prop::bool::weighted(0.3), flags).prop_map(
        |(slot, batch, suspects, (alive, everywhere, workflows, functions))| ClaimWish {
            slot,
            alive,
            batch,
            suspects,
            everywhere,
            workflows,
            functions,
        },
    )
}

/// Most are the first one: signals and waits shall meet.
fn name() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => Just(1)]
}

fn effect() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("read_only"),
        Just("idempotent"),
        Just("at_most_once"),
        Just("transactional")
    ]
}

fn begin() -> impl Strategy<Value = Begin> {
    let kind = prop_oneof![
        3 => Just("task"), 2 => Just("tool"), 2 => Just("signal"), 2 => Just("child"), 1 => Just("timer")
    ];
    let state = prop_oneof![
        5 => Just("running"), 4 => Just("waiting"), 2 => Just("succeeded"), 1 => Just("failed"), 1 => Just("unknown")
    ];
    (kind, state, effect(), name(), any::<bool>()).prop_map(|(kind, state, effect, name, maybe_applied)| Begin {
        kind,
        state,
        effect,
        name,
        maybe_applied,
    })
}

fn change() -> impl Strategy<Value = Change> {
    let state = prop_oneof![
        3 => Just("running"), 3 => Just("waiting"), 4 => Just("succeeded"), 1 => Just("failed"), 1 => Just("cancelled"),
        1 => Just("unknown")
    ];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    (0..4_usize, state, flags, option::of(seconds())).prop_map(
        |(step, state, (again, maybe_applied, fresh_budget, evidence), due)| Change {
            step,
            state,
            again,
            maybe_applied,
            fresh_budget,
            evidence,
            due,
        },
    )
}

fn next() -> impl Strategy<Value = Next> {
    let stale = || prop::bool::weighted(0.25);
    let waiting_for = prop_oneof![
        2 => Just("timer"), 2 => Just("signal"), 2 => Just("child"), 3 => Just("approval")
    ];
    prop_oneof![
        12 => Just(Next::GoOn),
        4 => stale().prop_map(|stale| Next::GoOnUnwoken { stale }),
        6 => (stale(), waiting_for, option::of(seconds()))
            .prop_map(|(stale, waiting_for, until)| Next::Park { stale, waiting_for, until }),
        1 => Just(Next::Succeed),
        1 => Just(Next::Fail),
        2 => Just(Next::Cancel),
    ]
}

/// Anything that a holder could write.
fn any_entry() -> impl Strategy<Value = Entry> {
    let flags = (prop::bool::weighted(0.45), prop::bool::weighted(0.4));
    let steps = (option::weighted(0.6, begin()), option::weighted(0.5, change()));
    (hold(), steps, flags, next()).prop_map(|(hold, (begin, change), (has_intent, has_result), next)| Entry {
        hold,
        begin,
        change,
        has_intent,
        has_result,
        next,
    })
}

/// A step that waits, and the run with it.
fn waiting() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![Just("signal"), Just("child")];
    let until = option::weighted(0.3, seconds());
    let for_person = prop::bool::weighted(0.2);
    (run(), kind, name(), until, for_person).prop_map(|(run, kind, name, until, for_person)| Entry {
        hold: Hold {
            run,
            held: true,
            stale: false,
        },
        begin: Some(Begin {
            kind,
            state: "waiting",
            effect: "read_only",
            name,
            maybe_applied: false,
        }),
        change: None,
        has_intent: false,
        has_result: false,
        next: Next::Park {
            stale: false,
            waiting_for: if for_person { "approval" } else { kind },
            until,
        },
    })
}

fn write() -> impl Strategy<Value = Operation> {
    let way = prop_oneof![
        3 => Just(Way::Batch), 2 => Just(Way::Alone), 1 => Just(Way::Gathered), 1 => Just(Way::Transaction)
    ];
    let entry = prop_oneof![3 => any_entry(), 1 => waiting()];
    (way, vec(entry, 1..4)).prop_map(|(way, entries)| Operation::Write { way, entries })
}

fn telling() -> impl Strategy<Value = Telling> {
    let id = prop_oneof![1 => Just(None), 2 => (0..3_u8).prop_map(Some)];
    let payload = prop_oneof![4 => Just(0), 1 => Just(1)];
    (target(0.2), name(), id, payload).prop_map(|(to, name, id, payload)| Telling { to, name, id, payload })
}

fn worker() -> impl Strategy<Value = Operation> {
    let deed = prop_oneof![
        3 => Just(Deed::Die), 4 => Just(Deed::Extend), 4 => Just(Deed::Close), 1 => any::<bool>().prop_map(Deed::Clear)
    ];
    (0..2_usize, deed).prop_map(|(slot, deed)| Operation::Worker { slot, deed })
}

fn operation() -> impl Strategy<Value = Operation> {
    let why = prop_oneof![
        1 => Just(Release::Shutdown),
        1 => Just(Release::Paused),
        1 => Just(Release::Room),
        1 => Just(Release::Woken),
        4 => Just(Release::DriverBroke),
    ];
    let children = prop::bool::weighted(0.6);
    prop_oneof![
        4 => vec(wish(), 1..2).prop_map(Operation::Start),
        1 => vec(wish(), 2..4).prop_map(Operation::Start),
        6 => child(),
        12 => claim().prop_map(Operation::Claim),
        24 => write(),
        5 => (hold(), why).prop_map(|(hold, why)| Operation::Release { hold, why }),
        2 => (run(), prop::bool::weighted(0.3)).prop_map(|(run, stale)| {
            Operation::CancelChildren(Hold { run, held: true, stale })
        }),
        9 => telling().prop_map(Operation::Send),
        6 => (target(0.35), children).prop_map(|(of, children)| Operation::Cancel { of, children }),
        5 => target(0.6).prop_map(Operation::Pause),
        7 => target(0.3).prop_map(Operation::Resume),
        4 => prop_oneof![Just(5_i64), Just(20), Just(101)].prop_map(|seconds| Operation::Advance { seconds }),
        4 => Just(Operation::Wake),
        6 => Just(Operation::Reclaim),
        4 => Just(Operation::Sweep),
        5 => worker(),
        5 => (target(0.5), 0..3_i64, 0..3_usize).prop_map(|(hold, taken, most)| Operation::Ask { hold, taken, most }),
    ]
}

/// One case.
pub(super) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..150)
}
