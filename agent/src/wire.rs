//! Wire formats of model providers: bytes to our types and back.

pub mod messages;
