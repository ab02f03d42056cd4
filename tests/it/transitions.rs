//! Each transition by hand, without a worker: who wins, who is refused, and what is left behind.

mod asked;
mod batch;
mod claim;
mod control;
mod fence;
mod identity;
mod lease;
mod reach;
mod trees;
mod waits;
mod wake;
