//! Scripts built in Rust: sentences such as `Rule::on_turn(1).answers(Answer::text("…").call("look_up", json!({})))`.

use std::time::Duration;

use serde_json::Value;

use super::{Answer, Call, ErrorAnswer, ErrorEvent, Rule, Script, UsageNumbers, When};

impl Script {
    /// A script without rules, to be filled with [`Script::rule`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule after those it has.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl Rule {
    /// A rule without conditions.
    pub fn always() -> Self {
        Self::default()
    }

    /// A rule for one turn, counted from 1.
    pub fn on_turn(turn: usize) -> Self {
        Self::when(When {
            turn: Some(turn),
            ..When::default()
        })
    }

    /// A rule with these conditions.
    pub fn when(when: When) -> Self {
        Self {
            when,
            ..Self::default()
        }
    }

    /// Gives the rule a name for records and mistakes.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only if this occurs in the text of the last user message.
    #[must_use]
    pub fn text_contains(mut self, text: impl Into<String>) -> Self {
        self.when.text_contains = Some(text.into());
        self
    }

    /// Only if the last message holds a result of this tool.
    #[must_use]
    pub fn last_tool(mut self, tool: impl Into<String>) -> Self {
        self.when.last_tool = Some(tool.into());
        self
    }

    /// Only if this occurs in a tool result of the last message.
    #[must_use]
    pub fn tool_result_contains(mut self, text: impl Into<String>) -> Self {
        self.when.tool_result_contains = Some(text.into());
        self
    }

    /// Only if this occurs in the system prompt.
    #[must_use]
    pub fn system_contains(mut self, text: impl Into<String>) -> Self {
        self.when.system_contains = Some(text.into());
        self
    }

    /// Only if this occurs anywhere in the messages.
    #[must_use]
    pub fn conversation_contains(mut self, text: impl Into<String>) -> Self {
        self.when.conversation_contains = Some(text.into());
        self
    }

    /// Only if `tool_choice` is `none`.
    #[must_use]
    pub fn tools_off(mut self) -> Self {
        self.when.tools_off = Some(true);
        self
    }

    /// Only for the first `times` matches of a conversation.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.when.times = Some(times);
        self
    }

    /// What the rule answers.
    #[must_use]
    pub fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }
}

impl Answer {
    /// An answer that says `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..Self::default()
        }
    }

    /// An answer that calls one tool; `input` must be an object, anything else counts as an empty one.
    pub fn calling(name: impl Into<String>, input: Value) -> Self {
        Self::default().call(name, input)
    }

    /// An error with this status and the type that belongs to it.
    pub fn error(status: u16) -> Self {
        Self::failing(ErrorAnswer {
            status,
            ..ErrorAnswer::default()
        })
    }

    /// An error in every detail.
    pub fn failing(error: ErrorAnswer) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    /// Adds a tool call; `input` must be an object, anything else counts as an empty one.
    #[must_use]
    pub fn call(mut self, name: impl Into<String>, input: Value) -> Self {
        let input = if let Value::Object(input) = input {
            input
        } else {
            serde_json::Map::new()
        };
        self.calls.push(Call {
            name: name.into(),
            input,
            id: None,
        });
        self
    }

    /// Adds a thinking block.
    #[must_use]
    pub fn thinking(mut self, thinking: impl Into<String>) -> Self {
        self.thinking = Some(thinking.into());
        self
    }

    /// Adds a content block, sent byte for byte.
    #[must_use]
    pub fn raw(mut self, block: impl Into<String>) -> Self {
        self.raw.push(block.into());
        self
    }

    /// Stops for this reason.
    #[must_use]
    pub fn stopping_for(mut self, reason: impl Into<String>) -> Self {
        self.stop_reason = Some(reason.into());
        self
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay_ms = millis(delay);
        self
    }

    /// Waits between two events of a stream.
    #[must_use]
    pub fn between_events(mut self, delay: Duration) -> Self {
        self.delay_between_events_ms = millis(delay);
        self
    }

    /// Drops the connection after so many events.
    #[must_use]
    pub fn cut_after(mut self, events: usize) -> Self {
        self.cut_after = Some(events);
        self
    }

    /// Drops the connection before the first event of this type.
    #[must_use]
    pub fn cut_before(mut self, event: impl Into<String>) -> Self {
        self.cut_before = Some(event.into());
        self
    }

    /// Ends the stream with an `error` event of this type after `after` events.
    #[must_use]
    pub fn error_event(mut self, after: usize, kind: impl Into<String>) -> Self {
        self.error_event = Some(ErrorEvent {
            after,
            kind: kind.into(),
            message: None,
        });
        self
    }

    /// Reports these token counts.
    #[must_use]
    pub fn usage(mut self, usage: UsageNumbers) -> Self {
        self.usage = usage;
        self
    }
}

impl UsageNumbers {
    /// Input and output tokens, nothing cached.
    pub fn of(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens: Some(input_tokens),
            output_tokens: Some(output_tokens),
            ..Self::default()
        }
    }
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}
