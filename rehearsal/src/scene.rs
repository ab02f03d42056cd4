//! Which rule answers: the first whose conditions all hold.
//!
//! Owns the counts behind `times`. Start at [`Scene::choose`].

use std::collections::HashMap;

use serde_json::Value;

use crate::{
    conversation::Conversation,
    script::{Rule, Script, When},
};

#[cfg(test)]
mod tests;

/// A script being played.
pub(crate) struct Scene {
    script: Script,
    /// Matches so far of rules with `times`, by rule and conversation.
    matches: HashMap<(usize, String), u32>,
}

impl Scene {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            matches: HashMap::new(),
        }
    }

    /// The rule that answers this request, and its index.
    pub(crate) fn choose(&mut self, body: &Value) -> Option<(usize, Rule)> {
        let conversation = Conversation::new(body);
        for (index, rule) in self.script.rules.iter().enumerate() {
            if !holds(&rule.when, conversation) {
                continue;
            }
            if let Some(times) = rule.when.times {
                let matches = self.matches.entry((index, conversation.first_user_text())).or_insert(0);
                if *matches >= times {
                    continue;
                }
                *matches += 1;
            }
            return Some((index, rule.clone()));
        }
        None
    }
}

/// What is told to whoever asked something no rule answers.
pub(crate) fn no_rule_message(body: &Value) -> String {
    let conversation = Conversation::new(body);
    format!(
        "rehearsal: no rule of the script matches turn {} (last tools: [{}], last user text: {:?})",
        conversation.turn(),
        conversation.last_tools().join(", "),
        conversation.last_user_text()
    )
}

fn holds(when: &When, conversation: Conversation<'_>) -> bool {
    let When {
        turn,
        text_contains,
        last_tool,
        tool_result_contains,
        system_contains,
        ..
    } = when;
    let When {
        conversation_contains,
        tools_off,
        ..
    } = when;
    turn.is_none_or(|turn| turn == conversation.turn())
        && tools_off.is_none_or(|off| off == conversation.tools_off())
        && text_contains
            .as_ref()
            .is_none_or(|text| conversation.last_user_text().contains(text))
        && last_tool
            .as_ref()
            .is_none_or(|tool| conversation.last_tools().contains(&tool.as_str()))
        && tool_result_contains
            .as_ref()
            .is_none_or(|text| conversation.last_results().iter().any(|result| result.contains(text)))
        && system_contains
            .as_ref()
            .is_none_or(|text| conversation.system_text().contains(text))
        && conversation_contains
            .as_ref()
            .is_none_or(|text| conversation.contains(text))
}
