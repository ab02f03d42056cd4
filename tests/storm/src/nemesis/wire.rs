//! The frames of the Postgres protocol, and the few fields of them that are looked at.

/// The longest frame that is taken for one; beyond it something is out of step.
const BYTES_MAX: usize = 1 << 30;

/// One message, with its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its type; `None` for the packet that opens a connection, which has none.
    pub(super) kind: Option<u8>,
    pub(super) bytes: Vec<u8>,
}

impl Message {
    pub(super) fn body(&self) -> &[u8] {
        let head = if self.kind.is_some() { 5 } else { 4 };
        self.bytes.get(head..).unwrap_or_default()
    }
}

/// Bytes of one direction, cut into messages.
#[derive(Debug)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    opening: bool,
}

impl Frames {
    /// From a client: the first packet has no type.
    pub(super) fn of_client() -> Self {
        Self {
            bytes: Vec::new(),
            opening: true,
        }
    }

    pub(super) fn of_server() -> Self {
        Self {
            bytes: Vec::new(),
            opening: false,
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message. An error: this is not the protocol.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Message>> {
        let head = usize::from(!self.opening);
        let Some(length) = self.bytes.get(head..).and_then(number) else {
            return Ok(None);
        };
        let length = usize::try_from(length)?;
        anyhow::ensure!((4..BYTES_MAX).contains(&length), "a frame of {length} bytes");
        if self.bytes.len() < head + length {
            return Ok(None);
        }
        let rest = self.bytes.split_off(head + length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let kind = if self.opening { None } else { bytes.first().copied() };
        self.opening = false;
        Ok(Some(Message { kind, bytes }))
    }
}

/// A text that ends with a zero, and what follows it.
pub(super) fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// The value of the first parameter of a Bind, where it has one that is not null.
pub(super) fn first_parameter(bind: &[u8]) -> Option<&[u8]> {
    let (_portal, rest) = text(bind)?;
    let (_statement, rest) = text(rest)?;
    let formats = usize::from(short(rest)?);
    let rest = rest.get(2 + 2 * formats..)?;
    let _ = short(rest).filter(|parameters| *parameters > 0)?;
    value(rest.get(2..)?)
}

/// The value of the second column of a DataRow, where it has one that is not null.
pub(super) fn second_column(row: &[u8]) -> Option<&[u8]> {
    let _ = short(row).filter(|columns| *columns > 1)?;
    let first = row.get(2..)?;
    let length = usize::try_from(number(first)?).unwrap_or(0);
    value(first.get(4 + length..)?)
}

fn value(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(number(bytes)?).ok()?;
    bytes.get(4..4 + length)
}

fn number(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

fn short(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
