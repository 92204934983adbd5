//! Identities. Each is a newtype, so that the compiler tells a node from a replica.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id_u64 {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    };
}

id_u64!(
    /// A node of a region, as the operator numbers it. Kept over restarts and over a wiped disk.
    NodeId,
    "node-"
);
id_u64!(
    /// One copy of one group: the Raft node id. Minted by the control group and never used again:
    /// a copy that lost its disk comes back under a new one, so it can never vote twice in a term.
    ReplicaId,
    "replica-"
);
id_u64!(
    /// A Raft group. [`GroupId::CONTROL`] is the control group; partitions count up from 1, never reused.
    GroupId,
    "group-"
);
id_u64!(
    /// The position of a message in its partition: dense, from 0, assigned when the entry is applied.
    Offset,
    ""
);

impl GroupId {
    /// The control group of the region.
    pub const CONTROL: GroupId = GroupId(0);

    /// Whether this is the control group.
    pub fn is_control(self) -> bool {
        self == Self::CONTROL
    }
}

impl Offset {
    /// The offset `count` messages later.
    pub fn plus(self, count: u64) -> Offset {
        Offset(self.0 + count)
    }
}

macro_rules! id_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// From a number, big-endian.
            pub const fn from_u128(value: u128) -> Self {
                Self(value.to_be_bytes())
            }

            /// As a number, big-endian.
            pub const fn as_u128(&self) -> u128 {
                u128::from_be_bytes(self.0)
            }

            /// Whether every bit is zero, which stands for "none".
            pub const fn is_nil(&self) -> bool {
                self.as_u128() == 0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.as_u128())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id_bytes!(
    /// The identity of one history of one partition. Minted when the group is created and minted anew by
    /// every restore, so a message's id (log id, offset) never names two messages.
    LogId
);
id_bytes!(
    /// Who a sequence of batches comes from: a hash of (topic, name) for a named producer, random otherwise.
    /// Nil stands for a client without identity: at-least-once.
    ProducerId
);
id_bytes!(
    /// One consumer of a subscription, drawn when it attaches: coming back it has another one.
    ConsumerId
);
id_bytes!(
    /// One life of a node's data folder, drawn when the folder is made. A wiped node returns with another.
    Incarnation
);
id_bytes!(
    /// A region's cluster, drawn when the control group is formed.
    ClusterId
);

/// What names one message for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Which history of the partition.
    pub log: LogId,
    /// Where in it.
    pub offset: Offset,
}
