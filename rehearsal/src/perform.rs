//! An answer of the script and a conversation to the message that the model says.
//!
//! Deterministic: the same conversation at the same turn gets the same blocks with the same ids. Start at [`compose`].

use serde_json::{Value, json, value::RawValue};

use crate::{
    conversation::Conversation,
    digest::{sha256_hex, short_id},
    script::{Answer, UsageNumbers},
    template::Values,
};

/// About how many bytes of a body make a token.
const BYTES_PER_TOKEN: u64 = 4;

/// A message of the model, complete.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) stop_reason: String,
    pub(crate) stop_details: Option<Value>,
    pub(crate) usage: Usage,
}

/// One content block.
#[derive(Debug)]
pub(crate) enum Block {
    Thinking {
        thinking: String,
        signature: String,
    },
    Text(String),
    Raw(Box<RawValue>),
    Call {
        id: String,
        name: String,
        input: Value,
        is_cut: bool,
    },
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
}

/// What a message is made of.
pub(crate) struct Prompt<'a> {
    pub(crate) body: &'a Value,
    pub(crate) body_bytes: usize,
    /// Which request this is; makes the message's id.
    pub(crate) order: u64,
}

/// The message that `answer` means in this conversation, or why its placeholders cannot be filled.
pub(crate) fn compose(answer: &Answer, prompt: &Prompt<'_>) -> Result<Message, String> {
    let conversation = Conversation::new(prompt.body);
    let values = Values::of(conversation);
    let blocks = compose_blocks(answer, conversation, &values)?;
    let said: u64 = blocks.iter().map(Block::bytes).sum();
    let usage = Usage::of(
        answer.usage,
        [estimate_tokens(prompt.body_bytes), said / BYTES_PER_TOKEN + 1],
    );
    Ok(Message {
        id: short_id("msg_", &[&conversation.first_user_text(), &prompt.order.to_string()]),
        model: prompt.body["model"].as_str().unwrap_or_default().to_owned(),
        blocks,
        stop_reason: answer.stop_reason().to_owned(),
        stop_details: answer.stop_details.clone(),
        usage,
    })
}

fn compose_blocks(answer: &Answer, conversation: Conversation<'_>, values: &Values) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    if let Some(thinking) = &answer.thinking {
        let thinking = values.fill(thinking)?;
        blocks.push(Block::Thinking {
            signature: signature_of(&thinking),
            thinking,
        });
    }
    if let Some(text) = &answer.text {
        blocks.push(Block::Text(values.fill(text)?));
    }
    for raw in &answer.raw {
        let raw = RawValue::from_string(raw.trim().to_owned()).map_err(|error| error.to_string())?;
        blocks.push(Block::Raw(raw));
    }
    let turn = conversation.turn().to_string();
    let conversation = conversation.first_user_text();
    for (index, call) in answer.calls.iter().enumerate() {
        let made_up = || short_id("toolu_", &[&conversation, &turn, &index.to_string()]);
        blocks.push(Block::Call {
            id: call.id.clone().unwrap_or_else(made_up),
            name: call.name.clone(),
            input: Value::Object(values.fill_input(&call.input)?),
            is_cut: answer.is_truncated() && index + 1 == answer.calls.len(),
        });
    }
    Ok(blocks)
}

/// What a thinking block is signed with, so that the judge sees whether it came back unchanged.
pub(crate) fn signature_of(thinking: &str) -> String {
    format!("rehearsal{}", sha256_hex(thinking.as_bytes()))
}

/// The tokens of a body, roughly.
pub(crate) fn estimate_tokens(body_bytes: usize) -> u64 {
    u64::try_from(body_bytes).unwrap_or(u64::MAX) / BYTES_PER_TOKEN + 1
}

impl Message {
    /// The answer to a request that does not stream.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(serde::Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            envelope: Value,
            content: Vec<Box<RawValue>>,
            stop_reason: &'a str,
        }
        let mut envelope = self.envelope();
        envelope["usage"] = self.usage.to_json();
        let content = self.blocks.iter().map(Block::to_raw).collect::<Result<_, _>>()?;
        serde_json::to_string(&Whole {
            envelope,
            content,
            stop_reason: &self.stop_reason,
        })
    }

    /// All fields but content, stop reason and usage.
    pub(crate) fn envelope(&self) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "stop_sequence": null,
            "stop_details": self.stop_details,
        })
    }
}

impl Block {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Thinking { thinking, .. } => thinking.len(),
            Self::Text(text) => text.len(),
            Self::Raw(raw) => raw.get().len(),
            Self::Call { name, input, .. } => name.len() + input.to_string().len(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn to_raw(&self) -> Result<Box<RawValue>, serde_json::Error> {
        let value = match self {
            Self::Raw(raw) => return Ok(raw.clone()),
            Self::Thinking { thinking, signature } => {
                json!({"type": "thinking", "thinking": thinking, "signature": signature})
            }
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Call {
                id, name, is_cut: true, ..
            } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": {}})
            }
            Self::Call {
                id,
                name,
                input,
                is_cut: false,
            } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            }
        };
        serde_json::value::to_raw_value(&value)
    }
}

impl Usage {
    fn of(given: UsageNumbers, [input, output]: [u64; 2]) -> Self {
        Self {
            input_tokens: given.input_tokens.unwrap_or(input),
            output_tokens: given.output_tokens.unwrap_or(output),
            cache_creation_input_tokens: given.cache_creation_input_tokens.unwrap_or(0),
            cache_read_input_tokens: given.cache_read_input_tokens.unwrap_or(0),
        }
    }

    /// The `usage` of a message.
    pub(crate) fn to_json(self) -> Value {
        json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": self.cache_creation_input_tokens,
            "cache_read_input_tokens": self.cache_read_input_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_creation_input_tokens,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": self.output_tokens,
            "service_tier": "standard",
        })
    }
}
