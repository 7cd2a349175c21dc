//! The rules of topics and patterns, as they would be told: nothing here is taken from the crate.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

fn tokens(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

/// Whether the pattern matches the topic; both are valid.
pub fn matches(pattern: &str, topic: &str) -> bool {
    tokens_match(&tokens(pattern), &tokens(topic))
}

fn tokens_match(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => tokens_match(pattern, topic),
        ([expected, pattern @ ..], [found, topic @ ..]) => expected == found && tokens_match(pattern, topic),
        ([], []) => true,
        _ => false,
    }
}

fn is_wildcard(token: &str) -> bool {
    matches!(token, "*" | ">")
}

/// Of a valid pattern.
pub fn is_literal(pattern: &str) -> bool {
    !pattern.split('.').any(is_wildcard)
}

/// White space, two characters that are spaces without a width, and control characters.
pub fn is_refused(character: char) -> bool {
    character.is_whitespace() || character.is_control() || "\u{200b}\u{feff}".contains(character)
}

pub fn is_pattern(text: &str) -> bool {
    let tokens = tokens(text);
    let (_, others) = tokens.split_last().expect("a split gives at least one");
    text.len() <= 4096
        && tokens.len() <= 256
        && !text.chars().any(is_refused)
        && tokens.iter().all(|token| !token.is_empty())
        && others.iter().all(|token| *token != ">")
}

pub fn is_topic(text: &str) -> bool {
    is_pattern(text) && is_literal(text)
}

/// A token that is in neither pattern.
fn unused_token(a: &str, b: &str) -> String {
    "x".repeat(a.len().max(b.len()) + 1)
}

/// Whether every topic that matches `inner` matches `outer`: asked for topics that have a token of which `outer` knows
/// nothing wherever `inner` leaves the choice, in every length that makes a difference.
pub fn is_subset(inner: &str, outer: &str) -> bool {
    let unused = unused_token(inner, outer);
    let inner_tokens = tokens(inner);
    let outer_tokens = tokens(outer);
    let has_rest = inner_tokens.last() == Some(&">");
    let rests = if has_rest { 1..=outer_tokens.len() + 1 } else { 0..=0 };
    rests.into_iter().all(|rest| {
        let head = inner_tokens.iter().filter(|token| **token != ">");
        let head = head.map(|token| if *token == "*" { unused.as_str() } else { token });
        let topic: Vec<_> = head.chain(std::iter::repeat_n(unused.as_str(), rest)).collect();
        tokens_match(&outer_tokens, &topic)
    })
}

/// Whether some topic matches both: one that has, wherever one of them wants a certain token, just that.
pub fn overlap(a: &str, b: &str) -> bool {
    let unused = unused_token(a, b);
    let (a, b) = (tokens(a), tokens(b));
    (1..=a.len().max(b.len())).any(|length| {
        let wanted = |place: usize| {
            let wanted = [a.get(place), b.get(place)].into_iter().flatten().find(|token| !is_wildcard(token));
            *wanted.unwrap_or(&unused.as_str())
        };
        let topic: Vec<_> = (0..length).map(wanted).collect();
        tokens_match(&a, &topic) && tokens_match(&b, &topic)
    })
}
