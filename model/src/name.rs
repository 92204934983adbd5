//! Names of tenants, namespaces, topics and producers: parsed once, then trusted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// The tenant and the namespace that exist in every cluster, so that a newcomer names only a topic.
pub const DEFAULT: &str = "default";

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("{field}: the name is empty")]
    Empty {
        /// Which name.
        field: &'static str,
    },
    /// Over [`NAME_BYTES_MAX`].
    #[error("{field}: the name has {bytes} bytes, the most is {max}", max = NAME_BYTES_MAX)]
    TooLong {
        /// Which name.
        field: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A character outside `a-z A-Z 0-9 . _ -`, or a first character outside `a-z A-Z 0-9`.
    #[error(
        "{field}: {character:?} is not allowed there; use a-z A-Z 0-9 . _ - and begin with a letter or digit"
    )]
    Character {
        /// Which name.
        field: &'static str,
        /// The character.
        character: char,
    },
    /// Not `topic`, `namespace/topic`, `tenant/namespace/topic` or the full resource name.
    #[error(
        "topic: {name:?} is neither TOPIC, NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC nor tenants/T/namespaces/N/topics/X"
    )]
    Shape {
        /// What came.
        name: String,
    },
}

/// Checks one name. `field` is what the error will call it.
pub fn check(field: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { field });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { field, bytes: name.len() });
    }
    for (at, character) in name.chars().enumerate() {
        let first_ok = character.is_ascii_alphanumeric();
        let ok = first_ok || (at > 0 && matches!(character, '.' | '_' | '-'));
        if !ok {
            return Err(NameError::Character { field, character });
        }
    }
    Ok(())
}

/// A topic's full name, checked: also where it comes out of stored bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct TopicName {
    tenant: String,
    namespace: String,
    topic: String,
}

/// A full name as it was written, not checked yet.
#[derive(Deserialize)]
struct Parts {
    tenant: String,
    namespace: String,
    topic: String,
}

impl TryFrom<Parts> for TopicName {
    type Error = NameError;

    fn try_from(parts: Parts) -> Result<Self, NameError> {
        check("tenant", &parts.tenant)?;
        check("namespace", &parts.namespace)?;
        check("topic", &parts.topic)?;
        Ok(Self { tenant: parts.tenant, namespace: parts.namespace, topic: parts.topic })
    }
}

impl TopicName {
    /// From its three parts.
    pub fn new(tenant: &str, namespace: &str, topic: &str) -> Result<Self, NameError> {
        check("tenant", tenant)?;
        check("namespace", namespace)?;
        check("topic", topic)?;
        Ok(Self { tenant: tenant.into(), namespace: namespace.into(), topic: topic.into() })
    }

    /// From `topic`, `namespace/topic`, `tenant/namespace/topic`, or
    /// `tenants/{t}/namespaces/{n}/topics/{x}`. What is not said is `default`.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty { field: "topic" });
        }
        let parts: Vec<&str> = name.splitn(8, '/').collect();
        match parts.as_slice() {
            [topic] => Self::new(DEFAULT, DEFAULT, topic),
            [namespace, topic] => Self::new(DEFAULT, namespace, topic),
            [tenant, namespace, topic] => Self::new(tenant, namespace, topic),
            ["tenants", tenant, "namespaces", namespace, "topics", topic] => {
                Self::new(tenant, namespace, topic)
            }
            _ => Err(NameError::Shape { name: name.chars().take(256).collect() }),
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The namespace within the tenant.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The topic within the namespace.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The name as a resource path, as the API spells it.
    pub fn resource(&self) -> String {
        format!("tenants/{}/namespaces/{}/topics/{}", self.tenant, self.namespace, self.topic)
    }
}

/// The shortest name that means this topic.
impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tenant.as_str(), self.namespace.as_str()) {
            (DEFAULT, DEFAULT) => f.write_str(&self.topic),
            (DEFAULT, namespace) => write!(f, "{namespace}/{}", self.topic),
            (tenant, namespace) => write!(f, "{tenant}/{namespace}/{}", self.topic),
        }
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicName({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_newcomer_names_only_a_topic() {
        let name = TopicName::parse("flights").expect("a good name");
        assert_eq!((name.tenant(), name.namespace(), name.topic()), ("default", "default", "flights"));
        assert_eq!(name.to_string(), "flights");
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in ["", "..", ".a", "a/b/c/d", "a\0b", "tоpic", "a b", "a/../b", "/", "a\u{202e}b", "%2e"] {
            assert!(TopicName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TopicName::parse(&"x".repeat(129)).is_err());
        assert!(TopicName::parse(&"x/".repeat(65_536)).is_err());
    }

    proptest! {
        #[test]
        fn every_spelling_names_the_same_topic(
            t in "[a-z0-9][a-z0-9._-]{0,20}", n in "[a-z0-9][a-z0-9._-]{0,20}", x in "[a-z0-9][a-z0-9._-]{0,20}"
        ) {
            let name = TopicName::new(&t, &n, &x).expect("good parts");
            prop_assert_eq!(&TopicName::parse(&name.resource()).expect("resource"), &name);
            prop_assert_eq!(&TopicName::parse(&name.to_string()).expect("short"), &name);
        }

        #[test]
        fn parsing_never_panics(s in "\\PC{0,300}") {
            let _ = TopicName::parse(&s);
        }
    }
}
