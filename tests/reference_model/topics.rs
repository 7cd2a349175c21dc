//! Texts that somebody else has chosen: parsed, matched and compared, beside the naive rules.

use tramline::{Bus, InvalidToken, Pattern, Topic, TopicError};

use super::naive;

/// More texts than this only repeat what fewer show.
const MOST: usize = 4;

/// What is wrong with a text, told anew: by the first token that is wrong.
fn error(text: &str, wildcards: bool) -> Option<TopicError> {
    if text.is_empty() {
        return Some(TopicError::Empty);
    }
    if text.len() > 4096 {
        return Some(TopicError::TooLong { length: text.len(), limit: 4096 });
    }
    let tokens: Vec<_> = text.split('.').collect();
    let reason = |index: usize| match tokens[index] {
        "" => Some(InvalidToken::Empty),
        "*" | ">" if !wildcards => Some(InvalidToken::Wildcard),
        ">" if index + 1 < tokens.len() => Some(InvalidToken::RestNotLast),
        token => token.chars().find(|c| naive::is_refused(*c)).map(InvalidToken::Character),
    };
    for index in 0..tokens.len().min(256) {
        if let Some(reason) = reason(index) {
            let position = tokens[..index].iter().map(|token| token.len() + 1).sum();
            return Some(TopicError::Token { text: text.to_owned(), token: index + 1, position, reason });
        }
    }
    (tokens.len() > 256).then_some(TopicError::TooManyTokens { tokens: tokens.len(), limit: 256 })
}

/// The texts have line breaks between them. Panics where the crate and the rules do not agree.
pub fn check(bytes: &[u8]) {
    let texts = String::from_utf8_lossy(bytes);
    let texts: Vec<_> = texts.split('\n').take(MOST).collect();
    let mut patterns = Vec::new();
    let mut topics = Vec::new();
    for text in &texts {
        check_one(text);
        patterns.extend(Pattern::new(text));
        topics.extend(Topic::new(text));
    }
    for pattern in &patterns {
        for other in &patterns {
            let names = (pattern.as_str(), other.as_str());
            assert_eq!(pattern.is_subset_of(other), naive::is_subset(names.0, names.1), "subset: {names:?}");
            assert_eq!(pattern.overlaps(other), naive::overlap(names.0, names.1), "overlap: {names:?}");
        }
    }
    check_bus(&patterns, &topics);
}

fn check_one(text: &str) {
    let (pattern, topic) = (Pattern::new(text), Topic::new(text));
    assert_eq!(pattern.as_ref().err(), error(text, true).as_ref());
    assert_eq!(topic.as_ref().err(), error(text, false).as_ref());
    assert_eq!((pattern.is_ok(), topic.is_ok()), (naive::is_pattern(text), naive::is_topic(text)), "{text:?}");
    // What is told of an error holds what the user has written, and must not fail on it.
    for error in [pattern.as_ref().err(), topic.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }
    if let Ok(pattern) = pattern {
        assert_eq!((pattern.as_str(), pattern.is_literal()), (text, naive::is_literal(text)));
        assert_eq!(Topic::try_from(&pattern).ok(), topic.clone().ok());
    }
    if let Ok(topic) = topic {
        assert_eq!(topic.as_str(), text);
        assert!(topic.tokens().eq(text.split('.')));
    }
}

/// Each topic reaches the patterns that match it, whether it was in use before they came or not.
fn check_bus(patterns: &[Pattern], topics: &[Topic]) {
    let bus = Bus::<u8>::builder().capacity(2 * MOST).build();
    let used: Vec<_> = topics.iter().step_by(2).filter_map(|topic| bus.publisher(topic).ok()).collect();
    let subscribers: Vec<_> = patterns.iter().filter_map(|pattern| bus.subscribe(pattern).ok()).collect();
    assert_eq!((used.len(), subscribers.len()), (topics.len().div_ceil(2), patterns.len()));
    for (number, topic) in (0..).zip(topics) {
        let heard = patterns.iter().filter(|pattern| pattern.matches(topic)).count();
        let delivered = bus.publish(topic, number).map(|delivery| delivery.delivered());
        assert_eq!(delivered, Ok(heard), "{topic}");
        for (pattern, subscriber) in patterns.iter().zip(&subscribers) {
            let matches = naive::matches(pattern.as_str(), topic.as_str());
            assert_eq!(pattern.matches(topic), matches, "{pattern} ~ {topic}");
            let received = subscriber.try_iter().map(|message| (*message, message.topic().clone())).next();
            assert_eq!(received, matches.then(|| (number, topic.clone())), "{pattern} ~ {topic}");
        }
    }
    drop((used, subscribers));
    let stats = bus.stats();
    assert_eq!((stats.topics, stats.subscriptions.len(), stats.dropped), (0, 0, 0));
}
